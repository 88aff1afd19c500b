"""Beam search through the text APIs, against generate() and the pipelines of transformers."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from server import DEMO, HERE, Http, Server
from test_generation import MODELS, PROMPT, generate, stream

CASES = [pytest.param(model, case, id=f"{model}-{i}") for model in MODELS for i, case in enumerate(json.loads((HERE / f"expected/{model}-beams.json").read_text(encoding="utf-8")))]


def told(answer):
    """Texts of an answer, best first, as (text, ids, log-probabilities)."""
    sequences = [{"generated_text": answer["generated_text"], **answer["details"]}, *answer["details"].get("best_of_sequences", [])]
    return [(one["generated_text"], [token["id"] for token in one["tokens"]], [token["logprob"] for token in one["tokens"]]) for one in sequences]


@pytest.mark.parametrize("model,case", CASES)
def test_as_transformers(http, model, case):
    got = told(generate(http, model, case["inputs"], **case["parameters"]))
    assert [(text, ids) for text, ids, _ in got] == [(want["text"], want["ids"]) for want in case["texts"]]
    for (_, _, logprobs), want in zip(got, case["texts"], strict=True):
        assert all(abs(one - other) < 1e-3 for one, other in zip(logprobs, want["logprobs"], strict=True))
    # The task API answers with an element for each text.
    answer = http.answer(f"/models/{model}", {"inputs": case["inputs"], "parameters": case["parameters"]})
    assert answer == [{"generated_text": want["text"]} for want in case["texts"]]
    assert http.answer(f"/models/{model}", {"inputs": [case["inputs"]] * 2, "parameters": case["parameters"]}) == [answer, answer]


@pytest.mark.parametrize("model", MODELS)
def test_neighbours_of_any_width(http, expected, model):
    """Searches of many widths and greedy rows at once: everybody hears what they hear alone."""
    searches = [(case["inputs"], case["parameters"], [want["text"] for want in case["texts"]]) for case in expected(f"{model}-beams")]
    greedy = [(case["inputs"], {"max_new_tokens": case["max_new_tokens"]}, [case["text"]]) for case in expected(model)]

    def ask(asked):
        inputs, parameters, texts = asked
        return [text for text, _, _ in told(generate(http, model, inputs, **parameters))] == texts

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, (searches + greedy) * 2))


@pytest.mark.parametrize("model", MODELS)
def test_stop_strings_end_a_beam(http, model):
    whole = generate(http, model, PROMPT[model], num_beams=4)["generated_text"]
    for begin in range(2, len(whole) - 1):
        for stop in (whole[begin], whole[begin : begin + 2]):
            got = generate(http, model, PROMPT[model], num_beams=4, num_return_sequences=4, early_stopping=True, stop=[stop])
            sequences = [{**got["details"], "generated_text": got["generated_text"]}, *got["details"]["best_of_sequences"]]
            assert all(stop not in one["generated_text"] for one in sequences)
            assert any(one["finish_reason"] == "stop_sequence" for one in sequences)


def test_full_text_and_usage(http):
    model, prompt = "style-ja-gpt2", PROMPT["style-ja-gpt2"]
    asked = {"num_beams": 3, "num_return_sequences": 2}
    plain = http.answer(f"/models/{model}", {"inputs": prompt, "parameters": asked})
    full = http.answer(f"/models/{model}", {"inputs": prompt, "parameters": {**asked, "return_full_text": True}})
    assert [one["generated_text"] for one in full] == [prompt + one["generated_text"] for one in plain]
    samples = http.answer(f"/models/{model}", {"inputs": prompt, "parameters": {"do_sample": True, "seed": 1, "temperature": 3.0, "max_new_tokens": 8, "num_return_sequences": 3}})
    assert len({one["generated_text"] for one in samples}) > 1 and len(samples) == 3


def test_a_beam_alone_is_greedy(http):
    for model in MODELS:
        assert generate(http, model, PROMPT[model], num_beams=1, length_penalty=3.0) == generate(http, model, PROMPT[model])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A T5 whose own settings ask for beams, alone and in a model repository."""
    given = json.loads((HERE / "expected/style-ja-t5-pipelines.json").read_text(encoding="utf-8"))
    root = tmp_path_factory.mktemp("beams")
    model = shutil.copytree(DEMO / "style-ja-t5", root / "beams-t5")
    for file, change in (("generation_config.json", given["generation_config"]), ("config.json", {"task_specific_params": given["task_specific_params"]})):
        (model / file).write_text(json.dumps(json.loads((model / file).read_text()) | change))
    (root / "repository" / "text" / "1").mkdir(parents=True)
    (root / "repository" / "text" / "config.pbtxt").write_text(f'backend: "inazuma" parameters {{ key: "hf_model" value {{ string_value: "{model}" }} }}')
    return root, given["answers"]


def test_a_directory_that_asks_for_beams_answers_as_the_pipelines(directory):
    root, answers = directory
    with Server(root / "beams-t5") as server:
        http = Http(server.url)
        assert "num_beams" not in server.log()  # nothing to warn of
        for case in answers:
            field = "summary_text" if case["task"] == "summarization" else "generated_text"
            assert http.answer(f"/models/beams-t5/pipeline/{case['task']}", {"inputs": case["inputs"]}) == [{field: case["answer"]}], case
        refused = http.post("/models/beams-t5/generate_stream", {"inputs": answers[0]["inputs"]})
        assert refused.status_code == 422 and "num_beams is 4" in refused.json()["error"]
        assert stream(http, "beams-t5", answers[0]["inputs"], num_beams=1)[-1]["generated_text"]


def test_more_beams_than_sequences_are_said_at_load(directory):
    root, answers = directory
    with Server(root / "beams-t5", "--max-batch-requests", "3") as server:
        http = Http(server.url)
        said = [one for one in http.get("/info").json()["models"][0]["warnings"] if "num_beams 4, but 3 sequences run at once" in one]
        assert len(said) == 1, said  # the summaries' three beams fit
        refused = http.post("/models/beams-t5", {"inputs": answers[0]["inputs"]})
        assert refused.status_code == 422 and "num_beams is 4, but the engine runs 3 sequences at once" in refused.json()["error"]
        assert http.answer("/models/beams-t5", {"inputs": answers[0]["inputs"], "parameters": {"num_beams": 3}})


def test_the_text_face_of_a_repository(directory):
    root, answers = directory
    plain = next(case for case in answers if case["task"] == "text2text-generation")
    with Server(root / "repository") as server:
        http = Http(server.url)
        assert http.answer("/v2/models/text/generate", {"text_input": plain["inputs"]})["text_output"] == plain["answer"]
        body = {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [2, 1], "data": [plain["inputs"]] * 2}], "parameters": {"num_beams": 2, "early_stopping": "never", "length_penalty": 0.5}}
        assert len(http.answer("/v2/models/text/infer", body)["outputs"][0]["data"]) == 2
        refused = http.post("/v2/models/text/generate", {"text_input": plain["inputs"], "parameters": {"num_beams": 99}})
        assert refused.status_code == 400 and "num_beams" in refused.json()["error"]
