"""Asks the real tritonserver and ours the same table of requests and compares what comes back.

Every difference must be named in expected.py with its reason; one that is not named there fails, and so does one that is named and is gone."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import calls
import expected
import models
import servers
import table_grpc
import table_http


def ask(server, backend):
    """row -> answer of one server."""
    http, grpc = calls.Http(server), calls.Grpc(server)
    http.backend, http.model_file = backend, models.PYTHON_IDENTITY.encode()
    answers = {}

    def collect(rows, caller, prefix):
        for name, call in rows:
            row = f"{prefix}: {name}"
            assert row not in answers, f"two rows are called {row}"
            answers[row] = call(caller)
            if server.process.poll() is not None:
                sys.exit(f"{server.name} ended with {server.process.returncode} at {row}:\n{server.log.read_text(errors='replace')[-3000:]}")

    collect(table_grpc.rows(), grpc, "gRPC")
    collect(table_grpc.scheduling(), http, "HTTP")
    answers["metrics"] = table_grpc.metrics(server.metrics)
    collect(table_http.rows(), http, "HTTP")
    return answers


def flat(value, path=""):
    """Leaves by path, so that a difference has a place."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from flat(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for i, one in enumerate(value):
            yield from flat(one, f"{path}[{i}]")
    else:
        yield path, str(value) if value != value else value  # NaN equals NaN here


def key_of(value):
    """What names an element of a list whose order says nothing (models in an index, extensions)."""
    if isinstance(value, str):
        return value
    return f"{value.get('name', '')} {value.get('version', '')}"


def comparable(answer):
    """Lists without an order by what names their elements; whatever an error says as one sentence; no content type for what has none."""
    answer = json.loads(json.dumps(answer))
    body = answer.get("body")
    if isinstance(body, dict):
        for field in ["extensions", "model_stats", "models", "families"]:
            if isinstance(body.get(field), list):
                body[field] = {key_of(one): one for one in body[field]}
    elif isinstance(body, list) and body and isinstance(body[0], dict) and "name" in body[0]:
        answer["body"] = {key_of(one): one for one in body}
    if not answer.get("headers"):
        answer.pop("headers", None)
    return answer


def differences(theirs, ours):
    theirs, ours = comparable(theirs), comparable(ours)
    if theirs["status"] != ours["status"]:
        return [("status", theirs["status"], ours["status"])]
    encodings = [answer.get("headers", {}).get("content-encoding", "(none)") for answer in (theirs, ours)]
    if encodings[0] != encodings[1]:
        return [("headers.content-encoding", *encodings)]
    left, right = dict(flat(theirs)), dict(flat(ours))
    missing = "(absent)"
    return [(path, left.get(path, missing), right.get(path, missing)) for path in sorted(left.keys() | right.keys()) if left.get(path, missing) != right.get(path, missing)]


RECORDED = Path(__file__).with_name("triton_answers.json")


def ask_both():
    answers = {}
    with tempfile.TemporaryDirectory(prefix="inazuma-referee-") as directory:
        for start, backend in [(servers.start_referee, "python"), (servers.start_ours, "identity")]:
            begin = time.monotonic()
            server = start(Path(directory), servers.FORWARD)
            try:
                answers[server.name] = ask(server, backend)
            finally:
                server.stop()
            print(f"==> {server.name}: {len(answers[server.name])} rows in {time.monotonic() - begin:.0f} s", flush=True)
    return answers["triton"], answers["inazuma"]


def judge(theirs, ours, messages=False):
    """(lines of the table of differences, unexpected ones, rules that matched nothing)."""
    judged = expected.Judge()
    lines, unexpected = [], []
    assert theirs.keys() == ours.keys(), f"rows of one side only: {sorted(theirs.keys() ^ ours.keys())}"
    for row in theirs:
        for path, left, right in differences(theirs[row], ours[row]):
            verdict = judged.reason(row, path, left, right)
            if verdict is expected.SENTENCE and not messages:
                continue
            line = f"{row}  {path}: {str(left)[:90]} | {str(right)[:90]}"
            if verdict is None:
                unexpected.append(line)
            lines.append(f"    {line}   ({verdict})" if verdict else f"NEW {line}")
    return lines, unexpected, judged.unused()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help=f"keep what the referee answers in {RECORDED.name}, for the fast suite")
    parser.add_argument("--messages", action="store_true", help="show also how sentences of errors differ")
    arguments = parser.parse_args()
    theirs, ours = ask_both()
    if arguments.record:
        rows = [json.dumps(row) + ": " + json.dumps(answer, ensure_ascii=False, sort_keys=True) for row, answer in theirs.items()]
        RECORDED.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    lines, unexpected, gone = judge(theirs, ours, arguments.messages)
    print(*lines, *(f"GONE {rule}" for rule in gone), sep="\n")
    print(f"==> {len(theirs)} rows, {len(lines) - len(unexpected)} expected differences, {len(unexpected)} unexpected, {len(gone)} expected ones gone")
    return 1 if unexpected or gone else 0


if __name__ == "__main__":
    sys.exit(main())
