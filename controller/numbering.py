"""Small numbers for names: zones of switches, members and VIPs as they stand in `ct_mark`.

Flows and tracked connections outlive the controller, so a number must mean the same after a restart: it is durable, and a number
whose name is gone is given away again only when all others are taken.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.decisions import Persist


class NumbersExhaustedError(ValueError):
    """More names than the field in `ct_mark` or the zone has numbers."""


class Numbering:
    """One namespace of numbers 1 to `last`."""

    def __init__(self, namespace: str, last: int) -> None:
        self.namespace = namespace
        self.last = last
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = 1

    def restore(self, values: dict[str, object]) -> None:
        """Take what the store held."""
        for name, number in values.items():
            if isinstance(number, int) and 0 < number <= self.last and number not in self._names:
                self._numbers[name], self._names[number] = number, name
        self._next = max(self._names, default=0) + 1

    def adopt(self, values: Mapping[str, object]) -> bool:
        """Take the numbers another controller gave; whether a name has another one than before."""
        changed = False
        for name, number in values.items():
            if not isinstance(number, int) or not 0 < number <= self.last or self._numbers.get(name) == number:
                continue
            changed |= name in self._numbers
            self._names.pop(self._numbers.pop(name, 0), None)
            self._numbers.pop(self._names.get(number, ""), None)
            self._numbers[name], self._names[number] = number, name
        return changed

    def number(self, name: str) -> tuple[int, list[Persist]]:
        """The number of a name, and the record of it when it is new."""
        known = self._numbers.get(name)
        if known is not None:
            return known, []
        number = self._free()
        self._numbers[name], self._names[number] = number, name
        return number, [Persist(self.namespace, name, number)]

    def _free(self) -> int:
        for _ in range(self.last):
            candidate = self._next if self._next <= self.last else 1
            self._next = candidate + 1
            if candidate not in self._names:
                return candidate
        raise NumbersExhaustedError(f"all {self.last} {self.namespace} are taken")

    def name(self, number: int) -> str | None:
        """The name behind a number."""
        return self._names.get(number)

    def release_all_but(self, names: set[str]) -> list[Persist]:
        """Give back the numbers of names that are no longer used."""
        gone = [name for name in self._numbers if name not in names]
        for name in gone:
            del self._names[self._numbers.pop(name)]
        return [Persist(self.namespace, name, None) for name in gone]
