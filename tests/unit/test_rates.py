"""What is usual is learned from what was usual: not from the quiet before, the beginning of a fault, or one late report."""

import pytest

from controller.diagnosis.rates import ConnectionRate


def counted(*per_s: float, usual_now: bool = True) -> ConnectionRate:
    rate = ConnectionRate()
    for one in per_s:
        rate.on_counted(one, usual_now, 1.0)
    return rate


def test_nothing_is_known_before_the_first_report() -> None:
    assert ConnectionRate().of_late is None and ConnectionRate().usual is None


def test_what_one_round_reports_too_little_and_the_next_too_much_is_no_surge() -> None:
    rate = counted(20, 20, 20, 20, 20, 5, 35)
    assert rate.of_late == pytest.approx(20)
    assert rate.usual == pytest.approx(20)


def test_rounds_count_by_their_length() -> None:
    rate = ConnectionRate()
    rate.on_counted(10, True, 3.0)
    rate.on_counted(40, True, 1.0)
    assert rate.of_late == pytest.approx(17.5)


def test_neither_the_quiet_before_the_first_connection_nor_its_own_round_is_usual() -> None:
    assert counted(0, 0, 0, 3, 20, 20, 20, 20, 20).usual == pytest.approx(20)


def test_the_rounds_just_before_an_incident_are_not_usual_either() -> None:
    rate = counted(20, 20, 20, 20, 20, 60, 60)
    for _ in range(5):
        rate.on_counted(60, False, 1.0)
    assert rate.usual == pytest.approx(20) and rate.of_late == pytest.approx(60)


def test_what_stays_becomes_usual_when_nothing_is_wrong() -> None:
    assert counted(*[20] * 30, *[60] * 600).usual == pytest.approx(60, rel=0.02)


def test_lately_counts_for_more_than_long_ago() -> None:
    usual = counted(*[20] * 63, *[40] * 62).usual
    assert usual is not None and usual == pytest.approx(20 + 20 * 2 / 3, rel=0.03), "a half-life of 60 s"


def test_a_report_that_comes_late_is_one_round_with_the_next_and_no_surge() -> None:
    rate = counted(20, 20, 20, 20, 20)
    offered = []
    for per_s, elapsed_s in ((1, 4.0), (96, 1.0), (20, 1.0), (20, 1.0)):
        rate.on_counted(per_s, True, elapsed_s)
        offered.append(rate.of_late)
    assert max(one or 0.0 for one in offered) == pytest.approx(20)
