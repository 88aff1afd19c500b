"""What clients of FasterTransformer's Triton back end do: configurations of the time, padded tensors, both protocols."""

import re
import subprocess

import numpy as np
import tritonclient.grpc
import tritonclient.http

from server import BINARY, DEMO, environment

SCALARS = {
    "runtime_top_k": ("UINT32", 1), "runtime_top_p": ("FP32", 1.0), "beam_search_diversity_rate": ("FP32", 0.0), "temperature": ("FP32", 1.0), "len_penalty": ("FP32", 1.0),
    "repetition_penalty": ("FP32", 1.0), "random_seed": ("UINT64", 0), "is_return_log_probs": ("BOOL", False), "beam_width": ("UINT32", 1), "start_id": ("UINT32", 0), "end_id": ("UINT32", 1),
}
NUMPY = {"UINT32": np.uint32, "UINT64": np.uint64, "FP32": np.float32, "FP16": np.float16, "BOOL": bool, "INT32": np.int32}
ANSWERS = """
output [ { name: "output_ids" data_type: TYPE_UINT32 dims: [ -1, -1 ] }, { name: "sequence_length" data_type: TYPE_UINT32 dims: [ -1 ] },
         { name: "cum_log_probs" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "output_log_probs" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]
"""
WORDS = 'input [ { name: "bad_words_list" data_type: TYPE_INT32 dims: [ 2, -1 ] optional: true }, { name: "stop_words_list" data_type: TYPE_INT32 dims: [ 2, -1 ] optional: true } ]'
COMMON = "instance_group [ { count: 1 kind: KIND_CPU } ]\nversion_policy: { specific { versions: [ 1 ] } }\ndynamic_batching { }\n"


def scalar(name, kind, optional=True):
    return f'input [ {{ name: "{name}" data_type: TYPE_{kind} dims: [ 1 ] reshape: {{ shape: [ ] }} {"optional: true" if optional else ""} }} ]'


def parameters(**values):
    return "\n".join(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in values.items())


def t5_config(name="ft_t5"):
    return "\n".join([
        f'name: "{name}" backend: "fastertransformer" max_batch_size: 16', 'input [ { name: "input_ids" data_type: TYPE_UINT32 dims: [ -1 ] } ]',
        scalar("sequence_length", "UINT32", False), scalar("max_output_len", "UINT32", False), *(scalar(one, kind) for one, (kind, _) in SCALARS.items()), WORDS, ANSWERS, COMMON,
        parameters(tensor_para_size=1, pipeline_para_size=1, data_type="fp16", enable_custom_all_reduce=0, model_type="T5")])  # fmt: skip


def gpt_config(name="ft_gpt2", decoupled="False"):
    return "\n".join([
        f'name: "{name}" backend: "fastertransformer" max_batch_size: 16 model_transaction_policy {{ decoupled: {decoupled} }}',
        'input [ { name: "input_ids" data_type: TYPE_UINT32 dims: [ -1 ] }, { name: "request_output_len" data_type: TYPE_UINT32 dims: [ -1 ] } ]',
        scalar("input_lengths", "UINT32", False), *(scalar(one, kind) for one, (kind, _) in SCALARS.items()), WORDS,
        scalar("prompt_learning_task_name_ids", "UINT32"), 'input [ { name: "request_prompt_embedding" data_type: TYPE_FP16 dims: [ -1, -1 ] optional: true } ]',
        scalar("request_prompt_lengths", "UINT32"), scalar("request_prompt_type", "UINT32"), ANSWERS, COMMON,
        parameters(tensor_para_size=1, pipeline_para_size=1, data_type="fp16", model_type="GPT", int8_mode=0, enable_custom_all_reduce=0)])  # fmt: skip


def bert_config(name="ft_bert", **more):
    return "\n".join([
        f'name: "{name}" backend: "fastertransformer" max_batch_size: 16', 'input [ { name: "input_hidden_state" data_type: TYPE_FP16 dims: [ -1, -1 ] } ]',
        scalar("sequence_lengths", "INT32", False), 'output [ { name: "output_hidden_state" data_type: TYPE_FP16 dims: [ -1, -1 ] } ]', COMMON,
        parameters(tensor_para_size=1, pipeline_para_size=1, data_type="fp16", enable_custom_all_reduce=0, model_type="bert", int8_mode=0, is_sparse=0, is_remove_padding=1, **more)])  # fmt: skip


def convert(model, version):
    """A demo model as a FasterTransformer folder, its Hugging Face configuration and tokenizer beside it."""
    version.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(BINARY), "convert", "--format", "fastertransformer", str(DEMO / model), str(version), "--quiet"], check=True, timeout=60, env=environment())


def words(lists):
    """[B, 2, W]: ids of all words of a row, above the end of each; -1 pads. No word is [[0], [-1]]."""
    width = max(1, *(sum(map(len, one)) for one in lists))
    out = np.zeros((len(lists), 2, width), np.int32)
    out[:, 1] = -1
    for row, one in enumerate(lists):
        flat = [token for word in one for token in word]
        out[row, 0, : len(flat)] = flat
        out[row, 1, : len(one)] = np.cumsum([len(word) for word in one])
    return out


def decoding(rows, lengths, most, new_tokens=64, bad_words=None, stop_words=None, **scalars):
    """As the client of the time: ids padded on the right to a multiple of eight, every tensor every time."""
    width = -(-max(map(len, rows)) // 8) * 8
    values = {"input_ids": ("UINT32", np.array([row + [0] * (width - len(row)) for row in rows])), lengths: ("UINT32", np.array([[len(row)] for row in rows])), most: ("UINT32", np.full((len(rows), 1), new_tokens))}
    for name, (kind, value) in SCALARS.items():
        values[name] = (kind, np.reshape(np.broadcast_to(scalars.get(name, value), len(rows)), (-1, 1)))
    for name, given in (("bad_words_list", bad_words), ("stop_words_list", stop_words)):
        values[name] = ("INT32", words(given or [[]] * len(rows)))
    return {name: (kind, value.astype(NUMPY[kind])) for name, (kind, value) in values.items()}


def open_client(protocol, server, **options):
    module = tritonclient.http if protocol == "http" else tritonclient.grpc
    address = server.url.removeprefix("http://") if protocol == "http" else "127.0.0.1:" + re.search(r"gRPC\D*[\d.]*:(\d+)", server.log()).group(1)
    return module, module.InferenceServerClient(address, **options)


def inputs_of(module, tensors):
    out = []
    for name, (kind, value) in tensors.items():
        out.append(module.InferInput(name, value.shape, kind))
        out[-1].set_data_from_numpy(value)
    return out
