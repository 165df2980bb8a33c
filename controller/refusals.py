"""Switches that refused a change: what they have is read again, and ever more seldom while they go on refusing."""

from __future__ import annotations

from dataclasses import dataclass

from controller.decisions import Decision, ReadSwitch
from controller.events import SwitchRefused

FIRST_S, LONGEST_S = 1.0, 60.0
"""How long after a refusal a switch is read again: at first, and at the longest; doubled each time in between."""
CALM_S = 5.0
"""So long after the last answer without a refusal the trouble is over."""
OF_CHANGES = frozenset({2, 3, 4, 5, 6, 12})
"""Errors about actions, instructions, matches, flow entries, groups and meters (OpenFlow 1.3.5 §7.4.4): a change was
not made. The others are about requests that change nothing."""


@dataclass(slots=True)
class _Trouble:
    pause_s: float
    last: float
    due: float | None


class Refusals:
    """When which switch is read again.

    One refused message makes all that was sent with it doubtful (an entry refers to a group that was refused), and the
    switch is the only one who knows. A switch that refuses for good, because a table is full for instance, costs a
    reading and what is missing once a minute.
    """

    def __init__(self) -> None:
        self._troubles: dict[int, _Trouble] = {}
        self.counts: dict[int, int] = {}
        """Messages refused by dpid, since the switch connected."""

    def on_refused(self, event: SwitchRefused, now: float) -> None:
        """Note a refusal; several before the next reading are one."""
        self.counts[event.dpid] = self.counts.get(event.dpid, 0) + 1
        if event.error_type not in OF_CHANGES:
            return
        known = self._troubles.get(event.dpid)
        if known is None or (known.due is None and now - known.last > known.pause_s + CALM_S):
            self._troubles[event.dpid] = _Trouble(FIRST_S, now, now + FIRST_S)
        elif known.due is None:
            known.pause_s = min(2 * known.pause_s, LONGEST_S)
            known.last, known.due = now, now + known.pause_s
        else:
            known.last = now

    def on_disconnected(self, dpid: int) -> None:
        """Forget what was due: the switch is read when it is back."""
        self.counts.pop(dpid, None)
        if dpid in self._troubles:
            self._troubles[dpid].due = None

    def on_tick(self, now: float) -> list[Decision]:
        """Read the switches whose time has come."""
        due = [dpid for dpid, trouble in self._troubles.items() if trouble.due is not None and now >= trouble.due]
        for dpid in due:
            self._troubles[dpid].due = None
        return [ReadSwitch(dpid) for dpid in due]

    def next_deadline(self) -> float | None:
        """When the next one is due, None: never."""
        return min((trouble.due for trouble in self._troubles.values() if trouble.due is not None), default=None)
