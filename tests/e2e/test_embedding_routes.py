"""/tokenize and /decode: ids, texts, offsets in code points of the original."""

import pytest

TEXTS = ["私は学生です。", "ジョー・バイデンは😀アメリカの大統領です。", "ｶﾞｷﾞｸﾞ", "a\u0301e\u0300 が か\u3099", "👨‍👩‍👧‍👦と旅行", "Hello  world\t!", "", "\u200b"]


@pytest.mark.parametrize("model", ["ner-ja", "ner-en"])
def test_tokenize_encoders(http, model):
    for text in TEXTS:
        for row in (http.answer(f"/models/{model}/tokenize", {"inputs": text})[0], http.answer(f"/models/{model}/tokenize", {"inputs": ["x", text]})[1]):
            assert row[0]["text"] == "[CLS]" and row[-1]["text"] == "[SEP]"
            assert all(token["special"] and token["start"] is None and token["stop"] is None for token in (row[0], row[-1]))
            inner = row[1:-1]
            assert all(0 <= token["start"] < token["stop"] <= len(text) for token in inner), (text, inner)
            assert [token["start"] for token in inner] == sorted(token["start"] for token in inner)
        assert http.answer(f"/models/{model}/tokenize", {"inputs": text, "add_special_tokens": False}) == [inner]
    row = http.answer("/models/ner-ja/tokenize", {"inputs": TEXTS[1], "add_special_tokens": False})[0]
    emoji = [token for token in row if token["start"] <= TEXTS[1].index("😀") < token["stop"]]
    assert emoji and TEXTS[1][emoji[0]["start"]:emoji[0]["stop"]] == "😀"


@pytest.mark.parametrize("model", ["style-ja-gpt2", "style-ja-t5"])
def test_tokenize_generators_flat(http, model):
    for text in TEXTS:
        row = http.answer(f"/models/{model}/tokenize", {"inputs": text})
        assert all({"id", "text", "start", "stop"} <= set(token) for token in row)
        assert all(0 <= token["start"] <= token["stop"] <= len(text) for token in row if not token["special"])
        assert http.answer(f"/models/{model}/tokenize", {"inputs": [text]}) == [row]


@pytest.mark.parametrize("model", ["style-ja-gpt2", "style-ja-t5"])
def test_decode_turns_back(http, model):
    for text in ("私は学生です。", "昨日映画を見ました。😀"):
        ids = [token["id"] for token in http.answer(f"/models/{model}/tokenize", {"inputs": text})]
        assert http.answer(f"/models/{model}/decode", {"ids": ids}) == [text]
        assert http.answer(f"/models/{model}/decode", {"ids": [ids, ids[:1]]})[0] == text
        assert "</s>" in http.answer(f"/models/{model}/decode", {"ids": ids, "skip_special_tokens": False})[0]


def test_decode_refuses(http):
    path = "/models/style-ja-gpt2/decode"
    for ids, status in (([10 ** 9], 422), ([-1], 422), ([1.5], 422), (["a"], 422), ("a", 422), ([[1], 2], 422), ([2 ** 40], 422)):
        response = http.post(path, {"ids": ids})
        assert response.status_code == status and response.json()["error_type"] == "Validation", (ids, response.text)
    assert http.answer(path, {"ids": []}) == [""]
