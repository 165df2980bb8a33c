"""A weight in a closed loop: halved while it is too much, grown by a third while there is room, and kept below what was too much.

The idea is that of TCP's congestion control (additive increase, multiplicative decrease, RFC 5681 §3.1) with the memory of CUBIC (RFC 9438
§4.1): what was too much is not tried again soon. Without that memory a load that cannot be divided makes two weights swing for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.pressure import Pressure

FULL, DEMOTED = 100, 10
DOWN_S, UP_S = 3.0, 5.0
CEILING_S, LONGEST_CEILING_S = 600.0, 7200.0
REMEMBERED_S = 60.0
"""For so long after its last step up it is known what that was: what is too much shows by then."""


@dataclass(slots=True)
class Steered:
    """A weight that is steered. Times are the core's clock (s)."""

    weight: int = FULL
    least: int = DEMOTED
    found: Pressure = Pressure.FREE
    found_since: float = 0.0
    sign: str = ""
    may_fall: float = 0.0
    may_grow: float = 0.0
    grew_from: int | None = None
    """What it had before its last step, when that was one up."""
    lowered_from: int | None = None
    """The same, when that was one down."""
    lowered_at: float = 0.0
    hold_s: float = CEILING_S
    ceiling: int = FULL
    ceiling_until: float = 0.0
    ceiling_s: float = CEILING_S
    busy_until: float = 0.0
    remembered_until: float = 0.0

    def lower(self, now: float) -> None:
        """Halve it; what it grew to was too much."""
        if self.grew_from is not None:
            self.ceiling, self.ceiling_until = self.grew_from, now + self.ceiling_s
            self.ceiling_s = min(LONGEST_CEILING_S, 2 * self.ceiling_s)
        self.lowered_from, self.lowered_at = self.weight, now
        self.weight, self.grew_from = max(self.least, (self.weight + 1) // 2), None
        self.may_fall, self.may_grow = now + DOWN_S, now + UP_S

    def take_back(self, now: float) -> None:
        """Undo the last step, which was one down and helped nobody: none is tried for long, twice as long each time.

        None up either: what has grown may fall again.
        """
        assert self.lowered_from is not None
        self.weight, self.lowered_from = self.lowered_from, None
        self.may_fall = self.may_grow = self.remembered_until = now + self.hold_s
        self.hold_s = min(LONGEST_CEILING_S, 2 * self.hold_s)

    @property
    def learned(self) -> bool:
        """Whether it knows of a step that was wrong."""
        return self.ceiling_s > CEILING_S or self.hold_s > CEILING_S

    def forget(self, now: float) -> None:
        """What was wrong may be right now."""
        self.ceiling, self.ceiling_s, self.hold_s = FULL, CEILING_S, CEILING_S
        self.may_fall, self.may_grow = min(self.may_fall, now + DOWN_S), min(self.may_grow, now + UP_S)
        self.remembered_until = min(self.remembered_until, now + REMEMBERED_S)

    def grow(self, now: float) -> bool:
        """Give it a step more; False at its ceiling."""
        highest = self.ceiling if now < self.ceiling_until else FULL
        if self.weight >= highest:
            return False
        self.lowered_from = None
        self.grew_from, self.weight = self.weight, min(highest, self.weight + max(1, self.weight // 3))
        self.may_fall, self.may_grow = now + DOWN_S, now + UP_S
        self.remembered_until = now + REMEMBERED_S
        return True

    def at_rest(self, now: float) -> bool:
        """Nothing is remembered of it that a new one would not have: not even what it grew from."""
        known = self.learned or now < self.remembered_until
        return self.weight == FULL and self.found is Pressure.FREE and not known
