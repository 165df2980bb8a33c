"""A whole fabric in virtual time: the flows that were proved on Open vSwitch do the same here, and faults can be caused at will."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from controller.decisions import (
    Announce,
    Barrier,
    Decision,
    FlushConnection,
    InstallFlow,
    Persist,
    RequestCounters,
    SendPacket,
    SetGroup,
    SetMeter,
)
from controller.events import (
    BarrierReplied,
    Event,
    FlowCounted,
    PacketSeen,
    PortChanged,
    Restored,
    SwitchConnected,
    SwitchDisconnected,
    SwitchRefused,
    Tick,
)
from controller.flows import (
    Action,
    Bucket,
    Connection,
    Ct,
    FlowEntry,
    GroupEntry,
    Match,
    MeterEntry,
    Nat,
    Output,
    Punt,
    Purpose,
    SetField,
    ToGroup,
    match,
)
from topologies.model.application import End
from topologies.model.fabric import FakeFabric
from topologies.model.headers import ETH_ARP, RST, Arp
from topologies.model.hosts import Attempt
from topologies.model.links import Direction
from topologies.model.packet import Packet
from topologies.model.servers import ResetOnAccept, Serve
from topologies.model.wiring import HostPlace, LinkPlace, Speed, SwitchPort, Wiring

LEAF_1, LEAF_2, SPINE = 0x101, 0x102, 0x201
VIP, VIP_MAC, VIP_PORT, MEMBER_PORT = 0x0A000064, 0x020000000064, 80, 8080
CLIENT, NEAR, FAR = 0x0A000101, 0x0A000102, 0x0A000202
HOSTS = {
    "client": (0x020000000101, CLIENT, SwitchPort(LEAF_1, 1)),
    "near": (0x020000000102, NEAR, SwitchPort(LEAF_1, 2)),
    "far": (0x020000000202, FAR, SwitchPort(LEAF_2, 2)),
}
UPLINK = 9
WIRING = Wiring(
    hosts=tuple(HostPlace(name, *place) for name, place in HOSTS.items()),
    links=(
        LinkPlace(SwitchPort(LEAF_1, UPLINK), SwitchPort(SPINE, 1)),
        LinkPlace(SwitchPort(LEAF_2, UPLINK), SwitchPort(SPINE, 2)),
    ),
)
IP, TCP = {"eth_type": 0x0800}, {"eth_type": 0x0800, "ip_proto": 6}
NEW, KNOWN = {"ct_state": (0x01, 0x01)}, {"ct_state": (0x02, 0x02)}
GROUP = 1
SYN_ACK_SEEN = 1 << 31


def member_bucket(number: int, address: int, weight: int, zone: int) -> Bucket:
    nat = Nat("dst", address, (MEMBER_PORT, MEMBER_PORT))
    return Bucket((Ct(zone, table=5, commit=True, nat=nat, mark=(number, 0xFFFFFFFF)),), weight)


def group(near: int, far: int) -> GroupEntry:
    return GroupEntry(GROUP, "select", (member_bucket(1, NEAR, near, LEAF_1), member_bucket(2, FAR, far, LEAF_1)))


def entry(
    table: int,
    priority: int,
    matched: Match,
    *actions: Action,
    goto: int | None = None,
    purpose: Purpose = Purpose.ROUTE,
) -> FlowEntry:
    return FlowEntry(table, priority, matched, purpose, actions, goto)


def delivery(dpid: int) -> list[FlowEntry]:
    """Table 5: to the host's port where it is local, else towards the spine; at the spine down again."""
    entries = []
    for mac, address, at in HOSTS.values():
        port = at.port if at.dpid == dpid else UPLINK if dpid != SPINE else at.dpid - LEAF_1 + 1
        entries.append(entry(5, 10, match(**IP, ipv4_dst=address), SetField("eth_dst", mac), Output(port)))
    return entries


