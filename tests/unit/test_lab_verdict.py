"""How a run of the lab is judged: expected against found, on truths and observations made by hand."""

from collections import Counter
from typing import Any

import pytest

from controller.causes import Cause
from topologies.lab.measures import Measures, measure
from topologies.lab.observation import Observation, Saying
from topologies.lab.report import page
from topologies.lab.scenario import Action, Subject
from topologies.lab.truth import FaultTruth, Truth
from topologies.lab.verdict import Ended, judge

FAULT_AT = 1_000.0
WEB_1, WEB_2 = Subject("member", "web/web-1"), Subject("member", "web/web-2")
CLIENT, OFFENDER = Subject("client", "10.0.1.1"), Subject("client", "10.0.1.9")
CLOSED = FaultTruth(Cause.MISCONFIGURATION, (), (WEB_2,), Action.EJECT, ("refused",))
OVERLOADED = FaultTruth(Cause.OVERLOAD, (), (WEB_1,), Action.CUT_WEIGHT, ("aborted-by-client",))
REJECTED = FaultTruth(Cause.MISCONFIGURATION, (Cause.POLICY,), (WEB_2,), Action.EJECT, ("refused",))
HARMLESS = FaultTruth(Cause.BENIGN, (), (Subject("vip", "web"),), Action.NONE, ("aborted-by-client",))
GARBAGE = FaultTruth(Cause.PROTOCOL_VIOLATION, (), (OFFENDER,), Action.QUARANTINE, ("aborted-by-member",))


def truth(*faults: FaultTruth) -> Truth:
    involved = {subject for fault in faults for subject in fault.subjects}
    bystanders = tuple(subject for subject in (WEB_1, WEB_2, CLIENT) if subject not in involved)
    return Truth("by-hand", 1, "fitting", {}, FAULT_AT - 5, FAULT_AT, FAULT_AT + 7, faults, bystanders)


def at(seconds: float) -> str:
    return f"1970-01-01T00:{int(seconds // 60):02}:{seconds % 60:06.3f}Z"


def incident(
    subject: Subject, cause: Cause, *, opened: float = FAULT_AT + 1, resets: int = 10, **more: Any
) -> dict[str, Any]:
    name = f"{subject.id} {cause}"
    posterior = {str(other): 0.0 for other in Cause} | {str(cause): 1.0}
    return {
        "id": name, "opened": at(opened), "subject": {"type": subject.type, "id": subject.id}, "cause": cause,
        "confidence": 1.0, "posterior": posterior, "resets": resets, "actions": [],
    } | more  # fmt: skip


def observation(*incidents: dict[str, Any], out: str = "", lighter: str = "", quarantined: str = "") -> Observation:
    lightest = {"web-1": 100, "web-2": 100} | ({out: 0} if out else {}) | ({lighter: 50} if lighter else {})
    sayings = [Saying(FAULT_AT + 1.25, each) for each in incidents]
    known = {each["id"]: each for each in incidents}
    return Observation(sayings, known, lightest, {quarantined} if quarantined else set())


def reset(
    when: float, kind: str, member: Subject = WEB_2, client: Subject = CLIENT, repeated: bool = False
) -> dict[str, Any]:
    return {
        "time": at(when), "kind": kind, "member": member.id, "client": client.id, "repeated": repeated,
        "sender": "member", "stage": "post-syn",
    }  # fmt: skip


def verdict(told: Truth, seen: Observation, *resets: dict[str, Any]) -> dict[str, Any]:
    return judge(told, seen, list(resets), Ended(Counter(served=10), Counter(served=9, refused=1)))


