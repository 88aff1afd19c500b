"""Health, facts, metrics, methods, CORS, compression, request ids, warnings, deadlines."""

import gzip
import http.client
import json
import re
import zlib

import pytest
import requests

from server import BINARY, DEMO, Server

TEXT = "ジョー・バイデンはアメリカの大統領です。"


def test_health(http):
    assert http.get("/health").json() == {"status": "ok"}
    for path in ("/health/live", "/health/ready", "/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready", "/health/"):
        response = http.get(path)
        assert response.status_code == 200, path
        assert path == "/health/" or response.content == b""


def test_info(http, server):
    info = http.get("/info").json()
    assert info["model_id"] == "ner-ja" and info["model_dtype"] == "float16" and info["max_input_length"] == 256
    assert info["model_type"]["token_classifier"]["id2label"]["0"] == "O" and info["model_type"]["token_classifier"]["label2id"]["O"] == 0
    assert {model["id"] for model in info["models"]} >= {"ner-ja", "style-ja-gpt2", "style-ja-t5", "qa", "nli"} and all(model["state"] == "READY" for model in info["models"])
    kinds = {"style-ja-gpt2": "generator", "style-ja-t5": "seq2seq", "fill": "fill_mask", "qa": "question_answering", "embed-mean": "embedding", "classify": "classifier", "rerank": "reranker"}
    for model, kind in kinds.items():
        assert list(http.get(f"/models/{model}/info").json()["model_type"]) == [kind]
    assert http.get("/models/embed-cls/info").json()["model_type"] == {"embedding": {"pooling": "cls"}}
    assert http.get("/models/style-ja-gpt2/info").json()["max_total_tokens"] == 512
    assert http.get("/", headers={"accept": "application/json"}).json()["model_id"] == "ner-ja"
    assert set(http.get("/version").json()) == {"version", "commit"}


METRIC_LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*\})? '
                         r"([+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|NaN)$")


def parse_metrics(text):
    """Prometheus text 0.0.4, checked as promtool does: HELP and TYPE before samples, one block per family, no double series."""
    kinds, helps, samples, closed, current = {}, set(), {}, set(), None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            if name != current:
                assert name not in closed, f"{name} comes in two blocks"
                closed.add(current)
                current = name
            if word == "HELP":
                assert name not in helps and rest
                helps.add(name)
            else:
                assert word == "TYPE" and name not in kinds and rest in ("counter", "gauge", "histogram", "summary")
                kinds[name] = rest
            continue
        match = METRIC_LINE.match(line)
        assert match, line
        family = re.sub(r"_(bucket|sum|count)$", "", match.group(1)) if match.group(1) not in kinds else match.group(1)
        assert family == current and family in kinds and family in helps, line
        assert (match.group(1), match.group(2)) not in samples, f"double series: {line}"
        samples[match.group(1), match.group(2)] = float(match.group(3))
    for (name, labels), value in samples.items():
        if kinds.get(re.sub(r"_bucket$", "", name)) == "histogram" and name.endswith("_bucket") and 'le="+Inf"' in labels:
            rest = re.sub(r',?le="\+Inf"', "", labels).replace("{}", "")
            assert samples[name[:-7] + "_count", rest or None] == value
    return kinds, samples


def test_metrics(http):
    http.answer("/", {"inputs": TEXT})
    http.answer("/models/style-ja-gpt2/generate", {"inputs": "私は学生です。::"})
    http.post("/models/nobody/generate", {"inputs": "a"})
    response = http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    kinds, samples = parse_metrics(response.text)
    for family in ("nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count", "nv_inference_pending_request_count", "nv_inference_request_duration_us",
                   "nv_inference_queue_duration_us", "nv_inference_compute_input_duration_us", "nv_inference_compute_infer_duration_us", "nv_inference_compute_output_duration_us"):
        assert family in kinds, family
    for family in ("build_info", "model_state", "model_load_seconds", "model_memory_bytes", "http_requests_total", "http_request_duration_seconds", "queue_wait_seconds", "inflight_requests", "connections"):
        assert "inazuma_" + family in kinds, family
    count = {key: value for key, value in samples.items() if key[0] == "inazuma_http_requests_total"}
    http.answer("/", {"inputs": TEXT})
    _, later = parse_metrics(http.get("/metrics").text)
    grown = [key for key, value in later.items() if key[0] == "inazuma_http_requests_total" and value > count.get(key, 0)]
    assert any('route="/"' in labels and 'code="200"' in labels for _, labels in grown), grown
    assert not any("nobody" in (labels or "") for _, labels in later)  # label values are bounded