def leaf_1() -> list[FlowEntry]:
    """The edge where the client attaches: it tracks, balances and mirrors."""
    zone = LEAF_1
    mirror = entry(
        3, 50, match(**TCP, ct_state=(0x0A, 0x0A), tcp_flags=(RST, RST)), Punt(1), goto=5, purpose=Purpose.RESET
    )
    mark = Ct(zone, commit=True, mark=(SYN_ACK_SEEN, SYN_ACK_SEEN))
    return [
        entry(0, 90, match(eth_type=ETH_ARP, arp_op=1, arp_tpa=VIP), Punt(1), purpose=Purpose.ARP),
        entry(0, 80, match(eth_type=ETH_ARP), Output(0xFFFFFFFB)),
        entry(0, 1, match(**IP), Ct(zone, table=2, nat=Nat())),
        entry(2, 100, match(**IP, **KNOWN), goto=3),
        entry(2, 80, match(**TCP, **NEW, tcp_flags=(0x02, 0x12), ipv4_dst=VIP), ToGroup(GROUP)),
        entry(2, 70, match(**TCP, **NEW, tcp_flags=(0x02, 0x12)), Ct(zone, commit=True, table=5)),
        entry(2, 1, match(**IP), goto=5),
        mirror,
        entry(3, 30, match(**TCP, ct_state=(0x08, 0x08), tcp_flags=(0x12, 0x12)), mark, goto=5),
        entry(3, 1, match(**IP), goto=5),
        *delivery(LEAF_1),
    ]


def plain(dpid: int) -> list[FlowEntry]:
    return [
        entry(0, 80, match(eth_type=ETH_ARP), Output(0xFFFFFFFB)),
        entry(0, 1, match(**IP), goto=5),
        *delivery(dpid),
    ]


T = TypeVar("T")


@dataclass
class StaticCore:
    """Installs fixed entries when a switch connects, answers ARP for the VIP, and keeps what it is told."""

    weights: tuple[int, int] = (1, 1)
    deadline: float | None = None
    events: list[tuple[float, Event]] = field(default_factory=list)

    def next_deadline(self, now: float) -> float | None:
        return self.deadline

    def handle(self, event: Event, now: float) -> list[Decision]:
        self.events.append((now, event))
        match event:
            case SwitchConnected() if not event.flows:
                return list(self.setup(event.dpid))
            case PacketSeen(purpose=Purpose.ARP):
                return [self.answer(event)]
            case Tick():
                self.deadline = None
        return []

    def setup(self, dpid: int) -> Iterable[Decision]:
        yield SetMeter(dpid, MeterEntry(1, 1000, 100), exists=False)
        if dpid == LEAF_1:
            yield SetGroup(dpid, group(*self.weights), exists=False)
        for each in leaf_1() if dpid == LEAF_1 else plain(dpid):
            yield InstallFlow(dpid, each)

    def answer(self, event: PacketSeen) -> Decision:
        asked = Packet.from_bytes(event.frame).arp
        assert asked is not None
        reply = Packet(asked.sha, VIP_MAC, ETH_ARP)
        reply.arp = Arp(2, VIP_MAC, VIP, asked.sha, asked.spa)
        return SendPacket(event.dpid, reply.to_bytes(), (Output(event.fields["in_port"]),))

    def of(self, kind: type[T]) -> list[T]:
        return [event for _, event in self.events if isinstance(event, kind)]


def running(core: StaticCore | None = None, wiring: Wiring = WIRING, **options: object) -> FakeFabric:
    fabric = FakeFabric(wiring, core or StaticCore(), **options)
    for name in ("near", "far"):
        fabric.hosts[name].listen(MEMBER_PORT, Serve(3000))
    fabric.start()
    fabric.run(0.1)
    return fabric


def connect(fabric: FakeFabric, dst: int = VIP, port: int = VIP_PORT, **options: object) -> Attempt:
    attempt = fabric.hosts["client"].connect(dst, port, fabric.now, **options)
    fabric.settle("client")
    return attempt


