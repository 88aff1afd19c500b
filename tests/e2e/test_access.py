"""Keys, hosts, origins, CORS: a table of routes x keys, so that no path escapes the check."""

import signal
import time

import pytest

from server import DEMO, TINY, Http, Server

KEY, OTHER = "first-secret", "second-secret"
COMPUTED = ["/", "/generate", "/generate_stream", "/embed", "/embed_all", "/predict", "/rerank", "/similarity", "/tokenize", "/decode"]
ROUTES = [("POST", prefix + path if prefix else path) for prefix in ("", "/models/ner-ja") for path in COMPUTED]
ROUTES += [("POST", "/models/ner-ja"), ("POST", "/models/ner-ja/pipeline/token-classification"), ("POST", "/pipeline/token-classification/ner-ja"), ("GET", "/info"), ("GET", "/version"), ("GET", "/models/ner-ja/info"),
           ("HEAD", "/info"), ("GET", "/"), ("GET", "/nothing"), ("POST", "/nothing"), ("DELETE", "/generate"), ("GET", "/models/nobody/info"), ("POST", "/generate/"), ("POST", "//generate"), ("POST", "/./generate"),
           ("POST", "/%67enerate"), ("POST", "/GENERATE"), ("POST", "/generate?key=first-secret"), ("POST", "/models/ner-ja//generate"), ("POST", "/health/../generate"), ("POST", "/health/%2e%2e/generate")]
OPEN = ["/health", "/health/live", "/health/ready", "/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready", "/metrics"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(f"{OTHER}\r\n\n")
    with Server(DEMO / "ner-ja", "--api-key", KEY, "--api-key-file", keys, "--cors-allow-origin", "https://app.example", "--allowed-host", "gate.example") as running:
        yield Http(running.url)
        assert KEY not in running.log() and OTHER not in running.log()


@pytest.mark.parametrize("method,path", ROUTES)
def test_keys(guarded, method, path):
    body = {"inputs": "a"} if method == "POST" else None
    wrong = [{}, {"x-api-key": ""}, {"x-api-key": KEY + "x"}, {"x-api-key": KEY[:-1]}, {"authorization": "Bearer nonsense"}, {"authorization": f"Basic {KEY}"}, {"authorization": KEY}, {"authorization": "Bearer "}]
    for headers in wrong:
        response = guarded.request(method, path, json=body, headers=headers)
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer" and response.headers["x-should-retry"] == "false", (headers, response.text)
    for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {OTHER}"}, {"x-api-key": OTHER}):
        assert guarded.request(method, path, json=body, headers=headers).status_code != 401, headers


def test_open_routes(guarded):
    for path in OPEN:
        assert guarded.get(path).status_code == 200, path
        assert guarded.post(path, {}).status_code in (401, 405), path


def test_metrics_can_need_a_key():
    with Server(TINY / "qa", "--api-key", KEY, "--metrics-auth") as running:
        assert Http(running.url).get("/metrics").status_code == 401
        assert Http(running.url).get("/metrics", headers={"x-api-key": KEY}).status_code == 200


def test_keys_are_read_again_on_sighup(tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{KEY}\n")
    with Server(TINY / "qa", "--api-key-file", keys) as running:
        http = Http(running.url)

        def statuses():
            return [http.get("/info", headers={"x-api-key": key}).status_code for key in (KEY, OTHER)]

        def hang_up(text, said):
            keys.write_text(text)
            seen = running.log().count(said)
            running.process.send_signal(signal.SIGHUP)
            until = time.monotonic() + 10
            while running.log().count(said) == seen and time.monotonic() < until:
                time.sleep(0.02)

        assert statuses() == [200, 401]
        hang_up(f"{OTHER}\n", "API keys read again")
        assert statuses() == [401, 200]
        hang_up("", "the API keys stay as they were")  # an empty file must not open the server
        assert statuses() == [401, 200]


def test_keys_from_the_environment(monkeypatch):
    import server
    monkeypatch.setattr(server, "environment", lambda before=server.environment: {**before(), "INAZUMA_API_KEY": KEY})
    with Server(TINY / "qa") as running:
        assert Http(running.url).get("/info").status_code == 401
        assert Http(running.url).get("/info", headers={"x-api-key": KEY}).status_code == 200


@pytest.mark.parametrize("host,status", [("localhost", 200), ("127.0.0.1:1234", 200), ("[::1]:80", 200), ("gate.example", 200), ("GATE.example:8000", 200), ("evil.example", 403), ("localhost.evil.example", 403),
                                         ("127.0.0.1.evil.example", 403), ("gate.example.evil", 403), ("127.evil.example", 403)])
def test_hosts(guarded, host, status):
    response = guarded.post("/", {"inputs": "a"}, headers={"host": host, "x-api-key": KEY})
    assert response.status_code == status, response.text


@pytest.mark.parametrize("origin,status", [("https://app.example", 200), ("https://evil.example", 403), ("null", 403), ("http://app.example", 403), ("https://app.example.evil", 403)])
def test_origins(guarded, origin, status):
    response = guarded.post("/", {"inputs": "a"}, headers={"origin": origin, "x-api-key": KEY})
    assert response.status_code == status
    assert response.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
    assert guarded.get("/health", headers={"origin": origin}).status_code == 200  # reads are the browser's to judge


def test_own_origin(guarded):
    assert guarded.post("/", {"inputs": "a"}, headers={"origin": guarded.url, "x-api-key": KEY}).status_code == 200


def test_preflight(guarded):
    asked = {"origin": "https://app.example", "access-control-request-method": "POST", "access-control-request-headers": "content-type, authorization"}
    response = guarded.request("OPTIONS", "/generate", headers=asked)
    assert response.status_code == 204 and response.headers["access-control-allow-origin"] == "https://app.example" and response.headers["access-control-max-age"] == "600"
    assert "POST" in response.headers["access-control-allow-methods"] and response.headers["access-control-allow-headers"] == "content-type, authorization"
    stranger = guarded.request("OPTIONS", "/generate", headers={**asked, "origin": "https://evil.example"})
    assert not [name for name in stranger.headers if name.lower().startswith("access-control")]
    exposed = guarded.post("/", {"inputs": "a"}, headers={"origin": "https://app.example", "x-api-key": KEY}).headers["access-control-expose-headers"]
    assert {"x-request-id", "retry-after", "x-total-time", "x-compute-tokens"} <= set(exposed.split(", "))


def test_cors_is_off_by_default(http):
    response = http.get("/health", headers={"origin": "https://app.example"})
    assert response.status_code == 200 and not [name for name in response.headers if name.lower().startswith("access-control")]
    assert http.post("/", {"inputs": "a"}, headers={"origin": "https://app.example"}).status_code == 403
    assert http.post("/", {"inputs": "a"}, headers={"host": "evil.example"}).status_code == 403
