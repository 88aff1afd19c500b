"""The trace extension with files: what a request leaves in them, as a real tritonserver 2.51 writes it."""

import json
import subprocess

import numpy as np
import pytest
import requests
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client

from server import Server
from test_grpc import grpc_address
from test_repository import IDENTITY, failure, model

ENSEMBLE = """
platform: "ensemble" max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ] output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
ensemble_scheduling { step [
  { model_name: "identity" model_version: -1 input_map { key: "IN" value: "X" } output_map { key: "OUT" value: "middle" } },
  { model_name: "identity" model_version: -1 input_map { key: "IN" value: "middle" } output_map { key: "OUT" value: "Y" } } ] }
"""
DECOUPLED = 'model_transaction_policy { decoupled: true } parameters { key: "response_count" value { string_value: "2" } }'
WORK = ["REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END", "REQUEST_END"]


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    model(folder / "models", "identity", IDENTITY)
    model(folder / "models", "ensemble", ENSEMBLE)
    model(folder / "models", "decoupled", IDENTITY + DECOUPLED)
    server = Server("--model-repository", folder / "models", "--grpc-port=0", "--metrics-port=0", "--trace-config", f"triton,file={folder}/trace.json", "--trace-config=triton,log-frequency=1", "--trace-config=rate=1",
                    "--trace-config", "level=TIMESTAMPS", "--trace-config", "level=TENSORS")
    server.folder = folder
    server.traces = 0
    yield server
    server.stop()


def new_traces(server, count):
    """The next `count` traces: lists of entries."""
    files = [server.folder / f"trace.json.{server.traces + i}" for i in range(count)]
    server.traces += count
    for _ in range(200):
        if all(file.exists() and len(file.read_text()) > 2 for file in files):
            break
        subprocess.run(["sleep", "0.02"], check=True)
    assert not (server.folder / f"trace.json.{server.traces}").exists(), "more traces than requests"
    return [json.loads(file.read_text()) for file in files]


def stamps(entries):
    return {entry["timestamps"][0]["name"]: entry["timestamps"][0]["ns"] for entry in entries if "timestamps" in entry}


def head(entries):
    return next({key: value for key, value in entry.items() if key != "id"} for entry in entries if "model_name" in entry)


def in_order(entries, names):
    moments = stamps(entries)
    assert set(names) <= set(moments), moments
    times = [moments[name] for name in names]
    assert times == sorted(times), moments


