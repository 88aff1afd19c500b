"""A model repository under the real program: Triton's layout and flags, the text APIs on its models."""

import subprocess

import pytest
import requests

from server import BINARY, DEMO, Server, environment

IDENTITY = """
backend: "identity"
max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""


def model(root, name, config, versions=(1,)):
    for version in versions:
        (root / name / str(version)).mkdir(parents=True, exist_ok=True)
    (root / name / "config.pbtxt").write_text(config)


def text_model(root, name, directory):
    model(root, name, f'backend: "inazuma" parameters {{ key: "hf_model" value {{ string_value: "{directory}" }} }}')


def failure(*arguments):
    done = subprocess.run([str(BINARY), "serve", *map(str, arguments), "--port", "0", "--no-progress"], capture_output=True, text=True, timeout=60, env=environment())
    assert done.returncode != 0
    return done.stderr


@pytest.fixture()
def repository(tmp_path):
    model(tmp_path, "identity", IDENTITY)
    text_model(tmp_path, "ner", DEMO / "ner-ja")
    return tmp_path


def test_text_models_of_a_repository_answer_the_task_api(repository):
    server = Server(repository)
    plain = Server(DEMO / "ner-ja")
    try:
        body = {"inputs": "ジョー・バイデンはアメリカの大統領です。"}
        answer = requests.post(f"{server.url}/models/ner", json=body, timeout=20)
        assert answer.status_code == 200
        assert answer.json() == requests.post(plain.url, json=body, timeout=20).json()
        refused = requests.post(f"{server.url}/models/identity", json=body, timeout=20)
        assert refused.status_code == 400 and "tensors" in refused.json()["error"]
        assert requests.get(f"{server.url}/v2/health/ready", timeout=20).status_code == 200
        metrics = requests.get(f"{server.url}/metrics", timeout=20).text
        assert 'nv_inference_request_success{model="identity",version="1"} 0' in metrics
        assert 'nv_inference_request_success{model="ner",version="1"} 1' in metrics
    finally:
        plain.stop()
        server.stop()


def test_configuration_errors_name_the_line(repository):
    model(repository, "broken", IDENTITY + "max_batchsize: 3\n")
    assert "broken/config.pbtxt:6:" in failure(repository)
    server = Server(repository, "--exit-on-error=false")
    try:
        assert requests.get(f"{server.url}/v2/health/ready", timeout=20).status_code == 400
        assert requests.post(f"{server.url}/models/ner", json={"inputs": "東京"}, timeout=20).status_code == 200
    finally:
        server.stop()


def test_flags_of_tritonserver(repository):
    server = Server("--model-store", repository, "--model-control-mode=explicit", "--load-model=identity", "--strict-readiness", "false", "--metrics-port=0", "--grpc-port=0", "--http-address=127.0.0.1",
                    "--pinned-memory-pool-byte-size=1024", "--log-verbose=1", "--model-namespacing=false", "--rate-limit=execution_count")
    try:
        assert "--pinned-memory-pool-byte-size" in server.log() and "--rate-limit=execution_count" in server.log()
        assert requests.get(f"{server.url}/v2/health/ready", timeout=20).status_code == 200
    finally:
        server.stop()
    assert "--load-model needs --model-control-mode=explicit" in failure(repository, "--load-model=identity")
    assert "give models of several repositories different names" in failure("--model-repository", repository, "--model-namespacing=true")
    assert "execution_count" in failure(repository, "--rate-limit=on")
    assert "--cache-config" in failure(repository, "--cache-config=redis,host=x")
    assert "--model-control-mod" in failure(repository, "--model-control-mod=none")
