"""Incidents as they are opened, updated and closed: what is said of a subject, since when, and in which words."""

from __future__ import annotations

from controller.decisions import Announce, Decision
from controller.diagnosis.features import Feature, subject_feature
from controller.diagnosis.incidents import QUIET_S, Incident, Incidents, Subject
from controller.diagnosis.model import Diagnosis, Model

REMEMBERED = 4096


class Casebook:
    """Owns the incidents, and since when a subject stands out that has none yet."""

    def __init__(self, model: Model) -> None:
        self.incidents = Incidents()
        self._model = model
        self._first: dict[Subject, float] = {}

    def remember(self, subject: Subject, now: float) -> list[Decision]:
        """Not an incident yet: but if it becomes one, it began here."""
        before = self._first.pop(subject, now)
        self._first[subject] = before if now - before < QUIET_S else now
        if len(self._first) > REMEMBERED:
            self._first.pop(next(iter(self._first)))
        return []

    def report(
        self, subject: Subject, features: list[Feature], count: int, now: float, goes_on: bool = True
    ) -> list[Decision]:
        """What speaks about a subject now, and `count` resets more; `goes_on` keeps its incident open."""
        if not features:
            return []
        incident = self.incidents.open.get(subject)
        if incident is None:
            incident, changed = self.begin(subject, features, now), True
        else:
            changed = incident.update(self._diagnose(subject, features), now)
        incident.resets += count
        if goes_on:
            incident.last_seen = now
        return [announcement(incident, "opened" if incident.opened == now else "updated")] if changed else []

    def begin(self, subject: Subject, features: list[Feature], now: float) -> Incident:
        """A new incident."""
        diagnosis = self._diagnose(subject, features)
        first = self._first.pop(subject, now)
        incident = Incident(self.incidents.next_id(), subject, now, now, diagnosis, first_reset=first)
        incident.update(diagnosis, now)
        self.incidents.add(incident)
        return incident

    def _diagnose(self, subject: Subject, features: list[Feature]) -> Diagnosis:
        return self._model.diagnose([*features, subject_feature(subject.type.value)])

    def close(self, incident: Incident, now: float) -> Decision:
        """It is over."""
        self.incidents.close(incident, now)
        return announcement(incident, "closed")


def announcement(incident: Incident, what: str) -> Announce:
    """One line about an incident."""
    subject, cause = incident.subject, incident.cause
    fields: dict[str, object] = {
        "id": incident.id, "state": what, "subject": subject.id, "subject_type": subject.type.value, "cause": cause.value,
        "confidence": round(incident.diagnosis.confidence, 3),
    }  # fmt: skip
    why = "; ".join(spoken.feature.text for spoken in incident.diagnosis.evidence[:2])
    text = f"incident {incident.id} {what}: {subject.type.value} {subject.id}, {cause.value} ({incident.diagnosis.confidence:.0%}): {why}"
    return Announce("incident", text, fields)
