"""Octets like real ones, but wrong: a few changes that parsers are known to stumble over."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

LONGEST = 4096
_WORDS = tuple(
    value.to_bytes(size, "big") for size in (1, 2, 4) for value in (0, 1, 7, 8, 1 << 8 * size - 1, (1 << 8 * size) - 1)
)


class Mutator:
    """Makes inputs from a corpus; the same seed makes the same ones."""

    def __init__(self, corpus: Sequence[bytes], dice: random.Random) -> None:
        self._corpus = corpus
        self._dice = dice
        self._ways: tuple[Callable[[bytearray], object], ...] = (
            self._flip, self._flip, self._overwrite, self._overwrite, self._length, self._cut, self._drop, self._repeat, self._splice,
        )  # fmt: skip

    def input(self) -> bytes:
        """One of the corpus with one to four changes; one in fifty as it is, one in fifty noise."""
        dice = self._dice
        made = bytearray(dice.choice(self._corpus))
        chance = dice.random()
        if chance < 0.02:
            return bytes(made)
        if chance < 0.04:
            return dice.randbytes(dice.randrange(200))
        for _ in range(dice.randint(1, 4)):
            if made:
                dice.choice(self._ways)(made)
        return bytes(made[:LONGEST])

    def _at(self, octets: bytearray) -> int:
        return self._dice.randrange(len(octets))

    def _flip(self, octets: bytearray) -> None:
        octets[self._at(octets)] ^= 1 << self._dice.randrange(8)

    def _overwrite(self, octets: bytearray) -> None:
        word, at = self._dice.choice(_WORDS), self._at(octets)
        octets[at : at + len(word)] = word

    def _length(self, octets: bytearray) -> None:
        """A length that is nearly right: two octets, at an even place as most are."""
        at = self._at(octets) & ~1
        near = len(octets) - at + self._dice.randint(-9, 9)
        octets[at : at + 2] = max(0, near).to_bytes(2, "big")

    def _cut(self, octets: bytearray) -> None:
        del octets[self._at(octets) :]

    def _drop(self, octets: bytearray) -> None:
        at = self._at(octets)
        del octets[at : at + self._dice.randint(1, 16)]

    def _repeat(self, octets: bytearray) -> None:
        at = self._at(octets)
        octets[at:at] = octets[at : at + self._dice.randint(1, 64)] * self._dice.randint(1, 8)

    def _splice(self, octets: bytearray) -> None:
        other = self._dice.choice(self._corpus)
        octets[self._at(octets) :] = other[self._dice.randrange(len(other) + 1) :]
