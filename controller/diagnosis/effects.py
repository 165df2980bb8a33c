"""Whether what was done helped: the resets that clients see are counted again, and what did not help is undone.

An action is judged once, by the incident's whole surroundings: what a member's clients suffer may only have moved to its peers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controller.decisions import Decision
from controller.diagnosis.evidence import Evidence
from controller.diagnosis.incidents import Action, Effect, Incident, SubjectType
from controller.services import Services

EFFECT_S = 6.0
TAKES_HOLD_S = 1.0
"""Connections that were under way when something was done are not held against it."""
HELPED_BELOW = 0.5
"""Of the resets per second before, so many may be left."""

Undo = Callable[[Incident, float], list[Decision] | None]
"""Undoes an action of one kind; None: it stays, because something else than resets decides."""


@dataclass(slots=True)
class Effects:
    """Measures actions; `undo` by kind of action: what is not in it is never judged (an attacker who goes on is no reason to give in)."""

    services: Services
    evidence: Evidence
    undo: Mapping[str, Undo]

    def rate(self, incident: Incident, now: float) -> float:
        """Connections per second that the incident's members reset or lost in their present bursts."""
        return sum(self.evidence.member(number).tally.burst_rate(now) for number in self._members(incident))

    def judge(self, incident: Incident, now: float) -> list[Decision]:
        """Take the measure of each action whose time has come."""
        decisions: list[Decision] = []
        for taken in incident.actions:
            if taken.action not in self.undo or taken.resets_per_s <= 0 or now - taken.time < TAKES_HOLD_S:
                continue
            if taken.baseline is None:
                taken.baseline = self._total(incident)
            if now - taken.time >= EFFECT_S:
                decisions += self._judge(incident, taken, taken.baseline, now)
        return decisions

    def _judge(self, incident: Incident, taken: Action, baseline: int, now: float) -> list[Decision]:
        before, taken.resets_per_s = taken.resets_per_s, 0.0
        since = (self._total(incident) - baseline) / (EFFECT_S - TAKES_HOLD_S)
        if since < HELPED_BELOW * before:
            taken.result += f"; helped: {before:.1f} to {since:.1f} resets/s"
            taken.effect = Effect.HELPED
            return []
        undone = self.undo[taken.action](incident, now)
        if undone is None:
            return []
        taken.result += f"; did not help ({before:.1f} to {since:.1f} resets/s): reverted"
        incident.reverted, taken.effect = True, Effect.REVERTED
        return undone

    def _members(self, incident: Incident) -> list[int]:
        """The members it is about: one, or those whose clients a link holds up."""
        if incident.subject.type is not SubjectType.MEMBER:
            return sorted(incident.members)
        pool, _, name = incident.subject.id.partition("/")
        member = self.services.pools.members.get((pool, name))
        return [member.number] if member else []

    def _total(self, incident: Incident) -> int:
        """Connections to the pools of these members that were reset so far, other than harmlessly."""
        members = (self.services.member(number) for number in self._members(incident))
        pools = {member.pool for member in members if member is not None}
        numbers = [member.number for pool in pools for member in self.services.pools.of(pool)]
        known = (self.evidence.members.get(number) for number in numbers)
        return sum(evidence.tally.bad_total for evidence in known if evidence is not None)
