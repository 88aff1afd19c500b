"""Writes tests/kernels/data/selection.json: what transformers' own chain of processors and warpers leaves of given logits.

The chain is the one that `generate` builds (GenerationMixin._get_logits_processor), so its order is the library's. A case is
drawn again when float32 and float64 disagree about who survives: such a case proves nothing.
"""
import argparse
import json

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, LogitsProcessorList

OPTIONS = [
    {},
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.6},
    {"min_new_tokens": 3, "eos": [2, 5]},
    {"min_new_tokens": 3, "eos": [2, 5], "late": True},
    {"bans": [0, 7, 31]},
    {"do_sample": True},
    {"do_sample": True, "temperature": 0.7},
    {"do_sample": True, "temperature": 2.5},
    {"do_sample": True, "top_k": 1},
    {"do_sample": True, "top_k": 5},
    {"do_sample": True, "top_k": 1000},
    {"do_sample": True, "top_p": 0.9},
    {"do_sample": True, "top_p": 0.5},
    {"do_sample": True, "top_p": 0.01},
    {"do_sample": True, "min_p": 0.05},
    {"do_sample": True, "min_p": 0.5},
    {"do_sample": True, "typical_p": 0.9},
    {"do_sample": True, "typical_p": 0.3},
    {"do_sample": True, "typical_p": 0.05},
    {"do_sample": True, "top_k": 20, "top_p": 0.8},
    {"do_sample": True, "top_p": 0.9, "min_p": 0.1, "temperature": 1.5},
    {"do_sample": True, "top_k": 12, "typical_p": 0.6},
    {"do_sample": True, "top_k": 25, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.9, "temperature": 0.8,
     "repetition_penalty": 1.3, "min_new_tokens": 3, "eos": [1], "bans": [3, 4]},
]
SHAPES = [(48, 2.0, False), (48, 6.0, False), (40, 1.0, True), (300, 3.0, False)]


def chain(model, options, prompt_length, vocab):
    names = ("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "min_new_tokens")
    given = {k: options[k] for k in names if k in options}
    given.setdefault("top_k", 0)  # generate's own default is 50
    eos = options.get("eos")
    if "bans" in options:
        given["suppress_tokens"] = options["bans"]
    config = GenerationConfig(max_new_tokens=20, eos_token_id=eos, pad_token_id=0, **given)
    model._prepare_special_tokens(config, False, device="cpu")
    return model._get_logits_processor(generation_config=config, input_ids_seq_length=prompt_length,
                                       encoder_input_ids=None, prefix_allowed_tokens_fn=None,
                                       logits_processor=LogitsProcessorList(), device="cpu", model_kwargs={})


def one(model, generator, options, vocab, spread, ties):
    prompt = 3
    generated = 5 if options.get("late") else 2
    ids = torch.randint(0, vocab, (1, prompt + generated), generator=generator)
    while True:
        logits = torch.round(torch.randn(1, vocab, generator=generator) * spread * 256) / 256  # short to write
        if ties:
            logits = torch.floor(logits)
        processors = chain(model, options, prompt, vocab)
        scores = processors(ids, logits.clone())
        wide = processors(ids, logits.double())
        if torch.equal(torch.isfinite(scores), torch.isfinite(wide)):
            break
    log_probabilities = torch.log_softmax(wide[0], -1)
    allowed = torch.nonzero(torch.isfinite(scores[0])).flatten().tolist()
    return {"options": options, "ties": ties, "history": ids[0].tolist(), "generated": generated,
            "logits": [float(x) for x in logits[0]], "allowed": allowed,
            "logprobs": [round(float(log_probabilities[i]), 6) for i in allowed], "argmax": int(scores[0].argmax())}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", nargs="?", default="tests/kernels/data/selection.json")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(20240607)
    cases = []
    for vocab, spread, ties in SHAPES:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=vocab, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0))
        for options in OPTIONS:
            cases.append(one(model, generator, options, vocab, spread, ties))
    with open(arguments.output, "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
