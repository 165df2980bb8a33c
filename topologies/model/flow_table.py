"""One flow table: entries by priority, found through one hash table per combination of matched fields and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from controller.flows import Action, FlowEntry, Match
from topologies.model.fields import Masked, masked_match

Shape = tuple[tuple[str, int], ...]
"""Which fields a group of entries matches, under which masks."""


@dataclass(eq=False, slots=True)
class Installed:
    """A flow entry in a switch. Times are seconds; `modified` is when it was added (or learned again), `used` its last packet."""

    table_id: int
    priority: int
    match: Match
    cookie: int
    actions: tuple[Action, ...]
    modified: float
    used: float
    goto: int | None = None
    meter_id: int | None = None
    idle_timeout_s: int = 0
    hard_timeout_s: int = 0
    packets: int = 0
    octets: int = 0
    masked: Masked = field(default_factory=dict)

    @classmethod
    def of(cls, entry: FlowEntry, now: float) -> Installed:
        """A new entry as the controller wants it.

        Raises:
            OpenFlowError: the match is not one a switch accepts.
        """
        return cls(
            entry.table_id,
            entry.priority,
            entry.match,
            entry.cookie,
            entry.actions,
            modified=now,
            used=now,
            goto=entry.goto,
            meter_id=entry.meter_id,
            idle_timeout_s=entry.idle_timeout_s,
            hard_timeout_s=entry.hard_timeout_s,
            masked=masked_match(entry.match),
        )

    @property
    def is_table_miss(self) -> bool:
        """Whether it is the table-miss entry (OpenFlow 1.3.5 §5.4)."""
        return self.priority == 0 and not self.masked

    def expired(self, now: float) -> bool:
        """Whether one of its timeouts has passed."""
        hard = self.hard_timeout_s and now > self.modified + self.hard_timeout_s
        return bool(hard or (self.idle_timeout_s and now > self.used + self.idle_timeout_s))

    def does_the_same(self, other: Installed) -> bool:
        """Whether it makes no difference which of the two a packet meets, but for the counters."""
        return (self.actions, self.goto, self.meter_id) == (other.actions, other.goto, other.meter_id)


class _Subtable:
    """The entries of one shape, by their masked values."""

    def __init__(self, shape: Shape) -> None:
        self._exact = tuple(name for name, _ in shape)
        self._masks = tuple(mask for _, mask in shape)
        self.entries: dict[tuple[int, ...], list[Installed]] = {}
        self.highest = -1

    def key(self, masked: Masked) -> tuple[int, ...]:
        """Where an entry of this shape belongs."""
        return tuple(masked[name][0] for name in self._exact)

    def fitting(self, flow: Mapping[str, int]) -> list[Installed]:
        """The entries that fit a packet; none when it lacks one of the fields."""
        try:
            values = tuple([flow[name] & mask for name, mask in zip(self._exact, self._masks, strict=True)])
        except KeyError:
            return []
        return self.entries.get(values, [])

    def add(self, entry: Installed) -> None:
        """Adds an entry of this shape."""
        self.entries.setdefault(self.key(entry.masked), []).append(entry)
        self.highest = max(self.highest, entry.priority)

    def remove(self, entry: Installed) -> None:
        """Removes an entry of this shape."""
        key = self.key(entry.masked)
        self.entries[key].remove(entry)
        if not self.entries[key]:
            del self.entries[key]
        self.highest = max((one.priority for found in self.entries.values() for one in found), default=-1)


def _shape(masked: Masked) -> Shape:
    return tuple(sorted((name, mask) for name, (_, mask) in masked.items()))


class FlowTable:
    """The entries of one table."""

    def __init__(self) -> None:
        self._subtables: dict[Shape, _Subtable] = {}

    def __iter__(self) -> Iterator[Installed]:
        """Every entry, in no order."""
        for subtable in self._subtables.values():
            for entries in subtable.entries.values():
                yield from entries

    def same(self, entry: Installed) -> Installed | None:
        """The entry with the same priority and match, which adding this one would replace (OpenFlow 1.3.5 §6.4)."""
        subtable = self._subtables.get(_shape(entry.masked))
        found = subtable.entries.get(subtable.key(entry.masked), []) if subtable else []
        return next((one for one in found if one.priority == entry.priority), None)

    def add(self, entry: Installed) -> None:
        """Adds an entry, in the place of the one with the same priority and match.

        The counters and the time of the last packet go on: OpenFlow 1.3 clears counters only when OFPFF_RESET_COUNTS asks.
        """
        old = self.same(entry)
        if old is not None:
            entry.packets, entry.octets, entry.used = old.packets, old.octets, old.used
            self._remove(old)
        shape = _shape(entry.masked)
        self._subtables.setdefault(shape, _Subtable(shape)).add(entry)

    def _remove(self, entry: Installed) -> None:
        shape = _shape(entry.masked)
        self._subtables[shape].remove(entry)
        if not self._subtables[shape].entries:
            del self._subtables[shape]

    def remove(self, doomed: Callable[[Installed], bool]) -> list[Installed]:
        """Removes every entry of which `doomed` is true; returns them."""
        removed = [entry for entry in self if doomed(entry)]
        for entry in removed:
            self._remove(entry)
        return removed

    def look_up(self, flow: Mapping[str, int], now: float) -> list[Installed]:
        """The live entries of the highest priority that fits; several only where the author left it undefined which wins."""
        best: list[Installed] = []
        expired: list[Installed] = []
        for subtable in self._subtables.values():
            if best and subtable.highest < best[0].priority:
                continue
            for entry in subtable.fitting(flow):
                if entry.expired(now):
                    expired.append(entry)
                elif not best or entry.priority > best[0].priority:
                    best = [entry]
                elif entry.priority == best[0].priority:
                    best.append(entry)
        for entry in expired:
            self._remove(entry)
        return best
