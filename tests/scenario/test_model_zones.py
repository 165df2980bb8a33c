"""Zones in virtual time: by port and by prefix, what rules and defaults say between them, and who is shut in without the controller."""

from dataclasses import replace
from typing import Any

import pytest
from model_subnets import VIP_OUTSIDE, routed, routed_policy
from model_world import MEMBER_PORT, World, address, ends

from controller.policy import Policy
from controller.zoning import PRESENCE_S
from topologies.model.application import End
from topologies.model.servers import Serve
from topologies.model.wiring import Speed

GUEST, STAFF, SERVER, FAR_SERVER = "a1-1", "a1-2", "b1-1", "b2-1"
"""Guests are at the first port of the first leaf; servers are in the second subnets; staff is in no zone."""
VIP = int.from_bytes(bytes(map(int, VIP_OUTSIDE.split("."))))
ZONES: list[dict[str, Any]] = [
    {"name": "guests", "ports": ["0000000000000001:1"]},
    {"name": "servers", "prefixes": ["10.0.1.128/25", "10.0.2.128/25", VIP_OUTSIDE]},
]


def policy(*rules: dict[str, Any], default: str = "allow", **of_zones: dict[str, Any]) -> Policy:
    zones = [{**zone, **of_zones.get(zone["name"], {})} for zone in ZONES]
    return routed_policy(address(2, 130), zones=zones, firewall={"rules": list(rules), "default": default})


@pytest.fixture(scope="module")
def everywhere() -> World:
    world = World(routed(), policy())
    for name in (STAFF, SERVER, FAR_SERVER):
        world.fabric.hosts[name].listen(MEMBER_PORT, Serve(100))
    for source in world.fabric.hosts:
        reach(world, source, GUEST)
    return world


def reach(world: World, source: str, target: str | int) -> End | None:
    dst = world.fabric.hosts[target].address if isinstance(target, str) else target
    attempt = world.connect(source, dst, MEMBER_PORT if isinstance(target, str) else 80)
    world.run(0.4)
    return attempt.end


def pings(world: World, source: str, target: str) -> bool:
    ping = world.fabric.hosts[source].ping(world.fabric.hosts[target].address, world.now)
    world.fabric.settle(source)
    world.run(0.2)
    return ping.answered is not None


def apply(world: World, *rules: dict[str, Any], **parts: Any) -> None:
    world.apply(policy(*rules, **parts))
    world.run(0.2)


def test_a_rule_between_zones_is_about_nobody_else(everywhere: World) -> None:
    world = everywhere
    apply(world, {"from_zone": "guests", "to_zone": "servers", "action": "reject"})
    assert [reach(world, GUEST, target) for target in (SERVER, FAR_SERVER, VIP)] == [End.REFUSED] * 3
    assert reach(world, GUEST, STAFF) is End.CLOSED
    assert [reach(world, STAFF, target) for target in (SERVER, FAR_SERVER, VIP)] == [End.CLOSED] * 3
    assert pings(world, SERVER, GUEST), "the other direction, and its replies"
    assert not pings(world, GUEST, SERVER)
    assert world.faultless()


def test_what_is_allowed_between_zones_gets_its_replies_under_a_rule_that_cuts(everywhere: World) -> None:
    world = everywhere
    apply(
        world,
        {"priority": 200, "from_zone": "guests", "to_zone": "servers", "action": "allow"},
        {"priority": 100, "action": "drop"},
    )
    assert [reach(world, GUEST, target) for target in (SERVER, FAR_SERVER, VIP)] == [End.CLOSED] * 3
    assert pings(world, GUEST, FAR_SERVER)
    assert reach(world, STAFF, SERVER) is None
    assert not pings(world, SERVER, GUEST)


def test_a_zones_defaults_hold_where_no_rule_does(everywhere: World) -> None:
    world = everywhere
    allow = {"src": "10.0.1.2", "to_zone": "servers", "action": "allow"}
    apply(world, allow, servers={"default_to": "reject"})
    assert reach(world, GUEST, FAR_SERVER) is End.REFUSED
    assert reach(world, STAFF, FAR_SERVER) is End.CLOSED, "its rule"
    assert reach(world, SERVER, FAR_SERVER) is End.CLOSED, "within the zone the firewall's default holds"
    assert reach(world, GUEST, STAFF) is End.CLOSED
    apply(world, guests={"default_from": "allow"}, default="drop")
    assert reach(world, GUEST, FAR_SERVER) is End.CLOSED
    assert reach(world, STAFF, FAR_SERVER) is None