def test_the_right_cause_at_the_right_member_after_its_first_reset() -> None:
    resets = [reset(FAULT_AT + 0.5, "refused"), reset(FAULT_AT + 0.1, "refused", WEB_1), reset(FAULT_AT - 1, "refused")]
    result = verdict(truth(CLOSED), observation(incident(WEB_2, Cause.MISCONFIGURATION), out="web-2"), *resets)
    (fault,) = result["faults"]
    assert (fault["found"], fault["right"], fault["subject_right"], fault["acted"]) == (
        "misconfiguration",
        True,
        True,
        True,
    )
    assert fault["after_s"] == 0.75, "from the first refusal of that member on; the other member's is not the fault's"
    assert (fault["resets_before"], fault["resets_after"]) == (1, 1)
    assert result["harmed"] == []


def test_the_time_is_when_the_right_cause_came_to_stay() -> None:
    seen = observation(incident(WEB_2, Cause.MISCONFIGURATION))
    (last,) = seen.sayings
    changes = ((0.5, Cause.MISCONFIGURATION), (0.75, Cause.OVERLOAD), (1.0, Cause.MISCONFIGURATION))
    seen.sayings[:] = [Saying(FAULT_AT + after, last.incident | {"cause": cause}) for after, cause in changes]
    assert verdict(truth(CLOSED), seen)["faults"][0]["after_s"] == 1.0
    seen.sayings.append(Saying(FAULT_AT + 2, last.incident | {"cause": Cause.OVERLOAD}))
    assert verdict(truth(CLOSED), seen)["faults"][0]["after_s"] is None


def test_a_repeated_reset_is_the_same_connection_and_not_counted() -> None:
    resets = [reset(FAULT_AT + 0.5, "refused"), reset(FAULT_AT + 0.6, "refused", repeated=True)]
    assert verdict(truth(CLOSED), observation(), *resets)["faults"][0]["resets_after"] == 1


def test_what_packets_cannot_tell_apart_is_right_too() -> None:
    (fault,) = verdict(truth(REJECTED), observation(incident(WEB_2, Cause.POLICY)))["faults"]
    assert fault["right"]


def test_another_cause_is_wrong_and_nothing_is_no_diagnosis() -> None:
    (wrong,) = verdict(truth(CLOSED), observation(incident(WEB_2, Cause.OVERLOAD)))["faults"]
    assert (wrong["found"], wrong["right"], wrong["after_s"]) == ("overload", False, None)
    (nothing,) = verdict(truth(CLOSED), observation())["faults"]
    assert (nothing["found"], nothing["right"]) == (None, False)


def test_an_incident_from_before_the_fault_answers_for_nothing() -> None:
    early = incident(WEB_2, Cause.MISCONFIGURATION, opened=FAULT_AT - 2)
    result = verdict(truth(CLOSED), observation(early))
    assert result["faults"][0]["found"] is None
    assert verdict(truth(HARMLESS), observation(early))["faults"][0]["right"] is False, "what is benign was so before"


def test_the_incident_is_chosen_by_its_subject_never_by_its_cause() -> None:
    seen = observation(incident(WEB_2, Cause.OVERLOAD, resets=3), incident(WEB_1, Cause.MISCONFIGURATION, resets=50))
    result = verdict(truth(CLOSED), seen)
    assert result["faults"][0]["found"] == "overload"
    assert result["beside"] == [{"subject": {"type": "member", "id": "web/web-1"}, "cause": "misconfiguration"}]


def test_the_right_cause_at_somebody_else_counts_but_its_subject_does_not() -> None:
    (fault,) = verdict(truth(CLOSED), observation(incident(WEB_1, Cause.MISCONFIGURATION)))["faults"]
    assert (fault["right"], fault["subject_right"]) == (True, False)


def test_two_faults_need_two_incidents() -> None:
    one = incident(WEB_2, Cause.MISCONFIGURATION)
    first, second = verdict(truth(CLOSED, OVERLOADED), observation(one))["faults"]
    assert (first["found"], second["found"]) == ("misconfiguration", None)
    both = observation(one, incident(WEB_1, Cause.OVERLOAD), lighter="web-1", out="web-2")
    first, second = verdict(truth(CLOSED, OVERLOADED), both)["faults"]
    assert (first["right"], first["acted"], second["right"], second["acted"]) == (True, True, True, True)


