"""Connections that outlived their switch: its tracker came back empty, and both ends go on talking.

For a while what belongs to no known connection comes up. Whose it is only the member knows, since shares may have changed since it began: a
client's segment is shown to every member of its VIP. Who has the connection answers; the others refuse what they do not know, in their own
name, and there no client listens. The answer has the tracker commit the connection as its client opened it, by a segment one number too old
(as a keep-alive's, RFC 9293 §3.8.4) that the member only acknowledges.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller import frames
from controller.addresses import Fields, family_of
from controller.decisions import Decision, InstallFlow, SendPacket
from controller.events import PacketSeen
from controller.flows import TO_TABLE, Connection, Ct, FlowEntry, Nat, Output, Punt, Purpose, SetField
from controller.pipeline import (
    ACK,
    FIN,
    FROM_FABRIC,
    FROM_HOST,
    MARK_ALL,
    NEW,
    RST,
    SYN,
    SYN_ACK_SEEN,
    TCP,
    Meter,
    Table,
    mark,
)  # fmt: skip
from controller.resets import tuple_of
from controller.segments import Segment
from controller.topology import Topology

GRACE_S = 60
"""How long a switch that came back empty takes connections up."""
ASKED_AGAIN_S = 0.15
"""A segment that is sent again sooner needs no second question: the shortest retransmission time-out of Linux is 200 ms."""
ANSWERED_S = 5.0
MAX_ASKED = 4096
COPIES_PER_S = 5_000
"""Of clients' segments to members: a flood of stray ones must not become a larger one."""
_WINDOW = 0xFFFF


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
        here = [client for client in clients if family_of(client) is family]
        answer: Fields = {**unknown, "src": member, "tcp_src": port}
        arrivals = [
            family.match(**answer, reg0=FROM_FABRIC),
            *(family.match(**answer, reg0=FROM_HOST, dst=client) for client in here),
        ]
        for fields in arrivals:
            yield FlowEntry(Table.FIREWALL, 78, fields, Purpose.PICKED_UP, punt, hard_timeout_s=GRACE_S)


class Pickup:
    """Whose connections are asked for, the longest ago first; bounded, as the questions are."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._to_vip: dict[tuple[int, int], list[Way]] = {}
        self._from_member: dict[tuple[int, int], list[Way]] = {}
        self._asked: OrderedDict[Connection, float] = OrderedDict()
        self._copies, self._since = 0, float("-inf")

    def begin(self, dpid: int, ways: Iterable[Way]) -> list[Decision]:
        """A switch came back without an entry of ours, so without connections too."""
        clients = [host.ip for host in self.topology.hosts_at(dpid)]
        if not clients:
            return []
        ways = list(ways)
        self._to_vip, self._from_member = {}, {}
        for way in ways:
            self._to_vip.setdefault((way.vip, way.vip_port), []).append(way)
            self._from_member.setdefault((way.member, way.member_port), []).append(way)
        return [InstallFlow(dpid, entry) for entry in entries(ways, clients)]

    def on_segment(self, event: PacketSeen, segment: Segment, zone: int, now: float) -> list[Decision]:
        """A segment of a connection that the tracker does not know, from either end."""
        seen = tuple_of(segment)
        to_vip = self._to_vip.get((seen.dst, seen.dst_port))
        if to_vip is not None:
            return self._ask(event, seen, to_vip, now)
        leading = self._from_member.get((seen.src, seen.src_port), [])
        for way in leading:
            opened = Connection(seen.dst, seen.dst_port, way.vip, way.vip_port)
            # Where two VIPs lead to one member, its answer alone does not say by which the client came.
            if now - self._asked.get(opened, float("-inf")) <= ANSWERED_S or len(leading) == 1:
                return self._commit(event, segment, opened, way, zone)
        return []

    def _ask(self, event: PacketSeen, seen: Connection, ways: list[Way], now: float) -> list[Decision]:
        if now - self._asked.get(seen, float("-inf")) < ASKED_AGAIN_S:
            return []
        self._asked[seen] = now
        self._asked.move_to_end(seen)
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
        if now - self._since >= 1.0:
            self._copies, self._since = 0, now
        if self._copies + len(ways) > COPIES_PER_S:
            return []
        self._copies += len(ways)
        in_port, address = event.fields.get("in_port", 0), family_of(seen.dst).dst
        return [
            SendPacket(
                event.dpid,
                event.frame,
                (SetField(address, way.member), SetField("tcp_dst", way.member_port), Output(TO_TABLE)),
                in_port,
            )
            for way in ways
        ]

    def _commit(self, event: PacketSeen, segment: Segment, opened: Connection, way: Way, zone: int) -> list[Decision]:
        """The connection as its client opened it, and the member's segment once more, which is known then."""
        client = self.topology.hosts.get(opened.src)
        if client is None or client.dpid != event.dpid:
            return []
        value = mark(way.vip_number, way.member_number, redispatch=False) | SYN_ACK_SEEN
        nat = Nat("dst", way.member, (way.member_port, way.member_port))
        commit = Ct(zone, Table.ROUTE, commit=True, nat=nat, mark=(value, MARK_ALL))
        old = frames.Tcp(*opened[:4], ACK, segment.ack - 1, segment.seq, _WINDOW)
        frame = frames.tcp(old, frames.vip_mac(opened.dst), client.mac)
        return [
            SendPacket(event.dpid, frame, (commit,), client.port_no),
            SendPacket(event.dpid, event.frame, (Output(TO_TABLE),), event.fields.get("in_port", 0)),
        ]
