"""Japanese inflection by rule, and polite/plain pairs built from it.

A predicate is a triple (prefix, word, kind): kind is a conjugation type of IPADIC for verbs, "adj" for
i-adjectives, "cop" for nouns and na-adjectives followed by the copula. Everything below keeps one
convention, which README.md states, so that each polite sentence has exactly one plain twin.
"""

ROWS = dict(カ="かきくけこ", ガ="がぎぐげご", サ="さしすせそ", タ="たちつてと", ナ="なにぬねの", バ="ばびぶべぼ",
            マ="まみむめも", ラ="らりるれろ", ワ="わいうえお")
TE = dict(カ="いて", ガ="いで", サ="して", タ="って", ナ="んで", バ="んで", マ="んで", ラ="って", ワ="って")
SA_HEN = "愛訳略託"


def forms(word, ctype):
    """masu stem, negative stem, te-form, ba-form, volitional, potential, passive, causative of a verb."""
    s = word[:-1]
    if ctype.startswith("五段"):
        row = ctype[3]
        a, i, u, e, o = ROWS[row]
        te = TE[row]
        if "促音便" in ctype:
            te = "って"
        if "ウ音便" in ctype:
            te = "うて"
        if "特殊" in ctype:  # いらっしゃる
            return dict(masu=s + "い", neg=s + "ら", te=s + "って", ba=s + "れば", vol=s + "ろう", pot=None, pas=None, cau=None)
        if word in ("ある", "有る"):
            return dict(masu=s + "り", neg="", te=s + "って", ba=s + "れば", vol=s + "ろう", pot=None, pas=None, cau=None)
        return dict(masu=s + i, neg=s + a, te=s + te, ba=s + e + "ば", vol=s + o + "う", pot=s + e + "る",
                    pas=s + a + "れる", cau=s + a + "せる")
    if ctype.startswith("カ変"):
        k = word[:-2]
        r = dict(masu="き", neg="こ", te="きて", ba="くれば", vol="こよう", pot="こられる", pas="こられる", cau="こさせる")
        if word.endswith("来る"):
            r = dict(masu="来", neg="来", te="来て", ba="来れば", vol="来よう", pot="来られる", pas="来られる", cau="来させる")
        return {n: k + v for n, v in r.items()}
    if ctype.startswith("サ変"):
        k = word[:-2]
        z = k + "さ" if k in tuple(SA_HEN) else k + "し"
        return dict(masu=k + "し", neg=z, te=k + "して", ba=k + "すれば", vol=k + ("そう" if k in tuple(SA_HEN) else "しよう"),
                    pot=k + "できる", pas=k + "される", cau=k + "させる")
    return dict(masu=s, neg=s, te=s + "て", ba=s + "れば", vol=s + "よう", pot=s + "られる", pas=s + "られる", cau=s + "させる")


def past(te):
    return te[:-1] + ("だ" if te[-1] == "で" else "た")


def plain(word, kind, tense="pres", neg=False):
    """The plain finite form; the copula's present is だ."""
    if kind == "adj":
        s = "よ" if word in ("いい",) else word[:-2] + "よ" if word.endswith("いい") and word in ("かっこいい", "格好いい") else word[:-1]
        if neg:
            return s + ("くなかった" if tense == "past" else "くない")
        return s + "かった" if tense == "past" else word
    if kind == "cop":
        if neg:
            return word + ("ではなかった" if tense == "past" else "ではない")
        return word + ("だった" if tense == "past" else "だ")
    f = forms(word, kind)
    if neg:
        return f["neg"] + ("なかった" if tense == "past" else "ない")
    return past(f["te"]) if tense == "past" else word


def finite(word, kind, tense, neg, rng):
    """(polite, plain) finite forms. Where politeness has several spellings one is drawn; plain follows it."""
    p = plain(word, kind, tense, neg)
    if kind == "adj":
        if neg:
            if rng.random() < 0.5:
                return p + "です", p
            return p[:-2] + "ありません" if tense == "pres" else p[:-4] + "ありませんでした", p
        return p + "です", p
    if kind == "cop":
        if not neg:
            return word + ("でした" if tense == "past" else "です"), p
        dewa = rng.choice(["では", "では", "じゃ"])
        p = word + dewa + ("なかった" if tense == "past" else "ない")
        if rng.random() < 0.25:
            return p + "です", p
        return word + dewa + ("ありませんでした" if tense == "past" else "ありません"), p
    m = forms(word, kind)["masu"]
    if neg:
        if rng.random() < 0.06:
            return p + "です", p
        return m + ("ませんでした" if tense == "past" else "ません"), p
    return m + ("ました" if tense == "past" else "ます"), p


