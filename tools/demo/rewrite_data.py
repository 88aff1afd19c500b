"""Polite -> plain sentence pairs: generated from a small grammar, every pair right by construction.

`pair(rng, lex, test)` gives one (source, target). With `test` it draws its content words from the held-out
share of the dictionaries.
"""
import random
import re

import conjugate as cj
import lists as L

FR = L.frames()
WH = "何 誰 どこ いつ どれ どちら いくら なぜ どなた どう いかが 何時 何人 何歳 いくつ どんな人 何曜日".split()
SET = [tuple(x.split(">")) for x in """ありがとうございます>ありがとう;ありがとうございました>ありがとう;おはようございます>おはよう;よろしくお願いします>よろしくお願いする;よろしくお願いいたします>よろしくお願いする;
お願いします>お願いする;お願いいたします>お願いする;すみません>すまない;すみませんでした>すまなかった;申し訳ありません>申し訳ない;申し訳ございません>申し訳ない;申し訳ありませんでした>申し訳なかった;申し訳ございませんでした>申し訳なかった;
お疲れ様です>お疲れ様だ;お疲れ様でした>お疲れ様だった;お疲れさまです>お疲れさまだ;お待ちください>待ってくれ;少々お待ちください>少々待ってくれ;しばらくお待ちください>しばらく待ってくれ;ご覧ください>見てくれ;お座りください>座ってくれ;お読みください>読んでくれ;お書きください>書いてくれ;お知らせください>知らせてくれ;お入りください>入ってくれ;お使いください>使ってくれ;お選びください>選んでくれ;お試しください>試してくれ;お越しください>来てくれ;お気をつけください>気をつけてくれ;
失礼します>失礼する;失礼しました>失礼した;失礼いたします>失礼する;失礼いたしました>失礼した;いただきます>いただく;ごちそうさまでした>ごちそうさまだった;おめでとうございます>おめでとう;誕生日おめでとうございます>誕生日おめでとう;いってきます>いってくる;行ってきます>行ってくる;
どういたしまして>どういたしまして;はじめまして>はじめまして;初めまして>初めまして;こんにちは>こんにちは;こんばんは>こんばんは;おやすみなさい>おやすみなさい;ごめんなさい>ごめんなさい;ただいま>ただいま;いらっしゃいませ>いらっしゃい;
そうです>そうだ;そうですか>そうか;そうですね>そうだね;そうですよ>そうだよ;そうでした>そうだった;そうではありません>そうではない;そうでしょう>そうだろう;そうかもしれません>そうかもしれない;その通りです>その通りだ;なるほどですね>なるほどだね;大丈夫です>大丈夫だ;大丈夫ですか>大丈夫か;結構です>結構だ;お元気ですか>お元気か;元気です>元気だ;お久しぶりです>お久しぶりだ;
わかりました>わかった;分かりました>分かった;承知しました>承知した;承知いたしました>承知した;かしこまりました>かしこまった;了解しました>了解した;わかりません>わからない;知りません>知らない;違います>違う;いいです>いい;いいですよ>いいよ;いいですか>いいか;よかったです>よかった;いいですね>いいね;楽しみです>楽しみだ;残念です>残念だ;助かります>助かる;嬉しいです>嬉しい;お世話になっております>お世話になっている;お世話になります>お世話になる;お世話になりました>お世話になった;恐れ入ります>恐れ入る;恐れ入りますが>恐れ入るが;ご無沙汰しております>ご無沙汰している;間違いありません>間違いない;問題ありません>問題ない;仕方ありません>仕方ない;とんでもありません>とんでもない;とんでもございません>とんでもない;何でもありません>何でもない;ただいま戻りました>ただいま戻った;行きましょう>行こう;始めましょう>始めよう;やめましょう>やめよう;頑張りましょう>頑張ろう;頑張ってください>頑張ってくれ;教えてください>教えてくれ;助けてください>助けてくれ;やめてください>やめてくれ;気をつけてください>気をつけてくれ""".replace("\n", "").split(";")]
GO = "確認 連絡 利用 注意 了承 検討 参照 相談 返信 記入 入力 使用 参加 来場 説明 案内 用意 安心 協力 理解 登録 応募 予約 購入 一読 査収 自愛 教示 指示 指導".split()

EMOJI = "😀 😊 🎉 ☕ 🍣 ❤ 👍 ★ ♪ → ※ ① ㈱ 😂 🚀 🙇 ✨ ♡".split()


def kata_noise(rng):
    kana = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワンガギグゲゴザジズゼゾダデドバビブベボパピプペポ"
    s = "".join(rng.choice(kana) + (rng.choice("ーッャュョン") if rng.random() < .25 else "") for _ in range(rng.randint(2, 6)))
    return s


