#!/usr/bin/env python3
"""Writes tests/golden/cases/ft-*: the tensors of other cases as a FasterTransformer folder, with the answers of those cases.

The layout is written down here a second time, by hand and with numpy, so that the program's own table is compared with
something. Run after make_golden.py.
"""

import json
import pathlib
import re
import shutil

import numpy
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "cases"


class Folder:
    """N-gpu: one file a tensor, or one a rank."""

    def __init__(self, case, ranks):
        self.path = case / f"{ranks}-gpu"
        self.path.mkdir(parents=True)
        self.ranks = ranks

    def whole(self, name, tensor):
        numpy.ascontiguousarray(tensor).tofile(self.path / f"{name}.bin")

    def split(self, name, tensor, axis):
        for rank, part in enumerate(numpy.split(tensor, self.ranks, axis=axis)):
            numpy.ascontiguousarray(part).tofile(self.path / f"{name}.{rank}.bin")

    def config(self, sections):
        lines = []
        for section, values in sections.items():
            lines += [f"[{section}]"] + [f"{key} = {value}" for key, value in values.items()] + [""]
        (self.path / "config.ini").write_text("\n".join(lines) + "\n")


def data_type(state):
    return {"float32": "fp32", "float16": "fp16"}[str(next(iter(state.values())).dtype)]


def bert(folder, config, state, rest):
    """The encoder; with `rest` also what the format leaves out, under the names it would have."""
    state = {name.removeprefix("bert."): tensor for name, tensor in state.items()}
    for name, tensor in state.items():
        if not name.startswith("encoder."):
            if rest:
                folder.whole(f"model.{name}", tensor)
        elif re.search(r"(self\.(query|key|value)|intermediate\.dense)\.weight", name):
            folder.split(f"model.{name}", tensor.T, 1)
        elif re.search(r"(self\.(query|key|value)|intermediate\.dense)\.bias", name):
            folder.split(f"model.{name}", tensor, 0)
        elif name.endswith("dense.weight"):
            folder.split(f"model.{name}", tensor.T, 0)
        else:
            folder.whole(f"model.{name}", tensor)
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    folder.config({"bert": {
        "model_name": "bert", "position_embedding_type": "absolute", "hidden_size": hidden,
        "num_layer": config["num_hidden_layers"], "head_num": heads, "size_per_head": hidden // heads,
        "activation_type": config["hidden_act"], "inter_size": config["intermediate_size"],
        "max_position_embeddings": config["max_position_embeddings"], "layer_norm_eps": config["layer_norm_eps"],
        "weight_data_type": data_type(state), "tensor_para_size": folder.ranks,
    }})  # fmt: skip


def gpt(folder, config, state, settings):
    state = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    hidden = config["n_embd"]
    names = {"ln_1": "input_layernorm", "ln_2": "post_attention_layernorm", "attn.c_proj": "attention.dense",
             "mlp.c_fc": "mlp.dense_h_to_4h", "mlp.c_proj": "mlp.dense_4h_to_h"}  # fmt: skip
    for name, tensor in state.items():
        match = re.fullmatch(r"h\.(\d+)\.(.*)\.(weight|bias)", name)
        if not match:
            known = {"wte.weight": "wte", "wpe.weight": "wpe", "ln_f.weight": "final_layernorm.weight",
                     "ln_f.bias": "final_layernorm.bias", "lm_head.weight": "lm_head.weight"}  # fmt: skip
            folder.whole("model." + known[name], tensor)
            continue
        layer, part, kind = match.groups()
        at = f"model.layers.{layer}."
        if part == "attn.c_attn":
            shape = (hidden, 3, hidden) if kind == "weight" else (3, hidden)
            folder.split(f"{at}attention.query_key_value.{kind}", tensor.reshape(shape), len(shape) - 1)
        elif part == "mlp.c_fc":
            folder.split(f"{at}{names[part]}.{kind}", tensor, tensor.ndim - 1)
        elif part.endswith("c_proj") and kind == "weight":
            folder.split(f"{at}{names[part]}.{kind}", tensor, 0)
        else:
            folder.whole(f"{at}{names[part]}.{kind}", tensor)
    heads = config["n_head"]
    folder.config({"gpt": {
        "model_name": "gpt", "head_num": heads, "size_per_head": hidden // heads, "inter_size": 4 * hidden,
        "max_pos_seq_len": config["n_positions"], "num_layer": config["n_layer"], "vocab_size": config["vocab_size"],
        "start_id": config["bos_token_id"], "end_id": config["eos_token_id"], "weight_data_type": data_type(state),
        "tensor_para_size": folder.ranks, **settings,
    }})  # fmt: skip


