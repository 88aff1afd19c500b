"""tokenizer.json programs: the families, and every part of the library alone."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import tokenizer_corpus
from . import sentencepiece, variant
from .bert import SPECIALS, SPRINKLED, english_words, wordpiece_vocabulary

MIXED = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "<extra_id_0>", "<|endoftext|>", " <mask> ", "New", "new", "  ", "don't", "１２３", "ﾊﾝｶｸ", "が", "é", "İ", "👨‍👩‍👧"]


def save(directory, tokenizer, name="PreTrainedTokenizerFast", **config):
    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, **config}, ensure_ascii=False) + "\n", encoding="utf-8")


def lines(count=3000):
    return list(tokenizer_corpus.training_lines(count))


def word_piece(words_lower=True):
    tokens = wordpiece_vocabulary(english_words(words_lower), 1500)
    return Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]", max_input_chars_per_word=100))


def bert(directory, lower, **config):
    tokenizer = word_piece(lower)
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIALS])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)])
    save(directory, tokenizer, "BertTokenizerFast", do_lower_case=lower, model_max_length=512, **config)


@variant("fast-bert-uncased", fast=True, special=SPRINKLED + MIXED, lines=600)
def _(directory):
    bert(directory, True)


@variant("fast-bert-cased", fast=True, special=SPRINKLED + MIXED, lines=600)
def _(directory):
    bert(directory, False, tokenize_chinese_chars=False, clean_up_tokenization_spaces=True)


def byte_pairs(tokens=1000, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    return tokenizer, trainers.BpeTrainer(vocab_size=tokens, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)


@variant("fast-gpt2", fast=True, special=MIXED, lines=600)
def _(directory):
    tokenizer, trainer = byte_pairs()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    save(directory, tokenizer, "GPT2TokenizerFast", add_prefix_space=True)


@variant("fast-roberta", fast=True, special=MIXED, lines=600)
def _(directory):
    tokenizer, trainer = byte_pairs()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    save(directory, tokenizer, "RobertaTokenizerFast")


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@variant("fast-llama3", fast=True, special=MIXED, lines=600)
def _(directory):
    tokenizer, trainer = byte_pairs(ignore_merges=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing("<s>:0 $A:0", "<s>:0 $A:0 <s>:1 $B:1", [("<s>", 0)])])
    save(directory, tokenizer, bos_token="<s>", eos_token="</s>")


@variant("fast-llama2", fast=True, special=MIXED, lines=600)
def _(directory):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=500, show_progress=False)
    tokenizer.train_from_iterator([w for line in lines() for w in line.split()], trainer)
    program = json.loads(tokenizer.to_str())
    program["added_tokens"] = program["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(program))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    save(directory, tokenizer, "LlamaTokenizerFast", add_eos_token=True)


def unigram(directory, name, normalizer, pre_tokenizer, template, specials):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.UnigramTrainer(vocab_size=2000, special_tokens=specials, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(lines(1500), trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = template
    save(directory, tokenizer, name)


def converted(directory, name, **config):
    """What transformers makes of a spiece.model: a Precompiled character map and the library's own Unigram."""
    import transformers

    sentencepiece.train(directory, lines=1500, vocab_size=1200)
    model = directory / "spiece.model"
    tokenizer = getattr(transformers, name)(str(model), **config)
    model.unlink()
    save(directory, tokenizer.backend_tokenizer, name, **config)


@variant("fast-t5-converted", fast=True, special=MIXED, lines=600)
def _(directory):
    converted(directory, "T5TokenizerFast", extra_ids=4)


@variant("fast-t5-converted-current", fast=True, special=MIXED, lines=600)
def _(directory):
    converted(directory, "T5TokenizerFast", extra_ids=0, legacy=False)


