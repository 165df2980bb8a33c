"""Two subnets on each of two leaves: routed, traced, refused where there is nobody, and balanced behind a VIP that is in none of them."""

import re
import time
from typing import Any

import pytest
from bed import (
    MEMBER_PORT,
    NO_RETRANSMISSION_MS,
    VIP_PORT,
    Bed,
    mac_number,
    one_vip,
    outcomes,
    packed,
    pool,
    shares,
    slowest_connect_ms,
)  # fmt: skip
from entries import entries_of
from running_controller import soon

from controller.frames import vip_mac
from controller.pipeline import METER_RATES, Meter
from controller.router import QUESTIONS
from topologies.model.headers import ETH_IPV4, PROTO_UDP, Ipv4, Udp
from topologies.model.packet import Packet
from topologies.routed import RoutedTopo

pytestmark = pytest.mark.one_framework

TOPOLOGY = RoutedTopo(spines=2, leaves=2, hosts=2)
VIP = "192.0.2.80"
SERVICE = {"address": VIP}
CLIENT, NEIGHBOUR, SAME_LEAF, OTHER_LEAF = "h1", "h2", "h3", "h7"
"""The client is in the first subnet of the first leaf, with a neighbour; the others are in the second subnets."""
MEMBERS = ("h4", "h6")
"""In the second subnet of the first leaf and in the first of the second."""
GATEWAY, FAR_GATEWAY = "10.0.1.126", "10.0.2.254"
NOBODY, NOWHERE = "10.0.2.77", "198.51.100.1"


def routed(bed: Bed, *members: str, **settings: Any) -> dict[str, Any]:
    """The four subnets, and the VIP before these members."""
    subnets = [
        {"name": f"leaf{leaf}-{half}", "prefix": f"10.0.{leaf}.{half}/25", "gateway": f"10.0.{leaf}.{half + 126}"}
        for leaf in (1, 2)
        for half in (0, 128)
    ]
    return {**one_vip(pool(bed, *members, **settings), address=VIP), "subnets": subnets}


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(routed(bed, *MEMBERS))
    for host in bed.fabric.host_names:
        # It may have asked for its gateway while there was none: that question has to come to its end first.
        soon(f"{host} has a gateway", lambda at=host: "1 received" in ping(bed, at, FAR_GATEWAY), 8)


def ping(bed: Bed, host: str, address: str, *options: str, count: int = 1, wait_s: float = 2.0) -> str:
    """What ping(8) says."""
    return bed.fabric.run(host, "ping", "-n", f"-c{count}", "-i0.2", f"-W{wait_s}", *options, address).stdout


def trace(bed: Bed, host: str, address: str, *options: str) -> list[str]:
    """Who answered at each hop, as traceroute(8) saw it; `*` nobody."""
    said = bed.fabric.run(host, "traceroute", "-n", "-q1", "-w2", "-N1", "-m4", *options, address).stdout
    return [line.split()[1] for line in said.splitlines()[1:]]


def ttl(said: str) -> int:
    found = re.search(r"ttl=(\d+)", said)
    assert found, said
    return int(found[1])


@pytest.mark.parametrize(("target", "left"), [(NEIGHBOUR, 64), (SAME_LEAF, 63), (OTHER_LEAF, 63), ("h5", 63)])
def test_hosts_reach_each_other_and_the_ttl_shows_the_router(bed: Bed, target: str, left: int) -> None:
    assert ttl(ping(bed, CLIENT, bed.fabric.address(target))) == left
    with bed.frames(target) as there:
        ping(bed, CLIENT, bed.fabric.address(target))
        arrived = soon("the echo request", lambda: [p for p in map(Packet.from_bytes, received(there)) if p.icmp], 2)
    assert arrived[0].ip.ttl == left


def received(frames: Any) -> list[bytes]:
    return [frame for direction, frame in frames.look() if direction == "in"]


@pytest.mark.parametrize("address", [GATEWAY, FAR_GATEWAY, VIP])
def test_gateways_and_vips_answer_an_echo(bed: Bed, address: str) -> None:
    assert "3 received" in ping(bed, CLIENT, address, count=3)


