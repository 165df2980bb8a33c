"""Table 5: the way to each host, and what happens on the way when a link dies before the controller knows.

At a packet's first switch its destination MAC becomes the *edge MAC* of the switch it is for; switches in between look at nothing
else, and the last one writes the host's own MAC. Every switch has three ways to a destination switch, each with an edge MAC of its own:
the shortest ones, and two detours (`detours.py`). A switch whose shortest ways are dead writes the MAC of the detour that does not
begin with a dead link, and from there on the packet stays on that detour. So any one cut is survived at once and without the controller.

Each change of ways takes one from the TTL, so even with several cuts at once no packet circles for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from controller.addresses import FAMILIES, family_of
from controller.elephants import Pin
from controller.flows import (
    IN_PORT,
    KEPT_ENTRIES,
    Action,
    Bucket,
    Ct,
    DecTtl,
    FlowEntry,
    GroupEntry,
    Nat,
    Output,
    Purpose,
    SetField,
    ToGroup,
    match,
)
from controller.frames import CONTROLLER_MAC, edge_mac
from controller.parts import part_of
from controller.paths import Paths
from controller.pipeline import KNOWN, TCP, VIP_MASK, VIP_SHIFT, Table
from controller.reconcile import Wanted
from controller.topology import Host

SHORTEST, SHORTEST_OR_BACK = 0x2000_0000, 0x3000_0000
DETOUR, DETOUR_OR_BACK = 0x4000_0000, 0x5000_0000
PINNED = 0x6000_0000
"""Group ids: one of these, the number of the detour (or the port of pinned flows) from bit 16 on, the zone of the destination switch."""
HAIRPIN_ZONE = 0x8000
HAIRPIN_PORTS = (1024, 60999)


def _bucket(port: int, actions: tuple[Action, ...], weight: int = 0) -> Bucket:
    return Bucket(actions, weight, watch_port=port)


def _group(kind: int, zone: int, detour: int = 0) -> int:
    return kind | detour << 16 | zone


class Ways(NamedTuple):
    """How a switch reaches another: by which ports shortest, and by which on detours 1 and 2 (the same port: no way round)."""

    zone: int
    shortest: tuple[int, ...]
    shares: tuple[int, ...]
    """Of the shortest, in their order."""
    detours: tuple[int, int]

    def round(self, port_no: int) -> tuple[int, int] | None:
        """(number, port) of the detour that does not begin with a port."""
        return next(((way, port) for way, port in enumerate(self.detours, 1) if port != port_no), None)

    def onto(self, detour: int) -> tuple[Action, ...]:
        """What puts a packet on a detour."""
        return DecTtl(), SetField("eth_dst", edge_mac(self.zone, detour))

    def either(self, kind: int, kind_or_back: int, port_no: int, number: int = 0) -> Iterator[GroupEntry]:
        """A port while it is alive, else the detour round it; once more for packets that came in where that detour begins."""
        direct = _bucket(port_no, (Output(port_no),))
        way = self.round(port_no)
        if way is None:
            yield GroupEntry(_group(kind, self.zone, number), "fast-failover", (direct,))
            return
        detour, port = way
        for group, out in ((kind, port), (kind_or_back, IN_PORT)):
            round_it = _bucket(port, (*self.onto(detour), Output(out)))
            yield GroupEntry(_group(group, self.zone, number), "fast-failover", (direct, round_it))


def _onward(eth_dst: int, *actions: Action, in_port: int | None = None) -> Iterator[FlowEntry]:
    """What packets on a way do next; a switch sends nothing back by its number where it came in, so that is a matter of its own."""
    for family in FAMILIES:
        if in_port is None:
            yield FlowEntry(Table.ROUTE, 50, family.match(eth_dst=eth_dst), Purpose.ROUTE, actions)
        else:
            fields = family.match(in_port=in_port, eth_dst=eth_dst)
            yield FlowEntry(Table.ROUTE, 60, fields, Purpose.ROUTE, actions)


def ways(paths: Paths, dpid: int) -> dict[int, Ways]:
    """How a switch reaches every edge that there is a way to, by the edge's dpid."""
    topology = paths.topology
    known: dict[int, Ways] = {}
    for edge in topology.edges():
        shortest = topology.next_hops(dpid, edge) if edge != dpid else []
        if shortest:
            shares = tuple(paths.shares(dpid, edge, shortest).values())
            zone = topology.switches[edge].zone
            known[edge] = Ways(zone, tuple(shortest), shares, topology.detour_ports(dpid, edge))
    return known


@lru_cache(maxsize=1 << 16)
def towards(ways: Ways) -> Wanted:
    """What a switch needs to send packets on to another: the same wherever the same ports lead there."""
    return part_of([*_transit(ways), *_groups(ways)])


def _groups(ways: Ways) -> Iterator[GroupEntry]:
    """Every group that the entries of these ways refer to."""
    zone, shortest = ways.zone, ways.shortest
    if len(shortest) > 1:
        shares = zip(shortest, ways.shares, strict=True)
        buckets = (_bucket(port, (Output(port),), share) for port, share in shares)
        yield GroupEntry(_group(SHORTEST, zone), "select", tuple(buckets))
    else:
        yield from ways.either(SHORTEST, SHORTEST_OR_BACK, shortest[0])
    for number, port in enumerate(ways.detours, 1):
        yield from ways.either(DETOUR, DETOUR_OR_BACK, port, number)


