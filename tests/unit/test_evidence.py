"""Bounded memories: what is kept of a flood, what it cannot move, and what each reset is held against."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_resets import Maker

from controller.diagnosis.evidence import LATEST_PROBES, LATEST_RESETS, MAX_CLIENTS, MAX_PORTS, Evidence
from controller.diagnosis.features import affected_clients, member_features
from controller.diagnosis.patterns import Pattern
from controller.diagnosis.windows import HALF_LIFE_S, RECENT_S, Decayed, Distinct, Heavy
from controller.health import Outcome, ProbeResult

# --- windows -------------------------------------------------------------------------------------------------------------------


def test_a_decayed_count_halves_in_its_half_life() -> None:
    count = Decayed()
    count.add(0.0, 8.0)
    assert count.value(HALF_LIFE_S) == pytest.approx(4.0)
    assert count.value(10 * HALF_LIFE_S) < 0.01
    assert count.value(-5.0) == 8.0, "the past is not younger"


def test_a_steady_rate_is_read_off_it() -> None:
    count, now = Decayed(), 0.0
    while now < 60:
        count.add(now)
        now += 0.1
    assert count.rate(now) == pytest.approx(10, rel=0.02)


def test_distinct_things_are_counted_once_and_for_a_while() -> None:
    distinct: Distinct[int] = Distinct(cap=4)
    for thing in (1, 2, 1, 2):
        distinct.add(thing, 0.0)
    assert distinct.count(1.0) == 2 and 1 in distinct
    for thing in range(10, 20):
        distinct.add(thing, 1.0)
    assert distinct.count(1.0) == 4, "that many or more"
    assert distinct.count(1.0 + RECENT_S + 0.1) == 0


def test_the_heaviest_is_found_in_a_flood_and_its_share_is_its_share() -> None:
    heavy: Heavy[int] = Heavy(cap=16)
    chance, now = random.Random(1), 0.0
    for _ in range(4000):
        heavy.add(0 if chance.random() < 0.2 else chance.randrange(1, 1000), now)
        now += 0.005
    thing, share = heavy.top(now)
    assert thing == 0 and share == pytest.approx(0.2, abs=0.08)
    assert len(heavy.shares(now)) == 16


def test_no_thing_looks_guilty_because_the_others_were_many() -> None:
    heavy: Heavy[int] = Heavy(cap=16)
    for number in range(5000):
        heavy.add(7 if number % 10 == 0 else number, number / 200)
    assert heavy.share(7, 25.0) < 0.25
    assert heavy.top(25.0)[1] < 0.25


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 0.5)), min_size=1, max_size=200))
def test_counts_of_the_heaviest_are_never_too_low_and_hardly_too_high(stream: list[tuple[int, float]]) -> None:
    heavy: Heavy[int] = Heavy(cap=8)
    exact: dict[int, Decayed] = {}
    now = 0.0
    for thing, gap in stream:
        now += gap
        heavy.add(thing, now)
        exact.setdefault(thing, Decayed()).add(now)
    total = sum(count.value(now) for count in exact.values())
    for thing in heavy.shares(now):
        true = exact[thing].value(now) / total
        assert true - 1e-9 <= heavy.share(thing, now) <= true + 1 / 8 + 1e-9
    assert sum(heavy.share(thing, now) for thing in heavy.shares(now)) == pytest.approx(1.0)


# --- evidence ------------------------------------------------------------------------------------------------------------------


def test_a_members_own_reset_is_held_against_it_and_its_client_remembered() -> None:
    evidence, make = Evidence(), Maker()
    for client in (1, 2, 2):
        evidence.add(make.refused(member=7, client=client), 0.0)
    member = evidence.member(7)
    assert member.tally.fresh == {Pattern.REFUSED: 3}
    assert affected_clients(member, 0.0) == {1: 1, 2: 2}
    assert evidence.client(2).tally.fresh == {Pattern.REFUSED: 2}


def test_what_a_guilty_client_provokes_is_held_against_nobody_else() -> None:
    evidence, make = Evidence(), Maker()
    evidence.add(make.refused(member=7, client=1), 0.0, against_member=False)
    assert 7 not in evidence.members and evidence.client(1).tally.total == 1


def test_a_false_reset_is_held_against_the_port_it_came_in_by_and_nobody_else() -> None:
    evidence, make = Evidence(), Maker()
    evidence.add(make.injected(claimed=5, entry=(1, 3)), 0.0)
    evidence.add(make.out_of_window(sender=5, entry=(2, 4)), 0.0)
    assert not evidence.members and not evidence.clients
    assert evidence.port((1, 3)).injected == 1 and evidence.port((2, 4)).injected == 0
    assert evidence.port((2, 4)).tally.fresh == {Pattern.OUT_OF_WINDOW: 1}


def test_resets_after_the_end_count_but_begin_no_burst() -> None:
    evidence, make = Evidence(), Maker()
    evidence.add(make.after_fin(member=7, client=1), 0.0)
    member = evidence.member(7)
    assert member.tally.total == 1 and member.tally.burst == 0
    assert member.tally.dominant(0.0) is None and member.tally.bad_rate(0.0) == 0
    assert not member.latest


def test_who_leaves_early_everywhere_does_not_hide_whose_connections_the_member_aborts() -> None:
    evidence, make = Evidence(), Maker()
    for number in range(24):
        now = number / 8
        evidence.add(make.aborted_early(member=7, client=1, now=now), now)
        if number % 3 == 0:
            evidence.add(make.aborted_by_client(member=7, client=2 + number, now=now), now)
    assert affected_clients(evidence.member(7), 3.0) == {1: 24}


def test_a_few_who_left_early_do_not_hide_what_is_the_matter() -> None:
    evidence, make = Evidence(), Maker()
    for client in range(3):
        evidence.add(make.aborted_by_client(member=7, client=client), 0.0)
    tally = evidence.member(7).tally
    assert tally.dominant(0.0) is Pattern.CLIENT_LATE
    evidence.add(make.refused(member=7, client=9), 0.0)
    assert tally.dominant(0.0) is Pattern.REFUSED


def test_what_failed_long_before_the_last_failure_is_not_of_late_however_long_ago_that_is() -> None:
    evidence, make = Evidence(), Maker()
    for now in (0.0, 20.0, 21.0):
        evidence.add(make.refused(member=7, client=1, now=now), now)
    assert [one.time for one in evidence.member(7).alike(4.0, 60.0)] == [20.0, 21.0]


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [("ssrr", "refused"), ("srsr", "now-and-then"), ("rrss", "now-and-then"), ("ss", "open"), ("r", "refused"),
     ("ssts", "open"), ("ttss", "now-and-then"), ("t", "timed-out"), ("sstt", "timed-out")],
)  # fmt: skip
def test_what_probes_say_is_what_they_found_since_the_first_failed_and_one_lost_is_nothing(
    outcomes: str, word: str
) -> None:
    evidence, make = Evidence(), Maker()
    evidence.add(make.refused(member=7, client=1), 0.0)
    for number, outcome in enumerate(outcomes):
        found = {"s": Outcome.SUCCEEDED, "r": Outcome.REFUSED, "t": Outcome.TIMED_OUT}[outcome]
        evidence.member(7).on_probe(ProbeResult(("web", "7"), found, 1.0, ""), number / 4)
    said = {feature.name: feature.value for feature in member_features(7, evidence, [], None, 1.0)}
    assert said["probe"] == word


def test_a_foreign_ttl_is_noted_when_the_members_own_is_known() -> None:
    evidence, make = Evidence(), Maker()
    evidence.member(7).usual_ttl = 64
    evidence.add(make.refused(member=7, client=1, ttl=61), 0.0)
    evidence.add(make.refused(member=7, client=2, ttl=64), 0.0)
    assert [one.foreign_ttl for one in evidence.member(7).latest] == [True, False]


def test_a_burst_ends_with_quiet() -> None:
    evidence, make = Evidence(), Maker()
    for now in (0.0, 1.0, 20.0, 21.0, 22.0):
        evidence.add(make.refused(member=7, client=1), now)
    tally = evidence.member(7).tally
    assert (tally.burst, tally.burst_began, tally.total) == (3, 20.0, 5)


def test_members_and_rules_that_are_gone_are_forgotten() -> None:
    evidence, make = Evidence(), Maker()
    for member in (1, 2):
        evidence.add(make.refused(member=member, client=1), 0.0)
    evidence.keep_only({2}, set())
    assert set(evidence.members) == {2}


def flood(count: int) -> Evidence:
    """Resets from `count` invented addresses: false ones at one port, and clients of every member."""
    evidence, make, chance = Evidence(), Maker(), random.Random(3)
    for number in range(count):
        now = number / 2000
        evidence.add(make.injected(claimed=chance.getrandbits(32), entry=(1, chance.randrange(2000))), now)
        evidence.add(make.aborted_by_client(member=chance.randrange(1, 5), client=chance.getrandbits(32)), now)
    return evidence


def is_bounded(evidence: Evidence) -> bool:
    within = len(evidence.clients) <= MAX_CLIENTS and len(evidence.ports) <= MAX_PORTS and len(evidence.members) == 4
    for member in evidence.members.values():
        within &= len(member.latest) <= LATEST_RESETS and len(member.probes) <= LATEST_PROBES
        within &= len(member.tally.patterns) <= len(Pattern)
    for port in evidence.ports.values():
        within &= len(port.claimed._seen) <= 64 and len(port.victims.shares(0.0)) <= 16
    return within


def test_a_flood_of_invented_addresses_moves_no_bound() -> None:
    assert is_bounded(flood(3 * MAX_CLIENTS))


@pytest.mark.soak
def test_a_million_invented_addresses_move_no_bound() -> None:
    assert is_bounded(flood(1_000_000))
