"""Words for the demo data: read the open dictionaries once, split off held-out words, keep the rest.

Everything a generated sentence is made of comes through here, so that "held out" has one meaning:
a word whose hash falls into the held-out share never appears in training data.
"""
import collections
import glob
import hashlib
import os
import pickle
import re
import unicodedata

IPADIC = os.environ.get("DEMO_IPADIC", "/usr/share/mecab/dic/ipadic")
ENAMDICT = os.environ.get("DEMO_ENAMDICT", "/usr/share/edict/enamdict")

KANA = re.compile(r"^[ァ-ヴー・=]+$")
KANJI = re.compile(r"^[一-龥々ヶケノ]+$")


def core():
    """The hand-written everyday words: never held out, because every visitor uses them."""
    import lists
    words = set(lists.frames())
    for value in vars(lists).values():
        if isinstance(value, list):
            words.update(value)
    return words


def held(word, share=0.06):
    """True for the fixed share of dictionary words that only held-out sentences may use."""
    if word in CORE:
        return False
    return hashed(word, share)


def hashed(word, share=0.06):
    h = int.from_bytes(hashlib.sha256(("inazuma:" + word).encode()).digest()[:4], "big")
    return h / 2**32 < share


def nfkc(s):
    return unicodedata.normalize("NFKC", s).strip()


def ipadic(name):
    """Rows of one IPADIC source file: surface, cost, part of speech 1-4, conjugation, form, base form."""
    for line in open(os.path.join(IPADIC, name), encoding="euc-jp"):
        f = line.rstrip("\n").split(",")
        yield f[0], int(f[3]), f[4:8], f[8], f[9], f[10]


CORE = core()


class Bag:
    """A weighted list of words. `pick` prefers words near the front: a speaker uses few words often."""

    def __init__(self, words):
        seen = dict.fromkeys(words)
        self.train = [w for w in seen if not held(w)]
        self.test = [w for w in seen if held(w)]

    def pick(self, rng, test=False, skew=2.0):
        words = self.test if test and self.test else self.train
        return words[int(len(words) * rng.random() ** skew)]

    def __len__(self):
        return len(self.train) + len(self.test)


