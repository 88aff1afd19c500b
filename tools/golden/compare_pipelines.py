#!/usr/bin/env python3
"""Models nobody has seen before: random configurations, random weights, freshly trained tokenizers, served by the real program and
asked the same as transformers' own pipelines and generate(), live.

    python tools/golden/compare_pipelines.py --inazuma build/release/bin/inazuma --seeds 0:40

Each seed draws one directory per family (BERT heads, GPT-2, T5), saves it as transformers does, in a random format and dtype, and
serves all of them by one server. Where fp32 noise could decide (two candidates closer than a margin) a comparison is left out and
counted. Ends with a summary; 1 when anything differed. Needs tools/requirements.txt.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import requests  # noqa: E402
import sentencepiece  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import (AutoTokenizer, BertConfig, BertTokenizer, BertTokenizerFast, GPT2Config, GPT2Tokenizer, GPT2TokenizerFast, MT5Config,  # noqa: E402
                          PreTrainedTokenizerFast, T5Config, T5Tokenizer, T5TokenizerFast, pipeline)

from answers import plain  # noqa: E402

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
torch.set_num_threads(1)

MARGIN = 2e-3  # logits; hundreds of times the error of fp32 in these small models
ROOT = Path(__file__).resolve().parents[2]


def sentences():
    """Text to train tokenizers on and to ask about: the project's own prose in two languages, and rough input."""
    lines = []
    for path in [ROOT / "README.md", ROOT / "README.ja.md", *sorted((ROOT / "docs").glob("*.md"))]:
        lines += [line.strip() for line in path.read_text().splitlines() if len(line.strip()) > 8]
    return lines


ROUGH = ["", " ", "😀👨‍👩‍👧‍👦", "ｶﾀｶﾅ ﾊﾝｶｸ", "Ｆｕｌｌ　ｗｉｄｔｈ １２３", "a" * 130, "e\u0301 é ﬁ ①", "tab\tand\nnewline\r\n", "\u200bzero\u200dwidth\ufeff", "ジョー・バイデンはアメリカの大統領です。",
         "naïve café — “quotes” … 'it's'", "مرحبا بالعالم", "🇯🇵🇺🇸 flags", "Hello, World!!! 3.14 $5", "日本語とEnglishが混ざる文。", "\x00nul\x01", "<s></s>[MASK][SEP]"]


class Draw:
    """Everything random of one seed."""

    def __init__(self, seed, corpus):
        self.random = random.Random(seed)
        self.corpus = corpus
        torch.manual_seed(seed)

    def one(self, *choices):
        return self.random.choice(choices)

    def texts(self, count):
        out = []
        for _ in range(count):
            text = self.random.choice(self.corpus)
            begin = self.random.randrange(0, max(1, len(text) - 10))
            text = text[begin : begin + self.random.randrange(4, 60)]
            out.append(self.random.choice(ROUGH) + text if self.random.random() < 0.3 else text)
        return out


def spread(model, draw):
    """Weights wide enough that answers vary."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=draw.one(0.15, 0.3) if "embed" not in name and "wte" not in name else 0.8)
            elif name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.3)
            else:
                torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
    return model.eval()


def save(model, folder, draw):
    """As people have them: either format, sharded or not, three dtypes. Returns what is loaded back, in fp32."""
    dtype = draw.one(torch.float32, torch.float32, torch.float16, torch.bfloat16)
    model.to(dtype).save_pretrained(folder, safe_serialization=draw.one(True, True, False), max_shard_size=draw.one("1GB", "200KB"))
    return type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def named(folder, kind):
    """save_pretrained writes the slow class's name for both; here the class that is named is the one that is meant."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": kind.__name__}))


# Tokenizers. ----------------------------------------------------------------------------------------------------------


