"""The article's T5 flow: a FasterTransformer folder behind `backend: "fastertransformer"`, its sixteen-tensor client, HTTP and gRPC."""

import re
import subprocess

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from server import BINARY, DEMO, Http, Server, environment

SCALARS = {
    "runtime_top_k": ("UINT32", 1), "runtime_top_p": ("FP32", 1.0), "beam_search_diversity_rate": ("FP32", 0.0), "temperature": ("FP32", 1.0), "len_penalty": ("FP32", 1.0),
    "repetition_penalty": ("FP32", 1.0), "random_seed": ("UINT64", 0), "is_return_log_probs": ("BOOL", False), "beam_width": ("UINT32", 1), "start_id": ("UINT32", 0), "end_id": ("UINT32", 1),
}
NUMPY = {"UINT32": np.uint32, "UINT64": np.uint64, "FP32": np.float32, "BOOL": bool, "INT32": np.int32}
TEXTS = {"私は昨日、友達と映画を見ました。": "私は昨日、友達と映画を見た。", "本日は雨が降っていますが、会議は予定通り行います。": "本日は雨が降っているが、会議は予定通り行う。"}


def config():
    optional = "\n".join(f'input [ {{ name: "{name}" data_type: TYPE_{kind} dims: [ 1 ] reshape: {{ shape: [ ] }} optional: true }} ]' for name, (kind, _) in SCALARS.items())
    return f"""
name: "ft_t5"
backend: "fastertransformer"
max_batch_size: 16
input [ {{ name: "input_ids" data_type: TYPE_UINT32 dims: [ -1 ] }}, {{ name: "sequence_length" data_type: TYPE_UINT32 dims: [ 1 ] reshape: {{ shape: [ ] }} }},
        {{ name: "max_output_len" data_type: TYPE_UINT32 dims: [ 1 ] reshape: {{ shape: [ ] }} }} ]
{optional}
input [ {{ name: "bad_words_list" data_type: TYPE_INT32 dims: [ 2, -1 ] optional: true }}, {{ name: "stop_words_list" data_type: TYPE_INT32 dims: [ 2, -1 ] optional: true }} ]
output [ {{ name: "output_ids" data_type: TYPE_UINT32 dims: [ -1, -1 ] }}, {{ name: "sequence_length" data_type: TYPE_UINT32 dims: [ -1 ] }},
         {{ name: "cum_log_probs" data_type: TYPE_FP32 dims: [ -1 ] }}, {{ name: "output_log_probs" data_type: TYPE_FP32 dims: [ -1, -1 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
version_policy: {{ specific {{ versions: [ 1 ] }} }}
dynamic_batching {{ }}
parameters {{ key: "tensor_para_size" value: {{ string_value: "1" }} }}
parameters {{ key: "pipeline_para_size" value: {{ string_value: "1" }} }}
parameters {{ key: "data_type" value: {{ string_value: "fp16" }} }}
parameters {{ key: "model_type" value: {{ string_value: "T5" }} }}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    (root / "ft_t5").mkdir()
    subprocess.run([str(BINARY), "convert", "--format", "fastertransformer", str(DEMO / "style-ja-t5"), str(root / "ft_t5" / "1"), "--quiet"], check=True, timeout=60, env=environment())
    (root / "ft_t5" / "config.pbtxt").write_text(config())
    with Server(root, "--grpc-port", "0") as running:
        yield running


def tensors(rows):
    """As the client of the time: ids padded on the right to a multiple of eight, every tensor every time."""
    width = -(-max(map(len, rows)) // 8) * 8
    values = {
        "input_ids": ("UINT32", np.array([row + [0] * (width - len(row)) for row in rows])), "sequence_length": ("UINT32", np.array([[len(row)] for row in rows])),
        "max_output_len": ("UINT32", np.full((len(rows), 1), 64)),
        **{name: (kind, np.full((len(rows), 1), value)) for name, (kind, value) in SCALARS.items()},
        **{name: ("INT32", np.array([[[0], [-1]]] * len(rows))) for name in ("bad_words_list", "stop_words_list")},
    }
    return {name: (kind, value.astype(NUMPY[kind])) for name, (kind, value) in values.items()}


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_t5_flow(server, protocol, batched):
    api = Http(server.url)
    ids = {text: [token["id"] for token in api.answer("/models/ft_t5/tokenize", {"inputs": text})] for text in TEXTS}
    if protocol == "http":
        module, address = tritonclient.http, server.url.removeprefix("http://")
    else:
        module, address = tritonclient.grpc, "127.0.0.1:" + re.search(r"gRPC\D*[\d.]*:(\d+)", server.log()).group(1)
    client = module.InferenceServerClient(address)
    for texts in [list(TEXTS)] if batched else [[text] for text in TEXTS]:
        inputs = []
        for name, (kind, value) in tensors([ids[text] for text in texts]).items():
            inputs.append(module.InferInput(name, value.shape, kind))
            inputs[-1].set_data_from_numpy(value)
        result = client.infer("ft_t5", inputs)
        outputs, lengths = result.as_numpy("output_ids"), result.as_numpy("sequence_length")
        assert outputs.dtype == lengths.dtype == np.uint32
        decoded = api.answer("/models/ft_t5/decode", {"ids": [outputs[i][0][: lengths[i][0]].tolist() for i in range(len(texts))]})
        assert decoded == [TEXTS[text] for text in texts]
    client.close()


def test_the_same_model_answers_the_task_api(server):
    for text, rewritten in TEXTS.items():
        assert Http(server.url).answer("/models/ft_t5", {"inputs": text}) == [{"generated_text": rewritten}]
