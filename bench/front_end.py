"""What a request costs the front ends: CPU microseconds of the server and requests a second, with the identity model.

Ours beside a real tritonserver (its Python stub is another process and not counted) and nginx with a fixed body of the same size, in
one run, round by round; medians and ratios. Needs what `make referee` installs. wrk asks over HTTP, h2load over gRPC.

    build/referee/bin/python bench/front_end.py [--seconds 4] [--rounds 3] [--only ours]
"""

import argparse
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/referee"))
sys.dont_write_bytecode = True
import calls  # noqa: E402
import servers  # noqa: E402

CONNECTIONS = 16
TICK = 1e6 / os.sysconf("SC_CLK_TCK")
JSON_BODY = json.dumps({"inputs": [{"name": "IN", "shape": [1, 4], "datatype": "FP32", "data": [1.5, 2.5, -3.25, 4.0]}]}).encode()
BINARY_HEAD = json.dumps({"inputs": [{"name": "IN", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}], "outputs": [{"name": "OUT", "parameters": {"binary_data": True}}]}).encode()
BINARY_BODY = BINARY_HEAD + struct.pack("<4f", 1.5, 2.5, -3.25, 4.0)
INFER = "/v2/models/fp32/infer"


def cpu(pids):
    """Microseconds that these processes have worked, user and system."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) * TICK
    return total


class Nginx:
    def __init__(self, directory, body):
        self.http = servers.free_ports(1)[0]
        # Its best settings for this: no log, connections that stay, one worker a core.
        (directory / "nginx.conf").write_text(
            f"daemon off; worker_processes auto; pid {directory}/nginx.pid; error_log stderr warn; events {{ worker_connections 256; }}\n"
            f"http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;"
            f" scgi_temp_path {directory}/scgi; server {{ listen 127.0.0.1:{self.http}; location / {{ default_type application/json; return 200 '{body}'; }} }} }}\n"
        )
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")], stdin=subprocess.DEVNULL)
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.http}/", timeout=1).read()
                break
            except OSError:
                subprocess.run(["sleep", "0.05"], check=True)

    def pids(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def successes(server):
    """What the server's own statistics say; h2load and wrk see no status of gRPC."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/v2/models/fp32/stats", timeout=10) as answer:
        return json.load(answer)["model_stats"][0]["inference_stats"]["success"]["count"]


def lua(text):
    return '"' + "".join(f"\\{byte:03d}" for byte in text) + '"'


def wrk(directory, port, path, body, headers, seconds):
    """Requests answered, and requests a second."""
    script = directory / "post.lua"
    lines = [f'wrk.method = "{"POST" if body else "GET"}"', *(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())]
    if body:
        lines.append(f"wrk.body = {lua(body)}")
    script.write_text("\n".join(lines))
    said = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"wrk met errors:\n{said}")
    return int(re.search(r"(\d+) requests in", said).group(1)), float(re.search(r"Requests/sec: *([\d.]+)", said).group(1))


def h2load(directory, port, message, seconds):
    data = directory / "message"
    data.write_bytes(struct.pack(">BI", 0, len(message)) + message)
    command = ["h2load", "-t1", f"-c{CONNECTIONS}", "-m1", f"-D{seconds}", "-d", data, "-H", "content-type: application/grpc", "-H", "te: trailers", f"http://127.0.0.1:{port}/inference.GRPCInferenceService/ModelInfer"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", said)
    if not found or found.group(2) != "0" or found.group(3) != "0":
        sys.exit(f"h2load met errors:\n{said}")
    return int(found.group(1)), float(re.search(r"([\d.]+) req/s", said).group(1))


def grpc_message():
    return calls.infer_request("fp32", [("IN", "FP32", [1, 4])], [struct.pack("<4f", 1.5, 2.5, -3.25, 4.0)]).SerializeToString()


CASES = {
    "JSON": lambda d, s, t: wrk(d, s.http, INFER, JSON_BODY, {}, t),
    "binary": lambda d, s, t: wrk(d, s.http, INFER, BINARY_BODY, {"Inference-Header-Content-Length": len(BINARY_HEAD)}, t),
    "gRPC": lambda d, s, t: h2load(d, s.grpc, grpc_message(), t),
    "health": lambda d, s, t: wrk(d, s.http, "/v2/health/live", b"", {}, t),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["inazuma"], help="ours alone, for profiling")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inazuma-front-end-") as name:
        directory = Path(name)
        running = [servers.start_ours(directory, ["--no-access-log"])]
        try:
            answer = urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{running[0].http}{INFER}", data=JSON_BODY), timeout=10).read().decode()
            if not arguments.only:
                running += [servers.start_referee(directory), Nginx(directory, answer)]
            measured = {}
            for _ in range(arguments.rounds):
                for case, ask in CASES.items():
                    for server in running:
                        nginx = isinstance(server, Nginx)
                        if nginx and case != "JSON":
                            continue
                        pids = server.pids() if nginx else [server.process.pid]
                        infers = not nginx and case != "health"
                        done = successes(server) if infers else 0
                        before = cpu(pids)
                        count, rate = ask(directory, server, arguments.seconds)
                        if infers and successes(server) - done < count:
                            sys.exit(f"{server.name}, {case}: {count} answers, {successes(server) - done} inferences")
                        measured.setdefault((case, "nginx" if nginx else server.name), []).append(((cpu(pids) - before) / count, rate))
        finally:
            for server in running:
                server.stop()
    middle = {key: tuple(statistics.median(one[i] for one in seen) for i in (0, 1)) for key, seen in measured.items()}
    print(f"{'':8}{'server':10}{'CPU us':>8}{'req/s':>9}{'of Triton':>11}{'of nginx':>10}")
    for (case, server), (used, rate) in middle.items():
        of = lambda other: f"{used / middle[other][0]:.2f}" if other in middle else ""
        print(f"{case:8}{server:10}{used:8.1f}{rate:9.0f}{of((case, 'triton')):>11}{of(('JSON', 'nginx')):>10}")


if __name__ == "__main__":
    main()
