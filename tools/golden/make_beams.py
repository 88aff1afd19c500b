"""Writes tests/golden/beams/<case>.json: what transformers 4.57.3's generate() answers with num_beams above 1.

Weights are those of tests/golden/cases/<case>; every prompt is searched alone. A run is kept only if slightly disturbed
scores (noise far above the error of fp32) choose the same ids: another order of summation must not decide a test.

    python3 tools/golden/make_beams.py
"""

import json
import math
import pathlib

import torch
import transformers
from golden_cases import CASES
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden"
NAMES = ["gpt2", "gpt2-odd", "t5", "t5-v11"]
NOISE = 1e-4
DISTURBANCES = 4
NEW_TOKENS = 24


class Disturb(LogitsProcessor):
    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, ids, scores):
        return scores + NOISE * (torch.rand(scores.shape, generator=self.generator) - 0.5)


class EndsWith(StoppingCriteria):
    """A hypothesis ends where its newest ids are one of `endings`: what a stop string is to a text."""

    def __init__(self, endings):
        self.endings = endings

    def __call__(self, ids, scores, **kwargs):
        return torch.tensor([any(row[-len(e) :] == e for e in self.endings) for row in ids.tolist()])


def search(case, model, ids, settings, disturbance=None):
    settings = dict(settings)
    endings = settings.pop("endings", None)
    start = {"decoder_start_token_id": case.decoder_start} if case.decoder_start is not None else {}
    config = GenerationConfig(do_sample=False, pad_token_id=0, return_dict_in_generate=True, output_scores=True, **start, **settings)
    model.generation_config = GenerationConfig()
    inputs = torch.tensor([ids])
    extra = {}
    if endings:
        extra["stopping_criteria"] = StoppingCriteriaList([EndsWith(endings)])
    if disturbance is not None:
        extra["logits_processor"] = LogitsProcessorList([Disturb(disturbance)])
    with torch.no_grad():
        out = model.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=config, **extra)
    hypotheses = []
    for row in range(out.sequences.shape[0]):
        length = int((out.beam_indices[row] >= 0).sum())
        prompt = 1 if case.decoder_start is not None else len(ids)
        text = out.sequences[row, prompt : prompt + length].tolist()
        origins = out.beam_indices[row, :length].tolist()
        logprobs = [round(out.scores[step][beam, token].item(), 6) for step, (beam, token) in enumerate(zip(origins, text))]
        hypotheses.append({"ids": text, "score": out.sequences_scores[row].item(), "logprobs": logprobs})
    return hypotheses


def search_keeping_ended(model, ids, beams, end, new_tokens, disturbance=0.0, generator=None):
    """FasterTransformer's rule for GPT, in plain words: of all continuations of the running texts and of the ended texts the best `beams` remain."""
    texts = [(0.0, [], [])]
    for _ in range(new_tokens):
        everything = [text for text in texts if text[1][-1:] == [end]]
        for score, text, logprobs in texts:
            if text[-1:] == [end]:
                continue
            with torch.no_grad():
                scores = model(torch.tensor([ids + text])).logits[0, -1].float().log_softmax(-1)
            if disturbance:
                scores = scores + disturbance * (torch.rand(scores.shape, generator=generator) - 0.5)
            best = scores.topk(beams)
            everything += [(score + value, text + [token], logprobs + [value]) for value, token in zip(best.values.tolist(), best.indices.tolist())]
        texts = sorted(everything, key=lambda one: -one[0])[:beams]
    return [{"ids": text, "score": score, "logprobs": [round(value, 6) for value in logprobs]} for score, text, logprobs in texts]


def kept_runs(model, prompts, runs):
    """For the ends that the other runs have; close calls are left out as above."""
    kept = []
    asked = sorted({(run["prompt"], run["num_beams"], run["eos_token_id"]) for run in runs if isinstance(run.get("eos_token_id"), int)})
    for prompt, beams, end in asked:
        for new_tokens in (5, 16):
            found = search_keeping_ended(model, prompts[prompt], beams, end, new_tokens)
            again = search_keeping_ended(model, prompts[prompt], beams, end, new_tokens, NOISE, torch.Generator().manual_seed(1))
            if [one["ids"] for one in found] == [one["ids"] for one in again]:
                kept.append({"prompt": prompt, "num_beams": beams, "eos_token_id": end, "max_new_tokens": new_tokens, "hypotheses": found})
    return kept


