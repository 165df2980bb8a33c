"""Is this more than usual? Held against the exact distribution, and against streams whose usual rate is known."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.diagnosis.anomaly import PRIORS, Detector, tail_probability
from controller.diagnosis.patterns import Pattern

TICK_S = 0.25
START = 1.7e9
PER_S = 100.0
"""New connections per second."""


def exact_tail(count: int, shape: int, rate: Fraction, exposure: Fraction) -> Fraction:
    """P(X >= count) of a negative-binomial count with a whole shape, summed in fractions."""
    p = rate / (rate + exposure)
    below = sum((math.comb(shape + k - 1, k) * p**shape * (1 - p) ** k for k in range(count)), Fraction(0))
    return 1 - below


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 400), st.integers(1, 400))
def test_the_tail_is_that_of_a_poisson_count_whose_rate_is_gamma(
    count: int, shape: int, rate: int, exposure: int
) -> None:
    exact = exact_tail(count, shape, Fraction(rate), Fraction(exposure))
    assert tail_probability(float(count), shape, rate, exposure) == pytest.approx(float(exact), rel=1e-6, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.05, 1e4), st.floats(1, 1e5), st.floats(0.1, 1e5), st.integers(0, 5000))
def test_a_tail_is_a_probability_and_falls_with_the_count(
    shape: float, rate: float, exposure: float, count: int
) -> None:
    here, further = (tail_probability(float(n), shape, rate, exposure) for n in (count, count + 1))
    assert 0.0 <= further <= here + 1e-9 and here <= 1.0


def poisson(chance: random.Random, mean: float) -> int:
    limit, count, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        count += 1
        product *= chance.random()
    return count


def alarms(
    pattern: Pattern, per_connection: float, seconds: float, seed: int, detector: Detector | None = None
) -> list[float]:
    """When a steady stream of resets was called unusual (s after the start); ticks without resets are not looked at."""
    detector = detector or Detector(pattern)
    chance, found = random.Random(seed), []
    for tick in range(int(seconds / TICK_S)):
        now = START + tick * TICK_S
        count = poisson(chance, per_connection * PER_S * TICK_S)
        if count and detector.take(count, PER_S * TICK_S, now, TICK_S):
            found.append(now - START)
    return found


@pytest.mark.parametrize(
    ("pattern", "per_connection"),
    [
        (Pattern.CLIENT_LATE, 0.02),
        (Pattern.CLIENT_LATE, 0.1),
        (Pattern.CLIENT_NO_DATA, 0.02),
        (Pattern.MEMBER_LATE, 0.003),
    ],
)
def test_what_happens_all_the_time_raises_no_alarm_from_the_first_minute(
    pattern: Pattern, per_connection: float
) -> None:
    assert [alarms(pattern, per_connection, 120, seed) for seed in range(5)] == [[]] * 5


@pytest.mark.parametrize("pattern", [Pattern.REFUSED, Pattern.NOT_ACCEPTED, Pattern.MEMBER_EARLY, Pattern.MEMBER_LOST])
def test_a_burst_of_what_never_happens_is_seen_at_once(pattern: Pattern) -> None:
    detector = Detector(pattern)
    assert detector.take(8, PER_S * TICK_S, START, TICK_S)


def within_a_second(detector: Detector, count: float, exposure: float, start: float) -> list[bool]:
    """What is said of as many resets in each tick of a second."""
    return [detector.take(count, exposure, start + tick * TICK_S, TICK_S) for tick in range(4)]


def test_a_burst_stands_out_from_a_habit() -> None:
    detector = Detector(Pattern.CLIENT_LATE)
    assert alarms(Pattern.CLIENT_LATE, 0.02, 120, 1, detector) == []
    assert any(within_a_second(detector, 20, PER_S * TICK_S, START + 120)), "usually half of one"


def test_an_attack_does_not_become_the_habit_in_minutes() -> None:
    detector = Detector(Pattern.CLIENT_LATE)
    alarms(Pattern.CLIENT_LATE, 0.02, 120, 1, detector)
    seen = [detector.take(20, PER_S * TICK_S, START + 120 + tick * TICK_S, TICK_S) for tick in range(4 * 120)]
    assert any(seen[:4]) and sum(seen) > 0.9 * len(seen)


def test_two_resets_are_never_an_incident_by_number_alone() -> None:
    for pattern in PRIORS:
        assert not Detector(pattern).take(2, 0.1, START, TICK_S)


def test_normal_grows_with_the_load() -> None:
    quiet, busy = Detector(Pattern.MEMBER_LATE), Detector(Pattern.MEMBER_LATE)
    assert any(within_a_second(quiet, 12, 25.0, START))
    assert not any(within_a_second(busy, 12, 3000.0, START))


def test_a_habit_outlives_the_controller() -> None:
    detector = Detector(Pattern.CLIENT_LATE)
    alarms(Pattern.CLIENT_LATE, 0.02, 600, 1, detector)
    again = Detector(Pattern.CLIENT_LATE)
    again.restore(detector.document())
    assert again.document() == detector.document()
    # A tenth of all connections for ten seconds: anybody's browsers may do that, those of this pool do not.
    count, exposure, now = 0.1 * PER_S * 10, PER_S * 10, START + 600
    assert again.unusual(count, exposure, now)
    assert not Detector(Pattern.CLIENT_LATE).unusual(count, exposure, now)


@pytest.mark.parametrize("nonsense", [None, [], [1], "text", {"a": 1}, ["x", 1.0, {}], [1.0, 2.0, 3.0]])
def test_what_is_no_habit_is_not_taken_for_one(nonsense: object) -> None:
    detector = Detector(Pattern.CLIENT_LATE)
    before = detector.document()
    detector.restore(nonsense)
    assert detector.document() == before
