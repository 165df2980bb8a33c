"""Bounded memories of recent things: O(1) per addition, and a cap that no flood moves."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

HALF_LIFE_S = 4.0
_DECAY = math.log(2) / HALF_LIFE_S
RECENT_S = 10.0


class Decayed:
    """A count that forgets: half of it every `HALF_LIFE_S`."""

    __slots__ = ("_time", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._time = 0.0

    def add(self, now: float, amount: float = 1.0) -> None:
        """Add to it."""
        self._value = self.value(now) + amount
        self._time = max(self._time, now)

    def value(self, now: float) -> float:
        """What is left of it."""
        return self._value * math.exp(-_DECAY * max(0.0, now - self._time))

    def rate(self, now: float) -> float:
        """Per second, as if it had gone on like this for ever."""
        return self.value(now) * _DECAY


class Distinct(Generic[K]):
    """The last `cap` different things of the last `RECENT_S` seconds."""

    def __init__(self, cap: int = 64) -> None:
        self._cap = cap
        self._seen: OrderedDict[K, float] = OrderedDict()

    def add(self, thing: K, now: float) -> None:
        """Note it."""
        self._seen[thing] = now
        self._seen.move_to_end(thing)
        if len(self._seen) > self._cap:
            self._seen.popitem(last=False)

    def count(self, now: float) -> int:
        """How many; `cap` means that many or more."""
        while self._seen and now - next(iter(self._seen.values())) > RECENT_S:
            self._seen.popitem(last=False)
        return len(self._seen)

    def __contains__(self, thing: K) -> bool:
        return thing in self._seen


class Heavy(Generic[K]):
    """Decayed counts of the heaviest things: when full, the lightest makes room and leaves its count (Space-Saving, Metwally et al. 2005).

    So the sum is always that of everything, and no count is more than the sum divided by `cap` too high.
    """

    def __init__(self, cap: int = 16) -> None:
        self._cap = cap
        self._counts: dict[K, Decayed] = {}

    def add(self, thing: K, now: float, amount: float = 1.0) -> None:
        """Count it."""
        count = self._counts.get(thing)
        if count is None and len(self._counts) < self._cap:
            count = self._counts[thing] = Decayed()
        elif count is None:
            lightest = min(self._counts, key=lambda other: self._counts[other].value(now))
            count = self._counts[thing] = self._counts.pop(lightest)
        count.add(now, amount)

    def top(self, now: float) -> tuple[K | None, float]:
        """The heaviest thing and its share of everything (0 to 1)."""
        values = {thing: count.value(now) for thing, count in self._counts.items()}
        total = sum(values.values())
        if total <= 0:
            return None, 0.0
        heaviest = max(values, key=values.__getitem__)
        return heaviest, values[heaviest] / total

    def shares(self, now: float) -> dict[K, float]:
        """What is remembered, each with its share of everything."""
        values = {thing: count.value(now) for thing, count in self._counts.items()}
        total = sum(values.values())
        return {thing: value / total for thing, value in values.items()} if total > 0 else {}

    def share(self, thing: K, now: float) -> float:
        """One thing's share of everything; 0 for what made room."""
        total = sum(count.value(now) for count in self._counts.values())
        return self._counts[thing].value(now) / total if total > 0 and thing in self._counts else 0.0