def _transit(ways: Ways) -> Iterator[FlowEntry]:
    zone, only = ways.zone, ways.shortest[0] if len(ways.shortest) == 1 else None
    yield from _onward(edge_mac(zone), ToGroup(_group(SHORTEST, zone)))
    for port in ways.shortest:
        # From a switch that is nearer: one of the two does not know yet how the fabric has changed.
        if (way := ways.round(port)) is not None:
            actions = (*ways.onto(way[0]), ToGroup(_group(DETOUR, zone, way[0])))
            yield from _onward(edge_mac(zone), *actions, in_port=port)
    if only is not None and (way := ways.round(only)) is not None:
        yield from _onward(edge_mac(zone), ToGroup(_group(SHORTEST_OR_BACK, zone)), in_port=way[1])
    for number, port in enumerate(ways.detours, 1):
        yield from _onward(edge_mac(zone, number), ToGroup(_group(DETOUR, zone, number)))
        if (way := ways.round(port)) is not None:
            back = ToGroup(_group(DETOUR_OR_BACK, zone, number))
            yield from _onward(edge_mac(zone, number), back, in_port=way[1])


def pinned(
    dpid: int, zone: int, pin: Pin, entered: int | None, ports: Iterable[int]
) -> Iterator[FlowEntry | GroupEntry]:
    """A pinned flow at one switch of its way; another of the shortest `ports` while its own is dead.

    `zone` is the destination switch's, `entered` the sender's port where this is its own switch: elsewhere the packet's MAC says that it
    is on a shortest way, and not on a detour.
    """
    port_no = next(port for switch, port in pin.path if switch == dpid)
    group = _group(PINNED, zone, port_no)
    others = [port for port in ports if port != port_no]
    yield GroupEntry(group, "fast-failover", tuple(_bucket(port, (Output(port),)) for port in (port_no, *others)))
    source, destination = ("tcp_src", "tcp_dst") if pin.flow.protocol == TCP else ("udp_src", "udp_dst")
    place: dict[str, int] = {"eth_dst": edge_mac(zone)} if entered is None else {"in_port": entered}
    ports_of_it = {source: pin.flow.src_port, destination: pin.flow.dst_port}
    family = family_of(pin.flow.src)
    fields = family.match(ip_proto=pin.flow.protocol, src=pin.flow.src, dst=pin.flow.dst, **ports_of_it, **place)
    actions = (SetField("eth_dst", edge_mac(zone)), ToGroup(group))
    yield FlowEntry(Table.ROUTE, 70, fields, Purpose.ROUTE, actions)


def remote(zone: int, hosts: Iterable[Host]) -> Iterator[FlowEntry]:
    """To the hosts of another switch, with this zone."""
    actions = (SetField("eth_dst", edge_mac(zone)), ToGroup(_group(SHORTEST, zone)))
    for host in hosts:
        yield FlowEntry(Table.ROUTE, 20, family_of(host.ip).match(dst=host.ip), Purpose.ROUTE, actions)


@lru_cache(KEPT_ENTRIES)
def local(host: Host) -> tuple[FlowEntry, ...]:
    """To a host of this switch."""
    family = family_of(host.ip)
    to_host = family.match(dst=host.ip)
    straight = SetField("eth_dst", host.mac), Output(host.port_no)
    # Back out of the port it came in by: a neighbour behind the same port, or the host itself (hairpin).
    same_port = family.match(in_port=host.port_no, dst=host.ip)
    back = SetField("eth_dst", host.mac), SetField("eth_src", CONTROLLER_MAC), Output(IN_PORT)
    return (
        FlowEntry(Table.ROUTE, 30, to_host, Purpose.ROUTE, straight),
        FlowEntry(Table.ROUTE, 31, same_port, Purpose.ROUTE, back),
    )


@lru_cache(KEPT_ENTRIES)
def hairpin(zone: int, member: Host, port: int, vip_address: int, vip: int) -> tuple[FlowEntry, ...]:
    """A member that reached itself by a VIP: its packet gets the VIP for a source, or it would answer itself directly.

    The second translation has a zone of its own, and its replies meet it before the first (table 1).
    """
    zone, family = zone | HAIRPIN_ZONE, family_of(member.ip)
    pinned = (KNOWN | vip << VIP_SHIFT, KNOWN | VIP_MASK)
    to_itself = family.fields(ip_proto=TCP, src=member.ip, dst=member.ip, tcp_dst=port)
    source = Ct(zone, Table.ROUTE, commit=True, nat=Nat("src", vip_address, HAIRPIN_PORTS))
    reply = family.match(ip_proto=TCP, src=member.ip, tcp_src=port, dst=vip_address)
    return (
        FlowEntry(Table.ROUTE, 90, match(**to_itself, ct_mark=pinned), Purpose.ROUTE, (source,)),
        # A packet that just had a stage bit set has no mark to match any more; its second translation is known by then.
        FlowEntry(Table.ROUTE, 80, match(**to_itself), Purpose.ROUTE, (Ct(zone, Table.ROUTE, nat=Nat()),)),
        FlowEntry(Table.TRACK, 20, reply, Purpose.TRACK, (Ct(zone, Table.TRACK, nat=Nat()),)),
    )
