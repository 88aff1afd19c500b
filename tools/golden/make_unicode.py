"""Makes tests/text/data/unicode.jsonl.gz: what Python 3.11 says about every code point, and about sequences of them.

    python tools/golden/make_unicode.py

Records: {"categories": [[first, "Lu"], ...]} as runs; {"spaces": [...]}; {"lower": {hex: text}}; {"nfc" ...}: {form: {hex: text}} for code points that
change; {"t": text, "nfc": ..., "nfd": ..., "nfkc": ..., "nfkd": ..., "lower": ...} for sequences; {"bytes": base64, "decoded": text}.
"""

import base64
import gzip
import json
import random
import sys
import unicodedata

from make_tokenizers import DATA
import tokenizer_corpus

FORMS = ["NFC", "NFD", "NFKC", "NFKD"]


def records():
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    runs = []
    for char in points:
        category = unicodedata.category(char)
        if not runs or runs[-1][1] != category:
            runs.append([ord(char), category])
    yield {"categories": runs}
    yield {"spaces": [ord(c) for c in points if c.isspace()]}
    yield {"lower": {f"{ord(c):x}": c.lower() for c in points if c.lower() != c}}
    for form in FORMS:
        yield {form.lower(): {f"{ord(c):x}": unicodedata.normalize(form, c) for c in points if unicodedata.normalize(form, c) != c}}
    rng = random.Random(14)
    marks = [c for c in points if unicodedata.combining(c)]
    composing = [c for c in points if unicodedata.decomposition(c)] + list("AaIiσΣ'.:·­きカ가각")
    for index in range(6000):
        pool = [marks, composing, composing, points][rng.randrange(4)] if index % 3 else composing + marks
        text = "".join(rng.choice(marks) if rng.random() < 0.4 else rng.choice(pool) for _ in range(rng.randint(1, 9)))
        yield {"t": text, **{f.lower(): unicodedata.normalize(f, text) for f in FORMS}, "lower": text.lower()}
    for data in tokenizer_corpus.texts(5, 1500):
        yield {"bytes": base64.b64encode(data).decode(), "decoded": data.decode("utf-8", "replace")}
    for _ in range(3000):
        data = bytes(rng.choice([0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE3, 0xED, 0xEF, 0xF0, 0xF3, 0xF4, 0xF5, 0xFF, rng.randrange(256)])
                     for _ in range(rng.randint(1, 8)))
        yield {"bytes": base64.b64encode(data).decode(), "decoded": data.decode("utf-8", "replace")}


if __name__ == "__main__":
    assert unicodedata.unidata_version == "14.0.0", "run this with Python 3.11"
    with open(DATA / "unicode.jsonl.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        for record in records():
            out.write((json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n").encode())
    print((DATA / "unicode.jsonl.gz").stat().st_size, "bytes", file=sys.stderr)
