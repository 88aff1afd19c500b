"""The article's flows: FasterTransformer folders behind `backend: "fastertransformer"`, its clients over HTTP and gRPC. Tokens are those
of transformers on the demo models (tools/golden/make_e2e_models.py)."""

import json
import queue
import shutil

import numpy as np
import pytest

from fastertransformer import bert_config, convert, decoding, gpt_config, inputs_of, open_client, t5_config
from server import DEMO, HERE, Http, Server, run

TEXTS = {"私は昨日、友達と映画を見ました。": "私は昨日、友達と映画を見た。", "本日は雨が降っていますが、会議は予定通り行います。": "本日は雨が降っているが、会議は予定通り行う。"}
GPT, T5 = ("input_lengths", "request_output_len"), ("sequence_length", "max_output_len")
GPT_ENDS, T5_ENDS = {"start_id": 1, "end_id": 2}, {"start_id": 0, "end_id": 1}
PROTOCOLS = pytest.mark.parametrize("protocol", ["http", "grpc"])


def cases(name):
    return json.loads((HERE / f"expected/{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    for name, model, config in (("ft_t5", "style-ja-t5", t5_config()), ("ft_gpt2", "style-ja-gpt2", gpt_config())):
        convert(model, root / name / "1")
        (root / name / "config.pbtxt").write_text(config)
    shutil.copytree(root / "ft_gpt2", root / "ft_gpt2_stream")
    (root / "ft_gpt2_stream" / "config.pbtxt").write_text(gpt_config("ft_gpt2_stream", "True"))
    # As the original's converter left it: the encoder alone. Its Hugging Face directory is named, or lies elsewhere.
    for name, more in (("ft_bert", {}), ("ft_bert_hf", {"hf_model": DEMO / "ner-ja"})):
        convert("ner-ja", root / "converted" / name)
        checkpoint = root / name / "1" / "1-gpu"
        checkpoint.mkdir(parents=True)
        for file in (root / "converted" / name / "1-gpu").iterdir():
            if file.name == "config.ini" or file.name.startswith("model.encoder."):
                shutil.copy(file, checkpoint)
        (root / name / "config.pbtxt").write_text(bert_config(name, **more))
    shutil.rmtree(root / "converted")
    with Server(root, "--grpc-port", "0") as running:
        yield running


def infer(triton, protocol, model, tensors):
    module, client = open_client(protocol, triton)
    result = client.infer(model, inputs_of(module, tensors))
    client.close()
    return result


def generated(result, row, prompt=0, beam=0):
    """New ids of a beam. GPT's length counts the padded prompt, whose ids stand in front of what is new."""
    ids, length = result.as_numpy("output_ids")[row][beam].tolist(), int(result.as_numpy("sequence_length")[row][beam])
    return ids[prompt : prompt + length] if prompt == 0 else ids[prompt : prompt + length - padded(result)]


def padded(result):
    return result.as_numpy("output_ids").shape[2] - 64


# T5. ------------------------------------------------------------------------------------------------------------------


@PROTOCOLS
@pytest.mark.parametrize("batched", [False, True])
def test_t5_flow(triton, protocol, batched):
    api = Http(triton.url)
    ids = {text: [token["id"] for token in api.answer("/models/ft_t5/tokenize", {"inputs": text})] for text in TEXTS}
    for texts in [list(TEXTS)] if batched else [[text] for text in TEXTS]:
        result = infer(triton, protocol, "ft_t5", decoding([ids[text] for text in texts], *T5))
        assert result.as_numpy("output_ids").dtype == result.as_numpy("sequence_length").dtype == np.uint32
        decoded = api.answer("/models/ft_t5/decode", {"ids": [generated(result, i) for i in range(len(texts))]})
        assert decoded == [TEXTS[text] for text in texts]


def test_the_same_model_answers_the_task_api(triton):
    for text, rewritten in TEXTS.items():
        assert Http(triton.url).answer("/models/ft_t5", {"inputs": text}) == [{"generated_text": rewritten}]


# GPT-2. ---------------------------------------------------------------------------------------------------------------


@PROTOCOLS
def test_gpt2_flow(triton, protocol):
    """`source::` in, the prompt and its rewriting out; alone, and rows of all lengths in one batch."""
    api = Http(triton.url)
    known = [case for case in cases("style-ja-gpt2") if case["max_new_tokens"] == 64]
    ids = [[token["id"] for token in api.answer("/models/ft_gpt2/tokenize", {"inputs": case["inputs"], "add_special_tokens": False})] for case in known]
    together = infer(triton, protocol, "ft_gpt2", decoding(ids, *GPT, **GPT_ENDS))
    for i, case in enumerate(known):
        alone = infer(triton, protocol, "ft_gpt2", decoding([ids[i]], *GPT, **GPT_ENDS))
        for result, row in ((together, i), (alone, 0)):
            assert result.as_numpy("output_ids").dtype == np.uint32
            assert result.as_numpy("output_ids")[row][0][: len(ids[i])].tolist() == ids[i]
            assert generated(result, row, len(ids[i])) == case["ids"]
        whole = alone.as_numpy("output_ids")[0][0][: len(ids[i]) + len(case["ids"])].tolist()
        assert api.answer("/models/ft_gpt2/decode", {"ids": [whole]}) == [case["inputs"] + case["text"]]


@PROTOCOLS
def test_gpt2_asynchronously(triton, protocol):
    known = cases("style-ja-gpt2-fastertransformer")
    greedy = {case["inputs"]: case["ids"] for case in cases("style-ja-gpt2") if case["max_new_tokens"] == 64}
    module, client = open_client(protocol, triton, **({"concurrency": 4} if protocol == "http" else {}))
    asked = [inputs_of(module, decoding([case["ids"]], *GPT, **GPT_ENDS)) for case in known]
    if protocol == "http":
        results = [request.get_result() for request in [client.async_infer("ft_gpt2", inputs) for inputs in asked]]
    else:
        heard = queue.Queue()
        for i, inputs in enumerate(asked):
            client.async_infer("ft_gpt2", inputs, callback=lambda result, error, i=i: heard.put((i, result, error)))
        answers = sorted([heard.get(timeout=30) for _ in asked], key=lambda one: one[0])
        assert all(error is None for _, _, error in answers)
        results = [result for _, result, _ in answers]
    for case, result in zip(known, results, strict=True):
        assert generated(result, 0, len(case["ids"])) == greedy[case["inputs"]]
    client.close()


def test_gpt2_as_a_stream(triton):
    """A decoupled model answers token by token, with everything so far."""
    greedy = {case["inputs"]: case["ids"] for case in cases("style-ja-gpt2") if case["max_new_tokens"] == 64}
    module, client = open_client("grpc", triton)
    heard = queue.Queue()
    client.start_stream(callback=lambda result, error: heard.put((result, error)))
    for case in cases("style-ja-gpt2-fastertransformer"):
        client.async_stream_infer("ft_gpt2_stream", inputs_of(module, decoding([case["ids"]], *GPT, **GPT_ENDS)), enable_empty_final_response=True)
        texts = []
        while True:
            result, error = heard.get(timeout=30)
            assert error is None
            final = result.get_response().parameters["triton_final_response"].bool_param
            if result.as_numpy("output_ids") is not None:
                texts.append(generated(result, 0, len(case["ids"])))
            if final:
                break
        expected = greedy[case["inputs"]]
        assert texts[: len(expected)] == [expected[: i + 1] for i in range(len(expected))] and texts[-1] == expected
    client.stop_stream()
    client.close()


@PROTOCOLS
@pytest.mark.parametrize("model", ["gpt2", "t5"])
def test_bad_words(triton, protocol, model):
    known = cases(f"style-ja-{model}-fastertransformer")
    names, ends = (GPT, GPT_ENDS) if model == "gpt2" else (T5, T5_ENDS)
    result = infer(triton, protocol, f"ft_{model}", decoding([case["ids"] for case in known], *names, bad_words=[case["bad_words"] for case in known], **ends))
    for i, case in enumerate(known):
        assert generated(result, i, len(case["ids"]) if model == "gpt2" else 0)[:48] == case["without_bad_words"]


@PROTOCOLS
def test_stop_words(triton, protocol):
    """A row ends with its word, which stays in the answer; others go on."""
    known = cases("style-ja-gpt2-fastertransformer")
    greedy = {case["inputs"]: case["ids"] for case in cases("style-ja-gpt2") if case["max_new_tokens"] == 64}
    whole = [greedy[case["inputs"]] for case in known]
    stops = [[one[1:3]] if i % 2 == 0 else [] for i, one in enumerate(whole)]
    result = infer(triton, protocol, "ft_gpt2", decoding([case["ids"] for case in known], *GPT, stop_words=stops, **GPT_ENDS))
    for i, case in enumerate(known):
        assert generated(result, i, len(case["ids"])) == (whole[i][:3] if stops[i] else whole[i])


@PROTOCOLS
@pytest.mark.parametrize("model", ["gpt2", "t5"])
def test_beams(triton, protocol, model):
    """Rows of one, two and four beams in one request: each as alone, and as transformers."""
    known = cases(f"style-ja-{model}-fastertransformer")
    greedy = {case["inputs"]: case["ids"] for case in cases(f"style-ja-{model}") if case["max_new_tokens"] == 64}
    names, ends = (GPT, GPT_ENDS) if model == "gpt2" else (T5, T5_ENDS)
    rows = [(case, width) for case in known for width in (1, 2, 4)]
    asked = decoding([case["ids"] for case, _ in rows][:16], *names, beam_width=[width for _, width in rows][:16], is_return_log_probs=True, len_penalty=1.5, **ends)
    result = infer(triton, protocol, f"ft_{model}", asked)
    assert result.as_numpy("output_ids").shape[:2] == result.as_numpy("sequence_length").shape == result.as_numpy("cum_log_probs").shape == (16, 4)
    assert result.as_numpy("output_log_probs").shape == (16, 4, 64)
    for i, (case, width) in enumerate(rows[:16]):
        prompt = len(case["ids"]) if model == "gpt2" else 0
        if width == 1:
            assert generated(result, i, prompt) == greedy[case["inputs"]]
        else:
            for beam, want in enumerate(case["beams"][0 if width == 2 else 1]):
                assert generated(result, i, prompt, beam) == want["ids"]
                assert np.allclose(result.as_numpy("output_log_probs")[i][beam][: len(want["ids"])], want["logprobs"], atol=1e-3)
                assert abs(result.as_numpy("cum_log_probs")[i][beam] - sum(want["logprobs"])) < 1e-2
        assert not result.as_numpy("sequence_length")[i][width:].any() and not result.as_numpy("output_log_probs")[i][width:].any()


def test_bad_tensors_are_refused_by_name(triton):
    module, client = open_client("grpc", triton)
    for changes, named in (({"beam_width": 65}, "beam_width[0] is 65"), ({"end_id": 10**6}, "end_id[0] is 1000000"), ({"beam_width": 40}, "the engine runs")):
        with pytest.raises(Exception, match=named.replace("[", r"\[").replace("]", r"\]")):
            client.infer("ft_gpt2", inputs_of(module, decoding([[5, 6]], *GPT, **(GPT_ENDS | changes))))
    client.close()


# BERT. ----------------------------------------------------------------------------------------------------------------


def weights_of(directory):
    """Tensors of a safetensors file as float32."""
    raw = (directory / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = {name: one for name, one in json.loads(raw[8 : 8 + size]).items() if name != "__metadata__"}
    kinds = {"F32": np.float32, "F16": np.float16}
    return {name: np.frombuffer(raw[8 + size :], kinds[one["dtype"]], int(np.prod(one["shape"], dtype=int)), one["data_offsets"][0]).reshape(one["shape"]).astype(np.float32) for name, one in header.items()}


def normalized(x, weight, bias, epsilon):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * weight + bias


@PROTOCOLS
@pytest.mark.parametrize("name", ["ft_bert", "ft_bert_hf"])
def test_bert_flow(triton, http, protocol, name):
    """The client embeds and classifies, the server has the layers: labels are those of transformers."""
    config = json.loads((DEMO / "ner-ja" / "config.json").read_text())
    w = weights_of(DEMO / "ner-ja")
    at = "bert.embeddings."
    known = [case for case in cases("ner-ja") if case["parameters"]["aggregation_strategy"] == "none"]
    rows = [[token["id"] for token in http.answer("/models/ner-ja/tokenize", {"inputs": case["inputs"]})[0]] for case in known]
    width = -(-max(map(len, rows)) // 8) * 8
    states = np.zeros((len(rows), width, config["hidden_size"]), np.float16)
    for i, ids in enumerate(rows):
        summed = w[at + "word_embeddings.weight"][ids] + w[at + "position_embeddings.weight"][: len(ids)] + w[at + "token_type_embeddings.weight"][0]
        states[i, : len(ids)] = normalized(summed, w[at + "LayerNorm.weight"], w[at + "LayerNorm.bias"], config["layer_norm_eps"])
    result = infer(triton, protocol, name, {"input_hidden_state": ("FP16", states), "sequence_lengths": ("INT32", np.array([[len(ids)] for ids in rows], np.int32))})
    hidden = result.as_numpy("output_hidden_state")
    assert hidden.dtype == np.float16 and hidden.shape == states.shape
    for i, (ids, case) in enumerate(zip(rows, known, strict=True)):
        assert not hidden[i, len(ids) :].any()
        logits = hidden[i, : len(ids)].astype(np.float32) @ w["classifier.weight"].T + w["classifier.bias"]
        scores = np.exp(logits - logits.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        labels = [config["id2label"][str(k)] for k in logits.argmax(-1)]
        found = [(place, label) for place, label in enumerate(labels) if label != "O" and 0 < place < len(ids) - 1]
        assert found == [(one["index"], one["entity"]) for one in case["answer"]]
        assert all(abs(scores[place].max() - one["score"]) < 2e-2 for (place, _), one in zip(found, case["answer"]))


def test_bert_with_its_hugging_face_directory_serves_entities(triton, http):
    """The same weights behind the task API: tokenization, embeddings and entities inside."""
    for case in cases("ner-ja"):
        body = {"inputs": case["inputs"], "parameters": case["parameters"]}
        got, plain = Http(triton.url).answer("/models/ft_bert_hf", body), http.answer("/models/ner-ja", body)
        key = "entity" if case["parameters"]["aggregation_strategy"] == "none" else "entity_group"
        assert [one[key] for one in got] == [one[key] for one in case["answer"]]
        assert [{k: v for k, v in one.items() if k != "score"} for one in got] == [{k: v for k, v in one.items() if k != "score"} for one in plain]
        assert all(abs(one["score"] - other["score"]) < 1e-4 for one, other in zip(got, case["answer"], strict=True))
    refused = Http(triton.url).post("/models/ft_bert", {"inputs": "a"})
    assert refused.status_code == 400 and "tensors" in refused.json()["error"]


TRT_BERT = """
name: "trt_bert"
platform: "pytorch_libtorch"
max_batch_size: 0
input [ { name: "input_ids__0" data_type: TYPE_INT32 dims: [ 1, 40 ] }, { name: "attention_mask__1" data_type: TYPE_INT32 dims: [ 1, 40 ] } ]
output [ { name: "probs__0" data_type: TYPE_FP32 dims: [ 1, 180 ] } ]
instance_group [ { count: 8 } ]
"""


def test_trt_bert_says_what_it_lacks(tmp_path):
    """The configuration is read; what cannot be run is named, with what to do instead."""
    (tmp_path / "trt_bert" / "1").mkdir(parents=True)
    (tmp_path / "trt_bert" / "1" / "model.pt").write_bytes(b"not looked at")
    (tmp_path / "trt_bert" / "config.pbtxt").write_text(TRT_BERT)
    done = run("serve", tmp_path, "--port", "0", "--no-progress")
    assert done.returncode != 0
    for part in ("trt_bert", "'pytorch'", "pytorch_libtorch", "TorchScript", "Hugging Face directory"):
        assert part in done.stderr, done.stderr
