import json

import pytest

from server import DEMO, HERE, TINY, Http, Server

DEMO_MODELS = ["ner-ja", "style-ja-gpt2", "style-ja-t5"]


@pytest.fixture(scope="session")
def server():
    """The demo models and the tiny ones; ner-ja is the default."""
    with Server(*[DEMO / name for name in DEMO_MODELS], *sorted(path for path in TINY.iterdir())) as running:
        yield running


@pytest.fixture(scope="session")
def http(server):
    return Http(server.url)


@pytest.fixture(scope="session")
def expected():
    """What transformers answers: expected("qa") -> the cases of that model (tools/golden/make_e2e_models.py)."""
    return lambda name: json.loads((HERE / f"expected/{name}.json").read_text(encoding="utf-8"))
