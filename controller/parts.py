"""What switches shall have, in parts that each follow from little: a part whose inputs are the same is the same object.

So nothing is computed again for a switch that a change does not concern, and switches share what they have in common: a fabric of
hundreds of switches holds a hundred thousand different entries, and millions of places that refer to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Self, TypeVar, cast

from controller.flows import FlowEntry, GroupEntry, MeterEntry
from controller.reconcile import Slot, Wanted

Content = Iterable[FlowEntry | GroupEntry | MeterEntry]
Counted = tuple[str, ...]
Value = TypeVar("Value")


class Parts:
    """Parts by name, each with what it was computed from."""

    def __init__(self) -> None:
        self._known: dict[Slot, tuple[tuple[object, ...], object]] = {}

    def copy(self) -> Self:
        """The same, to look something up without changing this one."""
        other = type(self)()
        other._known = dict(self._known)
        return other

    def of(self, slot: Slot, content: Callable[..., Content], *inputs: object) -> Wanted:
        """The part that `content(*inputs)` yields. `content` is a pure function of its arguments, and always the same for a slot."""
        known = self._known.get(slot)
        if known is None or known[0] != inputs:
            known = self._known[slot] = inputs, part_of(content(*inputs))
        return cast(Wanted, known[1])

    def value(self, slot: Slot, compute: Callable[..., Value], *inputs: object) -> Value:
        """What `compute(*inputs)` returns: the last answer while the inputs are equal to the last ones."""
        known = self._known.get(slot)
        if known is None or known[0] != inputs:
            known = self._known[slot] = inputs, compute(*inputs)
        return cast(Value, known[1])

    def same(self, slot: Slot, part: Wanted) -> Wanted:
        """The part known by that name if it wants the same, else this one: for what cannot say what it follows from."""
        known = self._known.get(slot)
        if known is None or known[1] != part:
            known = self._known[slot] = (), part
        return cast(Wanted, known[1])


def part_of(content: Content) -> Wanted:
    """A part with this content."""
    part = Wanted()
    for thing in content:
        if isinstance(thing, FlowEntry):
            part.add((thing,))
        elif isinstance(thing, GroupEntry):
            part.add_groups((thing,))
        else:
            part.add_meters((thing,))
    return part


class Planned:
    """All parts of one switch."""

    def __init__(self, parts: dict[Slot, Wanted] | None = None) -> None:
        self.parts = parts or {}

    def move(self, moving: dict[Slot, Wanted]) -> None:
        """These parts are other ones from now on.

        What counted before keeps its meaning until the switch is planned anew. To drop the dictionaries of dozens of switches would take
        longer than everything else about a reaction.
        """
        known: dict[int, Counted] | None = self.__dict__.get("meaning")
        if known is not None:
            for part in moving.values():
                known.update(part.meaning)
        self.parts.update(moving)

    def together(self) -> Wanted:
        """Everything the switch shall have."""
        return Wanted.together(self.parts.values())

    @property
    def flows(self) -> dict[int, FlowEntry]:
        """Every entry by cookie."""
        return self.together().flows

    @property
    def groups(self) -> dict[int, GroupEntry]:
        """Every group by number."""
        return self.together().groups

    def entry(self, cookie: int) -> FlowEntry | None:
        """The entry with this cookie."""
        return next((part.flows[cookie] for part in self.parts.values() if cookie in part.flows), None)

    @cached_property
    def meaning(self) -> dict[int, Counted]:
        """What the entries that count something count, by cookie."""
        meaning: dict[int, Counted] = {}
        for part in self.parts.values():
            meaning.update(part.meaning)
        return meaning
