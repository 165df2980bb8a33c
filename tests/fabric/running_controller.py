"""The controller as the tests meet it: `resetlb run` as a process of its own, its API, and its log."""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from controller.store.database import FILE_NAME
from topologies.precedence import give_precedence

ROOT = Path(__file__).parents[2]
FRAMEWORK = os.environ.get("RESETLB_FRAMEWORK", "ryu")
RESETLB = [sys.executable, "-c", "import sys; from controller.cli import main; sys.exit(main())"]
"""The command of this checkout, wherever it is installed from."""
API = "http://127.0.0.1:8080/v1"
STOP_S = 3.0
"""How fast SIGTERM ends it (docs: `resetlb run`)."""


def soon(what: str, condition: Callable[[], Any], within_s: float = 10.0, seen: Callable[[], Any] | None = None) -> Any:
    """Waits until `condition` gives something true and returns that; fails with `what`, and what was `seen` last."""
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            last = seen() if seen else result
            raise AssertionError(f"not within {within_s} s: {what}; last seen: {last}")
        time.sleep(0.02)
    return result


class Refused(Exception):  # noqa: N818 - an answer, not a failure of the test
    """The API refused; `status` and the problem document."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem


class Controller:
    """`resetlb run` with these options, and a state directory that survives its restarts."""

    def __init__(self, folder: Path, *options: str, api: str = API) -> None:
        self.api = api
        self._options = options
        self._state = folder / "state"
        self._log = folder / "controller.log"
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self.pools: dict[str, str] = {}
        """What pools are called at present that tests know by a name of their own (`Bed.apply`)."""

    def begin(self) -> None:
        """Starts it."""
        argv = [*RESETLB, "run", "--state-dir", str(self._state), "--framework", FRAMEWORK, "--log-format", "json"]
        argv += self._options
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)
        give_precedence(self._process.pid)

    def start(self) -> Self:
        """Starts it; returns when the API answers."""
        self.begin()
        return self.answering()

    def answering(self) -> Self:
        """Waits until the API answers."""
        soon("the API answers", self._answers, 20, lambda: self.tail(20))
        return self

    def cpu_s(self) -> float:
        """Processor time it has used, in seconds (proc(5), fields 14 and 15)."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory_mb(self) -> float:
        """Resident memory (MB)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    @property
    def files(self) -> int:
        """File descriptors it has open."""
        assert self._process is not None
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_S)

    def close(self) -> None:
        """Ends it in any case."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self._state

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    # --- the API ---------------------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, document: Any = None) -> Any:
        """One request; the answer's document. Raises Refused for a problem document."""
        body = None if document is None else json.dumps(document).encode()
        path = re.sub(r"^pools/([^/]+)", lambda match: f"pools/{self.pools.get(match[1], match[1])}", path)
        request = urllib.request.Request(
            f"{self.api}/{path}", method=method, data=body, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text = answer.read()
        except urllib.error.HTTPError as refusal:
            raise Refused(refusal.code, json.loads(refusal.read())) from None
        return json.loads(text) if text else None

    def get(self, path: str) -> Any:
        """GET."""
        return self.request("GET", path)

    def put(self, path: str, document: Any) -> Any:
        """PUT."""
        return self.request("PUT", path, document)

    def patch(self, path: str, document: Any) -> Any:
        """PATCH."""
        return self.request("PATCH", path, document)

    def member(self, name: str, pool: str = "web") -> dict[str, Any]:
        """One member's document."""
        document: dict[str, Any] = self.get(f"pools/{pool}/members/{name}")
        return document

    def members(self, pool: str = "web") -> dict[str, dict[str, Any]]:
        """A pool's members by name."""
        return {member["name"]: member for member in self.get(f"pools/{pool}")["members"]}

    def taking(self, pool: str = "web") -> set[str]:
        """Names of the members that take new connections."""
        return {name for name, member in self.members(pool).items() if member["effective_weight"]}

    def resets(self, **selection: str) -> list[dict[str, Any]]:
        """Recorded resets, newest first (at most 1,000)."""
        query = "&".join(f"{name}={value}" for name, value in {"limit": "1000", **selection}.items())
        items: list[dict[str, Any]] = self.get(f"resets?{query}")["items"]
        return items

    def counted(self, metric: str, **labels: str) -> int:
        """What /metrics says, summed over the series with these labels; 0 when there is none."""
        with urllib.request.urlopen(self.api.removesuffix("/v1") + "/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        series = [line for line in lines if line.startswith(f"{metric}{{") and all(label in line for label in wanted)]
        return sum(int(float(line.rsplit(maxsplit=1)[-1])) for line in series)

    def connected(self) -> set[str]:
        """Dpids of the switches that have what they shall have."""
        return {
            switch["dpid"] for switch in self.get("switches")["items"] if switch["connected"] and switch["reconciled"]
        }

    def _answers(self) -> bool:
        if not self.runs:
            raise AssertionError(f"the controller ended: {self.tail(20)}")
        try:
            return self.get("health") is not None
        except OSError:
            return False

    def durable(self, namespace: str) -> dict[str, Any]:
        """What is on the disk of one namespace, by key."""
        with contextlib.closing(sqlite3.connect(f"file:{self._state / FILE_NAME}?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT key, value FROM runtime WHERE namespace = ?", [namespace])
            return {key: json.loads(value) for key, value in rows}

    # --- the log ---------------------------------------------------------------------------------------------------------------

    def moment(self) -> int:
        """The end of the log as it is now, for `announced`."""
        return self._log.stat().st_size

    def announced(self, *kinds: str, since: int = 0) -> list[dict[str, Any]]:
        """Log lines of these kinds, oldest first."""
        with self._log.open("rb") as log:
            log.seek(since)
            lines = [json.loads(line) for line in log if line.startswith(b"{")]
        return [line for line in lines if line.get("kind") in kinds]

    def lines(self, since: int = 0) -> list[str]:
        """All log lines, oldest first."""
        with self._log.open("rb") as log:
            log.seek(since)
            return log.read().decode().splitlines()

    def complaints(self, since: int = 0) -> list[str]:
        """What must not be in the log: errors of switches, errors of ours, tracebacks."""
        lines = self.lines(since)
        return [line for line in lines if '"level": "error"' in line or "switch-error" in line or "Traceback" in line]

    def accused(self, since: int = 0) -> list[str]:
        """Clients called hostile, or quarantined, in words."""
        said = self.announced("incident", "quarantine", since=since)
        return [line["message"] for line in said if line["kind"] == "quarantine" or "hostile" in line["message"]]

    def tail(self, count: int = 25) -> str:
        """The last lines of the log, for people."""
        return "\n".join(map(_readable, self._log.read_text().splitlines()[-count:]))


def _readable(line: str) -> str:
    if not line.startswith("{"):
        return line
    said = json.loads(line)
    return f"{said['time']} {said['level']} {said['message']} {said.get('traceback', '')}"
