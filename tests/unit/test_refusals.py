"""A switch that refused a change is asked what it has: soon at first, seldom when it goes on refusing."""

import itertools
import random

from model_world import stage

from controller.core import Core
from controller.decisions import ReadSwitch, RemoveFlow
from controller.events import SwitchRead, SwitchRefused
from controller.pipeline import Table
from controller.refusals import FIRST_S, LONGEST_S, Refusals

FLOW_MOD_FAILED, BAD_REQUEST = 5, 1


def refused(dpid: int = 1, error_type: int = FLOW_MOD_FAILED) -> SwitchRefused:
    return SwitchRefused(dpid, error_type, 1, b"")


def readings_of_one_that_always_refuses(seconds: float) -> list[float]:
    """When a switch is read that refuses 0.1 s after each reading again, burst by burst."""
    refusals, now, when = Refusals(), 0.0, []
    refusals.on_refused(refused(), now)
    while (deadline := refusals.next_deadline()) is not None and deadline <= seconds:
        now = deadline
        assert refusals.on_tick(now) == [ReadSwitch(1)]
        when.append(now)
        for _ in range(50):
            refusals.on_refused(refused(), now + 0.1)
    return when


def test_many_refusals_at_once_are_one_reading() -> None:
    refusals = Refusals()
    for number in range(100):
        refusals.on_refused(refused(), number / 1000)
    assert refusals.on_tick(FIRST_S - 0.01) == []
    assert refusals.on_tick(FIRST_S) == [ReadSwitch(1)]
    assert refusals.on_tick(100.0) == []
    assert refusals.next_deadline() is None


def test_a_switch_that_refuses_for_good_is_read_ever_more_seldom() -> None:
    when = readings_of_one_that_always_refuses(600)
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(when)]
    assert pauses[:6] == [2, 4, 8, 16, 32, 60]
    assert set(pauses[6:]) == {round(LONGEST_S)}


def test_trouble_that_is_over_is_forgotten() -> None:
    refusals = Refusals()
    refusals.on_refused(refused(), 0.0)
    refusals.on_tick(1.0)
    refusals.on_refused(refused(), 100.0)
    assert refusals.on_tick(100.0 + FIRST_S) == [ReadSwitch(1)]


def test_switches_do_not_wait_for_each_other() -> None:
    refusals = Refusals()
    refusals.on_refused(refused(1), 0.0)
    refusals.on_refused(refused(2), 0.5)
    refusals.on_disconnected(1)
    assert refusals.on_tick(5.0) == [ReadSwitch(2)]


def test_requests_that_change_nothing_are_no_reason() -> None:
    refusals = Refusals()
    refusals.on_refused(refused(error_type=BAD_REQUEST), 0.0)
    assert refusals.next_deadline() is None


def test_what_a_switch_lost_is_sent_again_after_it_refused() -> None:
    world, _, _ = stage("single")
    (dpid,) = world.fabric.switches
    switch = world.fabric.switches[dpid]
    before = {(entry.table_id, entry.cookie) for entry in switch.installed(world.now)}
    lost = next(cookie for table, cookie in sorted(before) if table == Table.ROUTE)
    switch.handle(RemoveFlow(dpid, lost, table_id=Table.ROUTE), world.now)
    world.fabric.run(world.now + 5)
    assert lost not in {entry.cookie for entry in switch.installed(world.now)}, "nobody looked"
    world.fabric.tell(refused(dpid))
    world.fabric.run(world.now + FIRST_S + 0.1)
    assert before <= {(entry.table_id, entry.cookie) for entry in switch.installed(world.now)}
    assert world.fabric.errors == []


def test_what_a_stranger_says_it_has_is_passed_over() -> None:
    core = Core(lldp_key=b"k", rng=random.Random(0))
    assert core.handle(SwitchRead(7, frozenset(), frozenset(), frozenset()), 1.0) == []