@variant("fast-unigram-bytes", fast=True, special=MIXED, lines=600)
def _(directory):
    """Unknown characters as byte tokens, where there is one for each byte."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.train_from_iterator(lines(60), trainers.UnigramTrainer(vocab_size=900, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    program = json.loads(tokenizer.to_str())
    program["model"]["vocab"] += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
    program["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(program))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    save(directory, tokenizer, unk_token="<unk>")


@variant("fast-bart", fast=True, special=MIXED, lines=400)
def _(directory):
    """The settings of tokenizer_config.json go into the post-processor and the pre-tokenizer."""
    tokenizer, trainer = byte_pairs(700)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    save(directory, tokenizer, "BartTokenizerFast", add_prefix_space=True, trim_offsets=False)


QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@variant("fast-qwen2", fast=True, special=MIXED, lines=400)
def _(directory):
    tokenizer, trainer = byte_pairs(700)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    save(directory, tokenizer, "Qwen2TokenizerFast", eos_token="<|endoftext|>")


@variant("fast-t5", fast=True, special=MIXED, lines=600)
def _(directory):
    unigram(directory, "T5TokenizerFast", normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(False, True), normalizers.Replace(Regex(" {2,}"), "▁")]),
            pre_tokenizers.Metaspace(), processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)]), ["<pad>", "</s>", "<unk>"])


@variant("fast-xlm-roberta", fast=True, special=MIXED, lines=600)
def _(directory):
    unigram(directory, "XLMRobertaTokenizerFast", normalizers.NFKC(), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first")]),
            processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]), ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])


def characters(directory, normalizer=None, pre_tokenizer=None, decoder=None, post_processor=None, added=(), **config):
    """Every character a token, so that offsets show all that a part does."""
    letters = sorted(set("".join(lines(400)))) + ["▁"]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(dict.fromkeys(["<unk>"] + letters + sorted(pre_tokenizers.ByteLevel.alphabet())))}, [], unk_token="<unk>"))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder:
        tokenizer.decoder = decoder
    if post_processor:
        tokenizer.post_processor = post_processor
    tokenizer.add_tokens(list(added))
    save(directory, tokenizer, **config)


ADDED = [AddedToken("new", lstrip=True, rstrip=True), AddedToken("New", single_word=True, normalized=False), AddedToken("<mask>", lstrip=True, normalized=False, special=True),
         AddedToken("<m", normalized=False), AddedToken("<unk>", special=True, normalized=False), AddedToken("É", normalized=True)]
NORMALIZERS = {"nfc": normalizers.NFC(), "nfd": normalizers.NFD(), "nfkc": normalizers.NFKC(), "nfkd": normalizers.NFKD(), "lower": normalizers.Lowercase(),
               "strip": normalizers.Strip(), "accents": normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents()]), "nmt": normalizers.Nmt(),
               "replace": normalizers.Replace(Regex(r"\s+|[aeiou]{2}"), "▁▁"), "prepend": normalizers.Prepend("▁<"), "bytes": normalizers.Sequence([normalizers.Lowercase(), normalizers.ByteLevel()]),
               "bert": normalizers.BertNormalizer()}
SPLITS = {f"split-{b}": pre_tokenizers.Split(Regex(r"\w+|\d"), b) for b in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")}
PRE_TOKENIZERS = {**SPLITS, "invert": pre_tokenizers.Split(" ", "merged_with_next", invert=True), "whitespace": pre_tokenizers.Whitespace(),
                  "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(False), pre_tokenizers.Punctuation("merged_with_previous")]),
                  "delimiter": pre_tokenizers.CharDelimiterSplit("e"), "fixed": pre_tokenizers.FixedLength(3), "bytelevel": pre_tokenizers.ByteLevel(True),
                  "metaspace-first": pre_tokenizers.Metaspace(prepend_scheme="first"), "metaspace-never": pre_tokenizers.Metaspace(prepend_scheme="never", split=False)}
CLASSES = {"categories": r"\p{Lu}+|\p{Ll}+|\p{Lm}+|\p{Lo}+|\p{Mc}+|\p{N}+|[^\p{P}\p{S}\s]+", "complements": r"[\P{L}!]\P{M}|[^\P{N}1]|[\W_]\D?|\p{Cn}+",
           "unassigned": r"[\p{C}a]+|\P{Cn}[^\p{Cn}1]", "scripts": r"\p{Han}+|\p{Latin}+|\p{Cyrillic}+|\p{Common}+|\p{Alphabetic}",
           "posix": r"[[:upper:]]+|[[:lower:]]+|[[:alnum:]]+|[[:word:]]+|\b\S"}
DECODERS = {"wordpiece": decoders.WordPiece("e", True), "suffix": decoders.BPEDecoder("o"), "strip": decoders.Strip("e", 1, 0), "ctc": decoders.CTC("e", "a", True)}
POST_PROCESSORS = {"bert": processors.BertProcessing(("e", 70), ("a", 66)), "bytelevel": processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.BertProcessing(("e", 70), ("a", 66))])}


# First and last of what Unicode 15 and 16 added, by category: the regular expressions of the library know them.
NEWER = [chr(c) for c in (0x1C89, 0xA7CB, 0xA7CC, 0x1C8A, 0x10D70, 0x1DF2A, 0x10D4E, 0x1E4EB, 0x105C0, 0x143FA, 0x2EBF0, 0x31350, 0x323AF, 0x897, 0xECE, 0x1E5EF,
                          0xCF3, 0x113B8, 0x1612C, 0x10D40, 0x1E5FA, 0x1D2C0, 0x1D2D3, 0x10D6E, 0x1B4E, 0x1E5FF, 0x10D8E, 0x2427, 0x31EF, 0x1FAE9, 0x13430, 0x1343F,
                          0x363, 0x10FC, 0xA7F2, 0x1B132, 0x1B155, 0x11F00, 0x378, 0x32400, 0xB2, 0xBD)] + [chr(c) for c in (0xA7DC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA, 0x10D50, 0x10D65, 0x16EA0, 0x16EB8)] + ["a", "Ａ", "あ", "漢", "1", "!", "^", "+", "\u0301"]


def part(name, special=MIXED, **made):
    @variant(f"part-{name}", fast=True, special=special, lines=180)
    def _(directory):
        characters(directory, added=ADDED, **made)


for _name, _made in NORMALIZERS.items():
    part(f"normalizer-{_name}", special=MIXED + NEWER if _name == "bytes" else MIXED, normalizer=_made)
for _name, _made in PRE_TOKENIZERS.items():
    part(f"pre-tokenizer-{_name}", pre_tokenizer=_made)
for _name, _pattern in CLASSES.items():
    part(f"pattern-{_name}", special=NEWER, pre_tokenizer=pre_tokenizers.Split(Regex(_pattern), "isolated"))
for _name, _made in DECODERS.items():
    part(f"decoder-{_name}", decoder=_made)
for _name, _made in POST_PROCESSORS.items():
    part(f"processor-{_name}", post_processor=_made)


@variant("fast-wordlevel", fast=True, special=MIXED, lines=400)
def _(directory):
    words = {w: i for i, w in enumerate(dict.fromkeys(["<unk>"] + [w for line in lines() for w in line.split()][:2000]))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    save(directory, tokenizer, unk_token="<unk>")

@variant("fast-t5-from-spiece", fast=True, special=MIXED, lines=600)
def _(directory):
    """No tokenizer.json: the class converts spiece.model when it is loaded."""
    sentencepiece.train(directory, lines=1500, vocab_size=1200, user_defined_symbols=["<sep>", "東京都"])
    sentencepiece.write(directory, {"tokenizer_class": "T5TokenizerFast", "extra_ids": 4})


@variant("fast-t5-from-spiece-bpe", fast=True, special=MIXED, lines=600)
def _(directory):
    sentencepiece.train(directory, lines=1500, vocab_size=1800, model_type="bpe", normalization_rule_name="identity")
    sentencepiece.write(directory, {"tokenizer_class": "T5TokenizerFast", "extra_ids": 0, "legacy": False, "add_prefix_space": False})
