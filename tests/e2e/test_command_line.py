"""The program at the command line: answers, help, and a table of what can be wrong with a model directory."""

import json
import os
import resource
import shutil
import socket
import struct

import pytest

from server import DEMO, TINY, run

TEXT = "ジョー・バイデンはアメリカの大統領です。"
SPANS = [[{"start": 0, "end": 8, "text": "ジョー・バイデン", "type": "PERSON"}, {"start": 9, "end": 13, "text": "アメリカ", "type": "GPE"}]]
USAGE, NOT_LOADED, PORT, NO_MEMORY = 2, 3, 4, 5


def test_run_text():
    done = run("run", DEMO / "ner-ja", TEXT, "--parameters", '{"format":"spans"}')
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout) == SPANS and TEXT[:8] in done.stdout
    done = run("run", DEMO / "style-ja-gpt2", "私は学生です。::")
    assert done.returncode == 0 and json.loads(done.stdout) == [{"generated_text": "私は学生だ。"}]


def test_run_lines():
    lines = ["私は学生です。", "昨日映画を見ました。\r", "😀", "ｶﾞｷﾞ"]
    done = run("run", DEMO / "style-ja-t5", stdin="\n".join(lines) + "\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(answers) == 4 and answers[:2] == [[{"generated_text": "私は学生だ。"}], [{"generated_text": "昨日映画を見た。"}]]


def test_run_json_lines():
    """A bad line is answered with its error; the others are answered; the exit code tells."""
    lines = [json.dumps({"inputs": TEXT, "parameters": {"format": "spans"}}, ensure_ascii=False), "{", '{"inputs":"a","parameters":{"formt":"spans"}}', json.dumps({"inputs": [TEXT, ""], "parameters": {"format": "spans"}})]
    done = run("run", DEMO / "ner-ja", "--json", stdin="\n".join(lines) + "\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and len(answers) == 4
    assert answers[0] == SPANS and answers[1]["error_type"] == "invalid_json" and "'format'" in answers[2]["error"] and answers[3] == [SPANS[0], []]


def test_inspect():
    done = run("inspect", DEMO / "ner-ja")
    assert done.returncode == 0 and "BertForTokenClassification" in done.stdout and "none: this directory can be served" in done.stdout
    facts = json.loads(run("inspect", TINY / "qa", "--json").stdout)
    assert facts["loadable"] is True and facts["task"] == "question-answering" and facts["problems"] == [] and facts["missing"] == []
    assert {"qa_outputs.weight", "qa_outputs.bias"} <= {tensor["name"] for tensor in facts["tensors"]}


def test_check(server):
    assert run("check", server.url).returncode == 0
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = run("check", f"http://127.0.0.1:{unused.getsockname()[1]}", "--timeout", 2)
    assert done.returncode == 1 and "no answer" in done.stderr
    assert run("check", "ftp://x").returncode == USAGE


def test_too_little_memory():
    """Address space for the program, not for the model's weights."""
    done = run("run", DEMO / "style-ja-gpt2", "私は学生です。::", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (160 << 20, 160 << 20)))
    assert done.returncode == NO_MEMORY and "cannot allocate" in done.stderr and "style-ja-gpt2" in done.stderr and "free memory" in done.stderr


def test_version_and_help():
    assert run("version").stdout.startswith("inazuma 0.") and run("--version").returncode == 0
    assert all(name in run("--help").stdout for name in ("serve", "run", "inspect", "check", "version"))
    for command in ("run", "inspect", "check", "version"):
        done = run(command, "--help")
        assert done.returncode == 0 and len(done.stdout.splitlines()) <= 40, command
    groups = run("serve", "--help").stdout.split("\n[Option Group: ")
    assert len(groups) == 7 and all(len(group.splitlines()) <= 45 for group in groups), [len(group.splitlines()) for group in groups]


@pytest.mark.parametrize("arguments,named", [
    (["serve", "x", "--prot", "1"], "--port"), (["serve", "x", "--api-kye", "k"], "--api-key"), (["serve", "x", "--max-body-sise=5"], "--max-body-size"), (["run", "x", "--parameter", "{}"], "--parameters"), (["inspect", "x", "--jsn"], "--json"),
    (["srve", "x"], "serve"), ([], ""), (["serve"], "DIR"), (["serve", "x", "--port", "99999"], "port"), (["serve", "x", "--port", "abc"], "port"), (["serve", "x", "--host", "nowhere.example"], "--host"),
    (["serve", "x", "--task", "dancing"], "dancing"), (["serve", "x", "--device", "tpu"], "tpu"), (["serve", "x", "--dtype", "int3"], "int3"), (["serve", "x", "--threads", "-1"], "threads"), (["serve", "x", "--log-level", "loud"], "log-level"),
    (["serve", "x", "--pooling", "deep"], "deep"), (["serve", "x", "--mecab-dic", "nopath"], "--mecab-dic"), (["serve", "x", "--api-key-file", "/nonexistent/keys"], "--api-key-file"), (["serve", "a=x", "a=y"], "a"),
    (["run", "x", "--task", "dancing"], "dancing"), (["inspect", "x", "--task", "dancing"], "dancing")], ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_usage_errors(arguments, named):
    done = run(*arguments, *(["--port", "0"] if arguments[:1] == ["serve"] and "--port" not in arguments and "--prot" not in arguments else []))
    assert done.returncode == USAGE and done.stdout == "", (done.returncode, done.stderr)
    assert named in done.stderr and done.stderr.startswith("inazuma: ") and len(done.stderr) < 700, done.stderr


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    """Named, it is an error that says what to do; left to the program, the CPU computes."""
    model, text = DEMO / "style-ja-gpt2", "私は学生です。::"
    for arguments in (["run", model, text], ["serve", model, "--port", "0"]):
        done = run(*arguments, "--device", "cuda:0")
        assert done.returncode == NOT_LOADED and done.stdout == "", (done.returncode, done.stdout)
        assert "style-ja-gpt2" in done.stderr and "cpu" in done.stderr.lower(), done.stderr
    done = run("run", model, text, "--device", "auto")
    assert done.returncode == 0 and json.loads(done.stdout) == [{"generated_text": "私は学生だ。"}], done.stderr


def test_port_in_use():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = run("serve", TINY / "qa", "--port", port)
    assert done.returncode == PORT and str(port) in done.stderr and "--port" in done.stderr


def edit_json(file, **changes):
    value = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))


