"""Greedy exact match of trained weights on the training machine, in batches, without transformers.

usage: greedy.py t5|gpt2 WORKDIR WEIGHTS.pt FILE.jsonl...      weights are the fp16 ones, computed in fp32
"""
import json
import sys

import sentencepiece as spm
import torch
from nets import GPT2, T5


@torch.no_grad()
def generate(kind, net, sp, texts, dev, limit=256):
    if kind == "t5":
        rows = [sp.encode(t) + [1] for t in texts]
        n = max(map(len, rows))
        src = torch.tensor([r + [0] * (n - len(r)) for r in rows], device=dev)
        y = torch.zeros(len(rows), 1, dtype=torch.long, device=dev)
        done = torch.zeros(len(rows), dtype=torch.bool, device=dev)
        for _ in range(limit):
            t = net(src, y)[:, -1].argmax(-1).masked_fill(done, 0)
            y = torch.cat([y, t[:, None]], 1)
            done |= t == 1
            if done.all():
                break
        return [sp.decode([t for t in r if t > 1]) for r in y[:, 1:].tolist()]
    rows = [sp.encode(t + "::") for t in texts]
    n = torch.tensor([len(r) for r in rows], device=dev)
    y = torch.tensor([r + [0] * (limit - len(r)) for r in rows], device=dev)
    done, at = torch.zeros(len(rows), dtype=torch.bool, device=dev), n.clone()
    while not done.all() and int(at.max()) < limit:
        h = net(y[:, :int(at.max())])
        t = net.logits(h[torch.arange(len(rows)), at - 1]).argmax(-1)
        t = t.masked_fill(done, 3)
        y[torch.arange(len(rows)), at] = t
        done |= t == 2
        at = torch.where(done, at, at + 1)
    out = []
    for r, k in zip(y.tolist(), n.tolist()):
        r = r[k:]
        out.append(sp.decode(r[:r.index(2)] if 2 in r else [t for t in r if t > 3]))
    return out


def main():
    kind, work, path, *files = sys.argv[1:]
    dev = "cuda" if torch.cuda.is_available() else "cpu"
    ck = torch.load(path, map_location="cpu")
    net = (T5 if kind == "t5" else GPT2)(**ck["cfg"])
    net.load_state_dict({k: v.float() for k, v in ck["ema"].items()})
    net.to(dev).eval()
    sp = spm.SentencePieceProcessor(work + "/spiece-%s.model" % kind)
    for f in files:
        rows = [json.loads(l) for l in open(f, encoding="utf-8")]
        norm = lambda s: sp.decode(sp.encode(s)).strip()
        got = []
        for i in range(0, len(rows), 200):
            got += generate(kind, net, sp, [r["source"] for r in rows[i:i + 200]], dev)
        bad = [(r, g) for r, g in zip(rows, got) if norm(r["target"]) != g.strip()]
        print(kind, f.split("/")[-1], "exact match %.4f" % (1 - len(bad) / len(rows)), len(rows) - len(bad), "/", len(rows))
        for r, g in bad[:10]:
            print("   ", r["source"], "\n      want", r["target"], "\n      got ", g)


if __name__ == "__main__":
    main()
