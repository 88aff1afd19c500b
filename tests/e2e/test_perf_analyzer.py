"""The real perf_analyzer drives the server: it must end well, see no error, and count what our statistics count."""

import contextlib
import fcntl
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
import requests
from test_grpc import grpc_address, wait_for
from test_repository import model, text_model

from server import DEMO, ROOT, Server, environment

FOLDER = ROOT / "build/perf_analyzer"
FP32 = """
backend: "identity"
max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""
# Short windows that any spread satisfies (-s, of the largest to the smallest: one stall makes a mean a hundred times as long):
# this is about counts, not about speed. Three must follow each other in which something ended; a busy machine may leave one
# empty, so there are more to try (-r).
WINDOWS = ["-p", "300", "-s", "1000000", "-r", "12"]
OWN_PACE = "[WARNING] Perf Analyzer was not able to keep up with the desired request rate."


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    repository = tmp_path_factory.mktemp("perf")
    model(repository, "plain", FP32)
    model(repository, "batched", FP32 + "dynamic_batching { }")
    model(repository, "sequence", FP32 + "sequence_batching { oldest { max_candidate_sequences: 16 } }")
    model(repository, "direct", FP32 + "sequence_batching { direct { } }")
    model(repository, "stream", FP32.replace("max_batch_size: 8", "") + 'model_transaction_policy { decoupled: true } parameters { key: "response_count" value { string_value: "3" } }')
    text_model(repository, "ner", DEMO / "ner-ja")
    with Server(repository, "--grpc-port=0", "--allow-client-shm=true") as running:
        wait_for("Ready in", running)
        yield running


def successes(server, name):
    answer = requests.get(f"{server.url}/v2/models/{name}/stats", timeout=20).json()["model_stats"][0]
    assert answer["inference_stats"]["fail"]["count"] == 0
    return answer["inference_stats"]["success"]["count"]


@contextlib.contextmanager
def alone(flags):
    """perf_analyzer calls its shared memory the same each time (/IN_0_0): two of them on one machine take it from each other."""
    if "--shared-memory" not in flags:
        yield
        return
    with open(Path(tempfile.gettempdir()) / "inazuma-perf-analyzer.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def perf_analyzer(server, name, protocol, *flags):
    """The report's lines as numbers."""
    address = grpc_address(server) if protocol == "grpc" else server.url.removeprefix("http://")
    environ = {**environment(), "LD_LIBRARY_PATH": str(FOLDER / "nvidia/cuda_runtime/lib")}
    command = [FOLDER / "bin/perf_analyzer", "-m", name, "-i", protocol, "-u", address, *WINDOWS, *flags]
    before = successes(server, name)
    with alone(flags):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, env=environ)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not re.search("fail|error|warning", said.replace(OWN_PACE, ""), re.IGNORECASE), said
    number = lambda what: int(re.search(rf"{what}: (\d+)", said).group(1))
    # Its last windows are a part of all that it asked.
    ours = successes(server, name) - before
    assert 0 < number("Successful request count") <= ours, said
    return {"client": number("Request count"), "server": number("Successful request count"), "inferences": number("Inference count"), "executions": number("Execution count"), "ours": ours}


@pytest.mark.parametrize(
    "name, protocol, flags",
    [
        ("plain", "http", ["--concurrency-range", "1"]),
        ("plain", "grpc", ["--concurrency-range", "1"]),
        ("batched", "http", ["--concurrency-range", "4", "--async"]),
        ("batched", "grpc", ["--concurrency-range", "4", "--async"]),
        ("batched", "grpc", ["--concurrency-range", "2", "--streaming"]),
        ("batched", "http", ["--request-rate-range", "100"]),
        ("batched", "grpc", ["--request-rate-range", "100"]),
        ("batched", "http", ["--concurrency-range", "2", "--shared-memory", "system"]),
        ("batched", "grpc", ["--concurrency-range", "2", "--shared-memory", "system"]),
        # One request at a time: with several under way perf_analyzer ends a sequence while its last request is still on
        # another connection of its own, and over HTTP the two may arrive the wrong way round (in a real Triton too).
        ("sequence", "http", ["--concurrency-range", "2", "--sync"]),
        ("sequence", "grpc", ["--concurrency-range", "2", "--streaming"]),
        ("direct", "grpc", ["--concurrency-range", "2"]),
        ("stream", "grpc", ["--concurrency-range", "2", "--streaming"]),
    ],
    ids=lambda value: "".join(value).replace("--", "-") if isinstance(value, list) else value,
)
def test_counts_agree(served, name, protocol, flags):
    seen = perf_analyzer(served, name, protocol, *flags)
    # Both count what ended inside a window; requests on their way at its ends may fall on either side.
    assert abs(seen["server"] - seen["client"]) <= 0.1 * seen["client"] + 50
    assert seen["inferences"] == seen["server"]
    assert 0 < seen["executions"] <= seen["inferences"]


def test_batches_are_inferences(served):
    seen = perf_analyzer(served, "batched", "http", "-b", "4", "--concurrency-range", "2")
    assert seen["inferences"] == 4 * seen["server"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_text_model(served, protocol, tmp_path):
    texts = ["ジョー・バイデンはアメリカの大統領です。", "東京タワーへ行った🗼", "ﾊﾝｶｸのカナ"]
    data = tmp_path / "texts.json"
    data.write_text(json.dumps({"data": [{"text_input": [text]} for text in texts]}, ensure_ascii=False), encoding="utf-8")
    seen = perf_analyzer(served, "ner", protocol, "--input-data", data, "--concurrency-range", "2")
    assert abs(seen["server"] - seen["client"]) <= 0.1 * seen["client"] + 50


def test_it_is_the_real_one():
    assert os.access(FOLDER / "bin/perf_analyzer", os.X_OK)
    said = subprocess.run([FOLDER / "bin/perf_analyzer", "--version"], capture_output=True, text=True, env={"LD_LIBRARY_PATH": str(FOLDER / "nvidia/cuda_runtime/lib")}, timeout=20)
    assert "2.40.0" in said.stderr
