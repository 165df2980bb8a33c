"""How many connections were reset when, and why: the recent records counted by span of time and cause."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.core import Core
from controller.diagnosis.attribution import Attribution
from controller.tally import NO_INCIDENT

KEPT_S = 1.0

Counts = Mapping[int, Mapping[str, int]]
"""Start of a span, seconds since the epoch → cause → connections."""


class ResetTimeline:
    """Counts of resets, kept for a moment: every open dashboard asks for the same ones."""

    def __init__(self, core: Callable[[], Core]) -> None:
        """Make one; `core` returns the core at work."""
        self._core = core
        self._kept: dict[tuple[int, int], tuple[float, Counts]] = {}

    def counts(self, since: float, bin_s: int, now: float) -> Counts:
        """Count connections (not segments) reset since a moment, by span and cause."""
        asked = int(since), bin_s
        kept_at, counts = self._kept.get(asked, (0.0, {}))
        if now - kept_at < KEPT_S:
            return counts
        counts = self._count(since, bin_s)
        self._kept = {key: kept for key, kept in self._kept.items() if now - kept[0] < KEPT_S}
        self._kept[asked] = now, counts
        return counts

    def _count(self, since: float, bin_s: int) -> Counts:
        attribution = Attribution(self._core().investigation, since)
        counts: dict[int, dict[str, int]] = {}
        for record in self._core().resets.newest():
            if record.time < since:
                break
            if record.repeated:
                continue
            incident = attribution.incident_of(record)
            cause = NO_INCIDENT if incident is None else incident.cause.value
            span = counts.setdefault(int(record.time) // bin_s * bin_s, {})
            span[cause] = span.get(cause, 0) + 1
        return counts
