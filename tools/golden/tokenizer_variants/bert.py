"""WordPiece tokenizers: English and multilingual BERT, Japanese BERT with its word and subword types."""

import collections
import json
import unicodedata

import japanese_offsets
import tokenizer_corpus
from . import variant

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPRINKLED = SPECIALS + ["[unused1]", "<new>", "<New Token>", "[sep]", "[ CLS ]", "Ａ"]


def wordpiece_vocabulary(words, size):
    """A vocabulary by frequency: characters, then prefixes and continuations of the words."""
    letters, pieces = collections.Counter(), collections.Counter()
    for word in words:
        letters.update(word)
        for end in range(2, min(len(word), 8) + 1):
            pieces[word[:end]] += 1
        for start in range(1, min(len(word), 8)):
            for end in range(start + 1, min(len(word), start + 5) + 1):
                pieces["##" + word[start:end]] += 1
    order = lambda counter: [key for key, _ in sorted(counter.items(), key=lambda item: (-item[1], item[0]))]
    tokens = SPECIALS + ["[unused1]"] + order(letters)[: size // 3]
    tokens += ["##" + letter for letter in order(letters)[: size // 4]]
    tokens = list(dict.fromkeys(tokens + ["##", "##[", "。", "、"] + order(pieces)))
    return tokens[:size]


def english_words(lower):
    lines = tokenizer_corpus.training_lines(6000)
    text = " ".join(lines)
    return [w for w in (text.lower() if lower else text).split() if len(w) < 30]


def japanese_words():
    import fugashi
    import ipadic

    tagger = fugashi.GenericTagger(f'-d "{ipadic.DICDIR}" -r "{ipadic.DICDIR}/mecabrc"')
    return [word.surface for line in tokenizer_corpus.training_lines(6000) for word in tagger(unicodedata.normalize("NFKC", line))]


def write(directory, tokens, config, **files):
    (directory / "vocab.txt").write_text("".join(token + "\n" for token in tokens), encoding="utf-8")
    for name, value in {"tokenizer_config": config, **files}.items():
        (directory / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def added(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False, "special": False, **flags}


@variant("bert-uncased-slow", fast=False, special=SPRINKLED, lines=800)
def _(directory):
    write(directory, wordpiece_vocabulary(english_words(True), 2500), {"tokenizer_class": "BertTokenizer", "model_max_length": 512})


@variant("bert-cased-slow", fast=False, special=SPRINKLED, lines=800)
def _(directory):
    """Cased, accents stripped by hand, with added tokens of every flag."""
    tokens = wordpiece_vocabulary(english_words(False), 2500)
    size = len(tokens)
    decoder = {str(i): added(t, special=True, normalized=False) for i, t in enumerate(SPECIALS)}
    decoder["4"]["lstrip"] = True
    decoder |= {str(size): added("<new>", rstrip=True), str(size + 1): added("<New Token>", single_word=True),
                str(size + 2): added("東京都", single_word=True), str(size + 3): added("new", lstrip=True, rstrip=True)}
    write(directory, tokens, {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": True, "added_tokens_decoder": decoder,
                              "additional_special_tokens": ["<new>", "Ａ"], "never_split": ["don't", "[unused1]", "e.g."],
                              "clean_up_tokenization_spaces": False, "model_max_length": 10**30})


@variant("bert-lower-legacy-slow", fast=False, special=SPRINKLED + ["NEWTOK", "newtok"], lines=800)
def _(directory):
    """The files of releases before 4.34: special_tokens_map.json and added_tokens.json."""
    tokens = wordpiece_vocabulary(english_words(True), 1500)
    write(directory, tokens, {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False},
          special_tokens_map={"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
                              "mask_token": {"content": "[MASK]", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False},
                              "additional_special_tokens": ["<new>"]},
          added_tokens={"<new>": len(tokens), "NEWTOK": len(tokens) + 1})


@variant("bert-no-basic-slow", fast=False, special=SPRINKLED, lines=500)
def _(directory):
    write(directory, wordpiece_vocabulary(english_words(False), 1200), {"tokenizer_class": "BertTokenizer", "do_basic_tokenize": False})


def japanese_config(**changes):
    return {"tokenizer_class": "BertJapaneseTokenizer", "do_lower_case": False, "word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece",
            "mecab_kwargs": {"mecab_dic": "ipadic"}, "model_max_length": 512, **changes}


@variant("bert-japanese-mecab", fast=False, special=SPRINKLED, offsets=japanese_offsets.offsets, lines=2200)
def _(directory):
    write(directory, wordpiece_vocabulary(japanese_words(), 4000), japanese_config())


@variant("bert-japanese-mecab-lower", fast=False, special=SPRINKLED, offsets=japanese_offsets.offsets, lines=1300)
def _(directory):
    write(directory, wordpiece_vocabulary([w.lower() for w in japanese_words()], 2500),
          japanese_config(do_lower_case=True, never_split=["東京", "WWW"], additional_special_tokens=["<new>"]))


@variant("bert-japanese-mecab-raw", fast=False, special=SPRINKLED, offsets=japanese_offsets.offsets, lines=600)
def _(directory):
    """No NFKC, no subwords."""
    words = [word for word, _ in collections.Counter(japanese_words()).most_common(2000)]
    write(directory, list(dict.fromkeys(SPECIALS + words)),
          japanese_config(mecab_kwargs={"mecab_dic": "ipadic", "normalize_text": False, "mecab_option": "-F '%m\\n'"}, do_subword_tokenize=False))


@variant("bert-japanese-character", fast=False, special=SPRINKLED, offsets=japanese_offsets.offsets, lines=800)
def _(directory):
    letters = sorted(set("".join(tokenizer_corpus.training_lines(4000))) - {" ", "\n"})
    write(directory, SPECIALS + letters[::2], japanese_config(subword_tokenizer_type="character"))


@variant("bert-japanese-sentencepiece", fast=False, special=SPRINKLED + ["``", "''", "1,", "２０,"], lines=800)
def _(directory):
    """MeCab words, SentencePiece pieces; cls, sep and mask are pieces of the model, pad and unk its own names."""
    import sentencepiece

    lines = directory / "lines.txt"
    lines.write_text("\n".join(tokenizer_corpus.training_lines(5000)) + "\n", encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(input=str(lines), model_prefix=str(directory / "spiece"), vocab_size=2400, model_type="unigram",
                                             character_coverage=0.98, num_threads=1, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
                                             control_symbols=["[CLS]", "[SEP]", "[MASK]"], minloglevel=2)
    lines.unlink()
    (directory / "spiece.vocab").unlink()
    config = japanese_config(subword_tokenizer_type="sentencepiece", unk_token="<unk>", pad_token="<pad>")
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


@variant("bert-japanese-basic", fast=False, special=SPRINKLED, lines=600)
def _(directory):
    write(directory, wordpiece_vocabulary(english_words(False), 1500), japanese_config(word_tokenizer_type="basic", mecab_kwargs=None))


@variant("bert-japanese-no-words", fast=False, special=SPRINKLED, lines=700)
def _(directory):
    write(directory, wordpiece_vocabulary(english_words(False), 1000), japanese_config(do_word_tokenize=False, mecab_kwargs=None))


@variant("bert-fast-from-vocabulary", fast=True, special=SPRINKLED, lines=800)
def _(directory):
    """A fast class without tokenizer.json: the library converts the slow one."""
    write(directory, wordpiece_vocabulary(english_words(True), 1500), {"tokenizer_class": "BertTokenizerFast", "do_lower_case": True})
