"""What really happened in a run, written beside its recording: what a diagnosis is fitted to and judged by."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from controller.causes import Cause
from topologies.lab.parameters import purpose_of
from topologies.lab.pool import POOL
from topologies.lab.scenario import Action, Fault, Subject
from topologies.lab.scene import Scene


@dataclass(frozen=True)
class FaultTruth:
    """One fault: what should be said and done. `subjects` are (type, id) pairs, best first; `accept` other answers that are right too."""

    cause: Cause
    accept: tuple[Cause, ...]
    subjects: tuple[Subject, ...]
    action: Action
    signature: tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """A run's ground truth.

    Attributes:
        purpose: fitting or evaluation, by the seed.
        load_at: when the ordinary clients began, seconds since the epoch.
        fault_at: when things went wrong.
        end_at: when all traffic had ended.
        bystanders: members and clients that nothing may be done to, as (type, id).
    """

    scenario: str
    seed: int
    purpose: str
    parameters: dict[str, Any]
    load_at: float
    fault_at: float
    end_at: float
    faults: tuple[FaultTruth, ...]
    bystanders: tuple[Subject, ...] = field(default=())

    def document(self) -> dict[str, Any]:
        """As JSON."""
        document = asdict(self)
        for fault in document["faults"]:
            fault["subjects"] = [{"type": kind, "id": name} for kind, name in fault["subjects"]]
        document["bystanders"] = [{"type": kind, "id": name} for kind, name in self.bystanders]
        return document


def truth_of(scene: Scene, load_at: float, fault_at: float, end_at: float) -> Truth:
    """The truth of a scene that was played."""
    involved = {subject for fault in scene.scenario.faults for subject in fault.act.involved(scene)}
    members = [member.subject for member in scene.cast.members]
    clients = [Subject("client", address) for place in scene.cast.clients for address in place.addresses]
    return Truth(
        scenario=scene.scenario.name,
        seed=scene.seed,
        purpose=purpose_of(scene.seed),
        parameters=scene.parameters,
        load_at=load_at,
        fault_at=fault_at,
        end_at=end_at,
        faults=tuple(_fault_truth(scene, fault) for fault in scene.scenario.faults),
        bystanders=tuple(subject for subject in (*members, *clients) if subject not in involved),
    )


def _fault_truth(scene: Scene, fault: Fault) -> FaultTruth:
    expected = fault.expected
    subjects = [Subject("vip", POOL)] if expected.cause is Cause.BENIGN else fault.act.subjects(scene)
    return FaultTruth(expected.cause, expected.accept, tuple(subjects), expected.action, fault.signature)
