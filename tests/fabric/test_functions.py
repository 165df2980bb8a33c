"""Each function on its own: only a firewall, only a balancer, only a router, nothing at all; and what is off costs nothing."""

from typing import Any

import pytest
from bed import MEMBER_PORT, Bed, outcomes, pool, shares
from running_controller import Refused, soon
from test_router import ttl

from topologies.routed import RoutedTopo

pytestmark = pytest.mark.one_framework

TOPOLOGY = RoutedTopo(spines=2, leaves=2, hosts=2)
CLIENT, NEIGHBOUR, OTHER_SUBNET, FAR_NEIGHBOURS = "h1", "h2", "h3", ("h5", "h6")
VIP = "10.0.1.100"
"""In the client's subnet, so it needs no router."""
SUBNETS = [
    {"name": f"leaf{leaf}-{half}", "prefix": f"10.0.{leaf}.{half}/25", "gateway": f"10.0.{leaf}.{half + 126}"}
    for leaf in (1, 2)
    for half in (0, 128)
]
RULE = {
    "id": "shut",
    "src": "10.0.1.1",
    "dst": "10.0.1.2",
    "protocol": "tcp",
    "dst_ports": [MEMBER_PORT],
    "action": "reject",
}


def everything(bed: Bed, *chain: str) -> dict[str, Any]:
    """One policy for all tests; only the chain differs."""
    pools = {"web": pool(bed, NEIGHBOUR, health_check=None)}
    vips = {"web": {"address": VIP, "port": 80, "pool": "web"}}
    return {
        "version": 1,
        "chain": list(chain),
        "pools": pools,
        "vips": vips,
        "subnets": SUBNETS,
        "firewall": {"rules": [RULE]},
    }


@pytest.fixture
def chained(bed: Bed, request: pytest.FixtureRequest) -> Bed:
    bed.serve(NEIGHBOUR, OTHER_SUBNET)
    bed.apply(everything(bed, *request.param))
    if "router" in request.param:
        for host in (CLIENT, OTHER_SUBNET):
            soon(f"{host} has a gateway", lambda at=host: reaches(bed, at, "10.0.2.254"), 8)
    return bed


def reaches(bed: Bed, host: str, address: str) -> bool:
    return bed.fabric.run(host, "ping", "-n", "-c1", "-W1", address).returncode == 0


def ended(bed: Bed, host: str, address: str, port: int) -> str:
    """How one connection ends."""
    (connection,) = bed.ask(host, 1, address=address, port=port, timeout_s=1.5)
    return str(connection["outcome"])


def entries(bed: Bed, text: str) -> list[str]:
    return [line for name in bed.fabric.switch_names for line in bed.fabric.dump_flows(name) if text in line]


@pytest.mark.parametrize("chained", [["firewall"]], indirect=True)
def test_a_firewall_alone_is_stateful(chained: Bed) -> None:
    bed = chained
    neighbour, client = bed.fabric.address(NEIGHBOUR), bed.fabric.address(CLIENT)
    assert ended(bed, CLIENT, neighbour, MEMBER_PORT) == "refused", "its rule"
    bed.serve(NEIGHBOUR, OTHER_SUBNET, CLIENT)
    assert ended(bed, NEIGHBOUR, client, MEMBER_PORT) == "ok", "the other direction, and its replies"
    assert reaches(bed, CLIENT, neighbour)
    assert not reaches(bed, CLIENT, VIP) and not reaches(bed, CLIENT, "10.0.1.126")
    assert bed.fabric.conntrack()
    assert entries(bed, "nw_ttl") == entries(bed, "group:2684") == []
    assert not [group for name in bed.fabric.switch_names for group in bed.fabric.dump_groups(name) if "ct(" in group]


@pytest.mark.parametrize("chained", [["balancer"]], indirect=True)
def test_a_balancer_alone_balances_and_lets_everything_pass(chained: Bed) -> None:
    bed = chained
    # It may have asked for the VIP while there was none: that question has to come to its end first.
    soon("the VIP answers", lambda: reaches(bed, CLIENT, VIP), 8)
    connections = bed.ask(CLIENT, 20, address=VIP) + bed.ask(
        CLIENT, 20, address=bed.fabric.address(NEIGHBOUR), port=MEMBER_PORT
    )
    assert outcomes(connections) == {"ok": 40}
    assert set(shares(connections)) == {NEIGHBOUR}
    assert not reaches(bed, CLIENT, "10.0.1.126"), "nobody is a gateway"


@pytest.mark.parametrize("chained", [["router"]], indirect=True)
def test_a_router_alone_routes_and_tracks_nothing(chained: Bed) -> None:
    bed = chained
    far = bed.fabric.address("h7")
    assert ttl(bed.fabric.run(CLIENT, "ping", "-n", "-c1", "-W1", far).stdout) == 63
    assert ended(bed, CLIENT, bed.fabric.address(OTHER_SUBNET), MEMBER_PORT) == "ok"
    assert ended(bed, CLIENT, bed.fabric.address(NEIGHBOUR), MEMBER_PORT) == "ok", "its rule is off"
    assert not reaches(bed, CLIENT, VIP)
    said = bed.fabric.run(CLIENT, "traceroute", "-n", "-q1", "-w2", "-N1", "-m3", "-I", far).stdout
    assert [line.split()[1] for line in said.splitlines()[1:]] == ["10.0.1.126", far]
    assert entries(bed, "ct(") == []
    for table in (2, 3, 4, 7, 8, 9):
        assert entries(bed, f"table={table},") == []


@pytest.mark.parametrize("chained", [[]], indirect=True)
def test_without_any_function_neighbours_reach_each_other(chained: Bed) -> None:
    bed = chained
    assert reaches(bed, FAR_NEIGHBOURS[0], bed.fabric.address(FAR_NEIGHBOURS[1]))
    assert ended(bed, CLIENT, bed.fabric.address(NEIGHBOUR), MEMBER_PORT) == "ok"
    bed.fabric.run(CLIENT, "ip", "neighbour", "flush", "all")
    assert not reaches(bed, CLIENT, bed.fabric.address(OTHER_SUBNET)), "in another subnet, and nobody is a gateway"


@pytest.mark.parametrize("chained", [["firewall", "balancer", "router"]], indirect=True)
def test_all_together(chained: Bed) -> None:
    bed = chained
    assert ended(bed, CLIENT, bed.fabric.address(NEIGHBOUR), MEMBER_PORT) == "refused"
    assert ended(bed, CLIENT, VIP, 80) == "ok"
    assert ended(bed, "h7", VIP, 80) == "ok"
    assert reaches(bed, CLIENT, bed.fabric.address(OTHER_SUBNET))


def test_another_order_is_refused_with_the_one_there_is(bed: Bed) -> None:
    with pytest.raises(Refused, match="the order firewall, balancer, router"):
        bed.controller.put("policy", {"version": 1, "chain": ["router", "firewall"]})