@pytest.mark.parametrize("how", ["-U", "-I", "-T"], ids=["udp", "icmp", "tcp"])
def test_a_trace_shows_the_gateway_and_then_the_host(bed: Bed, how: str) -> None:
    # UDP and TCP go to a port that nobody listens at: the host's own refusal is the end of the trace.
    port = [] if how == "-I" else ["-p", "33434"]
    for target in (SAME_LEAF, OTHER_LEAF):
        assert trace(bed, CLIENT, bed.fabric.address(target), how, *port) == [GATEWAY, bed.fabric.address(target)]
    assert trace(bed, CLIENT, bed.fabric.address(NEIGHBOUR), how, *port) == [bed.fabric.address(NEIGHBOUR)]
    assert trace(bed, CLIENT, FAR_GATEWAY, how, *port) == [FAR_GATEWAY]


def test_a_trace_to_a_vip_ends_at_it(bed: Bed) -> None:
    assert trace(bed, CLIENT, VIP, "-I") == [GATEWAY, VIP]
    assert trace(bed, CLIENT, VIP, "-T", "-p", str(VIP_PORT)) == [GATEWAY, VIP]


def test_a_host_that_nobody_is_is_reported_unreachable_by_the_gateway(bed: Bed) -> None:
    began = time.monotonic()
    said = ping(bed, CLIENT, NOBODY, wait_s=QUESTIONS + 2)
    assert f"From {GATEWAY} icmp_seq=1 Destination Host Unreachable" in said
    assert QUESTIONS - 1 < time.monotonic() - began < QUESTIONS + 1.5


def test_an_address_in_no_subnet_is_reported_unreachable_at_once(bed: Bed) -> None:
    began = time.monotonic()
    assert f"From {GATEWAY} icmp_seq=1 Destination Net Unreachable" in ping(bed, CLIENT, NOWHERE)
    assert time.monotonic() - began < 1
    (connection,) = bed.ask(CLIENT, address=NOWHERE)
    assert connection["outcome"] != "timeout", "the client is told"


def test_a_host_never_heard_of_gets_the_packet_that_asked_for_it(bed: Bed) -> None:
    late, interface = "10.0.2.140", bed.fabric.host("h8").defaultIntf().name
    bed.fabric.run("h8", "ip", "address", "add", f"{late}/25", "dev", interface)
    assert "1 received" in ping(bed, CLIENT, late)
    assert late in {host["address"] for host in bed.controller.get("hosts")["items"]}
    bed.fabric.run("h8", "ip", "address", "del", f"{late}/25", "dev", interface)


def test_a_false_source_goes_nowhere(bed: Bed) -> None:
    since = bed.controller.moment()
    packet = Packet(vip_mac(packed(GATEWAY)), mac_number(bed.fabric.mac(CLIENT)), ETH_IPV4, b"question")
    packet.ip, packet.udp = Ipv4(packed(NOWHERE), packed(bed.fabric.address(OTHER_LEAF)), PROTO_UDP), Udp(7, 9)
    with bed.frames(OTHER_LEAF) as there, bed.frames(CLIENT) as here:
        here.send(packet.to_bytes())
        soon("it is noticed", lambda: bed.controller.announced("spoof", since=since), 3)
        ping(bed, CLIENT, bed.fabric.address(OTHER_LEAF))
        sources = lambda: {p.ip.src for p in map(Packet.from_bytes, received(there)) if p.ip}  # noqa: E731
        soon("what was sent after it arrives", sources, 2)
    assert sources() == {packed(bed.fabric.address(CLIENT))}


def test_nobody_can_have_more_errors_written_than_the_meter_says(bed: Bed) -> None:
    rate, burst = METER_RATES[Meter.ROUTER]
    before = time_exceeded(bed, CLIENT)
    target = bed.fabric.address(OTHER_LEAF)
    began = time.monotonic()
    bed.fabric.run(CLIENT, "hping3", "-q", "--udp", "-p", "9", "-t", "1", "-c", "4000", "-i", "u500", target)
    took = time.monotonic() - began
    time.sleep(0.5)
    written = time_exceeded(bed, CLIENT) - before
    assert rate < written < 1.2 * (burst + rate * took), took


