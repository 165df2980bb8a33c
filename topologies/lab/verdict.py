"""Expected against found, for one run."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

from controller.causes import Cause
from topologies.lab.observation import Observation, count_resets
from topologies.lab.pool import POOL
from topologies.lab.scenario import Action, Subject
from topologies.lab.truth import FaultTruth, Truth

FULL_WEIGHT = 100
CLOCK_S = 0.1
"""How far the controller's steady clock may be from the wall clock."""
Incident = dict[str, Any]
Reset = dict[str, Any]
Result = dict[str, Any]
"""A verdict as JSON: see docs/lab.md."""


class Ended(NamedTuple):
    """How many ordinary connections ended in each way, before the fault and from then on."""

    before: Counter[str]
    after: Counter[str]


def judge(truth: Truth, seen: Observation, resets: list[Reset], ended: Ended) -> Result:
    """The verdict on a run: one entry a fault, and who was harmed beside."""
    incidents = _incidents_by_fault(truth, seen)
    claimed = {incident["id"] for incident in incidents if incident is not None}
    return {
        "scenario": truth.scenario,
        "seed": truth.seed,
        "purpose": truth.purpose,
        "faults": [
            _judge_fault(truth, fault, incident, seen, resets)
            for fault, incident in zip(truth.faults, incidents, strict=True)
        ],
        "harmed": [list(subject) for subject in truth.bystanders if _harmed(subject, seen)],
        "beside": [
            {"subject": incident["subject"], "cause": incident["cause"]}
            for incident in _largest_first(seen)
            if incident["id"] not in claimed and not _is_explained(incident, truth)
        ],
        "incidents": list(seen.last.values()),
        "resets": [[*key, count] for key, count in count_resets(resets).most_common()],
        "clients": {"before": dict(ended.before), "after": dict(ended.after)},
        "lightest": seen.lightest,
        "quarantined": sorted(seen.quarantined),
    }


def _largest_first(seen: Observation) -> list[Incident]:
    return sorted(seen.last.values(), key=lambda incident: -incident["resets"])


def _incidents_by_fault(truth: Truth, seen: Observation) -> list[Incident | None]:
    """The incident that answers for each fault: the largest about one of its subjects, else the largest that nobody claims.

    Only those that opened after it, and never chosen by its cause: that would find the right answer wherever it stands. What is benign is
    so from the start: any incident of the run that says otherwise speaks against it.
    """
    told = _largest_first(seen)
    if [fault.cause for fault in truth.faults] == [Cause.BENIGN]:
        return [next((incident for incident in told if incident["cause"] != Cause.BENIGN), told[0] if told else None)]
    free = [incident for incident in told if seconds(incident["opened"]) >= truth.fault_at - CLOCK_S]
    chosen: list[Incident | None] = []
    for fault in truth.faults:
        named = next((incident for incident in free if _subject(incident) in fault.subjects), None)
        if named is not None:
            free.remove(named)
        chosen.append(named)
    for place, incident in enumerate(chosen):
        if incident is None and free:
            chosen[place] = free.pop(0)
    return chosen


def _judge_fault(
    truth: Truth, fault: FaultTruth, incident: Incident | None, seen: Observation, resets: list[Reset]
) -> Result:
    right_answers = {fault.cause, *fault.accept}
    found = incident["cause"] if incident else (Cause.BENIGN if fault.cause is Cause.BENIGN else None)
    own = [reset for reset in resets if _is_of(fault, reset)]
    first = min((when for reset in own if (when := seconds(reset["time"])) >= truth.fault_at), default=truth.fault_at)
    right_at = _right_at(incident, right_answers, seen)
    return {
        "expected": fault.cause,
        "accept": list(fault.accept),
        "found": found,
        "right": found in right_answers,
        "subject_right": incident is not None and _subject(incident) in fault.subjects,
        "subject": incident["subject"] if incident else None,
        "confidence": incident["confidence"] if incident else None,
        "posterior": incident["posterior"] if incident else None,
        "after_s": None if right_at is None else round(right_at - first, 3),
        "action": fault.action,
        "acted": _acted(fault, incident, seen),
        "resets_before": sum(seconds(reset["time"]) < truth.fault_at for reset in own),
        "resets_after": sum(seconds(reset["time"]) >= truth.fault_at for reset in own),
    }


def _is_explained(incident: Incident, truth: Truth) -> bool:
    """Whether a further incident does no wrong: it is benign, or says the right thing of somebody else the fault is about."""
    return incident["cause"] == Cause.BENIGN or any(
        _subject(incident) in fault.subjects and incident["cause"] in {fault.cause, *fault.accept}
        for fault in truth.faults
    )


def _is_of(fault: FaultTruth, reset: Reset) -> bool:
    """Whether a reset may be this fault's: of its kinds, at its subjects where these are members or clients."""
    if reset["kind"] not in fault.signature or reset["repeated"]:
        return False
    names = {subject.id for subject in fault.subjects if subject.type in {"member", "client"}}
    elsewhere = any(subject.type in {"vip", "link", "policy"} for subject in fault.subjects)
    return elsewhere or reset["member"] in names or reset["client"] in names


def _right_at(incident: Incident | None, right_answers: set[Cause], seen: Observation) -> float | None:
    """Since when the incident has said the right thing, up to the end; None when it said something else last."""
    since: float | None = None
    for saying in seen.sayings:
        if incident is not None and saying.incident["id"] == incident["id"]:
            right = saying.incident["cause"] in right_answers
            since = (saying.time if since is None else since) if right else None
    return since


def _acted(fault: FaultTruth, incident: Incident | None, seen: Observation) -> bool:
    """Whether what should follow did, by its effect."""
    members = [subject.id.removeprefix(f"{POOL}/") for subject in fault.subjects if subject.type == "member"]
    weights = [seen.lightest.get(name, FULL_WEIGHT) for name in members]
    clients = {subject.id for subject in fault.subjects if subject.type == "client"}
    untouched = all(weight == FULL_WEIGHT for weight in seen.lightest.values())
    effects = {
        Action.EJECT: 0 in weights,
        Action.CUT_WEIGHT: any(weight < FULL_WEIGHT for weight in weights),
        Action.MOVE_PATH: incident is not None and bool(incident["actions"]),
        Action.REPORT: incident is not None and untouched,
        Action.QUARANTINE: bool(clients & seen.quarantined),
        Action.DROP_FORGED: untouched,
        Action.NONE: untouched and not seen.quarantined and not any(told["actions"] for told in seen.last.values()),
    }
    return effects[fault.action]


def _harmed(subject: Subject, seen: Observation) -> bool:
    if subject.type == "member":
        return seen.lightest.get(subject.id.removeprefix(f"{POOL}/")) == 0
    return subject.id in seen.quarantined


def _subject(incident: Incident) -> Subject:
    return Subject(incident["subject"]["type"], incident["subject"]["id"])


def seconds(text: str) -> float:
    """RFC 3339 as seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
