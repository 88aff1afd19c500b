"""Train the SentencePiece models and the WordPiece vocabulary, and encode the entity data.

usage: build_tokenizers.py WORKDIR [NER_SENTENCES]
       build_tokenizers.py ner WORKDIR NER_SENTENCES PROCESSES      (more entity data, same vocabulary)
Writes spiece-t5.model, spiece-gpt2.model, vocab.txt, ner.npz into WORKDIR.
"""
import collections
import multiprocessing
import os
import random
import sys

import fugashi
import numpy as np
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb

import lexicon
from ner_data import TYPES, NerGen
from rewrite_data import Gen

VOCAB = 4800
LABELS = ["O"] + [p + t for t in TYPES for p in ("B-", "I-")]


def rules(path):
    """Normaliser rules: NFKC for letters, digits, half-width kana and spaces, so that ！？（） survive rewriting as typed."""
    import unicodedata
    out = {}
    for c in list(range(0xFF10, 0xFF1A)) + list(range(0xFF21, 0xFF3B)) + list(range(0xFF41, 0xFF5B)) + list(range(0xFF61, 0xFFA0)):
        out[(c,)] = [ord(x) for x in unicodedata.normalize("NFKC", chr(c))]
    for c in list(range(0xFF66, 0xFF9E)):
        for d in (0xFF9E, 0xFF9F):
            n = unicodedata.normalize("NFKC", chr(c) + chr(d))
            if len(n) == 1:
                out[(c, d)] = [ord(n)]
    for c in range(0x3041, 0x30FF):
        for d in (0x3099, 0x309A):
            n = unicodedata.normalize("NFKC", chr(c) + chr(d))
            if len(n) == 1:
                out[(c, d)] = [ord(n)]
    for c in (0x3000, 0x00A0, 0x09, 0x0A, 0x0D, 0x200B, 0xFEFF):
        out[(c,)] = [0x20]
    with open(path, "w") as f:
        for k, v in out.items():
            f.write(" ".join("%X" % x for x in k) + "\t" + " ".join("%X" % x for x in v) + "\n")


def sentencepiece(work, lex):
    rules(work + "/rules.tsv")
    g, n = Gen(lex, random.Random(101)), NerGen(lex, random.Random(102))
    import rewrite_data
    keep = rewrite_data.kata_noise
    with open(work + "/spm.txt", "w") as f:
        for i in range(160000):
            a, b = g.pair()
            a, b = "".join(c for c in a if rare(c)), "".join(c for c in b if rare(c))
            f.write(a + "\n" + (b + "\n" if i % 2 else ""))
            f.write(n.sample()[0] + "\n")
        for bag in ("sur", "given", "city", "noun", "sahen"):  # every character of common names and words
            for w in (lex[bag].train + lex[bag].test)[:4500]:
                f.write(w + "\n")
    spm.SentencePieceTrainer.train(
        input=work + "/spm.txt", model_prefix=work + "/t5", vocab_size=VOCAB, character_coverage=0.9997, byte_fallback=True, model_type="unigram",
        max_sentencepiece_length=4, split_by_unicode_script=True, split_by_number=True, split_digits=True, normalization_rule_tsv=work + "/rules.tsv",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", user_defined_symbols=["::"], num_threads=2, input_sentence_size=400000, shuffle_input_sentence=True, train_extremely_large_corpus=False, minloglevel=1)
    m = pb.ModelProto()
    m.ParseFromString(open(work + "/t5.model", "rb").read())
    for s in (m.trainer_spec,):  # no machine paths in what ships
        del s.input[:]
        s.model_prefix = "spiece"
    m.normalizer_spec.normalization_rule_tsv = ""
    m.normalizer_spec.name = "inazuma_demo"
    open(work + "/spiece-t5.model", "wb").write(m.SerializeToString())
    # the same pieces in the order that rinna's GPT-2 uses: <unk> 0, <s> 1, </s> 2, [PAD] 3
    old = {p.piece: p for p in m.pieces}
    rest = [p for p in m.pieces if p.piece not in ("<pad>", "</s>", "<unk>")]
    q = pb.ModelProto()
    q.CopyFrom(m)
    del q.pieces[:]
    for name, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3), ("[PAD]", 3)):
        q.pieces.add(piece=name, score=0.0, type=kind)
    for p in rest:
        q.pieces.add().CopyFrom(p)
    q.trainer_spec.unk_id, q.trainer_spec.bos_id, q.trainer_spec.eos_id, q.trainer_spec.pad_id = 0, 1, 2, 3
    q.trainer_spec.bos_piece, q.trainer_spec.pad_piece = "<s>", "[PAD]"
    q.trainer_spec.vocab_size = len(q.pieces)
    open(work + "/spiece-gpt2.model", "wb").write(q.SerializeToString())
    print("pieces", len(m.pieces), "multi", sum(len(p.piece) > 1 and p.type == 1 for p in m.pieces), flush=True)


def rare(c):
    return not (0x4E00 <= ord(c) <= 0x9FFF) or c in COMMON


COMMON = set()


