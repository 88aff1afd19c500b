"""Sentences with named entities: templates written by hand, names from open dictionaries, and random grammar.

Inside this file an entity travels as text between private-use characters, so that any string operation keeps it:
`\\ue0NN text \\ue100`, NN = index of the type. `strip` turns marked text into (text, spans).
"""
import random
import re
import unicodedata

import conjugate as cj
import lists as L
import ner_templates
from rewrite_data import Gen, kata_noise

TYPES = "PERSON ORG GPE LOC FAC DATE TIME MONEY PERCENT QUANTITY ORDINAL PRODUCT EVENT NORP LANGUAGE WORK_OF_ART".split()
CODE = {t: chr(0xE000 + i) for i, t in enumerate(TYPES)}
END = "\uE100"


def mark(kind, text):
    return CODE[kind] + text + END


def strip(marked):
    """(text, [(start, end, type)]); an entity inside another is dropped."""
    out, spans, depth = [], [], []
    for c in marked:
        if c == END:
            start, kind = depth.pop()
            if not depth:
                spans.append((start, len(out), kind))
        elif "\uE000" <= c < END:
            depth.append((len(out), TYPES[ord(c) - 0xE000]))
        else:
            out.append(c)
    return "".join(out), [s for s in spans if s[1] > s[0]]


N = r"(?:\d[\d,.]*(?:千|万|億|兆)?(?:\d+(?:千|万|億)?)*|[一二三四五六七八九十百千]{1,6}(?:万|億)?|数十?(?:百|千|万|億)?)"
NK = r"(?:\d[\d,.]*(?:千|万|億|兆)?(?:\d+(?:千|万|億)?)*|[二三四五六七八九][十百千万億一二三四五六七八九]*|十[一-九]?|[百千][万億]?|数[十百千万億]+)"
ERA = "(?:明治|大正|昭和|平成|令和|西暦|紀元前)"
MD = r"\d{1,2}月(?:\d{1,2}日)?"
RULES = [(t, re.compile(r)) for t, r in [
    ("DATE", ERA + r"(?:\d+|元|[一二三四五六七八九十]+)年(?:度|代)?(?:" + MD + ")?(?:[(][月火水木金土日][)])?"),
    ("DATE", r"\d{4}年(?:代|度)?(?:" + MD + r")?(?:[(][月火水木金土日][)])?|\d{4}[/-]\d{1,2}[/-]\d{1,2}|" + MD + r"(?:[(][月火水木金土日][)])?|\d{1,2}日(?!間|目|後|前|以|ぶり)"),
    ("DATE", r"(?:今週|来週|先週|毎週|再来週)の?[月火水木金土日]曜日?|[月火水木金土日]曜日?|(?:昨|今|明|一昨|翌)年(?:度|" + MD + r")?|去年|おととし|再来年|(?:先|今|来|再来|毎)(?:週|月)|(?:昨日|今日|明日|本日|明後日|一昨日|翌日|前日|毎日|毎年|あさって|おととい|きのう|あした)"),
    ("DATE", r"(?:" + NK + r"|一)(?:年|か月|カ月|ヶ月|週間|日間|世紀|年間|年代|日)(?:前|後|ぶり|以内|以上)?(?![生目])|\d{1,2}世紀|(?:平安|鎌倉|室町|江戸|明治|大正|昭和|平成|縄文|弥生|戦国|奈良)時代|夏休み|春休み|冬休み|年末年始|ゴールデンウィーク|お盆|クリスマス|お正月|元日|大晦日|週末"),
    ("TIME", r"(?:午前|午後|朝|夜|昼|深夜|夕方)の?(?:\d{1,2}|[一二三四五六七八九十]+)時(?:半|\d{1,2}分)?(?:頃|ごろ)?|(?:\d{1,2}|[一二三四五六七八九十]+)時(?:半|\d{1,2}分)?(?!間|代)|\d{1,2}:\d{2}(?::\d{2})?|" + N + r"(?:時間半?|分間?|秒間?)(?:前|後|以内|以上)?|正午|今朝|昨夜|今夜|今晩|昨晩|毎朝|毎晩|未明"),
    ("MONEY", N + r"(?:円|ドル|ユーロ|ポンド|元|ウォン|ルピー|フラン|セント|バーツ|ペソ)|[$¥€£]\d[\d,.]*"),
    ("PERCENT", r"\d[\d,.]*(?:%|パーセント|ポイント)|[一二三四五六七八九]割(?:[一二三四五六七八九]分)?|\d割"),
    ("ORDINAL", r"第(?:\d+|[一二三四五六七八九十百]+)(?:回|位|章|条|話|号|代|巻|期|次|世代|版|部)?|(?:\d+|[一二三四五六七八九十]+)(?:番目|位|回目|人目|代目|度目|年目|号機|日目|つ目)"),
    ("QUANTITY", NK + r"(?:人|名|個|冊|台|匹|頭|羽|本|枚|件|社|校|軒|棟|隻|機|杯|足|着|通|曲|点|票|店舗|世帯|か国|カ国|ヶ国|か所|カ所|ヶ所|種類|キロメートル|センチメートル|ミリメートル|メートル|キロ|センチ|ミリ|グラム|キログラム|トン|リットル|ヘクタール|平方メートル|平方キロメートル|km|cm|mm|kg|m|g|t|ml|L|度|歳|才|倍|回|階建て|GB|MB|TB|馬力|ワット|キロワット|カロリー|ページ|文字|行|万人|億人|バイト|点|ゴール|本塁打|安打|勝|敗|連勝|連敗|連覇|冠)"),
    ("LANGUAGE", r"(?:日本|英|中国|韓国|フランス|ドイツ|スペイン|イタリア|ロシア|ポルトガル|アラビア|タイ|ベトナム|ラテン|ギリシャ)語(?!学|圏)"),
    ("NORP", r"(?:日本|アメリカ|中国|韓国|フランス|ドイツ|イギリス|イタリア|ロシア|インド)人"),
    ("GPE", r"(?<![一-龥ァ-ヴー])(?:日本|アメリカ|中国(?!地方)|韓国|フランス|ドイツ|イギリス|東京|大阪|京都(?!議)|ロシア)(?![一-龥ァ-ヴー])"),
    ("LOC", r"富士山"),
]]