def finished(fabric: FakeFabric, within_s: float = 1.0, **options: object) -> Attempt:
    attempt = connect(fabric, **options)
    fabric.run(fabric.now + within_s)
    return attempt


def core_of(fabric: FakeFabric) -> StaticCore:
    assert isinstance(fabric.core, StaticCore)
    return fabric.core


def send(fabric: FakeFabric, *decisions: Decision) -> None:
    fabric._decide(decisions)


def test_connections_through_the_vip_reach_near_and_far_members() -> None:
    fabric = running()
    attempts = [finished(fabric, 0.05) for _ in range(40)]
    assert {attempt.end for attempt in attempts} == {End.CLOSED}
    assert {attempt.received for attempt in attempts} == {3000}
    marks = {one.mark for one in fabric.switches[LEAF_1].tracker.connections(fabric.now)}
    assert marks == {SYN_ACK_SEEN | 1, SYN_ACK_SEEN | 2}
    assert fabric.errors == [] and fabric.warnings == []


def test_only_the_edge_of_the_initiator_tracks() -> None:
    fabric = running()
    finished(fabric)
    tracked = {dpid: len(list(switch.tracker.connections(fabric.now))) for dpid, switch in fabric.switches.items()}
    assert tracked == {LEAF_1: 1, LEAF_2: 0, SPINE: 0}


def test_a_refused_connection_is_seen_with_all_its_evidence() -> None:
    fabric = running(StaticCore(weights=(0, 1)))
    fabric.hosts["far"].refuse(MEMBER_PORT)
    attempt = finished(fabric)
    assert attempt.end is End.REFUSED
    (seen,) = [event for event in core_of(fabric).of(PacketSeen) if event.purpose is Purpose.RESET]
    wanted = {
        "ct_nw_src": CLIENT,
        "ct_nw_dst": VIP,
        "ct_tp_src": attempt.endpoint.port,
        "ct_tp_dst": VIP_PORT,
        "ct_mark": 2,
    }
    assert wanted.items() <= seen.fields.items()
    assert seen.fields["in_port"] == UPLINK and seen.dpid == LEAF_1
    reset = Packet.from_bytes(seen.frame).tcp
    assert reset is not None and reset.ack == (attempt.endpoint.iss + 1) & 0xFFFFFFFF


def test_a_reset_on_accept_is_told_from_a_refusal_by_the_mark() -> None:
    fabric = running(StaticCore(weights=(0, 1)))
    fabric.hosts["far"].listen(MEMBER_PORT, ResetOnAccept())
    assert finished(fabric).end is End.RESET
    seen = [event for event in core_of(fabric).of(PacketSeen) if event.purpose is Purpose.RESET]
    # The abort, and the answer of the closed socket to the request that was under way: two resets, one connection.
    assert [event.fields["ct_mark"] for event in seen] == [SYN_ACK_SEEN | 2] * 2


def test_a_held_refusal_is_redispatched_by_the_retransmitted_syn() -> None:
    fabric = running(StaticCore(weights=(0, 1)))
    fabric.hosts["far"].refuse(MEMBER_PORT)
    held = entry(3, 60, match(**TCP, ct_state=(0x0A, 0x0A), tcp_flags=(RST, RST)), purpose=Purpose.HELD)
    send(fabric, InstallFlow(LEAF_1, held))
    fabric.run(fabric.now + 0.01)
    attempt = finished(fabric, 0.1)
    assert attempt.end is None and attempt.connected is None
    known = Connection(CLIENT, attempt.endpoint.port, VIP, VIP_PORT)
    send(fabric, FlushConnection(LEAF_1, LEAF_1, known), SetGroup(LEAF_1, group(1, 0), exists=True))
    fabric.run(fabric.now + 2)
    assert attempt.end is End.CLOSED and attempt.connected is not None
    assert attempt.connected - attempt.started == pytest.approx(1.0, abs=0.01)
    assert attempt.syns_sent == 2


