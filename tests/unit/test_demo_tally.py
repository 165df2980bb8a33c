"""The demo's account: each connection is counted where and as what it belongs, and promises are judged by it."""

from dataclasses import replace
from typing import Any

import pytest

from topologies.demo.expectations import Expectation, judge
from topologies.demo.tally import Counts, Death, PhaseTally, Tally

HOSTS = {"web-1": "h2", "web-2": "h4"}


def _tally() -> Tally:
    tally = Tally(True, HOSTS)
    tally.begin("all well", 10.0)
    tally.begin("web-2 killed", 20.0)
    return tally


def _attempt(outcome: str, *, started: float, took: float = 0.002, connected: float | None = 0.001) -> dict[str, Any]:
    return {
        "load": "h1",
        "started": started,
        "connected": None if connected is None else started + connected,
        "ended": started + took,
        "late_s": 0.0,
        "outcome": outcome,
        "member": "h2" if outcome == "ok" else None,
    }


def _kept(outcome: str, member: str, ended: float) -> dict[str, Any]:
    return {"load": "h1", "number": 0, "ended": ended, "outcome": outcome, "member": member}


@pytest.mark.parametrize(
    ("outcome", "field"), [("refused", "refused"), ("reset", "reset"), ("cut", "reset"), ("timed-out", "timed_out")]
)
def test_every_failure_is_counted_once(outcome: str, field: str) -> None:
    tally = _tally()
    tally.take(_attempt(outcome, started=21.0, connected=None))
    assert tally.total == replace(Counts(tried=1), **{field: 1})


def test_a_connection_belongs_to_the_phase_in_which_it_ended() -> None:
    tally = _tally()
    tally.take(_attempt("ok", started=19.0))
    tally.take(_attempt("reset", started=19.9, took=0.3))
    assert [(phase.counts.tried, phase.counts.reset) for phase in tally.phases] == [(1, 0), (1, 1)]


def test_the_slowest_connect_is_that_of_the_handshake_alone() -> None:
    tally = _tally()
    tally.take(_attempt("ok", started=11.0, took=0.9, connected=0.004))
    assert tally.total.slowest_connect_ms == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("started", "took", "cut"),
    [
        pytest.param(19.99, 0.03, 1, id="accepted-before-the-process-was-gone"),
        pytest.param(20.02, 0.03, 0, id="opened-when-it-was-gone"),
        pytest.param(19.5, 0.1, 0, id="over-before-it-was-killed"),
    ],
)
def test_only_what_the_dying_process_may_have_had_is_its_own_to_break(started: float, took: float, cut: int) -> None:
    tally = _tally()
    tally.deaths.append(Death("web-2", began=20.0, gone=20.01))
    tally.take(_attempt("reset", started=started, took=took))
    assert (tally.total.cut, tally.total.reset) == (cut, 1 - cut)


def test_a_refusal_is_never_the_dying_process_s_own() -> None:
    tally = _tally()
    tally.deaths.append(Death("web-2", began=20.0, gone=20.01))
    tally.take(_attempt("refused", started=20.0, connected=None))
    assert tally.total.refused == 1


def test_a_lasting_connection_may_break_with_its_killed_member_only() -> None:
    tally = _tally()
    tally.deaths.append(Death("web-2", began=20.0, gone=20.01))
    tally.take(_kept("reset", "h4", 20.02))
    tally.take(_kept("reset", "h4", 15.0))
    tally.take(_kept("moved", "h2", 20.02))
    tally.take(_kept("kept", "h2", 30.0))
    assert (tally.kept, tally.kept_own) == (4, 1)
    assert tally.broken == ["web-2: reset", "web-1: moved"]


def test_a_member_s_rate_is_what_it_served_in_the_last_second() -> None:
    tally = _tally()
    for started in (10.0, 11.5, 11.9):
        tally.take(_attempt("ok", started=started))
    assert (tally.served_per_s("web-1", 12.0), tally.served_per_s("web-2", 12.0)) == (2, 0)


def _run(counts: Counts, *, kept: int = 24, own: int = 8, broken: tuple[str, ...] = ()) -> Tally:
    tally = Tally(True, HOSTS)
    tally.phases.append(PhaseTally("all", 0.0, counts))
    tally.kept, tally.kept_own, tally.broken = kept, own, list(broken)
    return tally


GOOD = Counts(tried=3000, reset=3, cut=2, slowest_connect_ms=12.0)
WITHOUT = Counts(tried=3000, refused=400, reset=300)


def _missed(handled: Tally, unhandled: Tally) -> list[Expectation]:
    return [expectation for expectation in judge(handled, unhandled) if not expectation.met]


def test_a_run_as_promised_misses_nothing() -> None:
    assert _missed(_run(GOOD), _run(WITHOUT)) == []


@pytest.mark.parametrize(
    ("handled", "unhandled", "missed"),
    [
        (_run(replace(GOOD, refused=1)), _run(WITHOUT), "no connection refused"),
        (_run(replace(GOOD, timed_out=1)), _run(WITHOUT), "no connection timed out"),
        (_run(replace(GOOD, reset=4)), _run(WITHOUT), "at most 3 resets"),
        (_run(GOOD), _run(replace(WITHOUT, refused=99)), "hundreds refused"),
        (_run(GOOD, broken=("web-1: reset",)), _run(WITHOUT), "no established connection"),
        (_run(GOOD), _run(WITHOUT, broken=("web-1: moved",)), "no established connection"),
        (_run(GOOD, kept=0, own=0), _run(WITHOUT), "no established connection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_promise_can_be_missed(handled: Tally, unhandled: Tally, missed: str) -> None:
    (expectation,) = _missed(handled, unhandled)
    assert missed in expectation.text
    assert expectation.required


def test_a_slow_connect_misses_the_target_and_a_retransmission_the_promise() -> None:
    slow, retransmitted = (
        _missed(_run(replace(GOOD, slowest_connect_ms=took_ms)), _run(WITHOUT)) for took_ms in (80.0, 1010.0)
    )
    assert [expectation.required for expectation in slow] == [False]
    assert [expectation.required for expectation in retransmitted] == [True, False]
