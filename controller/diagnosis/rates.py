"""How many connections a member gets, by flow counters: of late, and what is usual."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

USUAL_HALF_LIFE_S, SHORTEST_USUAL_S = 60.0, 2.0
ROUNDS = 2
"""A switch may report packets of one second with those of the next: over two rounds that evens out."""
LATE_S = 1.5
"""Reports come every second. One that comes so late is old, and what it lacks comes with the next at once: they are one round."""


class _Round(NamedTuple):
    """What came between two reports; `usual`: as far as anybody knew, nothing was wrong then; `late`: the rest comes with the next."""

    per_s: float
    elapsed_s: float
    usual: bool
    late: bool


@dataclass(slots=True)
class ConnectionRate:
    """New connections per second. What is usual is learned two rounds late: a fault is not part of what it is measured by."""

    _rounds: deque[_Round] = field(default_factory=deque)
    """The last `ROUNDS`, of which nothing is learned yet."""
    _counted: float = 0.0
    """Connections of the usual kind, and in how many seconds they came: both fade with `USUAL_HALF_LIFE_S`."""
    _counted_s: float = 0.0
    _begun: bool = False

    @property
    def of_late(self) -> float | None:
        """Over the last rounds; None before the first one."""
        if not self._rounds:
            return None
        return sum(one.per_s * one.elapsed_s for one in self._rounds) / sum(one.elapsed_s for one in self._rounds)

    @property
    def usual(self) -> float | None:
        """Since the first one came, lately more than long ago; None for the first seconds."""
        return self._counted / self._counted_s if self._counted_s >= SHORTEST_USUAL_S else None

    def on_counted(self, per_s: float, usual_now: bool, elapsed_s: float) -> None:
        """Take in how many connections came since the last report, `elapsed_s` (above 0) ago.

        `usual_now` is False during incidents: what happens then is not to become usual, nor are the rounds just before. Nor is the quiet
        before the first connection, nor the round in which that came, of which nobody knows how much was quiet.
        """
        if not usual_now:
            self._rounds = deque(one._replace(usual=False) for one in self._rounds)
        latest = _Round(per_s, elapsed_s, usual_now and self._begun, elapsed_s > LATE_S)
        self._begun = self._begun or per_s > 0
        if self._rounds and self._rounds[-1].late:
            latest = _together(self._rounds.pop(), latest)
        elif len(self._rounds) == ROUNDS:
            self._learn(self._rounds.popleft())
        self._rounds.append(latest)

    def _learn(self, one: _Round) -> None:
        if one.usual:
            keep = 0.5 ** (one.elapsed_s / USUAL_HALF_LIFE_S)
            self._counted = self._counted * keep + one.per_s * one.elapsed_s
            self._counted_s = self._counted_s * keep + one.elapsed_s


def _together(late: _Round, rest: _Round) -> _Round:
    elapsed_s = late.elapsed_s + rest.elapsed_s
    count = late.per_s * late.elapsed_s + rest.per_s * rest.elapsed_s
    return _Round(count / elapsed_s, elapsed_s, late.usual and rest.usual, late=False)
