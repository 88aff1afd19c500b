"""The gRPC half of the table, and what takes several calls at once."""

import json
import struct
import threading
import time
import urllib.request

from tritonclient.grpc import service_pb2 as pb

from calls import infer_request
from models import TYPES
from table_http import one_input, packed, values, wire

FIELDS = {"BOOL": "bool_contents", "INT64": "int64_contents", "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "STRING": "bytes_contents"}


def field(kind):
    return FIELDS.get(kind) or ("uint_contents" if kind.startswith("U") else "int_contents")


def call(method, request):
    return lambda grpc: grpc(method, request)


def infer(model, inputs, raw=None, **fields):
    return call("ModelInfer", infer_request(model, inputs, raw, **fields))


def facts():
    yield "ServerLive", call("ServerLive", pb.ServerLiveRequest())
    yield "ServerReady", call("ServerReady", pb.ServerReadyRequest())
    yield "ServerMetadata", call("ServerMetadata", pb.ServerMetadataRequest())
    for name, version in [("fp32", ""), ("fp32", "1"), ("fp32", "2"), ("fp32", "x"), ("fp32", "-1"), ("fp32", "0"), ("nothing", ""), ("versions", "3"), ("ensemble", ""), ("spare", ""), ("", "")]:
        for method in ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"]:
            yield f"{method} of {name!r} {version!r}", call(method, getattr(pb, method + "Request")(name=name, version=version))


def infers():
    for kind in TYPES:
        data = [value.encode() if kind == "STRING" else value for value in values(kind)]
        yield f"contents {kind}", infer("types", [(f"IN_{kind}", wire(kind), [1, 2], {} if kind in ("FP16", "BF16") else {field(kind): data})])
        yield f"contents {kind}, empty", infer("types", [(f"IN_{kind}", wire(kind), [0, 2])])
        yield f"raw {kind}", infer("types", [(f"IN_{kind}", wire(kind), [1, 2])], [packed(kind)])
        yield f"raw {kind}, empty", infer("types", [(f"IN_{kind}", wire(kind), [0, 2])], [b""])
        yield f"raw {kind}, a byte short", infer("types", [(f"IN_{kind}", wire(kind), [1, 2])], [packed(kind)[:-1]])
        other = "fp64_contents" if kind != "FP64" else "fp32_contents"
        yield f"contents of another type for {kind}", infer("types", [(f"IN_{kind}", wire(kind), [1, 2], {other: [1, 2]})])
    good = [("IN", "FP32", [1, 2], {"fp32_contents": [1, 2.5]})]
    yield "good", infer("fp32", good, id="要求-1")
    for name, parameters in {
        "custom": {"mine": ("int64_param", 1), "yours": ("string_param", "x"), "flag": ("bool_param", True), "real": ("double_param", 0.5)}, "uint64": {"mine": ("uint64_param", 1)}, "triton_": {"triton_x": ("bool_param", True)},
        "empty final": {"triton_enable_empty_final_response": ("bool_param", False)}, "priority as int64": {"priority": ("int64_param", 1)}, "priority as uint64": {"priority": ("uint64_param", 1)}, "priority as text": {"priority": ("string_param", "1")},
        "negative priority": {"priority": ("int64_param", -1)}, "timeout": {"timeout": ("int64_param", 5_000_000)}, "timeout as text": {"timeout": ("string_param", "1")}, "sequence flag as text": {"sequence_start": ("string_param", "1")}, "sequence id of bool": {"sequence_id": ("bool_param", True)},
    }.items():
        yield f"parameters: {name}", infer("fp32", good, parameters=parameters)
    yield "parameter without a value", call("ModelInfer", empty_parameter())
    yield "unknown model", infer("nothing", good)
    yield "unloaded model", infer("spare", good)
    yield "no model", infer("", good)
    yield "version that is none", infer("fp32", good, model_version="x")
    yield "version 3", infer("versions", [("IN", "FP32", [2], {"fp32_contents": [1, 2]})], model_version="3")
    yield "highest version", infer("versions", [("IN", "FP32", [2], {"fp32_contents": [1, 2]})])
    yield "named output", infer("fp32", good, outputs=[("OUT", {})])
    yield "unknown output", infer("fp32", good, outputs=[("OTHER", {})])
    yield "same output twice", infer("fp32", good, outputs=[("OUT", {}), ("OUT", {})])
    yield "no inputs", infer("fp32", [])
    yield "input without data", infer("fp32", [("IN", "FP32", [1, 2])])
    yield "unknown input", infer("fp32", [("OTHER", "FP32", [1, 2], {"fp32_contents": [1, 2]})])
    yield "input twice", infer("fp32", good + good)
    yield "wrong datatype", infer("fp32", [("IN", "INT32", [1, 2], {"int_contents": [1, 2]})])
    yield "datatype of no type", infer("fp32", [("IN", "FLOAT", [1, 2], {"fp32_contents": [1, 2]})])
    yield "datatype missing", infer("fp32", [("IN", "", [1, 2], {"fp32_contents": [1, 2]})])
    yield "too few contents", infer("fp32", [("IN", "FP32", [1, 2], {"fp32_contents": [1]})])
    yield "too many contents", infer("fp32", [("IN", "FP32", [1, 2], {"fp32_contents": [1, 2, 3]})])
    yield "two content fields", infer("fp32", [("IN", "FP32", [1, 1], {"fp32_contents": [1], "int_contents": [1]})])
    yield "contents beside raw", infer("fp32", good, [struct.pack("<2f", 1, 2)])
    yield "surplus raw", infer("fp32", [("IN", "FP32", [1, 1])], [struct.pack("<f", 1), b"more"])
    yield "raw too long", infer("fp32", [("IN", "FP32", [1, 1])], [b"12345"])
    yield "fewer raw than inputs", infer("two", [("A", "INT64", [1, 2]), ("B", "BYTES", [1, 1])], [struct.pack("<2q", 1, 2)])
    yield "one of two inputs missing", infer("two", [("A", "INT64", [1, 2], {"int64_contents": [1, 2]})])
    for name, shape in {"batch too large": [9, 1], "wrong rank": [2], "negative": [1, -1], "overflowing": [2**62, 8], "no shape": []}.items():
        yield f"shape: {name}", infer("fp32", [("IN", "FP32", shape, {"fp32_contents": [1, 2]})])
    yield "INT8 out of range", infer("types", [("IN_INT8", "INT8", [1, 1], {"int_contents": [300]})])
    yield "BYTES length beyond the data", infer("text", [("text_input", "BYTES", [1, 1])], [b"\xff\x00\x00\x00ab"])
    yield "BYTES with two elements for one", infer("text", [("text_input", "BYTES", [1, 1])], [b"\x01\x00\x00\x00a\x01\x00\x00\x00b"])
    yield "ensemble", infer("ensemble", [("X", "FP32", [1, 2], {"fp32_contents": [1, 2]})])
    scores = [("IN", "FP32", [1, 4], {"fp32_contents": [0.1, 0.9, -1, 0.5]})]
    for name, value in {"3": ("int64_param", 3), "9": ("int64_param", 9), "0": ("int64_param", 0), "-1": ("int64_param", -1), "text": ("string_param", "1")}.items():
        yield f"classification {name}", infer("labels", scores, outputs=[("OUT", {"classification": value})])
    for name, parameters in {"region": {"shared_memory_region": ("string_param", "none"), "shared_memory_byte_size": ("int64_param", 8)}, "size without a region": {"shared_memory_byte_size": ("int64_param", 8)}, "region without a size": {"shared_memory_region": ("string_param", "none")}}.items():
        yield f"output in shared memory: {name}", infer("fp32", good, outputs=[("OUT", parameters)])
    yield "decoupled model over ModelInfer", infer("decoupled", [("IN", "INT32", [1], {"int_contents": [1]})])
    yield "ensemble with a decoupled step over ModelInfer", infer("stream_first", [("X", "INT32", [1], {"int_contents": [1]})])
    one = [("IN", "INT32", [1, 1], {"int_contents": [1]})]
    start, end, number = ("sequence_start", ("bool_param", True)), ("sequence_end", ("bool_param", True)), ("sequence_id", ("int64_param", 9))
    for name, parameters in {"no id": [], "no start": [number], "begins": [number, start], "ends": [number, end], "text id": [("sequence_id", ("string_param", "名前")), start, end]}.items():
        yield f"sequence: {name}", infer("sequence", one, parameters=dict(parameters))


def empty_parameter():
    request = infer_request("fp32", [("IN", "FP32", [1, 1], {"fp32_contents": [1]})])
    request.parameters["x"].SetInParent()
    return request


def streams():
    good = lambda **more: infer_request("fp32", [("IN", "FP32", [1, 1], {"fp32_contents": [1]})], **more)
    bad = lambda **more: infer_request("fp32", [("IN", "FP32", [1, 1], {"int_contents": [1]})], **more)
    many = lambda **more: infer_request("decoupled", [("IN", "INT32", [2], {"int_contents": [1, 2]})], **more)
    steps = lambda model, **more: infer_request(model, [("X", "INT32", [2], {"int_contents": [1, 2]})], **more)
    final = {"triton_enable_empty_final_response": ("bool_param", True)}
    for name, requests in {
        "nothing": [], "one": [good(id="1")], "three": [good(id="1"), good(id="2"), good(id="3")], "error between": [good(id="1"), bad(id="2"), good(id="3")], "unknown model": [infer_request("nothing", [], id="1")],
        "decoupled": [many(id="1")], "decoupled with its end": [many(id="1", parameters=final)], "one with its end": [good(id="1", parameters=final)], "decoupled, refused": [infer_request("decoupled", [], id="1")],
        "ensemble with a decoupled step": [steps("stream_last", id="1")], "ensemble with its end": [steps("stream_last", id="1", parameters=final)], "two decoupled steps": [steps("stream_twice", id="1", parameters=final)],
    }.items():
        yield f"stream: {name}", lambda grpc, requests=requests: grpc.stream(requests)
        yield f"stream, gRPC errors: {name}", lambda grpc, requests=requests: grpc.stream(requests, metadata=[("triton_grpc_error", "true")])


def settings():
    yield "LogSettings", call("LogSettings", pb.LogSettingsRequest())
    for name, (key, kind, value) in {"level": ("log_verbose_level", "uint32_param", 0), "kind": ("log_info", "string_param", "x"), "unknown": ("nothing", "bool_param", True), "file": ("log_file", "string_param", "x"), "format": ("log_format", "string_param", "x")}.items():
        request = pb.LogSettingsRequest()
        setattr(request.settings[key], kind, value)
        yield f"LogSettings: {name}", call("LogSettings", request)
    yield "TraceSetting", call("TraceSetting", pb.TraceSettingRequest())
    for name, (key, value, model) in {"rate": ("trace_rate", ["5"], ""), "two rates": ("trace_rate", ["5", "6"], ""), "cleared": ("trace_rate", [], ""), "level": ("trace_level", ["TIMESTAMPS"], ""), "unknown": ("nothing", ["1"], ""), "model": ("trace_rate", ["8"], "fp32"), "unknown model": ("trace_rate", ["8"], "nothing")}.items():
        request = pb.TraceSettingRequest(model_name=model)
        request.settings[key].value.extend(value)
        yield f"TraceSetting: {name}", call("TraceSetting", request)
    for kind in ["System", "Cuda"]:
        yield f"{kind}SharedMemoryStatus", call(f"{kind}SharedMemoryStatus", getattr(pb, f"{kind}SharedMemoryStatusRequest")())
        yield f"{kind}SharedMemoryStatus of an unknown one", call(f"{kind}SharedMemoryStatus", getattr(pb, f"{kind}SharedMemoryStatusRequest")(name="none"))
        yield f"{kind}SharedMemoryRegister", call(f"{kind}SharedMemoryRegister", getattr(pb, f"{kind}SharedMemoryRegisterRequest")(name="a", byte_size=8))
        yield f"{kind}SharedMemoryUnregister", call(f"{kind}SharedMemoryUnregister", getattr(pb, f"{kind}SharedMemoryUnregisterRequest")(name="a"))


def repository():
    yield "RepositoryIndex, ready", call("RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
    yield "RepositoryIndex of a named repository", call("RepositoryIndex", pb.RepositoryIndexRequest(repository_name="other"))
    for model in ["spare", "nothing", ""]:
        yield f"RepositoryModelLoad of {model!r}", call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=model))
        yield f"RepositoryModelUnload of {model!r}", call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=model))
    yield "RepositoryModelLoad in a named repository", call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(repository_name="other", model_name="spare"))
    for name, (key, kind, value) in {"unknown": ("x", "string_param", "1"), "config of a number": ("config", "int64_param", 1), "config of bytes": ("config", "bytes_param", b"{}"), "config no JSON": ("config", "string_param", "{"), "file as text": ("file:1/x", "string_param", "x")}.items():
        request = pb.RepositoryModelLoadRequest(model_name="spare")
        setattr(request.parameters[key], kind, value)
        yield f"RepositoryModelLoad: {name}", call("RepositoryModelLoad", request)
    request = pb.RepositoryModelUnloadRequest(model_name="spare")
    request.parameters["unload_dependents"].string_param = "x"
    yield "RepositoryModelUnload: unload_dependents as text", call("RepositoryModelUnload", request)


