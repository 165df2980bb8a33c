"""Switches whose connection tracker takes no more connections: named, and shown until it does again.

A commit that the tracker has no room for lets its packet go on as it is, unmarked and untranslated (`conntrack_full` in Open vSwitch's
lib/conntrack.c, userspace). Table 13 counts those: a new connection to a VIP is lost then, any other passes without being known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.counting import Counters
from controller.decisions import Announce, Decision
from controller.floods import COUNTED as SYNS

UNTRACKED = "untracked"
SAID_AGAIN_S = 30.0
OVER_S = 5.0
"""A tracker that has refused nothing for so long has room again."""
MOST = 0.5
"""A port that opens this share of a switch's new connections is named."""


@dataclass(slots=True)
class FullTrackers:
    """Which switches' trackers (by dpid) are full, since when."""

    since: dict[int, float] = field(default_factory=dict)
    _refused_at: dict[int, float] = field(default_factory=dict)
    _said: dict[int, float] = field(default_factory=dict)

    def on_counted(self, counters: Counters, dpid: int, now: float) -> list[Decision]:
        """One switch has said what it counted."""
        name = f"{dpid:016x}"
        rate = counters.recent(UNTRACKED, name) or 0.0
        if rate > 0:
            self.since.setdefault(dpid, now)
            self._refused_at[dpid] = now
            return self._say(counters, dpid, rate, now)
        if dpid in self.since and now - self._refused_at[dpid] >= OVER_S:
            del self.since[dpid], self._refused_at[dpid]
            self._said.pop(dpid, None)
            return [Announce("tracker-full-over", f"the tracker of switch {name} has room again", {"dpid": name})]
        return []

    def _say(self, counters: Counters, dpid: int, rate: float, now: float) -> list[Decision]:
        if now - self._said.get(dpid, float("-inf")) < SAID_AGAIN_S:
            return []
        self._said[dpid] = now
        name, place = f"{dpid:016x}", _busiest(counters, dpid)
        text = f"the tracker of switch {name} is full: {rate:.0f} new connections/s are not known to it"
        text += f"; port {place} opens most of them" if place else ""
        return [Announce("tracker-full", text, {"dpid": name, "untracked_per_s": round(rate, 1), "place": place})]


def _busiest(counters: Counters, dpid: int) -> str | None:
    """The host port that opens most of the switch's connections, if one does."""
    here = [counted for counted in counters.totals() if counted[0] == SYNS and counted[1].startswith(f"{dpid:016x}:")]
    rates = {counted[1]: counters.recent(*counted) or 0.0 for counted in here}
    place = max(rates, key=rates.__getitem__, default=None)
    return place if place is not None and rates[place] > MOST * sum(rates.values()) else None
