"""The task API against the answers of transformers' own pipelines (tools/golden/make_e2e_models.py)."""

import pytest

from checks import assert_scored, assert_vectors, cases, close


def body(case):
    return {"inputs": case["inputs"], "parameters": case["parameters"]}


@pytest.mark.parametrize("case", cases("ner-en"))
def test_token_classification(http, case):
    got = http.answer("/models/ner-en", body(case))
    if case["parameters"]["aggregation_strategy"] == "none":
        assert_scored(got, case["answer"], ["entity", "index", "word", "start", "end"])
    else:
        assert_scored(got, case["answer"], ["entity_group", "start", "end"])
        assert all(entity["word"] == case["inputs"][entity["start"]:entity["end"]] for entity in got)


@pytest.mark.parametrize("case", cases("ner-ja"))
def test_token_classification_japanese(http, case):
    """The pipeline has no offsets for MeCab; the server has, and they lead back to the words."""
    got = http.answer("/models/ner-ja", body(case))
    grouped = case["parameters"]["aggregation_strategy"] == "simple"
    assert_scored(got, case["answer"], ["entity_group"] if grouped else ["entity", "index", "word"])
    for entity, want in zip(got, case["answer"]):
        text = case["inputs"][entity["start"]:entity["end"]]
        assert text and text == want["word"].replace(" ", "").replace("##", ""), (entity, want)


def test_unknown_names_inside_generate_parameters(http):
    """Where huggingface_hub's summarization() and translation() put them."""
    body = {"inputs": "私です。", "parameters": {"generate_parameters": {"max_new_token": 1}}}
    answer = http.post("/models/style-ja-t5/pipeline/summarization", body)
    assert answer.status_code == 200 and "did you mean 'max_new_tokens'?" in answer.headers["x-warning"], answer.headers
    strict = http.post("/models/style-ja-t5/pipeline/summarization", body, headers={"x-strict": "1"})
    assert strict.status_code == 422 and "max_new_token" in strict.json()["error"], strict.text


def test_zero_shot_labels_keep_their_commas(http):
    ask = lambda labels: [item["label"] for item in http.answer("/models/nli", {"inputs": "the cat", "parameters": {"candidate_labels": labels}})]
    assert ask(["yes, it is"]) == ["yes, it is"]
    assert sorted(ask("no, yes , ")) == ["no", "yes"]


def test_zero_shot_of_old_clients(http):
    """huggingface_hub 0.36, which transformers 4.57 asks for, reads output["labels"] and output["scores"]."""
    body = {"inputs": "the cat", "parameters": {"candidate_labels": ["a", "b"]}}
    old = http.post("/models/nli", body, headers={"user-agent": "unknown/None; hf_hub/0.36.2; python/3.11.2"}).json()
    new = http.post("/models/nli", body, headers={"user-agent": "unknown/None; hf_hub/1.2.0; python/3.11.2"}).json()
    assert new == [{"label": label, "score": score} for label, score in zip(old["labels"], old["scores"], strict=True)] and old["sequence"] == "the cat"


@pytest.mark.parametrize("name,case", [pytest.param(n, *c.values, id=c.id) for n in ("classify", "classify-multi") for c in cases(n)])
def test_text_classification(http, name, case):
    got = http.answer(f"/models/{name}", body(case))
    assert len(got) == len(case["answer"])
    for one, other in zip(got, case["answer"]):
        assert_scored(one, other, ["label"])


@pytest.mark.parametrize("case", cases("fill"))
def test_fill_mask(http, case):
    got = http.answer("/models/fill", body(case))
    several = isinstance(case["answer"][0], list)
    assert isinstance(got[0], list) == several
    for one, other in zip(got if several else [got], case["answer"] if several else [case["answer"]], strict=True):
        assert_scored(one, other, ["token", "token_str", "sequence"])


