"""Writes model directories of well-known shapes with random weights, for timing without downloads.

    python bench/make_random_models.py FOLDER [bert-base gpt2-medium t5-base]

Needs torch and transformers. There are no tokenizer files: timing feeds ids.
"""

import argparse
import pathlib

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
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="NAME", help=", ".join(MODELS))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MODELS)
    if unknown:
        parser.error(f"unknown model {', '.join(sorted(unknown))}; known: {', '.join(MODELS)}")
    for name in arguments.names:
        torch.manual_seed(0)
        model = MODELS[name]()
        model.save_pretrained(arguments.folder / name)
        print(f"{arguments.folder / name}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")


if __name__ == "__main__":
    main()
