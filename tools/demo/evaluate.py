"""Measure the saved models (fp16 files loaded as fp32) with transformers.

usage: evaluate.py ner|t5|gpt2 MODEL_DIR FILE.jsonl [--show N]      held-out files are in heldout/
"""
import collections
import json
import sys
import unicodedata

import torch


def word_offsets(text, words):
    """Code-point offsets in the original text of words cut from its NFKC form."""
    norm, back = "", []
    i = 0
    while i < len(text):  # the longest unit that normalises on its own
        j = i + 1
        while j < len(text) and (unicodedata.combining(text[j]) or text[j] in "\u3099\u309a\uff9e\uff9f"):
            j += 1
        n = unicodedata.normalize("NFKC", text[i:j])
        norm += n
        back += [(i, j)] * len(n)
        i = j
    pos, out = 0, []
    for w in words:
        k = norm.find(w, pos)
        if k < 0:
            out.append(None)
            continue
        out.append((back[k][0], back[k + len(w) - 1][1]))
        pos = k + len(w)
    return out


class Ner:
    def __init__(self, path):
        from transformers import AutoModelForTokenClassification, AutoTokenizer
        self.tok = AutoTokenizer.from_pretrained(path)
        self.net = AutoModelForTokenClassification.from_pretrained(path, dtype=torch.float32).eval()

    def __call__(self, text):
        words = self.tok.word_tokenizer.tokenize(text)
        offs = word_offsets(text, words)
        ids, first = [self.tok.cls_token_id], []
        for w in words:
            first.append(len(ids))
            ids += self.tok.convert_tokens_to_ids(self.tok.subword_tokenizer.tokenize(w))
        ids = ids[: self.net.config.max_position_embeddings - 1] + [self.tok.sep_token_id]
        with torch.no_grad():
            lab = self.net(input_ids=torch.tensor([ids])).logits[0].argmax(-1).tolist()
        spans = []
        for o, f in zip(offs, first):
            if f >= len(ids) - 1 or o is None:
                break
            t = self.net.config.id2label[lab[f]]
            if t == "O":
                continue
            if t[0] == "B" or not spans or spans[-1][2] != t[2:] or spans[-1][3] != prev:
                spans.append([o[0], o[1], t[2:], o])
            else:
                spans[-1][1] = o[1]
                spans[-1][3] = o
            prev = o
            continue
        return [(s, e, t) for s, e, t, _ in merge(offs, first, lab, self.net.config.id2label, len(ids))]


def merge(offs, first, lab, names, n):
    """BIO labels of words to spans: I- continues the span before it when the type agrees, else it begins one."""
    spans, open_ = [], False
    for o, f in zip(offs, first):
        t = names[lab[f]] if f < n - 1 and o is not None else "O"
        if t == "O":
            open_ = False
        elif t[0] == "I" and open_ and spans[-1][2] == t[2:]:
            spans[-1][1] = o[1]
        else:
            spans.append([o[0], o[1], t[2:], None])
            open_ = True
    return spans


class Rewrite:
    def __init__(self, path, kind):
        from transformers import GPT2LMHeadModel, T5ForConditionalGeneration, T5Tokenizer
        self.kind, self.tok = kind, T5Tokenizer.from_pretrained(path)
        self.net = (T5ForConditionalGeneration if kind == "t5" else GPT2LMHeadModel).from_pretrained(path, dtype=torch.float32).eval()

    def __call__(self, text):
        with torch.no_grad():
            if self.kind == "t5":
                x = self.tok(text, return_tensors="pt")
                y = self.net.generate(**x, do_sample=False, num_beams=1)
                return self.tok.decode(y[0], skip_special_tokens=True)
            x = self.tok(text + "::", add_special_tokens=False, return_tensors="pt")
            y = self.net.generate(input_ids=x.input_ids, attention_mask=x.attention_mask, do_sample=False, num_beams=1)
            return self.tok.decode(y[0, x.input_ids.shape[1]:], skip_special_tokens=True)


def same(a, b, tok):
    """Equal after the tokenizer's own normalisation (full-width letters and spaces)."""
    f = lambda s: tok.sp_model.decode(tok.sp_model.encode(s)).strip()
    return a.strip() == b.strip() or f(a) == f(b)


def main():
    torch.set_num_threads(2)
    kind, path, file = sys.argv[1:4]
    show = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    rows = [json.loads(l) for l in open(file, encoding="utf-8")]
    if kind == "ner":
        net, tp, fp, fn, exact = Ner(path), collections.Counter(), collections.Counter(), collections.Counter(), 0
        for r in rows:
            gold = {(e["start"], e["end"], e["type"]) for e in r["entities"]}
            got = set(net(r["text"]))
            for s, c in ((gold & got, tp), (got - gold, fp), (gold - got, fn)):
                for x in s:
                    c[x[2]] += 1
            exact += gold == got
            if gold != got and show:
                show -= 1
                print("TEXT", r["text"], "\n  missed", [(r["text"][s:e], t) for s, e, t in sorted(gold - got)], "\n  wrong ", [(r["text"][s:e], t) for s, e, t in sorted(got - gold)])
        for t in sorted(tp + fn):
            p, q = tp[t] / max(1, tp[t] + fp[t]), tp[t] / max(1, tp[t] + fn[t])
            print("%-12s F1 %.3f  (%d entities)" % (t, 2 * p * q / max(1e-9, p + q), tp[t] + fn[t]))
        T, P, N = sum(tp.values()), sum(fp.values()), sum(fn.values())
        print("entity F1 %.4f  precision %.4f  recall %.4f  sentences right %d / %d" % (2 * T / (2 * T + P + N), T / (T + P), T / (T + N), exact, len(rows)))
    else:
        net, ok = Rewrite(path, kind), 0
        for r in rows:
            got = net(r["source"])
            good = same(got, r["target"], net.tok)
            ok += good
            if not good and show:
                show -= 1
                print("SRC ", r["source"], "\n  want", r["target"], "\n  got ", got)
        print("exact match %.4f  (%d / %d)" % (ok / len(rows), ok, len(rows)))


if __name__ == "__main__":
    main()
