"""The HTTP half of the table: (name, call) rows, asked of both servers in this order."""

import base64
import gzip
import json
import struct
import time
import zlib

from models import TYPES

JSON_VALUES = {"BOOL": [True, False], "FP16": [1, 2], "BF16": [1, 2], "FP32": [0.1, -2.5], "FP64": [1e300, -0.25], "STRING": ["赤い電車🚃", "ﾊﾝｶｸ"]}
PACKING = {"BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d"}


def wire(kind):
    return "BYTES" if kind == "STRING" else kind


def values(kind):
    if kind in JSON_VALUES:
        return JSON_VALUES[kind]
    bits = int(kind.removeprefix("U").removeprefix("INT"))
    return [2**bits - 1, 0] if kind.startswith("U") else [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]


def packed(kind):
    if kind == "STRING":
        return b"".join(struct.pack("<I", len(one.encode())) + one.encode() for one in values(kind))
    if kind == "BF16":
        return b"\x80\x3f\x00\x40"
    return struct.pack("<2" + PACKING[kind], *values(kind))


def post(path, body=b"", headers=None):
    return lambda http: http("POST", path, body, headers)


def get(path, headers=None):
    return lambda http: http("GET", path, b"", headers)


def infer(model, body, headers=None):
    return post(f"/v2/models/{model}/infer", body, headers)


def with_tail(head, tail, size=None):
    text = json.dumps(head).encode()
    return text + tail, {"Inference-Header-Content-Length": str(len(text) if size is None else size)}


def one_input(data, shape, datatype="FP32", name="IN", **more):
    return {"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}], **more}


def facts():
    for path in ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/fp32", "/v2/models/versions", "/v2/models/versions/versions/3", "/v2/models/versions/versions/2", "/v2/models/fp32/versions/x",
                 "/v2/models/nothing", "/v2/models/fp32/ready", "/v2/models/nothing/ready", "/v2/models/versions/versions/1/ready", "/v2/models/spare", "/v2/models/spare/ready", "/v2/models/spare/config",
                 "/v2/models/nothing/config", "/v2/models/nothing/stats", "/v2/models/spare/stats", "/v2/models/fp32/", "/v2/", "/v2/nothing", "/v2/models/fp32/infer", "/v2/models/fp32?x=1", "/v2/logging", "/v2/trace/setting",
                 "/v2/models/fp32/trace/setting", "/v2/models/nothing/trace/setting", "/v2/models/fp32/versions/1/trace/setting", "/v2/systemsharedmemory/status", "/v2/systemsharedmemory/region/none/status",
                 "/v2/cudasharedmemory/status", "/v2/cudasharedmemory/region/none/status"]:
        yield f"GET {path}", get(path)
    for model in ["fp32", "fixed", "types", "text", "labels", "versions", "decoupled", "slow", "sequence", "cached", "reshaped", "ensemble", "stream_first"]:
        yield f"GET config of {model}", get(f"/v2/models/{model}/config")
        yield f"GET metadata of {model}", get(f"/v2/models/{model}")
    for path in ["/v2", "/v2/health/live", "/v2/models/fp32", "/v2/models/fp32/config", "/v2/models/fp32/stats"]:
        yield f"POST {path}", post(path)
    for method in ["PUT", "DELETE", "HEAD"]:
        yield f"{method} /v2/models/fp32", lambda http, method=method: http(method, "/v2/models/fp32")