def test_of_two_defaults_the_stricter_holds(everywhere: World) -> None:
    world = everywhere
    apply(world, guests={"default_from": "allow"}, servers={"default_to": "reject"})
    assert reach(world, GUEST, FAR_SERVER) is End.REFUSED
    apply(world, guests={"default_from": "drop"}, servers={"default_to": "reject"})
    assert reach(world, GUEST, FAR_SERVER) is None


def test_a_zone_without_the_firewall_begins_what_it_likes(everywhere: World) -> None:
    world = everywhere
    apply(world, {"action": "drop"}, servers={"chain": ["balancer", "router"]})
    assert reach(world, SERVER, FAR_SERVER) is End.CLOSED
    assert reach(world, FAR_SERVER, STAFF) is End.CLOSED
    assert reach(world, STAFF, FAR_SERVER) is None
    assert reach(world, GUEST, VIP) is None


def test_a_rule_that_comes_cuts_connections_between_its_zones() -> None:
    slow = Speed(rate_bps=10e6)
    wiring = routed()
    world = World(replace(wiring, hosts=tuple(replace(host, speed=slow) for host in wiring.hosts)), policy())
    world.connections([STAFF, GUEST], 2, dst=VIP)
    for name in (SERVER, FAR_SERVER):
        world.fabric.hosts[name].listen(MEMBER_PORT, Serve(3_000_000))
    far = world.fabric.hosts[FAR_SERVER].address
    kept, cut = world.connect(STAFF, far, MEMBER_PORT), world.connect(GUEST, far, MEMBER_PORT)
    world.run(0.1)
    assert kept.connected and cut.connected
    apply(world, {"from_zone": "guests", "to_zone": "servers", "action": "drop"})
    before = kept.received, cut.received
    world.run(0.5)
    assert kept.received > before[0] and cut.received == before[1]


@pytest.fixture(scope="module")
def shut() -> World:
    world = World(routed(), policy(servers={"fail_mode": "closed"}))
    for name in (STAFF, SERVER, FAR_SERVER):
        world.fabric.hosts[name].listen(MEMBER_PORT, Serve(100))
    for source in world.fabric.hosts:
        reach(world, source, STAFF)
    return world


class TestTheControllerIsAway:
    """A closed zone is shut, what is open goes on, and so does everything else."""

    def test_it_is_open_while_the_controller_is_there(self, shut: World) -> None:
        shut.run(3 * PRESENCE_S)
        assert ends([shut.connect(GUEST, VIP)]) == {None: 1}
        assert [reach(shut, GUEST, target) for target in (SERVER, FAR_SERVER, VIP)] == [End.CLOSED] * 3

    def test_nothing_begins_in_it_or_towards_it_without_the_controller(self, shut: World) -> None:
        shut.leave()
        shut.run(PRESENCE_S + 0.1)
        assert [reach(shut, GUEST, target) for target in (SERVER, FAR_SERVER, VIP)] == [None] * 3
        assert reach(shut, SERVER, STAFF) is None
        assert reach(shut, GUEST, STAFF) is End.CLOSED

    def test_it_opens_when_the_controller_is_back(self, shut: World) -> None:
        shut.come_back()
        shut.run(3.0)
        assert [reach(shut, GUEST, target) for target in (SERVER, FAR_SERVER, VIP)] == [End.CLOSED] * 3
        assert shut.faultless()


def test_a_verdict_on_a_first_packet_is_for_its_zones_only(everywhere: World) -> None:
    world = everywhere
    to_servers = {
        "priority": 200,
        "from_zone": "guests",
        "to_zone": "servers",
        "action": "reject",
        "inspect": "first-packet",
    }
    apply(world, to_servers, {"priority": 100, "action": "allow", "inspect": "first-packet"})
    for _ in range(2):
        assert [reach(world, STAFF, target) for target in (SERVER, FAR_SERVER, VIP)] == [End.CLOSED] * 3
        assert [reach(world, GUEST, target) for target in (SERVER, FAR_SERVER, VIP)] == [End.REFUSED] * 3
        assert reach(world, GUEST, STAFF) is End.CLOSED
    assert world.faultless()