def test_methods(http):
    assert http.request("HEAD", "/info").content == b"" and int(http.request("HEAD", "/info").headers["content-length"]) > 100
    for path in ("/health", "/metrics", "/", "/models/style-ja-t5/info"):
        assert http.request("HEAD", path).status_code == 200
    for method, path, allow in (("GET", "/generate", {"POST"}), ("DELETE", "/models/ner-ja", {"POST"}), ("POST", "/health", {"GET", "HEAD"}), ("PUT", "/", {"GET", "HEAD", "POST"}),
                                ("PATCH", "/models/ner-ja/embed", {"POST"}), ("POST", "/metrics", {"GET", "HEAD"})):
        response = http.request(method, path, data=b"{}")
        assert response.status_code == 405 and set(response.headers["allow"].split(", ")) == allow, (method, path, response.headers)
    for path in ("/nothing", "/generate/x", "/models/ner-ja/nothing", "/v1/nothing", "/models"):
        assert http.post(path, {"inputs": "a"}).status_code == 404, path
    assert http.post("/models/ner-ja/pipeline/no-such-task", {"inputs": "a"}).status_code == 404
    assert http.post("/models/nobody/generate", {"inputs": "a"}).status_code == 404
    assert http.get("/models/nobody/info").status_code == 404
    assert http.post("/", {"inputs": "a"}, headers={"x-model": "nobody"}).status_code == 404
    assert http.post("/pipeline/fill-mask/nobody", {"inputs": "a"}).status_code == 404


def test_prefixes_and_trailing_slash(http):
    want = http.answer("/models/style-ja-t5/generate", {"inputs": "私は学生です。"})
    assert http.answer("/models/style-ja-t5/generate/", {"inputs": "私は学生です。"}) == want
    assert http.answer("/generate", {"inputs": "私は学生です。"}, headers={"x-model": "style-ja-t5"}) == want
    assert http.answer("/models/style%2Dja-t5/gener%61te?x=1", {"inputs": "私は学生です。"}) == want


def test_wrong_task_for_the_model(http):
    for path, status in (("/generate", 400), ("/models/style-ja-gpt2/embed", 424), ("/models/qa/predict", 424), ("/models/ner-ja/pipeline/fill-mask", 400), ("/models/style-ja-gpt2/pipeline/question-answering", 400)):
        inputs = {"question": "a", "context": "b"} if "question" in path else "a [MASK]"
        response = http.post(path, {"inputs": inputs})
        assert response.status_code == status, (path, response.text)
    assert "token-classification" in http.post("/generate", {"inputs": "a"}).json()["error"]


@pytest.mark.parametrize("given,echoed", [("abc-1.2_3:4", True), ("x" * 128, True), ("x" * 129, False), ("bad id", False), ("日本".encode("utf-8"), False), ("a/b", False)])
def test_request_id(http, given, echoed):
    for path, status in (("/health", 200), ("/nothing", 404)):
        response = http.get(path, headers={"x-request-id": given})
        assert response.status_code == status
        assert (response.headers["x-request-id"] == given) == echoed and re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", response.headers["x-request-id"])


def test_request_ids_are_fresh(http):
    assert len({http.get("/health").headers["x-request-id"] for _ in range(20)}) == 20


def test_usage_headers(http):
    headers = http.post("/", {"inputs": TEXT}).headers
    assert headers["x-compute-type"] == "cpu" and float(headers["x-compute-time"]) >= 0 and headers["x-compute-characters"] == str(len(TEXT))
    for name in ("x-compute-tokens", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"):
        assert headers[name].isdigit(), name
    headers = http.post("/models/style-ja-gpt2/generate", {"inputs": "私は学生です。::"}).headers
    assert headers["x-prompt-tokens"] == "5" and headers["x-generated-tokens"] == "5"
    assert {"x-validation-time", "x-time-per-token"} <= set(name.lower() for name in headers)


def test_unknown_parameters_warn_or_fail(http):
    body = {"inputs": TEXT, "parameters": {"agregation_strategy": "none", "whatever_it_is": 1}}
    response = http.post("/", body)
    assert response.status_code == 200 and "'agregation_strategy' is not known, did you mean 'aggregation_strategy'?" in response.headers["x-warning"] and "'whatever_it_is'" in response.headers["x-warning"]
    strict = http.post("/", body, headers={"x-strict": "1"})
    assert strict.status_code == 422 and "aggregation_strategy" in strict.json()["error"]
    assert "x-warning" not in http.post("/", {"inputs": TEXT, "parameters": {"aggregation_strategy": "none"}, "options": {"use_cache": True, "wait_for_model": False}, "extra": 1}).headers
    odd = http.post("/", {"inputs": TEXT, "parameters": {"日本\r\nx-evil: 1": 1}})
    assert odd.status_code == 200 and "x-evil" not in odd.headers and "\n" not in odd.headers["x-warning"]


def test_compressed_requests(http):
    body = json.dumps({"inputs": TEXT}).encode()
    plain = http.post("/", data=body).json()
    for coding, data in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)), ("identity", body)):
        response = http.post("/", data=data, headers={"content-encoding": coding})
        assert response.status_code == 200 and response.json() == plain, (coding, response.text)
    for coding, data, status in (("gzip", body, 400), ("gzip", gzip.compress(body)[:-9], 400), ("br", body, 415), ("gzip", gzip.compress(b" " * (3 << 20)), 413), ("gzip", gzip.compress(b"\0" * (200 << 20)), 413)):
        response = http.post("/", data=data, headers={"content-encoding": coding})
        assert response.status_code == status, (coding, response.status_code, response.text)


