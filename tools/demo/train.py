"""Train one of the three demo models from the prepared work folder.

usage: train.py ner|t5|gpt2 WORKDIR OUTDIR SECONDS [MODEL_DIR]   (the learning rate follows the clock; MODEL_DIR: go on from there)
       train.py data WORKDIR PAIRS PROCESSES              (first: write the rewriting pairs as ids)
"""
import glob
import json
import multiprocessing
import os
import random
import sys
import time

import numpy as np

WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384)


def pair_block(args):
    """One block of rewriting pairs, encoded for both models."""
    work, seed, n = args
    import re
    import sentencepiece as spm
    import lexicon
    from ner_data import NerGen, strip
    from rewrite_data import Gen
    lex = lexicon.load()
    g, t = Gen(lex, random.Random(seed)), NerGen(lex, random.Random(seed + 1))
    sp, sg = spm.SentencePieceProcessor(work + "/spiece-t5.model"), spm.SentencePieceProcessor(work + "/spiece-gpt2.model")
    nat = [l.rstrip("\n").split("\t") for l in open(work + "/natural.tsv", encoding="utf-8")] if os.path.exists(work + "/natural.tsv") else []
    src, tgt, ls, lt, joint, lj = [], [], [], [], [], []
    for i in range(n):
        r = t.rng.random()
        if r < .22:
            parts = [t.templated() for _ in range(1 if t.rng.random() < .7 else 2)]
            a, b = ("".join(strip(x[k])[0] for x in parts) for k in (0, 1))
        elif r < .34 and nat:
            k = 1 if t.rng.random() < .75 else 2
            parts = [t.rng.choice(nat) for _ in range(k)]
            a, b = ("".join(x[k] for x in parts) for k in (0, 1))
        else:
            a, b = g.pair()
        if "::" in a or not a.strip():
            continue
        x, y, z = sp.encode(a) + [1], sp.encode(b) + [1], sg.encode(a + "::" + b) + [2]
        if len(z) > 384 or len(x) > 192 or len(y) > 192:
            continue
        src += x; tgt += y; joint += z
        ls.append(len(x)); lt.append(len(y)); lj.append(len(z))
    np.savez(work + "/rw-%06d.npz" % seed, src=np.array(src, np.uint16), tgt=np.array(tgt, np.uint16), joint=np.array(joint, np.uint16),
             ls=np.array(ls, np.int32), lt=np.array(lt, np.int32), lj=np.array(lj, np.int32))
    return len(ls)


