"""The referee's table of requests, asked of our server and compared with what a real tritonserver answered when it was last run
(tests/referee; `make referee` asks it again): every route, datatype and malformed variant over both protocols."""

import json
import sys

from server import ROOT

sys.path.insert(0, str(ROOT / "tests/referee"))
import referee  # noqa: E402
import servers  # noqa: E402


def test_answers_as_triton_did(tmp_path):
    theirs = json.loads(referee.RECORDED.read_text(encoding="utf-8"))
    server = servers.start_ours(tmp_path, servers.FORWARD)
    try:
        ours = referee.ask(server, "identity")
    finally:
        server.stop()
    lines, unexpected, gone = referee.judge(theirs, json.loads(json.dumps(ours)))
    assert not unexpected and not gone, "\n".join([*unexpected, *gone])
    assert len(lines) > 100  # the comparison compares: what is meant to differ was seen to differ
