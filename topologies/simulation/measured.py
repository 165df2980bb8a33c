"""A core and what it costs: CPU per event, decisions by kind."""

from __future__ import annotations

import time
from collections import Counter

from controller.balance import VIP_GROUP
from controller.core import Core
from controller.decisions import Decision, InstallFlow, RemoveFlow, RemoveGroup, SetGroup
from controller.events import Event, PacketSeen
from controller.flows import Purpose

KIND_OF_GROUP = 0xF000_0000
SEGMENTS = frozenset({Purpose.RESET, Purpose.HELD, Purpose.PROBE})
"""What a member is judged by. (Hosts that are learnt change groups too.)"""
RULES = (InstallFlow, RemoveFlow, SetGroup, RemoveGroup)


class MeasuredCore:
    """Passes everything on to a core and keeps account.

    `cpu_s` is the thread's CPU time in the core, `changed_at` the virtual time of the last change of a rule, `reactions_ms` the CPU
    time of each segment shown to the core that made it change the groups of a VIP.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.cpu_s = 0.0
        self.events: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.changed_at = 0.0
        self.cpu_at_change_s = 0.0
        self.rules_changed = 0
        self.reactions_ms: list[float] = []

    def handle(self, event: Event, now: float) -> list[Decision]:
        """As the core."""
        began = time.thread_time()
        decisions = self.core.handle(event, now)
        took_s = time.thread_time() - began
        self.cpu_s += took_s
        self.events[type(event).__name__] += 1
        rules = 0
        for decision in decisions:
            self.decisions[type(decision).__name__] += 1
            # Refusals are held by an entry that is renewed all the time.
            rules += isinstance(decision, RULES) and not _is_renewal(decision)
        if rules:
            self.changed_at, self.cpu_at_change_s = now, self.cpu_s
            self.rules_changed += rules
        if isinstance(event, PacketSeen) and event.purpose in SEGMENTS and any(map(_moves_clients, decisions)):
            self.reactions_ms.append(1000 * took_s)
        return decisions

    def next_deadline(self, now: float) -> float:
        """As the core."""
        began = time.thread_time()
        deadline = self.core.next_deadline(now)
        self.cpu_s += time.thread_time() - began
        return deadline


def _moves_clients(decision: Decision) -> bool:
    return isinstance(decision, SetGroup) and decision.entry.group_id & KIND_OF_GROUP == VIP_GROUP


def _is_renewal(decision: Decision) -> bool:
    return isinstance(decision, InstallFlow) and decision.entry.purpose is Purpose.HELD
