"""Every shape of fabric connects everybody, nobody hears what is not for him, and any one cut is survived without the controller."""

import itertools
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import networkx as nx
import pytest
from bed import NO_RETRANSMISSION_MS, Bed, one_vip, outcomes, packed, pool, shares, slowest_connect_ms
from running_controller import soon

from controller.frames import ARP_REQUEST, read_arp
from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo
from topologies.ring import RingTopo
from topologies.single import SingleTopo
from topologies.tree import TreeTopo

SINGLE = pytest.param(SingleTopo(hosts=4), id="single")
TREE = pytest.param(TreeTopo(depth=2, fanout=2, hosts=2), id="tree")
RING = pytest.param(RingTopo(switches=4, hosts=1), id="ring")
LEAF_SPINE = pytest.param(LeafSpineTopo(spines=2, leaves=2, hosts=2), id="leaf-spine")
MEMBERS = ("h1", "h2", "h4")
CLIENT = "h3"


@pytest.fixture(scope="module", params=[SINGLE, TREE, RING, LEAF_SPINE])
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with Bed(request.param, tmp_path_factory.mktemp("bed")) as running:
        running.serve(*MEMBERS)
        running.apply(one_vip(pool(running, *MEMBERS)))
        yield running


@pytest.fixture(autouse=True)
def controller_runs(bed: Bed) -> None:
    if not bed.controller.runs:
        bed.restart_controller()


def pairs(bed: Bed) -> list[tuple[str, str]]:
    return list(itertools.permutations(bed.fabric.host_names, 2))


def unreachable(bed: Bed) -> list[tuple[str, str]]:
    """Pairs of hosts without a way, all asked at once."""
    argv = ("ping", "-c1", "-W0.5")
    pings = {
        (one, other): bed.fabric.popen(one, *argv, bed.fabric.address(other), stdout=subprocess.DEVNULL)
        for one, other in pairs(bed)
    }
    return [pair for pair, ping in pings.items() if ping.wait(10)]


def parted_by(bed: Bed, a: str, b: str) -> list[tuple[str, str]]:
    """Pairs of hosts that have no way without this link."""
    graph = nx.Graph([link for link in bed.fabric.topo.links() if set(link) != {a, b}])
    return [pair for pair in pairs(bed) if not nx.has_path(graph, *pair)]


def forget_neighbours(bed: Bed) -> None:
    for host in bed.fabric.host_names:
        bed.fabric.run(host, "ip", "neigh", "flush", "all")


def fabric_links(bed: Bed) -> list[tuple[str, str]]:
    topo = bed.fabric.topo
    return [(a, b) for a, b in topo.links(sort=True) if topo.isSwitch(a) and topo.isSwitch(b)]


@contextmanager
def cut(bed: Bed, a: str, b: str) -> Iterator[None]:
    bed.fabric.cut_link(a, b)
    try:
        yield
    finally:
        bed.fabric.restore_link(a, b)


def test_everybody_reaches_everybody_and_nobody_hears_what_is_not_for_him(bed: Bed) -> None:
    forget_neighbours(bed)
    with ExitStack() as stack:
        ports = {host: stack.enter_context(bed.frames(host)) for host in bed.fabric.host_names}
        assert unreachable(bed) == []
        for host, port in ports.items():
            own = packed(bed.fabric.address(host))
            received = [frame for direction, frame in port.look() if direction == "in"]
            assert len(received) >= 2 * (len(ports) - 1), "an ARP answer and an echo of each other, at least"
            questions = [frame for frame in received if (arp := read_arp(frame)) and arp.op == ARP_REQUEST]
            assert questions == [], "each is answered by the asker's own switch"
            others = [f for f in received if f[12:14] == b"\x08\x00" and int.from_bytes(f[30:34]) != own]
            assert others == []


