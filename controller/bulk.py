"""Resets that come faster than they can be looked at one by one: those that say the same are added up.

Looking at one reset costs some fifty microseconds, adding it to its like three. So a budget is looked at one by one; of the rest, whatever
may speak against a member is looked at too, a few of each kind (the reaction must not wait), and everything else is counted by what it
says. Sums lose no connection; only of who the clients were no more than the last ones are kept.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from controller.events import ResetSum
from controller.flows import Purpose
from controller.pipeline import FIN_SEEN, INV, MEMBER_DATA_SEEN, MEMBER_MASK, RPL
from controller.resets import Recent

LOOKED_AT_PER_S, BURST = 1000.0, 32
"""The budget: five percent of a core, and at most two milliseconds at a time."""
PROMPT = 8
"""Of each kind that may speak against a member, so many are looked at between two collections."""
MAX_KINDS = 4096
CLIENTS_KEPT = 128
SUMMED = frozenset((Purpose.RESET.value, Purpose.INJECTED.value))
"""Held refusals wait for an answer each: they are never added up, and have a meter of their own."""


class Reading(NamedTuple):
    """What a mirrored reset says, as little of it as can be. Addresses are integers, `src` is who opened the connection.

    `passive`: it was written without a socket (`segments.facts_of`).
    """

    purpose: int
    in_port: int
    state: int
    mark: int
    src: int
    src_port: int
    dst: int
    dst_port: int
    passive: bool


class Kind:
    """Resets that say the same, since they were last collected."""

    __slots__ = ("clients", "connections", "dst", "dst_port", "first", "prompt", "prompts", "repeated", "source")

    def __init__(self, source: tuple[int, int], first: Reading) -> None:
        """`source` is (dpid, in_port) where false ones were caught, (0, 0) for all others; `first` is one of them."""
        self.source, self.first = source, first
        self.dst, self.dst_port = first.dst, first.dst_port
        self.prompts = PROMPT if _may_decide(first) else 0
        self.begin()

    def begin(self) -> None:
        """Nothing is added up yet."""
        self.connections = self.repeated = 0
        self.clients: deque[int] = deque(maxlen=CLIENTS_KEPT)
        self.prompt = self.prompts

    @property
    def is_touched(self) -> bool:
        """Whether one came since it began."""
        return self.connections > 0 or self.repeated > 0 or self.prompt < self.prompts

    def sum(self) -> ResetSum:
        """What was added up."""
        one = self.first
        return ResetSum(
            Purpose(one.purpose), self.source, one.state, one.mark, (one.dst, one.dst_port), one.passive,
            self.connections, self.repeated, tuple(self.clients),
        )  # fmt: skip


class Bulk:
    """What has been added up and not yet been collected, of all switches."""

    def __init__(self, recent: Recent) -> None:
        self._recent = recent
        self._kinds: dict[tuple[object, ...], Kind] = {}
        self._allowed = float(BURST)
        self._now = 0.0
        self.generation = 0
        """A kind is good until this changes."""
        self.left_out = 0
        """Resets of which nothing is known but that they came: out of window, or not to be read, or of too many kinds."""

    def renew(self, now: float) -> None:
        """Time has passed: as much may be looked at again."""
        self._allowed = min(BURST, self._allowed + (now - self._now) * LOOKED_AT_PER_S)
        self._now = now

    def may_be_looked_at(self) -> bool:
        """Whether the next reset is within the budget; it is taken to be used."""
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def kind_of(self, dpid: int, reading: Reading) -> Kind | None:
        """Its like; None for what is not added up: it is left out."""
        # Who sent what is out of window is a matter of where its sender lives: too much to ask of each in a flood.
        forged = reading.purpose == Purpose.INJECTED
        if reading.state & INV and not forged:
            return None
        source = (dpid, reading.in_port) if forged else (0, 0)
        key = source, reading.state & RPL, reading.mark, reading.dst, reading.dst_port, reading.passive
        kind = self._kinds.get(key)
        # Kinds that may speak against a member are as many as members: nobody can crowd them out, unless a switch invents members.
        if kind is None and len(self._kinds) < (MAX_KINDS + MEMBER_MASK if _may_decide(reading) else MAX_KINDS):
            kind = self._kinds[key] = Kind(source, reading)
        return kind

    def add(self, kind: Kind, src: int, src_port: int) -> bool:
        """Add a reset to its like, by who opened its connection. False when it is to be looked at instead: it may be what decides."""
        if kind.prompt:
            kind.prompt -= 1
            return False
        if self._recent.seen(src, src_port, kind.dst, kind.dst_port, self._now):
            kind.repeated += 1
        else:
            kind.connections += 1
            kind.clients.append(src)
        return True

    def collect(self) -> list[ResetSum]:
        """What was added up since the last time."""
        touched = [kind for kind in self._kinds.values() if kind.is_touched]
        sums = [kind.sum() for kind in touched if kind.connections or kind.repeated]
        for kind in touched:
            kind.begin()
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
            self.generation += 1
        return sums


def _may_decide(reading: Reading) -> bool:
    """Whether it is a member's own, before it had sent anything: what the first reaction holds against it."""
    return bool(reading.state & RPL and reading.mark & MEMBER_MASK and not reading.mark & (MEMBER_DATA_SEEN | FIN_SEEN))
