"""A direction of a link that carries nothing any more although both of its ports are up: a fault that only probes tell.

Silence is counted in probes that were sent, not in time: a controller that is held up for a while neither sends nor reads, and must not
take that for a fault of its links.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

OVERDUE_PROBES, OVERDUE_S = 2, 0.3
"""So many unanswered for so long: look closely."""
SILENT_PROBES, SILENT_S = 30, 1.0
"""So many, for so long, and nothing crosses: a link that loses half of all packets would look so once in 10^9 times."""
HEARD_SHARE = 0.5
"""Of a round's probes: what must arrive before a silent direction is used again."""


@dataclass(slots=True)
class Unanswered:
    """The probes of one direction that were sent after the last one that arrived: how many, and since when (core's clock, s)."""

    count: int = 0
    since: float = inf

    def sent(self, count: int, now: float) -> None:
        """So many more are on their way."""
        if not self.count:
            self.since = now
        self.count += count

    def arrived(self, later: int, now: float) -> None:
        """One arrived after which `later` others were sent."""
        self.count, self.since = later, now if later else inf

    def is_overdue(self, now: float) -> bool:
        """Whether an answer should have come by now."""
        return self.count >= OVERDUE_PROBES and now - self.since >= OVERDUE_S

    def is_silence(self, now: float) -> bool:
        """Whether nothing crosses."""
        return self.count >= SILENT_PROBES and now - self.since >= SILENT_S