def wordpiece(folder, draw):
    lower = draw.one(True, False)
    strip = draw.one(None, True, False)
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer(lowercase=lower)
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained.train_from_iterator(draw.random.sample(draw.corpus, 400), trainers.WordPieceTrainer(vocab_size=draw.one(500, 1500, 3000), special_tokens=specials, show_progress=False))
    words = [word for word, _ in sorted(trained.get_vocab().items(), key=lambda item: item[1])]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    kind = draw.one(BertTokenizer, BertTokenizerFast, BertTokenizerFast)
    tokenizer = kind(str(folder / "vocab.txt"), do_lower_case=lower, strip_accents=strip, tokenize_chinese_chars=draw.one(True, False), model_max_length=draw.one(40, 64, 10**30))
    tokenizer.save_pretrained(folder)
    named(folder, kind)
    return kind.from_pretrained(folder)


def byte_level(folder, draw):
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(draw.random.sample(draw.corpus, 400), trainers.BpeTrainer(vocab_size=draw.one(400, 1000, 2000), special_tokens=["<|endoftext|>"],
                                                                                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    folder.mkdir(parents=True, exist_ok=True)
    trained.model.save(str(folder))
    fast = draw.one(True, False)
    kind = GPT2TokenizerFast if fast else GPT2Tokenizer
    tokenizer = kind(str(folder / "vocab.json"), str(folder / "merges.txt"), add_prefix_space=draw.one(False, False, True), model_max_length=64)
    tokenizer.save_pretrained(folder)
    named(folder, kind)
    if fast and draw.one(True, False):
        for name in ("vocab.json", "merges.txt"):
            (folder / name).unlink()  # tokenizer.json alone
    return kind.from_pretrained(folder)


def pieces(folder, draw, extra):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text"
        text.write_text("\n".join(draw.random.sample(draw.corpus, 400)) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=f"{scratch}/spiece", vocab_size=draw.one(900, 1200), model_type=draw.one("unigram", "unigram", "bpe"), character_coverage=draw.one(1.0, 0.98),
            byte_fallback=draw.one(True, False), pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name=draw.one("nmt_nfkc", "nmt_nfkc_cf", "identity"),
            add_dummy_prefix=draw.one(True, True, False), remove_extra_whitespaces=draw.one(True, True, False), hard_vocab_limit=False, minloglevel=2)
        shutil.copy(f"{scratch}/spiece.model", folder / "spiece.model")
    fast = draw.one(True, False)
    kind = T5TokenizerFast if fast else T5Tokenizer
    settings = {} if fast else {"legacy": draw.one(True, False)}
    tokenizer = kind(str(folder / "spiece.model"), extra_ids=extra, **settings)
    tokenizer.save_pretrained(folder)
    named(folder, kind)
    return kind.from_pretrained(folder)


def whole_file(folder, draw):
    """A tokenizer.json of parts that are put together at random."""
    kind = draw.one("bpe", "unigram")
    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    if kind == "bpe":
        trained, trainer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False)), trainers.BpeTrainer(vocab_size=1200, special_tokens=specials, show_progress=False)
    else:
        trained, trainer = Tokenizer(models.Unigram()), trainers.UnigramTrainer(vocab_size=1200, special_tokens=specials, unk_token="<unk>", show_progress=False)
    steps = draw.random.sample([normalizers.NFKC(), normalizers.Lowercase(), normalizers.StripAccents(), normalizers.NFD(), normalizers.Strip(), normalizers.Replace("、", ",")], draw.one(0, 1, 2, 3))
    if steps:
        trained.normalizer = normalizers.Sequence(steps)
    if draw.one(True, False):
        trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=draw.one("always", "never", "first"))
        trained.decoder = decoders.Metaspace(prepend_scheme="always")
    else:
        trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=draw.one(True, False)), pre_tokenizers.ByteLevel(add_prefix_space=draw.one(True, False))])
        trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(draw.random.sample(draw.corpus, 400), trainer)
    if draw.one(True, False):
        trained.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", trained.token_to_id("</s>"))])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64)
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


