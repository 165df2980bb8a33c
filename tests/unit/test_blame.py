"""Whose is it: a client only where others are served, a link only on the way of those who suffer."""

from dataclasses import replace

import pytest
from model_resets import Maker
from model_world import policy_of, single, text
from static_fabric import core_that_knows

from controller.core import Core
from controller.diagnosis.blame import UNDECIDED_S
from controller.diagnosis.incidents import Subject, SubjectType
from controller.diagnosis.ways import EXPLAINS
from controller.flows import Purpose
from controller.health import Outcome, ProbeResult
from controller.pipeline import INV
from controller.resets import Resets
from controller.segments import Sender
from controller.topology import Host

NOW = 1_700_000_000.0
USUAL_PER_S = 20.0


class Case:
    """One member of three whose connections are reset, 40 in a second."""

    def __init__(self) -> None:
        self.core: Core = core_that_knows(single(6), policy_of(["10.0.1.4", "10.0.1.5", "10.0.1.6"]))
        self.member = next(iter(self.core.services.pools.members.values()))
        self.evidence = self.core.investigation.evidence
        self.make = Maker()
        self.clients = [host.ip for host in self.core.topology.hosts.values() if host.ip != self.member.address]

    def counted(self, usual: float = USUAL_PER_S, present: float = USUAL_PER_S) -> None:
        known = self.evidence.member(self.member.number).connections
        for _ in range(10):
            known.on_counted(usual, True, 1.0)
        for _ in range(2):
            known.on_counted(present, False, 1.0)

    def reset(self, count: int, client: int, over_s: float = 1.0) -> float:
        for number in range(count):
            when = NOW + number * over_s / count
            self.evidence.add(self.make.aborted_early(self.member.number, client, when), when)
        return NOW + over_s

    def probed(self, outcome: Outcome) -> None:
        self.evidence.member(self.member.number).on_probe(ProbeResult(self.member.key, outcome, 1.0, "", 64), NOW + 0.1)

    def suspect(self, now: float) -> Subject | None:
        return self.core.investigation.blame.suspect(self.member, now)[0]

    @property
    def own(self) -> Subject:
        return Subject(SubjectType.MEMBER, "web/web-1")


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_newcomer_that_alone_fails_where_others_are_served_is_guilty(case: Case) -> None:
    case.counted()
    case.probed(Outcome.SUCCEEDED)
    now = case.reset(40, case.clients[0])
    assert case.suspect(now) == Subject(SubjectType.CLIENT, text(case.clients[0]))


def test_a_lone_client_is_not_guilty_of_what_its_member_does(case: Case) -> None:
    case.counted(usual=40.0, present=40.0)
    case.probed(Outcome.SUCCEEDED)
    now = case.reset(40, case.clients[0])
    assert case.suspect(now) is None, "as long as counters may still say that others are there"
    later = case.reset(100, case.clients[0], UNDECIDED_S + 0.1)
    assert case.suspect(max(now, later)) == case.own


def test_one_of_many_who_fail_is_not_guilty(case: Case) -> None:
    case.counted()
    case.probed(Outcome.SUCCEEDED)
    for client in case.clients[1:4]:
        now = case.reset(10, client)
    assert case.suspect(now) == case.own


def test_others_who_leave_early_now_and_then_do_not_hide_the_guilty_one(case: Case) -> None:
    case.counted()
    case.probed(Outcome.SUCCEEDED)
    now = case.reset(40, case.clients[0])
    for client in case.clients[1:4]:
        for _ in range(5):
            case.evidence.add(case.make.aborted_by_client(case.member.number, client, now), now)
    assert case.suspect(now) == Subject(SubjectType.CLIENT, text(case.clients[0]))


def test_nor_is_anybody_while_own_probes_fail(case: Case) -> None:
    case.counted()
    case.probed(Outcome.RESET)
    now = case.reset(40, case.clients[0])
    assert case.suspect(now) == case.own


def test_a_full_link_explains_only_those_whose_way_it_is_on(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = case.core.topology.hosts
    near, far = hosts[case.clients[0]], hosts[case.clients[1]]
    telemetry = case.core.telemetry
    full = replace(telemetry.port(far.endpoint, NOW), congested=True, utilisation=1.0)
    usual = telemetry.port
    monkeypatch.setattr(
        telemetry, "port", lambda endpoint, now: full if endpoint == far.endpoint else usual(endpoint, now)
    )
    member = hosts[case.member.address]

    def blamed(share: float) -> tuple[bool | None, str | None]:
        suffering: list[tuple[Host, float]] = [(near, 1 - share), (far, share)]
        return case.core.investigation.blame.ways.congestion(member, suffering, NOW)

    assert blamed(EXPLAINS + 0.01) == (True, f"{far.dpid:016x}:{far.port_no}")
    assert blamed(EXPLAINS - 0.01)[1] is None


def test_a_full_link_that_own_probes_do_not_cross_does_not_explain_why_they_fail(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.counted()
    monkeypatch.setattr(case.core.investigation.blame.ways, "congestion", lambda *_: (True, "a-link"))
    now = case.reset(40, case.clients[0])
    assert case.suspect(now) == Subject(SubjectType.LINK, "a-link")
    case.probed(Outcome.TIMED_OUT)
    assert case.suspect(now) == Subject(SubjectType.LINK, "a-link"), "one lost probe is nothing"
    case.probed(Outcome.TIMED_OUT)
    assert case.suspect(now) == case.own
    link = f"{case.core.topology.hosts[case.member.address].dpid:016x}:4"
    monkeypatch.setattr(case.core.investigation.blame.ways, "congestion", lambda *_: (True, link))
    assert case.suspect(now) == Subject(SubjectType.LINK, link), "the member's own link they do cross"


@pytest.mark.parametrize(("alone", "sender"), [(True, Sender.MEMBER), (False, Sender.INJECTED)])
def test_a_late_word_is_a_forgery_only_where_somebody_else_can_speak(alone: bool, sender: Sender) -> None:
    made = Maker().lost(1, 0x0A000002)
    fields = {"ct_state": INV, "ct_mark": made.mark}
    record = Resets().take(Purpose.RESET, 1, fields, made.segment, (1, 1), NOW, made.connection, only_itself=alone)
    assert record.sender is sender