def names():
    """Family names, given names and foreign names from IPADIC and ENAMDICT, commonest (cheapest) first."""
    by = collections.defaultdict(list)
    for s, cost, pos, *_ in ipadic("Noun.name.csv"):
        by[pos[3], bool(KANA.match(s))].append((cost, s))
    rank = {k: [w for _, w in sorted(v)] for k, v in by.items()}
    en = collections.defaultdict(list)
    freq_s, freq_g = collections.Counter(), collections.Counter()
    for line in open(ENAMDICT, encoding="euc-jp", errors="ignore"):
        m = re.match(r"(\S+)(?: \[(\S+)\])? /\(([^)]*)\) ?(.*)/", line)
        if m:
            for t in m[3].split(","):
                en[t].append((nfkc(m[1]), m[4]))
    surn = set(w for w in rank["姓", False])
    given = set(w for w in rank["名", False])
    full = [w for w, _ in en["h"] if 3 <= len(w) <= 6 and re.match(r"^[一-龥々][一-龥々ぁ-ん]+$", w)]
    for w in full:  # real people tell how common a family or given name is
        for k in (2, 1, 3):
            if w[:k] in surn and len(w) > k:
                freq_s[w[:k]] += 1
                freq_g[w[k:]] += 1
                break
    sur = [w for w, n in freq_s.most_common() if n > 0 and w in surn and KANJI.match(w)]
    giv = [w for w, n in freq_g.most_common() if (n > 1 or w in given) and len(w) <= 3]
    gcount = [w for w in rank["名", False] if w not in freq_g and len(w) <= 3]
    kata_s = [w for w in rank["姓", True] if 2 <= len(w) <= 8 and "・" not in w]
    kata_g = [w for w in rank["名", True] if 2 <= len(w) <= 7 and "・" not in w]
    foreign = [w for t in ("u", "g", "m", "f", "s") for w, g in en[t]
               if KANA.match(w) and 2 <= len(w) <= 8 and "・" not in w]
    step = max(1, len(foreign) // 30000)
    foreign = sorted(set(foreign))[::step]
    real_foreign = [w for w, _ in en["h"] if KANA.match(w) and "・" in w]
    return dict(sur=Bag(sur), given=Bag(giv + gcount[:4000]), kata_s=Bag(kata_s), kata_g=Bag(kata_g),
                foreign=Bag(foreign), full=Bag(full), full_foreign=Bag(real_foreign),
                place_en=Bag(w for w, _ in en["p"] if KANA.match(w) and 3 <= len(w) <= 8),
                company_en=Bag(w for w, _ in en["c"] if len(w) >= 2),
                org_en=Bag(w for w, _ in en["o"] if len(w) >= 3),
                product_en=Bag(w for w, _ in en["pr"] if len(w) >= 2),
                work_en=Bag(w for w, _ in en["wk"] if len(w) >= 2),
                station=Bag(w for w, _ in en["st"] if w.endswith("駅") and 3 <= len(w) <= 6))


def places():
    city, feature, country = [], [], []
    for s, cost, pos, *_ in ipadic("Noun.place.csv"):
        s = nfkc(s)
        (country if pos[3] == "国" else city).append((cost, s))
    for s, cost, pos, *_ in ipadic("Noun.proper.csv"):
        s = nfkc(s)
        if re.search(r"[一-龥](川|山|岳|湾|岬|島|湖|半島|高原|海峡|峠|平野|盆地|滝|渓谷|砂漠|海岸|温泉)$", s) and len(s) >= 3:
            feature.append((cost, s))
    city = [w for _, w in sorted(city) if 2 <= len(w) <= 6]
    return dict(city=Bag(w for w in city if KANJI.match(w) or re.match(r"^[一-龥ぁ-ん]{2,5}$", w)),
                kata_city=Bag(w for w in city if KANA.match(w)),
                feature=Bag(w for _, w in sorted(feature)),
                country_ip=Bag(w for _, w in sorted(country)))


def orgs():
    rows = sorted((c, nfkc(s)) for s, c, *_ in ipadic("Noun.org.csv"))
    return dict(org_ip=Bag(w for _, w in rows if len(w) >= 3))


def nouns():
    """Common nouns, verbal nouns, na-adjectives and adverbs, cheapest first."""
    out = {}
    for key, f in (("noun", "Noun.csv"), ("sahen", "Noun.verbal.csv"), ("na", "Noun.adjv.csv"), ("adv", "Adverb.csv")):
        rows = sorted((c, nfkc(s)) for s, c, *_ in ipadic(f))
        ok = [w for _, w in rows if 1 <= len(w) <= 8 and not re.search(r"[!-~]", w)]
        if key != "adv":
            ok = [w for w in ok if len(w) >= 2]
        if key == "adv":  # words that would change the ending that follows them
            ok = [w for w in ok if not re.search(r"(です|ます|でし|まし|だ|な|て|で|に|と|は|も|が)$", w) and len(w) >= 2]
        out[key] = Bag(ok)
    kata = [w for w in out["noun"].train + out["noun"].test if KANA.match(w)]
    out["kata_noun"] = Bag(kata)
    return out


def verbs():
    """Base form -> conjugation type, cheapest reading first; only verbs that stand alone."""
    best = {}
    for s, c, pos, ctype, form, base in ipadic("Verb.csv"):
        if form == "基本形" and pos[1] == "自立" and len(s) <= 7:
            if s not in best or c < best[s][0]:
                best[s] = (c, ctype)
    ok = sorted((c, w, t) for w, (c, t) in best.items() if re.match(r"^(五段|一段$|カ変|サ変)", t) and "文語" not in t)
    return {w: t for _, w, t in ok}


def adjectives():
    best = {}
    for s, c, pos, ctype, form, base in ipadic("Adj.csv"):
        if form == "基本形" and pos[1] == "自立" and s.endswith("い") and len(s) <= 6:
            best[s] = min(c, best.get(s, 1 << 30))
    return [w for w, _ in sorted(best.items(), key=lambda x: x[1])]


def world():
    """Countries, cities, languages and currencies in Japanese, from CLDR through Babel."""
    from babel import Locale
    ja = Locale("ja")
    terr = [nfkc(v) for k, v in ja.territories.items() if re.match(r"^[A-Z]{2}$", k)]
    terr = [t for t in terr if not re.search(r"[()領・諸島A-Z]", t) and t not in ("不明な地域", "ユーロ圏", "世界", "国際連合")]
    lang = [nfkc(v) for v in ja.languages.values() if re.search(r"語$", v) and len(v) <= 6 and "(" not in v]
    cities = [nfkc(z["city"]) for z in ja.time_zones.values() if "city" in z]
    cities = [c for c in cities if KANA.match(c)]
    money = [nfkc(v) for v in ja.currencies.values() if len(v) <= 9 and not re.search(r"[()]", v)]
    return dict(cldr_country=Bag(terr), cldr_lang=Bag(lang), cldr_city=Bag(cities), cldr_money=Bag(money))


def load(cache=os.environ.get("DEMO_CACHE", "demo-lexicon.pkl")):
    """The whole lexicon, from the cache file when there is one."""
    if os.path.exists(cache):
        return pickle.load(open(cache, "rb"))
    lex = {}
    for part in (names, places, orgs, nouns, world):
        lex.update(part())
    v = verbs()
    lex["verb_type"] = v
    lex["verb"] = Bag(v)
    lex["adj"] = Bag(adjectives())
    pickle.dump(lex, open(cache, "wb"))
    return lex


if __name__ == "__main__":
    import random
    rng = random.Random(0)
    for k, b in load().items():
        if isinstance(b, Bag):
            print(k, len(b), [b.pick(rng) for _ in range(14)])