@pytest.mark.parametrize("case", cases("qa"))
def test_question_answering(http, case):
    got = http.answer("/models/qa", body(case))
    want = case["answer"]
    several = case["parameters"].get("top_k", 1) > 1
    assert isinstance(got, list) == several
    assert_scored(got if several else [got], want if isinstance(want, list) else [want], ["answer", "start", "end"])


@pytest.mark.parametrize("case", cases("nli"))
def test_zero_shot_classification(http, case):
    many = isinstance(case["inputs"], list)
    got = http.answer("/models/nli/pipeline/zero-shot-classification", body(case))
    legacy = http.answer("/models/nli", {"inputs": case["inputs"], "parameters": {**case["parameters"], "format": "legacy"}})
    for one, old, want in zip(got if many else [got], legacy if many else [legacy], case["answer"] if many else [case["answer"]], strict=True):
        assert_scored(one, [{"label": label, "score": score} for label, score in zip(want["labels"], want["scores"])], ["label"])
        assert old["sequence"] == want["sequence"] and old["labels"] == want["labels"]
        assert all(close(a, b) for a, b in zip(old["scores"], want["scores"], strict=True))


@pytest.mark.parametrize("name,case", [pytest.param(n, *c.values, id=c.id) for n in ("embed-mean", "embed-cls") for c in cases(n)])
def test_embeddings(http, name, case):
    text = case["text"]
    assert_vectors(http.answer(f"/models/{name}", {"inputs": text}), [case["normalized"]])
    assert_vectors(http.answer(f"/models/{name}", {"inputs": text, "normalize": False}), [case["pooled"]])
    assert_vectors(http.answer(f"/models/{name}", {"inputs": [text, text], "parameters": {"normalize": False}}), [case["pooled"]] * 2)
    assert_vectors(http.answer(f"/models/{name}", {"inputs": text, "pooling": "none"}), [case["tokens"]])
    assert_vectors(http.answer(f"/models/{name}/embed", {"inputs": text}), [case["normalized"]])
    assert_vectors(http.answer(f"/models/{name}/embed", {"inputs": case["ids"], "normalize": False}), [case["pooled"]])
    assert_vectors(http.answer(f"/models/{name}/embed", {"inputs": [text], "normalize": False, "dimensions": 5}), [case["pooled"][:5]])
    assert_vectors(http.answer(f"/models/{name}/embed_all", {"inputs": [text]}), [case["tokens"]])


def test_embedding_prompts_and_batches(http, expected):
    known = expected("embed-mean")
    texts = [case["text"] for case in known]
    assert_vectors(http.answer("/models/embed-mean/embed", {"inputs": texts}), [case["normalized"] for case in known])
    prompted = http.answer("/models/embed-mean/embed", {"inputs": texts[0], "prompt_name": "query"})
    assert_vectors(prompted, [known[-1]["normalized"]])
    refused = http.post("/models/embed-mean/embed", {"inputs": texts[0], "prompt_name": "quary"})
    assert refused.status_code == 422 and "query" in refused.json()["error"]


def test_similarity(http, expected):
    known = expected("embed-mean")
    question = {"source_sentence": known[0]["text"], "sentences": [case["text"] for case in known]}
    want = [sum(a * b for a, b in zip(known[0]["normalized"], case["normalized"])) for case in known]
    for path in ("/models/embed-mean/similarity", "/models/embed-mean/pipeline/sentence-similarity", "/models/embed-mean"):
        got = http.answer(path, {"inputs": question})
        assert len(got) == len(want) and all(close(a, b) for a, b in zip(got, want))


def test_rerank(http, expected):
    case = expected("rerank")[0]
    order = sorted(range(len(case["texts"])), key=lambda i: -case["scores"][i])
    question = {"query": case["query"], "texts": case["texts"]}
    got = http.answer("/models/rerank/rerank", {**question, "return_text": True})
    assert [row["index"] for row in got] == order
    assert all(close(row["score"], case["scores"][row["index"]]) and row["text"] == case["texts"][row["index"]] for row in got)
    raw = http.answer("/models/rerank/rerank", {**question, "raw_scores": True})
    assert [row["index"] for row in raw] == order and all("text" not in row for row in raw)
    assert all(close(row["score"], case["raw"][row["index"]]) for row in raw)
    assert http.post("/models/classify/rerank", question).status_code == 424


