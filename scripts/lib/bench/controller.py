"""A controller as a process of its own, measured from outside."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from bench.switch import Switch

READY_S = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Controller:
    """`resetlb run` with a policy, or an application of a framework alone. As a context manager it ends on exit.

    Args:
        policy: the policy document; or what the framework's application does with packet-ins: empty, parse or answer.
        framework: ryu or os-ken.
    """

    def __init__(self, policy: dict[str, Any] | str, framework: str = "ryu") -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.address = "127.0.0.1", _free_port()
        self.api = f"127.0.0.1:{_free_port()}"
        self.log = Path(self._folder.name) / "log"
        if isinstance(policy, str):
            argv = [sys.executable, "-m", "bench.handler", str(self.address[1]), framework, policy]
        else:
            file = Path(self._folder.name) / "policy.json"
            file.write_text(json.dumps(policy))
            argv = [str(Path(sys.executable).with_name("resetlb")), "run", "--policy", str(file), "--api", self.api]
            argv += ["--listen", f"127.0.0.1:{self.address[1]}", "--state-dir", f"{self._folder.name}/state"]
            argv += ["--framework", framework]
        self.began = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self._folder.cleanup()

    def connect(self, dpid: int, ports: int = 2) -> Switch:
        """A switch, as soon as the controller listens. Raises RuntimeError with its log when it ended."""
        deadline = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                return Switch(self.address, dpid, ports)
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the controller does not listen:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.01)

    @property
    def memory_mb(self) -> float:
        """Resident memory (MB)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    @property
    def cpu_s(self) -> float:
        """CPU time so far (s), user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def get(self, path: str) -> Any:
        """A document of the API."""
        with urllib.request.urlopen(f"http://{self.api}/v1/{path}", timeout=30) as answer:  # nosec B310 # our own loopback address
            return json.load(answer)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
