"""Runs transformers (fp32, CPU, eager attention) on a case's directory and collects what it answers.

Every sequence is computed alone: the reference never sees padding. Everything is computed once more in fp64, from which
the tolerance of each tensor comes: how far fp32 itself is off says how far another order of summation may be.
"""

import copy

import torch
from transformers import GenerationConfig

MARGIN = 1e-3  # smallest accepted lead of the greedy choice over the runner-up: hundreds of times the error of fp32

CONDITION = 5e-6  # largest accepted error of fp32, relative to the largest value: chaotic networks prove little


class Rejected(Exception):
    """This draw of weights is no good test."""


def ids_of(length, vocab, generator, low=0):
    return torch.randint(low, vocab, (length,), generator=generator).tolist()


def noise(single, double):
    return (single.double() - double).abs().max().item()


class Collector:
    """Tensors by name, and beside each the measured error of fp32."""

    def __init__(self):
        self.tensors, self.noise = {}, {}

    def add(self, name, single, double):
        if not torch.isfinite(single).all():
            raise Rejected(f"{name} is not finite")
        if single.numel() > 8 and single.std() < 0.05:
            raise Rejected(f"{name} hardly varies")
        self.tensors[name] = single
        self.noise[name] = noise(single, double)
        if self.noise[name] > CONDITION * max(1.0, single.abs().max().item()):
            raise Rejected(f"{name} is ill-conditioned")

    def golden(self):
        return {"noise": self.noise}


def in_double(model):
    out = copy.deepcopy(model).double()
    for module in out.modules():
        # Its path insists on fp32 scores; in fp64 the plain path computes the same.
        if hasattr(module, "reorder_and_upcast_attn"):
            module.reorder_and_upcast_attn = False
    return out


def in_both(model, run):
    """The same call in fp32 and fp64."""
    with torch.no_grad():
        return run(model), run(in_double(model))


def check_overflow(model, run):
    """Every block's output must hold something that float16 cannot."""
    peaks = []
    hooks = [
        block.register_forward_hook(lambda _, inputs, out: peaks.append(out[0].abs().max().item()))
        for side in (model.encoder, model.decoder)
        for block in side.block
    ]
    with torch.no_grad():
        run(model)
    for hook in hooks:
        hook.remove()
    if min(peaks) <= torch.finfo(torch.float16).max:
        raise Rejected(f"a block's output fits into float16: {min(peaks):g}")


# Encoders. ------------------------------------------------------------------------------------------------------------


def run_encoder(case, model, folder, generator):
    config = model.config
    collect, sequences, pooled = Collector(), [], []
    modules = [(module.float().eval(), copy.deepcopy(module).double().eval()) for module in case.sentence_modules()]
    for index, length in enumerate(case.lengths):
        ids = ids_of(length, config.vocab_size, generator)
        types = ids_of(length, getattr(config, "type_vocab_size", 1), generator) if case.types else []
        sequences.append({"ids": ids, "types": types})
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, length, dtype=torch.long)}
        if case.types:
            inputs["token_type_ids"] = torch.tensor([types])
        single, double = in_both(model, lambda m: case.outputs_of(m(**inputs)))
        if "rows" in single:
            collect.add(f"rows.{index}", single["rows"][0], double["rows"][0])
        if "pooled" in single:
            pooled.append((single["pooled"][0], double["pooled"][0]))
        elif modules:
            features = [{"token_embeddings": out["rows"], "attention_mask": inputs["attention_mask"]} for out in (single, double)]
            for pair in modules:
                if type(pair[0]).__name__ != "Normalize":  # the request's matter, not the model's
                    with torch.inference_mode():
                        features = [module(feature) for module, feature in zip(pair, features)]
            pooled.append(tuple(feature["sentence_embedding"][0] for feature in features))
    if pooled:
        collect.add("pooled", *(torch.stack(side) for side in zip(*pooled)))
    return collect.golden() | case.facts | {"options": case.options, "sequences": sequences}, collect.tensors


# Generation. ----------------------------------------------------------------------------------------------------------