def test_hosts_reach_each_other_directly() -> None:
    fabric = running()
    ping = fabric.hosts["client"].ping(FAR, fabric.now)
    fabric.settle("client")
    attempt = finished(fabric, dst=FAR, port=MEMBER_PORT)
    assert ping.answered is not None and attempt.end is End.CLOSED


def test_a_cut_link_is_reported_by_both_ends_and_mended_again() -> None:
    fabric = running(StaticCore(weights=(0, 1)))
    link = fabric.link_between(LEAF_1, SPINE)
    fabric.set_link(link, up=False)
    lost = finished(fabric, 0.5)
    assert lost.connected is None
    reported = {(event.dpid, event.port.port_no, event.port.up) for event in core_of(fabric).of(PortChanged)}
    assert reported == {(LEAF_1, UPLINK, False), (SPINE, 1, False)}
    fabric.set_link(link, up=True)
    fabric.run(fabric.now + 5)
    assert lost.end is End.CLOSED, "its SYN was sent again"
    with pytest.raises(KeyError):
        fabric.link_between(LEAF_1, LEAF_2)


def test_a_link_may_lose_silently() -> None:
    fabric = running(StaticCore(weights=(0, 1)))
    for direction in fabric.directions(fabric.link_between(LEAF_1, SPINE)):
        direction.loss = 0.1
    attempts = [connect(fabric) for _ in range(30)]
    fabric.run(fabric.now + 120)
    assert {attempt.end for attempt in attempts} == {End.CLOSED}
    assert max(attempt.syns_sent for attempt in attempts) > 1
    assert core_of(fabric).of(PortChanged) == []


def test_a_restarted_switch_lost_everything_and_is_set_up_again() -> None:
    fabric = running()
    fabric.restart_switch(LEAF_1, downtime_s=0.3)
    fabric.run(fabric.now + 0.2)
    assert fabric.switches[LEAF_1].installed(fabric.now) == []
    fabric.run(fabric.now + 0.2)
    (gone,) = core_of(fabric).of(SwitchDisconnected)
    back = core_of(fabric).of(SwitchConnected)[-1]
    assert gone.dpid == back.dpid == LEAF_1
    assert (back.flows, back.groups, back.meters) == (frozenset(), frozenset(), frozenset())
    assert all(port.up for port in back.ports)
    assert finished(fabric).end is End.CLOSED


def test_the_data_plane_outlives_the_controller() -> None:
    fabric = running()
    assert finished(fabric).end is End.CLOSED
    send(fabric, Persist("pools", "web", {"weight": 3}), Persist("pools", "old", 1), Persist("pools", "old", None))
    fabric.controller_leaves()
    assert finished(fabric).end is End.CLOSED
    returned = StaticCore()
    fabric.controller_returns(returned)
    fabric.run(fabric.now + 0.1)
    assert returned.events[0][1] == Restored({"pools": {"web": {"weight": 3}}})
    connected = {event.dpid: event for event in returned.of(SwitchConnected)}
    assert set(connected) == {LEAF_1, LEAF_2, SPINE}
    assert connected[LEAF_1].flows == {(each.table_id, each.cookie) for each in leaf_1()}
    assert (connected[LEAF_1].groups, connected[LEAF_1].meters) == ({GROUP}, {1})


def test_what_is_under_way_when_the_controller_leaves_is_lost() -> None:
    fabric = running()
    send(fabric, InstallFlow(LEAF_2, entry(0, 99, match())), Barrier(LEAF_2, 1))
    fabric.controller_leaves()
    fabric.run(fabric.now + 1)
    assert all(each.priority != 99 for each in fabric.switches[LEAF_2].installed(fabric.now))