def ascii_noise(rng):
    r = rng.random()
    if r < .35:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 9)))
    if r < .55:
        return "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(2, 5)))
    if r < .75:
        return rng.choice(["Google", "Windows", "Python", "iPhone", "Linux", "Excel", "Tokyo", "GitHub", "YouTube", "Twitter", "AI", "PDF", "CPU", "GPU", "USB", "Wi-Fi", "Web", "JavaScript", "Debian", "Zoom", "Slack", "ChatGPT", "API", "HTML"]) + rng.choice(["", "", " " + str(rng.randint(1, 30)), str(rng.randint(1, 20))])
    if r < .85:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789-_.") for _ in range(rng.randint(3, 12)))
    return rng.choice("ABCDEFG") + "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 8))) + rng.choice(["", " " + "".join(rng.choice("ABCDabcdefghijklmn") for _ in range(4))])


def number(rng):
    return rng.choice([str(rng.randint(0, 99)), str(rng.randint(100, 9999)), "%d.%d" % (rng.randint(0, 99), rng.randint(0, 99)), format(rng.randint(1000, 99999999), ","),
                       "%d年%d月%d日" % (rng.randint(1900, 2030), rng.randint(1, 12), rng.randint(1, 31)), "%d時%d分" % (rng.randint(0, 24), rng.randint(0, 59)), "%d:%02d" % (rng.randint(0, 23), rng.randint(0, 59)),
                       "%d%%" % rng.randint(0, 100), "%d万円" % rng.randint(1, 999), "%d人" % rng.randint(1, 5000), "第%d回" % rng.randint(1, 99), "%d/%d" % (rng.randint(1, 12), rng.randint(1, 31)),
                       "".join(rng.choice("一二三四五六七八九十百千") for _ in range(rng.randint(1, 3))) + rng.choice(["つ", "人", "年", "個", "本"])])