def test_predict_forms(http, expected):
    """`"a"` and `["a"]` are one text, `["a","b"]` is one pair, `[["a"],["b"]]` a batch of two; three flat strings are an error."""
    known = {str(case["inputs"]): case["answer"] for case in expected("classify") if not case["parameters"]}
    a, b = expected("classify")[0]["inputs"], expected("classify")[2]["inputs"]
    alone, other, pair = known[a][0], known[b][0], known[str({"text": a, "text_pair": b})][0]
    predict = lambda inputs, **more: http.answer("/models/classify/predict", {"inputs": inputs, **more})
    assert_scored(predict(a), alone, ["label"])
    assert_scored(predict([a]), alone, ["label"])
    assert_scored(predict([a, b]), pair, ["label"])
    for got, want in zip(predict([[a], [b], [a, b]]), [alone, other, pair], strict=True):
        assert_scored(got, want, ["label"])
    assert all("score" in row for row in predict(a, raw_scores=True))
    refused = http.post("/models/classify/predict", {"inputs": [a, b, a]})
    assert refused.status_code == 422 and "pair" in refused.json()["error"] and refused.json()["error_type"] == "Validation"
    assert http.post("/models/classify/predict", {"inputs": []}).status_code == 400
    assert http.post("/models/classify/predict", {"inputs": [[a], b]}).status_code == 422


@pytest.mark.parametrize("task,field", [("summarization", "summary_text"), ("translation", "translation_text"), ("text2text-generation", "generated_text")])
def test_sequence_to_sequence(http, expected, task, field):
    known = expected(f"style-ja-t5-{task}")
    for path in (f"/models/style-ja-t5/pipeline/{task}", f"/pipeline/{task}/style-ja-t5"):
        for case in known:
            assert http.answer(path, {"inputs": case["inputs"]}) == [{field: case["answer"]}]
    many = http.answer(f"/models/style-ja-t5/pipeline/{task}", {"inputs": [case["inputs"] for case in known]})
    assert many == [[{field: case["answer"]}] for case in known]


def test_text_generation(http, expected):
    for case in expected("style-ja-gpt2"):
        parameters = {"max_new_tokens": case["max_new_tokens"]}
        assert http.answer("/models/style-ja-gpt2", {"inputs": case["inputs"], "parameters": parameters}) == [{"generated_text": case["text"]}]
        whole = http.answer("/models/style-ja-gpt2", {"inputs": case["inputs"], "parameters": {**parameters, "return_full_text": True}})
        assert whole == [{"generated_text": case["inputs"] + case["text"]}]


def test_article_example(http):
    """The first user's request and answer, on the default model."""
    text = "ジョー・バイデンはアメリカの大統領です。"
    answer = [[{"start": 0, "end": 8, "text": "ジョー・バイデン", "type": "PERSON"}, {"start": 9, "end": 13, "text": "アメリカ", "type": "GPE"}]]
    body = {"inputs": text, "parameters": {"format": "spans"}}
    for path in ("/", "/models/ner-ja", "/models/ner-ja/", "/models/ner-ja/pipeline/token-classification", "/pipeline/token-classification/ner-ja"):
        assert http.answer(path, body) == answer
    assert http.answer("/", {**body, "inputs": [text, "", text]}) == [answer[0], [], answer[0]]
    exact = '[[{"start":0,"end":8,"text":"ジョー・バイデン","type":"PERSON"},{"start":9,"end":13,"text":"アメリカ","type":"GPE"}]]'
    assert http.post("/", body).content == exact.encode("utf-8")