def autotag(marked):
    """Tag closed-class expressions (dates, amounts, ...) wherever no entity stands yet, by rule."""
    out, pos, depth = [], 0, 0
    parts = re.split("([\uE000-\uE100])", marked)
    for part in parts:
        if part and "\uE000" <= part[0] <= END:
            depth += -1 if part == END else 1
            out.append(part)
            continue
        if depth or not part:
            out.append(part)
            continue
        i, buf = 0, []
        while i < len(part):
            best = None
            if part[i] in STARTS:
                for kind, rx in RULES:
                    m = rx.match(part, i)
                    if m and m.end() > i and (best is None or m.end() > best[1]):
                        if i and part[i].isdigit() and (part[i - 1].isdigit() or part[i - 1] in ".,"):
                            continue
                        best = (kind, m.end())
            if best:
                buf.append(mark(best[0], part[i:best[1]]))
                i = best[1]
            else:
                buf.append(part[i])
                i += 1
        out.append("".join(buf))
    return "".join(out)


STARTS = set("0123456789一二三四五六七八九十百千数約第明大昭平令西紀今来先毎再月火水木金土日昨翌去おさきあ夏春冬年ゴクお元週午朝夜昼深夕正未$¥€£英中韓フドスイロポアタベラギ江鎌室縄弥戦奈東京本富前")


