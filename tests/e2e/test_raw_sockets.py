"""Bytes that no client library sends: smuggling, half requests, slow requests. The server answers or closes, and lives."""

import re
import socket
import struct
import time

import pytest

from server import TINY, Http, Server

BODY = b'{"inputs":{"question":"who","context":"John lives in Paris"}}'
HOST = b"Host: localhost\r\n"
GOOD = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def hasty():
    """A server with short patience."""
    with Server(TINY / "qa", "--header-timeout", 1, "--body-timeout", 1, "--keep-alive-timeout", 2) as running:
        yield running
        assert Http(running.url).get("/health").status_code == 200


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=8)


def read_all(connection):
    """Everything until the server closes; a server that hangs fails by the socket's timeout."""
    out = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return out
        if not piece:
            return out
        out += piece


def exchange(server, data):
    with connect(server) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass
        return read_all(connection)


def statuses(reply):
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", reply)]


CHUNKED = b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"
REFUSED = {
    "both lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED + GOOD,
    "both lengths, other order": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n" + CHUNKED + GOOD,
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "two equal lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 6\r\n\r\nhello!",
    "negative length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\nhello",
    "signed length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
    "hex length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nhello",
    "huge length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "space before colon": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nhello",
    "folded header": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\nhello",
    "unknown coding": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED,
    "chunked not last": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKED,
    "coding with tab": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED,
    "chunk size overflows": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "chunk size is no number": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "chunk without its end": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef0\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\n" + HOST + b"Host: evil\r\n\r\n",
    "bare LF header end": b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nhello",
    "NUL in a header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "bare CR in a header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n",
    "space in the target": b"GET /health x HTTP/1.1\r\n" + HOST + b"\r\n",
    "wrong version": b"GET /health HTTP/3.0\r\n" + HOST + b"\r\n",
    "no version": b"GET /health\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "noise": bytes(range(256)) * 20,
    "too many headers": b"GET /health HTTP/1.1\r\n" + HOST + b"".join(b"x-%d: y\r\n" % i for i in range(5000)) + b"\r\n",
    "broken percent": b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n",
    "percent NUL": b"GET /health%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "target without slash": b"GET health HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad host in absolute form": b"POST http://localhost/ HTTP/1.1\r\nHost: evil.example\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(hasty, name):
    """One refusal and a closed connection at most; what follows in the stream is never taken for a request."""
    begin = time.monotonic()
    got = statuses(exchange(hasty, REFUSED[name]))
    assert len(got) <= 1 and all(400 <= status < 500 or status == 505 for status in got), got
    assert time.monotonic() - begin < 5 and hasty.alive()


def test_pipelined_requests(hasty):
    """In order, one answer each; a bad one ends the connection."""
    health = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
    with connect(hasty) as connection:
        connection.sendall(health + GOOD + b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n" + GOOD + b"NONSENSE\r\n\r\n" + GOOD)
        assert statuses(read_all(connection)) == [200, 200, 404, 200, 400]


def test_chunked_body(hasty):
    pieces = b"".join(b"%x;ext=1\r\n%c\r\n" % (1, byte) for byte in BODY) + b"0\r\nTrailer: x\r\n\r\n"
    with connect(hasty) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + pieces)
        assert statuses(read_all(connection)) == [200]
    with connect(hasty) as connection:  # a chunked body has the same limit
        try:
            connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert statuses(read_all(connection)) in ([413], [])


def test_expect_continue(hasty):
    with connect(hasty) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert statuses(read_all(connection)) == [200]


def test_http_1_0(hasty):
    with connect(hasty) as connection:
        connection.sendall(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        reply = read_all(connection)
    assert statuses(reply) == [200] and b"chunked" not in reply.lower()


@pytest.mark.parametrize("sent,seconds", [(b"", 2), (b"POST", 1), (GOOD[:20], 1), (GOOD[:-1], 1), (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 1)], ids=["nothing", "method", "header", "body", "chunk"])
def test_silent_clients_are_closed(hasty, sent, seconds):
    begin = time.monotonic()
    with connect(hasty) as connection:
        connection.sendall(sent)
        got = statuses(read_all(connection))
    took = time.monotonic() - begin
    assert got in ([], [408]) and seconds * 0.5 < took < seconds + 2.5, (got, took)


def test_slow_header_is_bounded_as_a_whole(hasty):
    """A byte now and then does not buy more time."""
    begin = time.monotonic()
    with connect(hasty) as connection:
        try:
            for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 60:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            pass
        read_all(connection)
    assert time.monotonic() - begin < 4


def test_every_cut_of_a_request(hasty):
    for cut in range(0, len(GOOD), 7):
        with connect(hasty) as connection:
            connection.sendall(GOOD[:cut])
    for cut in range(1, len(GOOD), 13):
        with connect(hasty) as connection:
            connection.sendall(GOOD[:cut])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
    for cut in range(1, len(GOOD), 29):
        with connect(hasty) as connection:
            connection.sendall(GOOD[:cut])
            time.sleep(0.005)
            connection.sendall(GOOD[cut:])
            assert connection.recv(12) == b"HTTP/1.1 200"
    assert hasty.alive()


def test_many_idle_connections(hasty):
    held = [connect(hasty) for _ in range(300)]
    assert Http(hasty.url).get("/health").status_code == 200
    for connection in held:
        connection.close()


@pytest.mark.parametrize("target", [b"*", b"localhost:80", b"/%zz"])
def test_what_is_no_path_has_an_id(hasty, target):
    reply = exchange(hasty, b"OPTIONS " + target + b" HTTP/1.1\r\n" + HOST + b"x-request-id: mine-7\r\nConnection: close\r\n\r\n")
    assert statuses(reply) == [400] and b"x-request-id: mine-7\r\n" in reply, reply
