"""The tokenizer directories under tests/text/data: each made here, deterministically, with its golden file.

A module of this package registers variants at import:

    @variant("bert-japanese-mecab", fast=False)
    def build(directory): ...            # writes vocabulary and JSON files (tiny: tens of KB)

`special` are strings that the corpus sprinkles into texts. `load` overrides how the reference is loaded (default: AutoTokenizer
with use_fast=fast). `offsets(tokenizer, text)` gives the expected [start, end) list of a plain `tokenizer.tokenize(text)` for
classes whose reference has none; return None where it cannot be derived. `pair` false: the class takes no pairs.
"""

import dataclasses
import importlib
import pathlib
import pkgutil
from typing import Any, Callable, Optional


@dataclasses.dataclass
class Variant:
    name: str
    build: Callable[[pathlib.Path], None]
    fast: bool
    special: list
    lines: int
    load: Callable[[pathlib.Path], Any]
    offsets: Optional[Callable[[Any, str], Optional[list]]] = None
    pair: bool = True


VARIANTS: dict[str, Variant] = {}


def _auto(directory, fast):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(directory), use_fast=fast)


def variant(name, *, fast, special=(), lines=800, load=None, offsets=None, pair=True):
    def register(build):
        VARIANTS[name] = Variant(name, build, fast, list(special), lines, load or (lambda d: _auto(d, fast)), offsets, pair)
        return build

    return register


def load_all():
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return VARIANTS
