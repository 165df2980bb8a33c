"""What a seed varies. The same scenario and seed always give the same values.

Fitting and evaluation are kept apart twice: by their seeds, and by the values those can draw. A span is cut into cells, and fitting draws
from the even ones, evaluation from the odd ones: no rate or link speed that a model was fitted to is met again when it is judged.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

FIRST_EVALUATION_SEED = 1000
CELLS = 12


class Purpose(StrEnum):
    """What a run is for."""

    FITTING = "fitting"
    EVALUATION = "evaluation"


def purpose_of(seed: int) -> Purpose:
    """Seeds below `FIRST_EVALUATION_SEED` are for fitting."""
    return Purpose.EVALUATION if seed >= FIRST_EVALUATION_SEED else Purpose.FITTING


class Span(Protocol):
    """The values a parameter can have."""

    def draw(self, dice: random.Random, purpose: Purpose) -> Any:
        """One of them."""


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, spread evenly over its magnitude (so 40–80 is as likely as 150–300)."""

    low: float
    high: float

    def draw(self, dice: random.Random, purpose: Purpose) -> float:
        """A number from one of the cells of this purpose."""
        cell = 2 * dice.randrange(CELLS // 2) + (purpose is Purpose.EVALUATION)
        share = (cell + dice.random()) / CELLS
        return round(float(self.low * (self.high / self.low) ** share), 6)


@dataclass(frozen=True)
class WholeBetween(Between):
    """A whole number, `low` and `high` included; small spans are too narrow to be cut, and both purposes draw all of them."""

    def draw(self, dice: random.Random, purpose: Purpose) -> int:
        """A whole number from one of the cells of this purpose."""
        if self.high - self.low < 2 * CELLS:
            return dice.randint(int(self.low), int(self.high))
        return round(super().draw(dice, purpose))


@dataclass(frozen=True)
class OneOf:
    """One of these, for both purposes."""

    options: tuple[Any, ...]

    def draw(self, dice: random.Random, purpose: Purpose) -> Any:
        """Any of them."""
        return dice.choice(self.options)


COMMON: Mapping[str, Span] = {
    "topology": OneOf(("leafspine", "leafspine", "single")),
    "members": WholeBetween(2, 4),
    "faulty": WholeBetween(0, 11),
    "rate": Between(40, 200),
    "addresses_per_client": WholeBetween(1, 3),
    "timeout_s": Between(1.2, 3.0),
    "reset_share": Between(0.002, 0.05),
    "link_mbit": Between(60, 200),
    "check": OneOf(("http", "tcp")),
    "check_interval_s": OneOf((0.5, 1.0)),
}
"""Every scenario's parameters: `faulty` is which member (modulo their number), `rate` connections/s of all clients together, `reset_share`
of the served connections are closed with RST by ordinary clients, `check` and its interval are the pool's health check."""


def draw(scenario: str, spans: Mapping[str, Span], seed: int) -> dict[str, Any]:
    """The values of one run; each parameter has dice of its own, so one more of them changes no other."""
    purpose = purpose_of(seed)
    wanted = {**COMMON, **spans}
    return {name: span.draw(random.Random(f"{scenario}/{seed}/{name}"), purpose) for name, span in wanted.items()}