def time_exceeded(bed: Bed, host: str) -> int:
    """How many a host has received (RFC 4293, icmpInTimeExcds)."""
    head, values = [
        line.split()
        for line in bed.fabric.run(host, "cat", "/proc/net/snmp").stdout.splitlines()
        if line[:5] == "Icmp:"
    ]
    return int(values[head.index("InTimeExcds")])


class TestAVipOutsideAllSubnets:
    """Members in two subnets, clients in four."""

    @pytest.mark.parametrize("client", ["h1", "h3", "h5", "h7"])
    def test_members_of_both_subnets_serve(self, bed: Bed, client: str) -> None:
        connections = bed.ask(client, 60, **SERVICE)
        assert outcomes(connections) == {"ok": 60}
        assert set(shares(connections)) == set(MEMBERS)
        assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS

    @pytest.mark.parametrize("member", MEMBERS)
    def test_a_member_reaches_itself_and_the_other(self, bed: Bed, member: str) -> None:
        connections = bed.ask(member, 60, **SERVICE)
        assert outcomes(connections) == {"ok": 60}
        assert set(shares(connections)) == set(MEMBERS)

    def test_a_refusal_in_one_subnet_is_redispatched_to_the_other_and_ejects(self, bed: Bed) -> None:
        with bed.load(CLIENT, 100, **SERVICE) as near, bed.load(OTHER_LEAF, 100, **SERVICE) as far:
            time.sleep(0.5)
            bed.stop_server("h4")
            dead_since = time.time()
            soon("it is out", lambda: bed.controller.taking() == {"h6"}, 5, bed.controller.members)
            bed.serve(*MEMBERS)
            soon("it is in again", lambda: bed.controller.taking() == set(MEMBERS), 20, bed.controller.members)
            connections = near.finish() + far.finish()
        after = [connection for connection in connections if connection["began"] > dead_since]
        assert outcomes(after) == {"ok": len(after)}, "what was open when it was killed died with it, nothing else"
        assert {"h4"} <= set(shares(connections))

    def test_members_are_checked_across_the_gateway(self, bed: Bed) -> None:
        assert {member["health"] for member in bed.controller.members().values()} == {"up"}

    def test_direct_connections_between_subnets_are_tracked_too(self, bed: Bed) -> None:
        connections = bed.ask(CLIENT, 20, address=bed.fabric.address("h6"), port=MEMBER_PORT)
        assert outcomes(connections) == {"ok": 20}


class TestTheControllerIsAway:
    """Routing, gateways and VIPs are flow entries."""

    def test_routing_goes_on(self, bed: Bed) -> None:
        bed.controller.kill()
        try:
            assert ttl(ping(bed, CLIENT, bed.fabric.address(OTHER_LEAF))) == 63
            assert "2 received" in ping(bed, CLIENT, GATEWAY, count=2)
            assert trace(bed, CLIENT, bed.fabric.address(OTHER_LEAF), "-I") == ["*", bed.fabric.address(OTHER_LEAF)]
            for client in (CLIENT, OTHER_LEAF):
                connections = bed.ask(client, 40, **SERVICE)
                assert outcomes(connections) == {"ok": 40}
        finally:
            bed.restart_controller()
        assert trace(bed, CLIENT, bed.fabric.address(OTHER_LEAF), "-I")[0] == GATEWAY


def test_without_subnets_there_is_nothing_of_a_router(bed: Bed) -> None:
    with_router = entries_of(bed)
    bed.controller.put("policy", {**bed.renamed(routed(bed, *MEMBERS)), "subnets": []})
    soon("the entries are gone", lambda: entries_of(bed) != with_router, 3)
    for name in bed.fabric.switch_names:
        assert not [line for line in bed.fabric.dump_flows(name) if "table=16," in line]
        assert not [line for line in bed.fabric.dump_flows(name) if "nw_ttl" in line or "reg2" in line]
