"""Large flows on a pressed link: found in a sample, put where there is room or held where they are, let go when they end."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_world import leaf_spine
from static_fabric import StaticFabric, core_that_knows

from controller.core import Core
from controller.elephants import FEWEST_SAMPLES, GONE_S, PINS, WATCHED_LINKS, Flow, flow_of
from controller.events import PacketSeen
from controller.flows import Purpose
from controller.pipeline import UDP
from controller.reconcile import Installed, reconcile
from controller.telemetry import LinkState
from controller.topology import Endpoint
from topologies.model.headers import ETH_IPV4, PROTO_UDP, Udp, ip_header
from topologies.model.packet import Packet

WIRING = leaf_spine(leaves=2, spines=2)
SENDER, RECEIVER = WIRING.hosts[0], WIRING.hosts[2]
CAPACITY_BPS = 20_000_000
BULK = Flow(UDP, SENDER.address, 5001, RECEIVER.address, 53)


def frame_of(flow: Flow, size: int = 1400) -> bytes:
    packet = Packet(RECEIVER.mac, SENDER.mac, ETH_IPV4, bytes(size - 28))
    packet.ip, packet.udp = ip_header(flow.src, flow.dst, PROTO_UDP), Udp(flow.src_port, flow.dst_port)
    return packet.to_bytes()


class Fabric:
    """A core, and links that say what they carry."""

    def __init__(self) -> None:
        self.core: Core = core_that_knows(WIRING)
        self.elephants, self.topology = self.core.elephants, self.core.topology
        first, second = self.topology.next_hops(SENDER.at.dpid, RECEIVER.at.dpid)
        self.full: Endpoint = (SENDER.at.dpid, first)
        self.other: Endpoint = (SENDER.at.dpid, second)
        self.carried_bps: dict[Endpoint, float] = {self.full: CAPACITY_BPS}
        self.now = 0.0

    def measured(self, near: Endpoint) -> LinkState:
        return LinkState(near, None, CAPACITY_BPS, throughput_bps=self.carried_bps.get(near, 0.0))

    def tick(self, *pressed: Endpoint, seconds: float = 0.5) -> list[str]:
        self.now += seconds
        said = self.elephants.on_tick(set(pressed), self.measured, self.now)
        return [announcement.text for announcement in said]

    def sample(self, near: Endpoint, *flows: Flow, size: int = 1400) -> None:
        far = self.topology.links[near]
        for flow in flows:
            seen = PacketSeen(far[0], Purpose.LINK_SAMPLE, {"in_port": far[1]}, frame_of(flow, size)[:128])
            self.elephants.on_packet(seen, self.now)


def mice(count: int) -> list[Flow]:
    return [BULK._replace(src_port=20_000 + number) for number in range(count)]


@pytest.fixture
def fabric() -> Fabric:
    made = Fabric()
    made.tick(made.full)
    return made


def test_a_flow_that_fills_a_link_is_held_there_when_it_would_fill_the_other_as_well(fabric: Fabric) -> None:
    fabric.sample(fabric.full, *[BULK] * FEWEST_SAMPLES, *mice(5))
    (text,) = fabric.tick(fabric.full)
    assert "stays there" in text
    assert fabric.elephants.pins[BULK].path[0] == fabric.full


def test_one_of_two_moves_to_where_there_is_room(fabric: Fabric) -> None:
    second = BULK._replace(src_port=5002)
    fabric.sample(fabric.full, *[BULK, second] * (FEWEST_SAMPLES // 2))
    fabric.tick(fabric.full)
    assert {pin.path[0] for pin in fabric.elephants.pins.values()} == {fabric.other}
    fabric.carried_bps[fabric.other] = 0.6 * CAPACITY_BPS
    third = BULK._replace(src_port=5003)
    fabric.sample(fabric.full, *[third] * 3 * FEWEST_SAMPLES)
    fabric.tick(fabric.full)
    assert fabric.elephants.pins[third].path[0] == fabric.full


def test_many_small_flows_are_left_to_the_hash(fabric: Fabric) -> None:
    fabric.sample(fabric.full, *mice(8) * 20)
    assert fabric.tick(fabric.full) == []


def test_small_packets_say_nothing_of_bytes(fabric: Fabric) -> None:
    fabric.sample(fabric.full, *[BULK] * 200, size=100)
    assert fabric.tick(fabric.full) == []


def test_a_flow_that_is_over_is_let_go_and_the_link_is_watched_no_more(fabric: Fabric) -> None:
    fabric.sample(fabric.full, *[BULK] * FEWEST_SAMPLES)
    fabric.tick(fabric.full)
    fabric.sample(fabric.full, *[BULK] * FEWEST_SAMPLES)
    assert fabric.tick(seconds=GONE_S / 2) == [] and BULK in fabric.elephants.pins
    for _ in range(12):
        fabric.sample(fabric.full, *mice(8))
        fabric.tick(seconds=5.0)
    assert not fabric.elephants.pins and not fabric.elephants.watched


def test_a_flow_that_is_over_is_let_go_when_nobody_else_sends_either(fabric: Fabric) -> None:
    fabric.sample(fabric.full, *[BULK] * FEWEST_SAMPLES)
    fabric.tick(fabric.full)
    assert BULK in fabric.elephants.pins
    for _ in range(int(GONE_S) + 1):
        fabric.tick(seconds=1.0)
    assert BULK not in fabric.elephants.pins


def test_a_link_that_is_gone_pins_nobody(fabric: Fabric) -> None:
    fabric.sample(fabric.full, *[BULK] * FEWEST_SAMPLES)
    fabric.tick(fabric.full)
    del fabric.topology.links[fabric.full]
    fabric.tick(fabric.full)
    assert not fabric.elephants.pins


def test_what_is_watched_and_pinned_is_bounded() -> None:
    fabric = Fabric()
    fabric.tick(*fabric.topology.links)
    assert len(fabric.elephants.watched) <= WATCHED_LINKS
    for number in range(4 * PINS):
        fabric.sample(fabric.full, *[BULK._replace(src_port=number)] * 4 * FEWEST_SAMPLES)
        fabric.tick(fabric.full)
    assert len(fabric.elephants.pins) <= PINS


def test_the_switch_where_a_watched_link_ends_shows_some_of_its_packets(fabric: Fabric) -> None:
    far = fabric.topology.links[fabric.full]
    plan = replace(fabric.core.plan(0.0), sampled=fabric.elephants.watched)
    for dpid in fabric.topology.switches:
        entries = [entry for entry in plan.for_switch(dpid).flows.values() if entry.purpose is Purpose.LINK_SAMPLE]
        assert {entry.match.get("in_port") for entry in entries} == ({far[1]} if dpid == far[0] else set())


@given(st.binary(max_size=200))
def test_whatever_crosses_a_link_can_be_looked_at(frame: bytes) -> None:
    flow_of(frame)
    header = struct.pack("!12sH", b"", 0x0800)
    flow_of(header + frame)


@pytest.mark.parametrize("moved", [False, True])
def test_switches_send_a_pinned_flow_its_way_and_no_other(fabric: Fabric, moved: bool) -> None:
    static = StaticFabric(WIRING)
    wanted_first = fabric.other if moved else fabric.full
    fabric.sample(fabric.full, *[BULK] * FEWEST_SAMPLES)
    fabric.tick(fabric.full)
    pin = fabric.elephants.pins[BULK]
    spine = fabric.topology.links[wanted_first]
    onward = (spine[0], fabric.topology.next_hops(spine[0], RECEIVER.at.dpid)[0])
    fabric.elephants.pins[BULK] = pin._replace(path=(wanted_first, onward))
    plan = replace(fabric.core.plan(0.0), pins=tuple(fabric.elephants.pins.values()))
    for dpid, switch in static.switches.items():
        present = Installed({}, dict.fromkeys(switch.group_ids), dict.fromkeys(switch.meters))
        for decision in reconcile(dpid, present, plan.for_switch(dpid)):
            assert switch.handle(decision, 0.0) == []
    arrived, met = static.walk(SENDER, RECEIVER, src_port=BULK.src_port)
    assert arrived and met[1] == spine[0]
    static.cut(next(link for link in WIRING.links if wanted_first in (tuple(link.a), tuple(link.b))))
    arrived, met = static.walk(SENDER, RECEIVER, src_port=BULK.src_port)
    assert arrived and met[1] != spine[0], "another way while its own is dead"
