"""The little of ResetLB's REST API that the demo uses: documents, and announcements as they come."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

TIMEOUT_S = 5.0
_QUIET_S = 40.0
"""The stream of events says something every 15 s, if only a comment."""


class ApiError(RuntimeError):
    """The API did not answer, or refused."""


class Event(NamedTuple):
    """An announcement: its kind, and what it says (`text`, `time` and more by kind)."""

    kind: str
    document: dict[str, Any]


class Api:
    """A controller's API at `url` (`http://host:port`)."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1"
        # Never by a proxy of the environment: the controller is on this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        """Returns the document at `path` (below /v1).

        Raises:
            ApiError: no answer, or a refusal.
        """
        return self._call("GET", path, None)

    def put(self, path: str, document: object) -> Any:
        """Replaces the document at `path`; raises ApiError."""
        return self._call("PUT", path, json.dumps(document).encode())

    def members(self, pool: str) -> list[dict[str, Any]]:
        """The members of a pool, in the policy's order; raises ApiError."""
        items: list[dict[str, Any]] = self.get(f"pools/{pool}/members")["items"]
        return items

    def automation(self, mode: str) -> None:
        """Sets how far ResetLB acts by itself: enforce, dry-run or frozen; raises ApiError."""
        self.put("automation", {"mode": mode})

    def follow(self, take: Callable[[Event], object]) -> None:
        """Gives every announcement from now on to `take`, in a thread that ends with the stream.

        Raises:
            ApiError: there is no stream.
        """
        try:
            stream = self._opener.open(f"{self._url}/events", timeout=_QUIET_S)
        except OSError as error:
            raise ApiError(f"no events at {self._url}: {error}") from error

        def read() -> None:
            try:
                for event in server_sent(line.decode().rstrip("\n") for line in stream):
                    take(event)
            except OSError:
                pass  # the controller is gone: whoever waits for it learns that from its process

        threading.Thread(target=read, daemon=True).start()

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(f"{self._url}/{path}", body, headers, method=method)  # noqa: S310 - http, ours
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ApiError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
        except (OSError, ValueError) as error:
            raise ApiError(f"{method} {path}: {error}") from error


def server_sent(lines: Iterable[str]) -> Iterator[Event]:
    """Reads events of JSON documents from the lines of a `text/event-stream` (HTML Living Standard §9.2.6)."""
    kind, content = "message", ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            content += value
        elif not line:
            if content:
                document = json.loads(content)
                # The event's name says what changed, `act` by what.
                yield Event(document.get("act", kind), document)
            kind, content = "message", ""
