"""The control channel is slow, or dead without a word; the switch's database dies. What is cut or restarted: test_switch_away.py."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bed import NO_RETRANSMISSION_MS, Bed, one_vip, outcomes, pool, shares, slowest_connect_ms
from entries import entries_of, unbroken
from running_controller import soon
from slow_relay import SlowRelay

from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=2)
CLIENT, MEMBERS = "h1", ("h2", "h3", "h4")
OFP_PORT = 6653
DELAY_S = 0.15


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))


def test_a_slow_channel_delays_what_is_decided_and_nothing_else(bed: Bed) -> None:
    """300 ms there and back to the client's switch: nobody is lost, and a member that dies is out all the same."""
    # A check's time must be above two round trips to the switch (docs/reliability.md).
    patient = {"type": "http", "interval_s": 1.0, "timeout_s": 1.0, "rise": 1, "fall": 3}
    bed.apply(one_vip(pool(bed, *MEMBERS, health_check=patient)))
    with SlowRelay(OFP_PORT, DELAY_S) as relay:
        openvswitch.vsctl("set-controller", "leaf1", f"tcp:127.0.0.1:{relay.port}")
        try:
            soon("it is away", lambda: bed.fabric.dpid("leaf1") not in bed.controller.connected(), 5)
            bed.in_order()
            bed.all_in()
            with bed.load(CLIENT, 40) as clients:
                bed.ask(CLIENT, 40)
                healthy = clients.finish()
            bed.stop_server("h3")
            bed.ask(CLIENT, 30, timeout_s=6.0)
            soon("h3 is out", lambda: bed.controller.taking() == {"h2", "h4"}, 5, bed.controller.members)
            afterwards = bed.ask(CLIENT, 30)
        finally:
            bed.fabric.reconnect("leaf1")
            bed.in_order()
    assert outcomes(healthy) == {"ok": len(healthy)}
    assert slowest_connect_ms(healthy) < NO_RETRANSMISSION_MS
    assert outcomes(afterwards) == {"ok": 30}
    assert set(shares(afterwards)) == {"h2", "h4"}


@contextmanager
def half_open() -> Iterator[None]:
    """Whatever belongs to control channels is dropped on the loopback, both ways: no end hears of it (nft(8))."""
    rules = (
        "add table ip cut\n"
        "add chain ip cut out { type filter hook output priority 0; }\n"
        f"add rule ip cut out tcp dport {OFP_PORT} drop\n"
        f"add rule ip cut out tcp sport {OFP_PORT} drop\n"
    )
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "ip", "cut"], check=True, capture_output=True)


@pytest.mark.soak
def test_a_channel_that_is_dead_without_a_word_is_noticed_within_25_s(bed: Bed) -> None:
    """Echo requests every 5 s, three of which may go unanswered; nobody is ejected meanwhile, and new connections work."""
    moment = bed.controller.moment()
    with bed.load(CLIENT, 20) as clients:
        with half_open():
            began = time.monotonic()
            soon("all are known to be away", lambda: bed.controller.connected() == set(), 30)
            noticed_s = time.monotonic() - began
            assert bed.controller.taking() == set(MEMBERS)
        bed.call_in()
        bed.in_order()
        connections = clients.finish()
    assert noticed_s < 25.0
    assert outcomes(connections) == {"ok": len(connections)}
    assert bed.controller.announced("eject", since=moment) == []


def test_the_database_of_the_switches_dies_and_comes_back(bed: Bed) -> None:
    """Nothing is lost that was there: connections, entries, control channels, members.

    Without its database ovs-vswitchd holds no lock, and its main thread, which carries the packets of the userspace datapath, runs no
    bridge (`bridge_run`): what is sent meanwhile waits for a retransmission.
    """
    bed.in_order()
    bed.all_in()
    before, moment = entries_of(bed), bed.controller.moment()
    with bed.keep(CLIENT, 10, timeout_s=10) as kept:
        bed.ask(CLIENT, 20)
        openvswitch.kill_database()
        time.sleep(1.0)
        openvswitch.start_database()
        soon("it answers", lambda: openvswitch.vsctl("list-br").split(), 10)
        soon("new connections work", lambda: outcomes(bed.ask(CLIENT, 5)) == {"ok": 5}, 10)
        connections = bed.ask(CLIENT, 40)
        keeping = kept.finish()
    assert outcomes(connections) == {"ok": 40}
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS
    assert outcomes(keeping) == {"ok": 10}
    assert bed.controller.announced("switch", since=moment) == []
    assert bed.controller.announced("eject", since=moment) == []
    # Lost probes let a link look pressed for a moment, which adds entries that look for large flows.
    assert [line for line in unbroken(before, entries_of(bed)) if not line.startswith("new: ")] == []
