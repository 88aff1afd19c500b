"""Loads and unloads over both protocols while 16 clients ask: nobody fails, and memory stays where it was."""

import json
import threading

import numpy
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


def override(mark):
    tensor = lambda name: {"name": name, "data_type": "TYPE_FP32", "dims": [-1]}
    return json.dumps({"backend": "identity", "max_batch_size": 8, "input": [tensor("IN")], "output": [tensor("OUT")], "dynamic_batching": {}, "parameters": {"mark": {"string_value": str(mark)}}})


def test_reloads_under_load(tmp_path):
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
            for round_ in range(ROUNDS):
                control = controls[round_ % 2]
                control.load_model("live", config=override(round_))
                control.load_model("spare")
                assert control.is_model_ready("spare")
                control.unload_model("spare")
                assert not control.is_model_ready("spare")
                memory.append(running.memory())
            assert controls[0].get_model_config("live")["parameters"]["mark"]["string_value"] == str(ROUNDS - 1)
        finally:
            over.set()
            for client in clients:
                client.join()
        assert failures == []
        assert min(answers) > 0 and sum(answers) > ROUNDS
        # The first third fills the allocator's arenas; after that a leak of a model a round would show.
        assert max(memory[-10:]) - max(memory[: ROUNDS // 3]) < 8 << 20
