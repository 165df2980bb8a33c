"""Incidents: what is going on, why, since when, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from controller.causes import Cause
from controller.diagnosis.model import Diagnosis

QUIET_S = 8.0
"""An incident is over when nothing of the kind happened for so long."""
KEPT_CLOSED = 500
CONFIDENT = 0.6


class SubjectType(StrEnum):
    """What an incident can be about."""

    MEMBER = "member"
    CLIENT = "client"
    LINK = "link"
    VIP = "vip"
    POLICY = "policy"


class Subject(NamedTuple):
    """What an incident is about: `id` as operators write it (`pool/member`, an address, `port-port`, a name)."""

    type: SubjectType
    id: str


class Outcome(StrEnum):
    """What became of an intention to act."""

    DONE = "done"
    NOT_DONE = "not-done"
    """A safety limit stood against it, or there was no way to do it."""
    DRY_RUN = "dry-run"


class Effect(StrEnum):
    """What an action turned out to be worth."""

    HELPED = "helped"
    REVERTED = "reverted"


@dataclass(slots=True)
class Action:
    """Something done about an incident."""

    time: float
    action: str
    target: str
    result: str
    resets_per_s: float = 0.0
    """How fast resets of the incident came when it was done: what its effect is measured against. 0: not to be measured."""
    baseline: int | None = None
    """How many there had been when the action had taken hold."""
    outcome: Outcome = Outcome.DONE
    effect: Effect | None = None


@dataclass(slots=True)
class Incident:
    """One incident; times on the core's clock."""

    id: str
    subject: Subject
    opened: float
    last_seen: float
    """When a reset, or a link's loss, last spoke for it."""
    diagnosis: Diagnosis
    first_reset: float = 0.0
    closed: float | None = None
    resets: int = 0
    actions: list[Action] = field(default_factory=list)
    label: Cause | None = None
    causes: list[tuple[float, Cause]] = field(default_factory=list)
    """When which cause became the likeliest."""
    settled_at: float | None = None
    reverted: bool = False
    members: set[int] = field(default_factory=set)
    """Numbers of the members whose resets it explains, where its subject is a link."""

    @property
    def cause(self) -> Cause:
        """The operator's label, else the likeliest."""
        return self.label or self.diagnosis.cause

    def update(self, diagnosis: Diagnosis, now: float) -> bool:
        """Take a new posterior in; whether the cause changed."""
        changed = not self.causes or diagnosis.cause is not self.causes[-1][1]
        self.diagnosis = diagnosis
        if changed:
            self.causes.append((now, diagnosis.cause))
        return changed

    def note(
        self, now: float, action: str, target: str, result: str, resets_per_s: float = 0.0, outcome: Outcome = Outcome.DONE
    ) -> Action:  # fmt: skip
        """Write an action down, or why it was not taken."""
        taken = Action(now, action, target, result, resets_per_s, outcome=outcome)
        self.actions.append(taken)
        return taken


class Incidents:
    """Open incidents by subject, and the last closed ones."""

    def __init__(self) -> None:
        self.open: dict[Subject, Incident] = {}
        self.all: dict[str, Incident] = {}
        self._serial = 0

    def next_id(self) -> str:
        """An id that was not used before."""
        self._serial += 1
        return f"i{self._serial}"

    def resume_after(self, ids: list[str]) -> None:
        """Ids of an earlier run are not given again."""
        self._serial = max([self._serial, *(int(name[1:]) for name in ids if name[1:].isdecimal())])

    def add(self, incident: Incident) -> None:
        """Open one."""
        self.open[incident.subject] = incident
        self.all[incident.id] = incident
        closed = [other for other in self.all.values() if other.closed is not None]
        for old in closed[: max(0, len(closed) - KEPT_CLOSED)]:
            del self.all[old.id]

    def close(self, incident: Incident, now: float) -> None:
        """It is over."""
        incident.closed = now
        self.open.pop(incident.subject, None)
