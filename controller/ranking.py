"""Numbers for an ordered list, such that a change of one entry changes few numbers: the priorities of firewall rules.

An entry keeps its number for as long as its order among the others allows it (the longest increasing subsequence stays); what is new
gets a number in the gap it falls into, and only where a gap is full its neighbours move (order maintenance by local relabelling:
Dietz and Sleator 1987, in its simple form).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence


def rank(names: Sequence[str], known: Mapping[str, int], first: int, last: int) -> dict[str, int]:
    """A number in `first` to `last` for each name, strictly falling along the list; `known` ones stay where that is possible.

    Raises:
        ValueError: more names than numbers.
    """
    if len(names) > last - first + 1:
        raise ValueError(f"{len(names)} entries for {last - first + 1} numbers")
    rising = names[::-1]
    kept = _longest_rising([known.get(name) for name in rising], first, last)
    numbers: list[int | None] = [known[name] if place in kept else None for place, name in enumerate(rising)]
    start = 0
    while start < len(numbers):
        if numbers[start] is not None:
            start += 1
            continue
        end = start
        while end < len(numbers) and numbers[end] is None:
            end += 1
        start, end = _room_for(numbers, start, end, first, last)
        low, high = _bounds(numbers, start, end, first, last)
        for place, number in zip(range(start, end), _spread(end - start, low, high), strict=True):
            numbers[place] = number
        start = end
    return {name: number for name, number in zip(rising, numbers, strict=True) if number is not None}


def _longest_rising(values: Sequence[int | None], first: int, last: int) -> set[int]:
    """Places of a longest strictly rising subsequence of the values that are in range (patience sorting, O(n log n))."""
    tails: list[int] = []
    places: list[int] = []
    before: dict[int, int | None] = {}
    for place, value in enumerate(values):
        if value is None or not first <= value <= last:
            continue
        at = bisect_left(tails, value)
        before[place] = places[at - 1] if at else None
        tails[at : at + 1] = [value]
        places[at : at + 1] = [place]
    found: set[int] = set()
    place_or_none = places[-1] if places else None
    while place_or_none is not None:
        found.add(place_or_none)
        place_or_none = before[place_or_none]
    return found


def _bounds(numbers: Sequence[int | None], start: int, end: int, first: int, last: int) -> tuple[int, int]:
    """The numbers before and behind a stretch of places, both excluded."""
    low = numbers[start - 1] if start else first - 1
    high = numbers[end] if end < len(numbers) else last + 1
    assert low is not None and high is not None
    return low, high


def _room_for(numbers: Sequence[int | None], start: int, end: int, first: int, last: int) -> tuple[int, int]:
    """The stretch of places to number: as asked, or with as many neighbours as have to move to make room."""
    width = 1
    low, high = _bounds(numbers, start, end, first, last)
    while high - low - 1 < end - start:
        start, end = max(0, start - width), min(len(numbers), end + width)
        while start and numbers[start - 1] is None:
            start -= 1
        while end < len(numbers) and numbers[end] is None:
            end += 1
        low, high = _bounds(numbers, start, end, first, last)
        width *= 2
    return start, end


def _spread(count: int, low: int, high: int) -> list[int]:
    """`count` numbers between two, as evenly as can be."""
    return [low + (high - low) * position // (count + 1) for position in range(1, count + 1)]
