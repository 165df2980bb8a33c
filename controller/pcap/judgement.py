"""Adds up what speaks for which cause of a reset: naive Bayes over the table in `controller.pcap.cause`."""

from math import exp
from typing import Final, NamedTuple

from controller.causes import Cause
from controller.pcap.case import Case
from controller.pcap.cause import EVIDENCE, IN_ANY_SITUATION, PRIORS, Evidence

# Without the switches' and members' own word, never certain.
MOST_CONFIDENCE: Final = 0.97
MOST_REASONS: Final = 6


class Judgement(NamedTuple):
    """The likeliest cause, its probability, and what spoke for it (first) and against it."""

    cause: Cause
    confidence: float
    reasons: tuple[str, ...]


def judge(case: Case) -> Judgement:
    """Weigh all evidence that holds."""
    rows = EVIDENCE.get(case.situation, ()) + IN_ANY_SITUATION
    found = [evidence for evidence in rows if evidence.holds(case)]
    scores = dict(PRIORS)
    for evidence in found:
        for cause, weight in evidence.weights.items():
            scores[cause] += weight
    cause = max(scores, key=scores.__getitem__)
    share = 1.0 / sum(exp(score - scores[cause]) for score in scores.values())
    return Judgement(cause, round(min(share, MOST_CONFIDENCE), 2), _reasons(case, cause, found))


def _reasons(case: Case, cause: Cause, found: list[Evidence]) -> tuple[str, ...]:
    """What speaks for the cause, strongest first, then what speaks more for another one."""
    supporting = sorted((e for e in found if e.weights.get(cause, 0.0) > 0), key=lambda e: -e.weights[cause])
    opposing = [e for e in found if e.weights.get(cause, 0.0) <= 0]
    reasons = [e.text(case) for e in supporting] + [f"but: {e.text(case)}" for e in opposing]
    if not reasons:
        reasons = ["nothing in the capture speaks for a cause; most such resets are nobody's fault"]
    return tuple(dict.fromkeys(reasons))[:MOST_REASONS]
