"""The demo's stage as seen from outside: a sandbox that takes orders and tells what its clients live through."""

import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from topologies.sandbox import Sandbox

ORDER_TIMEOUT_S = 30.0
_ERROR_TAIL_LINES = 15
Record = dict[str, Any]


class StageFailedError(RuntimeError):
    """Something in the sandbox failed. `log`: the last lines of whoever did."""

    def __init__(self, text: str, log: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.log = list(log)


class Stage:
    """A running `topologies.demo.inside`. As a context manager it starts on entry and is gone on exit.

    Args:
        api_socket: listening socket for the API; taken over (closed here).
        framework: `ryu` or `os-ken`.
    """

    def __init__(self, api_socket: socket.socket, framework: str) -> None:
        self._api_socket = api_socket
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the stage
        self._sandbox = Sandbox(
            [sys.executable, "-m", "topologies.demo.inside", framework],
            pass_fds=(api_socket.fileno(),),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is ours
        )

    def __enter__(self) -> Self:
        """Starts the sandbox; raises SandboxUnavailableError."""
        try:
            self._sandbox.start()
        finally:
            self._api_socket.close()
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.__exit__()
        self._errors.close()

    def now(self) -> float:
        """Seconds on the clock that clients tell times by."""
        return time.monotonic()

    def wait_until_ready(self, step: Callable[[str], object]) -> None:
        """Returns when orders may be given; `step` is told what is being built. Raises StageFailedError."""
        for message in self._messages(time.monotonic() + ORDER_TIMEOUT_S):
            if message.get("stage") == "step":
                step(message["text"])
            if message.get("stage") == "ready":
                return
        raise StageFailedError(f"the fabric was not ready after {ORDER_TIMEOUT_S:g} s")

    def order(self, do: str, take: Callable[[Record], object], **arguments: Any) -> Record:
        """Has something done (`topologies.demo.inside.Cast`); what clients tell meanwhile goes to `take`.

        Returns what was measured. Raises StageFailedError.
        """
        assert self._sandbox.process.stdin is not None
        try:
            self._sandbox.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._sandbox.process.stdin.flush()
        except BrokenPipeError:
            self.drain(take, 2.0)  # raises, for the reason that ended it
            raise
        for message in self._messages(time.monotonic() + ORDER_TIMEOUT_S):
            if message.get("stage") == "done":
                return message
            take(message)
        raise StageFailedError(f"{do} was not done after {ORDER_TIMEOUT_S:g} s")

    def drain(self, take: Callable[[Record], object], timeout_s: float) -> None:
        """Gives what clients tell in the next `timeout_s` to `take`. Raises StageFailedError."""
        for message in self._messages(time.monotonic() + timeout_s):
            take(message)

    def _messages(self, deadline: float) -> Iterator[Record]:
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if line is None:
                raise StageFailedError("the sandbox ended by itself", self._error_tail())
            message: Record = json.loads(line)
            if message.get("stage") == "failed":
                raise StageFailedError(message["text"], message["log"])
            yield message

    def _read(self) -> None:
        assert self._sandbox.process.stdout is not None
        for line in self._sandbox.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _error_tail(self) -> list[str]:
        self._errors.seek(0)
        return self._errors.read().splitlines()[-_ERROR_TAIL_LINES:]
