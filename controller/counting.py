"""Counters of flow entries to totals and rates by what they count.

A switch reports packets per cookie and forgets them when an entry is replaced or it restarts: totals add up what was gained since the
last report and never go down. They lag the packets by about a second (the userspace datapath's revalidation).
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.events import FlowCounted

Counted = tuple[str, ...]
RATE_WINDOW_S = 5.0


class Counters:
    """Totals since start and smoothed rates (1/s) by `FlowEntry.counts`."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], int] = {}
        self._totals: dict[Counted, int] = {}
        self._rates: dict[Counted, float] = {}
        self._recent: dict[Counted, float] = {}
        self._reported: dict[tuple[int, int], float] = {}

    def take(self, event: FlowCounted, meaning: Mapping[int, Counted], now: float) -> None:
        """Add what one table of one switch has counted since it last said."""
        before = self._reported.get((event.dpid, event.table_id))
        self._reported[event.dpid, event.table_id] = now
        gained: dict[Counted, int] = {}
        for cookie, packets in event.packets.items():
            counted = meaning.get(cookie)
            if counted is None:
                continue
            last = self._last.get((event.dpid, cookie), 0)
            self._last[event.dpid, cookie] = packets
            gained[counted] = gained.get(counted, 0) + (packets - last if packets >= last else packets)
        elapsed = None if before is None else max(now - before, 1e-3)
        for counted, packets in gained.items():
            self._totals[counted] = self._totals.get(counted, 0) + packets
            if elapsed is not None:
                share = min(1.0, elapsed / RATE_WINDOW_S)
                self._recent[counted] = packets / elapsed
                rate = self._rates.get(counted, 0.0)
                self._rates[counted] = rate + share * (packets / elapsed - rate)

    def total(self, *counted: str) -> int | None:
        """How many since start; None when no switch has said."""
        return self._totals.get(counted)

    def rate(self, *counted: str) -> float | None:
        """How many per second of late; None when no switch has said."""
        return self._rates.get(counted)

    def recent(self, *counted: str) -> float | None:
        """How many per second between the last two reports; None when there were not two."""
        return self._recent.get(counted)

    def totals(self) -> dict[Counted, int]:
        """Everything counted so far."""
        return dict(self._totals)
