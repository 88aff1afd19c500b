"""/generate and /generate_stream for the causal and the encoder-decoder model, against transformers' generate()."""

import json

import pytest

from checks import close

MODELS = ["style-ja-gpt2", "style-ja-t5"]
PROMPT = {"style-ja-gpt2": "私は学生です。昨日映画を見ました。::", "style-ja-t5": "私は学生です。昨日映画を見ました。"}


def generate(http, model, prompt, **parameters):
    return http.answer(f"/models/{model}/generate", {"inputs": prompt, "parameters": {"details": True, **parameters}})


def events_of(response):
    """The JSON of each event of a stream; anything that is not an event fails."""
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream"), response.text
    blocks = response.content.decode("utf-8").split("\n\n")
    assert blocks[-1] == ""
    assert all(block.startswith("data:") and "\n" not in block for block in blocks[:-1] if not block.startswith(":"))
    return [json.loads(block[5:]) for block in blocks[:-1] if not block.startswith(":")]


def stream(http, model, prompt, route="generate_stream", **parameters):
    return events_of(http.post(f"/models/{model}/{route}", {"inputs": prompt, "stream": True, "parameters": parameters}))


@pytest.mark.parametrize("model", MODELS)
def test_greedy_as_transformers(http, expected, model):
    for case in expected(model):
        got = generate(http, model, case["inputs"], max_new_tokens=case["max_new_tokens"])
        details = got["details"]
        assert got["generated_text"] == case["text"]
        assert [token["id"] for token in details["tokens"]] == case["ids"]  # no prompt, no decoder start token
        assert details["generated_tokens"] == len(case["ids"]) and details["finish_reason"] == case["finish_reason"] and details["seed"] is None and details["prefill"] == []
        assert all(abs(token["logprob"] - want) < 1e-3 for token, want in zip(details["tokens"], case["logprobs"], strict=True))
        assert [token["special"] for token in details["tokens"]] == [case["finish_reason"] == "eos_token" and i + 1 == len(case["ids"]) for i in range(len(case["ids"]))]


