"""Which incident a mirrored reset belongs to: by who sent it, whom it was from, and when."""

from __future__ import annotations

from controller.diagnosis.incidents import Incident, Subject, SubjectType
from controller.diagnosis.investigation import Investigation
from controller.diagnosis.patterns import FORGED, pattern_of
from controller.resets import ResetRecord

LEAD_S = 1.0
"""An ejection opens its incident when a probe has confirmed it: the reset that asked for the probe came before."""


class Attribution:
    """The incidents of this moment, found by subject: made anew for each batch of records, since incidents change."""

    def __init__(self, investigation: Investigation, since: float) -> None:
        """Incidents that ended before `since` (s on the core's clock) are left out."""
        self._investigation = investigation
        self._by_subject: dict[Subject, list[Incident]] = {}
        self._of_links: list[Incident] = []
        for incident in investigation.incidents.all.values():
            if incident.closed is not None and incident.closed < since:
                continue
            self._by_subject.setdefault(incident.subject, []).append(incident)
            if incident.subject.type is SubjectType.LINK:
                self._of_links.append(incident)

    def incident_of(self, record: ResetRecord) -> Incident | None:
        """The incident that was going on when the reset came; the newest, if there were several."""
        if not self._by_subject:
            return None
        found = [incident for subject in self._subjects(record) for incident in self._by_subject.get(subject, ())]
        found += [incident for incident in self._of_links if record.member in incident.members]
        during = [incident for incident in found if _covers(incident, record.time)]
        return during[-1] if during else None

    def _subjects(self, record: ResetRecord) -> list[Subject]:
        if pattern_of(record) in FORGED:
            # The addresses in it are lies: only where it entered says whose it is.
            return [] if record.entry is None else [self._investigation.subject_at(record.entry)]
        subjects = [self._investigation.client_subject(record.connection.src)]
        member = self._investigation.services.member(record.member)
        if member is not None:
            subjects.append(Subject(SubjectType.MEMBER, f"{member.pool}/{member.policy.name}"))
        return subjects


def _covers(incident: Incident, time: float) -> bool:
    return incident.first_reset - LEAD_S <= time and (incident.closed is None or time <= incident.closed)
