"""Host ports that open more connections than they may: named, and shown until they stop.

The switch itself holds them back (a meter for each host port in table 1, before the tracker), so a flood of SYNs does not fill the
tracker for everybody. What it counts says which port it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.counting import Counters
from controller.decisions import Announce, Decision

COUNTED = "syn"
SAID_AGAIN_S = 30.0


@dataclass(slots=True)
class Floods:
    """Which host ports (`"0000000000000011:3"`) are above the limit, since when."""

    since: dict[str, float] = field(default_factory=dict)
    _said: dict[str, float] = field(default_factory=dict)

    def on_counted(self, counters: Counters, dpid: int, limit: int | None, now: float) -> list[Decision]:
        """One switch has said what it counted."""
        decisions: list[Decision] = []
        for counted in [counted for counted in counters.totals() if counted[0] == COUNTED]:
            place = counted[1]
            if not place.startswith(f"{dpid:016x}:"):
                continue
            rate = counters.recent(*counted) or 0.0
            if limit is not None and rate > limit:
                self.since.setdefault(place, now)
                decisions += self._say(place, rate, limit, now)
            elif self.since.pop(place, None) is not None:
                text = f"the flood of SYNs at port {place} is over"
                decisions.append(Announce("syn-flood-over", text, {"place": place}))
        return decisions

    def _say(self, place: str, rate: float, limit: int, now: float) -> list[Decision]:
        if now - self._said.get(place, float("-inf")) < SAID_AGAIN_S:
            return []
        self._said[place] = now
        text = f"port {place} opens {rate:.0f} connections/s; {limit}/s get through to the tracker"
        return [Announce("syn-flood", text, {"place": place, "rate_per_s": round(rate, 1), "limit_per_s": limit})]