def t5(folder, config, state, settings):
    table = state.get("shared.weight")
    state.setdefault("lm_head.weight", table)  # a tied head is in the state dictionary, though not in the file
    width = config["num_heads"] * config["d_kv"]
    fused = {}
    for name, tensor in state.items():
        qkv = re.fullmatch(r"(decoder\.block\.\d+\.layer\.0\.SelfAttention\.)([qkv])\.weight", name)
        if name == "shared.weight":
            folder.whole("shared.weight_T", tensor)
            folder.whole("shared.weight", tensor.T)
        elif qkv:
            fused.setdefault(qkv[1], {})[qkv[2]] = tensor.T
        elif "relative_attention_bias" in name:
            folder.split(name.removesuffix(".weight") + ".weight", tensor.T, 0)
        elif re.search(r"Attention\.[qkv]\.weight", name) or re.search(r"\.wi(_[01])?\.weight", name):
            folder.split(name.replace("wi_0", "wi").replace("wi_1", "wi2"), tensor.T, 1)
        elif re.search(r"(Attention\.o|DenseReluDense\.wo)\.weight", name):
            folder.split(name, tensor.T, 0)
        else:
            folder.whole(name, tensor)
    for at, parts in fused.items():
        whole = numpy.stack([parts["q"], parts["k"], parts["v"]], axis=1)
        assert whole.shape == (config["d_model"], 3, width)
        folder.split(f"{at}qkv.weight", whole, 2)
    buckets = config["relative_attention_num_buckets"]
    stack = {key: value for key, value in config.items() if key not in ("relative_attention_num_buckets", "architectures")}
    stack |= {"relative_attention_num_buckets_or_max_pos_seq_len": buckets, "weight_data_type": data_type(state),
              "task_specific_params": {f"a long dictionary {i}": "x" * 30 for i in range(9)}}  # fmt: skip
    gated = "gated" in config["feed_forward_proj"]
    folder.config({
        "encoder": stack,
        "decoder": stack | {"num_layers": config["num_decoder_layers"]},
        "structure": {"t5_with_bias": "false", "use_gated_activation": str(gated).lower(), "position_embedding_type": "relative"},
        **settings,
    })  # fmt: skip


WRITERS = {"bert": bert, "gpt2": gpt, "t5": t5, "mt5": t5}

# name: case it is made from, ranks, argument of the writer, and what of the original stays beside the folder
CASES = {
    "ft-bert-base": ("bert-base", 1, True, []),
    "ft-bert-ner": ("bert-ner", 1, True, ["config.json"]),
    "ft-bert-ranks": ("bert-act-relu", 2, True, ["config.json"]),
    "ft-bert-beside": ("bert-ner", 1, False, ["config.json", "model.safetensors"]),
    "ft-gpt2-ranks": ("gpt2", 3, {}, []),
    "ft-gpt2-f16": ("gpt2-f16", 1, {}, []),
    "ft-gpt2-untied": ("gpt2-untied", 1, {}, []),
    "ft-gpt2-inner": ("gpt2-inner-relu", 1, {"activation_type": "Relu"}, []),
    "ft-gpt2-odd": ("gpt2-odd", 1, {"layernorm_eps": 1e-3}, []),
    "ft-t5": ("t5", 1, {}, []),
    "ft-t5-ranks": ("t5-v11-f16", 3, {}, []),
    "ft-t5-deep-decoder": ("t5-deep-decoder", 1, {}, []),
}


def make(name, source, ranks, argument, beside):
    original, case = ROOT / source, ROOT / name
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir()
    config = json.loads((original / "config.json").read_text())
    state = load_file(original / "model.safetensors")
    WRITERS[config["model_type"]](Folder(case, ranks), config, dict(state), argument)
    golden = json.loads((original / "golden.json").read_text())
    for file in beside:
        shutil.copy(original / file, case / file)
    if "model.safetensors" in beside:
        # The folder goes first: what both hold is spoiled here.
        spoiled = {name: tensor * 0 if "encoder." in name else tensor for name, tensor in state.items()}
        save_file(spoiled, case / "model.safetensors", metadata={"format": "pt"})
        golden["options"] = golden["options"] | {"converted": f"{ranks}-gpu"}
    golden["made_from"] = source
    (case / "golden.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")
    shutil.copytree(original / "expected", case / "expected")


def main():
    for name, (source, ranks, argument, beside) in CASES.items():
        make(name, source, ranks, argument, beside)
        print(name)


if __name__ == "__main__":
    main()