def infers():
    for kind in TYPES:
        shape = [1, 2]
        name, want = f"IN_{kind}", f"OUT_{kind}"
        yield f"JSON {kind}", infer("types", one_input(values(kind), shape, wire(kind), name))
        yield f"JSON {kind}, empty", infer("types", one_input([], [0, 2], wire(kind), name))
        head = {"inputs": [{"name": name, "datatype": wire(kind), "shape": shape, "parameters": {"binary_data_size": len(packed(kind))}}], "outputs": [{"name": want, "parameters": {"binary_data": True}}]}
        yield f"binary {kind}", infer("types", *with_tail(head, packed(kind)))
        short = json.loads(json.dumps(head))
        short["inputs"][0]["parameters"]["binary_data_size"] -= 1
        yield f"binary {kind}, a byte short", infer("types", *with_tail(short, packed(kind)[:-1]))
        nothing = json.loads(json.dumps(head))
        nothing["inputs"][0].update(shape=[2, 0], parameters={"binary_data_size": 0})
        yield f"binary {kind}, empty", infer("types", *with_tail(nothing, b""))
    good = one_input([1, 2.5], [1, 2])
    yield "id is echoed", infer("fp32", {**good, "id": "要求-1"})
    yield "parameters are accepted", infer("fp32", {**good, "parameters": {"mine": 1, "yours": "x", "flag": True, "real": 0.5}})
    yield "unknown members are ignored", infer("fp32", {**good, "model_name": "x", "more": [1]})
    yield "nested data", infer("fp32", one_input([[1], [2.5]], [1, 2]))
    yield "NaN and infinities", infer("fp32", b'{"inputs":[{"name":"IN","datatype":"FP32","shape":[1,3],"data":[NaN,Infinity,-Infinity]}]}')
    yield "forwarded header", infer("fp32", good, {"X-Forward-Me": "a"})
    yield "named version", post("/v2/models/versions/versions/3/infer", one_input([1, 2], [2]))
    yield "highest version", infer("versions", one_input([1, 2], [2]))
    yield "version without inference", post("/v2/models/versions/versions/2/infer", one_input([1, 2], [2]))
    yield "unknown model", infer("nothing", good)
    yield "unloaded model", infer("spare", good)
    yield "two inputs", infer("two", {"inputs": [{"name": "A", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}, {"name": "B", "datatype": "BYTES", "shape": [1, 1], "data": ["é"]}]})
    yield "two inputs, one asked back", infer("two", {"inputs": [{"name": "B", "datatype": "BYTES", "shape": [1, 1], "data": ["é"]}, {"name": "A", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}], "outputs": [{"name": "D"}]})
    yield "binary_data_output", infer("fp32", {**good, "parameters": {"binary_data_output": True}})
    yield "binary_data_output with an output listed", infer("fp32", {**good, "parameters": {"binary_data_output": True}, "outputs": [{"name": "OUT"}]})
    yield "outputs empty", infer("fp32", {**good, "outputs": []})
    yield "same output twice", infer("fp32", {**good, "outputs": [{"name": "OUT"}, {"name": "OUT"}]})
    yield "reshaped", infer("reshaped", one_input([5, 6], [2, 1], "INT32"))
    yield "ensemble", infer("ensemble", one_input([1, 2], [1, 2], name="X"))
    for name, body in {
        "empty body": b"", "not JSON": b"{", "array": b"[]", "null": b"null", "trailing text": json.dumps(good) + "x", "broken UTF-8": b'{"inputs":[{"name":"\xff","datatype":"FP32","shape":[1,1],"data":[1]}]}',
        "no inputs": {}, "inputs no array": {"inputs": {}}, "inputs empty": {"inputs": []}, "no name": {"inputs": [{"datatype": "FP32", "shape": [1, 1], "data": [1]}]},
        "no shape": {"inputs": [{"name": "IN", "datatype": "FP32", "data": [1]}]}, "no datatype": {"inputs": [{"name": "IN", "shape": [1, 1], "data": [1]}]}, "no data": {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1]}]},
        "unknown input": one_input([1], [1, 1], name="OTHER"), "unknown output": {**one_input([1], [1, 1]), "outputs": [{"name": "OTHER"}]}, "wrong datatype": one_input([1], [1, 1], "INT32"), "datatype of no type": one_input([1], [1, 1], "FLOAT"),
        "STRING is no wire name": one_input(["a"], [1, 1], "STRING"), "batch too large": one_input([0] * 9, [9, 1]), "wrong rank": one_input([1, 2], [2]), "too few elements": one_input([1], [1, 2]), "too many elements": one_input([1, 2, 3], [1, 2]),
        "negative dimension": one_input([1], [1, -1]), "overflowing dimensions": one_input([1], [2**62, 8]), "fraction as dimension": one_input([1], [1, 1.5]), "shape no array": one_input([1], 1), "text as element": one_input(["1"], [1, 1]), "null as element": one_input([None], [1, 1]),
        "data no array": one_input(1, [1, 1]), "input twice": {"inputs": [*one_input([1], [1, 1])["inputs"], *one_input([1], [1, 1])["inputs"]]}, "id no text": {**good, "id": 1}, "parameters no object": {**good, "parameters": []},
        "parameter of no kind": {**good, "parameters": {"x": [1]}}, "triton_ parameter": {**good, "parameters": {"triton_x": 1}}, "sequence_id of no kind": {**good, "parameters": {"sequence_id": True}}, "priority of no kind": {**good, "parameters": {"priority": "high"}},
        "outputs no array": {**good, "outputs": {}}, "data and binary size": {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1], "data": [1], "parameters": {"binary_data_size": 4}}]},
        "shared memory switched off": {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1], "parameters": {"shared_memory_region": "none", "shared_memory_byte_size": 4}}]},
        "output in shared memory, switched off": {**good, "outputs": [{"name": "OUT", "parameters": {"shared_memory_region": "none", "shared_memory_byte_size": 64}}]},
        "binary size without a tail": {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}]},
    }.items():
        yield f"infer refuses: {name}", infer("fp32", body)
    yield "one of two inputs missing", infer("two", {"inputs": [{"name": "A", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}]})
    yield "batch sizes that differ", infer("two", {"inputs": [{"name": "A", "datatype": "INT64", "shape": [2, 2], "data": [1, 2, 3, 4]}, {"name": "B", "datatype": "BYTES", "shape": [1, 1], "data": ["é"]}]})
    yield "fixed dimension wrong", infer("fixed", one_input([1] * 8, [2, 4], "INT32"))
    yield "boolean as integer", infer("fixed", one_input([True] * 6, [2, 3], "INT32"))
    yield "integer out of range", infer("fixed", one_input([2**31] + [0] * 5, [2, 3], "INT32"))
    yield "fraction as integer", infer("fixed", one_input([1.5] + [0] * 5, [2, 3], "INT32"))
    yield "JSON 150 levels deep", infer("fp32", b'{"inputs":[{"name":"IN","datatype":"FP32","shape":[1,1],"data":' + b"[" * 150 + b"1" + b"]" * 150 + b"}]}")
    head = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}]}
    tail = struct.pack("<f", 1.5)
    yield "tail too long", infer("fp32", *with_tail(head, tail + b"x"))
    yield "tail too short", infer("fp32", *with_tail(head, tail[:3]))
    for size in [10**9, -1, "120zz", "abc", ""]:
        yield f"Inference-Header-Content-Length {size!r}", infer("fp32", *with_tail(head, tail, size))
    wrong = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 4}}]}
    yield "binary size that the shape does not have", infer("fp32", *with_tail(wrong, tail))
    strings = {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 6}}]}
    yield "BYTES length beyond the tail", infer("text", *with_tail(strings, b"\xff\x00\x00\x00ab"))
    yield "BYTES with two elements for one", infer("text", *with_tail({"inputs": [{**strings["inputs"][0], "parameters": {"binary_data_size": 10}}]}, b"\x01\x00\x00\x00a\x01\x00\x00\x00b"))
    yield "BYTES length cut short", infer("text", *with_tail({"inputs": [{**strings["inputs"][0], "parameters": {"binary_data_size": 3}}]}, b"\x01\x00\x00"))
    yield "raw FP32", infer("fp32", tail * 3, {"Inference-Header-Content-Length": "0"})
    yield "raw FP32, a byte too much", infer("fp32", tail + b"x", {"Inference-Header-Content-Length": "0"})
    yield "raw BYTES", infer("text", "生の文字列".encode(), {"Inference-Header-Content-Length": "0"})
    yield "raw for a model of two inputs", infer("two", tail, {"Inference-Header-Content-Length": "0"})
    text = json.dumps(good).encode()
    yield "gzip", infer("fp32", gzip.compress(text), {"Content-Encoding": "gzip"})
    yield "deflate", infer("fp32", zlib.compress(text), {"Content-Encoding": "deflate"})
    yield "identity encoding", infer("fp32", text, {"Content-Encoding": "identity"})
    yield "unknown encoding", infer("fp32", text, {"Content-Encoding": "br"})
    yield "gzip that is none", infer("fp32", text, {"Content-Encoding": "gzip"})
    for accept in ["gzip", "deflate", "gzip;q=0.1, deflate;q=0.9", "br", "*", "identity;q=0.1, gzip;q=0.5"]:
        yield f"Accept-Encoding {accept}", infer("fp32", one_input([0.5] * 400, [1, 400]), {"Accept-Encoding": accept})
    yield "Accept-Encoding gzip, a small answer", infer("fp32", good, {"Accept-Encoding": "gzip"})
    labels = one_input([0.1, 0.9, -1, 0.5], [1, 4])
    for count in [1, 3, 9, 0, -1, "x"]:
        yield f"classification {count!r}", infer("labels", {**labels, "outputs": [{"name": "OUT", "parameters": {"classification": count}}]})
    yield "classification of a batch", infer("labels", {**one_input([1, 2, 3, 4, 4, 3, 2, 1], [2, 4]), "outputs": [{"name": "OUT", "parameters": {"classification": 2, "binary_data": True}}]})
    yield "classification without labels", infer("fixed", {**one_input([3, 1, 2, 6, 5, 4], [2, 3], "INT32"), "outputs": [{"name": "OUT", "parameters": {"classification": 2}}]})
    yield "decoupled model over infer", infer("decoupled", one_input([1], [1], "INT32"))
    yield "ensemble with a decoupled step over infer", infer("stream_first", one_input([1], [1], "INT32", name="X"))
    yield "cache, first", infer("cached", one_input([7], [1], "INT32"))
    yield "cache, again", infer("cached", one_input([7], [1], "INT32"))
    sequence = lambda **flags: infer("sequence", one_input([1], [1, 1], "INT32", parameters=flags))
    yield "sequence without an id", sequence()
    yield "sequence without a start", sequence(sequence_id=5)
    yield "sequence begins", sequence(sequence_id=5, sequence_start=True)
    yield "sequence goes on", sequence(sequence_id=5)
    yield "sequence ends", sequence(sequence_id=5, sequence_end=True)
    yield "sequence after its end", sequence(sequence_id=5)
    yield "sequence of a text id", sequence(sequence_id="名前", sequence_start=True, sequence_end=True)
    yield "sequence id of 200 characters", sequence(sequence_id="x" * 200, sequence_start=True)


