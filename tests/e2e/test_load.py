"""Many users at once, users who go away, and a stop in the middle: every answer right, none lost, nothing left behind."""

import http.client
import itertools
import json
import os
import random
import socket
import threading
import time

import pytest

from server import DEMO, Http, Server

USERS = 16
DRAIN = 0.2
SECONDS = float(os.environ.get("E2E_LOAD_SECONDS", "30"))
NAMES = ["田中さん", "ジョー・バイデン", "トヨタ", "山田花子", "彼女", "私", "Smith"]
PLACES = ["東京", "アメリカ", "京都大学", "New York", "大阪😀"]
ACTS = ["へ行きました。", "で映画を見ました。", "は学生ではありません。", "で会いましょう。", "に住んでいます。"]
SENTENCES = [f"{name}は{place}{act}" for name, place, act in itertools.product(NAMES, PLACES, ACTS)]
LONG = {"inputs": "私は学生です。::", "parameters": {"max_new_tokens": 480, "ignore_eos": True}}


def requests_of(rng):
    """(path, body) of one of the three models; short and long, single and batched, plain and streamed."""
    text = rng.choice(SENTENCES)
    kind = rng.randrange(7)
    if kind == 0:
        return "/models/ner-ja", {"inputs": text, "parameters": {"format": "spans"}}
    if kind == 1:
        return "/models/ner-ja", {"inputs": [text, rng.choice(SENTENCES) * 3], "parameters": {"aggregation_strategy": "first"}}
    if kind == 2:
        return "/models/style-ja-gpt2/generate", {"inputs": text + "::", "parameters": {"max_new_tokens": 40}}
    if kind == 3:
        return "/models/style-ja-gpt2/generate", {"inputs": text + "::", "parameters": {"max_new_tokens": 12, "do_sample": True, "temperature": 1.5, "seed": rng.randrange(4)}}
    if kind == 4:
        return "/models/style-ja-gpt2/generate_stream", {"inputs": text + "::", "parameters": {"max_new_tokens": 20}}
    if kind == 5:
        return "/models/style-ja-t5/generate", {"inputs": text, "parameters": {"max_new_tokens": 40}}
    return "/models/style-ja-t5/pipeline/text2text-generation", {"inputs": [text, rng.choice(SENTENCES)]}


def text_of(response):
    """What must be equal between runs: everything but the last digits of scores, which follow the batch."""
    if response.headers["content-type"].startswith("text/event-stream"):
        events = [json.loads(block[5:]) for block in response.content.decode("utf-8").split("\n\n") if block.startswith("data:")]
        assert "".join(event["token"]["text"] for event in events if not event["token"]["special"]) == events[-1]["generated_text"]
        return [event["token"]["id"] for event in events], events[-1]["generated_text"], events[-1]["details"]
    return rounded(response.json())


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items() if key != "score"}
    return [rounded(item) for item in value] if isinstance(value, list) else value


@pytest.fixture()
def demo():
    with Server(DEMO / "ner-ja", DEMO / "style-ja-gpt2", DEMO / "style-ja-t5", "--no-access-log") as running:
        yield running