# Answers. -------------------------------------------------------------------------------------------------------------


class Differs(Exception):
    pass


class CloseCall(Exception):
    """fp32 noise could decide this comparison."""


def same(ours, theirs, where, tolerance=2e-4):
    if isinstance(theirs, dict):
        if not isinstance(ours, dict):
            raise Differs(f"{where}: {ours!r} instead of {theirs!r}")
        for key in theirs:
            same(ours.get(key), theirs[key], f"{where}.{key}", tolerance)
    elif isinstance(theirs, list):
        if not isinstance(ours, list) or len(ours) != len(theirs):
            raise Differs(f"{where}: {ours!r} instead of {theirs!r}")
        for i, (a, b) in enumerate(zip(ours, theirs)):
            same(a, b, f"{where}[{i}]", tolerance)
    elif isinstance(theirs, float):
        if not isinstance(ours, (int, float)) or abs(ours - theirs) > tolerance * max(1.0, abs(theirs)):
            raise Differs(f"{where}: {ours!r} instead of {theirs!r}")
    elif ours != theirs:
        raise Differs(f"{where}: {ours!r} instead of {theirs!r}")


def apart(scores):
    ordered = sorted(scores, reverse=True)
    if any(a - b < MARGIN * max(a, 1e-2) for a, b in zip(ordered, ordered[1:])):
        raise CloseCall()


def decided(logits):
    top = logits.topk(2, dim=-1).values
    if float((top[..., 0] - top[..., 1]).min()) < MARGIN:
        raise CloseCall()