def generates():
    for action in ["generate", "generate_stream"]:
        ask = lambda body, model="text", action=action: post(f"/v2/models/{model}/{action}", body)
        yield f"{action}", ask({"text_input": "夏は夜🌙"})
        yield f"{action}, list", ask({"text_input": ["夏は夜"]})
        yield f"{action}, id and parameters", ask({"id": "7", "text_input": "a", "parameters": {"max_tokens": 3, "stop": "x"}, "flag": True})
        for name, body in {"no input": {}, "not JSON": b"{", "array": b"[]", "empty body": b"", "input of the wrong kind": {"text_input": 5}, "object as input": {"text_input": {}}, "null as input": {"text_input": None}, "two strings for one": {"text_input": ["a", "b", "c"]},
                           "parameter of no kind": {"text_input": "a", "x": [1]}, "parameters no object": {"text_input": "a", "parameters": 1}, "input twice": b'{"text_input":"a","text_input":"b"}', "id no text": {"text_input": "a", "id": 5}}.items():
            yield f"{action} refuses: {name}", ask(body)
        yield f"{action} of an unknown model", ask({"text_input": "a"}, "nothing")
        yield f"{action} of a decoupled model", ask({"IN": [1, 2]}, "decoupled")
        yield f"{action} of an ensemble with a decoupled step", ask({"X": [1, 2]}, "stream_first")
        yield f"{action} of numbers", ask({"IN": [1, 2, 3]}, "fp32")
        yield f"{action} where the shape cannot be", ask({"IN": [1, 2, 3]}, "fixed")
    yield "GET generate", get("/v2/models/text/generate")


