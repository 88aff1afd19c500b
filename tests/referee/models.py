"""One model repository, written twice: for the referee (a Python identity on Triton's python back end) and for us (backend: "identity")."""

from pathlib import Path

# Answers the i-th input as the i-th output, like the identity back end. dlpack carries what numpy has no type for.
PYTHON_IDENTITY = '''
import json
import os
import sys
import time
sys.path.append(os.environ["REFEREE_PACKAGES"])  # the interpreter inside the stub ignores PYTHONPATH
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, arguments):
        self.config = json.loads(arguments["model_config"])
        parameters = {name: value["string_value"] for name, value in self.config["parameters"].items()}
        self.delay = int(parameters.get("execute_delay_ms", 0)) / 1000
        self.count = int(parameters.get("response_count", 1))
        self.decoupled = self.config.get("model_transaction_policy", {}).get("decoupled", False)

    def answer(self, request):
        outputs = []
        for source, target in zip(self.config["input"], self.config["output"]):
            tensor = pb_utils.get_input_tensor_by_name(request, source["name"])
            if tensor is None or target["name"] not in request.requested_output_names():
                continue
            if target["data_type"] == "TYPE_BF16":
                outputs.append(pb_utils.Tensor.from_dlpack(target["name"], tensor.to_dlpack()))
            else:
                outputs.append(pb_utils.Tensor(target["name"], tensor.as_numpy()))
        return pb_utils.InferenceResponse(outputs)

    def execute(self, requests):
        time.sleep(self.delay)
        if not self.decoupled:
            return [self.answer(request) for request in requests]
        for request in requests:
            sender = request.get_response_sender()
            for _ in range(self.count):
                sender.send(self.answer(request))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None
'''

TYPES = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "STRING", "BF16"]


def tensor(name, kind, dims, extra=""):
    return f'{{ name: "{name}" data_type: TYPE_{kind} dims: {dims} {extra} }}'


def pair(kind, dims, batch, extra="", input_extra="", output_extra=""):
    return f"max_batch_size: {batch} input [ {tensor('IN', kind, dims, input_extra)} ] output [ {tensor('OUT', kind, dims, output_extra)} ] {extra}"


def parameter(key, value):
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


CPU = "instance_group [ { kind: KIND_CPU count: 1 } ]"

# name -> (configuration without the back end, versions)
MODELS = {
    "fp32": (pair("FP32", "[ -1 ]", 8), [1]),
    "fixed": (pair("INT32", "[ 2, 3 ]", 0), [1]),
    "types": (
        "max_batch_size: 0 input [ "
        + ", ".join(tensor(f"IN_{kind}", kind, "[ -1, -1 ]", "optional: true") for kind in TYPES)
        + " ] output [ "
        + ", ".join(tensor(f"OUT_{kind}", kind, "[ -1, -1 ]") for kind in TYPES)
        + " ]",
        [1],
    ),
    "two": (f"max_batch_size: 4 input [ {tensor('A', 'INT64', '[ 2 ]')}, {tensor('B', 'STRING', '[ -1 ]')} ] output [ {tensor('C', 'INT64', '[ 2 ]')}, {tensor('D', 'STRING', '[ -1 ]')} ]", [1]),
    "text": (f"max_batch_size: 4 input [ {tensor('text_input', 'STRING', '[ 1 ]')} ] output [ {tensor('text_output', 'STRING', '[ 1 ]')} ]", [1]),
    "labels": (pair("FP32", "[ 4 ]", 4, output_extra='label_filename: "labels.txt"'), [1]),
    "versions": (pair("FP32", "[ 2 ]", 0, "version_policy { all { } }"), [1, 3]),
    "decoupled": (pair("INT32", "[ -1 ]", 0, "model_transaction_policy { decoupled: true } " + parameter("response_count", 3)), [1]),
    "slow": (
        pair(
            "INT32",
            "[ 1 ]",
            2,
            "dynamic_batching { priority_levels: 2 default_priority_level: 2 max_queue_delay_microseconds: 100 default_queue_policy { max_queue_size: 2 allow_timeout_override: true default_timeout_microseconds: 20000000 } } "
            + parameter("execute_delay_ms", 700),
        ),
        [1],
    ),
    "sequence": (pair("INT32", "[ 1 ]", 2, "sequence_batching { max_sequence_idle_microseconds: 5000000 oldest { max_candidate_sequences: 4 } }"), [1]),
    "cached": (pair("INT32", "[ 1 ]", 0, "response_cache { enable: true }"), [1]),
    "reshaped": (pair("INT32", "[ 1 ]", 4, input_extra="reshape: { shape: [ ] }", output_extra="reshape: { shape: [ ] }"), [1]),
    "ints": (pair("INT32", "[ -1 ]", 0), [1]),
    "spare": (pair("INT32", "[ 1 ]", 0), [1]),
}

ENSEMBLE = """
platform: "ensemble" max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ] output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
ensemble_scheduling { step [
  { model_name: "fp32" model_version: -1 input_map { key: "IN" value: "X" } output_map { key: "OUT" value: "middle" } },
  { model_name: "fp32" model_version: -1 input_map { key: "IN" value: "middle" } output_map { key: "OUT" value: "Y" } } ] }
"""


def chain(*steps):
    """An ensemble of INT32 models, one after the other."""
    names = ["X", *(f"t{i}" for i in range(1, len(steps))), "Y"]
    links = ", ".join(f'{{ model_name: "{model}" model_version: -1 input_map {{ key: "IN" value: "{names[i]}" }} output_map {{ key: "OUT" value: "{names[i + 1]}" }} }}' for i, model in enumerate(steps))
    return f'platform: "ensemble" max_batch_size: 0 input [ {tensor("X", "INT32", "[ -1 ]")} ] output [ {tensor("Y", "INT32", "[ -1 ]")} ] ensemble_scheduling {{ step [ {links} ] }}\n'


ENSEMBLES = {"ensemble": ENSEMBLE, "stream_first": chain("decoupled", "ints"), "stream_last": chain("ints", "decoupled"), "stream_twice": chain("decoupled", "decoupled")}

# Loaded only by requests; each fails for a reason of its own.
BROKEN = {
    "broken_text": "max_batchsize: 3",
    "broken_type": pair("NOTHING", "[ 1 ]", 0),
    "broken_dims": pair("INT32", "[ 0 ]", 0),
    "broken_name": 'name: "another" ' + pair("INT32", "[ 1 ]", 0),
    "broken_empty": pair("INT32", "[ ]", 0),
    "broken_versions": pair("INT32", "[ 1 ]", 0),
    "broken_delay": pair("INT32", "[ 1 ]", 4, "dynamic_batching { preferred_batch_size: [ 8 ] }"),
}

AT_START = [name for name in MODELS if name != "spare"] + list(ENSEMBLES)


def write(root: Path, backend: str):
    for name, (config, versions) in MODELS.items():
        for version in versions:
            directory = root / name / str(version)
            directory.mkdir(parents=True)
            if backend == "python":
                (directory / "model.py").write_text(PYTHON_IDENTITY)
        (root / name / "config.pbtxt").write_text(f'backend: "{backend}" {config} {CPU}\n')
    (root / "labels/labels.txt").write_text("赤\n青\ngreen\n")
    for name, config in BROKEN.items():
        directory = root / name
        directory.mkdir()
        if name != "broken_versions":
            (directory / "1").mkdir()
            if backend == "python":
                (directory / "1/model.py").write_text(PYTHON_IDENTITY)
        (directory / "config.pbtxt").write_text(f'backend: "{backend}" {config} {CPU}\n')
    for name, config in ENSEMBLES.items():
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(config)
