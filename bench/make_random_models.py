"""Writes model directories of well-known shapes with random weights, for timing without downloads.

    python bench/make_random_models.py FOLDER [bert-base gpt2-medium t5-base gpt-1b bert-text gpt2-text]

Needs torch and transformers. Timing in process feeds ids and needs no tokenizer; the -text models have that of a demo model, and
its vocabulary, so that a server can run them.
"""

import argparse
import json
import pathlib
import shutil

import torch
from transformers import (
    BertConfig,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

MODELS = {
    "bert-base": lambda: BertForTokenClassification(BertConfig(vocab_size=32000, num_labels=45)),
    "gpt2-medium": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=32000, n_embd=1024, n_layer=24, n_head=16, n_inner=4096, bos_token_id=1, eos_token_id=2)
    ),
    "t5-base": lambda: T5ForConditionalGeneration(
        T5Config(
            vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, decoder_start_token_id=0
        )
    ),
    # rinna/japanese-gpt-1b
    "gpt-1b": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=44928, n_embd=2048, n_layer=24, n_head=16, n_inner=8192, bos_token_id=2, eos_token_id=3)
    ),
    "bert-text": lambda: BertForTokenClassification(BertConfig(vocab_size=lines("ner-ja/vocab.txt"), num_labels=45)),
    "gpt2-text": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=4801, n_embd=1024, n_layer=24, n_head=16, n_inner=4096, bos_token_id=1, eos_token_id=2)
    ),
}
DEMO = pathlib.Path(__file__).parent.parent / "models" / "demo"
TOKENIZERS = {"bert-text": "ner-ja", "gpt2-text": "style-ja-gpt2"}
DEFAULT = ["bert-base", "gpt2-medium", "t5-base"]


def lines(path):
    return len((DEMO / path).read_text(encoding="utf-8").splitlines())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=DEFAULT, metavar="NAME", help=", ".join(MODELS))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MODELS)
    if unknown:
        parser.error(f"unknown model {', '.join(sorted(unknown))}; known: {', '.join(MODELS)}")
    for name in arguments.names:
        torch.manual_seed(0)
        model = MODELS[name]()
        model.save_pretrained(arguments.folder / name)
        for file in (DEMO / TOKENIZERS[name]).iterdir() if name in TOKENIZERS else []:
            if file.name not in ("config.json", "generation_config.json", "model.safetensors", "README.md"):
                shutil.copy(file, arguments.folder / name)
        if name == "bert-text":  # without MeCab, whose dictionary is larger than the programs
            plain = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": False}
            (arguments.folder / name / "tokenizer_config.json").write_text(json.dumps(plain))
        print(f"{arguments.folder / name}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")


if __name__ == "__main__":
    main()
