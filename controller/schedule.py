"""What is due when: one time a key, the next one found without looking at the others."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", int, tuple[int, int])


class Schedule(Generic[Key]):
    """Keys by the time they are due, in seconds. Setting a key again replaces its time."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def __contains__(self, key: Key) -> bool:
        return key in self._due

    def __iter__(self) -> Iterator[Key]:
        return iter(self._due)

    def set(self, key: Key, due: float) -> None:
        """The key is due then and at no other time."""
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        # Replaced times stay in the heap until they come up; they may not outgrow the keys.
        if len(self._heap) > 4 * len(self._due) + 64:
            self._heap = [(due, key) for key, due in self._due.items()]
            heapq.heapify(self._heap)

    def discard(self, key: Key) -> None:
        """The key is never due."""
        self._due.pop(key, None)

    def next(self) -> float:
        """When the first key is due; infinity when there is none."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def pop_due(self, now: float, at_most: int | None = None) -> list[Key]:
        """Take out the keys that are due, in order of time, no more than `at_most`; the rest stays due."""
        taken: list[Key] = []
        while self.next() <= now and len(taken) != at_most:
            key = heapq.heappop(self._heap)[1]
            del self._due[key]
            taken.append(key)
        return taken
