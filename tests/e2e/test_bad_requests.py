"""A table of bad input: each a named error with the right status, and the server goes on."""

import pytest

TEXT = "ジョー・バイデンはアメリカの大統領です。"

BAD_JSON = [b"", b" \n", b"{", b"[", b'{"inputs":"a"', b'{"inputs":"a"}}', b'{"inputs":"a",}', b"{'inputs':'a'}", b'{"inputs":a}', b'{"inputs":"a\n"}', b'{"inputs":"\\x"}', b'{"inputs":"\\ud800"}', b'{"inputs":01}', b'{"inputs":"a","parameters":{"seed":18446744073709551616}}', b'{"inputs":"a","parameters":{"seed":1e999}}',
            b'{"inputs":NaN}', b"null", b"1", b'"text"', b"[]", b"true", b"\xef\xbb\xbf{", b'{"inputs":"\xff"}', b'{"inputs":"\xe3\x81"}', b'{"inputs":"\xed\xa0\x80"}', b'{"inputs":"\xc0\xaf"}', b'{"inputs":"\xf5\x80\x80\x80"}',
            b'{"inputs":"a","inputs":"b"}', b'{"inputs":"a","parameters":{"top_k":1,"top_k":2}}', b'{"inputs":"a","x":{"y":[{"z":1,"z":2}]}}', b'{"inputs":"a","x":' + b"[" * 200 + b"]" * 200 + b"}",
            b'{"inputs":"a","x":' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}", b"[" * 100000, b'{"inputs":"a"} {"inputs":"b"}', b"\0" * 10, b"inputs=a"]


@pytest.mark.parametrize("body", BAD_JSON, ids=lambda body: repr(body[:40]))
@pytest.mark.parametrize("path", ["/", "/models/style-ja-gpt2/generate", "/models/style-ja-gpt2/generate_stream", "/models/qa"])
def test_bad_json(http, path, body):
    response = http.post(path, data=body)
    assert response.status_code == 400, response.text
    answer = response.json()
    assert answer["error"] and answer["error_type"] == ("validation" if "generate" in path else "invalid_json") and response.headers["x-should-retry"] == "false"
    assert len(answer["error"]) < 400


@pytest.mark.parametrize("path", ["/embed", "/predict", "/rerank", "/similarity", "/tokenize", "/decode"])
def test_bad_json_embedding_routes(http, path):
    for body in BAD_JSON:
        response = http.post("/models/embed-mean" + path, data=body)
        assert response.status_code == 400 and response.json()["error_type"] == "Validation", (body[:40], response.text)


def q(**parameters):
    return {"inputs": {"question": "a", "context": "b"}, "parameters": parameters}


def p(**parameters):
    return {"inputs": "a", "parameters": parameters}


# path, body, what the sentence must name
INVALID = [
    ("/", {}, "inputs"), ("/", {"inputs": None}, "inputs"), ("/", {"inputs": 1}, "inputs"), ("/", {"inputs": {"a": 1}}, "inputs"), ("/", {"inputs": [1]}, "inputs"), ("/", {"inputs": ["a", None]}, "inputs"),
    ("/", {"inputs": [["a"]]}, "inputs"), ("/", {"inputs": True}, "inputs"), ("/", p(aggregation_strategy=1), "aggregation_strategy"), ("/", p(aggregation_strategy="most"), "none, simple, first, average or max"),
    ("/", p(ignore_labels=[1]), "ignore_labels"), ("/", p(stride=-1), "stride"), ("/", p(stride=1.5), "stride"), ("/", p(stride="4"), "stride"), ("/", p(stride=2 ** 63), "stride"), ("/", {"inputs": "a", "parameters": []}, "parameters"), ("/models/style-ja-gpt2/generate", {"inputs": "a", "parameters": "x"}, "parameters"), ("/", p(stride=256), "stride"),
    ("/", p(format="brat"), "format"), ("/", p(format=1), "format"),
    ("/models/classify", p(top_k=0), "top_k"), ("/models/classify", p(top_k=-1), "top_k"), ("/models/classify", p(function_to_apply="relu"), "function_to_apply"), ("/models/classify", {"inputs": {"text": 1}}, "text"),
    ("/models/classify", {"inputs": {"text_pair": "b"}}, "text"), ("/models/classify", p(truncation_direction="up"), "truncation_direction"), ("/models/classify", p(truncate="yes"), "truncate"),
    ("/models/fill", {"inputs": "no mask here"}, "[MASK]"), ("/models/fill", {"inputs": "[MASK]", "parameters": {"top_k": 0}}, "top_k"), ("/models/fill", {"inputs": "[MASK]", "parameters": {"targets": [1]}}, "targets"),
    ("/models/fill", {"inputs": "[MASK]", "parameters": {"targets": [""]}}, "targets"), ("/models/fill", {"inputs": "the cat " * 100 + "[MASK]"}, "64"),
    ("/models/qa", {"inputs": "a"}, "inputs must be a JSON object"), ("/models/qa", {"inputs": {"question": "a"}}, "context"), ("/models/qa", {"inputs": {"context": "a"}}, "question"), ("/models/qa", {"inputs": {"question": 1, "context": "a"}}, "question"),
    ("/models/qa", q(top_k=0), "top_k"), ("/models/qa", q(max_answer_len=0), "max_answer_len"), ("/models/qa", q(doc_stride=-1), "doc_stride"), ("/models/qa", q(max_seq_len=0), "max_seq_len"), ("/models/qa", q(max_seq_len=100000), "max_seq_len"),
    ("/models/qa", q(max_seq_len=20, doc_stride=30), "doc_stride"), ("/models/qa", q(max_seq_len=4), "max_seq_len"), ("/models/qa", q(handle_impossible_answer="no"), "handle_impossible_answer"), ("/models/qa", q(max_question_len=0), "max_question_len"),
    ("/models/nli/pipeline/zero-shot-classification", {"inputs": "a"}, "candidate_labels"), ("/models/nli", p(candidate_labels=[1]), "candidate_labels"),
    ("/models/nli", p(candidate_labels=["a"], hypothesis_template="no place"), "hypothesis_template"), ("/models/nli", p(candidate_labels=["a"], multi_label="x"), "multi_label"), ("/models/nli", p(candidate_labels=["a"], format="new"), "format"),
    ("/models/embed-mean", {"inputs": "a", "normalize": "x"}, "normalize"), ("/models/embed-mean", {"inputs": "a", "dimensions": 0}, "dimensions"), ("/models/embed-mean", {"inputs": "a", "dimensions": 17}, "dimensions"),
    ("/models/embed-mean", {"inputs": "a", "pooling": "mean"}, "pooling"), ("/models/embed-mean", {"inputs": {"source_sentence": "a"}}, "sentences"), ("/models/embed-mean", {"inputs": {"sentences": ["a"]}}, "source_sentence"),
    ("/models/embed-mean/embed", {"inputs": [1, "a"]}, "inputs"), ("/models/embed-mean/embed", {"inputs": [1, -5]}, "-5"), ("/models/embed-mean/embed", {"inputs": [10 ** 7]}, "10000000"), ("/models/embed-mean/embed", {"inputs": [2 ** 40]}, "inputs"),
    ("/models/embed-mean/embed", {"inputs": "the " * 100, "truncate": False}, "40"), ("/models/rerank/rerank", {"query": "a"}, "texts"), ("/models/rerank/rerank", {"query": "a", "texts": [1]}, "texts"), ("/models/rerank/rerank", {"texts": ["a"]}, "query"),
    ("/tokenize", {"inputs": 1}, "inputs"), ("/tokenize", {}, "inputs"), ("/decode", {}, "ids"), ("/decode", {"ids": "a"}, "ids"),
]
for name, bad in {"max_new_tokens": [0, -1, 1.5, "5", 2 ** 31, [1]], "temperature": [0, -1, "hot", 1e60], "top_k": [-1, 1.5, True], "top_p": [0, -0.1, 1.1, "x"], "typical_p": [-1, 2], "seed": [-1, 1.5, "x"],
                  "repetition_penalty": [0, -1, "x"], "stop": [1, [1], [""], ["a"] * 17], "best_of": [0, 17, "x"], "top_n_tokens": [-1, 1000], "truncate": [0, -1], "do_sample": [1, "yes"], "watermark": [True],
                  "grammar": [{"type": "json"}], "num_beams": [0, -1, 65, "4", 2.5], "num_return_sequences": [0, 2, "x"], "length_penalty": ["x", 1e60], "early_stopping": ["often", 1], "num_beam_groups": [2], "diversity_penalty": [0.5], "force_words_ids": [[[1]]], "constraints": [[]],
                  "details": ["x"], "return_full_text": [1], "decoder_input_details": [0], "min_new_tokens": [-1], "no_repeat_ngram_size": [-1]}.items():
    INVALID += [("/models/style-ja-gpt2/generate", p(**{name: value, **({"do_sample": True} if name in ("temperature", "top_k", "top_p", "typical_p", "best_of") else {})}), name) for value in bad]
for beams in ({"best_of": 2}, {"top_n_tokens": 2}, {"do_sample": True}, {"num_return_sequences": 5}):
    INVALID += [("/models/style-ja-gpt2/generate", p(num_beams=4, **beams), "num_beams is 4"), ("/models/style-ja-t5/pipeline/summarization", p(num_beams=4, **beams), "num_beams is 4")]
INVALID += [("/models/style-ja-gpt2/generate_stream", p(num_beams=2), "set num_beams to 1 to stream"), ("/models/style-ja-gpt2/generate", p(num_beams=64), "the engine runs")]


@pytest.mark.parametrize("path,body,named", INVALID, ids=lambda value: str(value)[:60])
def test_invalid_values(http, path, body, named):
    response = http.post(path, body)
    assert response.status_code == 422, response.text
    answer = response.json()
    assert named in answer["error"] and len(answer["error"]) < 600, answer
    assert answer["error_type"].lower() in ("invalid_value", "validation", "context_length_exceeded", "empty_input")
    assert not any(word in answer["error"] for word in ("/models/", ".cpp", "0x", "std::")), answer


EMPTY = [("/", []), ("/models/classify", []), ("/models/fill", []), ("/models/qa", []), ("/models/embed-mean", []), ("/models/embed-mean/embed", []), ("/models/embed-mean/embed_all", []), ("/models/classify/predict", []), ("/tokenize", []), ("/models/style-ja-t5", [])]


@pytest.mark.parametrize("path,inputs", EMPTY)
def test_empty_batch(http, path, inputs):
    response = http.post(path, {"inputs": inputs})
    assert response.status_code == 400 and response.json()["error_type"] in ("empty_input", "Empty"), response.text


def test_batch_limit(http):
    for path, body in (("/", {"inputs": ["a"] * 33}), ("/models/embed-mean/embed", {"inputs": ["a"] * 33}), ("/models/classify/predict", {"inputs": [["a"]] * 33}), ("/models/rerank/rerank", {"query": "a", "texts": ["a"] * 33}),
                       ("/models/embed-mean/similarity", {"inputs": {"source_sentence": "a", "sentences": ["a"] * 33}}), ("/tokenize", {"inputs": ["a"] * 33}), ("/decode", {"ids": [[1]] * 33})):
        response = http.post(path, body)
        assert response.status_code == 413 and all(word in response.json()["error"] for word in ("33", "32", "--max-client-batch-size")), (path, response.text)
    assert len(http.answer("/", {"inputs": ["a"] * 32})) == 32


def test_body_limit(http):
    response = http.post("/", {"inputs": "a" * (2 << 20)})
    assert response.status_code == 413 and "--max-body-size" in response.json()["error"]
    assert http.get("/health?" + "x" * 9000).status_code == 414
    assert http.get("/health", headers={"x-long": "x" * 40000}).status_code == 431


STRANGE = ["", " ", "\u3000", "😀" * 50, "ｶﾞｷﾞｸﾞｹﾞｺﾞ", "か\u3099き\u3099", "\u200b\ufeff\u2028", "a\u0301" * 30, "\\u0000", "\x00", "\x1b[31m", "𠮷野家", "👨‍👩‍👧‍👦", "اَلْعَرَبِيَّةُ", "ジョー" * 500, "x" * 5000, "\uffff\ufffd", "[MASK] [CLS] [SEP] [PAD]", "</s><s>", "▁", "\r\n\t"]


@pytest.mark.parametrize("text", STRANGE, ids=lambda text: ascii(text)[:24])
def test_strange_texts(http, text):
    """Any text is answered, with offsets that lie in it; alone and among others alike."""
    spans = http.answer("/", {"inputs": text, "parameters": {"format": "spans"}})[0]
    assert all(span["text"] == text[span["start"]:span["end"]] and span["start"] < span["end"] for span in spans)
    raw = http.answer("/", {"inputs": text, "parameters": {"aggregation_strategy": "none", "ignore_labels": []}})
    assert all(0 <= token["start"] < token["end"] <= len(text) for token in raw)
    assert http.answer("/", {"inputs": [TEXT, text], "parameters": {"aggregation_strategy": "none", "ignore_labels": []}})[1] == raw
    assert len(http.answer("/models/embed-mean/embed", {"inputs": text})[0]) == 16
    assert http.answer("/models/classify/predict", {"inputs": text})
    if len(text) < 100:
        assert isinstance(http.answer("/models/style-ja-t5/generate", {"inputs": text, "parameters": {"max_new_tokens": 4}})["generated_text"], str)
        response = http.post("/models/style-ja-gpt2/generate", {"inputs": text, "parameters": {"max_new_tokens": 4}})
        assert response.status_code in (200, 400, 422) and (response.status_code == 200 or text.strip() in ("", "\u200b\ufeff\u2028")), response.text


def test_the_server_is_well_afterwards(http, server):
    assert server.alive() and http.answer("/", {"inputs": TEXT, "parameters": {"format": "spans"}})[0][0]["text"] == "ジョー・バイデン"
