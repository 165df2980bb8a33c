"""Beside a TCP connection: the program on it, how it may end, and when to send again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topologies.model.tcp_endpoint import Endpoint

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 120.0


class End(Enum):
    """How a connection ended for this side."""

    CLOSED = "closed"
    REFUSED = "refused"
    RESET = "reset"
    TIMEOUT = "timeout"
    ABORTED = "aborted"
    UNREACHABLE = "unreachable"


@dataclass(slots=True)
class Application:
    """What a program does on a connection: called when it opens, when data came, when the peer said FIN, when it ended."""

    on_open: Callable[[Endpoint, float], None] = lambda _endpoint, _now: None
    on_data: Callable[[Endpoint, float], None] = lambda _endpoint, _now: None
    on_fin: Callable[[Endpoint, float], None] = lambda endpoint, now: endpoint.close(now)
    on_end: Callable[[Endpoint, End, float], None] = lambda _endpoint, _end, _now: None


@dataclass(slots=True)
class Retry:
    """When to send again what is not acknowledged, and how often that was done."""

    deadline: float | None = None
    retries: int = 0
    wait_s: float = FIRST_RETRY_S

    def start(self, now: float, wait_s: float) -> None:
        """Something was sent for the first time, or some of it was acknowledged."""
        self.deadline, self.retries, self.wait_s = now + wait_s, 0, wait_s

    def again(self, now: float) -> None:
        """It is sent again; the next time after twice the wait (RFC 6298 §5.5)."""
        self.retries += 1
        self.wait_s = min(self.wait_s * 2, LONGEST_RETRY_S)
        self.deadline = now + self.wait_s
