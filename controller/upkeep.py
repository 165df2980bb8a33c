"""What every switch has and shall have, and which switches something changed for.

A change of members' shares is sent at once, and nothing but that. What changed in the fabric is planned anew; in a large fabric that
changes all the time not again for each of many changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.decisions import SwitchDecision
from controller.events import SwitchConnected, SwitchRead
from controller.parts import Parts, Planned
from controller.plan import Plan
from controller.reconcile import Installed, Slot, Wanted, reconcile, reconcile_parts
from controller.services import Moved
from controller.topology import Topology

PER_SWITCH_S, FEW_SWITCHES = 1e-3, 16
PER_HOST_S, FEW_HOSTS = 5e-5, 256
"""A large fabric that changes all the time is planned anew at most once in so long per switch and per host above so many."""


class Upkeep:
    """`installed` and `wanted` by dpid, of the switches that are looked after."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.installed: dict[int, Installed] = {}
        self.wanted: dict[int, Planned] = {}
        self.parts = Parts()
        self._stale: set[int] = set()
        """Switches for which something changed beside the members' shares."""
        self._replanned = float("-inf")
        self._at_once = False

    @property
    def pending(self) -> bool:
        """Whether some switch has yet to be told what changed."""
        return bool(self._stale)

    def due(self) -> float:
        """When what has changed in the fabric is acted on at the earliest."""
        switches, hosts = len(self.installed) - FEW_SWITCHES, len(self._topology.hosts) - FEW_HOSTS
        return self._replanned + PER_SWITCH_S * max(0, switches) + PER_HOST_S * max(0, hosts)

    def take_over(self, dpid: int, installed: Installed) -> None:
        """Look after a switch from now on, which has this."""
        self.installed[dpid] = installed
        self._stale.add(dpid)

    def read(self, said: SwitchRead) -> None:
        """Only what the switch says it has counts: the difference is sent again."""
        if said.dpid in self.installed:
            self.wanted.pop(said.dpid, None)
            self.take_over(said.dpid, installed_of(said))

    def forget(self, dpid: int) -> None:
        """A switch is gone."""
        self.installed.pop(dpid, None)
        self.wanted.pop(dpid, None)
        self._stale.discard(dpid)

    def fabric_changed(self) -> None:
        """Every switch is planned anew, when it is time."""
        self._stale.update(self.installed)

    def replan_at_once(self) -> None:
        """Every switch is planned anew, now."""
        self.fabric_changed()
        self._at_once = True

    def turn(self, now: float) -> list[int]:
        """The switches whose turn it is, in order; they count as done."""
        if not self._at_once and now < self.due():
            return []
        replanned = sorted(self._stale)
        if replanned:
            self._stale.clear()
            self._replanned, self._at_once = now, False
        return replanned

    def replan(self, plan: Plan, dpids: Iterable[int]) -> list[SwitchDecision]:
        """What these switches lack, and what they have too much of."""
        return [decision for dpid in dpids for decision in self.reconcile(dpid, plan.parts(dpid))]

    def move(self, plan: Plan, moved: Moved, dpids: Iterable[int]) -> list[SwitchDecision]:
        """What members' shares have become, on switches that nothing else changed for."""
        decisions: list[SwitchDecision] = []
        for dpid in dpids:
            planned, moving = self.wanted[dpid], plan.moving(dpid, moved.services)
            before = {slot: planned.parts[slot] for slot in moving if slot in planned.parts}
            planned.move(moving)
            decisions += reconcile_parts(dpid, self.installed[dpid], before, planned.parts, moving)
        return decisions

    def reconcile(self, dpid: int, parts: dict[Slot, Wanted]) -> list[SwitchDecision]:
        """Bring one switch to these parts."""
        before = self.wanted.get(dpid)
        planned = self.wanted[dpid] = Planned(parts)
        if before is None:
            return reconcile(dpid, self.installed[dpid], planned.together())
        return reconcile_parts(dpid, self.installed[dpid], before.parts, parts, before.parts | parts)


def installed_of(said: SwitchConnected | SwitchRead) -> Installed:
    """What a switch says it has; of groups and meters only that they are there, so they are set again."""
    flows = {cookie: table_id for table_id, cookie in said.flows}
    return Installed(flows, dict.fromkeys(said.groups), dict.fromkeys(said.meters))
