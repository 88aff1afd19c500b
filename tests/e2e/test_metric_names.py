"""/metrics under the names of other servers, and in both text formats, read by Prometheus' own parsers."""
import prometheus_client.openmetrics.parser as openmetrics
import prometheus_client.parser as prometheus
import pytest
import requests

from server import DEMO, TINY, Http, Server

TE = ["request_count", "request_success", "request_failure", "request_duration", "request_tokenization_duration", "request_queue_duration", "request_inference_duration", "request_input_length", "queue_size", "batch_next_size", "batch_next_tokens"]
TGI = ["request_count", "request_success", "request_failure", "request_duration", "request_queue_duration", "request_inference_duration", "request_validation_duration", "request_mean_time_per_token_duration", "request_input_length", "request_generated_tokens", "request_max_new_tokens", "queue_size", "batch_current_size", "batch_next_size", "batch_inference_duration"]
VLLM = ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prompt_tokens", "generation_tokens", "request_success", "time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds", "iteration_tokens_total"]


def families(text, parser=prometheus):
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def value(family, suffix="", **labels):
    if family.type == "counter":  # as the parser calls their samples
        suffix = "_total"
    found = [s.value for s in family.samples if s.name == family.name + suffix and labels.items() <= s.labels.items()]
    assert found, (family.name, suffix, labels)
    return sum(found)


@pytest.fixture(scope="module")
def server():
    with Server(DEMO / "style-ja-gpt2", TINY / "embed-mean", "--metrics-compat", "triton,tei,tgi,vllm", "--metrics-buckets", "0.01,0.1,1") as running:
        http = Http(running.url)
        assert http.post("/models/style-ja-gpt2/generate", json={"inputs": "行きます。::", "parameters": {"max_new_tokens": 6}}).status_code == 200
        assert http.post("/models/embed-mean/embed", json={"inputs": ["the cat", "the"]}).status_code == 200
        assert http.post("/models/embed-mean/embed", json={"inputs": "the cat"}).status_code == 200
        yield running


def test_names_of_other_servers(server):
    found = families(requests.get(server.url + "/metrics").text)
    missing = [name for prefix, names in (("te_", TE), ("tgi_", TGI), ("vllm:", VLLM)) for name in names if prefix + name not in found]
    assert not missing
    assert value(found["te_request_count"], model="embed-mean", method="batch") == 1
    assert value(found["te_request_success"], model="embed-mean", method="single") == 1
    assert value(found["te_request_input_length"], "_count", model="embed-mean") == 2
    made = value(found["tgi_request_generated_tokens"], "_sum", model="style-ja-gpt2")
    assert 1 <= made <= 6
    assert value(found["tgi_request_max_new_tokens"], "_sum", model="style-ja-gpt2") == 6
    assert value(found["vllm:generation_tokens"], model_name="style-ja-gpt2") == made
    assert value(found["vllm:request_success"], model_name="style-ja-gpt2") == 1
    assert value(found["vllm:time_to_first_token_seconds"], "_sum") < value(found["vllm:e2e_request_latency_seconds"], "_sum")
    assert value(found["vllm:iteration_tokens_total"], "_sum", model_name="style-ja-gpt2") >= made
    # The generator is no encoder, nor the other way about.
    assert not [s for s in found["te_request_count"].samples if s.labels["model"] == "style-ja-gpt2"]
    assert value(found["inazuma_batch_size"], "_count", model="embed-mean") >= 2
    assert {s.labels["le"] for s in found["inazuma_request_duration_seconds"].samples if s.name.endswith("_bucket")} == {"0.01", "0.1", "1", "+Inf"}
    assert all(family.documentation for family in found.values())


def test_openmetrics_when_asked(server):
    plain = requests.get(server.url + "/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    reply = requests.get(server.url + "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = families(reply.text, openmetrics)
    # Every sample has the name that it has in the other format: dashboards ask for these.
    names = lambda text: {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and line[0] != "#"}
    assert names(reply.text) == names(plain.text)
    assert found["inazuma_prompt_tokens"].type == "counter" and found["nv_inference_request_success"].type == "unknown"


def test_only_the_names_asked_for():
    with Server(TINY / "embed-mean", "--metrics-compat", "none") as running:
        names = families(requests.get(running.url + "/metrics").text)
    assert names and not [name for name in names if name.startswith(("nv_", "te_", "tgi_", "vllm:"))]
