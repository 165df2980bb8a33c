"""Switches lose their control channel, hang, or restart empty: connections go on, or are taken up again."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bed import MEMBER_PORT, NO_RETRANSMISSION_MS, Bed, one_vip, outcomes, pool, shares, slowest_connect_ms
from entries import entries_of, unbroken
from running_controller import soon

from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo

TOPOLOGY = LeafSpineTopo(spines=2, leaves=3, hosts=2)
CLIENT, OTHER_CLIENT = "h1", "h3"
MEMBERS = ("h2", "h4", "h6")


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))


@contextmanager
def parted(bed: Bed, switch: str) -> Iterator[None]:
    """The switch has no controller meanwhile."""
    dpid = bed.fabric.dpid(switch)
    bed.fabric.disconnect(switch)
    soon("it is gone", lambda: dpid not in bed.controller.connected(), 5)
    try:
        yield
    finally:
        bed.fabric.reconnect(switch)
        bed.in_order()


def test_a_parted_switch_works_on_and_nothing_is_touched_when_it_is_back(bed: Bed) -> None:
    before = entries_of(bed)
    moment = bed.controller.moment()
    with bed.load(CLIENT, 50) as clients, bed.keep(CLIENT, 20) as kept:
        with parted(bed, "leaf1"):
            bed.ask(CLIENT, 60)
        bed.ask(CLIENT, 60)
        connections, keeping = clients.finish(), kept.finish()
    assert outcomes(connections) == {"ok": len(connections)}
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS
    assert outcomes(keeping) == {"ok": 20}
    assert unbroken(before, entries_of(bed)) == []
    assert bed.controller.announced("eject", since=moment) == []


def test_members_behind_a_parted_switch_stay_in(bed: Bed) -> None:
    """The controller cannot probe them: no answer is no evidence."""
    moment = bed.controller.moment()
    with parted(bed, "leaf2"):
        began = time.monotonic()
        soon("three checks would have failed", lambda: time.monotonic() > began + 3 * 0.5 + 1, 5)
        assert bed.controller.taking() == set(MEMBERS)
        connections = bed.ask(CLIENT, 60)
    assert outcomes(connections) == {"ok": 60}
    assert set(shares(connections)) == set(MEMBERS)
    assert bed.controller.announced("eject", since=moment) == []


def test_what_was_decided_meanwhile_reaches_the_switch_when_it_is_back(bed: Bed) -> None:
    with parted(bed, "leaf1"):
        bed.controller.patch("pools/web/members/h2", {"admin_state": "disabled"})
        bed.stop_server("h6")
        bed.ask(OTHER_CLIENT, 40)
        soon("h6 is out", lambda: bed.controller.taking() == {"h4"}, 5, bed.controller.members)
    soon("its group follows", lambda: set(shares(bed.ask(CLIENT, 20))) == {"h4"}, 5)
    assert outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}


def test_a_switch_process_that_hangs_for_a_while_costs_no_member(bed: Bed) -> None:
    """Every probe goes unanswered then, and so does every switch."""
    moment = bed.controller.moment()
    pid = int((openvswitch.RUN_DIR / "ovs-vswitchd.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        soon("three checks have failed", lambda: time.monotonic() > began + 3 * 0.5 + 1, 5)
    finally:
        os.kill(pid, signal.SIGCONT)
    soon("it serves again", lambda: outcomes(bed.ask(CLIENT, 5)) == {"ok": 5}, 10)
    bed.in_order()
    assert bed.controller.taking() == set(MEMBERS)
    assert bed.controller.announced("eject", since=moment) == []


def test_connections_are_picked_up_after_the_switches_restarted(bed: Bed) -> None:
    moment = bed.controller.moment()
    with bed.keep(CLIENT, 30, timeout_s=10) as near, bed.keep(OTHER_CLIENT, 30, timeout_s=10) as far:
        bed.ask(CLIENT, 20)
        bed.fabric.restart_switches()
        soon("a switch was seen to go", lambda: bed.controller.announced("switch", since=moment), 10)
        bed.in_order()
        soon("new connections work", lambda: outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}, 10)
        bed.ask(OTHER_CLIENT, 40, rate=40)
        keeping = near.finish() + far.finish()
    assert outcomes(keeping) == {"ok": 60}
    assert {len(connection["members"]) for connection in keeping} == {1}
    assert {member for connection in keeping for member in connection["members"]} == set(MEMBERS)
    assert max(connection["slowest_ms"] for connection in keeping) < 6000


def test_whoever_has_a_connection_keeps_it_though_shares_have_changed_since(bed: Bed) -> None:
    """The group would give it to another by now, and one member has no share at all any more."""
    direct_to = {"address": bed.fabric.address("h6"), "port": MEMBER_PORT, "timeout_s": 10}
    with (
        bed.keep(CLIENT, 30, timeout_s=10) as near,
        bed.keep(OTHER_CLIENT, 30, timeout_s=10) as far,
        bed.keep(CLIENT, 5, **direct_to) as direct,
    ):
        bed.controller.patch("pools/web/members/h4", {"weight": 1})
        bed.controller.patch("pools/web/members/h2", {"admin_state": "draining"})
        soon("it drains", lambda: "h2" not in bed.controller.taking(), 5)
        moment = bed.controller.moment()
        bed.fabric.restart_switches()
        soon("a switch was seen to go", lambda: bed.controller.announced("switch", since=moment), 10)
        bed.in_order()
        soon("new connections work", lambda: outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}, 10)
        bed.ask(OTHER_CLIENT, 40, rate=40)
        keeping = near.finish() + far.finish() + direct.finish()
    assert outcomes(keeping) == {"ok": 65}
    assert {len(connection["members"]) for connection in keeping} == {1}
    assert max(connection["slowest_ms"] for connection in keeping) < 6000
    assert [one for one in bed.controller.announced("incident", since=moment) if one["state"] == "opened"] == []


def test_after_a_restart_of_the_switches_everything_is_as_before(bed: Bed) -> None:
    before = set(entries_of(bed))
    bed.fabric.restart_switches()
    soon("every entry is back", lambda: not before - set(entries_of(bed)), 15, lambda: before - set(entries_of(bed)))
    bed.in_order()
    connections = bed.ask(CLIENT, 60) + bed.ask(OTHER_CLIENT, 60)
    assert outcomes(connections) == {"ok": 120}
    bed.stop_server("h4")
    assert outcomes(bed.ask(CLIENT, 40)) == {"ok": 40}, "refusals are held and redispatched as before"


def test_switches_and_controller_restart_together(bed: Bed) -> None:
    bed.controller.kill()
    bed.fabric.restart_switches()
    bed.restart_controller()
    soon("it serves again", lambda: outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}, 15)
    assert outcomes(bed.ask(OTHER_CLIENT, 20)) == {"ok": 20}
