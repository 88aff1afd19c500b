"""A short last training on the CPU for everyday words that the first two runs had held out by hash.

usage: finetune.py ner|t5|gpt2 WORKDIR MODEL_DIR OUT_DIR SECONDS
"""
import random
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import build_tokenizers as bt
import lexicon
import lists as L
from ner_data import NerGen, strip
from nets import GPT2, T5, Bert, from_hf
from rewrite_data import Gen


def focus():
    """The words to catch up on, list by list."""
    out = {k: [w for w in v if lexicon.hashed(w)] for k, v in vars(L).items() if isinstance(v, list)}
    out["FR"] = [v for v in L.frames() if lexicon.hashed(v)]
    return {k: v for k, v in out.items() if v}


def rows(kind, work, n, seed):
    """Encoded rows, half of their listed words being the ones to catch up on."""
    import sentencepiece as spm
    lex = lexicon.load()
    g, t = Gen(lex, random.Random(seed)), NerGen(lex, random.Random(seed + 1))
    g.focus = t.focus = focus()
    if kind == "ner":
        tag = bt.tagger()
        vocab = {w: i for i, w in enumerate(open(work + "/vocab.txt", encoding="utf-8").read().split("\n")[:-1])}
        data = [w for w in (bt.words_of(tag, *t.sample()) for _ in range(n)) if w]
        ids, labs, lens = bt.encode(data, vocab)
        off = np.concatenate([[0], np.cumsum(lens.astype(int))])
        return [(ids[a:b].astype(int), labs[a:b].astype(int)) for a, b in zip(off, off[1:])]
    sp, out = spm.SentencePieceProcessor(work + "/spiece-%s.model" % kind), []
    for _ in range(n):
        if t.rng.random() < .3:
            x = t.templated()
            a, b = strip(x[0])[0], strip(x[1])[0]
        else:
            a, b = g.pair()
        if "::" not in a and len(a) < 90:
            if kind == "t5":
                out.append((np.array(sp.encode(a) + [1]), np.array(sp.encode(b) + [1])))
            else:
                src, all_ = sp.encode(a + "::"), sp.encode(a + "::" + b) + [2]
                out.append((np.array(all_), np.array([-100] * len(src) + all_[len(src):])))
    return out


def batch(items, pad, pad2):
    n, m = max(len(a) for a, _ in items), max(len(b) for _, b in items)
    x, y = np.full((len(items), n), pad), np.full((len(items), m), pad2)
    for i, (a, b) in enumerate(items):
        x[i, :len(a)], y[i, :len(b)] = a, b
    return torch.from_numpy(x), torch.from_numpy(y)


def main():
    kind, work, model, out, seconds = sys.argv[1:5] + [float(sys.argv[5])]
    torch.manual_seed(5)
    V = sum(1 for _ in open(work + "/vocab.txt", encoding="utf-8"))
    net = {"ner": lambda: Bert(V, 33, drop=0.0), "t5": lambda: T5(4800), "gpt2": lambda: GPT2(4801)}[kind]()
    from_hf(net, model)
    net.train()
    data = rows(kind, work, 24000, 31337)
    rng = np.random.default_rng(1)
    opt = torch.optim.AdamW(net.parameters(), lr=0.0, betas=(.9, .98), weight_decay=0.0)
    top = dict(ner=2e-4, t5=4e-4, gpt2=2.5e-4)[kind]
    ema, t0, step = None, time.time(), 0
    while (frac := (time.time() - t0) / seconds) < 1:
        for g in opt.param_groups:
            g["lr"] = top * min(1, (step + 1) / 10) * (1 - frac) + 1e-6
        pick = rng.integers(0, len(data), 256)
        pick = pick[np.argsort([len(data[i][0]) for i in pick])]
        lo = rng.integers(0, 5) * 48  # neighbours in length, so that little is padding
        items = [data[i] for i in pick[lo:lo + 48]]
        x, y = batch(items, 0, -100)
        if kind == "ner":
            y = torch.where(y > 200, torch.full_like(y, -100), y)
            loss = F.cross_entropy(net(x).flatten(0, 1), y.flatten(), ignore_index=-100)
        elif kind == "t5":
            loss = F.cross_entropy(net(x, F.pad(y.clamp(min=0)[:, :-1], (1, 0))).flatten(0, 1), y.flatten(), ignore_index=-100)
        else:
            h, y = net(x[:, :-1]), y[:, 1:]
            keep = y != -100
            loss = F.cross_entropy(net.logits(h[keep]), y[keep])
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), .5)
        opt.step()
        step += 1
        if step % 10 == 0:
            print(kind, step, "%.4f" % loss.item(), "%.0f s" % (time.time() - t0), flush=True)
    torch.save(dict(cfg=net.cfg, ema={k: v.half() for k, v in net.state_dict().items()}, steps=step), out + "/%s.pt" % kind)
    print(kind, "steps", step)


if __name__ == "__main__":
    main()
