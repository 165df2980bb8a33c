"""What the silence of a member is worth: its own fault only where others are answered."""

import itertools
import random

import pytest
from model_world import policy_of, single
from static_fabric import core_that_knows

from controller.checks import CONFIRMATION_TIMEOUT_S, PROBED_OF_LATE_S, Checks
from controller.decisions import Barrier, Decision, SendPacket
from controller.health import Outcome, ProbeResult
from controller.pools import MemberState
from controller.segments import ACK, RST, read_segment


class Bench:
    """Checks of three members; whoever answers refuses."""

    def __init__(self) -> None:
        core = core_that_knows(single(6), policy_of(["10.0.1.4", "10.0.1.5", "10.0.1.6"]))
        self.members = list(core.services.pools.members.values())
        for member in self.members:
            member.next_probe = float("inf")
        self.checks = Checks(core.services, random.Random(1), itertools.count(1).__next__)
        self.now = 1000.0

    def probe(self, *members: MemberState) -> list[Decision]:
        return [decision for member in members for decision in self.checks.probe(member, self.now, confirming=True)]

    def answer(self, *sent: Decision) -> list[ProbeResult]:
        results = []
        for packet in sent:
            assert isinstance(packet, SendPacket)
            probe = read_segment(packet.frame)
            assert probe is not None
            refusal = probe._replace(
                src=probe.dst, dst=probe.src, src_port=probe.dst_port, dst_port=probe.src_port, flags=RST | ACK
            )
            results += self.checks.on_segment(refusal, b"", self.now)[1]
        return results

    def run_out(self) -> list[ProbeResult]:
        """Time passes in which nothing comes back; every switch answers for itself."""
        self.now += CONFIRMATION_TIMEOUT_S
        decisions, results = self.checks.on_tick(self.now)
        for decision in decisions:
            if isinstance(decision, Barrier):
                results += self.checks.on_barrier(decision.token, self.now) or []
        return results


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    assert len(bench.answer(*bench.probe(*bench.members))) == 3, "all of them were heard before"
    return bench


def said(results: list[ProbeResult]) -> list[tuple[str, Outcome]]:
    return [(result.member[1], result.outcome) for result in results]


def test_one_silent_member_among_others_that_answer_is_silent_itself(bench: Bench) -> None:
    silent, *others = bench.members
    bench.probe(silent)
    bench.answer(*bench.probe(*others))
    assert said(bench.run_out()) == [(silent.policy.name, Outcome.TIMED_OUT)]


def test_when_all_are_silent_nobody_is_to_blame(bench: Bench) -> None:
    bench.now += 1
    bench.probe(*bench.members)
    assert bench.run_out() == []


def test_until_one_of_them_answers_a_later_probe(bench: Bench) -> None:
    first, second, third = bench.members
    bench.now += 1
    bench.probe(*bench.members)
    bench.run_out()
    told = said(bench.answer(*bench.probe(second)))
    assert (second.policy.name, Outcome.REFUSED) == told[0]
    assert sorted(told[1:]) == [(first.policy.name, Outcome.TIMED_OUT), (third.policy.name, Outcome.TIMED_OUT)]


def test_an_answer_to_an_older_probe_proves_nothing(bench: Bench) -> None:
    first, second, _ = bench.members
    older = bench.probe(second)
    bench.now += CONFIRMATION_TIMEOUT_S / 2
    bench.probe(first)
    bench.answer(*older)
    assert bench.run_out() == []


def test_where_nobody_else_is_probed_there_is_nobody_to_compare_with(bench: Bench) -> None:
    bench.now += PROBED_OF_LATE_S + 1
    bench.probe(bench.members[0])
    assert said(bench.run_out()) == [(bench.members[0].policy.name, Outcome.TIMED_OUT)]


def test_a_switch_that_does_not_answer_for_itself_has_nobody_blamed(bench: Bench) -> None:
    bench.now += PROBED_OF_LATE_S + 1
    bench.probe(bench.members[0])
    decisions, results = bench.checks.on_tick(bench.now + CONFIRMATION_TIMEOUT_S)
    (asked,) = [decision for decision in decisions if isinstance(decision, Barrier)]
    assert results == []
    assert bench.checks.on_barrier(asked.token, bench.now + 10) == []
    assert bench.checks.on_barrier(asked.token + 1, bench.now) is None