def test_an_unknown_address_is_asked_for_at_hosts_and_crosses_no_link(bed: Bed) -> None:
    """At most once a second, however often somebody asks."""
    with bed.frames(CLIENT) as asker, bed.frames("h1") as hearer:
        bed.fabric.run(CLIENT, "ping", "-c3", "-i0.2", "-W1", "10.0.254.7")
        asked = [frame for _, frame in asker.look() if (arp := read_arp(frame)) and arp.spa and arp.op == ARP_REQUEST]
        heard = [arp for _, frame in hearer.look() if (arp := read_arp(frame)) and arp.tpa == packed("10.0.254.7")]
    assert asked, "the client asked"
    assert 1 <= len(heard) <= 5
    assert {arp.spa for arp in heard} == {0}, "the controller asks, in nobody's name"


def test_a_vip_serves_and_a_refusal_is_hidden(bed: Bed) -> None:
    connections = bed.ask(CLIENT, 60)
    assert outcomes(connections) == {"ok": 60}
    assert set(shares(connections)) == set(MEMBERS)
    bed.stop_server("h4")
    try:
        connections = bed.ask(CLIENT, 40)
    finally:
        bed.serve(*MEMBERS)
    assert outcomes(connections) == {"ok": 40}
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS
    soon("it is back", lambda: bed.controller.taking() == set(MEMBERS), 10, bed.controller.members)


def test_the_fabric_is_quiet_when_nobody_speaks(bed: Bed) -> None:
    """A frame that circled would be counted at every turn."""

    def sent() -> list[int]:
        dumps = (openvswitch.ofctl("dump-ports", name) for name in bed.fabric.switch_names)
        return [int(packets) for dump in dumps for packets in re.findall(r"tx pkts=(\d+)", dump)]

    before, began = sent(), time.monotonic()
    time.sleep(2)
    took_s = time.monotonic() - began
    rates = [(after - earlier) / took_s for earlier, after in zip(before, sent(), strict=True)]
    assert max(rates) < 60, "LLDP, probes of links and of members"


def test_any_one_cut_is_survived_without_the_controller(bed: Bed) -> None:
    bed.controller.kill()
    for a, b in fabric_links(bed):
        parted = parted_by(bed, a, b)
        with cut(bed, a, b):
            soon(f"who has a way without {a}-{b} finds it", lambda: unreachable(bed) == parted, 3)  # noqa: B023
            if not parted:
                assert outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}, (a, b)
        soon("the link is back", lambda: unreachable(bed) == [], 3, lambda: unreachable(bed))


@pytest.mark.parametrize("bed", [RING, LEAF_SPINE], indirect=True)
def test_a_cut_under_load_loses_packets_for_milliseconds(bed: Bed) -> None:
    """With the controller, which learns of it and plans anew; and when the link is back."""
    a, b = fabric_links(bed)[0]
    pings = [
        bed.fabric.popen(
            one, "ping", "-q", "-c250", "-i0.01", "-W1", bed.fabric.address(other), stdout=subprocess.PIPE, text=True
        )
        for one, other in (("h1", "h4"), ("h4", "h1"), ("h2", "h4"))
    ]
    with bed.load(CLIENT, 50) as clients, bed.keep(CLIENT, 20, interval_s=0.05) as kept:
        bed.ask(CLIENT, 20)
        with cut(bed, a, b):
            bed.ask(CLIENT, 40, rate=50)
        bed.ask(CLIENT, 40, rate=50)
        connections, keeping = clients.finish(), kept.finish()
    lost = [250 - int(ping.communicate(timeout=20)[0].partition(" received")[0].rpartition(" ")[2]) for ping in pings]
    assert max(lost) <= 10, f"of 250 in 2.5 s: {lost}"
    assert outcomes(connections) == {"ok": len(connections)}
    assert outcomes(keeping) == {"ok": 20}
    slow = [one for one in connections if one["connect_ms"] > NO_RETRANSMISSION_MS]
    assert len(slow) <= 10, f"SYNs lost within the same 100 ms, at 100 a second: {len(slow)} of {len(connections)}"
