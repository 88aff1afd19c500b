"""Write the held-out files: generated ones from held-out words and templates, hand-written ones from marked text.

usage: heldout.py HANDWRITTEN_DIR OUT_DIR      HANDWRITTEN_DIR: *.txt with [text/TYPE] marks, *.tsv with source TAB target
"""
import glob
import json
import os
import random
import re
import sys

import lexicon
from ner_data import TYPES, NerGen, strip
from rewrite_data import Gen

WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def entity_row(text, spans):
    return {"text": text, "entities": [{"start": s, "end": e, "type": t} for s, e, t in spans]}


def write(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=False) + "\n")
    print(path, len(rows), os.path.getsize(path))


def main():
    hand, out = sys.argv[1:3]
    lex = lexicon.load()
    g = NerGen(lex, random.Random(900001), test=True)
    rows, seen = [], set()
    while len(rows) < 600:
        text, spans = g.sample()
        if 6 <= len(text) <= 90 and text not in seen:
            seen.add(text)
            if g.rng.random() < .1:
                text = text.translate(WIDE)
            rows.append(entity_row(text, spans))
    write(out + "/ner.jsonl", rows)
    g, n = Gen(lex, random.Random(900002), test=True), NerGen(lex, random.Random(900003), test=True)
    rows = []
    while len(rows) < 600:
        if g.rng.random() < .3:
            t = n.templated(fresh=g.rng.random() < .5)
            a, b = strip(t[0])[0], strip(t[1])[0]
        else:
            a, b = g.pair()
        if 4 <= len(a) <= 90 and a not in seen:
            seen.add(a)
            rows.append({"source": a, "target": b})
    write(out + "/rewrite.jsonl", rows)
    for f in sorted(glob.glob(hand + "/*.txt")):
        rows = []
        for line in open(f, encoding="utf-8"):
            text, spans, pos = "", [], 0
            line = line.rstrip("\n")
            for m in re.finditer(r"\[([^\[\]/]+)/(\w+)\]", line):
                text += line[pos:m.start()]
                if m[2] in TYPES:
                    spans.append((len(text), len(text) + len(m[1]), m[2]))
                text += m[1]
                pos = m.end()
            rows.append(entity_row(text + line[pos:], spans))
        write(out + "/" + os.path.basename(f)[:-4] + ".jsonl", rows)
    for f in sorted(glob.glob(hand + "/*.tsv")):
        write(out + "/" + os.path.basename(f)[:-4] + ".jsonl", [dict(zip(("source", "target"), l.rstrip("\n").split("\t"))) for l in open(f, encoding="utf-8")])


if __name__ == "__main__":
    main()
