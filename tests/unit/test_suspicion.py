"""One reset is a reason to look, never to act: what it takes for a member to be thought guilty."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.health import Outcome
from controller.segments import Kind
from controller.suspicion import (
    MAX_REMEMBERED,
    PASSIVE_CLIENTS,
    PASSIVE_CONNECTIONS,
    REPEAT_AFTER_S,
    WINDOW_S,
    Suspicions,
)

MEMBER, OTHER = ("web", "web-1"), ("web", "web-2")


def test_a_refusal_is_worth_one_probe_and_the_next_ones_soon_after_none() -> None:
    suspicions = Suspicions()
    assert suspicions.note(MEMBER, 1, Kind.REFUSED, 0.0) == 1
    assert suspicions.note(MEMBER, 2, Kind.REFUSED, 0.01) == 0
    assert suspicions.note(MEMBER, 2, Kind.REFUSED, REPEAT_AFTER_S) == 1
    assert suspicions.note(OTHER, 2, Kind.ABORTED_BY_MEMBER, 0.01) > 1, "what shows some of the time wants more probes"


def test_a_refused_probe_confirms_what_clients_saw_of_late_and_only_that() -> None:
    suspicions = Suspicions()
    assert not suspicions.confirmed_by(MEMBER, Outcome.REFUSED, [OTHER], 0.0), "no client has met it"
    suspicions.note(MEMBER, 1, Kind.REFUSED, 0.0)
    assert suspicions.confirmed_by(MEMBER, Outcome.REFUSED, [OTHER], 0.1)
    assert not suspicions.confirmed_by(MEMBER, Outcome.REFUSED, [OTHER], WINDOW_S + 0.1), "long ago"


def test_one_reset_probe_among_good_ones_confirms_nothing() -> None:
    suspicions = Suspicions()
    suspicions.note(MEMBER, 1, Kind.ABORTED_BY_MEMBER, 0.0)
    assert not suspicions.confirmed_by(MEMBER, Outcome.RESET, [OTHER], 0.1)
    for _ in range(3):
        assert not suspicions.confirmed_by(MEMBER, Outcome.SUCCEEDED, [OTHER], 0.1)
    assert not suspicions.confirmed_by(MEMBER, Outcome.RESET, [OTHER], 0.2), "two of five"
    assert not suspicions.confirmed_by(MEMBER, Outcome.TIMED_OUT, [OTHER], 0.2)


def test_most_probes_reset_confirm() -> None:
    suspicions = Suspicions()
    suspicions.note(MEMBER, 1, Kind.ABORTED_BY_MEMBER, 0.0)
    assert not suspicions.confirmed_by(MEMBER, Outcome.SUCCEEDED, [OTHER], 0.1)
    assert not suspicions.confirmed_by(MEMBER, Outcome.RESET, [OTHER], 0.1)
    assert suspicions.confirmed_by(MEMBER, Outcome.RESET, [OTHER], 0.1)


def test_some_of_both_confirm_a_member_that_fails_now_and_then_while_the_others_do_well() -> None:
    suspicions = Suspicions()
    for _ in range(4):
        assert not suspicions.confirmed_by(MEMBER, Outcome.SUCCEEDED, [OTHER], 0.0)
    suspicions.note(MEMBER, 1, Kind.ABORTED_BY_MEMBER, 0.0)
    for outcome in (Outcome.SUCCEEDED, Outcome.RESET, Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.RESET):
        assert not suspicions.confirmed_by(MEMBER, outcome, [OTHER], 0.1), "one client's connection only"
    suspicions.note(OTHER, 1, Kind.ABORTED_BY_MEMBER, 0.1)
    suspicions.note(MEMBER, 1, Kind.ABORTED_BY_MEMBER, 0.1)
    assert not suspicions.confirmed_by(MEMBER, Outcome.SUCCEEDED, [OTHER], 0.1), "the other one has it too"
    assert suspicions.confirmed_by(MEMBER, Outcome.SUCCEEDED, [], 0.1)


def test_an_accept_queue_that_overflows_now_and_then_confirms_nothing() -> None:
    suspicions = Suspicions()
    for client in range(5):
        suspicions.note(MEMBER, client, Kind.NOT_ACCEPTED, 0.0)
    outcomes = [Outcome.SUCCEEDED, Outcome.RESET, Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.RESET]
    assert not any(suspicions.confirmed_by(MEMBER, outcome, [OTHER], 0.1) for outcome in outcomes)


def test_who_failed_now_and_then_must_do_well_for_longer() -> None:
    suspicions = Suspicions()
    assert suspicions.proofs_wanted(MEMBER, 0.0) == 0
    suspicions.note(MEMBER, 1, Kind.ABORTED_BY_MEMBER, 0.0)
    for outcome in (Outcome.SUCCEEDED, Outcome.RESET, Outcome.RESET):
        suspicions.confirmed_by(MEMBER, outcome, [OTHER], 0.1)
    assert suspicions.proofs_wanted(MEMBER, 0.1) == 0, "it fails always, since it fails"
    for _ in range(4):
        suspicions.confirmed_by(MEMBER, Outcome.SUCCEEDED, [OTHER], 0.1)
    assert suspicions.proofs_wanted(MEMBER, 0.1) == 8, "a third fails: 0.67 to the power of 8 is below 5 %"
    assert suspicions.proofs_wanted(MEMBER, 0.1 + WINDOW_S + 0.1) == 0


def test_probes_under_way_when_it_is_ejected_say_how_often_it_fails() -> None:
    suspicions = Suspicions()
    for _ in range(2):
        suspicions.note(MEMBER, 1, Kind.ABORTED_BY_MEMBER, 0.0)
    suspicions.confirmed_by(MEMBER, Outcome.RESET, [OTHER], 0.1)
    assert suspicions.confirmed_by(MEMBER, Outcome.RESET, [OTHER], 0.1)
    suspicions.acted_on(MEMBER)
    assert suspicions.proofs_wanted(MEMBER, 0.1) == 0
    for _ in range(6):
        suspicions.note_late(MEMBER, Outcome.SUCCEEDED, 0.13)
    assert suspicions.proofs_wanted(MEMBER, 0.13) == 11, "a quarter fails: 0.75 to the power of 11 is below 5 %"
    suspicions.clear(MEMBER)
    assert suspicions.proofs_wanted(MEMBER, 0.13) == 0


def test_clients_alone_are_reason_enough_when_they_are_many_and_the_others_do_well() -> None:
    suspicions = Suspicions()
    for number in range(PASSIVE_CONNECTIONS - 1):
        suspicions.note(MEMBER, number, Kind.ABORTED_BY_MEMBER, 0.0)
    assert not suspicions.passive(MEMBER, [OTHER], 0.0)
    suspicions.note(MEMBER, 99, Kind.ABORTED_BY_MEMBER, 0.0)
    assert suspicions.passive(MEMBER, [OTHER], 0.0)
    assert not suspicions.passive(MEMBER, [OTHER], WINDOW_S + 0.1)


def test_one_client_however_busy_is_not() -> None:
    suspicions = Suspicions()
    for number in range(50):
        suspicions.note(MEMBER, number % (PASSIVE_CLIENTS - 1), Kind.REFUSED, 0.0)
    assert not suspicions.passive(MEMBER, [OTHER], 0.0)


def test_what_all_members_have_is_none_of_theirs() -> None:
    suspicions = Suspicions()
    for number in range(20):
        suspicions.note(MEMBER, number, Kind.ABORTED_BY_MEMBER, 0.0)
        suspicions.note(OTHER, number, Kind.ABORTED_BY_MEMBER, 0.0)
    assert not suspicions.passive(MEMBER, [OTHER], 0.0)
    assert not suspicions.passive(OTHER, [MEMBER], 0.0)


def test_a_run_of_failures_begins_with_its_first_and_is_forgotten_with_the_member() -> None:
    suspicions = Suspicions()
    for now in (0.0, 3.0, 3.5, 4.0):
        suspicions.note(MEMBER, 1, Kind.REFUSED, now)
    assert suspicions.first_seen(MEMBER, 4.5) == 3.0
    assert suspicions.suspected(MEMBER, 4.5) and not suspicions.suspected(OTHER, 4.5)
    suspicions.clear(MEMBER)
    assert suspicions.first_seen(MEMBER, 4.5) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(list(Kind)), st.floats(0, 1)), max_size=300))
def test_memory_is_bounded_and_probes_are_few_whatever_comes(flood: list[tuple[int, Kind, float]]) -> None:
    suspicions, now, probes = Suspicions(), 0.0, 0
    for client, kind, gap in flood:
        now += gap / 100
        probes += suspicions.note(MEMBER, client, kind, now)
        suspicions.confirmed_by(MEMBER, Outcome.SUCCEEDED, [OTHER], now)
    assert sum(len(failures.seen) for failures in suspicions._failures.values()) <= MAX_REMEMBERED
    assert probes <= 8 * (now / REPEAT_AFTER_S + 1)