def table(texts):
    """Settings beside num_beams and max_new_tokens; ends are ids that a plain search produces (`texts`)."""
    first, second = texts[0][3 : 5 + len(texts[0]) // 2], texts[-1]
    end, other = first[len(first) // 2], second[len(second) // 3]
    two = sorted({end, other})
    yield {}
    yield {"eos_token_id": end}
    for early in (True, "never"):
        yield {"early_stopping": early}
    for penalty in (-1.0, 0.0, 0.4, 2.5):
        for early in (False, True, "never"):
            yield {"eos_token_id": end, "length_penalty": penalty, "early_stopping": early}
    for early in (False, True, "never"):
        yield {"eos_token_id": two, "early_stopping": early}
    yield {"eos_token_id": two, "min_new_tokens": 9}
    yield {"eos_token_id": two, "repetition_penalty": 1.4}
    yield {"eos_token_id": end, "no_repeat_ngram_size": 2}
    yield {"no_repeat_ngram_size": 3, "repetition_penalty": 1.1}
    yield {"eos_token_id": end, "bad_words_ids": [[other], first[:2], second[1:4]]}
    yield {"eos_token_id": end, "suppress_tokens": sorted(set(second[:3]) - {end})}
    yield {"eos_token_id": end, "forced_eos_token_id": end, "max_new_tokens": 7}
    yield {"forced_bos_token_id": other, "max_new_tokens": 9}
    yield {"eos_token_id": end, "max_new_tokens": 1}
    yield {"eos_token_id": end, "max_new_tokens": 2, "length_penalty": 0.0}
    yield {"endings": [[other], first[:2]], "eos_token_id": end}
    yield {"endings": [[end], [second[2]]], "early_stopping": True, "length_penalty": 1.7}


def runs_of(case, model, prompts):
    kept, refused = [], 0
    for index, ids in enumerate(prompts):
        plain = {"num_beams": 4, "max_new_tokens": NEW_TOKENS, "num_return_sequences": 4}
        texts = [hypothesis["ids"] for hypothesis in search(case, model, ids, plain)]
        for beams in (2, 4, 8):
            for settings in table(texts):
                settings = {"num_beams": beams, "max_new_tokens": NEW_TOKENS, "num_return_sequences": beams} | settings
                found = search(case, model, ids, settings)
                same = all([h["ids"] for h in search(case, model, ids, settings, seed)] == [h["ids"] for h in found] for seed in range(DISTURBANCES))
                if not same or not all(math.isfinite(h["score"]) and h["score"] > -1e6 for h in found):
                    refused += 1
                    continue
                kept.append({"prompt": index} | settings | {"hypotheses": found})
    print(f"{case.name}: {len(kept)} runs, {refused} too close to call")
    return kept


def write(name, prompts, runs, kept):
    lists = {key: ",\n".join(json.dumps(run) for run in some) for key, some in (("runs", runs), ("keeping_ended", kept))}
    head = json.dumps({"transformers": transformers.__version__, "prompts": prompts})[:-1]
    body = ", ".join(f'"{key}": [\n{lines}\n]' for key, lines in lists.items())
    (ROOT / "beams" / f"{name}.json").write_text(f"{head}, {body}}}\n")


def main():
    assert transformers.__version__ == "4.57.3", transformers.__version__
    torch.set_num_threads(1)
    (ROOT / "beams").mkdir(exist_ok=True)
    for case in CASES:
        if case.name not in NAMES:
            continue
        folder = ROOT / "cases" / case.name
        model = case.load_reference(folder)
        sequences = json.loads((folder / "golden.json").read_text())["sequences"]
        prompts = [sequence["ids"] for sequence in sequences][1:3]
        runs = runs_of(case, model, prompts)
        assert len(runs) > 60, f"{case.name}: too few runs are clear"
        kept = kept_runs(model, prompts, runs) if case.kind == "decoder" else []
        write(case.name, prompts, runs, kept)


if __name__ == "__main__":
    main()