def settings():
    yield "logging, all", post("/v2/logging", {"log_info": False, "log_verbose_level": 1, "log_format": "ISO8601"})
    yield "logging, seen", get("/v2/logging")
    for name, body in {"log_file": {"log_file": "x"}, "unknown": {"nothing": 1}, "kind": {"log_info": 1}, "level": {"log_verbose_level": -1}, "format": {"log_format": "x"}, "not JSON": b"{", "empty": b"", "array": b"[]"}.items():
        yield f"logging refuses: {name}", post("/v2/logging", body)
    yield "logging, back", post("/v2/logging", {"log_info": True, "log_verbose_level": 0, "log_format": "default"})
    for name, body in {"rate": {"trace_rate": "5"}, "count": {"trace_count": "9"}, "frequency": {"log_frequency": "3"}, "rate cleared": {"trace_rate": None}, "rate no number": {"trace_rate": "x"}, "count below -1": {"trace_count": "-2"}, "file": {"trace_file": "x"},
                       "level without a file": {"trace_level": ["TIMESTAMPS"]}, "level OFF": {"trace_level": ["OFF"]}, "OFF and another": {"trace_level": ["OFF", "TIMESTAMPS"]}, "unknown": {"nothing": "1"}, "not JSON": b"{", "empty": b"", "object": {}}.items():
        yield f"trace setting: {name}", post("/v2/trace/setting", body)
    yield "trace setting of a model", post("/v2/models/fp32/trace/setting", {"trace_rate": "7"})
    yield "trace setting of a model, seen", get("/v2/models/fp32/trace/setting")
    yield "trace setting, global still", get("/v2/trace/setting")
    yield "trace setting of an unknown model", post("/v2/models/nothing/trace/setting", {"trace_rate": "7"})
    for name, (path, body) in {"register": ("/region/a/register", {"key": "/a", "byte_size": 8}), "unregister": ("/region/a/unregister", b""), "unregister all": ("/unregister", b"")}.items():
        yield f"system shared memory {name}", post(f"/v2/systemsharedmemory{path}", body)
    yield "CUDA shared memory register", post("/v2/cudasharedmemory/region/a/register", {"raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 8})
    yield "CUDA shared memory unregister", post("/v2/cudasharedmemory/unregister")


def repository():
    index = "/v2/repository/index"
    yield "index", post(index)
    yield "index of ready ones", post(index, {"ready": True})
    for name, body in {"not JSON": b"{", "ready no flag": {"ready": 1}, "array": b"[]"}.items():
        yield f"index refuses: {name}", post(index, body)
    yield "GET index", get(index)
    yield "index of a named repository", post("/v2/repository/other/index")
    load = lambda model, body=b"": post(f"/v2/repository/models/{model}/load", body)
    unload = lambda model, body=b"": post(f"/v2/repository/models/{model}/unload", body)
    yield "load", load("spare")
    yield "load again", load("spare")
    yield "loaded model answers", infer("spare", one_input([4], [1], "INT32"))
    yield "unload", unload("spare")
    yield "unload again", unload("spare")
    yield "unload of an unknown model", unload("nothing")
    yield "load of an unknown model", load("nothing")
    yield "load in a named repository", post("/v2/repository/other/models/spare/load")
    for name, body in {"not JSON": b"{", "unknown parameter": {"parameters": {"x": "1"}}, "config no text": {"parameters": {"config": 1}}, "config no JSON": {"parameters": {"config": "{"}}, "config of unknown field": {"parameters": {"config": '{"nothing":1}'}},
                       "file without config": {"parameters": {"file:1/x": "AAAA"}}}.items():
        yield f"load refuses: {name}", load("spare", body)
    override = {"backend": "BACKEND", "max_batch_size": 0, "input": [{"name": "SOLO", "data_type": "TYPE_INT32", "dims": [1]}], "output": [{"name": "GONE", "data_type": "TYPE_INT32", "dims": [1]}], "instance_group": [{"kind": "KIND_CPU", "count": 1}]}
    yield "load with a config", lambda http: http("POST", "/v2/repository/models/spare/load", {"parameters": {"config": json.dumps({**override, "backend": http.backend})}})
    yield "metadata of the config that was sent", get("/v2/models/spare")
    yield "load without one again", load("spare")
    yield "metadata of the file's config", get("/v2/models/spare")
    files = lambda http: {"parameters": {"config": json.dumps({**override, "backend": http.backend}), "file:2/model.py": base64.b64encode(http.model_file).decode()}}
    yield "load with files", lambda http: http("POST", "/v2/repository/models/spare/load", files(http))
    yield "versions of the files that were sent", get("/v2/models/spare")
    yield "unload what was sent", unload("spare")
    for model in ["broken_text", "broken_type", "broken_dims", "broken_name", "broken_empty", "broken_versions", "broken_delay"]:
        yield f"load of {model}", load(model)
    yield "index after failures", lambda http: without_broken(settled(lambda: http("POST", index)))
    yield "unload of an ensemble's model", unload("fp32")
    yield "ensemble without its model", infer("ensemble", one_input([1, 2], [1, 2], name="X"))
    yield "load of the ensemble brings its model", load("ensemble")
    yield "ensemble again", infer("ensemble", one_input([1, 2], [1, 2], name="X"))
    yield "unload with dependents", unload("ensemble", {"parameters": {"unload_dependents": True}})


def settled(index):
    """Unloading ends behind its answer, in both servers: the index once nothing is on its way."""
    for _ in range(500):
        answer = index()
        if not any(entry.get("state") in ("LOADING", "UNLOADING") for entry in answer["body"]):
            break
        time.sleep(0.01)
    return answer


def without_broken(answer):
    answer["body"] = [entry for entry in answer["body"] if not entry["name"].startswith("broken")]
    return answer


def statistics():
    for model in ["types", "two", "cached", "labels", "versions", "sequence", "ensemble", "text"]:
        yield f"statistics of {model}", get(f"/v2/models/{model}/stats")


def rows():
    for part in [facts, infers, generates, settings, statistics, repository]:
        yield from part()
