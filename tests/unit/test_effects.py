"""What helped stays, what did not is undone once, and what resets do not decide is left alone."""

import pytest
from model_resets import Maker
from model_world import policy_of, single
from static_fabric import core_that_knows

from controller.diagnosis.effects import EFFECT_S, TAKES_HOLD_S, Effects
from controller.diagnosis.incidents import Effect, Incident, Subject, SubjectType
from controller.diagnosis.model import Model

NOW = 1_700_000_000.0


class Case:
    """An incident about one of three members, whose clients met 10 resets a second when something was done."""

    def __init__(self, subject: Subject) -> None:
        core = core_that_knows(single(6), policy_of(["10.0.1.4", "10.0.1.5", "10.0.1.6"]))
        self.numbers = [member.number for member in core.services.pools.members.values()]
        self.evidence = core.investigation.evidence
        self.undone: list[float] = []
        self.stays = False
        self.effects = Effects(core.services, self.evidence, {"eject": self._undo})
        self.incident = Incident("i1", subject, NOW, NOW, Model().diagnose([]), members={self.numbers[0]})
        self.make = Maker()
        self.reset(self.numbers[0], 20, NOW - 2.0)

    def _undo(self, incident: Incident, now: float) -> list[object] | None:
        if self.stays:
            return None
        self.undone.append(now)
        return []

    def reset(self, member: int, per_s: int, when: float, seconds: float = 2.0) -> None:
        for number in range(round(per_s * seconds)):
            self.evidence.add(self.make.aborted_early(member, 0x0A000200 + number % 50), when + number / per_s)

    def judge(self, action: str = "eject") -> Effect | None:
        taken = self.incident.note(NOW, action, "web/web-1", "why", self.effects.rate(self.incident, NOW))
        self.effects.judge(self.incident, NOW + TAKES_HOLD_S)
        self.goes_on()
        for later in (0.0, 1.0):
            self.effects.judge(self.incident, NOW + EFFECT_S + later)
        return taken.effect

    def goes_on(self) -> None:
        """What happens after the action."""


MEMBER = Subject(SubjectType.MEMBER, "web/web-1")
LINK = Subject(SubjectType.LINK, "0000000000000001:1-0000000000000002:1")


@pytest.mark.parametrize("subject", [MEMBER, LINK])
def test_quiet_after_it_says_that_it_helped(subject: Subject) -> None:
    case = Case(subject)
    assert case.judge() is Effect.HELPED
    assert case.undone == [] and not case.incident.reverted
    assert "helped: " in case.incident.actions[0].result


@pytest.mark.parametrize("subject", [MEMBER, LINK])
@pytest.mark.parametrize("sufferer", [0, 2])
def test_as_many_resets_as_before_undo_it_whichever_member_has_them_now(subject: Subject, sufferer: int) -> None:
    case = Case(subject)
    case.goes_on = lambda: case.reset(case.numbers[sufferer], 20, NOW + TAKES_HOLD_S, 5.0)  # type: ignore[method-assign]
    assert case.judge() is Effect.REVERTED
    assert case.undone == [NOW + EFFECT_S], "once"
    assert case.incident.reverted and "did not help" in case.incident.actions[0].result


def test_what_something_else_decides_stays() -> None:
    case = Case(MEMBER)
    case.stays = True
    case.goes_on = lambda: case.reset(case.numbers[0], 20, NOW + TAKES_HOLD_S, 5.0)  # type: ignore[method-assign]
    assert case.judge() is None
    assert not case.incident.reverted and case.incident.actions[0].result == "why"


def test_an_attacker_who_goes_on_has_no_quarantine_lifted() -> None:
    case = Case(MEMBER)
    case.goes_on = lambda: case.reset(case.numbers[0], 20, NOW + TAKES_HOLD_S, 5.0)  # type: ignore[method-assign]
    assert case.judge("quarantine") is None and case.undone == []