def check_margins(scores):
    for step in scores:
        best = step[0].topk(2).values
        if (best[0] - best[1]).item() < MARGIN:
            raise Rejected("a greedy choice is too close to call")


def generate(case, model, ids, prompt, **settings):
    """Real generate(), greedy. Returns the record of tests/golden; `prompt` says which sequence it starts from."""
    start = {"decoder_start_token_id": case.decoder_start} if case.decoder_start is not None else {}
    wanted = GenerationConfig(do_sample=False, pad_token_id=0, return_dict_in_generate=True, output_scores=True, use_cache=case.use_cache, **start, **settings)
    model.generation_config = GenerationConfig()
    inputs = torch.tensor([ids])
    out = model.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=wanted)
    check_margins(out.scores)
    tokens = out.sequences[0].tolist()[-len(out.scores) :]
    return {"prompt": prompt, "tokens": tokens} | settings


def generations(case, model, prompts, new_tokens):
    """Greedy runs to the length limit, then the switches, each with an eos that the plain run is known to reach."""
    plain = [generate(case, model, ids, i, max_new_tokens=new_tokens) for i, ids in enumerate(prompts)]
    if max(len(set(run["tokens"])) for run in plain) < 6:
        raise Rejected("generated text hardly varies")
    records = list(plain)
    stops = [[t for k, t in enumerate(run["tokens"]) if k >= 2 and t not in run["tokens"][:k]] for run in plain]
    varied = sorted((run for run, stop in zip(plain, stops) if stop), key=lambda run: -len(set(run["tokens"])))
    if not varied:
        raise Rejected("no token to stop at")
    for run in varied[:2]:
        stop = stops[run["prompt"]]
        eos = sorted({stop[-1], stop[len(stop) // 2]})
        ids, i = prompts[run["prompt"]], run["prompt"]
        records.append(generate(case, model, ids, i, max_new_tokens=new_tokens, eos_token_id=eos))
        records.append(generate(case, model, ids, i, max_new_tokens=new_tokens, eos_token_id=eos, min_new_tokens=12))
        records.append(generate(case, model, ids, i, max_new_tokens=new_tokens, repetition_penalty=1.3))
    if max(len(set(run["tokens"])) for run in records) < 16:
        raise Rejected("text generated with a repetition penalty hardly varies")
    if not any(len(run["tokens"]) < new_tokens for run in records):
        raise Rejected("nothing stops at eos")
    return records


def run_decoder(case, model, folder, generator):
    vocab = model.config.vocab_size
    sequences = [{"ids": ids_of(length, vocab, generator)} for length in case.lengths]
    records = generations(case, model, [sequence["ids"] for sequence in sequences[: case.prompts]], case.new_tokens)
    collect = Collector()
    for index, sequence in enumerate(sequences):
        ids = torch.tensor([sequence["ids"]])
        collect.add(f"logits.{index}", *in_both(model, lambda m: m(input_ids=ids).logits[0]))
    return collect.golden() | case.facts | {"options": case.options, "sequences": sequences, "generations": records}, collect.tensors


def run_encoder_decoder(case, model, folder, generator):
    vocab = model.config.vocab_size
    sequences = []
    for length, target_length in zip(case.lengths, case.target_lengths):
        targets = [case.decoder_start] + ids_of(target_length - 1, vocab, generator)
        sequences.append({"ids": ids_of(length, vocab, generator), "targets": targets})
    records = generations(case, model, [sequence["ids"] for sequence in sequences[: case.prompts]], case.new_tokens)
    collect = Collector()
    for index, sequence in enumerate(sequences):
        inputs = {"input_ids": torch.tensor([sequence["ids"]]), "decoder_input_ids": torch.tensor([sequence["targets"]])}
        inputs["use_cache"] = case.use_cache
        collect.add(f"logits.{index}", *in_both(model, lambda m: m(**inputs).logits[0]))
        if case.overflows:
            check_overflow(model, lambda m: m(**inputs))
    return collect.golden() | case.facts | {"options": case.options, "sequences": sequences, "generations": records}, collect.tensors


RUNNERS = {"encoder": run_encoder, "decoder": run_decoder, "encoder-decoder": run_encoder_decoder}
