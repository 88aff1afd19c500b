"""GPT2Tokenizer, the slow class: vocab.json and merges.txt, trained here."""

import json

import tokenizer_corpus
from . import variant

TYPED = ["<|endoftext|>", "<|pad|>", "Ġ", " <|endoftext|> ", "<new>", "[MASK]", "'s", "'S", "n't", "Ċ", "  "]


def train(directory, *, size, lines=4000, special=("<|endoftext|>",)):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(tokenizer_corpus.training_lines(lines), trainer)
    tokenizer.model.save(str(directory))


def write(directory, config, **files):
    for name, value in {"tokenizer_config": {"tokenizer_class": "GPT2Tokenizer", **config}, **files}.items():
        (directory / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def added(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False, "special": False, **flags}


@variant("gpt2-slow", fast=False, special=TYPED, lines=800)
def _(directory):
    train(directory, size=2000)
    write(directory, {"model_max_length": 1024})


@variant("gpt2-slow-prefix", fast=False, special=TYPED, lines=700, pair=False)  # its type ids of pairs forget the bos tokens
def _(directory):
    train(directory, size=1500, special=("<|endoftext|>", "<|pad|>", "[MASK]"))
    write(directory, {"add_prefix_space": True, "add_bos_token": True, "pad_token": "<|pad|>", "errors": "ignore",
                      "mask_token": "[MASK]", "additional_special_tokens": ["<new>"]})


@variant("gpt2-slow-gaps", fast=False, special=TYPED, lines=800)
def _(directory):
    """Merges that lead out of the vocabulary, in an order that training never gives, and lines that are no merges."""
    train(directory, size=900)
    vocabulary = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
    kept = {token: i for i, token in enumerate(t for t, i in sorted(vocabulary.items(), key=lambda item: item[1]) if i % 7 != 3 or i < 10)}
    (directory / "vocab.json").write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = (directory / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1]
    odd = lines[100:] + ["a b c", "", "t h"] + lines[:100][::-1] + ["Ġ Ġ"]
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\r\n".join(odd) + "\nlast dropped", encoding="utf-8", newline="")
    write(directory, {"added_tokens_decoder": {"0": added("<|endoftext|>", special=True, normalized=False), "2000": added("<new>", single_word=True)}})
