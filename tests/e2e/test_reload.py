"""Loads and unloads over both protocols while 16 clients ask: nobody fails, and memory stays where it was."""

import json
import re
import threading

import numpy
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from test_grpc import grpc_address, wait_for
from test_repository import model

from server import Server

ROUNDS = 100
CLIENTS = 16
CONFIG = """
backend: "identity"
max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
dynamic_batching { }
"""


def override(mark, instances=1):
    tensor = lambda name: {"name": name, "data_type": "TYPE_FP32", "dims": [-1]}
    return json.dumps({"backend": "identity", "max_batch_size": 8, "input": [tensor("IN")], "output": [tensor("OUT")], "dynamic_batching": {}, "parameters": {"mark": {"string_value": str(mark)}}, "instance_group": [{"kind": "KIND_CPU", "count": instances}]})


@pytest.mark.parametrize("in_place", [False, True], ids=["new loads", "instances only"])
def test_reloads_under_load(tmp_path, in_place):
    for name in ["live", "spare"]:
        model(tmp_path, name, CONFIG)
    flags = ["--model-repository", tmp_path, "--model-control-mode=explicit", "--load-model=live", "--http-address=127.0.0.1", "--grpc-port=0", "--metrics-port=0", "--no-access-log"]
    with Server(*flags) as running:
        wait_for("Ready in", running)
        libraries = {"http": (triton_http, running.url.removeprefix("http://")), "grpc": (triton_grpc, grpc_address(running))}
        over, failures, answers = threading.Event(), [], [0] * CLIENTS

        def ask(i):
            library, address = libraries["http" if i % 2 else "grpc"]
            client = library.InferenceServerClient(address)
            while not over.is_set():
                sent = numpy.array([[i, answers[i], 0.5]], dtype=numpy.float32)
                tensor = library.InferInput("IN", sent.shape, "FP32")
                tensor.set_data_from_numpy(sent)
                try:
                    got = client.infer("live", [tensor]).as_numpy("OUT")
                    if not numpy.array_equal(got, sent):
                        failures.append(f"{got} for {sent}")
                except Exception as error:
                    failures.append(repr(error))
                answers[i] += 1
            client.close()

        clients = [threading.Thread(target=ask, args=(i,)) for i in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            controls = [library.InferenceServerClient(address) for library, address in libraries.values()]
            memory = []
            if in_place:
                controls[0].load_model("live", config=override("same"))
                before = sum(answers)
            for round_ in range(ROUNDS):
                control = controls[round_ % 2]
                control.load_model("live", config=override("same", 1 + round_ % 4) if in_place else override(round_))
                control.load_model("spare")
                assert control.is_model_ready("spare")
                control.unload_model("spare")
                assert not control.is_model_ready("spare")
                memory.append(running.memory())
            seen = controls[0].get_model_config("live")
            assert seen["instance_group"][0]["count"] == 4 if in_place else seen["parameters"]["mark"]["string_value"] == str(ROUNDS - 1)
        finally:
            over.set()
            for client in clients:
                client.join()
        assert failures == []
        assert min(answers) > 0 and sum(answers) > ROUNDS
        if in_place:  # one load, whose statistics hold everything since
            counted = requests.get(f"{running.url}/v2/models/live/stats", timeout=20).json()["model_stats"][0]["inference_count"]
            assert sum(answers) - before - CLIENTS <= counted <= sum(answers)
        # The first third fills the allocator's arenas; after that a leak of a model a round would show.
        assert max(memory[-10:]) - max(memory[: ROUNDS // 3]) < 8 << 20


def test_metrics_of_a_model_come_and_go_with_it(tmp_path):
    for name in ["live", "spare"]:
        model(tmp_path, name, CONFIG)
    with Server("--model-repository", tmp_path, "--model-control-mode=explicit", "--load-model=live", "--http-address=127.0.0.1", "--metrics-port=0", "--grpc-port=0") as running:
        wait_for("Ready in", running)
        metrics = lambda: requests.get(f"{running.url}/metrics", timeout=20).text
        series = 'nv_inference_request_success{model="spare",version="1"}'
        client = triton_http.InferenceServerClient(running.url.removeprefix("http://"))
        assert series not in metrics()
        client.load_model("spare")
        tensor = triton_http.InferInput("IN", [1, 1], "FP32")
        tensor.set_data_from_numpy(numpy.ones((1, 1), dtype=numpy.float32))
        client.infer("spare", [tensor])
        assert f"{series} 1\n" in metrics()
        wrong = requests.post(f"{running.url}/v2/models/spare/infer", json={"inputs": []}, timeout=20)
        assert wrong.status_code == 400 and 'nv_inference_request_failure{model="spare",reason="OTHER",version="1"} 0\n' in metrics()
        client.unload_model("spare")
        assert "nv_inference" in metrics() and not re.search(r'nv_\w+\{model="spare"', metrics())
        client.load_model("spare")
        assert f"{series} 0\n" in metrics()
        usage = float(re.search(r"^nv_cpu_utilization (\S+)$", metrics(), re.MULTILINE).group(1))
        assert 0 <= usage <= 1 and re.search(r"^nv_cpu_memory_used_bytes \d", metrics(), re.MULTILINE)
