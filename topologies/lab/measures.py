"""How good the diagnosis was over many runs: confusion, recall, calibration, time. Pure functions of results (`verdict.Result`)."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.causes import Cause
from topologies.lab.scenario import Action

NONE = "none"
"""What was found where no incident answers for a fault."""
RELIABILITY_STEPS = (0.0, 0.5, 0.7, 0.8, 0.9, 1.0)
Result = dict[str, Any]
FaultResult = dict[str, Any]


@dataclass(frozen=True)
class Reliability:
    """Diagnoses with a confidence from `low` to `high`: how sure they were on average, and which share was right."""

    low: float
    high: float
    count: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Measures:
    """Over all faults of all runs.

    Attributes:
        confusion: how often (expected, found); an answer that is right too counts as the expected one.
        recall: share found of each expected cause.
        precision: share right of each cause found.
        brier: mean over diagnoses of Σ (posterior − truth)² over the causes (Brier 1950): 0 perfect, 2 worst.
        median_s: from the fault's first reset to its right cause, over those found; `p95_s` alike. None without any.
        acted: share of faults on which what should follow did, benign ones apart.
        benign_acted: benign runs on which something was done to somebody.
        harmed: (scenario, seed, bystander) of every bystander ejected or quarantined.
        beside: incidents with another cause than benign that answer for no fault.
    """

    faults: int
    confusion: Counter[tuple[str, str]]
    accuracy: float
    recall: dict[str, float]
    precision: dict[str, float]
    brier: float | None
    reliability: tuple[Reliability, ...]
    median_s: float | None
    p95_s: float | None
    acted: float
    benign_runs: int
    benign_acted: int
    harmed: tuple[tuple[str, int, str], ...]
    beside: int


def measure(results: Sequence[Result]) -> Measures:
    """The measures of some runs.

    Raises:
        ValueError: no results.
    """
    faults = [fault for result in results for fault in result["faults"]]
    if not faults:
        raise ValueError("no results to measure")
    confusion = Counter((fault["expected"], answer(fault)) for fault in faults)
    benign = [fault for fault in faults if fault["expected"] == Cause.BENIGN]
    others = [fault for fault in faults if fault["expected"] != Cause.BENIGN]
    times = sorted(fault["after_s"] for fault in others if fault["after_s"] is not None)
    return Measures(
        faults=len(faults),
        confusion=confusion,
        accuracy=sum(fault["right"] for fault in faults) / len(faults),
        recall=_shares(confusion, by=0),
        precision=_shares(confusion, by=1),
        brier=_brier(faults),
        reliability=_reliability(faults),
        median_s=statistics.median(times) if times else None,
        p95_s=times[math.ceil(0.95 * len(times)) - 1] if times else None,
        acted=sum(fault["acted"] for fault in others) / len(others) if others else 1.0,
        benign_runs=len(benign),
        benign_acted=sum(fault["action"] == Action.NONE and not fault["acted"] for fault in benign),
        harmed=tuple((result["scenario"], result["seed"], name) for result in results for _, name in result["harmed"]),
        beside=sum(len(result["beside"]) for result in results),
    )


def answer(fault: FaultResult) -> str:
    """The cause found, as the expected one where it is right too."""
    if fault["right"]:
        return str(fault["expected"])
    return str(fault["found"] or NONE)


def _shares(confusion: Counter[tuple[str, str]], by: int) -> dict[str, float]:
    """The share on the diagonal of each row (`by` 0) or column (1) that has anything."""
    totals: Counter[str] = Counter()
    for pair, count in confusion.items():
        totals[pair[by]] += count
    return {cause: confusion[cause, cause] / totals[cause] for cause in map(str, Cause) if totals[cause]}


def _diagnosed(faults: Sequence[FaultResult]) -> list[FaultResult]:
    return [fault for fault in faults if fault["posterior"]]


def _brier(faults: Sequence[FaultResult]) -> float | None:
    scores = [
        sum((fault["posterior"].get(cause, 0.0) - (cause == _truth(fault))) ** 2 for cause in Cause)
        for fault in _diagnosed(faults)
    ]
    return statistics.fmean(scores) if scores else None


def _truth(fault: FaultResult) -> str:
    """The cause that counts as true: what was found where it is right, as packets cannot tell it from the expected one."""
    return str(fault["found"] if fault["right"] else fault["expected"])


def _reliability(faults: Sequence[FaultResult]) -> tuple[Reliability, ...]:
    rows = []
    for low, high in itertools.pairwise(RELIABILITY_STEPS):
        within = [
            fault
            for fault in _diagnosed(faults)
            if low <= fault["confidence"] < high or (fault["confidence"] == high == 1.0)
        ]
        if within:
            confidence = statistics.fmean(fault["confidence"] for fault in within)
            right = statistics.fmean(fault["right"] for fault in within)
            rows.append(Reliability(low, high, len(within), confidence, right))
    return tuple(rows)
