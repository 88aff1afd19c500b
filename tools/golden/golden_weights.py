"""Draws weights that make outputs vary, and writes them in every file format and under every name people have."""

import math

import torch
from safetensors.torch import save_file


def draw(model, generator, gains):
    """Overwrites every parameter. Products get std gain / sqrt(fan in), norms stay near one, tables are of order one."""

    def normal(parameter, std, mean=0.0):
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std + mean)

    def gain(name, default):
        for part, value in gains.items():
            if part in name:
                return value
        return default

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            conv = ".c_" in name or name.startswith("c_")
            if "norm" in name.lower() or ".ln_" in name:
                normal(parameter, 0.3, gain(name, 1.0) if name.endswith("weight") else 0.0)
            elif parameter.dim() == 1:
                normal(parameter, gain(name, 0.3))
            elif "embed" in name or "wte" in name or "wpe" in name or "shared" in name or "relative" in name:
                normal(parameter, gain(name, 1.0))
            else:
                fan_in = parameter.shape[0] if conv else parameter.shape[1]
                normal(parameter, gain(name, 1.5) / math.sqrt(fan_in))
    model.tie_weights()
    return model.eval()


def write_checkpoint(case, model, folder):
    """As save_pretrained writes it, unless the case renames, adds or drops tensors or wants an older format."""
    shard = case.shard_size
    if case.format in ("safetensors", "bin") and not case.state_changes:
        model.save_pretrained(folder / "saved", safe_serialization=case.format == "safetensors", max_shard_size=shard)
        for path in (folder / "saved").iterdir():
            if "config" not in path.name:
                path.rename(folder / path.name)
            else:
                path.unlink()
        (folder / "saved").rmdir()
        return
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for change in case.state_changes:
        state = change(state)
    if case.format == "safetensors":
        save_file(without_ties(state, model), folder / "model.safetensors", metadata={"format": "pt"})
    else:
        zipped = case.format == "bin"
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)


def without_ties(state, model):
    """safetensors cannot share memory: what save_pretrained drops as tied is dropped here, unless a change set it apart."""
    tied = set(getattr(model, "_tied_weights_keys", None) or []) if model.config.tie_word_embeddings else set()
    values = model.state_dict()
    return {
        name: tensor.contiguous()
        for name, tensor in state.items()
        if not (name in tied and name in values and torch.equal(tensor, values[name]))
    }


# Changes of a state dictionary. ---------------------------------------------------------------------------------------


def rename(*pairs):
    def change(state):
        out = {}
        for name, tensor in state.items():
            for old, new in pairs:
                name = name.replace(old, new)
            out[name] = tensor
        return out

    return change


def strip(prefix):
    return lambda state: {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def add_prefix(prefix):
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


def drop(*names):
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


def add(**tensors):
    return lambda state: state | {name.replace("__", "."): tensor for name, tensor in tensors.items()}


def column_major(state):
    """Matrices as transposed views: the archive then holds strides that are not those of the shape."""
    return {name: t.t().contiguous().t() if t.dim() == 2 else t for name, t in state.items()}


# Changes of config.json. ----------------------------------------------------------------------------------------------


def setting(**values):
    return lambda config: config.update(values)


def without(*names):
    return lambda config: [config.pop(name, None) for name in names]


def renamed(old, new):
    return lambda config: config.update({new: config.pop(old)})


