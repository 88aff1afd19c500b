#!/usr/bin/env python3
"""Tiny random models with tokenizers, one per task, and what transformers' own pipelines answer with them.

    python tools/golden/make_e2e_models.py            writes tests/e2e/models/<name>/ and tests/e2e/expected/<name>.json

The end-to-end tests serve these directories and the demo models and compare the HTTP answers with the stored ones.
Weights are random; they are drawn again until no two answers that a test orders are closer than a margin, so that
float32 noise never decides a test. Needs tools/requirements.txt.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import (AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertForSequenceClassification,
                          BertForTokenClassification, BertModel, BertTokenizerFast, LogitsProcessorList, pipeline)

from answers import plain
from make_beams import Disturb, search_keeping_ended

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests/e2e/models"
EXPECTED = ROOT / "tests/e2e/expected"
DEMO = ROOT / "models/demo"
MARGIN = 2e-3

WORDS = ("the a an of in on at to and or is was are were has had it he she they we you who what where when which how president "
         "city country river company bank paris london tokyo kyoto berlin john mary smith anna brown google toyota bought sold lives lived works worked born "
         "visited met ate likes cat dog bird fish food wine bread rain snow sun day year monday march good bad nice terrible happy sad big small red blue green "
         "very not no yes with for from by about this that example sports politics science weather never always answer question long short story house").split()
PIECES = "##s ##ed ##ing ##er ##ly ##ton ##land ##ville ##a ##e ##i ##o ##n ##t ##r".split()
PUNCTUATION = list(".,!?'\"-():;") + ["。", "、", "・", "「", "」"]
KANJI = list("東京都大阪私今日明天気学生会社人国雨雪山川田本語英話食行来見年月火水木金土上下中小新古白黒赤青")
KANA = [chr(c) for c in range(0x3042, 0x3094)] + list("アイカキクスセタチテトナニハマミメモヤラリルレロワンー")
LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789")

TEXTS = ["John Smith lives in Paris.", "Mary works at Google in London, and Anna visited Tokyo on Monday.", "The president of the country was born in Smithville!",
         "東京 and 大阪 are big cities 😀 in this country", "Bérlin  wasn't rainy", "unknownwordhere visited Kyoto"]
LONG = " ".join(["John visited Paris on Monday and Mary bought bread in London .", "The weather was terrible , it rained in Berlin for a very long day .",
                 "Anna Brown works at Toyota in Tokyo and likes fish , wine and 東京 .", "They never met the president of the bank in Kyoto ."])


def vocabulary():
    letters = LETTERS + ["##" + c for c in LETTERS]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(dict.fromkeys(WORDS + PIECES + PUNCTUATION + KANJI + KANA + ["##" + c for c in KANA] + letters))


def tokenizer_at(directory, max_length):
    directory.mkdir(parents=True)
    words = vocabulary()
    (directory / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(str(directory / "vocab.txt"), do_lower_case=True, model_max_length=max_length)
    tokenizer.save_pretrained(directory)
    return tokenizer


def bert(kind, labels, seed, max_positions=64, **more):
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(vocabulary()), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=max_positions,
                        initializer_range=0.5, **({"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}} if labels else {}), **more)
    model = kind(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def apart(scores, margin=MARGIN):
    ordered = sorted(scores, reverse=True)
    return all(a - b > margin * max(a, 0.01) for a, b in zip(ordered, ordered[1:]))


def cases_of(call, requests):
    """[{inputs, parameters, answer}] by calling the pipeline as the request says."""
    return [{"inputs": inputs, "parameters": parameters, "answer": plain(call(inputs, parameters))} for inputs, parameters in requests]


def make_ner(name, seed):
    tokenizer = tokenizer_at(MODELS / name, 32)
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG"]
    model = bert(BertForTokenClassification, labels, seed)
    model.save_pretrained(MODELS / name)
    requests = [(text, {"aggregation_strategy": strategy}) for text in TEXTS for strategy in ("none", "simple", "first", "average", "max")]
    requests += [(TEXTS[1], {"aggregation_strategy": "simple", "ignore_labels": []}), (TEXTS[1], {"aggregation_strategy": "first", "ignore_labels": ["PER", "O"]}),
                 (TEXTS[2], {"aggregation_strategy": "none", "ignore_labels": []})]
    requests += [(LONG, {"aggregation_strategy": strategy, "stride": stride}) for strategy in ("simple", "first", "average", "max") for stride in (0, 6, 12)]
    requests.append((LONG, {"aggregation_strategy": "simple"}))

    def call(text, parameters):
        pipe = pipeline("token-classification", model=model, tokenizer=tokenizer, **parameters)
        return pipe(text)

    for text in TEXTS + [LONG]:
        encoded = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.no_grad():
            top = model(**encoded).logits[0].softmax(-1).sort(-1, descending=True).values
        if float((top[:, 0] - top[:, 1]).min()) < MARGIN:
            return None
    return cases_of(call, requests)


def make_classify(name, seed, labels, problem=None):
    tokenizer = tokenizer_at(MODELS / name, 64)
    model = bert(BertForSequenceClassification, labels, seed, **({"problem_type": problem} if problem else {}))
    model.save_pretrained(MODELS / name)
    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer)
    pair = {"text": TEXTS[0], "text_pair": TEXTS[2]}
    requests = [(text, {}) for text in TEXTS + [LONG]] + [(pair, {}), ([TEXTS[0], TEXTS[1]], {}), (TEXTS[0], {"top_k": 1}), (TEXTS[0], {"top_k": 2})]
    requests += [(TEXTS[1], {"function_to_apply": function}) for function in ("sigmoid", "softmax", "none")] + [(pair, {"function_to_apply": "none", "top_k": 1})]

    def call(inputs, parameters):
        many = inputs if isinstance(inputs, list) else [inputs]
        return [pipe(one, truncation=True, **{"top_k": None, **parameters}) for one in many]

    cases = cases_of(call, requests)
    return cases if all(apart([item["score"] for item in row]) for case in cases for row in case["answer"]) else None


def make_fill(name, seed):
    tokenizer = tokenizer_at(MODELS / name, 64)
    model = bert(BertForMaskedLM, None, seed)
    model.save_pretrained(MODELS / name)
    pipe = pipeline("fill-mask", model=model, tokenizer=tokenizer)
    requests = [("John lives in [MASK].", {}), ("[MASK] works at Google", {"top_k": 2}), ("東[MASK]都 is big", {}), ("The [MASK] visited [MASK] on Monday", {"top_k": 3}),
                ("John lives in [MASK].", {"targets": ["paris", "london", "tokyo"], "top_k": 3}), ("A [MASK] and a [MASK]", {"targets": ["cat", "dog"], "top_k": 2})]
    cases = cases_of(lambda text, parameters: pipe(text, **parameters), requests)
    rows = [row for case in cases for row in (case["answer"] if isinstance(case["answer"][0], list) else [case["answer"]])]
    return cases if all(apart([item["score"] for item in row]) for row in rows) else None


def make_qa(name, seed):
    tokenizer = tokenizer_at(MODELS / name, 128)
    model = bert(BertForQuestionAnswering, None, seed, max_positions=128)
    model.save_pretrained(MODELS / name)
    pipe = pipeline("question-answering", model=model, tokenizer=tokenizer)
    asked = [{"question": "Who lives in Paris?", "context": TEXTS[0]}, {"question": "Where is Mary?", "context": TEXTS[1]}, {"question": "What is big?", "context": TEXTS[3]}]
    requests = [(item, {}) for item in asked + [{"question": "雨?", "context": TEXTS[4]}]] + [(asked[1], {"top_k": 3}), (asked[0], {"top_k": 4, "handle_impossible_answer": True}), (asked[1], {"handle_impossible_answer": True}),
                                               (asked[1], {"max_answer_len": 2}), (asked[1], {"align_to_words": False, "top_k": 3})]
    far = {"question": "Who met the president?", "context": LONG}
    requests += [(far, {}), (far, {"top_k": 5}), (far, {"max_seq_len": 24, "doc_stride": 6}), (far, {"max_seq_len": 32, "doc_stride": 12, "top_k": 3}),
                 (far, {"max_seq_len": 20, "doc_stride": 4, "handle_impossible_answer": True, "top_k": 2})]
    wordy = {"question": LONG, "context": TEXTS[0]}  # more than 64 ids: uncut
    requests.append((wordy, {"max_seq_len": 128, "doc_stride": 16}))
    cases = cases_of(lambda item, parameters: pipe(question=item["question"], context=item["context"], **parameters), requests)
    return cases if all(apart([a["score"] for a in (c["answer"] if isinstance(c["answer"], list) else [c["answer"]])]) for c in cases) else None


def make_zero_shot(name, seed):
    tokenizer = tokenizer_at(MODELS / name, 64)
    model = bert(BertForSequenceClassification, ["contradiction", "neutral", "entailment"], seed)
    model.save_pretrained(MODELS / name)
    pipe = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer)
    labels = ["sports", "politics", "science", "weather"]
    requests = [(TEXTS[2], {"candidate_labels": labels}), (TEXTS[2], {"candidate_labels": labels, "multi_label": True}), (TEXTS[3], {"candidate_labels": "food, wine,bread"}),
                (TEXTS[1], {"candidate_labels": labels, "hypothesis_template": "It is about {} ."}), (TEXTS[1], {"candidate_labels": ["rain"]}), ([TEXTS[0], TEXTS[4]], {"candidate_labels": labels})]
    cases = cases_of(lambda text, parameters: pipe(text, **parameters), requests)
    return cases if all(apart(a["scores"]) for c in cases for a in (c["answer"] if isinstance(c["answer"], list) else [c["answer"]])) else None


def make_rerank(name, seed):
    tokenizer = tokenizer_at(MODELS / name, 64)
    model = bert(BertForSequenceClassification, ["LABEL_0"], seed)
    model.save_pretrained(MODELS / name)
    query = "Who lives in Paris?"
    with torch.no_grad():
        logits = [model(**tokenizer(query, text, return_tensors="pt", truncation=True)).logits[0, 0] for text in TEXTS]
    scores = [float(torch.sigmoid(logit)) for logit in logits]
    return [{"query": query, "texts": TEXTS, "scores": scores, "raw": [float(logit) for logit in logits]}] if apart(scores) else None


def make_embed(name, seed, mode):
    directory = MODELS / name
    tokenizer = tokenizer_at(directory, 64)
    model = bert(BertModel, None, seed)
    model.save_pretrained(directory)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    entries = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(modules)]
    (directory / "modules.json").write_text(json.dumps(entries, indent=2))
    (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 40, "do_lower_case": False}))
    (directory / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": mode == "cls", "pooling_mode_mean_tokens": mode == "mean", "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}
    (directory / "1_Pooling/config.json").write_text(json.dumps(pooling, indent=2))
    (directory / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "question : ", "passage": "answer : "}}))
    cases = []
    for text in TEXTS + [LONG, "question : " + TEXTS[0]]:
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=40)
        with torch.no_grad():
            hidden = model(**encoded).last_hidden_state[0]
        pooled = hidden[0] if mode == "cls" else hidden.mean(0)
        cases.append({"text": text, "ids": encoded["input_ids"][0].tolist(), "pooled": pooled.tolist(), "normalized": torch.nn.functional.normalize(pooled, dim=0).tolist(), "tokens": hidden.tolist()})
    return cases


def greedy(model, tokenizer, prompt, ids, new_tokens):
    out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=new_tokens, do_sample=False, num_beams=1, output_logits=True, return_dict_in_generate=True)
    generated = out.sequences[0, -len(out.logits):].tolist()
    logprobs = [float(row[0].log_softmax(-1)[token]) for row, token in zip(out.logits, generated)]
    margins = [float((lambda top: top[0] - top[1])(row[0].topk(2).values)) for row in out.logits]
    assert min(margins) > 1e-3, f"near tie in {prompt}"
    reason = "eos_token" if generated[-1] == model.generation_config.eos_token_id else "length"
    return {"inputs": prompt, "max_new_tokens": new_tokens, "input_length": len(ids), "ids": generated, "logprobs": logprobs, "finish_reason": reason,
            "text": tokenizer.decode(generated, skip_special_tokens=True)}


SENTENCES = ["私は学生です。", "昨日映画を見ました。", "彼女は歌が上手ではありませんでした。", "明日は雨が降るでしょう。", "これはペンです。あれは本です。", "東京に行きます。"]


def make_generation():
    out = {}
    tokenizer, model = AutoTokenizer.from_pretrained(DEMO / "style-ja-gpt2"), AutoModelForCausalLM.from_pretrained(DEMO / "style-ja-gpt2", dtype=torch.float32).eval()
    prompts = [(s + "::", 64) for s in SENTENCES] + [(SENTENCES[0] + "::", 3)]
    out["style-ja-gpt2"] = [greedy(model, tokenizer, p, tokenizer(p, add_special_tokens=False).input_ids, n) for p, n in prompts]
    tokenizer, model = AutoTokenizer.from_pretrained(DEMO / "style-ja-t5"), AutoModelForSeq2SeqLM.from_pretrained(DEMO / "style-ja-t5", dtype=torch.float32).eval()
    out["style-ja-t5"] = [greedy(model, tokenizer, p, tokenizer(p).input_ids, n) for p, n in [(s, 64) for s in SENTENCES] + [(SENTENCES[0], 3)]]
    for task, field in (("summarization", "summary_text"), ("translation", "translation_text"), ("text2text-generation", "generated_text")):
        pipe = pipeline(task, model=model, tokenizer=tokenizer)
        out["style-ja-t5-" + task] = [{"inputs": s, "answer": pipe(s, num_beams=1, do_sample=False)[0][field]} for s in SENTENCES]
    return out


BEAMS = [{"num_beams": 4}, {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 2.0, "early_stopping": True},
         {"num_beams": 2, "no_repeat_ngram_size": 2, "early_stopping": "never", "num_return_sequences": 2}, {"num_beams": 5, "repetition_penalty": 1.2, "min_new_tokens": 6}]


def searched(model, tokenizer, prompt, ids, settings, new_tokens=48, **more):
    """Hypotheses of beam search, best first, or None where slightly disturbed scores choose others."""
    def run(seed):
        extra = {} if seed is None else {"logits_processor": LogitsProcessorList([Disturb(seed)])}
        return model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=new_tokens, do_sample=False,
                              output_scores=True, return_dict_in_generate=True, **settings, **more, **extra)
    out = run(None)
    if any(out.sequences.tolist() != run(seed).sequences.tolist() for seed in range(3)):
        return None
    before = 1 if model.config.is_encoder_decoder else len(ids)
    texts = []
    for row in range(out.sequences.shape[0]):
        length = int((out.beam_indices[row] >= 0).sum())
        generated = out.sequences[row, before:before + length].tolist()
        logprobs = [float(out.scores[i][beam, token]) for i, (beam, token) in enumerate(zip(out.beam_indices[row].tolist(), generated))]
        prefix = [] if model.config.is_encoder_decoder else ids  # a text goes on where the prompt ends: its first space counts
        whole, known = (tokenizer.decode(part, skip_special_tokens=True) for part in (prefix + generated, prefix))
        texts.append({"text": whole[len(known):], "ids": generated, "logprobs": logprobs})
    return {"inputs": prompt, "parameters": settings | {"max_new_tokens": new_tokens}, "texts": texts}


def make_beams():
    out = {}
    for name, kind, end in (("style-ja-gpt2", AutoModelForCausalLM, "::"), ("style-ja-t5", AutoModelForSeq2SeqLM, "")):
        tokenizer, model = AutoTokenizer.from_pretrained(DEMO / name), kind.from_pretrained(DEMO / name, dtype=torch.float32).eval()
        special = {"add_special_tokens": False} if end else {}
        cases = [searched(model, tokenizer, s + end, tokenizer(s + end, **special).input_ids, settings) for s in SENTENCES for settings in BEAMS]
        out[f"{name}-beams"] = [case for case in cases if case]
        assert len(out[f"{name}-beams"]) > len(cases) // 2
    return out | {"style-ja-t5-pipelines": make_pipelines()}


def make_pipelines():
    """A directory whose own settings ask for beams, through the pipelines that read them."""
    generation = {"num_beams": 4, "length_penalty": 1.5}
    tasks = {"summarization": {"num_beams": 3, "early_stopping": True, "min_length": 14, "max_length": 200, "prefix": ""}}
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        directory = shutil.copytree(DEMO / "style-ja-t5", Path(folder) / "model")
        for file, change in (("generation_config.json", generation), ("config.json", {"task_specific_params": tasks})):
            (directory / file).write_text(json.dumps(json.loads((directory / file).read_text()) | change))
        for task, field in (("text2text-generation", "generated_text"), ("summarization", "summary_text")):
            pipe = pipeline(task, model=str(directory), dtype=torch.float32)
            answers += [{"task": task, "inputs": s, "answer": pipe(s)[0][field]} for s in SENTENCES]
    return {"generation_config": generation, "task_specific_params": tasks, "answers": answers}


def make_fastertransformer():
    """What FasterTransformer's tensors are to bring back: word lists, and beams as that program ends them."""
    out = {}
    for name, kind, end, search in (("style-ja-gpt2", AutoModelForCausalLM, "::", {}),
                                    ("style-ja-t5", AutoModelForSeq2SeqLM, "", {"length_penalty": 1.5, "early_stopping": True})):
        tokenizer, model = AutoTokenizer.from_pretrained(DEMO / name), kind.from_pretrained(DEMO / name, dtype=torch.float32).eval()
        special = {"add_special_tokens": False} if end else {}
        cases = []
        for sentence in SENTENCES:
            ids = tokenizer(sentence + end, **special).input_ids
            plain = searched(model, tokenizer, sentence + end, ids, {"num_beams": 2})["texts"][0]["ids"]
            banned = [plain[1:3], [plain[-2]]]
            words = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=48, do_sample=False, bad_words_ids=banned)[0].tolist()
            if end:  # the original's GPT has a rule of its own
                beams = [{"texts": search_keeping_ended(model, ids, k, model.generation_config.eos_token_id, 48)} for k in (2, 4)]
            else:
                beams = [searched(model, tokenizer, sentence, ids, {"num_beams": k, "num_return_sequences": k} | search) for k in (2, 4)]
            assert all(beams)
            cases.append({"inputs": sentence + end, "ids": ids, "bad_words": banned, "without_bad_words": words[1 if model.config.is_encoder_decoder else len(ids):],
                          "beams": [[{"ids": text["ids"], "logprobs": text["logprobs"]} for text in found["texts"]] for found in beams]})
        out[f"{name}-fastertransformer"] = cases
    return out


