"""Entries by which a switch knows that the controller lives: they expire by themselves, and while it lives it adds them again.

Refusals are held only then (docs/pipeline.md), and zones whose fail mode is `closed` are open only then. A modify does not reset a
timer, an add does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller import mirror
from controller.decisions import Decision, InstallFlow, RemoveFlow
from controller.flows import FlowEntry
from controller.pipeline import Table
from controller.policy import AutomationMode, Policy
from controller.zoning import PRESENCE_RENEWAL_S, Zoning


@dataclass(slots=True)
class Heartbeat:
    """What is said again and again, and when."""

    holding: bool = False
    """Whether refusals are held at all: only while automation acts, and only where a pool wants it."""
    _presence: tuple[FlowEntry, ...] = ()
    _next_hold: float = 0.0
    _next_presence: float = 0.0

    def apply(self, policy: Policy, zoning: Zoning, edges: Iterable[int], now: float) -> list[Decision]:
        """Take a policy, and tell all edge switches."""
        enforcing = policy.automation.mode is AutomationMode.ENFORCE
        self.holding = enforcing and any(policy.pools[vip.pool].redispatch for vip in policy.vips.values())
        self._presence = (zoning.presence(),) if zoning.closed else ()
        self._next_hold = self._next_presence = now
        edges = list(edges)
        return [*([] if self.holding else self._release(edges)), *self.on_tick(edges, now)]

    def begin(self, dpid: int) -> list[Decision]:
        """For a switch that has just become ours; that zones are open there comes with the next beat."""
        return [InstallFlow(dpid, entry) for entry in mirror.hold()] if self.holding else []

    def on_tick(self, edges: Iterable[int], now: float) -> list[Decision]:
        """What is due."""
        due: list[FlowEntry] = []
        if self.holding and now >= self._next_hold:
            self._next_hold = now + mirror.HOLD_RENEWAL_S
            due += mirror.hold()
        if self._presence and now >= self._next_presence:
            self._next_presence = now + PRESENCE_RENEWAL_S
            due += self._presence
        return [InstallFlow(dpid, entry) for dpid in edges for entry in due] if due else []

    def next_deadline(self) -> float | None:
        """When the next is due; None: nothing has to be said."""
        due = [self._next_hold] if self.holding else []
        return min([*due, self._next_presence] if self._presence else due, default=None)

    def _release(self, edges: Iterable[int]) -> list[Decision]:
        return [RemoveFlow(dpid, entry.cookie, table_id=Table.HOLD) for dpid in edges for entry in mirror.hold()]