class Server:
    def __init__(self, binary, folders):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("INAZUMA_")}
        self.log = tempfile.NamedTemporaryFile(mode="r", suffix=".log")
        self.process = subprocess.Popen([binary, "serve", *map(str, folders), "--port", "0", "--no-progress"], stdout=subprocess.DEVNULL, stderr=open(self.log.name, "w"), stdin=subprocess.DEVNULL, env=environment)
        until = time.monotonic() + 120
        while True:
            found = re.search(r"Listening on https?://\S+?:(\d+) ", Path(self.log.name).read_text())
            if found:
                break
            if self.process.poll() is not None or time.monotonic() > until:
                self.process.kill()
                raise RuntimeError(Path(self.log.name).read_text())
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{found.group(1)}"
        self.session = requests.Session()

    def ask(self, path, body):
        response = self.session.post(self.url + path, data=json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"), timeout=120)
        if response.status_code != 200:
            raise Differs(f"{path}: {response.status_code} {response.text[:300]}")
        return response.json()

    def stop(self):
        self.process.terminate()
        if self.process.wait(60) != 0:
            raise RuntimeError(Path(self.log.name).read_text()[-2000:])


class Tally:
    def __init__(self):
        self.same, self.close, self.different = 0, 0, []

    def compare(self, name, work):
        try:
            work()
            self.same += 1
        except CloseCall:
            self.close += 1
        except Differs as difference:
            self.different.append(f"{name}: {difference}")
            print(f"DIFFERS {name}: {difference}"[:1200], flush=True)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the reference itself refuses some of these texts; a panic of the tokenizers is no Exception
            self.close += 1
            print(f"reference: {name}: {type(error).__name__}: {error}"[:300], flush=True)


# Families. ------------------------------------------------------------------------------------------------------------


def bert_config(draw, tokenizer, **more):
    heads = draw.one(1, 2, 3, 4)
    return BertConfig(vocab_size=len(tokenizer) + draw.one(0, 3), hidden_size=heads * draw.one(4, 6, 8, 16), num_hidden_layers=draw.one(1, 2, 3), num_attention_heads=heads, intermediate_size=draw.one(17, 32, 64),
                      max_position_embeddings=draw.one(64, 80), type_vocab_size=2, hidden_act=draw.one("gelu", "gelu_new", "relu", "silu"), layer_norm_eps=draw.one(1e-12, 1e-5), **more)


def make_bert(folder, draw):
    tokenizer = wordpiece(folder, draw)
    head = draw.one("ner", "classify", "fill", "qa")
    if head == "ner":
        labels = draw.one(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], ["LABEL_0", "LABEL_1", "LABEL_2"], ["B-人", "I-人", "O", "E-人", "S-人"])
        model = transformers.BertForTokenClassification(bert_config(draw, tokenizer, id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)}))
    elif head == "classify":
        model = transformers.BertForSequenceClassification(bert_config(draw, tokenizer, num_labels=draw.one(1, 2, 3, 7), problem_type=draw.one(None, "multi_label_classification", "single_label_classification")))
    elif head == "fill":
        model = transformers.BertForMaskedLM(bert_config(draw, tokenizer))
    else:
        model = transformers.BertForQuestionAnswering(bert_config(draw, tokenizer))
    model = save(spread(model, draw), folder, draw)
    task = {"ner": "token-classification", "classify": "text-classification", "fill": "fill-mask", "qa": "question-answering"}[head]
    pipe = None if head == "qa" and not tokenizer.is_fast else pipeline(task, model=model, tokenizer=tokenizer)

    def logits(text):
        with torch.no_grad():
            return model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=min(model.config.max_position_embeddings, tokenizer.model_max_length))).logits

    def requests_of():
        for text in draw.texts(6) + draw.random.sample(ROUGH, 3):
            if head == "ner":
                strategy = draw.one("none", "simple", "first", "average", "max") if tokenizer.is_fast else draw.one("none", "simple")
                yield text, {"aggregation_strategy": strategy}
            elif head == "classify":
                yield text, draw.one({}, {"top_k": 1}, {"function_to_apply": "sigmoid"})
            elif head == "fill":
                words = text.split() or [""]
                words[draw.random.randrange(len(words))] = "[MASK]"
                yield " ".join(words), {"top_k": draw.one(1, 3)}
            elif pipe:
                yield {"question": text.strip() or "?", "context": " ".join(draw.texts(2))}, {"top_k": draw.one(1, 2)}

    def check(ask, inputs, parameters):
        if head == "ner":
            decided(logits(inputs))
            if tokenizer.model_max_length > model.config.max_position_embeddings and len(tokenizer(inputs).input_ids) > model.config.max_position_embeddings:
                raise CloseCall()  # the pipeline does not cut here
            theirs = pipeline(task, model=model, tokenizer=tokenizer, **parameters)(inputs)
            theirs = [{k: v for k, v in plain(item).items() if v is not None} for item in theirs]
            if parameters["aggregation_strategy"] != "none" or not tokenizer.is_fast:  # ours is a piece of the text as it was sent (docs/TASK_API.md)
                theirs = [{k: v for k, v in item.items() if k != "word"} for item in theirs]
        elif head == "classify":
            theirs = [plain(pipe(inputs, truncation=True, **{"top_k": None} | parameters))]
            apart([item["score"] for item in theirs[0]])
            if min(tokenizer.model_max_length, 10**9) > model.config.max_position_embeddings and len(tokenizer(inputs).input_ids) > model.config.max_position_embeddings:
                raise CloseCall()
        elif head == "fill":
            wide = pipe(inputs, top_k=parameters["top_k"] + 1)
            for row in wide if isinstance(wide[0], list) else [wide]:
                apart([item["score"] for item in row])
            theirs = plain(pipe(inputs, **parameters))
        else:
            theirs = plain(pipe(question=inputs["question"], context=inputs["context"], **parameters))
            more = pipe(question=inputs["question"], context=inputs["context"], top_k=parameters["top_k"] + 2)
            apart([item["score"] for item in more])
            if any(not item["answer"] for item in more):
                raise CloseCall()
        same(ask({"inputs": inputs, "parameters": parameters}), theirs, "")

    return f"{head} {type(tokenizer).__name__}", requests_of, check