ICHI, GODAN_R, GODAN_K, GODAN_S, GODAN_W, IKU = "一段", "五段・ラ行", "五段・カ行イ音便", "五段・サ行", "五段・ワ行促音便", "五段・カ行促音便"


def modal(pre, word, kind, rng, verb_bias=1.0):
    """Put a modality around a predicate; returns a new predicate (prefix, word, kind, allowed)."""
    any_plain = plain(word, kind, rng.choice(["pres", "pres", "past"]), rng.random() < 0.2)
    noun_plain = any_plain[:-1] if kind == "cop" and any_plain.endswith("だ") else any_plain
    r = rng.random()
    common = [
        (3, lambda: (pre + any_plain + "と", "思う", GODAN_W)), (1, lambda: (pre + any_plain + "と", "言う", GODAN_W)),
        (.6, lambda: (pre + any_plain + "と", "考える", ICHI)), (.6, lambda: (pre + any_plain + "と", "聞く", GODAN_K)),
        (.3, lambda: (pre + any_plain + "と", "話す", GODAN_S)), (.3, lambda: (pre + any_plain + "と", "述べる", ICHI)),
        (.3, lambda: (pre + any_plain + "と", "感じる", ICHI)), (.3, lambda: (pre + any_plain + "と", "いう", GODAN_W)),
        (1.5, lambda: (pre + noun_plain + "かも", "しれる", "KAMO")),
        (.4, lambda: (pre + noun_plain + "かも", "知れる", "KAMO")),
        (1.2, lambda: (pre + any_plain + "そう", "", "cop")),
        (.6, lambda: (pre + noun_plain, "らしい", "adj")),
        (.6, lambda: (pre + noun_plain + "みたい", "", "cop")),
        (.6, lambda: (pre + (noun_plain + "な" if noun_plain != any_plain else any_plain) + "はず", "", "cop")),
        (2, lambda: (pre + (noun_plain + "な" if noun_plain != any_plain else any_plain) + rng.choice("のん"), "", "cop")),
        (.8, lambda: (pre + (noun_plain + "の" if noun_plain != any_plain else any_plain) + "よう", "", "cop")),
        (.6, lambda: (pre + (noun_plain + "な" if noun_plain != any_plain else any_plain) + "わけ", "", "cop")),
        (.4, lambda: (pre + noun_plain + "に", "違う", "NICHI")),
        (.2, lambda: (pre + noun_plain + "の", "", "NASO")),
    ]
    if kind == "cop":
        common += [(1.5, lambda: (pre + word + "に", "なる", GODAN_R)), (.5, lambda: (pre + word, "すぎる", ICHI)),
                   (.6, lambda: (pre + word + "で", "ある", "DEARU"))]
    elif kind == "adj":
        s = plain(word, "adj", "pres", True)[:-3]
        common += [(1.5, lambda: (pre + s + "く", "なる", GODAN_R)), (.8, lambda: (pre + word[:-1], "すぎる", ICHI)),
                   (.8, lambda: (pre + (word[:-1] if s == word[:-1] else s + "さ") + "そう", "", "cop")),
                   (.4, lambda: (pre + s + "くて", "仕方ない", "adj"))]
    else:
        f = forms(word, kind)
        te, m, neg = f["te"], f["masu"], f["neg"]
        common += [
            (9, lambda: (pre + te, "いる", ICHI)), (2, lambda: (pre + te, "しまう", GODAN_W)), (1, lambda: (pre + te, "みる", ICHI)),
            (1, lambda: (pre + te, "おく", GODAN_K)), (1, lambda: (pre + te, "いく", IKU)), (1, lambda: (pre + te, "くる", "カ変・クル")),
            (.5, lambda: (pre + te, "行く", IKU)), (.5, lambda: (pre + te, "来る", "カ変・来ル")),
            (1, lambda: (pre + te, "もらう", GODAN_W)), (1, lambda: (pre + te, "くれる", ICHI)), (.7, lambda: (pre + te, "あげる", ICHI)),
            (1, lambda: (pre + te, "いただく", GODAN_K)), (.7, lambda: (pre + te, "くださる", "五段・ラ行特殊")),
            (1, lambda: (pre + te, "ほしい", "adj")), (.7, lambda: (pre + te, "ある", GODAN_R)),
            (.6, lambda: (pre + te, "いただける", ICHI)), (.4, lambda: (pre + te, "もらえる", ICHI)),
            (4, lambda: (pre + m, "たい", "adj")), (.8, lambda: (pre + m, "たがる", GODAN_R)),
            (1, lambda: (pre + m, "すぎる", ICHI)), (.8, lambda: (pre + m, "やすい", "adj")), (.8, lambda: (pre + m, "にくい", "adj")),
            (.8, lambda: (pre + m, "始める", ICHI)), (.8, lambda: (pre + m, "続ける", ICHI)), (.5, lambda: (pre + m, "終わる", GODAN_R)),
            (1, lambda: (pre + m + "そう", "", "cop")), (.5, lambda: (pre + m, "なさい", "FIX")),
            (3, lambda: (pre + word + "ことが", "できる", ICHI)), (1, lambda: (pre + word + "ことが", "ある", GODAN_R)),
            (1, lambda: (pre + past(te) + "ことが", "ある", GODAN_R)),
            (1, lambda: (pre + word + "ことに", "する", "サ変・スル")), (1, lambda: (pre + word + "ように", "なる", GODAN_R)),
            (.8, lambda: (pre + word + "ことに", "なる", GODAN_R)), (.6, lambda: (pre + word + "ように", "する", "サ変・スル")),
            (1, lambda: (pre + word + "つもり", "", "cop")), (1, lambda: (pre + word + "予定", "", "cop")),
            (.5, lambda: (pre + word + "ところ", "", "cop")), (.5, lambda: (pre + past(te) + "ばかり", "", "cop")),
            (1.5, lambda: (pre + neg + "なければ", "なる", "MUST")), (.6, lambda: (pre + neg + "なくては", "いける", "MUST")),
            (.3, lambda: (pre + neg + "なくちゃ", "いける", "MUST")),
            (1, lambda: (pre + te + "は", "いける", "MUST")), (1, lambda: (pre + te + "も", "いい", "adj")),
            (.6, lambda: (pre + neg + "なくても", "いい", "adj")), (.4, lambda: (pre + te + "も", "かまう", "MUST")),
            (.6, lambda: (pre + neg + "なくても", "かまう", "MUST")),
            (1, lambda: (pre + past(te) + "方が", "いい", "adj")), (.5, lambda: (pre + past(te) + "ほうが", "いい", "adj")),
            (.6, lambda: (pre + neg + "ないように", "する", "サ変・スル")), (1, lambda: (pre + f["vol"] + "と", "思う", GODAN_W)),
            (.8, lambda: (pre + f["vol"] + "と", "する", "サ変・スル")), (.5, lambda: (pre + m + "に", "行く", IKU)),
            (.4, lambda: (pre + "お" + m + "に", "なる", GODAN_R)), (.5, lambda: (pre + "お" + m, "する", "サ変・スル")),
            (.4, lambda: (pre + "お" + m, "いたす", GODAN_S)),
            (.7, lambda: (pre + te, "おる", "ORU")),
        ]
        for name, w in (("pas", 2), ("cau", .8), ("pot", 2)):
            if f[name]:
                common.append((w, lambda name=name: (pre, f[name], ICHI)))
    total = sum(w for w, _ in common)
    x = r * total
    for w, fn in common:
        x -= w
        if x <= 0:
            return fn()
    return common[0][1]()


