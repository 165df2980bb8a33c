"""Switches whose flow tables are full: the least important entries go, and somebody is told.

A switch that takes no more entries says so for each (OFPFMFC_TABLE_FULL, OpenFlow 1.3.5 §7.4.4). Cached verdicts go first: the rules say
the same without them, only slower. Then automatic quarantine entries, the oldest first: a client that still misbehaves is
put away again. What was refused is sent again when the switch has been read (`refusals.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from controller.decisions import Announce, Decision
from controller.events import SwitchRefused

FLOW_MOD_FAILED, TABLE_FULL = 5, 1
SAID_AGAIN_S = 30.0
OVER_S = 60.0
"""A switch that has refused nothing for so long is not full any more."""
EVICTED_AT_ONCE = 64


def is_table_full(event: SwitchRefused) -> bool:
    """Whether this is what the switch refused something for."""
    return (event.error_type, event.code) == (FLOW_MOD_FAILED, TABLE_FULL)


@dataclass(slots=True)
class FullTables:
    """Which switches are full. `evict_verdicts` and `evict_quarantined` take (dpid, how many) and return what makes room."""

    evict_verdicts: Callable[[int, int], list[Decision]]
    evict_quarantined: Callable[[int], list[Decision]]
    counts: dict[int, int] = field(default_factory=dict)
    """Entries refused for want of room by dpid."""
    _last: dict[int, float] = field(default_factory=dict)
    _said: dict[int, float] = field(default_factory=dict)

    def is_full(self, dpid: int, now: float) -> bool:
        """Whether the switch refused an entry for want of room of late."""
        return now - self._last.get(dpid, float("-inf")) < OVER_S

    def on_refused(self, event: SwitchRefused, now: float) -> list[Decision]:
        """Make room, and say so."""
        dpid = event.dpid
        self.counts[dpid] = self.counts.get(dpid, 0) + 1
        self._last[dpid] = now
        if now - self._said.get(dpid, float("-inf")) < SAID_AGAIN_S:
            return []
        # Once in a while, not for each of thousands of entries that were sent together.
        self._said[dpid] = now
        room = self.evict_verdicts(dpid, 1 << 30) or self.evict_quarantined(EVICTED_AT_ONCE)
        what = "entries that can be spared go" if room else "there is nothing that can be spared"
        text = f"the flow table of switch {dpid:016x} is full: {what}"
        return [Announce("table-full", text, {"dpid": f"{dpid:016x}", "evicted": bool(room)}), *room]
