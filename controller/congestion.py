"""Which links are congested, with hysteresis: a verdict comes after `ENTER_HOLD_S` of evidence and goes after `LEAVE_HOLD_S` without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from controller.telemetry import LinkState
    from controller.topology import Endpoint

ENTER_HOLD_S = 2.0
LEAVE_HOLD_S = 5.0
FORGET_S = 30.0
"""A verdict nobody could confirm or revise for so long is no longer known."""

# what: (speaks for congestion from here on, no longer speaks for it below this)
UTILISATION = (0.85, 0.7)
DROPS_PER_S = (1.0, 0.5)
LOSS = (0.01, 0.005)


class Verdict(NamedTuple):
    """Whether a link is congested, why, and since when (the core's clock)."""

    congested: bool = False
    reasons: tuple[str, ...] = ()
    since: float | None = None


@dataclass(slots=True)
class _Standing:
    """A port that something speaks against, or did a moment ago. `turning_since`: when the evidence began to contradict the verdict."""

    verdict: Verdict
    judged_at: float
    turning_since: float | None = None


def _reasons(state: LinkState, bound: int) -> tuple[str, ...]:
    """What speaks for congestion, by the upper (0) or the lower (1) bounds."""
    loss, drops = state.loss, state.drops_per_s
    if bound == 0:
        # A burst that overflowed a queue once is in the smoothed rate for long.
        loss, drops = state.loss_at_least, state.drops_newest_per_s
    measured = [
        ("utilisation", state.utilisation, UTILISATION),
        ("queue drops", drops, DROPS_PER_S),
        ("probe loss", loss, LOSS),
    ]
    if state.far is None:
        measured.append(("utilisation from the host", state.received_utilisation, UTILISATION))
    return tuple(name for name, value, bounds in measured if value is not None and value >= bounds[bound])


class Congestion:
    """The verdicts on all ports; only those that something speaks against take memory."""

    def __init__(self) -> None:
        self._standings: dict[Endpoint, _Standing] = {}

    def verdict(self, near: Endpoint) -> Verdict:
        """The verdict on one port."""
        standing = self._standings.get(near)
        return standing.verdict if standing else Verdict()

    def congested(self) -> list[Endpoint]:
        """The congested ports, in order."""
        return sorted(near for near, standing in self._standings.items() if standing.verdict.congested)

    def keep_only(self, known: set[Endpoint]) -> None:
        """Forget ports that are gone."""
        self._standings = {near: standing for near, standing in self._standings.items() if near in known}

    def judge(self, state: LinkState, now: float) -> bool:
        """Take in what is measured now; whether the verdict changed. What is unknown speaks neither for nor against."""
        standing = self._standings.get(state.near)
        was = standing.verdict.congested if standing else False
        reasons = _reasons(state, bound=1 if was else 0)
        if standing is None:
            if not reasons:
                return False
            standing = self._standings[state.near] = _Standing(Verdict(), now)
        if (state.utilisation, state.drops_per_s, state.loss) == (None, None, None):
            return False
        standing.judged_at = now
        if bool(reasons) is was:
            standing.turning_since = None
            standing.verdict = standing.verdict._replace(reasons=reasons)
            if not was:
                del self._standings[state.near]
            return False
        standing.turning_since = now if standing.turning_since is None else standing.turning_since
        if now - standing.turning_since < (LEAVE_HOLD_S if was else ENTER_HOLD_S):
            return False
        if was:
            del self._standings[state.near]
        else:
            standing.verdict, standing.turning_since = Verdict(True, reasons, standing.turning_since), None
        return True

    def forget_unknown(self, now: float) -> list[Endpoint]:
        """Drop the verdicts that nothing was heard about for long; the ports that were congested."""
        old = [near for near, standing in self._standings.items() if now - standing.judged_at > FORGET_S]
        congested = [near for near in old if self._standings[near].verdict.congested]
        for near in old:
            del self._standings[near]
        return congested
