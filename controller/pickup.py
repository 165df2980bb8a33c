"""Connections that outlived their switch: its tracker came back empty, and both ends go on talking.

For a while what belongs to no known connection comes up. Whose it is only the member knows, since shares may have changed since it began.
So every member of the VIP is asked by a segment one number too old (a keep-alive, RFC 9293 §3.8.4): the one that has the connection
acknowledges it, and the client's own segment then commits it, as it was opened. The others refuse what they do not know, in their own
name, and there no client listens. What a member sends first is shown to the client as its VIP's: a client that has the connection
acknowledges it.

To a member a connection to its own address looks the same; the client's segments tell the two apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller import frames
from controller.addresses import Fields, family_of
from controller.decisions import Decision, InstallFlow, SendPacket, SetMeter
from controller.events import PacketSeen
from controller.flows import (
    TO_TABLE,
    Connection,
    Ct,
    FlowEntry,
    MeterEntry,
    Nat,
    Output,
    Punt,
    Purpose,
    Resubmit,
    SetField,
)
from controller.pipeline import (
    ACK,
    FIN,
    FROM_FABRIC,
    FROM_HOST,
    KNOWN,
    MARK_ALL,
    METER_RATES,
    NEW,
    RST,
    SYN,
    SYN_ACK_SEEN,
    TCP,
    Meter,
    Table,
    mark,
)  # fmt: skip
from controller.reconcile import Installed
from controller.resets import tuple_of
from controller.segments import Segment
from controller.topology import Topology

METER = MeterEntry(Meter.PICK_UP, *METER_RATES[Meter.PICK_UP])
GRACE_S = 60
"""How long a switch that came back empty takes connections up."""
ASKED_AGAIN_S = 0.15
"""A segment that is sent again sooner needs no second question: the shortest retransmission time-out of Linux is 200 ms."""
ANSWERED_S = 5.0
MAX_ASKED = 4096
"""A segment has up to 1.5 kB, so this is 6 MB."""
LARGEST_WINDOW = 1 << 24
"""Octets under way, of either end: more than Linux has by itself."""
COPIES_PER_S = 5_000
"""Of questions, and of members' segments to clients: a flood of stray ones must not become a larger one."""


class Way(NamedTuple):
    """One way into a VIP: addresses and ports of it and of a member, and the numbers that stand for them in `ct_mark`."""

    vip: int
    vip_port: int
    member: int
    member_port: int
    vip_number: int
    member_number: int


def entries(ways: Iterable[Way], clients: Iterable[int]) -> Iterator[FlowEntry]:
    """What belongs to no known connection, to a VIP or from a member to one of `clients` (the addresses attached here), comes up."""
    ways, clients = list(ways), list(clients)
    unknown: Fields = {"ip_proto": TCP, "ct_state": (NEW, NEW), "tcp_flags": (0, SYN | RST | FIN)}
    punt = (Punt(Meter.PICK_UP, max_len=0xFFFF),)
    for vip, port in dict.fromkeys((way.vip, way.vip_port) for way in ways):
        asking = family_of(vip).match(**unknown, dst=vip, tcp_dst=port, reg0=FROM_HOST)
        yield FlowEntry(Table.FIREWALL, 76, asking, Purpose.PICKED_UP, punt, hard_timeout_s=GRACE_S)
    for member, port in dict.fromkeys((way.member, way.member_port) for way in ways):
        family = family_of(member)
        direct = family.match(**unknown, dst=member, tcp_dst=port, reg0=FROM_HOST)
        yield FlowEntry(Table.FIREWALL, 77, direct, Purpose.PICKED_UP, punt, hard_timeout_s=GRACE_S)
        here = [client for client in clients if family_of(client) is family]
        answer: Fields = {**unknown, "src": member, "tcp_src": port}
        arrivals = [
            family.match(**answer, reg0=FROM_FABRIC),
            *(family.match(**answer, reg0=FROM_HOST, dst=client) for client in here),
        ]
        for fields in arrivals:
            yield FlowEntry(Table.FIREWALL, 78, fields, Purpose.PICKED_UP, punt, hard_timeout_s=GRACE_S)


class Asked(NamedTuple):
    """A client's segment that waits for a member to answer."""

    at: float
    dpid: int
    in_port: int
    seq: int
    ack: int
    frame: bytes

    def is_answered_by(self, segment: Segment) -> bool:
        """Whether a segment goes on where the client is: what a member in TIME-WAIT acknowledges is of an older connection."""
        return (segment.ack - self.seq) % (1 << 32) < LARGEST_WINDOW > (segment.seq - self.ack) % (1 << 32)


