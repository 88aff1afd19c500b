"""The gRPC port and TLS, under grpcio, tritonclient and requests."""

import re
import threading
import time

import grpc
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import trustme
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from server import DEMO, Server, run

SERVICE = "inference.GRPCInferenceService"


def grpc_address(server):
    return "127.0.0.1:" + re.search(r"gRPC on \S+?:(\d+)", server.log()).group(1)


def wait_for(text, server):
    until = time.monotonic() + 30
    while text not in server.log():
        assert time.monotonic() < until, server.log()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def both():
    with Server(DEMO / "ner-ja", "--grpc-port", "0") as running:
        wait_for("Ready in", running)
        yield running


@pytest.fixture
def channel(both):
    with grpc.insecure_channel(grpc_address(both)) as opened:
        yield opened


def test_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ["", "ner-ja", SERVICE]:
        assert stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as refused:
        stub.Check(health_pb2.HealthCheckRequest(service="何か"), timeout=10)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    assert "何か" in refused.value.details()
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=10)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
    pool = DescriptorPool(database)
    methods = pool.FindServiceByName(SERVICE).methods_by_name
    assert methods["ModelStreamInfer"].client_streaming and methods["ModelStreamInfer"].server_streaming
    assert pool.FindMessageTypeByName("inference.ModelConfig").fields_by_name["max_batch_size"].number == 4
    with pytest.raises(KeyError):
        pool.FindMessageTypeByName("inference.Nothing")


@pytest.mark.parametrize("method, code", [("/no.Such/Method", "UNIMPLEMENTED"), (f"/{SERVICE}/Nothing", "UNIMPLEMENTED"), (f"/{SERVICE}/ModelInfer", "INVALID_ARGUMENT")])
def test_calls_that_cannot_be_made(channel, method, code):
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.RpcError) as refused:
        call(b"\xff\xff\xff", timeout=10)
    assert refused.value.code().name == code
    assert refused.value.details()


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests(channel, compression):
    call = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=health_pb2.HealthCheckResponse.FromString)
    request = health_pb2.HealthCheckRequest(service="ner-ja").SerializeToString()
    assert call(request, timeout=10, compression=compression).status == health_pb2.HealthCheckResponse.SERVING


def test_tritonclient_sees_the_server(both):
    over_grpc = triton_grpc.InferenceServerClient(grpc_address(both))
    over_http = triton_http.InferenceServerClient(both.url.removeprefix("http://"))
    for client in [over_grpc, over_http]:
        assert client.is_server_live() and client.is_server_ready()
        assert not client.is_model_ready("nothing")
    assert over_grpc.get_server_metadata(as_json=True)["extensions"] == over_http.get_server_metadata()["extensions"]
    assert {"binary_tensor_data", "statistics"} <= set(over_http.get_server_metadata()["extensions"])
    settings = over_http.get_log_settings()
    assert settings["log_error"] is True
    assert over_grpc.update_log_settings({"log_verbose_level": 1}, as_json=True)["settings"]["log_verbose_level"]["uint32_param"] == 1
    assert over_http.get_log_settings()["log_verbose_level"] == 1
    over_http.update_log_settings({"log_verbose_level": settings["log_verbose_level"]})
    for client in [over_grpc, over_http]:
        with pytest.raises(Exception, match="polling is enabled|explicit"):
            client.load_model("ner-ja")
        with pytest.raises(Exception, match="allow-client-shm"):
            client.register_system_shared_memory("region", "/key", 64)


def test_draining_ends_watches_and_connections():
    with Server(DEMO / "ner-ja", "--grpc-port", "0") as running:
        wait_for("Ready in", running)
        with grpc.insecure_channel(grpc_address(running)) as opened:
            watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(), timeout=30)
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            seen = []
            listener = threading.Thread(target=lambda: seen.extend(answer.status for answer in watch_until_end(watch)))
            listener.start()
            running.terminate()
            assert running.wait(30) == 0
            listener.join(30)
            assert seen == [health_pb2.HealthCheckResponse.NOT_SERVING]


def watch_until_end(watch):
    try:
        yield from watch
    except grpc.RpcError:
        return


def test_keys_guard_grpc_too():
    with Server(DEMO / "ner-ja", "--grpc-port", "0", "--api-key", "geheim") as running:
        wait_for("Ready in", running)
        client = triton_grpc.InferenceServerClient(grpc_address(running))
        assert client.is_server_live()
        with pytest.raises(Exception, match="a key is needed"):
            client.get_server_metadata()
        assert client.get_server_metadata(headers={"authorization": "Bearer geheim"}).name


def test_tls(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    with open(tmp_path / "cert.pem", "wb") as file:
        for blob in certificate.cert_chain_pems:
            file.write(blob.bytes())
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Server(DEMO / "ner-ja", "--grpc-port", "0", "--ssl-certfile", tmp_path / "cert.pem", "--ssl-keyfile", tmp_path / "key.pem") as running:
        wait_for("Ready in", running)
        with requests.Session() as session:
            for _ in range(3):
                answer = session.post(f"https://127.0.0.1:{running.port}/models/ner-ja", json={"inputs": "東京"}, verify=str(tmp_path / "ca.pem"), timeout=30)
                assert answer.status_code == 200
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"http://127.0.0.1:{running.port}/health", timeout=10)
        credentials = grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes())
        with grpc.secure_channel(grpc_address(running), credentials) as opened:
            assert health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING


def test_certificates_that_cannot_be_used(tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")
    for flags, says in [
        (["--ssl-certfile", tmp_path / "bad.pem"], "belong together"),
        (["--ssl-certfile", tmp_path / "bad.pem", "--ssl-keyfile", tmp_path / "bad.pem"], "bad.pem"),
        (["--grpc-port", "0", "--grpc-use-ssl", "true"], "--grpc-server-cert"),
    ]:
        ended = run("serve", DEMO / "ner-ja", "--port", "0", *flags)
        assert ended.returncode == 2, ended.stderr
        assert says in ended.stderr