def special(word, kind, rng):
    """Finite pairs of the few predicates with a shape of their own; None otherwise."""
    past_ = rng.random() < 0.2
    if kind in ("KAMO", "MUST"):
        stem = dict(しれる="しれ", 知れる="知れ", なる="なら", いける="いけ", かまう="かまわ")[word]
        po = dict(しれる="しれ", 知れる="知れ", なる="なり", いける="いけ", かまう="かまい")[word]
        if rng.random() < 0.12:
            return stem + "ないです", stem + "ない"
        return (po + "ませんでした", stem + "なかった") if past_ else (po + "ません", stem + "ない")
    if kind == "NICHI":
        w = rng.choice(["違い", "ちがい"])
        return w + rng.choice(["ありません", "ないです"]), w + "ない"
    if kind == "NASO":
        return "ではないでしょうか", "ではないだろうか"
    if kind == "DEARU":
        return ("ありました", "あった") if past_ else ("あります", "ある")
    if kind == "FIX":
        return word, word
    if kind == "ORU":  # humble おる becomes plain いる
        c = rng.random()
        return ("おりました", "いた") if c < .3 else ("おりません", "いない") if c < .45 else ("おります", "いる")
    return None


def ending(word, kind, rng, joiner=None):
    """One finite clause end as (polite, plain): tense, polarity and a final or joining particle."""
    sp = special(word, kind, rng)
    if sp:
        pol, pla, tense, neg = sp[0], sp[1], "pres", True
    else:
        tense = "past" if rng.random() < 0.38 else "pres"
        neg = rng.random() < 0.2
        pol, pla = finite(word, kind, tense, neg, rng)
    is_cop = kind == "cop" and tense == "pres" and not neg and not sp
    bare = pla[:-1] if is_cop else pla
    if kind == "FIX":
        return pol, pla
    if joiner:
        j = rng.choices(["が", "けど", "けれど", "けれども", "から", "ので", "し", "と", "たら", "のですが", "んですが", "んですけど", "のに", "のでしたら", "ものの"],
                        [8, 3, 1.5, .7, 4, 5, 2, 1, 1, 2, 2, 1, .5, .2, .3])[0]
        if j == "ので":
            c = rng.random()
            if c < 0.4:
                return bare + ("なので" if is_cop else "ので"), bare + ("なので" if is_cop else "ので")
            return pol + "ので", bare + ("なので" if is_cop else "ので")
        if j in ("のですが", "んですが", "んですけど", "のでしたら"):
            n = bare + ("な" if is_cop else "") + j[0]
            return (n + j[1:], n + {"ですが": "だが", "ですけど": "だけど", "でしたら": "だったら"}[j[1:]])
        if j == "のに" or j == "ものの":
            n = bare + ("な" if is_cop else "")
            return n + j, n + j
        if j == "たら":
            if sp or kind in ("KAMO", "MUST"):
                j = "が"
            else:
                po, pl = finite(word, kind, "past", neg, rng)
                if po.endswith("たです") or po.endswith("ないです"):
                    return pl + "ら", pl + "ら"
                return po + "ら", pl + "ら"
        if j == "と" and (tense == "past" or pol.endswith("ないです")):
            j = "が"
        if j in ("から", "し", "けど") and rng.random() < 0.25:
            return pla + j, pla + j
        return pol + j, pla + j
    r = rng.random()
    verbal = kind not in ("adj", "cop") and not sp
    if r < 0.62 or (kind == "cop" and not word and r < .66):
        return pol, pla
    if r < 0.72:
        q = rng.choices(["か", "かね", "かな"], [12, 1, .3])[0]
        if q == "かな":
            return bare + q, bare + q
        return pol + q, bare + q
    if r < 0.80:
        e = rng.choices(["ね", "よ", "よね", "わ", "な"], [5, 5, 2, .3, .2])[0]
        return pol + e, pla + e
    if r < 0.87:
        e = rng.choices(["", "か", "ね", "が", "から", "けど"], [6, 3, 1, 1, .3, .3])[0]
        return bare + "でしょう" + e, bare + "だろう" + e
    if verbal:
        f = forms(word, kind)
        if r < 0.91:
            e = rng.choices(["", "か", "ね", "よ"], [6, 2, .6, .6])[0]
            if f["vol"] and f["neg"]:
                return f["masu"] + "ましょう" + e, f["vol"] + e
        if r < 0.93:
            return f["masu"] + "ませんか", (f["neg"] + "ないか")
        if f["pas"] or kind == ICHI or f["neg"]:
            ku = rng.choice(["ください", "ください", "下さい"])
            if r < 0.975:
                if rng.random() < .08:
                    return f["te"] + "くださいね", f["te"] + "くれ"
                if rng.random() < .1:
                    return f["te"] + "くださいませんか", f["te"] + "くださらないか"
                return f["te"] + ku, f["te"] + "くれ"
            return f["neg"] + "ないで" + ku, f["neg"] + "ないでくれ"
    return pol, pla
