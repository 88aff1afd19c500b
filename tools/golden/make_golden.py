#!/usr/bin/env python3
"""Writes tests/golden/<case>/: tiny random model directories and what transformers makes of them. See README.md here.

    make_golden.py            all cases
    make_golden.py bert-ner*  only those whose name matches
"""

import fnmatch
import json
import logging
import pathlib
import shutil
import sys
import tempfile
import warnings

import torch
import transformers
from safetensors.torch import save_file

from golden_cases import CASES
from golden_reference import RUNNERS, Rejected
from golden_weights import draw, write_checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "cases"
PINNED = "4.57.3"
TRIES = 400


def write_directory(case, model, folder):
    """The model directory as a user would have it."""
    model.config.architectures = [case.architecture or type(model).__name__]
    config = json.loads(model.config.to_json_string(use_diff=True))
    config.pop("dtype", None)
    config["torch_dtype"] = str(case.dtype).removeprefix("torch.")
    for change in case.config_changes:
        change(config)
    (folder / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n")
    write_checkpoint(case, model.to(case.dtype), folder)
    for path, content in case.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content) + "\n")
    case.write_modules(folder)


def used_parameters(case, reference):
    """transformers builds poolers and sentence-pair heads also where no answer depends on them."""
    idle = ("seq_relationship",) if case.facts["task"] == "text-classification" else ("seq_relationship", "pooler")
    used = [p for name, p in reference.named_parameters() if not any(part in name for part in idle)]
    return sum(p.numel() for p in used + [p for module in case.modules for p in module.parameters()])


def attempt(case, seed, folder):
    """One try: draws, writes, loads with transformers as a user would, runs. Raises Rejected on close calls."""
    generator = torch.Generator().manual_seed(seed)
    model = case.build()
    draw(model, generator, case.gains)
    write_directory(case, model, folder)
    reference = case.load_reference(folder)
    golden, tensors = RUNNERS[case.kind](case, reference, folder, generator)
    golden |= {"parameters": used_parameters(case, reference), "unused": case.unused}
    golden = {"kind": case.kind, "seed": seed, "transformers": transformers.__version__} | golden
    expected = folder / "expected"
    expected.mkdir()
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, expected / "model.safetensors")
    text = json.dumps(golden, ensure_ascii=False)
    (folder / "golden.json").write_text(text + "\n")


def make(case):
    for seed in range(TRIES):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch) / case.name
            folder.mkdir()
            try:
                attempt(case, 1000 + seed, folder)
            except Rejected as reason:
                last = reason
                continue
            shutil.rmtree(ROOT / case.name, ignore_errors=True)
            shutil.copytree(folder, ROOT / case.name)
            return seed
    sys.exit(f"{case.name}: no seed of {TRIES} is acceptable; the last was rejected because {last}")


def main():
    if transformers.__version__ != PINNED:
        sys.exit(f"transformers {PINNED} is the reference, this is {transformers.__version__}")
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    patterns = sys.argv[1:] or ["*"]
    chosen = [case for case in CASES if any(fnmatch.fnmatch(case.name, pattern) for pattern in patterns)]
    if not chosen:
        sys.exit("no case matches")
    ROOT.mkdir(parents=True, exist_ok=True)
    for case in chosen:
        seed = make(case)
        size = sum(path.stat().st_size for path in (ROOT / case.name).rglob("*") if path.is_file())
        print(f"{case.name}: seed {1000 + seed}, {size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
