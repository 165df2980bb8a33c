"""What the firewall decided, newest first: of rules that say `log`, that are inspected, tried out, or reject. A ring with a rate limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from controller.classifier import FirstPacket

KEPT = 2_000
PER_S, BURST = 100.0, 200.0


class Logged(NamedTuple):
    """One first packet and what became of it. `suppressed`: how many before it were not kept, for there were too many."""

    serial: int
    time: float
    dpid: int
    in_port: int
    packet: FirstPacket
    rule: str
    action: str
    dry_run: bool
    suppressed: int


class FirewallLog:
    """The latest decisions, at most `PER_S` of them a second."""

    def __init__(self) -> None:
        self._kept: deque[Logged] = deque(maxlen=KEPT)
        self._serial = self._suppressed = 0
        self._allowance, self._since = BURST, 0.0
        self.suppressed_total = 0

    def add(
        self, now: float, dpid: int, in_port: int, packet: FirstPacket, rule: str, action: str, *, dry_run: bool = False
    ) -> None:
        """Keep a decision, unless there were too many of late."""
        self._allowance = min(BURST, self._allowance + (now - self._since) * PER_S)
        self._since = now
        if self._allowance < 1:
            self._suppressed += 1
            self.suppressed_total += 1
            return
        self._allowance -= 1
        self._serial += 1
        self._kept.append(Logged(self._serial, now, dpid, in_port, packet, rule, action, dry_run, self._suppressed))
        self._suppressed = 0

    def newest(self, before: int | None = None) -> Iterator[Logged]:
        """Newest first; those with a serial number below `before`."""
        return (logged for logged in reversed(self._kept) if before is None or logged.serial < before)