class NerGen(Gen):
    """Entities by type, templates filled with them, and the rewriting grammar with entities in its noun slots."""

    def __init__(self, lex, rng, test=False):
        super().__init__(lex, rng, test)
        self.templates = ner_templates.load()
        more = [t for t in ner_templates.MORE if t.strip()]
        order = list(range(len(self.templates)))
        random.Random(11).shuffle(order)
        cut = len(order) // 12
        self.fresh = [self.templates[i] for i in order[:cut]]   # templates only held-out sentences may use
        self.known = [self.templates[i] for i in order[cut:]] + (more + more if not test else [])

    def proper(self, bag):
        """A proper name from a dictionary list, unless it is a common noun too."""
        for _ in range(6):
            w = self.pick(bag, 1)
            if w not in self.common():
                break
        return w

    def common(self):
        if "common" not in self.cache:
            self.cache["common"] = set(self.lex["noun"].train) | set(self.lex["noun"].test) | set(self.lex["sahen"].train) | set(self.lex["sahen"].test)
        return self.cache["common"]

    def any(self, *choices):
        """Weighted choice of (weight, callable)."""
        x = self.rng.random() * sum(w for w, _ in choices)
        for w, f in choices:
            x -= w
            if x <= 0:
                return f()
        return choices[-1][1]()

    def core(self, name):
        """A well-known name; held-out sentences use only the held-out part of the list."""
        return self.lst(name)

    # --- one method per slot ---
    def JP(self):
        r, rng = self.rng.random(), self.rng
        if r < .30:
            return self.pick("sur") + self.pick("given")
        if r < .50:
            return self.lst("SUR_COMMON") + (self.lst("GIVEN_COMMON") if rng.random() < .6 else self.pick("given"))
        if r < .80:
            return self.pick("full", 1)
        return self.core("JP_PERSON")

    def FOR(self):
        rng = self.rng
        r = rng.random()
        if r < .18:
            return self.core("FOREIGN_PERSON")
        if r < .23:
            return self.pick("full_foreign", 1)
        if r < .28:
            return self.core("CN_KR_PERSON")
        g = self.lst("FOREIGN_GIVEN") if rng.random() < .5 else self.pick(rng.choice(["kata_g", "foreign", "foreign"]), 1)
        f = self.lst("FOREIGN_FAMILY") if rng.random() < .45 else self.pick(rng.choice(["kata_s", "foreign", "foreign"]), 1)
        mid = "" if rng.random() < .88 else rng.choice([self.lst("FOREIGN_GIVEN"), rng.choice("ABCDEFGHJKLMRSTW"), "デ", "フォン", "ファン", "ド", "アル"]) + "・"
        sep = "・" if rng.random() < .94 else rng.choice(["＝", " "])
        return g + sep + mid + f

    def PERSON_RAW(self):
        r = self.rng.random()
        return self.JP() if r < .6 else self.FOR()

    def PERSON(self):
        """A full name, or with a title after it (outside the entity)."""
        rng, r = self.rng, self.rng.random()
        if r < .50:
            return mark("PERSON", self.PERSON_RAW())
        if r < .66:
            return mark("PERSON", self.PERSON_RAW()) + self.lst("TITLE")
        if r < .88:
            sur = self.lst("SUR_COMMON") if rng.random() < .6 else self.pick("sur")
            return mark("PERSON", sur) + self.lst("TITLE")
        if r < .94:
            return mark("PERSON", self.core("FOREIGN_MONO") if rng.random() < .5 else self.lst("FOREIGN_FAMILY")) + self.lst("TITLE")
        if r < .97:
            return mark("PERSON", self.lst("GIVEN_COMMON") if rng.random() < .7 else self.pick("given")) + rng.choice(["さん", "ちゃん", "くん", "君", "", "先生"])
        return mark("PERSON", self.core("FOREIGN_MONO"))

    def NAME(self):
        """Only a full name, no title."""
        return mark("PERSON", self.PERSON_RAW())

    def SUR(self):
        return mark("PERSON", self.lst("SUR_COMMON") if self.rng.random() < .6 else self.pick("sur"))

    def FORNAME(self):
        return mark("PERSON", self.FOR())

    def COUNTRY(self):
        r = self.rng.random()
        return mark("GPE", self.core("COUNTRY") if r < .7 else self.pick("cldr_country", 1) if r < .95 else self.pick("country_ip", 1))

    def CITY(self):
        rng, r = self.rng, self.rng.random()
        if r < .35:
            return mark("GPE", self.core("JP_CITY"))
        if r < .45:
            return mark("GPE", self.core("PREF"))
        if r < .55:
            return mark("GPE", self.core("PREF") + self.pick("city", 1) + rng.choice("市市町村区"))
        if r < .70:
            return mark("GPE", self.pick("city", 1) + rng.choice(["市", "町", "村", "市", "区", ""]))
        if r < .85:
            return mark("GPE", self.core("WORLD_CITY"))
        if r < .93:
            return mark("GPE", self.pick("cldr_city", 1) if rng.random() < .6 else self.pick("kata_city", 1))
        return mark("GPE", self.pick("place_en", 1) + rng.choice(["", "州", "市", ""]))

    def GPE(self):
        return self.COUNTRY() if self.rng.random() < .5 else self.CITY()

    def COMPANY(self):
        rng, r = self.rng, self.rng.random()
        if r < .38:
            return mark("ORG", self.core("COMPANY"))
        if r < .44:
            return mark("ORG", rng.choice(["株式会社" + self.core("COMPANY"), self.core("COMPANY") + "株式会社"]))
        if r < .60:
            base = rng.choice([self.pick("sur"), self.pick("city", 1.3), self.pick("kata_noun", 1.2), self.pick("kata_noun", 1.2) + self.pick("kata_noun", 1.2), kata_noise(rng), self.pick("noun", 1.5), self.core("JP_CITY"), "日本" + self.pick("noun", 2), rng.choice("ABCDEFGHIJKLMNOPRSTUVXYZ") + "".join(rng.choice("abcdefghijklmnoprstuvwxyz") for _ in range(rng.randint(2, 7)))])
            tail = rng.choice("工業 商事 電機 製作所 建設 銀行 証券 不動産 食品 薬品 製薬 運輸 電力 ガス 鉄道 電鉄 ホールディングス グループ システムズ テクノロジー ソリューションズ 産業 物産 化学 自動車 重工業 印刷 出版 新聞 放送 テレビ 生命 保険 フーズ 商店 酒造 エンジニアリング 研究所 コーポレーション デザイン ソフトウェア".split())
            return mark("ORG", rng.choice([base + tail, base + tail, "株式会社" + base, base + "株式会社", "株式会社" + base + tail, "有限会社" + base, "(株)" + base, base + "社" if False else base + tail + "株式会社", "合同会社" + base]))
        if r < .75:
            return mark("ORG", self.proper("company_en"))
        return mark("ORG", self.proper("org_ip"))

    def INST(self):
        """Ministries, universities, parties, teams, media."""
        rng, r = self.rng, self.rng.random()
        if r < .5:
            return mark("ORG", self.core("ORG"))
        if r < .65:
            place = rng.choice([self.core("JP_CITY"), self.core("PREF")[:-1], self.pick("city", 1.2), self.pick("sur"), self.core("COUNTRY")])
            return mark("ORG", place + rng.choice("大学 高校 高等学校 中学校 小学校 市役所 県庁 県警 府警 地裁 地方裁判所 高裁 病院 総合病院 市立病院 商工会議所 警察署 消防署 税務署 教育委員会 医科大学 工業大学 女子大学 大学病院 中央銀行 交響楽団 新聞 テレビ 農協 美術大学 国立大学 研究所 保健所".split()))
        if r < .8:
            return mark("ORG", self.proper("org_en"))
        if r < .9:
            return mark("ORG", "日本" + self.pick("noun", 2) + rng.choice(["協会", "学会", "連盟", "連合会", "機構", "財団", "研究所", "委員会"]))
        return mark("ORG", "".join(rng.choice("ABCDEFGHIJKLMNOPRSTUWX") for _ in range(rng.randint(3, 5))))

    def ORG(self):
        return self.COMPANY() if self.rng.random() < .58 else self.INST()

    def UNIV(self):
        if self.rng.random() < .5:
            return mark("ORG", self.rng.choice([w for w in L.ORG if w.endswith(("大学", "東大", "京大", "MIT"))]))
        return mark("ORG", self.rng.choice([self.core("JP_CITY"), self.core("PREF")[:-1], self.pick("sur"), self.pick("city", 1)]) + self.rng.choice(["大学", "工業大学", "女子大学", "高校", "医科大学", "学院大学", "国際大学"]))

    def PARTY(self):
        return mark("ORG", self.rng.choice("自民党 自由民主党 公明党 立憲民主党 日本維新の会 共産党 国民民主党 れいわ新選組 社民党 民主党 共和党 労働党 保守党".split()))

    def TEAM(self):
        return mark("ORG", self.rng.choice("読売ジャイアンツ 巨人 阪神タイガース 阪神 ソフトバンク 広島カープ 中日ドラゴンズ 横浜DeNAベイスターズ ヤクルト 西武ライオンズ 日本ハム オリックス ロッテ 楽天 浦和レッズ 鹿島アントラーズ ヴィッセル神戸 ガンバ大阪 川崎フロンターレ 名古屋グランパス レアル・マドリード バルセロナ マンチェスター・シティ アーセナル リバプール バイエルン・ミュンヘン ドジャース ヤンキース エンゼルス パドレス レイカーズ ウォリアーズ".split()))

    def LOC(self):
        return mark("LOC", self.core("LOC") if self.rng.random() < .6 else self.pick("feature", 1))

    def FAC(self):
        rng, r = self.rng, self.rng.random()
        if r < .5:
            return mark("FAC", self.core("FAC"))
        if r < .75:
            return mark("FAC", self.pick("station", 1))
        place = rng.choice([self.core("JP_CITY"), self.pick("city", 1), self.pick("sur"), self.core("WORLD_CITY")])
        return mark("FAC", place + rng.choice("空港 国際空港 駅 城 神社 寺 美術館 博物館 動物園 水族館 公園 球場 スタジアム 大橋 タワー ホール 図書館 体育館 港 ダム トンネル ホテル 劇場 大聖堂 宮殿".split()))

    def PRODUCT(self):
        rng, r = self.rng, self.rng.random()
        if r < .65:
            return mark("PRODUCT", self.core("PRODUCT"))
        if r < .75:
            return mark("PRODUCT", rng.choice(["iPhone", "Windows", "PlayStation", "Galaxy", "Pixel", "Android", "プレイステーション", "Xperia", "GPT-", "モデル", "Python"]) + rng.choice(["", "", " "]) + str(rng.randint(2, 20)))
        return mark("PRODUCT", self.proper("product_en"))

    def WORK(self):
        rng = self.rng
        w = self.core("WORK") if rng.random() < .55 else self.pick("work_en", 1) if rng.random() < .5 else self.pick("noun", 1.5) + rng.choice(["の", "と", "は", "、"]) + self.pick("noun", 1.5)
        q = rng.random()
        return "『" + mark("WORK_OF_ART", w) + "』" if q < .6 else "「" + mark("WORK_OF_ART", w) + "」" if q < .92 else mark("WORK_OF_ART", self.core("WORK"))

    def EVENT(self):
        rng = self.rng
        if rng.random() < .8:
            return mark("EVENT", self.core("EVENT"))
        return mark("EVENT", rng.choice([self.core("JP_CITY"), self.core("WORLD_CITY"), self.core("COUNTRY")]) + rng.choice(["オリンピック", "五輪", "万博", "マラソン", "映画祭", "音楽祭", "サミット", "モーターショー", "国際映画祭", "花火大会", "大地震", "革命"]))

    def NORP(self):
        rng = self.rng
        return mark("NORP", (self.core("COUNTRY") if rng.random() < .8 else self.pick("cldr_country", 1)) + rng.choice(["人", "人", "人", "系"]) if rng.random() < .85 else rng.choice(L.NORP))

    def LANG(self):
        return mark("LANGUAGE", self.core("LANG") if self.rng.random() < .75 else self.pick("cldr_lang", 1))

    def num(self):
        rng, r = self.rng, self.rng.random()
        if r < .5:
            return str(rng.randint(1, 99))
        if r < .65:
            return str(rng.randint(100, 9999))
        if r < .75:
            return format(rng.randint(1000, 9999999), ",")
        if r < .85:
            return str(rng.randint(1, 999)) + rng.choice(["万", "億", "千", "兆", "万", "億"])
        if r < .92:
            return "%d.%d" % (rng.randint(0, 99), rng.randint(1, 9))
        return rng.choice(["二", "三", "四", "五", "六", "七", "八", "九", "十", "十二", "二十", "百", "三千", "数十", "数百", "五百"])

    def DATE(self):
        rng = self.rng
        y = lambda: rng.choice([str(rng.randint(1850, 2035)), str(rng.randint(1990, 2030)), rng.choice(["昭和", "平成", "令和", "大正", "明治"]) + rng.choice([str(rng.randint(2, 40)), "元"])]) + "年"
        md = lambda: "%d月%d日" % (rng.randint(1, 12), rng.randint(1, 31))
        wd = lambda: rng.choice("月火水木金土日")
        return mark("DATE", self.any(
            (3, lambda: y()), (3, lambda: y() + md()), (2, lambda: y() + "%d月" % rng.randint(1, 12)), (3, md), (1.5, lambda: "%d月" % rng.randint(1, 12)),
            (1, lambda: y() + "度"), (1, lambda: "%d0年代" % rng.randint(180, 202)), (1, lambda: md() + "(" + wd() + ")"), (.6, lambda: y() + md() + "(" + wd() + ")"),
            (4, lambda: rng.choice("昨日 今日 明日 本日 昨年 今年 来年 去年 先月 今月 来月 先週 今週 来週 明後日 一昨日 翌日 前日 毎日 毎年 おととい あさって 再来週 翌年 同年 昨年度 今年度 来年度 きのう あした 週末 毎週 同日".split())),
            (1, lambda: wd() + "曜日"), (1, lambda: rng.choice(["来週の", "先週の", "今週の", "毎週", "次の"]) + wd() + "曜日"), (.4, lambda: wd() + "曜"),
            (.8, lambda: rng.choice(["昨年", "今年", "来年", "先月", "今月", "来月"]) + rng.choice(["の", ""]) + rng.choice([md(), "%d日" % rng.randint(1, 31), "%d月" % rng.randint(1, 12), "春", "夏", "秋", "冬", "末"])),
            (1, lambda: rng.choice(["江戸", "明治", "平安", "鎌倉", "室町", "昭和", "縄文", "戦国", "奈良"]) + "時代"), (.6, lambda: "%d世紀" % rng.randint(8, 21)),
            (1.5, lambda: rng.choice([str(rng.randint(1, 50)), rng.choice("一二三四五六十")]) + rng.choice(["年前", "年間", "日間", "週間", "か月", "カ月", "ヶ月後", "日後", "年ぶり", "週間後", "年後", "日前", "カ月前", "年"])),
            (.5, lambda: "%d日" % rng.randint(1, 31)), (.4, lambda: "%d年%d月期" % (rng.randint(1999, 2030), rng.choice([3, 6, 9, 12]))),
            (.5, lambda: rng.choice(["夏休み", "ゴールデンウィーク", "クリスマス", "お正月", "年末", "年始", "お盆", "元日", "大晦日", "冬休み", "春休み", "秋", "夏", "冬", "春", "今春", "今夏", "今秋", "昨秋"])),
            (.4, lambda: "%d/%d/%d" % (rng.randint(1990, 2030), rng.randint(1, 12), rng.randint(1, 28))), (.2, lambda: "%d-%02d-%02d" % (rng.randint(1990, 2030), rng.randint(1, 12), rng.randint(1, 28)))))

    def TIME(self):
        rng = self.rng
        h, m = rng.randint(0, 23), rng.randint(0, 59)
        return mark("TIME", self.any(
            (3, lambda: rng.choice(["午前", "午後"]) + "%d時" % (h % 12) + rng.choice(["", "", "半", "%d分" % m])), (2, lambda: "%d時" % h + rng.choice(["", "", "半", "%d分" % m, "頃", "ごろ"])),
            (1, lambda: "%d:%02d" % (h, m)), (1, lambda: rng.choice(["朝", "夜", "夕方", "深夜", "早朝"]) + rng.choice(["", "の"]) + rng.choice(["%d時" % (h % 12 + 1), rng.choice("五六七八九十") + "時"])),
            (2, lambda: rng.choice([str(rng.randint(1, 60)), rng.choice("二三四五十")]) + rng.choice(["時間", "分", "分間", "時間後", "時間半", "分後", "秒", "分前"])),
            (1, lambda: rng.choice(["今朝", "昨夜", "今夜", "昨晩", "今晩", "正午", "未明", "毎朝", "毎晩", "明け方"])), (.5, lambda: rng.choice("一二三四五六七八九十") + "時" + rng.choice(["", "半"]))))

    def MONEY(self):
        rng = self.rng
        cur = rng.choice("円 円 円 円 円 円 ドル ドル ユーロ ポンド 元 ウォン ルピー".split())
        r = rng.random()
        if r < .08:
            return mark("MONEY", rng.choice("$¥€") + format(rng.randint(1, 99999), ","))
        if r < .2:
            return mark("MONEY", "%d億%d万" % (rng.randint(1, 999), rng.choice([1000, 2000, 3500, 5000, rng.randint(1, 9999)])) + cur)
        return rng.choice(["", "", "", "約"]) + mark("MONEY", self.num() + cur)

    def PERCENT(self):
        rng = self.rng
        return mark("PERCENT", self.any((6, lambda: rng.choice([str(rng.randint(0, 100)), "%d.%d" % (rng.randint(0, 99), rng.randint(0, 9))]) + rng.choice(["%", "%", "パーセント"])),
                                        (1, lambda: rng.choice("一二三四五六七八九123456789") + "割"), (.6, lambda: "%d.%dポイント" % (rng.randint(0, 9), rng.randint(0, 9)))))

    def QUANTITY(self):
        rng = self.rng
        return mark("QUANTITY", self.num() + rng.choice("人 人 人 名 杯 曲 か月分 個 冊 台 匹 頭 羽 本 枚 件 社 校 軒 隻 機 か国 カ国 か所 カ所 種類 キロメートル メートル センチ キロ グラム トン リットル ヘクタール 平方メートル km cm kg m 度 歳 歳 倍 回 GB ページ 曲 票 店舗 世帯 万人".split()))

    def GIVEN(self):
        return mark("PERSON", self.lst("GIVEN_COMMON") if self.rng.random() < .75 else self.pick("given")) + self.rng.choice(["", "", "", "さん", "ちゃん", "くん"])

    def FAM(self):
        """A foreign family name alone: titles and context must carry it."""
        r = self.rng.random()
        return mark("PERSON", self.core("FOREIGN_MONO") if r < .3 else self.lst("FOREIGN_FAMILY") if r < .5 else self.pick("foreign", 1))

    def PREFN(self):
        return mark("GPE", self.core("PREF"))

    def CITYN(self):
        return mark("GPE", self.core("JP_CITY") if self.rng.random() < .4 else self.pick("city", 1) + self.rng.choice("市市町村区"))

    def NUM(self):
        return mark("QUANTITY", str(self.rng.randint(5, 99)) + self.rng.choice(["", "歳"]))

    def SCORE(self):
        return mark("QUANTITY", "%d" % self.rng.randint(0, 12) + self.rng.choice(["対", "対", "-"]) + "%d" % self.rng.randint(0, 9))

    def CUPS(self):
        return mark("QUANTITY", self.rng.choice(list("二三四五六23456") + ["1", "10"]) + "杯")

    def CNT(self):
        return mark("QUANTITY", self.rng.choice(list("二三四五六七八九十23456789") + ["10", "12", "20"]) + self.rng.choice("個冊枚本匹台つ"))

    def DIGIT(self):
        return self.rng.choice("1234567") + self.rng.choice(["", "強", "弱"])

    def PEOPLE_N(self):
        return mark("QUANTITY", self.num() + self.rng.choice(["人", "名", "人", "万人"]))

    def AGE(self):
        return mark("QUANTITY", str(self.rng.randint(1, 99)) + "歳")

    def ORDINAL(self):
        rng = self.rng
        return mark("ORDINAL", rng.choice(["第%d回" % rng.randint(1, 120), "%d位" % rng.randint(1, 99), "第%d位" % rng.randint(1, 50), "%d番目" % rng.randint(1, 20), "%d回目" % rng.randint(2, 30), "第" + rng.choice("一二三四五六") + rng.choice(["章", "回", "次", "期", "部"]), "%d代目" % rng.randint(2, 15), "第%d代" % rng.randint(1, 100), rng.choice("二三四五") + "番目", "首位" if False else "%d年目" % rng.randint(2, 20)]))

    def TITLE_N(self):
        return self.lst("TITLE").replace("さん", "社長").replace("氏", "会長").replace("くん", "教授").replace("ちゃん", "先生").replace("様", "部長").replace("君", "選手").replace("殿", "市長")

    def fill(self, t):
        rng = self.rng

        def slot(m):
            k = m[1]
            if hasattr(self, k):
                return getattr(self, k)()
            if k == "TITLE":
                return self.TITLE_N()
            if k == "N":
                return self.pick("noun", 1.8)
            if k == "SA":
                return self.pick("sahen", 1.8)
            return self.lst(k)

        def pred(m):
            w = m[1]
            join = w.endswith("+")
            w = w.rstrip("+")
            if w == "です":
                word, kind = "", "cop"
            elif w in L.ADJ or (w.endswith("い") and w not in self.lex["verb_type"]):
                word, kind = w, "adj"
            else:
                word, kind = w, self.lex["verb_type"].get(w) or ("サ変・スル" if w.endswith("する") else self.lex["verb_type"].get(w[-2:], "一段"))
                if rng.random() < .3:
                    p, w2, k2 = cj.modal("", word, kind, rng)
                    a, b = cj.ending(w2, k2, rng, joiner=join)
                    return self.choose(p + a, p + b)
            for _ in range(4):
                a, b = cj.ending(word, kind, rng, joiner=join)
                if not re.search(r"(か|う|くれ|ください)[ね。]?$", b) or rng.random() < .15:
                    break
            return self.choose(a, b)
        t = re.sub(r"\(([^()|]*(?:\|[^()|]*)+)\)", lambda m: rng.choice(m[1].split("|")), t)
        t = re.sub(r"\{(\w+)\}", slot, t)
        return re.sub(r"\[([^\]]+)\]", pred, t)

    def choose(self, polite, plain):
        """Rewriting wants both; entities only one of them. Both are kept, split by a private-use character."""
        return "\uF000" + polite + "\uF001" + plain + "\uF002"

    def both(self, marked):
        return (re.sub("\uF000(.*?)\uF001.*?\uF002", r"\1", marked), re.sub("\uF000.*?\uF001(.*?)\uF002", r"\1", marked))

    def templated(self, fresh=False):
        rng = self.rng
        pool = self.fresh if fresh else self.known
        s = self.fill(rng.choice(pool))
        r = rng.random()
        if r < .06:
            s = self.DATE() + rng.choice(["、", "に", "は"]) + s
        elif r < .09:
            s = rng.choice(L.CONJ) + "、" + s
        elif r < .11:
            s = self.ORG() + "によると、" + s
        p, q = self.both(s)
        e = "" if re.search("[。！？]$", p) else rng.choice(["。", "。", "。", "。", "。", "", "！", "。"])
        return p + e, q + e

    # --- entities inside the random grammar ---
    def name(self):
        rng = self.rng
        return self.any((4, self.PERSON), (3, self.GPE), (3, self.ORG), (1, self.LOC), (1, self.FAC), (1, self.PRODUCT), (.5, self.EVENT), (.5, self.NORP), (.7, self.WORK), (.3, self.LANG),
                        (.6, self.DATE), (.4, self.MONEY), (.5, self.QUANTITY), (.3, self.ORDINAL), (.2, self.PERCENT), (.2, self.TIME))

    def sample(self, fresh=None):
        """One NFKC text with entity spans."""
        rng = self.rng
        fresh = (rng.random() < .5) if fresh is None and self.test else bool(fresh)
        r = rng.random()
        if r < .80 or self.test:
            k = 1 if rng.random() < .75 else rng.randint(2, 4)
            s = "".join(self.templated(fresh)[rng.random() < .5] for _ in range(k))
        elif r < .95:
            s = "".join(self.sentence()[rng.random() < .4] for _ in range(rng.choice([1, 1, 2])))
        else:
            s = self.name() + rng.choice(["", "", "、" + self.name(), "と" + self.name(), "の" + self.pick("noun")])
        s = unicodedata.normalize("NFKC", s)
        return strip(autotag(s))


if __name__ == "__main__":
    import sys
    import lexicon
    g = NerGen(lexicon.load(), random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0), len(sys.argv) > 2)
    for _ in range(60):
        t, sp = g.sample()
        for s, e, k in reversed(sp):
            t = t[:s] + "[" + t[s:e] + "/" + k + "]" + t[e:]
        print(t)