class Gen:
    def __init__(self, lex, rng, test=False):
        self.lex, self.rng, self.test = lex, rng, test
        keep = (lambda w: __import__("lexicon").held(w)) if test else (lambda w: not __import__("lexicon").held(w))
        self.cache = {}
        self.keep = keep
        self.focus = None

    def lst(self, name):
        """A hand-written list without its held-out words (or, for test, mostly those)."""
        if name not in self.cache:
            words = getattr(L, name)
            sel = [w for w in words if self.keep(w)]
            self.cache[name] = sel or words
        if self.focus and self.rng.random() < .5:
            return self.rng.choice(self.focus.get(name) or self.cache[name])
        return self.rng.choice(self.cache[name])

    def pick(self, bag, skew=2.0):
        return self.lex[bag].pick(self.rng, self.test, skew)

    def name(self):
        r = self.rng.random()
        if r < .3:
            return self.pick("full", 1) + self.rng.choice(["", "さん", "氏", "先生"])
        if r < .5:
            return self.pick("sur") + self.rng.choice(["さん", "さん", "くん", "先生", "部長", "", "様"])
        if r < .65:
            return self.pick("foreign", 1) + "・" + self.pick("foreign", 1)
        if r < .75:
            return self.rng.choice(L.JP_PERSON + L.FOREIGN_PERSON)
        if r < .85:
            return self.pick("org_ip", 1)
        return self.pick(self.rng.choice(["city", "kata_city", "station", "country_ip", "cldr_country", "feature"]))

    def noun(self):
        rng, r = self.rng, self.rng.random()
        if r < .33:
            return self.lst("THING")
        if r < .60:
            return self.pick("noun", 1.6)
        if r < .67:
            return self.pick("sahen", 1.6)
        if r < .72:
            return self.pick("kata_noun", 1.3)
        if r < .80:
            return self.name()
        if r < .84:
            return self.lst("PLACE")
        if r < .87:
            return self.lst("FOOD")
        if r < .895:
            return kata_noise(rng)
        if r < .92:
            return ascii_noise(rng)
        if r < .945:
            return number(rng)
        if r < .955:
            return rng.choice("「『（“") .translate({}) + self.pick("noun") + "」" if False else "「" + self.pick("noun", 1.2) + "」"
        if r < .96:
            return self.pick("noun") + rng.choice(EMOJI)
        if r < .965:
            return "".join(chr(rng.randint(0x4E00, 0x9FA0)) for _ in range(rng.randint(1, 3)))
        return self.pick("noun") + self.pick("noun")

    def np(self):
        """A noun phrase, perhaps with modifiers or a relative clause."""
        rng, r, n = self.rng, self.rng.random(), self.noun()
        if r < .55:
            return n
        if r < .68:
            return self.lst("DEMO") + n
        if r < .78:
            return self.noun() + "の" + n
        if r < .84:
            return self.lst("ADJ") + n
        if r < .88:
            return self.lst("NA") + "な" + n
        if r < .92:
            return n + rng.choice(["や", "と", "、", "か", "および"]) + self.noun()
        args, v, t = self.verb()
        f = cj.forms(v, t)
        return args + rng.choice([v, v, cj.past(f["te"]), f["te"] + "いる", f["neg"] + "ない", f["te"] + "いた"]) + rng.choice([n, "こと", "もの", "人", "とき", "場所"])

    def arg(self, a):
        rng = self.rng
        for key in ("FOOD", "DRINK", "THING", "PLACE"):
            if a.startswith(key):
                w = self.lst(key) if rng.random() < .5 else self.np()
                return w + a[len(key):]
        if rng.random() < .3:
            m = re.match(r"^(.*?)(を|に|が|で|と|へ|から|まで)$", a)
            if m and a not in ("そう",):
                return self.np() + m[2]
        return a

    def verb(self):
        """(arguments, dictionary form, type): a common verb with its frame, or any verb of the dictionary."""
        rng, types = self.rng, self.lex["verb_type"]
        r = rng.random()
        if r < .62:
            v = rng.choice(self.focus["FR"] if self.focus and rng.random() < .5 else self.frame_verbs())
            t = types.get(v)
            if t is None:
                t = "サ変・スル" if v.endswith("する") else types.get(v[-2:], "一段")
            args = self.arg(rng.choice(FR[v]))
            if rng.random() < .2 and v not in ("する", "なる", "降る"):
                args = (self.lst("PLACE") if rng.random() < .5 else self.np()) + rng.choice(["で", "に", "から", "と"]) + args
            return args, v, t
        if r < .80:
            v = self.pick("sahen", 1.5)
            return (self.np() + rng.choice("をををがにでと") if rng.random() < .8 else ""), v + ("を" if rng.random() < .08 else "") + "する", "サ変・スル"
        while True:
            v = self.pick("verb", 1.8)
            t = types[v]
            if t.endswith("ズル") or t.startswith(("カ変", "サ変")) or v.endswith("ずる"):
                continue
            break
        return self.np() + rng.choice("をををがにで"), v, t

    def frame_verbs(self):
        if "fv" not in self.cache:
            self.cache["fv"] = [v for v in FR if self.keep(v)] or list(FR)
            if self.test:
                self.cache["fv"] = self.cache["fv"] + random.Random(5).sample(list(FR), 60)
        return self.cache["fv"]

    def pred(self):
        """(text before, word, kind) of a main predicate."""
        rng, r = self.rng, self.rng.random()
        if r < .66:
            args, v, t = self.verb()
            p = (args, v, t)
        elif r < .78:
            w = self.lst("ADJ") if rng.random() < .7 else self.pick("adj", 1.5)
            p = ((self.np() + "が" if rng.random() < .4 else ""), w, "adj")
        elif r < .86:
            w = self.lst("NA") if rng.random() < .7 else self.pick("na", 1.5)
            p = ((self.np() + "が" if rng.random() < .3 else ""), w, "cop")
        else:
            p = ("", self.np() if rng.random() < .8 else self.np() + rng.choice(["から", "まで", "だけ", "くらい", "ため", "など", "のため", "の方", "とき", "ばかり"]), "cop")
        if p[2] == "cop" and p[1].endswith(("と", "とき", "こと")) is False:
            pass
        if rng.random() < .42 and not (p[2] == "cop" and not p[1]):
            p = cj.modal(*p, rng)
            if rng.random() < .3 and p[2] not in ("KAMO", "MUST", "NICHI", "NASO", "DEARU", "FIX", "ORU"):
                p = cj.modal(*p, rng)
        return p

    def lead(self):
        rng, s = self.rng, ""
        if rng.random() < .1:
            s += self.lst("CONJ") + rng.choice(["、", "、", ""])
        if rng.random() < .28:
            s += self.lst("TIMEADV") + rng.choice(["", "", "、", "は"])
        if rng.random() < .62:
            who = self.lst("PEOPLE") if rng.random() < .6 else self.name() if rng.random() < .4 else self.np()
            s += who + rng.choice(["は", "は", "は", "が", "も", "は、", "では", "にも", "って", "なら", "には", "さえ", "だけが"][: rng.choice([5, 6, 13])])
        if rng.random() < .2:
            s += self.lst("ADVERB") if rng.random() < .7 else self.pick("adv")
        return s

    def sub(self):
        """A subordinate clause that politeness leaves alone."""
        rng = self.rng
        args, v, t = self.verb()
        f = cj.forms(v, t)
        return args + rng.choice([f["te"], f["te"], f["te"] + "から", f["ba"], cj.past(f["te"]) + "ら", v + "と", v + "とき", v + "前に", cj.past(f["te"]) + "後", v + "ために",
                                  f["masu"] + "ながら", f["neg"] + "ないで", f["neg"] + "ずに" if f["neg"] not in ("し",) else v + "まで", v + "ので", v + "から", v + "が", v + "のに", f["te"] + "も", v + "なら", v + "ように",
                                  cj.past(f["te"]) + "り" + args + cj.past(f["te"]) + "りして", v + "場合", cj.past(f["te"]) + "ことで", v + "だけでなく", f["masu"]])

    def clause(self, final=True):
        """One clause, (polite, plain); a final one ends the sentence, another ends in a joining particle."""
        rng = self.rng
        s = self.lead()
        if rng.random() < .13:
            s += self.sub() + rng.choice(["、", "、", ""])
        if rng.random() < .05:
            q = self.clause()
            quote = (q[0] + rng.choice(["", "。"]), q[1])
            tail = cj.ending("言う", cj.GODAN_W, rng)
            if quote[0].endswith("。"):
                quote = (quote[0], quote[1] + "。")
            return s + "「" + quote[0] + "」と" + tail[0], s + "「" + quote[1] + "」と" + tail[1]
        if final and rng.random() < .03:
            w = rng.choice(WH)
            t = rng.choice([("ですか", "だ"), ("ですか", "だ"), ("でしたか", "だった"), ("でしょうか", "だろうか")])
            return s + w + t[0], s + w + t[1]
        if final and rng.random() < .015:
            a, b = rng.choice([x for x in SET if x[0][-5:] != x[1][-5:]])
            lead = s + self.sub() + "、"
            return lead + a, lead + b
        if final and rng.random() < .02:
            n = self.np()
            return rng.choice([(s + n + "をください", s + n + "をくれ"), (s + n + "でございます", s + n + "だ"), (s + n + "がございます", s + n + "がある"), (s + n + "はございません", s + n + "はない"), (s + n + "はありません", s + n + "はない"),
                               (s + n + "がありません", s + n + "がない"), (s + n + "をお願いします", s + n + "をお願いする"), (s + n + "であります", s + n + "である"), (s + n + "ではございません", s + n + "ではない"), (s + n + "をお願いいたします", s + n + "をお願いする")])
        if final and rng.random() < .02:
            g = rng.choice(GO) if rng.random() < .5 else self.pick("sahen", 1.2)
            n = self.np() + rng.choice("をにで")
            return s + n + "ご" + g + "ください", s + n + g + "してくれ"
        if final and rng.random() < .012:
            args, v, t = self.verb()
            f = cj.forms(v, t)
            if t != "サ変・スル" and len(f["masu"]) > 1:
                return s + args + "お" + f["masu"] + "ください", s + args + f["te"] + "くれ"
        if not final and rng.random() < .08:
            args, v, t = self.verb()
            f = cj.forms(v, t)
            return s + args + f["masu"] + "まして", s + args + f["te"]
        pre, w, k = self.pred()
        pol, pla = cj.ending(w, k, rng, joiner=not final)
        return s + pre + pol, s + pre + pla

    def sentence(self):
        """(polite, plain) with its final punctuation."""
        rng = self.rng
        if rng.random() < .05:
            a, b = rng.choice(SET)
        else:
            a, b = self.clause()
            while rng.random() < .22 and len(a) < 60:
                c = self.clause(final=False)
                sep = "、" if rng.random() < .85 else ""
                a, b = c[0] + sep + a, c[1] + sep + b
        r = rng.random()
        if a.endswith("か"):
            p = rng.choice(["。", "。", "？", "？", "", "?"])
        else:
            p = "。" if r < .80 else "！" if r < .85 else "" if r < .95 else rng.choice(["…", "？", "!", "♪", "．", "。。", "（笑）", "w"])
        return a + p, b + p

    def pair(self):
        """One training pair: some sentences, mostly polite; plain input comes back unchanged."""
        rng = self.rng
        r = rng.random()
        n = 1 if r < .62 else 2 if r < .82 else rng.randint(3, 6)
        out = [self.sentence() for _ in range(n)]
        src, tgt = "", ""
        ident = rng.random() < .07
        for i, (a, b) in enumerate(out):
            src += b if ident else a
            tgt += b
            if i + 1 < n and not re.search(r"[。！？!?…♪]$", a):
                src += "。"
                tgt += "。"
            if i + 1 < n and rng.random() < .03:
                src += " "
                tgt += " "
        if rng.random() < .03:  # a bare noun phrase or heading stays as it is
            src = tgt = self.np()
        elif rng.random() < .03:
            src, tgt = "「" + src + "」", "「" + tgt + "」"
        elif rng.random() < .02:
            h = self.np() + rng.choice(["：", ": ", "・"])
            src, tgt = h + src, h + tgt
        return src, tgt


if __name__ == "__main__":
    import sys
    import lexicon
    g = Gen(lexicon.load(), random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0), len(sys.argv) > 2)
    for _ in range(40):
        a, b = g.pair()
        print(a, "\n  ->", b)
