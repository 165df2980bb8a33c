"""The controller of a run: `resetlb run` as a process beside the switches, and what its API says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from topologies.precedence import give_precedence

ADDRESS = "127.0.0.1:8080"
STOP_S = 5.0
ANSWER_S = 3.0
_MAIN = "import sys; from controller.cli import main; sys.exit(main())"


class Controller:
    """`resetlb run` with a policy, state and log in a folder.

    Args:
        folder: for its files.
        policy: the policy document (the shape of `/v1/policy`).
        framework: ryu or os-ken.
        record: file that every event of its core is recorded in, None for no recording.
    """

    def __init__(self, folder: Path, policy: dict[str, Any], framework: str, record: Path | None) -> None:
        self.log = folder / "controller.log"
        self._policy = folder / "policy.yaml"
        self._policy.write_text(json.dumps(policy))
        options = ["--policy", str(self._policy), "--state-dir", str(folder / "state"), "--framework", framework]
        self._argv = [sys.executable, "-c", _MAIN, "run", *options]
        self._environment = dict(os.environ) | ({"RESETLB_RECORD": str(record)} if record else {})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def start(self) -> None:
        """Starts it, with the state that it left."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, env=self._environment)
        give_precedence(self._process.pid)

    def kill(self) -> None:
        """Kill it without warning (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def get(self, path: str) -> Any:
        """The document at /v1/`path`.

        Raises:
            OSError: no answer, or one that says no.
        """
        return self._ask(urllib.request.Request(f"http://{ADDRESS}/v1/{path}"))

    def items(self, path: str) -> list[dict[str, Any]]:
        """All items of the list at /v1/`path`, through its pages."""
        items: list[dict[str, Any]] = []
        cursor: str | None = ""
        joint = "&" if "?" in path else "?"
        while cursor is not None:
            page = self.get(f"{path}{joint}limit=1000" + (f"&cursor={cursor}" if cursor else ""))
            items += page["items"]
            cursor = page["next"]
        return items

    def post(self, path: str, document: dict[str, Any]) -> Any:
        """Creates something at /v1/`path`; raises as `get`, with the controller's words."""
        return self._send("POST", path, document)

    def put(self, path: str, document: dict[str, Any]) -> Any:
        """Replaces what is at /v1/`path`; raises as `get`, with the controller's words."""
        return self._send("PUT", path, document)

    def _send(self, method: str, path: str, document: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        body = json.dumps(document).encode()
        return self._ask(urllib.request.Request(f"http://{ADDRESS}/v1/{path}", body, headers, method=method))

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310  # nosec B310 # our own loopback
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise OSError(f"{request.full_url}: {error.code} {error.read().decode()}") from error
