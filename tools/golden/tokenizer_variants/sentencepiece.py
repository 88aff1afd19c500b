"""SentencePiece tokenizers: T5 and GPT-2 models with a spiece.model, each a small model trained here."""

import io
import json
import tempfile
import unicodedata

import tokenizer_corpus
from . import variant

TYPED = ["<extra_id_0>", "<extra_id_1>", "<extra_id_99>", "</s>", "<s>", "<pad>", "<unk>", "[SEP]", "[CLS]", "<sep>", "<cls>", "▁", "<new>", "[MASK]", "<0xE3>"]


def small_rules():
    """A character map of a few hundred rules; that of nmt_nfkc has 240 KB."""
    rules = {chr(c): unicodedata.normalize("NFKC", chr(c)) for c in [*range(0xFF01, 0xFF60), *range(0xFF65, 0xFFA0), *range(0x2460, 0x2474), *range(0x3300, 0x3320), 0xFB01, 0x337F]}
    rules |= {base + mark: unicodedata.normalize("NFC", base + mark) for base in "かきくけこはひふへほハ" for mark in "\u3099\u309a"
              if len(unicodedata.normalize("NFC", base + mark)) == 1}
    rules |= {c: " " for c in "\t\n\r\u3000\u00a0\u2581\u200b\ufeff"} | {c: "" for c in "\x01\x07\u00ad"} | {"…": "...", "㈱": " (株) ", "¥": " ", "--": "—", "---": "-"}
    return rules


def train(directory, *, lines=4000, **changes):
    """A deterministic small model: one thread, fixed order of the corpus."""
    import sentencepiece

    settings = dict(vocab_size=2200, model_type="unigram", character_coverage=0.98, num_threads=1, input_sentence_size=0, shuffle_input_sentence=False,
                    pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2, max_sentence_length=20000)
    settings.update(changes)
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as table:
        if "normalization_rule_name" not in settings:
            for source, target in small_rules().items():
                table.write(" ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n")
            table.flush()
            settings["normalization_rule_tsv"] = table.name
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(tokenizer_corpus.training_lines(lines)), model_writer=model, **settings)
    (directory / "spiece.model").write_bytes(model.getvalue())
    change(directory, forget_paths)


def forget_paths(model):
    model.normalizer_spec.ClearField("normalization_rule_tsv")


def change(directory, edit):
    """Edits the model's message, for what the trainer does not offer."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString((directory / "spiece.model").read_bytes())
    edit(model)
    (directory / "spiece.model").write_bytes(model.SerializeToString())


def write(directory, config, **files):
    for name, value in {"tokenizer_config": {"tokenizer_class": "T5Tokenizer", **config}, **files}.items():
        (directory / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def added(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False, "special": False, **flags}


def tie_scores(model):
    """Many equal scores, so that ties decide."""
    for piece in model.pieces:
        if piece.type == 1:
            piece.score = float(round(piece.score))


def unused_every_fifth(model):
    normal = [piece for piece in model.pieces if piece.type == 1 and len(piece.piece) > 1]
    for piece in normal[::5]:
        piece.type = 5


@variant("t5-legacy", fast=False, special=TYPED, lines=800)
def _(directory):
    """As t5-base-japanese-web: nmt_nfkc, byte fallback, user-defined symbols, 100 sentinels."""
    train(directory, byte_fallback=True, user_defined_symbols=["<sep>", "東京都"], normalization_rule_name="nmt_nfkc")
    write(directory, {"model_max_length": 512})


@variant("t5-current", fast=False, special=TYPED, lines=800)
def _(directory):
    """legacy off, files of 4.34 and later."""
    train(directory, byte_fallback=True, user_defined_symbols=["<sep>"])
    extra = [f"<extra_id_{i}>" for i in range(100)]
    from transformers import T5Tokenizer

    tokenizer = T5Tokenizer(str(directory / "spiece.model"), legacy=False, extra_ids=100, additional_special_tokens=extra)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(str(directory))


@variant("t5-no-fallback", fast=False, special=TYPED, lines=700)
def _(directory):
    """Unknown runs instead of bytes; legacy off."""
    train(directory, lines=600, vocab_size=1000)
    write(directory, {"legacy": False, "extra_ids": 10, "do_lower_case": True})


@variant("t5-listed-tokens", fast=False, special=TYPED, lines=800)
def _(directory):
    """additional_special_tokens without sentinels: those are numbered upwards then."""
    train(directory, normalization_rule_name="nfkc_cf")
    write(directory, {"extra_ids": 5, "additional_special_tokens": ["<new>", "[SEP]"], "legacy": True, "clean_up_tokenization_spaces": True})


@variant("gpt2-rinna", fast=False, special=TYPED, lines=800)
def _(directory):
    """rinna's GPT-2: T5Tokenizer with other special tokens and no sentinels."""
    train(directory, normalization_rule_name="nmt_nfkc", byte_fallback=True, pad_id=3, bos_id=1, eos_id=2, unk_id=0, pad_piece="[PAD]", user_defined_symbols=["[CLS]", "[SEP]", "[MASK]"])
    write(directory, {"extra_ids": 0, "do_lower_case": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "[PAD]",
                      "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "additional_special_tokens": []},
          special_tokens_map={"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "[PAD]", "bos_token": "<s>", "cls_token": "[CLS]",
                              "sep_token": "[SEP]", "mask_token": {**added("[MASK]", lstrip=True)}})


@variant("t5-identity", fast=False, special=TYPED, lines=800)
def _(directory):
    """No character map; white space kept as it is; no dummy prefix."""
    train(directory, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False, byte_fallback=True)
    write(directory, {"extra_ids": 3})


@variant("t5-spaces", fast=False, special=TYPED, lines=800)
def _(directory):
    """White space kept, dummy prefix on, legacy off, no prefix space of the class."""
    train(directory, remove_extra_whitespaces=False, allow_whitespace_only_pieces=True)
    write(directory, {"extra_ids": 3, "legacy": False, "add_prefix_space": False})


@variant("t5-spaces-prefix", fast=False, special=TYPED, lines=800)
def _(directory):
    train(directory, remove_extra_whitespaces=False, split_by_whitespace=False)
    write(directory, {"extra_ids": 3, "legacy": False})


@variant("t5-bpe", fast=False, special=TYPED, lines=700)
def _(directory):
    train(directory, model_type="bpe", byte_fallback=True, user_defined_symbols=["<sep>"])
    change(directory, unused_every_fifth)
    write(directory, {"extra_ids": 20})


@variant("t5-suffix", fast=False, special=TYPED, lines=700)
def _(directory):
    train(directory, treat_whitespace_as_suffix=True)
    write(directory, {"extra_ids": 2, "legacy": False})


@variant("t5-ties", fast=False, special=TYPED, lines=700)
def _(directory):
    train(directory, user_defined_symbols=["<sep>", "です", "<", "する"])
    change(directory, tie_scores)
    change(directory, unused_every_fifth)
    write(directory, {"tokenizer_class": "MT5Tokenizer", "extra_ids": 0})


@variant("t5-words", fast=False, special=TYPED, lines=600)
def _(directory):
    train(directory, model_type="word", vocab_size=1500)
    write(directory, {"extra_ids": 2})


@variant("t5-characters", fast=False, special=TYPED, lines=600)
def _(directory):
    train(directory, model_type="char", user_defined_symbols=["<sep>"])
    write(directory, {"extra_ids": 2, "legacy": False, "sp_model_kwargs": {}})