@pytest.mark.parametrize(
    ("seen", "right", "acted"),
    [
        (observation(), True, True),
        (observation(incident(CLIENT, Cause.BENIGN)), True, True),
        (observation(incident(CLIENT, Cause.HOSTILE)), False, True),
        (observation(incident(CLIENT, Cause.BENIGN, actions=[{"action": "cut-weight"}])), True, False),
        (observation(lighter="web-1"), True, False),
        (observation(quarantined="10.0.1.1"), True, False),
    ],
    ids=["silence", "said benign", "said hostile", "acted", "weight cut", "quarantined"],
)
def test_benign_wants_no_other_cause_and_no_action(seen: Observation, right: bool, acted: bool) -> None:
    (fault,) = verdict(truth(HARMLESS), seen)["faults"]
    assert (fault["right"], fault["acted"]) == (right, acted)


def test_a_bystander_that_is_ejected_or_quarantined_is_harmed() -> None:
    result = verdict(truth(CLOSED), observation(out="web-1", quarantined="10.0.1.1"))
    assert result["harmed"] == [["member", "web/web-1"], ["client", "10.0.1.1"]]
    assert verdict(truth(CLOSED), observation(lighter="web-1"))["harmed"] == [], "fewer connections are no harm"


def test_the_offender_is_no_bystander() -> None:
    seen = observation(incident(OFFENDER, Cause.PROTOCOL_VIOLATION), quarantined="10.0.1.9")
    result = verdict(truth(GARBAGE), seen)
    assert result["harmed"] == []
    assert result["faults"][0]["acted"]


def results() -> list[dict[str, Any]]:
    """Four faults: closed found, closed taken for overload, overload found, benign left alone with an offender's cause beside."""
    resets = [reset(FAULT_AT + 0.25, "refused")]
    return [
        verdict(truth(CLOSED), observation(incident(WEB_2, Cause.MISCONFIGURATION), out="web-2"), *resets),
        verdict(truth(CLOSED), observation(incident(WEB_2, Cause.OVERLOAD, confidence=0.6), out="web-1"), *resets),
        verdict(truth(OVERLOADED), observation(incident(WEB_1, Cause.OVERLOAD), lighter="web-1")),
        verdict(truth(HARMLESS), observation()),
    ]


def test_measures_of_four_runs_counted_by_hand() -> None:
    measures: Measures = measure(results())
    assert measures.confusion == {
        ("misconfiguration", "misconfiguration"): 1,
        ("misconfiguration", "overload"): 1,
        ("overload", "overload"): 1,
        ("benign", "benign"): 1,
    }
    assert measures.accuracy == 0.75
    assert measures.recall == {"overload": 1.0, "misconfiguration": 0.5, "benign": 1.0}
    assert measures.precision == {"overload": 0.5, "misconfiguration": 1.0, "benign": 1.0}
    assert measures.brier == pytest.approx(2 / 3), (
        "the wrong one was sure of the wrong cause: 1 + 1; the two right ones 0"
    )
    assert [(row.low, row.count, row.right) for row in measures.reliability] == [(0.5, 1, 0.0), (0.9, 2, 1.0)]
    assert (measures.median_s, measures.p95_s) == (pytest.approx(1.125), 1.25)
    assert (measures.benign_runs, measures.benign_acted) == (1, 0)
    assert measures.harmed == (("by-hand", 1, "web/web-1"),)


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no results"):
        measure([])


def test_the_page_shows_confusion_recall_calibration_and_harm() -> None:
    text = page(results())
    assert "| misconfiguration | · | · | 1 | 1 | · | · | · | · | 50% |" in text
    assert "| accuracy | 75.0% |" in text
    assert "| lowest recall | 50.0% (misconfiguration) |" in text
    assert "| 90%–100% | 2 | 100% | 100% |" in text
    assert "- by-hand, seed 1: web/web-1" in text
