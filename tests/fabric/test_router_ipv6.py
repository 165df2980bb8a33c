"""The router in IPv6: four subnets of 128 addresses each, as `test_router` has them."""

import re
from typing import Any

import pytest
from bed import NO_RETRANSMISSION_MS, Bed, one_vip, outcomes, pool, shares, slowest_connect_ms
from running_controller import soon

from controller.router import QUESTIONS
from topologies.routed import RoutedTopo

IPV6 = True
pytestmark = pytest.mark.one_framework

TOPOLOGY = RoutedTopo(spines=2, leaves=2, hosts=2)
VIP = "2001:db8::80"
SERVICE = {"address": VIP}
CLIENT, NEIGHBOUR, SAME_LEAF, OTHER_LEAF = "h1", "h2", "h3", "h7"
MEMBERS = ("h4", "h6")
GATEWAY, FAR_GATEWAY = "fd00::1:fe", "fd00::2:1fe"
NOBODY, NOWHERE = "fd00::2:77", "2001:db8:9::1"


def prefix(leaf: int, half: int) -> str:
    return f"fd00::{leaf}:{half * 0x100:x}/120"


def gateway(leaf: int, half: int) -> str:
    return f"fd00::{leaf}:{half * 0x100 + 0xFE:x}"


def half_of(host: str) -> tuple[int, int]:
    """(leaf, half) of a host: h1 and h2 in the first of leaf 1, h3 and h4 in its second, and so on."""
    place = int(host[1:]) - 1
    return place // 4 + 1, place % 4 // 2


@pytest.fixture(autouse=True, scope="module")
def divided(bed: Bed) -> None:
    """Hosts get a prefix and a default route; addresses of the second half move to a place of their own."""
    for host in bed.fabric.host_names:
        leaf, half = half_of(host)
        interface = bed.fabric.host(host).defaultIntf().name
        place = (int(host[1:]) - 1) % 2 + 1
        address = f"fd00::{leaf}:{half * 0x100 + place:x}"
        bed.fabric.host(host).params["ipv6"] = address
        for argv in (
            ["ip", "-6", "address", "flush", "dev", interface, "scope", "global"],
            ["ip", "-6", "address", "add", f"{address}/120", "dev", interface],
            ["ip", "-6", "route", "add", "default", "via", gateway(leaf, half)],
        ):
            done = bed.fabric.run(host, *argv)
            assert done.returncode == 0, done.stderr
    bed.serve(*MEMBERS)
    bed.controller.put("policy", {"version": 1, "subnets": subnets()})
    for host in bed.fabric.host_names:
        soon(f"{host} has a gateway", lambda at=host: "1 received" in ping(bed, at, FAR_GATEWAY), 8)
    policy = {**one_vip(pool(bed, *MEMBERS), address=VIP), "subnets": subnets()}
    bed.apply(policy)
    for host in bed.fabric.host_names:
        soon(f"{host} has a gateway", lambda at=host: "1 received" in ping(bed, at, FAR_GATEWAY), 8)


def subnets() -> list[dict[str, Any]]:
    return [
        {"name": f"leaf{leaf}-{half}", "prefix": prefix(leaf, half), "gateway": gateway(leaf, half)}
        for leaf in (1, 2)
        for half in (0, 1)
    ]


def ping(bed: Bed, host: str, address: str, wait_s: float = 2.0) -> str:
    return bed.fabric.run(host, "ping", "-6", "-n", "-c1", f"-W{wait_s}", address).stdout


@pytest.mark.parametrize(("target", "left"), [(NEIGHBOUR, 64), (SAME_LEAF, 63), (OTHER_LEAF, 63)])
def test_hosts_reach_each_other_and_the_hop_limit_shows_the_router(bed: Bed, target: str, left: int) -> None:
    found = re.search(r"ttl=(\d+)", ping(bed, CLIENT, bed.address(target)))
    assert found and int(found[1]) == left


@pytest.mark.parametrize("how", ["-U", "-I", "-T"], ids=["udp", "icmp", "tcp"])
def test_a_trace_shows_the_gateway_and_then_the_host(bed: Bed, how: str) -> None:
    port = [] if how == "-I" else ["-p", "33434"]
    for target in (SAME_LEAF, OTHER_LEAF):
        argv = ("traceroute", "-6", "-n", "-q1", "-w2", "-N1", "-m4", how, *port, bed.address(target))
        said = bed.fabric.run(CLIENT, *argv).stdout
        assert [line.split()[1] for line in said.splitlines()[1:]] == [GATEWAY, bed.address(target)]


@pytest.mark.parametrize("address", [GATEWAY, FAR_GATEWAY, VIP])
def test_gateways_and_vips_answer_an_echo(bed: Bed, address: str) -> None:
    assert "1 received" in ping(bed, CLIENT, address)


def test_who_is_nowhere_is_unreachable(bed: Bed) -> None:
    assert f"From {GATEWAY} icmp_seq=1 Destination unreachable: No route" in ping(bed, CLIENT, NOWHERE)
    said = ping(bed, CLIENT, NOBODY, wait_s=QUESTIONS + 2)
    assert f"From {GATEWAY} icmp_seq=1 Destination unreachable: Address unreachable" in said


@pytest.mark.parametrize("client", ["h1", "h3", "h5", "h7"])
def test_a_vip_outside_is_served_by_members_in_two_subnets(bed: Bed, client: str) -> None:
    connections = bed.ask(client, 40, **SERVICE)
    assert outcomes(connections) == {"ok": 40}
    assert set(shares(connections)) == set(MEMBERS)
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS


def test_routing_goes_on_without_the_controller(bed: Bed) -> None:
    bed.controller.kill()
    try:
        assert "1 received" in ping(bed, CLIENT, bed.address(OTHER_LEAF))
        assert outcomes(bed.ask(CLIENT, 20, **SERVICE)) == {"ok": 20}
    finally:
        bed.restart_controller()