def rows():
    for part in [facts, infers, streams, settings, repository]:
        yield from part()


def together(http, bodies):
    """Requests begun one after another without waiting; their answers in the order in which they began. Long enough apart to arrive in
    that order, the first also to be at work; all together within the first one's batch, however busy the machine."""
    answers = [None] * len(bodies)

    def ask(i):
        answers[i] = http("POST", "/v2/models/slow/infer", bodies[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
    for i, thread in enumerate(threads):
        thread.start()
        time.sleep(0.15 if i == 0 else 0.05)
    for thread in threads:
        thread.join()
    return {"status": [answer["status"] for answer in answers], "body": [answer["body"] for answer in answers]}


def scheduling():
    """The model "slow" takes 700 ms a batch, batches of two, and lets two requests of a priority wait."""
    body = lambda **parameters: one_input([1], [1, 1], "INT32", parameters=parameters)
    yield "two requests share a batch", lambda http: together(http, [body(), body(), body()])
    yield "queue full", lambda http: together(http, [one_input([1, 2], [2, 1], "INT32") for _ in range(5)])
    yield "a request's own timeout", lambda http: together(http, [one_input([1, 2], [2, 1], "INT32"), one_input([1, 2], [2, 1], "INT32", parameters={"timeout": 100_000})])
    yield "a priority has a queue of its own", lambda http: together(http, [one_input([1, 2], [2, 1], "INT32") for _ in range(3)] + [one_input([3, 4], [2, 1], "INT32", parameters={"priority": 1})])
    yield "statistics of the batches", lambda http: http("GET", "/v2/models/slow/stats")


def metrics(port):
    """Names of the families and, of one model, which counters are not zero."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    series = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("nv_")}
    families = sorted({name.split("{")[0] for name in series})
    counts = {name: value for name, value in series.items() if 'model="types"' in name and "duration" not in name and value}
    return {"status": answer.status, "headers": {"content-type": answer.headers["content-type"]}, "body": {"families": families, "counts": json.loads(json.dumps(counts, sort_keys=True))}}
