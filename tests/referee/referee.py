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


def ask_both():
    answers = {}
    with tempfile.TemporaryDirectory(prefix="inazuma-referee-") as directory:
        for start, backend in [(servers.start_referee, "python"), (servers.start_ours, "identity")]:
            begin = time.monotonic()
            server = start(Path(directory))
            try:
                answers[server.name] = ask(server, backend)
            finally:
                server.stop()
            print(f"==> {server.name}: {len(answers[server.name])} rows in {time.monotonic() - begin:.0f} s", flush=True)
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="directory for both servers' answers as JSON")
    parser.add_argument("--read", type=Path, help="compare what --write left instead of asking anybody")
    parser.add_argument("--messages", action="store_true", help="show also how sentences of errors differ")
    arguments = parser.parse_args()
    names = ["triton", "inazuma"]
    answers = {name: json.loads((arguments.read / f"{name}.json").read_text()) for name in names} if arguments.read else ask_both()
    if arguments.write:
        arguments.write.mkdir(parents=True, exist_ok=True)
        for name, given in answers.items():
            (arguments.write / f"{name}.json").write_text(json.dumps(given, indent=1, ensure_ascii=False))
    judge = expected.Judge()
    unexpected = 0
    for row, theirs in answers["triton"].items():
        for path, left, right in differences(theirs, answers["inazuma"][row]):
            verdict = judge.reason(row, path, left, right)
            if verdict is expected.SENTENCE and not arguments.messages:
                continue
            unexpected += verdict is None
            print(f"{'    ' if verdict else 'NEW '}{row}  {path}: {str(left)[:90]} | {str(right)[:90]}" + (f"   ({verdict})" if verdict else ""))
    gone = judge.unused()
    for rule in gone:
        print(f"GONE {rule}")
    print(f"==> {len(answers['triton'])} rows, {judge.count} expected differences, {unexpected} unexpected, {len(gone)} expected ones gone")
    return 1 if unexpected or gone else 0


if __name__ == "__main__":
    sys.exit(main())
