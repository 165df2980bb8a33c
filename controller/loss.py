"""The loss of one direction of a link, from what was sent and what arrived, over a window that ends where the loss changed.

A plain window answers a change by its own length too late. Here the newest rounds are held against the older ones; when they cannot
come from the same loss (two-proportion z-test, `CHANGE_Z`), the older ones are forgotten: the idea of ADWIN (Bifet and Gavaldà, 2007)
with a single cut, which is enough for one share and at most `MAX_ROUNDS` rounds.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import sqrt
from typing import NamedTuple

MAX_ROUNDS = 60
MAX_AGE_S = 600.0
NEWEST_ROUNDS = 5
LEAST_COMPARED = 50
CHANGE_Z = 4.0
LEAST_PROBES = 5
"""Fewer probes than this say nothing about a share."""


class Loss(NamedTuple):
    """`share` 0 to 1 of `probes`; the true share is above `at_least` with 97.5 % confidence (Wilson score interval)."""

    share: float
    probes: int
    at_least: float


class _Round(NamedTuple):
    time: float
    sent: int
    lost: int


class LossWindow:
    """The last rounds of probes of one direction, in bounded memory."""

    def __init__(self) -> None:
        self._rounds: deque[_Round] = deque(maxlen=MAX_ROUNDS)

    def add(self, sent: int, lost: int, now: float) -> None:
        """A round is over: `lost` of `sent` probes never arrived."""
        self._rounds.append(_Round(now, sent, lost))
        while self._rounds[0].time < now - MAX_AGE_S:
            self._rounds.popleft()
        self._forget_before_change()

    def _forget_before_change(self) -> None:
        older = max(0, len(self._rounds) - NEWEST_ROUNDS)
        sent_before, lost_before = _sum(islice(self._rounds, older))
        sent, lost = _sum(islice(self._rounds, older, None))
        if sent < LEAST_COMPARED or sent_before < LEAST_COMPARED:
            return
        pooled = (lost + lost_before) / (sent + sent_before)
        deviation = sqrt(pooled * (1 - pooled) * (1 / sent + 1 / sent_before))
        if abs(lost / sent - lost_before / sent_before) > CHANGE_Z * deviation:
            for _ in range(older):
                self._rounds.popleft()

    def estimate(self) -> Loss | None:
        """The loss of late; None when too few probes were sent to say."""
        sent, lost = _sum(self._rounds)
        if sent < LEAST_PROBES:
            return None
        return Loss(lost / sent, sent, _wilson_low(lost, sent))

    @property
    def last(self) -> float:
        """When the newest round ended; minus infinity when there was none."""
        return self._rounds[-1].time if self._rounds else float("-inf")


def _sum(rounds: islice[_Round] | deque[_Round]) -> tuple[int, int]:
    sent = lost = 0
    for probes in rounds:
        sent += probes.sent
        lost += probes.lost
    return sent, lost


def _wilson_low(hits: int, count: int, z: float = 1.96) -> float:
    """Lower end of the 95 % Wilson score interval of a share (Wilson, 1927)."""
    share, z2 = hits / count, z * z
    centre = share + z2 / (2 * count)
    spread = z * sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, (centre - spread) / (1 + z2 / count))
