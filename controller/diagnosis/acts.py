"""Which incident an act belongs to: so that everything that was done about it can be found by its id."""

from __future__ import annotations

from controller.decisions import Announce
from controller.diagnosis.incidents import Incidents, Subject, SubjectType

OF_MEMBERS = frozenset({"eject", "ejected", "would-eject", "readmit", "cut-weight", "weight", "cut"})
OF_LINKS = frozenset({"paths"})


def incident_of(act: Announce, incidents: Incidents) -> str | None:
    """The id of the incident: as the act says, else the newest about its member or link; None when it belongs to none."""
    if act.kind == "incident":
        return str(act.fields["id"])
    said = act.fields.get("incident")
    if said is not None:
        return str(said)
    if act.kind in OF_MEMBERS:
        subject = Subject(SubjectType.MEMBER, str(act.fields.get("member")))
    elif act.kind in OF_LINKS:
        subject = Subject(SubjectType.LINK, str(act.fields.get("link")))
    else:
        return None
    return next((incident.id for incident in reversed(incidents.all.values()) if incident.subject == subject), None)
