"""One request over the wire, and what came back as plain data that can be compared."""

import http.client
import json
import re

import grpc
from google.protobuf import json_format
from tritonclient.grpc import service_pb2, service_pb2_grpc

HEADERS = ["content-type", "inference-header-content-length", "content-encoding", "accept-encoding"]
CLOCKS = re.compile(r"^(ns|last_inference)$")


def without_clocks(value):
    """Durations and wall-clock times say nothing about the protocol."""
    if isinstance(value, dict):
        return {key: (0 if CLOCKS.match(key) else without_clocks(one)) for key, one in value.items()}
    if isinstance(value, list):
        return [without_clocks(one) for one in value]
    return value


def body_as_data(headers, body):
    """JSON as data, the binary tail as hex; event streams as a list of their events."""
    kind = headers.get("content-type", "")
    if headers.get("content-encoding"):
        return {"compressed": True}  # compressors may differ; the clients' tests inflate
    if kind.startswith("text/event-stream"):
        return [json.loads(event.removeprefix("data: ")) for event in body.decode().split("\n\n") if event]
    size = headers.get("inference-header-content-length")
    if size is not None:
        return {"json": without_clocks(json.loads(body[: int(size)])), "tail": body[int(size) :].hex()}
    try:
        return without_clocks(json.loads(body))
    except ValueError:
        return body.decode("utf-8", "replace")


class Http:
    def __init__(self, server):
        self.port = server.http

    def __call__(self, method, path, body=b"", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if isinstance(body, (dict, list)):
            body = json.dumps(body, ensure_ascii=False)
        if isinstance(body, str):
            body = body.encode()
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if method == "POST":
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body if method == "POST" else None)
            reply = connection.getresponse()
            content = reply.read()
            seen = {name: reply.headers[name] for name in HEADERS if reply.headers[name] is not None}
            return {"status": reply.status, "headers": seen, "body": body_as_data(seen, content)}
        except (http.client.HTTPException, OSError) as error:
            return {"status": "connection lost", "headers": {}, "body": type(error).__name__}
        finally:
            connection.close()


def message_as_data(message):
    return without_clocks(json_format.MessageToDict(message, preserving_proto_field_name=True))


class Grpc:
    def __init__(self, server):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc}", options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def __call__(self, method, request):
        try:
            reply = getattr(self.stub, method)(request, timeout=30)
            return {"status": "OK", "body": message_as_data(reply)}
        except grpc.RpcError as error:
            return {"status": error.code().name, "body": {"error": error.details()}}

    def stream(self, requests, metadata=()):
        replies = []
        try:
            for reply in self.stub.ModelStreamInfer(iter(requests), timeout=30, metadata=metadata):
                replies.append(message_as_data(reply))
            return {"status": "OK", "body": replies}
        except grpc.RpcError as error:
            return {"status": error.code().name, "body": [*replies, {"error": error.details()}]}


def infer_request(model, inputs, raw=None, **fields):
    """inputs: (name, datatype, shape[, contents as a dict]). parameters: name -> (kind, value)."""
    parameters = fields.pop("parameters", {})
    outputs = fields.pop("outputs", [])
    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=raw or [], **fields)
    for name, datatype, shape, *contents in inputs:
        tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
        for field, values in (contents[0] if contents else {}).items():
            getattr(tensor.contents, field).extend(values)
    for name, (kind, value) in parameters.items():
        setattr(request.parameters[name], kind, value)
    for name, wanted in outputs:
        output = request.outputs.add(name=name)
        for key, (kind, value) in wanted.items():
            setattr(output.parameters[key], kind, value)
    return request