@pytest.mark.parametrize("model", MODELS)
def test_stream_is_the_same_answer(http, expected, model):
    for case in expected(model):
        for route in ("generate_stream", "generate", ""):
            events = stream(http, model, case["inputs"], route=route, max_new_tokens=case["max_new_tokens"])
            assert [event["index"] for event in events] == list(range(1, len(case["ids"]) + 1))
            assert [event["token"]["id"] for event in events] == case["ids"]
            assert all(event["generated_text"] is None and event["details"] is None for event in events[:-1])
            assert events[-1]["generated_text"] == case["text"] == "".join(event["token"]["text"] for event in events if not event["token"]["special"])
            assert events[-1]["details"] == {"finish_reason": case["finish_reason"], "generated_tokens": len(case["ids"]), "input_length": case["input_length"], "seed": None}
            assert all(abs(event["token"]["logprob"] - want) < 1e-3 for event, want in zip(events, case["logprobs"], strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_top_tokens(http, model):
    plain = generate(http, model, PROMPT[model])["details"]["tokens"]
    got = generate(http, model, PROMPT[model], top_n_tokens=3)["details"]
    assert got["tokens"] == plain and len(got["top_tokens"]) == len(plain)
    for top, token in zip(got["top_tokens"], plain):
        assert len(top) == 3 and top[0]["id"] == token["id"] and close(top[0]["logprob"], token["logprob"])
        assert [row["logprob"] for row in top] == sorted((row["logprob"] for row in top), reverse=True)


def test_prompt_details(http):
    got = generate(http, "style-ja-gpt2", PROMPT["style-ja-gpt2"], decoder_input_details=True)["details"]["prefill"]
    ids = [token["id"] for token in http.answer("/models/style-ja-gpt2/tokenize", {"inputs": PROMPT["style-ja-gpt2"], "add_special_tokens": False})]
    assert [token["id"] for token in got] == ids and got[0]["logprob"] is None and all(token["logprob"] < 0 for token in got[1:])
    refused = http.post("/models/style-ja-gpt2/generate_stream", {"inputs": "a", "parameters": {"decoder_input_details": True}})
    assert refused.status_code == 422 and refused.json()["error_type"] == "validation"


@pytest.mark.parametrize("model", MODELS)
def test_stop_strings(http, model):
    """Cut before the stop string wherever token borders fall; nothing of it is ever shown."""
    whole = generate(http, model, PROMPT[model])
    text = whole["generated_text"]
    assert len(text) > 8
    for begin in range(1, len(text) - 1):
        for length in (1, 2, 4):
            stop = text[begin:begin + length]
            want = text[:text.index(stop)]
            got = generate(http, model, PROMPT[model], stop=[stop, "決して出ない"])
            assert got["generated_text"] == want and got["details"]["finish_reason"] == "stop_sequence", (stop, got)
            events = stream(http, model, PROMPT[model], stop=[stop])
            assert events[-1]["generated_text"] == want and events[-1]["details"]["finish_reason"] == "stop_sequence"
            assert "".join(event["token"]["text"] for event in events if not event["token"]["special"]) == want
    got = generate(http, model, PROMPT[model], stop=["決して出ない", text[-1] + "x"])
    assert got["generated_text"] == text and [token["id"] for token in got["details"]["tokens"]] == [token["id"] for token in whole["details"]["tokens"]]


@pytest.mark.parametrize("model", MODELS)
def test_seeds_repeat(http, model):
    hot = {"do_sample": True, "temperature": 3.0, "max_new_tokens": 12}
    answers = {seed: generate(http, model, PROMPT[model], seed=seed, **hot) for seed in range(8)}
    assert len({answer["generated_text"] for answer in answers.values()}) > 1
    for seed, answer in answers.items():
        assert answer["details"]["seed"] == seed and generate(http, model, PROMPT[model], seed=seed, **hot) == answer
        events = stream(http, model, PROMPT[model], seed=seed, **hot)
        assert events[-1]["generated_text"] == answer["generated_text"] and events[-1]["details"]["seed"] == seed
    unseeded = generate(http, model, PROMPT[model], **hot)
    assert generate(http, model, PROMPT[model], seed=unseeded["details"]["seed"], **hot) == unseeded
    cold = generate(http, model, PROMPT[model], do_sample=True, temperature=3.0, top_k=1, seed=5)
    assert cold["generated_text"] == generate(http, model, PROMPT[model])["generated_text"]


@pytest.mark.parametrize("model", MODELS)
def test_best_of(http, model):
    asked = {"do_sample": True, "temperature": 3.0, "max_new_tokens": 8, "seed": 3}
    got = generate(http, model, PROMPT[model], best_of=4, **asked)
    samples = [got["details"], *got["details"]["best_of_sequences"]]
    mean = [sum(token["logprob"] for token in sample["tokens"]) / len(sample["tokens"]) for sample in samples]
    assert len(samples) == 4 and mean[0] == max(mean) and len({sample["seed"] for sample in samples}) == 4
    assert generate(http, model, PROMPT[model], best_of=4, **asked) == got


@pytest.mark.parametrize("model", MODELS)
def test_root_route_is_generate_in_an_array(http, model):
    asked = {"inputs": PROMPT[model], "parameters": {"details": True, "max_new_tokens": 4}}
    one = http.answer(f"/models/{model}/generate", asked)
    assert http.answer(f"/models/{model}", asked) == [one]
    assert http.answer("/", asked, headers={"x-model": model}) == [one]
    assert http.post(f"/models/{model}", {**asked, "inputs": ["a", "b"]}).status_code == 422


def test_limits_and_lengths(http):
    path = "/models/style-ja-gpt2/generate"
    assert generate(http, "style-ja-gpt2", PROMPT["style-ja-gpt2"], max_new_tokens=1)["details"]["finish_reason"] == "length"
    long = http.post(path, {"inputs": "私は学生です。" * 400 + "::"})
    assert long.status_code == 422 and "512" in long.json()["error"], long.text
    cut = generate(http, "style-ja-gpt2", "私は学生です。" * 400 + "::", truncate=20, max_new_tokens=4, decoder_input_details=True)
    assert len(cut["details"]["prefill"]) == 20
    assert generate(http, "style-ja-gpt2", PROMPT["style-ja-gpt2"], min_new_tokens=15, max_new_tokens=20)["details"]["generated_tokens"] >= 15


@pytest.mark.parametrize("model", MODELS)
def test_neighbours_do_not_change_an_answer(http, expected, model):
    known = expected(model)
    got = http.answer(f"/models/{model}", {"inputs": [case["inputs"] for case in known], "parameters": {"max_new_tokens": 64}})
    assert [row[0]["generated_text"] for row in got][:-1] == [case["text"] for case in known][:-1]