def until(condition, seconds=10):
    """True as soon as the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def gauge(api, name, model):
    lines = [line for line in api.get("/metrics").text.splitlines() if line.startswith(name + "{") and f'model="{model}"' in line]
    assert len(lines) == 1, (name, model, lines)
    return float(lines[0].rsplit(" ", 1)[1])


def test_sixteen_users(demo):
    """Each answer equals what a single user gets; memory and threads stay where they are."""
    api = Http(demo.url)
    rng = random.Random(7)
    pool = [requests_of(rng) for _ in range(140)]
    alone = [text_of(api.post(path, body)) for path, body in pool]
    counts, wrong, memory = [0] * USERS, [], []
    begin = time.monotonic()

    def user(number):
        own = random.Random(number)
        while time.monotonic() - begin < SECONDS:
            at = own.randrange(len(pool))
            try:
                response = api.post(*pool[at])
                got = text_of(response) if response.status_code == 200 else f"{response.status_code} {response.text}"
            except Exception as error:  # a lost connection is a wrong answer too
                got = repr(error)
            counts[number] += 1
            if got != alone[at]:
                wrong.append((pool[at], got, alone[at]))

    users = [threading.Thread(target=user, args=(number,)) for number in range(USERS)]
    for thread in users:
        thread.start()
    while time.monotonic() - begin < SECONDS:
        time.sleep(SECONDS / 30)
        memory.append(demo.memory())
    for thread in users:
        thread.join()
    assert not wrong, f"{len(wrong)} of {sum(counts)}: {wrong[:3]}"
    assert min(counts) >= SECONDS / 3, counts  # nobody starves
    early, late = max(memory[len(memory) // 3:len(memory) // 2]), max(memory[-5:])
    assert late < early + (16 << 20), [value >> 20 for value in memory]
    for model in ("ner-ja", "style-ja-gpt2", "style-ja-t5"):
        assert gauge(api, "inazuma_running_sequences", model) == 0 and gauge(api, "inazuma_waiting_sequences", model) == 0
        assert gauge(api, "inazuma_kv_cache_usage_ratio", model) == 0


def test_clients_that_go_away_free_their_slot(demo):
    api = Http(demo.url)
    for path in ("/models/style-ja-gpt2/generate", "/models/style-ja-gpt2/generate_stream"):
        body = json.dumps(LONG, ensure_ascii=False).encode("utf-8")
        gone = []
        for _ in range(40):
            connection = socket.create_connection(("127.0.0.1", demo.port))
            connection.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body)
            gone.append(connection)
        assert until(lambda: gauge(api, "inazuma_running_sequences", "style-ja-gpt2") > 0)
        for connection in gone:
            connection.close()
        begin = time.monotonic()
        assert until(lambda: gauge(api, "inazuma_running_sequences", "style-ja-gpt2") == 0 and gauge(api, "inazuma_waiting_sequences", "style-ja-gpt2") == 0, 3), "the slots stay taken"
        assert time.monotonic() - begin < 3 and gauge(api, "inazuma_kv_cache_usage_ratio", "style-ja-gpt2") == 0
    assert api.answer("/models/style-ja-gpt2/generate", {"inputs": "私は学生です。::"})["generated_text"] == "私は学生だ。"


def test_a_full_queue_says_so():
    with Server(DEMO / "style-ja-gpt2", "--max-queue-size", 2, "--max-batch-requests", 1) as running:
        api = Http(running.url)
        replies = []
        ask = lambda: replies.append(api.post("/generate", {**LONG, "parameters": {**LONG["parameters"], "max_new_tokens": 200}}))
        users = [threading.Thread(target=ask) for _ in range(12)]
        for thread in users:
            thread.start()
        for thread in users:
            thread.join()
        refused = [reply for reply in replies if reply.status_code != 200]
        assert len(replies) == 12 and refused and len(refused) < 12
        for reply in refused:
            assert reply.status_code == 429 and reply.json()["error_type"] == "overloaded"
            assert int(reply.headers["retry-after"]) >= 1 and int(reply.headers["retry-after-ms"]) >= 1 and reply.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("attempt", range(3))
def test_sigterm_under_load_loses_nothing(attempt):
    """Every request that the server took before it stopped listening is answered 200 in full; then it ends with 0."""
    running = Server(DEMO / "ner-ja", DEMO / "style-ja-gpt2", DEMO / "style-ja-t5", "--no-access-log", "--drain-delay", DRAIN)
    try:
        lost, answered, stop_sent = [], [0], threading.Event()

        def user(number):
            rng = random.Random(100 * attempt + number)
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
            while True:
                path, body = requests_of(rng)
                fresh = connection.sock is None
                try:
                    if fresh:
                        connection.connect()
                except ConnectionRefusedError:
                    return  # closed: nothing was sent
                except OSError as error:
                    return lost.append(repr(error)) if not stop_sent.is_set() else None
                before = time.monotonic()
                try:
                    connection.request("POST", path, body=json.dumps(body).encode("utf-8"))
                    response = connection.getresponse()
                    data = response.read()
                    if response.status != 200 or not data:
                        lost.append((path, response.status, data[:200]))
                    answered[0] += 1
                    if response.headers.get("connection", "").lower() == "close":
                        connection.close()
                except (http.client.HTTPException, OSError) as error:
                    # Only a request sent after the drain delay may meet a closing connection.
                    if not stop_sent.is_set() or before < stopped_at[0] + DRAIN:
                        lost.append((path, repr(error), fresh))
                    connection.close()

        stopped_at = [0.0]
        users = [threading.Thread(target=user, args=(number,)) for number in range(USERS)]
        for thread in users:
            thread.start()
        time.sleep(1.2)
        health = http.client.HTTPConnection("127.0.0.1", running.port, timeout=5)
        stopped_at[0] = time.monotonic()
        stop_sent.set()
        running.terminate()
        time.sleep(0.1)
        health.request("GET", "/health/ready")
        assert health.getresponse().status == 503  # balancers are told before the listener closes
        assert running.wait(20) == 0, running.log()[-2000:]
        for thread in users:
            thread.join()
        assert not lost and answered[0] > USERS, (lost[:5], answered)
    finally:
        running.kill()


def test_sigterm_finishes_a_long_stream():
    running = Server(DEMO / "style-ja-gpt2")
    try:
        answers = []
        users = [threading.Thread(target=lambda: answers.append(Http(running.url).post("/generate_stream", LONG))) for _ in range(4)]
        for thread in users:
            thread.start()
        api = Http(running.url)
        assert until(lambda: gauge(api, "inazuma_running_sequences", "style-ja-gpt2") == 4)
        running.terminate()
        assert running.wait(30) == 0
        for thread in users:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 4
        assert all('"finish_reason":"length","generated_tokens":480' in answer.text.rstrip().rsplit("\n", 1)[1] for answer in answers)
    finally:
        running.kill()