def generation_requests(draw, encoder_decoder):
    settings = {"max_new_tokens": draw.one(1, 8, 20)}
    if draw.one(True, False):
        settings |= draw.one({"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 2}, {"min_new_tokens": settings["max_new_tokens"] // 2}, {"repetition_penalty": 0.8, "no_repeat_ngram_size": 3})
    if draw.random.random() < BEAMS:
        settings |= {"num_beams": draw.one(2, 3, 5)} | draw.one({}, {"length_penalty": 0.5}, {"length_penalty": 2.0}, {"early_stopping": True})
    return settings


BEAMS = 0.0


def cached(model):
    """4.57 sizes the cache of an encoder-decoder by its encoder and fails on deeper decoders."""
    return getattr(model.config, "num_decoder_layers", None) is None or model.config.num_decoder_layers <= model.config.num_layers


def generate(model, tokenizer, ids, settings):
    """generate() itself, and how far apart its choices were."""
    inputs = torch.tensor([ids])
    out = model.generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False, output_scores=True, return_dict_in_generate=True, use_cache=cached(model), **settings)
    if settings.get("num_beams", 1) == 1:
        for step in out.scores:
            decided(step)
    else:
        again = model.double().generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False, use_cache=cached(model), **settings)
        model.float()
        if again.tolist() != out.sequences.tolist():
            raise CloseCall()
    return out.sequences[0].tolist()


def finish(model, tokenizer, folder, draw):
    """What trainers leave in generation_config.json, and what becomes of ids that no token has."""
    eos = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 1
    model.generation_config.eos_token_id = draw.one(eos, [eos, 5])
    model.generation_config.pad_token_id = 0
    return model