def test_decisions_and_events_take_the_time_of_the_channel_and_keep_their_order() -> None:
    fabric = running(channel_delay_s=0.25)
    fabric.run(1.0)
    sent = fabric.now
    send(fabric, Barrier(LEAF_1, 1), RequestCounters(LEAF_1, 3), Barrier(LEAF_1, 2), Announce("incident", "text", {}))
    assert [announced.kind for _, announced in fabric.announcements] == ["incident"]
    fabric.run(sent + 1)
    answers = [(now, event) for now, event in core_of(fabric).events if isinstance(event, BarrierReplied | FlowCounted)]
    assert [now - sent for now, _ in answers] == [pytest.approx(0.5)] * 3
    assert [type(event) for _, event in answers] == [BarrierReplied, FlowCounted, BarrierReplied]


def test_counters_are_by_cookie() -> None:
    fabric = running()
    finished(fabric)
    send(fabric, RequestCounters(LEAF_1, 3))
    fabric.run(fabric.now + 0.1)
    (counted,) = core_of(fabric).of(FlowCounted)
    syn_ack = next(each for each in leaf_1() if each.table_id == 3 and each.priority == 30)
    assert (counted.table_id, counted.packets[syn_ack.cookie]) == (3, 1)


def test_a_refused_decision_is_kept_and_told() -> None:
    fabric = running()
    send(fabric, InstallFlow(LEAF_1, entry(0, 1, match(tcp_dst=80))))
    fabric.run(fabric.now + 0.1)
    (refused,) = core_of(fabric).of(SwitchRefused)
    assert (refused.dpid, refused.error_type, refused.code) == (LEAF_1, 4, 9)
    assert [error.error.name for error in fabric.errors] == ["OFPBMC_BAD_PREREQ"]


def test_the_core_is_ticked_when_it_wants_to_be() -> None:
    core = StaticCore(deadline=0.7)
    running(core).run(5.0)
    assert [now for now, event in core.events if isinstance(event, Tick)] == [0.7]


def test_a_core_that_is_never_done_is_an_error() -> None:
    class Restless(StaticCore):
        def next_deadline(self, now: float) -> float | None:
            return 0.0

    with pytest.raises(RuntimeError, match="never done"):
        running(Restless())


def test_the_same_seed_repeats_everything() -> None:
    def history(seed: int) -> list[tuple[float, str]]:
        fabric = running(seed=seed)
        fabric.hosts["far"].refuse(MEMBER_PORT)
        attempts = [finished(fabric, 0.05) for _ in range(10)]
        return [(attempt.ended or 0.0, f"{attempt.end} {attempt.endpoint.port}") for attempt in attempts]

    assert history(1) == history(1) != history(2)


def test_a_slow_link_delays_and_a_full_queue_drops() -> None:
    direction = Direction(Speed(delay_s=0.001, rate_bps=8e6, queue_frames=2), random.Random(1))
    arrivals = [direction.carry(1000, 0.0) for _ in range(5)]
    assert arrivals[:3] == [pytest.approx(at) for at in (0.002, 0.003, 0.004)]
    assert arrivals[3:] == [None, None] and direction.dropped == 2
    assert direction.carry(1000, 0.0025) is not None


def test_a_mininet_topology_becomes_the_same_fabric() -> None:
    pytest.importorskip("mininet")
    from topologies.leaf_spine import LeafSpineTopo

    wiring = Wiring.of(LeafSpineTopo(spines=2, leaves=3, hosts=2, fabric_mbit=10))
    assert {host.name for host in wiring.hosts} == {f"h{number}" for number in range(1, 7)}
    assert next(host for host in wiring.hosts if host.name == "h3").address == 0x0A000201
    assert wiring.ports()[0x101] == {1, 2, 3, 4} and wiring.ports()[0x201] == {1, 2, 3}
    assert len(wiring.links) == 6 and {link.speed.rate_bps for link in wiring.links} == {10e6}