def test_compressed_replies(http):
    body = {"inputs": [TEXT] * 32}
    plain = http.post("/", body, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and len(plain.content) > 1024
    for accept, coding in (("gzip", "gzip"), ("deflate", "deflate"), ("gzip;q=0, deflate", "deflate"), ("br, gzip;q=0.5", "gzip")):
        response = http.post("/", body, headers={"accept-encoding": accept})
        assert response.headers["content-encoding"] == coding and "accept-encoding" in response.headers["vary"].lower() and response.json() == plain.json()
    assert "content-encoding" not in http.post("/", {"inputs": TEXT}, headers={"accept-encoding": "gzip"}).headers
    assert "content-encoding" not in http.post("/models/style-ja-gpt2/generate_stream", {"inputs": "私は学生です。" * 8 + "::"}, headers={"accept-encoding": "gzip"}).headers


def test_deadline(http):
    long = {"inputs": "私は学生です。::", "parameters": {"max_new_tokens": 400, "ignore_eos": True}}
    for path in ("/models/style-ja-gpt2/generate", "/models/style-ja-gpt2/generate_stream"):
        response = http.post(path, long, headers={"x-request-timeout-ms": "0"})
        assert response.status_code == 504 and response.json()["error_type"] == "generation"
    assert http.post("/models/style-ja-gpt2/generate", long, headers={"x-request-timeout-ms": "15"}).status_code == 504
    assert http.post("/", {"inputs": TEXT}, headers={"x-request-timeout-ms": "20000"}).status_code == 200
    for wrong in ("-1", "soon", "1.5", "99999999999999999999", ""):
        response = http.post("/", {"inputs": TEXT}, headers={"x-request-timeout-ms": wrong})
        assert response.status_code == 422, (wrong, response.text)


def test_keep_alive(server):
    """Good and bad requests share a connection; it closes when asked to."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    sockets = set()
    for _ in range(5):
        for method, path, body, status in (("POST", "/", json.dumps({"inputs": TEXT}), 200), ("POST", "/", "{", 400), ("GET", "/nothing", None, 404), ("POST", "/models/style-ja-gpt2/generate_stream", '{"inputs":"a::"}', 200)):
            connection.request(method, path, body=body.encode("utf-8") if body else None)
            response = connection.getresponse()
            sockets.add(connection.sock.getsockname())
            assert response.status == status and (response.read() or method == "HEAD")
    assert len(sockets) == 1
    connection.request("GET", "/health", headers={"connection": "close"})
    assert connection.getresponse().headers["connection"] == "close"
    connection.close()


def test_content_type_does_not_matter(http):
    body = json.dumps({"inputs": TEXT}).encode()
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"):
        response = http.post("/", data=body, headers={"content-type": kind})
        assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    assert "アメリカ".encode("utf-8") in response.content  # not ASCII-escaped


def test_metrics_of_the_machine(monkeypatch):
    """nv_cpu_* and nv_gpu_* as Triton names them; the stub stands for a driver's library with two GPUs."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(BINARY.parents[1] / "lib/stub"))
    for flags, families in {(): {"nv_cpu_utilization", "nv_gpu_utilization"}, ("--allow-gpu-metrics=false",): {"nv_cpu_utilization"}, ("--allow-cpu-metrics=0",): {"nv_gpu_utilization"}}.items():
        with Server(DEMO / "ner-ja", *flags) as server:
            text = requests.get(f"{server.url}/metrics", timeout=20).text
            assert set(re.findall(r"^# TYPE (nv_[cg]pu_utilization) ", text, re.MULTILINE)) == families
            if "nv_gpu_utilization" in families:
                assert 'nv_gpu_utilization{gpu_uuid="GPU-0"} 0.75' in text and 'nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 600' in text
                assert 'nv_gpu_power_usage{gpu_uuid="GPU-0"} 123' in text and 'nv_gpu_power_usage{gpu_uuid="GPU-1"}' not in text
                assert 'nv_energy_consumption{gpu_uuid="GPU-0"} 0' in text
