"""Counters of flow entries to totals and rates, whatever switches forget in between."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.counting import STALE_S, Counters
from controller.events import FlowCounted

HITS, RESETS = ("rule", "r1"), ("reset", "web", "web-1", "refused")
MEANING = {1: HITS, 2: RESETS, 3: RESETS}
TABLE = 3


def test_totals_add_up_what_was_gained() -> None:
    counters = Counters()
    assert counters.total(*HITS) is None and counters.rate(*HITS) is None
    for now, packets in enumerate((5, 8, 8)):
        counters.take(FlowCounted(1, TABLE, {1: packets}), MEANING, float(now))
    assert counters.total(*HITS) == 8
    assert counters.totals() == {HITS: 8}


def test_several_entries_may_count_the_same() -> None:
    counters = Counters()
    counters.take(FlowCounted(1, TABLE, {1: 1, 2: 2, 3: 3, 99: 100}), MEANING, 0.0)
    assert counters.totals() == {HITS: 1, RESETS: 5}


def test_a_counter_that_begins_anew_takes_nothing_back() -> None:
    counters = Counters()
    for packets in (100, 3):
        counters.take(FlowCounted(1, TABLE, {1: packets}), MEANING, 0.0)
    assert counters.total(*HITS) == 103


def test_an_entry_that_was_gone_for_a_while_is_a_new_one() -> None:
    counters = Counters()
    for packets in ({1: 100}, {}, {1: 150}):
        counters.take(FlowCounted(1, TABLE, packets), MEANING, 0.0)
    assert counters.total(*HITS) == 250


def test_a_rate_is_of_all_switches_together() -> None:
    counters = Counters()
    for second in range(60):
        counters.take(FlowCounted(1, TABLE, {1: 10 * second}), MEANING, float(second))
        counters.take(FlowCounted(2, TABLE, {1: 30 * second}), MEANING, second + 0.5)
    assert counters.rate(*HITS) == pytest.approx(40, rel=0.01)
    assert counters.recent(*HITS) == pytest.approx(40)


def test_a_switch_that_is_away_adds_nothing() -> None:
    counters = Counters()
    for second in range(10):
        counters.take(FlowCounted(1, TABLE, {1: 10 * second}), MEANING, float(second))
    for second in range(10, 10 + int(STALE_S) + 3):
        counters.take(FlowCounted(2, TABLE, {2: 0}), MEANING, float(second))
    assert counters.rate(*HITS) is None and counters.total(*HITS) == 90


def test_a_rate_needs_two_reports_and_follows_slowly() -> None:
    counters = Counters()
    counters.take(FlowCounted(1, TABLE, {1: 1000}), MEANING, 0.0)
    assert counters.rate(*HITS) is None, "nobody knows since when"
    counters.take(FlowCounted(1, TABLE, {1: 1010}), MEANING, 1.0)
    assert counters.recent(*HITS) == counters.rate(*HITS) == 10, "the first rate is not smoothed from nothing"
    counters.take(FlowCounted(1, TABLE, {1: 1010}), MEANING, 2.0)
    assert counters.recent(*HITS) == 0
    assert 0 < counters.rate(*HITS) < 10


def test_what_is_remembered_does_not_grow_with_entries_that_come_and_go() -> None:
    counters = Counters()
    for generation in range(1000):
        counters.take(FlowCounted(1, TABLE, {generation: 1}), {generation: HITS}, float(generation))
    assert sum(len(last) for last in counters._last.values()) == 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.lists(st.integers(0, 50), min_size=3, max_size=3), st.booleans()), max_size=30
    )
)
def test_no_total_ever_goes_down_nor_misses_a_packet(reports: list[tuple[int, list[int], bool]]) -> None:
    counters, counts, seen = Counters(), {1: [0, 0, 0], 2: [0, 0, 0]}, 0
    for now, (dpid, more, restarted) in enumerate(reports):
        counts[dpid] = more if restarted else [count + gained for count, gained in zip(counts[dpid], more, strict=True)]
        if restarted:
            # What a counter shows after a restart can be less than was gained, never more.
            counters.take(FlowCounted(dpid, TABLE, {}), MEANING, float(now))
        seen += sum(more)
        counters.take(FlowCounted(dpid, TABLE, dict(enumerate(counts[dpid], 1))), MEANING, now + 0.5)
        assert sum(counters.totals().values()) == seen
        assert all(rate is None or rate >= 0 for rate in (counters.rate(*HITS), counters.recent(*RESETS)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.integers(1, 3), st.integers(0, 3), max_size=3), min_size=1, max_size=6))
def test_a_report_that_adds_nothing_may_be_taken_shortly(reports: list[dict[int, int]]) -> None:
    whole, shortly = Counters(), Counters()
    for number in range(len(reports) * 20):
        event, now = FlowCounted(1, TABLE, dict(reports[number // 20])), number * 1.0
        whole.take(event, MEANING, now)
        if not shortly.same_again(event, now):
            shortly.take(event, MEANING, now)
    assert shortly.totals() == whole.totals()
    for name in (HITS, RESETS):
        assert (shortly.rate(*name) or 0.0) == pytest.approx(whole.rate(*name) or 0.0, abs=1e-3)


def test_nothing_new_is_news_of_a_switch_that_is_there() -> None:
    counters = Counters()
    event = FlowCounted(1, TABLE, {1: 5})
    taken_whole = 0
    for now in range(100):
        if not counters.same_again(event, float(now)):
            counters.take(event, MEANING, float(now))
            taken_whole += 1
        if now:
            assert counters.rate(*HITS) == 0.0
    assert taken_whole == 2
    counters.take(FlowCounted(2, TABLE, {2: 0}), MEANING, 99 + STALE_S + 1)
    assert counters.rate(*HITS) is None, "it has said nothing for long"


def test_a_name_that_comes_back_is_known_again_at_the_next_report() -> None:
    counters = Counters()
    event = FlowCounted(1, TABLE, {1: 5})
    for now in range(3):
        if not counters.same_again(event, float(now)):
            counters.take(event, MEANING, float(now))
    counters.keep_only(lambda counted: counted != HITS)
    assert counters.rate(*HITS) is None
    assert not counters.same_again(event, 3.0)
    counters.take(event, MEANING, 3.0)
    assert counters.rate(*HITS) == 0.0
