#!/usr/bin/env python3
"""Writes tests/weights/data: small weight files made by the real libraries, and what is in them.

Each folder is a model directory as a user would have it, plus expected.tsv: the format, then one line per tensor with
name, dtype, extents and the little-endian bytes of the contiguous tensor in hexadecimal. Needs torch and safetensors.
"""

import collections
import io
import json
import pathlib
import pickle
import shutil
import struct
import sys

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "weights" / "data"
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


def values(shape, dtype=torch.float32, seed=0):
    """Numbers that differ everywhere and use the dtype's range, special values included."""
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        out = torch.randn(shape, generator=generator, dtype=torch.float32).to(dtype)
        flat = out.reshape(-1)
        if flat.numel() > 4:
            flat[1], flat[2], flat[3] = float("inf"), -0.0, float("nan")
        return out
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    info = torch.iinfo(dtype)
    return torch.randint(max(info.min, -(2**62)), min(info.max, 2**62), shape, generator=generator, dtype=dtype)


def every_dtype():
    tensors = {}
    for seed, (name, dtype) in enumerate(DTYPES.items()):
        tensors[f"{name}.matrix"] = values((3, 5), dtype, seed)
        tensors[f"{name}.scalar"] = values((), dtype, seed + 100)
        tensors[f"{name}.empty"] = values((2, 0, 3), dtype)
        tensors[f"{name}.odd"] = values((7,), dtype, seed + 200)
    tensors["名前.重み"] = values((2, 2))
    return tensors


def raw(tensor):
    contiguous = tensor.detach().contiguous().reshape(-1)
    return contiguous.view(torch.uint8).numpy().tobytes() if contiguous.numel() else b""


def expect(folder, form, tensors):
    lines = [form]
    for name in sorted(tensors, key=lambda n: n.encode()):
        tensor = tensors[name]
        extents = ",".join(str(extent) for extent in tensor.shape)
        lines.append("\t".join([name, str(tensor.dtype).removeprefix("torch."), extents, raw(tensor).hex()]))
    (folder / "expected.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def case(name):
    folder = ROOT / name
    folder.mkdir(parents=True)
    return folder


def write_index(path, shards):
    weight_map = {name: file for file, tensors in shards.items() for name in tensors}
    total = sum(tensor.numel() * tensor.element_size() for tensors in shards.values() for tensor in tensors.values())
    path.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2) + "\n")


def split(tensors, pattern):
    names = list(tensors)
    parts = [names[0::3], names[1::3], names[2::3]]
    return {pattern.format(i + 1): {n: tensors[n] for n in part} for i, part in enumerate(parts)}


def safetensors_cases():
    folder = case("safetensors")
    save_file(every_dtype(), folder / "model.safetensors", metadata={"format": "pt"})
    expect(folder, "safetensors", every_dtype())

    folder = case("safetensors_shards")
    shards = split(every_dtype(), "model-{:05d}-of-00003.safetensors")
    for file, tensors in shards.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
    write_index(folder / "model.safetensors.index.json", shards)
    expect(folder, "safetensors, 3 shards", every_dtype())

    # Written by hand: the format allows any order and hence any alignment, the library's writer does not make use of it.
    folder = case("safetensors_unaligned")
    tensors = {"a.u8": values((3,), torch.uint8), "b.f32": values((2, 3)), "c.i8": values((1,), torch.int8), "d.f16": values((5,), torch.float16)}
    header, data = {}, b""
    for name, tensor in tensors.items():
        short = {torch.uint8: "U8", torch.float32: "F32", torch.int8: "I8", torch.float16: "F16"}[tensor.dtype]
        header[name] = {"dtype": short, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw(tensor))]}
        data += raw(tensor)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    expect(folder, "safetensors", tensors)

    folder = case("safetensors_gamma")
    names = ["bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.beta", "gamma", "x.gamma.weight"]
    tensors = {name: values((4,), seed=i) for i, name in enumerate(names)}
    save_file(tensors, folder / "model.safetensors")
    modern = lambda n: n.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    expect(folder, "safetensors", {modern(name): tensor for name, tensor in tensors.items()})


def views():
    """What a state dictionary may hold besides plain tensors: views, ties, parameters, expanded rows."""
    base = values((3, 4), seed=7)
    large = values((6, 8), seed=8)
    return {
        "base": base,
        "base.transposed": base.t(),
        "base.tied": base,
        "large.columns": large[:, 2:5],
        "large.rows": large[2:4],
        "large.steps": large[::2, ::3],
        "large.cube": large.view(2, 3, 8).permute(2, 0, 1),
        "expanded": values((1, 3), seed=9).expand(4, 3),
        "scalar.of.vector": base.reshape(-1)[5],
        "empty.of.vector": base.reshape(-1)[4:4],
        "parameter": torch.nn.Parameter(values((2, 2), seed=10)),
        "frozen": torch.nn.Parameter(values((2, 2), seed=11), requires_grad=False),
        "half.transposed": values((2, 3), torch.float16, 12).t(),
        "bfloat.transposed": values((2, 3), torch.bfloat16, 13).t(),
    }


