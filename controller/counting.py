"""Counters of flow entries to totals and rates by what they count.

A switch reports packets per cookie and forgets them when an entry is replaced or it restarts: totals add up what was gained since the
last report and never go down. They lag the packets by about a second (the userspace datapath's revalidation).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from controller.events import FlowCounted

Counted = tuple[str, ...]
Source = tuple[int, int, str]
"""(dpid, table_id, packets or octets): what one report is about."""
OCTETS = "octets"
VOLUMES = frozenset({"to-member", "from-member", "rule"})
"""What bytes are counted of; their names begin with `OCTETS`."""
RATE_WINDOW_S = 5.0
STALE_S = 15.0
"""What a switch said so long ago is no rate any more."""
NOUGHT_PER_S = 1e-3
"""A smoothed rate below this is none: it need not fall any further."""


class _Rate(NamedTuple):
    """Per second at one source: smoothed, and between its last two reports; when it said so."""

    smoothed: float
    recent: float
    time: float


class Counters:
    """Totals since start and rates (1/s) by `FlowEntry.counts`, over all switches."""

    def __init__(self) -> None:
        self._last: dict[Source, dict[Hashable, int]] = {}
        self._reported: dict[Source, float] = {}
        self._totals: dict[Counted, int] = {}
        self._rates: dict[Counted, dict[Source, _Rate]] = {}
        self._still: set[Source] = set()
        """Where nothing has moved for so long that all rates are nought."""
        self._now = 0.0

    def same_again(self, event: FlowCounted, now: float) -> bool:
        """Take a report that adds nothing; False: it has to be taken whole. Most of them are so: an edge has entries for every member."""
        source = event.dpid, event.table_id, "packets"
        if source not in self._still or self._last[source] != event.packets:
            return False
        self._now = self._reported[source] = now
        if (octets := (event.dpid, event.table_id, OCTETS)) in self._reported:
            self._reported[octets] = now
        return True

    def take(self, event: FlowCounted, meaning: Mapping[int, Counted], now: float) -> None:
        """Add what one table of one switch has counted since it last said."""
        self._take((event.dpid, event.table_id, "packets"), event.packets, meaning, now)
        named = ((cookie, meaning.get(cookie)) for cookie in event.octets)
        volumes = {cookie: (OCTETS, *counted) for cookie, counted in named if counted and counted[0] in VOLUMES}
        if volumes:
            self._take((event.dpid, event.table_id, OCTETS), event.octets, volumes, now)

    def take_totals(self, peer: str, totals: Mapping[Counted, int], now: float) -> None:
        """Add what another controller has counted since it last said; what it does not say now is as it was."""
        source = 0, 0, peer
        known: dict[Any, int] = {**self._last.get(source, {}), **totals}
        self._take(source, known, {name: name for name in totals}, now)

    def _take(self, source: Source, counts: Mapping[Any, int], meaning: Mapping[Any, Counted], now: float) -> None:
        last, before = self._last.get(source, {}), self._reported.get(source)
        self._last[source], self._reported[source], self._now = dict(counts), now, now
        gained: dict[Counted, int] = {}
        for cookie, packets in counts.items():
            counted = meaning.get(cookie)
            if counted is not None:
                known = last.get(cookie, 0)
                gained[counted] = gained.get(counted, 0) + (packets - known if packets >= known else packets)
        moves = before is None
        for counted, packets in gained.items():
            self._totals[counted] = self._totals.get(counted, 0) + packets
            if before is not None:
                moves |= self._follow(counted, source, packets, max(now - before, 1e-3))
        (self._still.discard if moves else self._still.add)(source)

    def keep_only(self, is_named: Callable[[Counted], bool]) -> None:
        """Forget what nothing is called any more: names that come and go must not pile up."""
        self._totals = {counted: total for counted, total in self._totals.items() if is_named(counted)}
        self._rates = {counted: rates for counted, rates in self._rates.items() if is_named(counted)}
        # The same counts may have another name now, or one again that was forgotten.
        self._still.clear()

    def _follow(self, counted: Counted, source: Source, packets: int, elapsed_s: float) -> bool:
        """Whether there is a rate."""
        rates = self._rates.setdefault(counted, {})
        recent, known = packets / elapsed_s, rates.get(source)
        smoothed = known.smoothed if known else recent
        smoothed += min(1.0, elapsed_s / RATE_WINDOW_S) * (recent - smoothed)
        rates[source] = _Rate(smoothed, recent, self._now)
        return smoothed >= NOUGHT_PER_S

    def _fresh(self, counted: Counted) -> list[_Rate]:
        known = self._rates.get(counted, {}).items()
        return [rate for source, rate in known if self._now - self._told(source, rate) <= STALE_S]

    def _told(self, source: Source, rate: _Rate) -> float:
        # What is left of an entry that is gone must not look fresh.
        return self._reported[source] if source in self._still and rate.smoothed < NOUGHT_PER_S else rate.time

    def total(self, *counted: str) -> int | None:
        """How many since start; None when no switch has said."""
        return self._totals.get(counted)

    def rate(self, *counted: str) -> float | None:
        """How many per second of late; None when no switch has said."""
        fresh = self._fresh(counted)
        return sum(rate.smoothed for rate in fresh) if fresh else None

    def recent(self, *counted: str) -> float | None:
        """How many per second between the last two reports of each switch; None when there were not two."""
        fresh = self._fresh(counted)
        return sum(rate.recent for rate in fresh) if fresh else None

    def totals(self) -> dict[Counted, int]:
        """Everything counted so far."""
        return dict(self._totals)


def recent_of(counters: Iterable[Counters], *counted: str) -> float | None:
    """`Counters.recent` over several; None when none of them knows."""
    known = [rate for one in counters if (rate := one.recent(*counted)) is not None]
    return sum(known) if known else None


def total_of(counters: Iterable[Counters], *counted: str) -> int | None:
    """`Counters.total` over several; None when none of them knows."""
    known = [total for one in counters if (total := one.total(*counted)) is not None]
    return sum(known) if known else None
