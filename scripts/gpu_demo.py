"""The demo models served from a GPU, asked by sixteen users at once; part of gpu_check.

    python scripts/gpu_demo.py TREE LOGS

In float32 every answer must be the one that the server gives on the CPU; in float16 the server is kept busy, every answer must come,
and what /metrics says of the GPU meanwhile must be what nvidia-smi says. Needs the tree of gpu_pack.sh, whole.
"""
import http.client
import json
import pathlib
import re
import subprocess
import sys
import threading
import time

DEMO = pathlib.Path(__file__).parent.parent / "models" / "demo"
NAMES = ["ner-ja", "style-ja-t5", "style-ja-gpt2"]
USERS, SECONDS = 16, 4
TEXTS = [
    "ジョー・バイデンはアメリカの大統領です。",
    "私は昨日、友達と映画を見ました。",
    "東京都の小池知事は、二十三日に大阪で開かれた会議に出席し、山田会長と話しました。",
    "明日は雨が降るでしょう。傘を持っていってください。",
    "ﾄｳｷｮｳで山田さんに会いました😀",
]


def questions():
    for text in TEXTS:
        yield "/models/ner-ja", {"inputs": text}
        yield "/models/style-ja-t5", {"inputs": text}
        yield "/models/style-ja-gpt2", {"inputs": text + "::"}


class Server:
    def __init__(self, tree, log, *arguments):
        self.log = log
        command = [tree / "bin/inazuma", "serve", *(DEMO / name for name in NAMES), "--port", "0", "--metrics-interval-ms=100",
                   *arguments]
        self.process = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(r"(?:127\.0\.0\.1|localhost):(\d+)", log.read_text(errors="replace")):
                self.port = int(found[1])
                try:
                    if self.get("/health/ready")[0] == 200:
                        return
                except OSError:
                    pass
            time.sleep(0.1)
        self.process.terminate()
        raise SystemExit(f"the server did not become ready: {log.read_text(errors='replace')[-2000:]}")

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


def ask(connection, path, body):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        raise SystemExit(f"{path} {body}: {answer.status} {text}")
    return json.loads(text)


def same(one, other):
    """Scores agree to a thousandth, all else exactly."""
    if isinstance(one, float) or isinstance(other, float):
        return abs(one - other) <= 1e-3
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return one == other


def together(port, work):
    """`work(connection, user)` of all users at once; what the first that failed says ends the program."""
    failed = []

    def user(number):
        try:
            work(http.client.HTTPConnection("127.0.0.1", port, timeout=60), number)
        except (Exception, SystemExit) as error:
            failed.append(str(error) or repr(error))

    threads = [threading.Thread(target=user, args=(number,)) for number in range(USERS)]
    for thread in threads:
        thread.start()
    return threads, failed


def finish(threads, failed):
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(failed[0])


def metrics(server):
    """nv_gpu_* of the first GPU and its UUID."""
    status, text = server.get("/metrics")
    found = re.findall(r'^(nv_gpu_\w+|nv_energy_consumption)\{gpu_uuid="([^"]+)"\} (\S+)$', text, re.MULTILINE)
    if status != 200 or not found:
        raise SystemExit(f"/metrics answers {status} and tells nothing of a GPU")
    uuid = found[0][1]
    return uuid, {name: float(value) for name, owner, value in found if owner == uuid}


def smi(uuid):
    fields = "memory.total,memory.used,power.draw.instant,power.limit,utilization.gpu"
    line = subprocess.run(["nvidia-smi", "-i", uuid, f"--query-gpu={fields}", "--format=csv,noheader,nounits"], capture_output=True,
                          text=True, check=True).stdout
    total, used, power, limit, busy = (float(word) for word in line.split(","))
    return total * 2**20, used * 2**20, power, limit, busy / 100


def compare_metrics(server):
    """Power and load change from moment to moment: the nearest of several looks counts."""
    best = None
    for _ in range(5):
        uuid, ours = metrics(server)
        total, used, power, limit, busy = smi(uuid)
        off = {
            "nv_gpu_memory_total_bytes": abs(ours["nv_gpu_memory_total_bytes"] - total) / 2**20,
            "nv_gpu_memory_used_bytes": abs(ours["nv_gpu_memory_used_bytes"] - used) / 2**20,
            "nv_gpu_power_usage": abs(ours["nv_gpu_power_usage"] - power) / power,
            "nv_gpu_power_limit": abs(ours["nv_gpu_power_limit"] - limit),
            "nv_gpu_utilization": abs(ours["nv_gpu_utilization"] - busy),
        }
        best = off if best is None else {name: min(off[name], best[name]) for name in off}
        print(f"/metrics {ours}; nvidia-smi: {total:.0f} {used:.0f} bytes, {power} of {limit} W, {busy}", flush=True)
        time.sleep(0.3)
    bounds = {"nv_gpu_memory_total_bytes": 1, "nv_gpu_memory_used_bytes": 16, "nv_gpu_power_usage": 0.1, "nv_gpu_power_limit": 1,
              "nv_gpu_utilization": 0.2}
    wrong = {name: off for name, off in best.items() if off > bounds[name]}
    if wrong or ours["nv_gpu_utilization"] <= 0 or "nv_energy_consumption" not in ours:
        raise SystemExit(f"/metrics and nvidia-smi disagree: {wrong or ours}")


def main():
    tree, logs = pathlib.Path(sys.argv[1]).absolute(), pathlib.Path(sys.argv[2])
    asked = list(questions())
    with Server(tree, logs / "demo-cpu.log", "--device", "cpu") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        expected = [ask(connection, *question) for question in asked]
    with Server(tree, logs / "demo-f32.log", "--device", "cuda:0", "--dtype", "float32") as server:

        def check(connection, number):
            for turn in range(2 * len(asked)):
                which = (turn + number) % len(asked)
                answer = ask(connection, *asked[which])
                if not same(answer, expected[which]):
                    raise SystemExit(f"{asked[which]}: the GPU answers {answer}, the CPU {expected[which]}")

        finish(*together(server.port, check))
    print(f"float32: {USERS} users, {2 * len(asked)} answers each: all as on the CPU", flush=True)
    with Server(tree, logs / "demo-f16.log", "--device", "cuda:0", "--http-threads", "4") as server:
        counts = [0] * USERS
        end = time.monotonic() + SECONDS

        def load(connection, number):
            while time.monotonic() < end:
                ask(connection, *asked[(counts[number] + number) % len(asked)])
                counts[number] += 1

        running = together(server.port, load)
        time.sleep(0.5)
        compare_metrics(server)
        finish(*running)
        print(f"float16: {USERS} users, {sum(counts)} answers in {SECONDS} s; /metrics says what nvidia-smi says", flush=True)


if __name__ == "__main__":
    main()