def make_demo_ner():
    pipe = pipeline("token-classification", model=str(DEMO / "ner-ja"), dtype=torch.float32)
    sentences = ["ジョー・バイデンはアメリカの大統領です。", "田中さんは昨日東京でトヨタの社長に会いました。", "2020年3月に京都大学を卒業した。"]
    requests = [(s, {"aggregation_strategy": strategy}) for s in sentences for strategy in ("none", "simple")]
    return cases_of(lambda text, parameters: pipe(text, **parameters), requests)


def draw(name, make):
    for seed in range(100):
        shutil.rmtree(MODELS / name, ignore_errors=True)
        cases = make(seed)
        if cases is not None:
            return cases
    raise SystemExit(f"{name}: no seed gives answers far enough apart")


def main():
    transformers.logging.set_verbosity_error()
    shutil.rmtree(EXPECTED, ignore_errors=True)
    EXPECTED.mkdir(parents=True)
    makers = {
        "ner-en": lambda seed: make_ner("ner-en", seed),
        "classify": lambda seed: make_classify("classify", seed, ["positive", "negative", "neutral"]),
        "classify-multi": lambda seed: make_classify("classify-multi", seed, ["red", "green", "blue"], "multi_label_classification"),
        "fill": lambda seed: make_fill("fill", seed),
        "qa": lambda seed: make_qa("qa", seed),
        "nli": lambda seed: make_zero_shot("nli", seed),
        "rerank": lambda seed: make_rerank("rerank", seed),
        "embed-mean": lambda seed: make_embed("embed-mean", seed, "mean"),
        "embed-cls": lambda seed: make_embed("embed-cls", seed, "cls"),
    }
    results = {name: draw(name, make) for name, make in makers.items()}
    results.update(make_generation())
    results.update(make_beams() | make_fastertransformer())
    results["ner-ja"] = make_demo_ner()
    for name, cases in results.items():
        (EXPECTED / f"{name}.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {len(cases)} cases")


if __name__ == "__main__":
    main()
