"""Deterministic texts for the tokenizer tests: Japanese as often as English, and everything that has ever broken a tokenizer.

`texts(seed, count, special)` yields bytes, because broken UTF-8 is among them; the reference reads them with
errors="replace". The same arguments always give the same texts (given the same mecab-ipadic sources).
"""

import functools
import pathlib
import random
import unicodedata

IPADIC_SOURCES = pathlib.Path("/usr/share/mecab/dic/ipadic")

ENGLISH = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one
you were all her she there would their we him been has when who will no more if out so up said what its about than into them can
only other time new some could these two may first then do any like my now over such our man me even most made after also did many
off before must well back through years where much your way down should because long each just state those people too mr how little
good world make very year still see own work men day get here old life both between being under three never know same last another
while us might great go come since against right came take used himself few house American use place during high without again home
around small however found mrs part school thought went say general once upon every left war don't it's I'm you're we've they'll
he'd can't won't isn't unbelievable internationalization anti-war state-of-the-art e.g. U.S.A. tokenization transformers""".split()

TEMPLATES = [
    "{0}は{1}を{2}に行きました。", "{0}の{1}について、{2}と話した。", "「{0}」という{1}が{2}で見つかった!", "{0}、{1}、そして{2}です。",
    "今日は{0}なので{1}へ{2}する予定です。", "{0}({1})は{2}年に設立された{1}の会社である。", "{0}さんが{1}で{2}を食べた。", "第{0}回{1}大会は{2}で開催されます",
]

SCRIPTS = {
    "greek": "ΟΔΥΣΣΕΥΣ Σίσυφος ΑΣ. ΣΑΣ' Άγιος ὈΔΥΣΣΕΎΣ ᾘ", "turkish": "İstanbul IĞDIR ıssız İİ Diyarbakır",
    "german": "Straße GROẞ Übergröße ﬁnden ŉ ǆ Ǆ", "russian": "Ёжик в ТУМАНЕ й Й", "arabic": "السَّلَامُ عَلَيْكُمْ ﷺ ﷲ ١٢٣",
    "hebrew": "שָׁלוֹם עולם", "hindi": "नमस्ते दुनिया क़ ड़", "thai": "สวัสดีชาวโลก กำ", "korean": "안녕하세요 세계 한국어 각",
    "chinese": "中华人民共和国 繁體中文 㐀㐁 𠀀𠀁 𪜀 𫝀 𫠠 𬺰 豈更車 丽丸", "tamil": "தமிழ் மொழி", "french": "L’été Ça coûte œuvre naïve ÀÉÎÕÜ",
}

EMOJI = ["😀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇯🇵", "1️⃣", "❤️", "☺", "🧑🏿‍🚀", "🫠", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🀄", "㊗️", "🫨", "🪿"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u3000", "\u00a0", "\u2003", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1f", "\u200b",
          "\u202f", "\u205f", "\ufeff", "\u1680", "\u180e", "\u2060", " \n "]
CONTROLS = ["\x00", "\x01", "\x07", "\x1b", "\x7f", "\u0080", "\u009f", "\u00ad", "\u200d", "\u200e", "\u202e", "\ufffe", "\U000e0001",
            "\ufffd", "\ue000", "\U0010ffff", "\u0378", "\ufffc", "\u061c"]
BROKEN = [b"\xff", b"\xc0\x80", b"\xe3\x81", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\x80\x80", b"\xe3\x81\xe3\x81\x82",
          b"\xc3", b"\xf8\x88\x80\x80\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xed\xb0\x80", b"\xe2\x28\xa1", b"\xf0\x9f\x98\x41"]
PUNCTUATION = list("。、・「」『』（）()[]{}<>,.!?;:'\"#$%&*+-/=@\\^_`|~！？：；…‥—–〜～¥￥§¶©®™°×÷←→■□★☆♪〒㈱①㍻㌔") + ["``", "''", "...", "・・・", "--"]


@functools.lru_cache
def japanese_words():
    """Surfaces of IPADIC, in file order, without the row that Debian added."""
    words = []
    for path in sorted(IPADIC_SOURCES.glob("*.csv")):
        for line in path.read_text(encoding="euc_jp").splitlines():
            surface = line.split(",", 1)[0]
            if surface and surface != "令和" and not surface.startswith('"'):
                words.append(surface)
    return words


def halfwidth(text):
    """Katakana and marks to their half-width forms."""
    table = {unicodedata.normalize("NFKC", chr(c)): chr(c) for c in range(0xFF61, 0xFFA0)}
    return "".join(table.get(c, c) for c in unicodedata.normalize("NFD", text)).replace("\u3099", "ﾞ").replace("\u309a", "ﾟ")


class Generator:
    def __init__(self, seed, special):
        self.random = random.Random(seed)
        self.special = special
        self.words = japanese_words()
        self.kinds = [(18, self.japanese), (8, self.template), (14, self.english), (5, self.mixed), (3, self.fullwidth), (3, self.kana),
                      (4, self.marks), (3, self.emoji), (3, self.control), (3, self.broken), (2, self.long_word), (6, self.special_tokens),
                      (2, self.blank), (4, self.any_points), (4, self.numbers), (4, self.script), (4, self.url), (3, self.cased)]

    def text(self):
        weights = [weight for weight, _ in self.kinds]
        made = self.random.choices(self.kinds, weights)[0][1]()
        return made if isinstance(made, bytes) else made.encode("utf-8")

    def some(self, items, low, high):
        return [self.random.choice(items) for _ in range(self.random.randint(low, high))]

    def japanese(self):
        parts = []
        for word in self.some(self.words, 1, 14):
            parts += [word, self.random.choice(["は", "が", "を", "の", "に", "で", "と", "", "", "、", "です。", "した。", "って", " "])]
        return "".join(parts)

    def template(self):
        return self.random.choice(TEMPLATES).format(*[self.random.choice(self.words) for _ in range(3)])

    def english(self):
        words = self.some(ENGLISH, 1, 16)
        styled = [w if self.random.random() < 0.8 else self.random.choice([w.upper(), w.title(), w + ",", w + ".", '"' + w + '"', w + "'s", w + "!"])
                  for w in words]
        return " ".join(styled) if self.random.random() < 0.9 else self.random.choice(SPACES).join(styled)

    def mixed(self):
        pools = [self.words, ENGLISH, PUNCTUATION, EMOJI, SPACES, list("ABCXYZ０１９ａｚＡ"), [str(n) for n in range(0, 3000, 7)]]
        return "".join(self.random.choice(self.random.choice(pools)) for _ in range(self.random.randint(1, 18)))

    def fullwidth(self):
        text = self.english() + str(self.random.randint(0, 99999))
        return "".join(chr(ord(c) + 0xFEE0) if 0x21 <= ord(c) <= 0x7E else c.replace(" ", "\u3000") for c in text)

    def kana(self):
        return halfwidth("".join(self.some(self.words, 1, 6)) + "ガギグパピプヴー。「」、")

    def marks(self):
        text = unicodedata.normalize(self.random.choice(["NFD", "NFKD"]), "".join(self.some(self.words + list(SCRIPTS.values()), 1, 4)) + "がぱÉñ한")
        marks = self.some(["\u0301", "\u3099", "\u309a", "\u0323", "\u0307", "\u0345", "\u05b0", "\u20dd", "\ufe0f", "\u0327"], 0, 5)
        chars = list(text)
        for mark in marks:
            chars.insert(self.random.randint(0, len(chars)), mark)
        return "".join(chars)

    def emoji(self):
        return "".join(self.some(EMOJI + ["です", " ok ", "笑"], 1, 8))

    def control(self):
        chars = list(self.japanese() + self.english())
        for control in self.some(CONTROLS + SPACES, 1, 4):
            chars.insert(self.random.randint(0, len(chars)), control)
        return "".join(chars)

    def broken(self):
        data = (self.japanese() + self.english()).encode("utf-8")
        for piece in self.some(BROKEN, 1, 3):
            at = self.random.randint(0, len(data))
            data = data[:at] + piece + data[at:]
        return data[:self.random.randint(1, len(data))]

    def long_word(self):
        length = self.random.choice([99, 100, 101, 130, 300])
        return self.random.choice(["a", "あ", "漢", "1", "ー", "é", "😀", "ab", "東京"]) * length + self.random.choice(["", " end", "。"])

    def special_tokens(self):
        pools = [self.special, ENGLISH, self.words, SPACES, PUNCTUATION, ["[", "]", "<", "</", "<extra_id_", "##", "▁", "Ġ", "<|"]]
        return "".join(self.random.choice(self.special if self.random.random() < 0.3 else self.random.choice(pools))
                       for _ in range(self.random.randint(1, 12)))

    def blank(self):
        return self.random.choice(["", " ", "\u3000", "\n", "\t \n", "\u200b", "\ufeff", "  " * 9, "\x00", "。", "a", "あ"])

    def any_points(self):
        def point():
            limit = self.random.choice([0x80, 0x250, 0x3100, 0x10000, 0x20000, 0x110000])
            value = self.random.randrange(limit)
            return "�" if 0xD800 <= value < 0xE000 else chr(value)
        return "".join(point() for _ in range(self.random.randint(1, 30)))

    def numbers(self):
        return "".join(self.some([str(self.random.randint(0, 10**6)), "1,234", "3.14", "２０２６年", "十二月", "①", "¥500", "50%", "+", "-", "−", ":", "年", "月", " ",
                                  "½", "²", "Ⅳ", "٣", "1/2", "10km", "㎏", "百万円"], 1, 9))

    def script(self):
        text = " ".join(self.some(list(SCRIPTS.values()), 1, 3))
        return text if self.random.random() < 0.7 else self.random.choice([text.upper(), text.lower(), text.title()])

    def url(self):
        return self.random.choice(["https://example.com/{}?q={}#x", "{}@{}.co.jp", "C:\\{}\\{}.txt", "{}_{}", "<a href=\"{}\">{}</a>", "def {}(self): return {}",
                                   "#{} @{}", "{} n't {} ' s , do not . ?", "{}'s {}'ve {}'re {}'m n't"]).format(*self.some(ENGLISH + self.words, 4, 4))

    def cased(self):
        text = self.english() + self.random.choice(list(SCRIPTS.values()))
        return "".join(self.random.choice([c.upper(), c.lower(), c]) for c in text)


def texts(seed, count, special=()):
    generator = Generator(seed, list(special) or ["[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<unk>", "<extra_id_0>", "<|endoftext|>"])
    for _ in range(count):
        yield generator.text()


def training_lines(count, seed=7):
    """Well-formed everyday lines to train small vocabularies on."""
    generator = Generator(seed, [])
    makers = [generator.japanese, generator.template, generator.english, generator.mixed, generator.numbers, generator.kana]
    return [makers[i % len(makers)]().replace("\n", " ").replace("\r", " ").replace("\x00", "") for i in range(count)]
