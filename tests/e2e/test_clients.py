"""huggingface_hub's InferenceClient, unmodified, for every text task it has on these routes."""

import pytest
from huggingface_hub import InferenceClient

from checks import assert_scored, assert_vectors, cases, close


@pytest.fixture(scope="session")
def client(server):
    return lambda path: InferenceClient(model=server.url + path, timeout=30)


def rows(answer):
    """The client's objects as plain rows, label first where it has one."""
    return [{key: value for key, value in vars(item).items()} for item in answer]


def test_token_classification(client, expected):
    for case in expected("ner-ja"):
        got = rows(client("/models/ner-ja").token_classification(case["inputs"], **case["parameters"]))
        assert_scored(got, case["answer"], ["entity_group"] if case["parameters"]["aggregation_strategy"] == "simple" else ["entity", "word"])
        assert all(case["inputs"][entity["start"]:entity["end"]] for entity in got)


@pytest.mark.parametrize("case", [case for case in cases("ner-en") if case.values[0]["parameters"]["aggregation_strategy"] != "none" and "ignore_labels" not in case.values[0]["parameters"]])
def test_token_classification_as_the_pipeline(client, case):
    got = rows(client("/models/ner-en").token_classification(case["inputs"], **case["parameters"]))
    assert_scored(got, case["answer"], ["entity_group", "start", "end"])


def test_text_classification(client, expected):
    for case in expected("classify"):
        if isinstance(case["inputs"], str):
            got = rows(client("/models/classify").text_classification(case["inputs"], **case["parameters"]))
            assert_scored(got, case["answer"][0], ["label"])


def test_fill_mask(client, expected):
    for case in expected("fill"):
        if case["inputs"].count("[MASK]") == 1:
            got = rows(client("/models/fill").fill_mask(case["inputs"], **case["parameters"]))
            assert_scored(got, case["answer"], ["token", "token_str", "sequence"])


def test_question_answering(client, expected):
    for case in expected("qa"):
        got = client("/models/qa").question_answering(**case["inputs"], **case["parameters"])
        several = case["parameters"].get("top_k", 1) > 1
        want = case["answer"]
        assert_scored(rows(got if several else [got]), want if isinstance(want, list) else [want], ["answer", "start", "end"])


def test_zero_shot_classification(client, expected):
    for case in expected("nli"):
        if isinstance(case["inputs"], str) and isinstance(case["parameters"]["candidate_labels"], list):
            got = rows(client("/models/nli").zero_shot_classification(case["inputs"], **case["parameters"]))
            assert_scored(got, [{"label": label, "score": score} for label, score in zip(case["answer"]["labels"], case["answer"]["scores"])], ["label"])


def test_feature_extraction(client, expected):
    known = expected("embed-mean")
    use = client("/models/embed-mean").feature_extraction
    assert_vectors(use(known[0]["text"]).tolist(), [known[0]["normalized"]])
    assert_vectors(use(known[0]["text"], normalize=False, truncate=True, truncation_direction="right").tolist(), [known[0]["pooled"]])
    assert_vectors(use(known[0]["text"], prompt_name="query").tolist(), [known[-1]["normalized"]])


def test_sentence_similarity(client, expected):
    known = expected("embed-cls")
    got = client("/models/embed-cls").sentence_similarity(known[0]["text"], [case["text"] for case in known])
    assert all(close(score, sum(a * b for a, b in zip(known[0]["normalized"], case["normalized"]))) for score, case in zip(got, known, strict=True))


def test_summarization_and_translation(client, expected):
    for case in expected("style-ja-t5-summarization"):
        assert client("/models/style-ja-t5/pipeline/summarization").summarization(case["inputs"]).summary_text == case["answer"]
    for case in expected("style-ja-t5-translation"):
        assert client("/models/style-ja-t5/pipeline/translation").translation(case["inputs"]).translation_text == case["answer"]


@pytest.mark.parametrize("model", ["style-ja-gpt2", "style-ja-t5"])
def test_text_generation(client, expected, model):
    """Plain, with details, streamed, streamed with details: one and the same text."""
    for case in expected(model):
        asked = {"prompt": case["inputs"], "max_new_tokens": case["max_new_tokens"]}
        use = client(f"/models/{model}")
        assert use.text_generation(**asked) == case["text"]
        answer = use.text_generation(**asked, details=True)
        assert answer.generated_text == case["text"] and [token.id for token in answer.details.tokens] == case["ids"]
        assert answer.details.finish_reason == case["finish_reason"]
        pieces = list(use.text_generation(**asked, stream=True))
        events = list(use.text_generation(**asked, stream=True, details=True))
        assert events[-1].generated_text == case["text"] and [event.token.id for event in events] == case["ids"]
        assert "".join(event.token.text for event in events if not event.token.special) == case["text"]
        # The client hands special tokens over with the others.
        assert "".join(pieces) == case["text"] + "".join(event.token.text for event in events if event.token.special)
