"""A model repository under the real program: Triton's layout and flags, the text APIs on its models."""

import subprocess
import threading
import time

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


def test_fields_without_effect_are_named_once(repository):
    model(repository, "identity", IDENTITY + 'default_model_filename: "model.onnx" optimization { cuda { graphs: true } input_pinned_memory { enable: true } }')
    with Server(repository) as server:
        assert "have no effect here model=identity fields='default_model_filename, optimization.cuda'" in server.log()


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
                    "--pinned-memory-pool-byte-size=1024", "--log-verbose=1", "--model-namespacing=false", "--rate-limit-resource=R:1", "--log-format=ISO8601")
    try:
        assert "--pinned-memory-pool-byte-size" in server.log() and "--rate-limit-resource" in server.log()
        assert requests.get(f"{server.url}/v2/health/ready", timeout=20).status_code == 200
    finally:
        server.stop()
    assert "--load-model needs --model-control-mode=explicit" in failure(repository, "--load-model=identity")
    assert "give models of several repositories different names" in failure("--model-repository", repository, "--model-namespacing=true")
    assert "execution_count" in failure(repository, "--rate-limit=on")
    assert "'R1' is no resource" in failure("--model-repository", repository, "--rate-limit-resource=R1")
    assert "--cache-config" in failure(repository, "--cache-config=redis,host=x")
    assert "--model-control-mod" in failure(repository, "--model-control-mod=none")


# tritonserver's flags with a value each: those that act here, and those that say in one line that they cannot.
ACTING = """--model-control-mode=explicit --load-model=identity --repository-poll-secs=3 --exit-on-error=On --strict-readiness=1 --model-config-name=other --model-load-retry-count=1 --model-namespacing=False
--id=x --allow-http=TRUE --allow-grpc=true --allow-metrics=1 --allow-cpu-metrics=off --allow-gpu-metrics=0 --http-thread-count=2 --http-header-forward-pattern=x-.* --http-max-input-size=1000000
--http-restricted-api=model-repository,logging:admin=secret --grpc-restricted-protocol=model-repository:admin=secret --grpc-header-forward-pattern=x-.* --grpc-address=127.0.0.1 --grpc-keepalive-time=10000
--grpc-keepalive-timeout=10000 --grpc-keepalive-permit-without-calls=true --grpc-http2-max-pings-without-data=2 --grpc-http2-min-recv-ping-interval-without-data=1000 --grpc-http2-max-ping-strikes=2
--grpc-max-connection-age=100000 --grpc-max-connection-age-grace=1000 --grpc-infer-response-compression-level=low --grpc-use-ssl=false --grpc-use-ssl-mutual=false --metrics-interval-ms=500.5
--metrics-config=summary_latencies=true --trace-config=rate=7 --trace-config=triton,log-frequency=2 --trace-rate=9 --trace-count=-1 --trace-log-frequency=0 --log-verbose=0 --log-info=true --log-warning=true --log-error=true
--log-format=default --cache-config=local,size=1048576 --response-cache-byte-size=1048576 --backend-config=default-max-batch-size=4 --rate-limit=execution_count --rate-limit-resource=R:1:0 --allow-client-shm=true
--strict-model-config=false --exit-timeout-secs=5"""
WARNED = """--pinned-memory-pool-byte-size=1 --cuda-memory-pool-byte-size=0:1 --cuda-virtual-address-size=0:1 --min-supported-compute-capability=6.0 --buffer-manager-thread-count=1 --host-policy=a,numa-node=0
--model-load-gpu-limit=0:0.5 --model-load-thread-count=2 --backend-directory=/x --cache-directory=/x --repoagent-directory=/x --enable-peer-access=true --grpc-infer-thread-count=2 --grpc-infer-allocation-pool-size=2
--grpc-max-response-pool-size=2 --reuse-http-port=true --reuse-grpc-port=1 --allow-sagemaker=false --sagemaker-port=8080 --sagemaker-safe-port-range=1-2 --sagemaker-thread-count=1 --allow-vertex-ai=false --vertex-ai-port=8080
--vertex-ai-thread-count=1 --vertex-ai-default-model=x --backend-config=python,shm-region-prefix-name=x"""


def test_every_flag_of_tritonserver_is_taken(repository):
    acting, warned = ACTING.split(), WARNED.split()
    with Server("--model-repository", repository, "--http-address=127.0.0.1", "--grpc-port=0", "--metrics-port=0", *acting, *warned) as server:
        assert requests.get(f"{server.url}/v2", timeout=20).json()["name"] == "x"
        lines = [line for line in server.log().splitlines() if " warn " in line]
        named = lambda flag: [line for line in lines if (flag.split("=", 1)[1] if flag.startswith("--backend-config") else flag.split("=")[0]) in line]
        assert {flag: len(named(flag)) for flag in warned} == dict.fromkeys(warned, 1)
        assert [flag for flag in acting if not flag.startswith("--backend-config") and named(flag)] == []


def limited(priority, copies=1):
    return IDENTITY + f"""parameters {{ key: "execute_delay_ms" value {{ string_value: "20" }} }}
instance_group {{ kind: KIND_CPU rate_limiter {{ resources [ {{ name: "R" global: true count: {copies} }} ] priority: {priority} }} }}"""


def test_models_share_a_resource_by_their_priorities(tmp_path):
    for name, config in {"often": limited(1), "seldom": limited(3), "never": limited(1, 2)}.items():
        model(tmp_path, name, config)
    flags = ["--model-repository", tmp_path, "--http-address=127.0.0.1", "--grpc-port=0", "--metrics-port=0", "--rate-limit=execution_count", "--rate-limit-resource=R:1"]
    assert "Resource count for 'R' is limited to 1" in failure(*flags)
    server = Server(*flags, "--exit-on-error=false", "--strict-readiness=false")
    try:
        def ask(name):
            until = time.monotonic() + 2
            while time.monotonic() < until:
                requests.post(f"{server.url}/v2/models/{name}/infer", json={"inputs": [{"name": "IN", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}, timeout=20).raise_for_status()

        clients = [threading.Thread(target=ask, args=(name,)) for name in ["often", "seldom"] * 4]
        begin = time.monotonic()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        took = time.monotonic() - begin
        often, seldom = (requests.get(f"{server.url}/v2/models/{name}/stats", timeout=20).json()["model_stats"][0]["execution_count"] for name in ["often", "seldom"])
        assert (often + seldom) * 0.02 <= took  # never both at once
        assert 2 < often / seldom < 4
    finally:
        server.stop()