def make_gpt2(folder, draw):
    tokenizer = draw.one(byte_level, byte_level, whole_file, lambda f, d: pieces(f, d, 0))(folder, draw)
    heads = draw.one(1, 2, 4)
    config = GPT2Config(vocab_size=len(tokenizer) + draw.one(0, 0, 5), n_positions=96, n_embd=heads * draw.one(4, 8, 16), n_layer=draw.one(1, 2, 3), n_head=heads, n_inner=draw.one(None, 24, 40),
                        activation_function=draw.one("gelu_new", "gelu", "relu", "silu"), scale_attn_weights=draw.one(True, True, False), scale_attn_by_inverse_layer_idx=draw.one(False, True),
                        reorder_and_upcast_attn=draw.one(False, True), layer_norm_epsilon=draw.one(1e-5, 1e-6), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
    model = finish(spread(transformers.GPT2LMHeadModel(config), draw), tokenizer, folder, draw)
    model = save(model, folder, draw)

    def requests_of():
        for text in draw.texts(5) + draw.random.sample(ROUGH, 2):
            yield text, generation_requests(draw, False)

    def check(ask, text, settings):
        # Prompts of causal models get no end token, whatever the tokenizer would append.
        ids = tokenizer(text, add_special_tokens=False).input_ids
        if not ids or len(ids) + settings["max_new_tokens"] > 96:
            raise CloseCall()
        tokens = generate(model, tokenizer, ids, settings)[len(ids) :]
        # As the text-generation pipeline cuts the prompt off.
        theirs = tokenizer.decode(ids + tokens, skip_special_tokens=True)[len(tokenizer.decode(ids, skip_special_tokens=True)) :]
        answer = ask({"inputs": text, "parameters": settings | {"details": True}, "path": "/generate"})
        beams = settings.get("num_beams", 1) > 1
        if not beams:
            same([token["id"] for token in answer["details"]["tokens"]], tokens, "tokens")
        same(ask({"inputs": text, "parameters": settings})[0]["generated_text"], theirs, "text")

    return f"gpt2 {type(tokenizer).__name__}", requests_of, check


def make_t5(folder, draw):
    tokenizer = pieces(folder, draw, draw.one(0, 10, 100))
    heads = draw.one(1, 2, 3)
    kind = draw.one(T5Config, T5Config, MT5Config)
    config = kind(vocab_size=len(tokenizer) + draw.one(0, 4, 28), d_model=draw.one(16, 24, 32), d_kv=draw.one(4, 8, 12), d_ff=draw.one(20, 48), num_layers=draw.one(1, 2, 3), num_decoder_layers=draw.one(1, 2), num_heads=heads,
                  relative_attention_num_buckets=draw.one(8, 32), relative_attention_max_distance=draw.one(40, 128), feed_forward_proj=draw.one("relu", "gated-gelu", "gated-silu", "gelu"),
                  tie_word_embeddings=draw.one(True, False), decoder_start_token_id=draw.one(0, 0, 3), pad_token_id=0, eos_token_id=1)
    model = transformers.MT5ForConditionalGeneration(config) if kind is MT5Config else transformers.T5ForConditionalGeneration(config)
    model = save(finish(spread(model, draw), tokenizer, folder, draw), folder, draw)

    def requests_of():
        for text in draw.texts(5) + draw.random.sample(ROUGH, 2):
            yield text, generation_requests(draw, True)

    def check(ask, text, settings):
        ids = tokenizer(text).input_ids
        if len(ids) > min(tokenizer.model_max_length, 10**6):
            raise CloseCall()
        tokens = generate(model, tokenizer, ids, settings)[1:]
        theirs = tokenizer.decode(tokens, skip_special_tokens=True)
        if settings.get("num_beams", 1) == 1:
            answer = ask({"inputs": text, "parameters": settings | {"details": True}, "path": "/generate"})
            same([token["id"] for token in answer["details"]["tokens"]], tokens, "tokens")
        same(ask({"inputs": text, "parameters": settings})[0]["generated_text"], theirs, "text")

    return f"{config.model_type} {type(tokenizer).__name__}", requests_of, check


def run_seed(seed, corpus, binary, tally, keep):
    folder = Path(tempfile.mkdtemp(prefix=f"inazuma-{seed}-"))
    made = []
    for index, family in enumerate((make_bert, make_bert, make_gpt2, make_t5)):
        draw = Draw(seed * 10 + index, corpus)
        name = f"{family.__name__[5:]}-{index}"
        made.append((name, family(folder / name, draw)))
    try:
        server = Server(binary, [folder / name for name, _ in made])
    except RuntimeError as error:
        tally.different.append(f"{folder}: does not start: {error}")
        print(tally.different[-1][:2000], flush=True)
        return
    before = len(tally.different)
    try:
        for name, (label, requests_of, check) in made:
            for inputs, parameters in requests_of():
                tally.compare(f"{folder}/{name} ({label}) {inputs!r} {parameters}", lambda: check(lambda body: server.ask(f"/models/{name}" + body.pop("path", ""), body), inputs, parameters))
    finally:
        server.stop()
    if len(tally.different) == before and not keep:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inazuma", required=True)
    parser.add_argument("--seeds", default="0:20", help="FIRST:LAST, the last excluded")
    parser.add_argument("--beams", type=float, default=0.3, help="share of generations by beam search")
    parser.add_argument("--keep", action="store_true", help="keep the directories (those with a difference are always kept)")
    arguments = parser.parse_args()
    global BEAMS
    BEAMS = arguments.beams
    corpus, tally, begin = sentences(), Tally(), time.monotonic()
    first, last = map(int, arguments.seeds.split(":"))
    for seed in range(first, last):
        run_seed(seed, corpus, arguments.inazuma, tally, arguments.keep)
        print(f"seed {seed}: {tally.same} the same, {tally.close} left out, {len(tally.different)} different, {time.monotonic() - begin:.0f} s", flush=True)
    if tally.same == 0:
        sys.exit("nothing was compared")
    sys.exit(1 if tally.different else 0)


if __name__ == "__main__":
    main()
