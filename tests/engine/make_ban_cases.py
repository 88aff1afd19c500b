"""Which ids transformers bans before the next token, for random settings. Writes data/bans.json.

Run with the development environment (torch, transformers); the C++ test reads only the result.
"""

import json
import pathlib
import random

import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

VOCAB = 12
CASES = 400


def random_case(rng):
    alphabet = rng.randint(2, VOCAB)  # few ids, so that n-grams repeat
    ids = lambda low, high: [rng.randrange(alphabet) for _ in range(rng.randint(low, high))]
    words = [ids(1, 4) for _ in range(rng.randint(0, 4))]
    return {
        "history": ids(1, 14),
        "eos": sorted({rng.randrange(VOCAB) for _ in range(rng.randint(0, 2))}),
        "no_repeat_ngram": rng.choice([0, 0, 1, 2, 3, 4]),
        "bad_words": [list(word) for word in sorted({tuple(word) for word in words})],
        "suppress": sorted({rng.randrange(VOCAB) for _ in range(rng.randint(0, 2))}),
    }


def banned(case):
    processors = LogitsProcessorList()
    if case["no_repeat_ngram"] > 0:
        processors.append(NoRepeatNGramLogitsProcessor(case["no_repeat_ngram"]))
    lone_eos = [[i] for i in case["eos"]]
    if any(word not in lone_eos for word in case["bad_words"]):  # the class refuses an empty list
        eos = torch.tensor(case["eos"]) if case["eos"] else None
        processors.append(NoBadWordsLogitsProcessor(case["bad_words"], eos_token_id=eos))
    if case["suppress"]:
        processors.append(SuppressTokensLogitsProcessor(case["suppress"]))
    scores = processors(torch.tensor([case["history"]]), torch.zeros(1, VOCAB))
    return torch.isinf(scores[0]).nonzero().flatten().tolist()


def main():
    rng = random.Random(1)
    cases = [random_case(rng) for _ in range(CASES)]
    for case in cases:
        case["banned"] = banned(case)
    out = pathlib.Path(__file__).parent / "data" / "bans.json"
    out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