def infer_input(module, values, name="IN"):
    array = np.array([values], dtype=np.float32)
    tensor = module.InferInput(name, list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    return tensor


def test_http(traced):
    client = http_client.InferenceServerClient(traced.url.removeprefix("http://"))
    client.infer("identity", [infer_input(http_client, [1.5, 4])], request_id="東京")
    (entries,) = new_traces(traced, 1)
    assert head(entries) == {"model_name": "identity", "model_version": 1, "request_id": "東京"}
    in_order(entries, ["HTTP_RECV_START", "HTTP_RECV_END", *WORK[:-1], "HTTP_SEND_START", "HTTP_SEND_END"])
    in_order(entries, WORK)
    tensors = [(entry["activity"], entry["tensor"]) for entry in entries if "activity" in entry]
    passed = {"data": "1.5,4", "shape": "1,2", "dtype": "FP32"}
    assert tensors == [("TENSOR_QUEUE_INPUT", {"name": "IN", **passed}), ("TENSOR_BACKEND_OUTPUT", {"name": "OUT", **passed})]
    requests.post(f"{traced.url}/v2/models/identity/generate", json={"id": "g", "IN": [1, 2]}, timeout=20).raise_for_status()
    (entries,) = new_traces(traced, 1)
    in_order(entries, ["HTTP_RECV_START", *WORK[:-1], "HTTP_SEND_END"])
    refused = requests.post(f"{traced.url}/v2/models/identity/infer", json={"inputs": [{"name": "NO", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}, timeout=20)
    assert refused.status_code == 400
    (entries,) = new_traces(traced, 1)
    assert "HTTP_RECV_END" in stamps(entries) and "COMPUTE_START" not in stamps(entries)


def test_grpc_and_streams(traced):
    with grpc_client.InferenceServerClient(grpc_address(traced)) as client:
        client.infer("identity", [infer_input(grpc_client, [1, 2])], request_id="g1")
        (entries,) = new_traces(traced, 1)
        assert head(entries)["request_id"] == "g1"
        in_order(entries, ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END", *WORK[:-1], "GRPC_SEND_START", "GRPC_SEND_END"])
        answers = []
        client.start_stream(lambda result, error: answers.append(error))
        client.async_stream_infer("decoupled", [infer_input(grpc_client, [1, 2])], request_id="s1")
        client.stop_stream()
        assert answers == [None, None]
        (entries,) = new_traces(traced, 1)
        in_order(entries, ["GRPC_WAITREAD_END", *WORK[:2], "GRPC_SEND_END"])
        assert [entry["activity"] for entry in entries if "activity" in entry].count("TENSOR_BACKEND_OUTPUT") == 2


def test_steps_of_an_ensemble_name_their_parent(traced):
    client = http_client.InferenceServerClient(traced.url.removeprefix("http://"))
    client.infer("ensemble", [infer_input(http_client, [1, 2], "X")], request_id="e")
    traces = {head(entries)["model_name"] + str(entries[0]["id"]): entries for entries in new_traces(traced, 3)}
    whole = [entries for name, entries in traces.items() if name.startswith("ensemble")]
    steps = [entries for name, entries in traces.items() if name.startswith("identity")]
    assert len(whole) == 1 and len(steps) == 2
    assert "COMPUTE_START" not in stamps(whole[0]) and "HTTP_SEND_END" in stamps(whole[0])
    for entries in steps:
        assert head(entries) == {"model_name": "identity", "model_version": 1, "request_id": "e", "parent_id": whole[0][0]["id"]}
        in_order(entries, WORK)
        assert "INFER_RESPONSE_COMPLETE" not in stamps(entries)


def test_settings_while_it_runs(traced):
    client = http_client.InferenceServerClient(traced.url.removeprefix("http://"))
    with grpc_client.InferenceServerClient(grpc_address(traced)) as remote:
        remote.update_trace_settings("identity", {"trace_count": "2", "trace_rate": "2"})
        for _ in range(8):
            client.infer("identity", [infer_input(http_client, [1])])
        assert len(new_traces(traced, 2)) == 2
        assert client.get_trace_settings("identity")["trace_count"] == "0"
        assert client.get_trace_settings()["trace_count"] == "-1"
        client.update_trace_settings("identity", {"trace_count": None, "trace_rate": None, "trace_level": ["OFF"]})
        client.infer("identity", [infer_input(http_client, [1])])
        client.update_trace_settings("identity", {"trace_level": None})
        client.infer("identity", [infer_input(http_client, [1])])
        assert len(new_traces(traced, 1)) == 1


def test_start(tmp_path):
    model(tmp_path / "models", "identity", IDENTITY)
    repository = f"--model-repository={tmp_path / 'models'}"
    assert "needs a trace file" in failure(repository, "--trace-config", "level=TIMESTAMPS")
    assert "no setting 'speed'" in failure(repository, "--trace-config", "speed=1")
    assert "cannot be written" in failure(repository, "--trace-config", "triton,file=/nowhere/at/all.json")
    server = Server(repository, "--grpc-port=0", "--metrics-port=0", "--trace-file", tmp_path / "old.json", "--trace-level=MAX", "--trace-rate=1", "--trace-config=opentelemetry,url=localhost:4318/v1/traces")
    try:
        assert "OpenTelemetry is not built" in server.log()
        body = {"inputs": [{"name": "IN", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}
        requests.post(f"{server.url}/v2/models/identity/infer", json=body, timeout=20).raise_for_status()
    finally:
        server.stop()
    in_order(json.loads((tmp_path / "old.json").read_text()), WORK)