class Pickup:
    """Whose connections are asked for, the longest ago first; bounded, as the questions are."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.asked: OrderedDict[Connection, Asked] = OrderedDict()
        self._to_vip: dict[tuple[int, int], list[Way]] = {}
        self._from_member: dict[tuple[int, int], list[Way]] = {}
        self._copies, self._since = 0, float("-inf")

    def begin(self, dpid: int, ways: Iterable[Way], installed: Installed) -> list[Decision]:
        """A switch came back without an entry of ours, so without connections too; `installed` follows what it is told first."""
        clients = [host.ip for host in self.topology.hosts_at(dpid)]
        if not clients:
            return []
        ways = list(ways)
        self._to_vip, self._from_member = {}, {}
        for way in ways:
            self._to_vip.setdefault((way.vip, way.vip_port), []).append(way)
            self._from_member.setdefault((way.member, way.member_port), []).append(way)
        # A switch takes a punt whose meter is not there yet, and never polices it.
        meter = SetMeter(dpid, METER, exists=METER.meter_id in installed.meters)
        installed.meters[METER.meter_id] = METER
        return [meter, *(InstallFlow(dpid, entry) for entry in entries(ways, clients))]

    def on_segment(self, event: PacketSeen, segment: Segment, zone: int, now: float) -> list[Decision]:
        """A segment of a connection that the tracker does not know, from either end."""
        seen = tuple_of(segment)
        to_vip = self._to_vip.get((seen.dst, seen.dst_port))
        if to_vip is not None:
            return self._ask(event, segment, to_vip, now)
        ways = self._from_member.get((seen.src, seen.src_port), [])
        waits = False
        for way in ways:
            opened = Connection(seen.dst, seen.dst_port, way.vip, way.vip_port)
            asked = self.asked.get(opened)
            if asked is None or asked.dpid != event.dpid or now - asked.at > ANSWERED_S:
                continue
            if asked.is_answered_by(segment):
                del self.asked[opened]
                return [_commit(asked, way, zone), _again(event)]
            waits = True
        if waits:
            return []
        if (seen.dst, seen.dst_port) in self._from_member:
            return [_commit_direct(event, zone)]
        return self._show_client(event, seen, ways, now)

    def _ask(self, event: PacketSeen, segment: Segment, ways: list[Way], now: float) -> list[Decision]:
        """Every member whether it has the connection of a client's segment."""
        opened, in_port = tuple_of(segment), event.fields.get("in_port", 0)
        asked = self.asked.get(opened)
        if (asked is not None and now - asked.at < ASKED_AGAIN_S) or not self._affords(len(ways), now):
            return []
        self.asked[opened] = Asked(now, event.dpid, in_port, segment.seq, segment.ack, event.frame)
        self.asked.move_to_end(opened)
        if len(self.asked) > MAX_ASKED:
            self.asked.popitem(last=False)
        macs = frames.vip_mac(opened.dst), int.from_bytes(segment.eth_src)
        client = opened.src, opened.src_port
        questions = (
            frames.Tcp(*client, way.member, way.member_port, ACK, segment.seq - 1, segment.ack, segment.window)
            for way in ways
        )
        onward = (Resubmit(Table.ROUTE),)
        return [SendPacket(event.dpid, frames.tcp(question, *macs), onward, in_port) for question in questions]

    def _show_client(self, event: PacketSeen, seen: Connection, ways: list[Way], now: float) -> list[Decision]:
        """A member's segment as each VIP's that leads to it: of the connection that it has, the client acknowledges it."""
        client = self.topology.hosts.get(seen.dst)
        if client is None or client.dpid != event.dpid or not self._affords(len(ways), now):
            return []
        source, to_client = family_of(seen.src).src, (SetField("eth_dst", client.mac), Output(client.port_no))
        return [
            SendPacket(
                event.dpid,
                event.frame,
                (SetField(source, way.vip), SetField("tcp_src", way.vip_port), *to_client),
                event.fields.get("in_port", 0),
            )
            for way in ways
        ]

    def _affords(self, copies: int, now: float) -> bool:
        if now - self._since >= 1.0:
            self._copies, self._since = 0, now
        if self._copies + copies > COPIES_PER_S:
            return False
        self._copies += copies
        return True


def _commit(asked: Asked, way: Way, zone: int) -> Decision:
    """The connection as its client opened it, by its own segment."""
    value = mark(way.vip_number, way.member_number, redispatch=False) | SYN_ACK_SEEN
    nat = Nat("dst", way.member, (way.member_port, way.member_port))
    commit = Ct(zone, Table.ROUTE, commit=True, nat=nat, mark=(value, MARK_ALL))
    return SendPacket(asked.dpid, asked.frame, (commit,), asked.in_port)


def _commit_direct(event: PacketSeen, zone: int) -> Decision:
    """A client's segment to a member's own address: its connection leads to no VIP."""
    commit = Ct(zone, Table.ROUTE, commit=True, mark=(KNOWN | SYN_ACK_SEEN, MARK_ALL))
    return SendPacket(event.dpid, event.frame, (commit,), event.fields.get("in_port", 0))


def _again(event: PacketSeen) -> Decision:
    """The member's segment, which is known by now."""
    return SendPacket(event.dpid, event.frame, (Output(TO_TABLE),), event.fields.get("in_port", 0))