def make_data(work, pairs, procs):
    t = time.time()
    n = 20000
    with multiprocessing.Pool(procs) as pool:
        total = sum(pool.imap_unordered(pair_block, [(work, 10 * i + 7, n) for i in range(pairs // n)]))
    print("pairs", total, "%.0f s" % (time.time() - t), flush=True)
    open(work + "/rw.done", "w").write("ok")


def padded(flat, lens, rows, width):
    """Rows of a flat array as a zero-padded matrix."""
    off = np.concatenate([[0], np.cumsum(lens)])
    out = np.zeros((len(rows), width), flat.dtype)
    for j, r in enumerate(rows):
        out[j, :lens[r]] = flat[off[r]:off[r] + lens[r]]
    return out


def buckets(arrays, key):
    """Split rows by the width they need; each bucket is a list of padded matrices on the device."""
    import torch
    out = []
    lo = 0
    for w in WIDTHS:
        rows = np.nonzero((key > lo) & (key <= w))[0]
        lo = w
        if len(rows) < 8:
            continue
        out.append((w, [torch.from_numpy(padded(f, l, rows, w).astype(np.int32)) for f, l in arrays]))
    return out


def load_rw(work):
    fs = [np.load(f) for f in sorted(glob.glob(work + "/rw-*.npz"))]
    return {k: np.concatenate([f[k] for f in fs]) for k in fs[0].files}


def main():
    what, work = sys.argv[1:3]
    if what == "data":
        return make_data(work, int(sys.argv[3]), int(sys.argv[4]))
    import torch
    import torch.nn.functional as F
    from nets import T5, GPT2, Bert, from_hf
    out, seconds = sys.argv[3], float(sys.argv[4])
    init = sys.argv[5] if len(sys.argv) > 5 else None
    torch.manual_seed(20221122)
    np.random.seed(7)
    torch.backends.cuda.matmul.allow_tf32 = True
    dev = "cuda" if torch.cuda.is_available() else "cpu"
    t0 = time.time()
    vocab_t5 = 4800
    if what == "ner":
        while not os.path.exists(work + "/ner.npz"):
            time.sleep(.5)
        z = np.load(work + "/ner.npz")
        lens = z["lens"].astype(np.int64)
        data = buckets([(z["ids"], lens), (z["labs"] + 1, lens)], lens)   # label + 1, so that padding is 0
        V = sum(1 for _ in open(work + "/vocab.txt", encoding="utf-8"))
        net, lr, budget = Bert(V, 33), 1.2e-3, 49152
    else:
        while not os.path.exists(work + "/rw.done"):
            time.sleep(.5)
        z = load_rw(work)
        if what == "t5":
            data = buckets([(z["src"], z["ls"]), (z["tgt"], z["lt"])], np.maximum(z["ls"], z["lt"]))
            net, lr, budget = T5(vocab_t5), 3e-3, 32768
        else:
            data = buckets([(z["joint"], z["lj"])], z["lj"])
            net, lr, budget = GPT2(vocab_t5 + 1), 1.5e-3, 65536
    if init:
        from_hf(net, init)
        lr *= 0.6
    net = net.to(dev)
    data = [(w, [m.to(dev) for m in ms]) for w, ms in data]
    held = [(w, [m[:256] for m in ms]) for w, ms in data]
    data = [(w, [m[256:] for m in ms]) for w, ms in data if len(ms[0]) > 512]
    print(what, "parameters", sum(p.numel() for p in net.parameters()), "rows", [(w, len(m[0])) for w, m in data], "load %.0f s" % (time.time() - t0), flush=True)
    if dev == "cpu":
        budget = 2048
    bs = [max(8, budget // w) for w, _ in data]
    prob = np.array([len(m[0]) * w for w, m in data], float)
    prob /= prob.sum()
    decay = [p for p in net.parameters() if p.dim() == 2]
    other = [p for p in net.parameters() if p.dim() != 2]
    opt = torch.optim.AdamW([dict(params=decay, weight_decay=0.05 if what != "t5" else 0.01), dict(params=other, weight_decay=0.0)], lr=lr, betas=(0.9, 0.98), fused=dev == "cuda")
    ema = {k: v.detach().clone() for k, v in net.named_parameters()}

    def loss_of(ms, training=True):
        """Loss, and for the held-out rows the share of rows without one wrong label or token."""
        if what == "ner":
            ids, lab = ms[0].long(), ms[1].long() - 1
            if training:  # hide some words, so that context counts
                r = torch.rand(ids.shape, device=dev)
                ids = torch.where((r < .03) & (ids > 4), torch.ones_like(ids), ids)
                ids = torch.where((r > .985) & (ids > 4), torch.randint_like(ids, 5, net.cfg["V"]), ids)
            logits = net(ids)
            lab = torch.where((lab < 0) | (lab > 200), torch.full_like(lab, -100), lab)
        elif what == "t5":
            src, lab = ms[0].long(), ms[1].long()
            logits = net(src, F.pad(lab[:, :-1], (1, 0)))
            lab = torch.where(lab == 0, torch.full_like(lab, -100), lab)
        else:
            ids = ms[0].long()
            sep = (ids == SEP).long()
            after = (sep.cumsum(1) - sep) > 0  # only what follows "::"
            lab = ids * after + (-100) * (~after) if False else torch.where(after & (torch.arange(ids.shape[1], device=dev)[None] < (ids != 0).sum(1, keepdim=True)), ids, torch.full_like(ids, -100))
            h = net(ids[:, :-1])
            lab = lab[:, 1:]
            keep = lab != -100
            if training:
                return F.cross_entropy(net.logits(h[keep]).float(), lab[keep])
            logits = net.logits(h)
        if training:
            return F.cross_entropy(logits.float().reshape(-1, logits.shape[-1]), lab.reshape(-1), ignore_index=-100)
        ok = (logits.argmax(-1) == lab) | (lab == -100)
        return ok.all(1).float().mean().item()

    import sentencepiece as spm
    SEP = spm.SentencePieceProcessor(work + "/spiece-gpt2.model").piece_to_id("::") if what == "gpt2" else -1
    net.train()
    step, t1, last = 0, time.time(), 0
    seconds -= t1 - t0
    rng = np.random.default_rng(3)
    run = None
    while True:
        frac = (time.time() - t1) / seconds
        if frac >= 1:
            break
        for g in opt.param_groups:
            g["lr"] = lr * min(1, (step + 1) / 400) * (0.5 * (1 + np.cos(np.pi * frac)) * .98 + .02)
        i = rng.choice(len(data), p=prob)
        ms = data[i][1]
        idx = torch.randint(len(ms[0]), (bs[i],), device=dev)
        with torch.autocast(dev, dtype=torch.bfloat16, enabled=dev == "cuda"):
            loss = loss_of([m[idx] for m in ms])
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        step += 1
        if step % 4 == 0:
            d = min(.999, 1 - 4 / (step + 10)) if step < 4000 else .999
            names, ps = zip(*net.named_parameters())
            torch._foreach_lerp_([ema[n] for n in names], [p.detach() for p in ps], 1 - d)
        if step % 500 == 0 or dev == "cpu":
            print(what, "step", step, "loss %.4f" % loss.item(), "%.0f s" % (time.time() - t0), flush=True)
    net.load_state_dict(ema)
    net.eval()
    with torch.no_grad():
        score = {w: round(loss_of(ms, False), 4) for w, ms in held}
    print(what, "done: steps", step, "rows right by width", score, flush=True)
    torch.save(dict(cfg=net.cfg, ema={k: v.half() for k, v in net.state_dict().items()}, steps=step, seconds=time.time() - t0), out + "/%s.pt" % what)


if __name__ == "__main__":
    main()