def torch_cases():
    for form, options in {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}.items():
        for name, tensors in {"dtypes": every_dtype(), "views": views()}.items():
            folder = case(f"bin_{form}_{name}")
            torch.save(collections.OrderedDict(tensors), folder / "pytorch_model.bin", **options)
            expect(folder, f"torch {form}", tensors)

        folder = case(f"bin_{form}_module")
        module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
        with torch.no_grad():
            for seed, parameter in enumerate(module.parameters()):
                parameter.copy_(values(parameter.shape, seed=seed))
        torch.save(module.state_dict(), folder / "pytorch_model.bin", **options)
        expect(folder, f"torch {form}", module.state_dict())

        folder = case(f"bin_{form}_mixed")
        tensors = {"weight": values((2, 3), seed=1)}
        extra = {"epoch": 3, "big": 2**70, "negative": -5, "loss": 0.5, "best": None, "flags": [True, False, ("a", 1, "b", "c")],
                 "nested": {"inner": values((2,)), 5: {"x": 1}}, "set": {1, 2}, "bytes": b"\x00\xff", 7: values((2,)),
                 "size": torch.Size([2, 3]), "dtype": torch.float16, "device": torch.device("cpu"), "empty": ()}
        torch.save({**extra, **tensors}, folder / "pytorch_model.bin", **options)
        expect(folder, f"torch {form}", tensors)

    folder = case("bin_shards")
    shards = split(every_dtype(), "pytorch_model-{:05d}-of-00003.bin")
    for file, tensors in shards.items():
        torch.save(tensors, folder / file)
    write_index(folder / "pytorch_model.bin.index.json", shards)
    expect(folder, "torch zip, 3 shards", every_dtype())


class OldPickler(pickle._Pickler):
    """Writes as Python 2 did: byte strings for text, and an ordered dictionary as a list of pairs."""

    keys = {}  # data pointer of a storage -> its key in the file
    parts = {}  # key of a storage -> (key of the one that it is a part of, elements of that one, offset in elements)
    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        data = text.encode()
        self.write(b"U" + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_text

    def reducer_override(self, value):
        if isinstance(value, collections.OrderedDict):
            return collections.OrderedDict, ([[key, item] for key, item in value.items()],)
        return NotImplemented

    def persistent_id(self, value):
        if not isinstance(value, torch.storage.TypedStorage):
            return None
        kind = getattr(torch, value.pickle_storage_type())
        key = self.keys[value.data_ptr()]
        if key in self.parts:
            root, size, offset = self.parts[key]
            return ("storage", kind, root, "cpu", size, (key, offset, value._size()))
        return ("storage", kind, key, "cpu", value._size(), None)


def old_python_case():
    """A file like those of torch 0.3 under Python 2, with a storage that is a part of another one."""
    folder = case("bin_legacy_python2")
    tensors = collections.OrderedDict(weight=values((3, 4), seed=3), bias=values((5,), seed=4))
    tensors["tied"] = tensors["weight"]
    tensors["part"] = tensors["weight"].flatten()[2:8].reshape(2, 3).clone()
    keys = {"1001": "weight", "1002": "bias", "1003": "part"}
    OldPickler.keys = {tensors[name].data_ptr(): key for key, name in keys.items()}
    OldPickler.parts = {"1003": ("1001", 12, 2)}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2}}
    stream = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, system, tensors):
        OldPickler(stream, protocol=2).dump(value)
    OldPickler(stream, protocol=2).dump(["1001", "1002"])
    for name in ("weight", "bias"):
        data = raw(tensors[name])
        stream.write(struct.pack("<q", len(data) // 4) + data)
    path = folder / "pytorch_model.bin"
    path.write_bytes(stream.getvalue())
    loaded = torch.load(path, weights_only=False, encoding="utf-8")
    assert all(raw(loaded[name]) == raw(tensor) for name, tensor in tensors.items())
    expect(folder, "torch legacy", tensors)


def main():
    torch.manual_seed(0)
    if ROOT.exists():
        shutil.rmtree(ROOT)
    safetensors_cases()
    torch_cases()
    old_python_case()
    total = sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file())
    print(f"wrote {ROOT}: {total} bytes")
    return 0 if total <= 300_000 else 1


if __name__ == "__main__":
    sys.exit(main())