def words_of(tagger, text, spans):
    """MeCab words of a text with one label each; None when an entity does not fall on word borders."""
    ws, pos, out = [n.surface for n in tagger(text)], 0, []
    starts = {}
    for s, e, k in spans:
        starts[s] = (e, k)
    inside = None
    for w in ws:
        i = text.find(w, pos)
        if i < 0:
            return None
        j = i + len(w)
        lab = "O"
        if inside and i >= inside[0]:
            inside = None
        if inside:
            if j > inside[0]:
                return None
            lab = "I-" + inside[1]
        elif i in starts:
            inside = starts.pop(i)
            if j > inside[0]:
                return None
            lab = "B-" + inside[1]
        out.append((w, lab))
        pos = j
    return None if starts else out


def tagger():
    """MeCab with the unmodified IPADIC; the environment may name a dictionary folder where the package is not installed."""
    d = os.environ.get("DEMO_DICDIR")
    if not d:
        import ipadic
        return fugashi.GenericTagger(ipadic.MECAB_ARGS)
    return fugashi.GenericTagger('-r "%s/mecabrc" -d "%s"' % (d, d))


def ner_block(args):
    seed, n = args
    lex = lexicon.load()
    g = NerGen(lex, random.Random(seed))
    t = tagger()
    return [w for w in (words_of(t, *g.sample()) for _ in range(n)) if w]


def ner_encoded(args):
    """One block as arrays, once the vocabulary exists."""
    work, seed, n = args
    vocab = {w: i for i, w in enumerate(open(work + "/vocab.txt", encoding="utf-8").read().split("\n")[:-1])}
    return encode(ner_block((seed, n)), vocab)


def encode(data, vocab):
    """Ids and labels of sentences of (word, label): a label at each first piece, 255 elsewhere."""
    cache, lab_id = {}, {x: i for i, x in enumerate(LABELS)}
    ids, labs, lens = [], [], []
    for s in data:
        row, lrow = [2], [255]
        for w, lab in s:
            if w not in cache:
                cache[w] = [vocab[p] for p in wordpiece(w, vocab)]
            row += cache[w]
            lrow += [lab_id[lab]] + [255] * (len(cache[w]) - 1)
        if len(row) > 199:
            continue
        ids += row + [3]
        labs += lrow + [255]
        lens.append(len(row) + 1)
    return np.array(ids, np.uint16), np.array(labs, np.uint8), np.array(lens, np.uint16)


def save(work, parts):
    ids, labs, lens = (np.concatenate(x) for x in zip(*parts))
    np.savez(work + "/ner.tmp.npz", ids=ids, labs=labs, lens=lens)
    os.rename(work + "/ner.tmp.npz", work + "/ner.npz")
    print("tokens", len(ids), "rows", len(lens), flush=True)


def more(work, n, procs):
    """Entity data alone, for a vocabulary made before."""
    with multiprocessing.Pool(procs) as pool:
        save(work, list(pool.imap_unordered(ner_encoded, [(work, 700000 + i, 10000) for i in range(n // 10000)])))


def wordpiece(word, vocab):
    """Greedy longest match, as BertJapaneseTokenizer does it."""
    if len(word) > 100:
        return ["[UNK]"]
    out, i = [], 0
    while i < len(word):
        for j in range(len(word), i, -1):
            p = ("##" if i else "") + word[i:j]
            if p in vocab:
                break
        else:
            return ["[UNK]"]
        out.append(p)
        i = j
    return out


def ner(work, n):
    blocks = [(5000 + i, 10000) for i in range(n // 10000)]
    with multiprocessing.Pool(1) as pool:
        data = [x for b in pool.imap(ner_block, blocks) for x in b]
    print("sentences", len(data), flush=True)
    whole, first, inner = collections.Counter(), collections.Counter(), collections.Counter()
    for s in data:
        for w, lab in s:
            whole[w] += 1
            first[w[0]] += 1
            inner.update(w[1:])
    if not os.path.exists(work + "/vocab.txt"):
        vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        chars = [c for c, k in (first + inner).most_common() if k >= 6][:3900]
        vocab += chars + ["##" + c for c in chars if inner[c] >= 4]
        have = set(vocab)
        for w, k in whole.most_common():
            if len(w) > 1 and w not in have and not w.isdigit():
                vocab.append(w)
            if len(vocab) >= 8200:
                break
        for d in "0123456789":
            for v in (d, "##" + d):
                if v not in have and v not in vocab:
                    vocab.append(v)
        open(work + "/vocab.txt", "w").write("\n".join(vocab) + "\n")
    vocab = {w: i for i, w in enumerate(open(work + "/vocab.txt").read().split("\n")[:-1])}
    print("vocab", len(vocab), flush=True)
    save(work, [encode(data, vocab)])


def main():
    if sys.argv[1] == "ner":
        return more(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    work, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300000
    os.makedirs(work, exist_ok=True)
    lex = lexicon.load()
    count = collections.Counter()
    for bag in lex.values():
        if isinstance(bag, lexicon.Bag):
            for w in bag.train + bag.test:
                count.update(w)
    COMMON.update(c for c, _ in count.most_common(3600))
    if not os.path.exists(work + "/spiece-t5.model"):
        sentencepiece(work, lex)
    ner(work, n)


if __name__ == "__main__":
    main()
