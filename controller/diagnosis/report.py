"""Incidents as the API shows them and the store keeps them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from controller.diagnosis.incidents import Incident


def time_text(seconds: float) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(incident: Incident) -> dict[str, Any]:
    """The JSON form of an incident (docs/api.md)."""
    return {
        "id": incident.id,
        "opened": time_text(incident.opened),
        "first_reset": time_text(incident.first_reset),
        "closed": None if incident.closed is None else time_text(incident.closed),
        "subject": {"type": incident.subject.type.value, "id": incident.subject.id},
        "cause": incident.cause.value,
        "label": None if incident.label is None else incident.label.value,
        "confidence": round(incident.diagnosis.confidence, 4),
        "posterior": {
            cause.value: round(probability, 4) for cause, probability in incident.diagnosis.posterior.items()
        },
        "evidence": [
            {"name": feature.name, "value": feature.value, "weight": round(weight, 3), "text": feature.text}
            for feature, weight in incident.diagnosis.evidence
        ],
        "causes": [{"time": time_text(time), "cause": cause.value} for time, cause in incident.causes],
        "actions": [
            {"time": time_text(taken.time), "action": taken.action, "target": taken.target, "result": taken.result}
            for taken in incident.actions
        ],
        "resets": incident.resets,
    }
