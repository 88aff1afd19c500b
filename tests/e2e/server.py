"""Runs the real program: a server on a free port, or one command."""

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BINARY = Path(os.environ.get("INAZUMA_BINARY", ROOT / "build/release/bin/inazuma"))
DEMO = ROOT / "models/demo"
TINY = HERE / "models"
START_TIMEOUT = 60


def environment():
    """No setting of the caller's shell may change a test."""
    return {key: value for key, value in os.environ.items() if not key.startswith("INAZUMA_")}


class Server:
    """`inazuma serve` with these arguments; stderr is kept in `log()`."""

    def __init__(self, *arguments, port=0):
        self._stderr = tempfile.TemporaryFile()
        command = [str(BINARY), "serve", *map(str, arguments), "--port", str(port), "--no-progress"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._stderr, env=environment())
        try:
            self.port = self._wait_for_port()
        except BaseException:
            self.kill()
            raise
        self.url = f"http://127.0.0.1:{self.port}"

    def _wait_for_port(self):
        until = time.monotonic() + START_TIMEOUT
        while time.monotonic() < until:
            found = re.search(r"Listening on https?://\S+?:(\d+) ", self.log())
            if found:
                return int(found.group(1))
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            time.sleep(0.02)
        raise RuntimeError(f"the server was not ready after {START_TIMEOUT} s:\n{self.log()}")

    def log(self):
        self._stderr.seek(0)
        return self._stderr.read().decode("utf-8", "replace")

    def alive(self):
        return self.process.poll() is None

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=40):
        return self.process.wait(timeout)

    def stop(self):
        """A clean end is part of every test that uses a server."""
        if self.alive():
            self.terminate()
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if code != 0:
            raise RuntimeError(f"the server ended with {code}:\n{self.log()[-4000:]}")

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop() if kind is None else self.kill()


class Http:
    """requests with the server's address in front and a connection per thread."""

    def __init__(self, url):
        self.url = url
        self._local = threading.local()

    def request(self, method, path, **options):
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        return session.request(method, self.url + path, **{"timeout": 30, **options})

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        if body is not None:
            options["json"] = body
        return self.request("POST", path, **options)

    def answer(self, path, body, **options):
        """The JSON of a 200; anything else fails with what the server said."""
        response = self.post(path, body, **options)
        assert response.status_code == 200, f"{path}: {response.status_code} {response.text[:500]}"
        return response.json()


def run(*arguments, stdin="", timeout=60, extra_environment=None, preexec_fn=None):
    """One command of the program, as text."""
    return subprocess.run([str(BINARY), *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=timeout, env={**environment(), **(extra_environment or {})}, preexec_fn=preexec_fn)