def edit_header(file, change):
    """Rewrites the header of a safetensors file by `change(header)`."""
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])


def transpose(header):
    header["qa_outputs.weight"]["shape"].reverse()


def overlap(header):
    names = [name for name in header if name != "__metadata__"]
    first, second = sorted(names, key=lambda name: header[name]["data_offsets"])[:2]
    header[second]["data_offsets"] = header[first]["data_offsets"]


BROKEN = {
    "no config": (lambda d: (d / "config.json").unlink(), "config.json"),
    "config is not JSON": (lambda d: (d / "config.json").write_text("{"), "config.json"),
    "config is a list": (lambda d: (d / "config.json").write_text("[]"), "config.json"),
    "config nested too deep": (lambda d: (d / "config.json").write_text("[" * 100000), "config.json"),
    "unknown architecture": (lambda d: edit_json(d / "config.json", architectures=["LlamaForCausalLM"], model_type="llama"), "llama"),
    "unknown activation": (lambda d: edit_json(d / "config.json", hidden_act="wobble"), "wobble"),
    "heads do not divide": (lambda d: edit_json(d / "config.json", num_attention_heads=3), "num_attention_heads"),
    "negative size": (lambda d: edit_json(d / "config.json", hidden_size=-16), "hidden_size"),
    "absurd size": (lambda d: edit_json(d / "config.json", vocab_size=2 ** 40), "vocab_size"),
    "wrong type": (lambda d: edit_json(d / "config.json", num_hidden_layers="two"), "num_hidden_layers"),
    "more layers than stored": (lambda d: edit_json(d / "config.json", num_hidden_layers=3), "encoder.layer.2"),
    "other width than stored": (lambda d: edit_json(d / "config.json", intermediate_size=33), "intermediate"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "safetensors"),
    "empty weights": (lambda d: (d / "model.safetensors").write_bytes(b""), "model.safetensors"),
    "weights cut": (lambda d: os.truncate(d / "model.safetensors", (d / "model.safetensors").stat().st_size - 5), "model.safetensors"),
    "weights cut in the header": (lambda d: os.truncate(d / "model.safetensors", 100), "model.safetensors"),
    "header longer than the file": (lambda d: (d / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}"), "model.safetensors"),
    "header is noise": (lambda d: (d / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"\xff\xfe{["), "model.safetensors"),
    "weights are a web page": (lambda d: (d / "model.safetensors").write_text("<!DOCTYPE html><html>404</html>"), "model.safetensors"),
    "wrong shape": (lambda d: edit_header(d / "model.safetensors", transpose), "qa_outputs.weight"),
    "missing tensor": (lambda d: edit_header(d / "model.safetensors", lambda header: header.__setitem__("renamed", header.pop("qa_outputs.bias"))), "qa_outputs.bias"),
    "overlapping tensors": (lambda d: edit_header(d / "model.safetensors", overlap), "model.safetensors"),
    "unknown dtype": (lambda d: edit_header(d / "model.safetensors", lambda header: header["qa_outputs.bias"].__setitem__("dtype", "Q4")), "Q4"),
    "no tokenizer": (lambda d: [(d / name).unlink() for name in ("tokenizer.json", "vocab.txt")], "tokenizer"),
    "tokenizer is not JSON": (lambda d: [(d / "vocab.txt").unlink(), (d / "tokenizer.json").write_text("{")], "tokenizer.json"),
    "unknown tokenizer class": (lambda d: [(d / "tokenizer.json").unlink(), edit_json(d / "tokenizer_config.json", tokenizer_class="WonderTokenizer")], "WonderTokenizer"),
    "generation settings are not JSON": (lambda d: (d / "generation_config.json").write_text("{"), "generation_config.json"),
    "weights are a folder": (lambda d: [(d / "model.safetensors").unlink(), (d / "model.safetensors").mkdir()], "model.safetensors"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_directories(tmp_path, name):
    """serve, run and inspect all end with 3 and name the trouble; none crashes."""
    breaking, named = BROKEN[name]
    directory = tmp_path / "model"
    shutil.copytree(TINY / "qa", directory)
    breaking(directory)
    for command in (["serve", directory, "--port", "0"], ["run", directory, "--json", '{"inputs":{"question":"a","context":"b"}}'], ["inspect", directory]):
        done = run(*command, timeout=30)
        assert done.returncode == NOT_LOADED, (command[0], done.returncode, done.stdout[-500:], done.stderr[-500:])
        said = done.stdout if command[0] == "inspect" and done.stdout else done.stderr
        assert named in said, (command[0], said[-800:])
        assert not any(word in said for word in ("std::", ".cpp", "terminate called", "nlohmann", "exception.")), said[-500:]


def test_missing_directory(tmp_path):
    for command in ("serve", "run", "inspect"):
        done = run(command, tmp_path / "absent", *(["--port", "0"] if command == "serve" else ["a"] if command == "run" else []))
        assert done.returncode == NOT_LOADED and "no such directory" in done.stderr, (command, done.stderr)
    (tmp_path / "file").write_text("x")
    for command in (["serve", tmp_path / "file", "--port", "0"], ["run", tmp_path / "file", "a"], ["inspect", tmp_path / "file"]):
        done = run(*command)
        assert done.returncode == NOT_LOADED and "is a file; name the directory" in done.stderr, (command, done.stderr)
    assert run("serve", DEMO / "ner-ja", tmp_path / "absent", "--port", "0").returncode == NOT_LOADED


def test_stray_files_of_trainers_are_ignored(tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(TINY / "qa", directory)
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "all_results.json", "events.out.tfevents.1", "README.md"):
        (directory / name).write_bytes(b"\x80junk")
    (directory / "checkpoint-500").mkdir()
    assert run("run", directory, "--json", '{"inputs":{"question":"a","context":"the cat"}}').returncode == 0


def test_lower_case_of_a_directory(tmp_path):
    """sentence-transformers puts texts in lower case where sentence_bert_config.json says so, whatever the tokenizer does."""
    directory = tmp_path / "model"
    shutil.copytree(TINY / "embed-mean", directory)
    edit_json(directory / "tokenizer_config.json", do_lower_case=False)
    ask = lambda text: json.loads(run("run", directory, "--json", json.dumps({"inputs": text})).stdout)
    lower, upper = ask("the cat"), ask("The CAT")
    assert lower != upper
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 30, "do_lower_case": true}')
    assert ask("The CAT") == ask("the cat") == lower


def test_default_prompt_of_a_directory(tmp_path):
    """encode() of sentence-transformers puts default_prompt_name before a text whose caller names none."""
    directory = tmp_path / "model"
    shutil.copytree(TINY / "embed-mean", directory)
    ask = lambda **fields: json.loads(run("run", directory, "--json", json.dumps({"inputs": "the cat", **fields})).stdout)
    plain, query = ask(), ask(prompt_name="query")
    edit_json(directory / "config_sentence_transformers.json", default_prompt_name="query")
    assert ask() == query != plain
    edit_json(directory / "config_sentence_transformers.json", default_prompt_name="quary")
    done = run("run", directory, "the cat")
    assert done.returncode == NOT_LOADED and "default_prompt_name 'quary'" in done.stderr, done.stderr


def test_a_head_that_nobody_names(tmp_path):
    """Without architectures a checkpoint with a head is served for its vectors: it must not be silent."""
    directory = tmp_path / "model"
    shutil.copytree(TINY / "ner-en", directory)
    edit_json(directory / "config.json", architectures=None)
    done = run("run", directory, "the cat")
    assert done.returncode == 0 and "feature-extraction is assumed" in done.stderr and "classifier." in done.stderr, done.stderr
    done = run("run", directory, "the cat", "--task", "token-classification")
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_only_answers_go_to_stdout(tmp_path):
    """Two weight files are worth a word, but not among the answers."""
    directory = tmp_path / "model"
    shutil.copytree(TINY / "qa", directory)
    (directory / "pytorch_model.bin").write_bytes(b"\x80junk")
    ask = ("run", directory, "--json", '{"inputs":{"question":"a","context":"the cat"}}')
    done = run(*ask)
    assert "answer" in json.loads(done.stdout) and "passed_over=pytorch_model.bin" in done.stderr, (done.stdout, done.stderr)
    done = run(*ask, "--quiet")
    assert "answer" in json.loads(done.stdout) and done.stderr == "", done.stderr
