"""What the diagnosis leaves behind for the next start: incidents, habits, labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.causes import Cause
from controller.decisions import Decision, Persist
from controller.diagnosis.anomaly import Detector
from controller.diagnosis.incidents import KEPT_CLOSED, Incident
from controller.diagnosis.investigation import Investigation
from controller.diagnosis.patterns import Pattern
from controller.diagnosis.report import document, time_text

HABITS_EVERY_S = 60.0


class Archive:
    """Writes what changed; keeps the documents of incidents of earlier runs."""

    def __init__(self, investigation: Investigation) -> None:
        self.investigation = investigation
        self.earlier: dict[str, dict[str, Any]] = {}
        self._written: dict[str, tuple[object, ...]] = {}
        self._habits_at = 0.0

    def restore(self, values: dict[str, dict[str, object]], now: float, others_act: bool = False) -> list[Decision]:
        """Take back what the store held. Incidents that were open then are over, unless others watch them: nobody did."""
        ended: list[Decision] = []
        for name, kept in values.get("incidents", {}).items():
            if isinstance(kept, dict):
                self.earlier[name] = kept
                if kept.get("closed") is None and not others_act:
                    kept["closed"] = time_text(now)
                    ended.append(Persist("incidents", name, kept))
        self.investigation.incidents.resume_after(list(self.earlier))
        for name, habit in values.get("habits", {}).items():
            subject, _, pattern = name.rpartition(" ")
            if pattern in Pattern.__members__.values():
                detector = Detector(Pattern(pattern))
                detector.restore(habit)
                self.investigation.detectors[subject, Pattern(pattern)] = detector
        for label in values.get("labels", {}).values():
            if isinstance(label, dict):
                self.investigation.model.label([tuple(pair) for pair in label["features"]], Cause(label["cause"]))
        return ended

    def follow(self, incidents: Mapping[str, object]) -> None:
        """Take what another controller recorded; of our own incidents we know better."""
        for name, kept in incidents.items():
            if isinstance(kept, dict) and name not in self.investigation.incidents.all:
                self.earlier[name] = kept
            elif kept is None:
                self.earlier.pop(name, None)
        self.investigation.incidents.resume_after(list(incidents))

    def label(self, incident: Incident, cause: Cause) -> list[Decision]:
        """An operator says what it was; the model learns."""
        incident.label = cause
        features = [(spoken.feature.name, spoken.feature.value) for spoken in incident.diagnosis.evidence]
        self.investigation.model.label(features, cause)
        return [Persist("labels", incident.id, {"cause": cause.value, "features": [list(pair) for pair in features]})]

    def changes(self, now: float) -> list[Decision]:
        """Records of incidents that changed, and of the habits now and then."""
        records: list[Decision] = []
        for incident in self.investigation.incidents.all.values():
            state = incident.closed, len(incident.actions), incident.cause, incident.label, incident.reverted
            if self._written.get(incident.id) != state:
                self._written[incident.id] = state
                records.append(Persist("incidents", incident.id, document(incident)))
        if now - self._habits_at >= HABITS_EVERY_S:
            self._habits_at = now
            detectors = self.investigation.detectors.items()
            records += [
                Persist("habits", f"{subject} {pattern.value}", detector.document())
                for (subject, pattern), detector in detectors
            ]
        return records + self._forget_old()

    def _forget_old(self) -> list[Decision]:
        names = [*self.earlier]
        gone = names[: max(0, len(names) - KEPT_CLOSED)]
        for name in gone:
            del self.earlier[name]
        known = self.investigation.incidents.all
        outlived = [name for name in self._written if name not in known] if len(self._written) > len(known) else []
        for name in outlived:
            del self._written[name]
        return [Persist("incidents", name, None) for name in (*gone, *outlived)]
