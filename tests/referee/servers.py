"""Starts the referee (the tritonserver inside the PyPI package nvidia-pytriton) and ours, with the same flags over the same models."""

import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import models

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--model-control-mode=explicit", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1", "--cache-config=local,size=1048576", "--exit-on-error=false", "--id=referee"]
FORWARD = ["--http-header-forward-pattern=x-forward.*"]


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


class Running:
    """One server, its three ports, and its log in a file."""

    def __init__(self, name, command, environment, directory, patience):
        self.name = name
        self.http, self.grpc, self.metrics = free_ports(3)
        command = [*command, *FLAGS, f"--http-port={self.http}", f"--grpc-port={self.grpc}", f"--metrics-port={self.metrics}", *(f"--load-model={model}" for model in models.AT_START)]
        self.log = directory / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment})
        until = time.monotonic() + patience
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{name} did not get ready ({self.process.returncode}):\n{self.log.read_text(errors='replace')[-6000:]}")
            time.sleep(0.2)

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/health/ready", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def referee_files(directory: Path):
    """The distribution's program and its back ends, with the stub of this Python beside the python back end, where it looks for it."""
    packages = Path(importlib.metadata.distribution("nvidia-pytriton").locate_file(""))
    shipped = packages / "pytriton/tritonserver"
    home = directory / "tritonserver"
    home.mkdir()
    for part in ["bin", "caches"]:
        os.symlink(shipped / part, home / part)
    backend = home / "backends/python"
    shutil.copytree(shipped / "backends/python", backend)
    shutil.copy(shipped / f"python_backend_stubs/{sys.version_info.major}.{sys.version_info.minor}/triton_python_backend_stub", backend)
    return home, packages


def start_referee(directory: Path, flags=()) -> Running:
    home, packages = referee_files(directory)
    repository = directory / "python-models"
    models.write(repository, "python")
    environment = {"LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"), "REFEREE_PACKAGES": str(packages)}
    command = [str(home / "bin/tritonserver"), f"--model-repository={repository}", f"--backend-directory={home / 'backends'}", f"--cache-directory={home / 'caches'}", *flags]
    return Running("triton", command, environment, directory, 60)


def start_ours(directory: Path, flags=()) -> Running:
    repository = directory / "identity-models"
    models.write(repository, "identity")
    binary = os.environ.get("INAZUMA_BINARY", str(ROOT / "build/release/bin/inazuma"))
    # The referee's version has no such flag yet and always allows it.
    return Running("inazuma", [binary, "serve", f"--model-repository={repository}", "--no-progress", "--allow-client-shm=true", *flags], {}, directory, 60)
