"""/metrics under tritonserver's flags and a configuration's own wishes: labels, latencies by several kinds, addresses, samples."""

import re
import socket
import time

import pytest
import requests
from test_grpc import wait_for
from test_repository import IDENTITY, failure, model

from server import Server

TAGGED = IDENTITY + 'metric_tags { key: "team" value: "言語" } metric_tags { key: "model" value: "x" }'
STREAM = (
    IDENTITY.replace("max_batch_size: 8", "")
    + """model_transaction_policy { decoupled: true } parameters { key: "response_count" value { string_value: "3" } }
model_metrics { metric_control [
  { metric_identifier { family: "nv_inference_first_response_histogram_ms" } histogram_options { buckets: [ 0.5, 60000 ] } },
  { metric_identifier { family: "inazuma_request_duration_seconds" } histogram_options { buckets: [ 0.25, 60 ] } } ] }"""
)
LATENCIES = ["request", "queue", "compute_input", "compute_infer", "compute_output"]


def scrape(url):
    """name{labels} -> value of every series"""
    lines = requests.get(f"{url}/metrics", timeout=20).text.splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


def infer(server, name, **more):
    body = {"inputs": [{"name": "IN", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}], **more}
    requests.post(f"{server.url}/v2/models/{name}/infer", json=body, timeout=20).raise_for_status()


@pytest.fixture()
def repository(tmp_path):
    model(tmp_path, "tagged", TAGGED)
    model(tmp_path, "cached", IDENTITY + "response_cache { enable: true }")
    model(tmp_path, "stream", STREAM)
    return tmp_path


def start(repository, *flags, port=0):
    server = Server("--model-repository", repository, "--model-control-mode=explicit", "--load-model=*", "--http-address=127.0.0.1", f"--metrics-port={port}", "--grpc-port=0", "--cache-config=local,size=1048576", *flags)
    wait_for("Ready in", server)
    return server


def test_tags_of_a_model_are_labels(repository):
    with start(repository) as server:
        infer(server, "tagged")
        series = scrape(server.url)
        assert series['nv_inference_request_success{_model="x",_team="言語",model="tagged",version="1"}'] == 1
        assert series['nv_inference_request_failure{_model="x",_team="言語",model="tagged",reason="OTHER",version="1"}'] == 0
        assert series['nv_inference_request_success{model="cached",version="1"}'] == 0
        # Another load with other tags: the series of the old ones go.
        model(repository, "tagged", TAGGED.replace("言語", "vision"))
        requests.post(f"{server.url}/v2/repository/models/tagged/load", timeout=20).raise_for_status()
        series = scrape(server.url)
        assert series['nv_inference_request_success{_model="x",_team="vision",model="tagged",version="1"}'] == 0
        assert not [name for name in series if "言語" in name]


def test_latencies_are_counters_unless_told_otherwise(repository):
    with start(repository) as server:
        series = scrape(server.url)
        names = {name.split("{")[0] for name in series}
        assert {f"nv_inference_{one}_duration_us" for one in LATENCIES} <= names and not [name for name in names if "summary" in name or "first_response" in name]
        assert 'inazuma_request_duration_seconds_bucket{model="stream",le="0.25"}' in series and 'inazuma_request_duration_seconds_bucket{model="stream",le="0.5"}' not in series
        assert 'inazuma_request_duration_seconds_bucket{model="cached",le="0.5"}' in series


def test_latencies_as_summaries_and_histograms(repository):
    flags = ["counter_latencies=false", "summary_latencies=true", "histogram_latencies=true", "summary_quantiles=0.5:0.05,0.9:0.01"]
    with start(repository, *(f"--metrics-config={one}" for one in flags)) as server:
        infer(server, "tagged")
        for _ in range(3):
            infer(server, "cached")
        for _ in range(2):
            requests.post(f"{server.url}/v2/models/stream/generate_stream", json={"IN": [1, 2]}, timeout=20).raise_for_status()
        series = scrape(server.url)
        assert not [name for name in series if re.match("nv_inference.*_duration_us|nv_cache_num", name)]
        for one in LATENCIES:
            assert series[f'nv_inference_{one}_summary_us_count{{_model="x",_team="言語",model="tagged",version="1"}}'] == 1
        assert {name for name in series if name.startswith("nv_inference_request_summary_us{_model")} == {f'nv_inference_request_summary_us{{_model="x",_team="言語",model="tagged",version="1",quantile="{one}"}}' for one in ["0.5", "0.9"]}
        # What the cache answered computed nothing.
        assert 'nv_inference_request_summary_us_count{model="cached",version="1"}' not in series
        assert series['nv_inference_compute_infer_summary_us_count{model="cached",version="1"}'] == 1
        assert series['nv_cache_hit_summary_per_model_count{model="cached",version="1"}'] == 2
        assert series['nv_cache_miss_summary_per_model_count{model="cached",version="1"}'] == 1
        # Each request of a decoupled model once, at its first answer.
        first = 'nv_inference_first_response_histogram_ms_bucket{model="stream",version="1",le="'
        assert {name: value for name, value in series.items() if name.startswith(first)}.keys() == {f'{first}{bound}"}}' for bound in ["0.5", "60000", "+Inf"]}
        assert series[f'{first}+Inf"}}'] == 2
        assert not [name for name in series if "first_response" in name and "stream" not in name]


def test_bad_settings_and_configurations(repository):
    for flag in ["summary_latencies=maybe", "nothing=true", "counter_latencies", "summary_quantiles=0.5", "summary_quantiles=0.5:x", "summary_quantiles=2:0.1"]:
        assert "--metrics-config" in failure("--model-repository", repository, f"--metrics-config={flag}")
    assert "--metrics-interval-ms" in failure("--model-repository", repository, "--metrics-interval-ms=0")
    for config, words in {
        'metric_tags { key: "a b" value: "x" }': "'a b', which cannot be the name of a label",
        'metric_tags { key: "_a" value: "x" }': "'_a', which cannot be the name of a label",
        'model_metrics { metric_control [ { metric_identifier { family: "f" } histogram_options { buckets: [ 2, 1 ] } } ] }': "hold 1 at place 2",
        'model_metrics { metric_control [ { metric_identifier { family: "f" } } ] }': "has no buckets",
    }.items():
        model(repository, "bad", IDENTITY + config)
        assert words in failure("--model-repository", repository)
    model(repository, "bad", IDENTITY + 'model_metrics { metric_control [ { metric_identifier { family: "f" } histogram_options { buckets: [ 1 ] } } ] }')
    with start(repository) as server:
        assert re.search("family whose buckets cannot be set.*model=bad family=f", server.log())


def test_metrics_listen_where_they_are_told_to(repository):
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    with start(repository, "--metrics-address=127.0.0.2", port=port) as server:
        assert 'nv_inference_request_success{model="cached",version="1"}' in scrape(f"http://127.0.0.2:{port}")
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
        assert requests.get(f"{server.url}/v2/health/live", timeout=20).status_code == 200
    with start(repository, "--metrics-address=127.0.0.2") as server:
        assert "--metrics-address" in server.log()  # without a port it says nothing


def test_the_machine_is_sampled_at_the_interval(repository):
    with start(repository, "--metrics-interval-ms=300000") as slow, start(repository, "--metrics-interval-ms=20") as fast:
        seen = {"slow": set(), "fast": set()}
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            for name, server in [("slow", slow), ("fast", fast)]:
                series = scrape(server.url)
                seen[name].add((series["nv_cpu_utilization"], series["nv_cpu_memory_used_bytes"]))
        assert len(seen["slow"]) == 1 and len(seen["fast"]) > 3
