"""Table 5: the way to each host, and what happens on the way when a link dies before the controller knows.

At a packet's first switch its destination MAC becomes the *edge MAC* of the switch it is for; switches in between look at nothing
else, and the last one writes the host's own MAC. Per destination switch E a switch holds up to three kinds of group:

- transit T(E): for what comes from the fabric: the shortest ways; when the only one is dead, back to where it came from;
- ingress I(E): for what local hosts send: the shortest ways, else any other port;
- bounced B(E, port): for what came in by a port that itself is a shortest way to E, so somebody sent it back: the other ways.

Each bounce takes one from the TTL, so even two failures at once cannot make a packet circle for long.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows import (
    IN_PORT,
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
from controller.paths import FULL, Paths
from controller.pipeline import IPV4, KNOWN, TCP, VIP_MASK, VIP_SHIFT, Table
from controller.topology import Host

TRANSIT, INGRESS, BOUNCED = 0x2000_0000, 0x3000_0000, 0x4000_0000
HAIRPIN_ZONE = 0x8000
HAIRPIN_PORTS = (1024, 60999)


def _bucket(port: int, actions: tuple[Action, ...], weight: int = 0) -> Bucket:
    return Bucket(actions, weight, watch_port=port)


def _spread(group_id: int, shares: dict[int, int], extra: tuple[Action, ...] = ()) -> GroupEntry:
    """Over all ports that are alive, by hash and share."""
    buckets = (_bucket(port, (*extra, Output(port)), share) for port, share in shares.items())
    return GroupEntry(group_id, "select", tuple(buckets))


def _first_alive(group_id: int, ports: list[int], others: list[int], back: list[int]) -> GroupEntry:
    """The first port alive; then the deflections in order: out of another port, or back through whichever port is left to watch."""
    buckets = [_bucket(port, (Output(port),)) for port in ports]
    buckets += [_bucket(port, (DecTtl(), Output(port))) for port in others]
    buckets += [_bucket(port, (DecTtl(), Output(IN_PORT))) for port in back]
    return GroupEntry(group_id, "fast-failover", tuple(buckets))


class Routes:
    """The route table's entries and groups of one switch."""

    def __init__(self, paths: Paths, dpid: int) -> None:
        self.paths = paths
        self.topology = topology = paths.topology
        self.switch = topology.switches[dpid]
        self.zones = {edge: topology.switches[edge].zone for edge in topology.edges() if edge != dpid}

    def groups(self) -> Iterator[GroupEntry]:
        """Every group the entries below refer to."""
        for edge, zone in self.zones.items():
            shortest, others = self.topology.next_hops(self.switch.dpid, edge)
            if not shortest:
                continue
            if len(shortest) > 1:
                shares = self.paths.shares(self.switch.dpid, edge, shortest)
                yield _spread(TRANSIT | zone, shares)
                yield _spread(INGRESS | zone, shares)
            else:
                yield _first_alive(TRANSIT | zone, shortest, [], others)
                yield _first_alive(INGRESS | zone, shortest, others, [])
            for came_from in shortest:
                yield self._bounced(zone, came_from, shortest, others)

    def _bounced(self, zone: int, came_from: int, shortest: list[int], others: list[int]) -> GroupEntry:
        group_id = BOUNCED | came_from << 16 | zone
        rest = [port for port in shortest if port != came_from]
        if len(rest) > 1:
            return _spread(group_id, dict.fromkeys(rest, FULL), (DecTtl(),))
        return _first_alive(group_id, [], rest + others, [came_from])

    def entries(self) -> Iterator[FlowEntry]:
        """Local hosts, remote hosts and transit."""
        for host in self.topology.hosts_at(self.switch.dpid):
            yield from self._local(host)
        for host in self.topology.hosts.values():
            zone = self.zones.get(host.dpid)
            if zone is not None and self.topology.next_hops(self.switch.dpid, host.dpid)[0]:
                actions = (SetField("eth_dst", edge_mac(zone)), ToGroup(INGRESS | zone))
                yield FlowEntry(Table.ROUTE, 20, match(eth_type=IPV4, ipv4_dst=host.ip), Purpose.ROUTE, actions)
        for edge, zone in self.zones.items():
            shortest, _ = self.topology.next_hops(self.switch.dpid, edge)
            for port in shortest:
                fields = match(in_port=port, eth_type=IPV4, eth_dst=edge_mac(zone))
                yield FlowEntry(Table.ROUTE, 60, fields, Purpose.ROUTE, (ToGroup(BOUNCED | port << 16 | zone),))
            if shortest:
                fields = match(eth_type=IPV4, eth_dst=edge_mac(zone))
                yield FlowEntry(Table.ROUTE, 50, fields, Purpose.ROUTE, (ToGroup(TRANSIT | zone),))

    def _local(self, host: Host) -> Iterator[FlowEntry]:
        to_host = match(eth_type=IPV4, ipv4_dst=host.ip)
        yield FlowEntry(Table.ROUTE, 30, to_host, Purpose.ROUTE, (SetField("eth_dst", host.mac), Output(host.port_no)))
        # Back out of the port it came in by: a neighbour behind the same port, or the host itself (hairpin).
        same_port = match(in_port=host.port_no, eth_type=IPV4, ipv4_dst=host.ip)
        actions = (SetField("eth_dst", host.mac), SetField("eth_src", CONTROLLER_MAC), Output(IN_PORT))
        yield FlowEntry(Table.ROUTE, 31, same_port, Purpose.ROUTE, actions)

    def hairpin(self, member: Host, port: int, vip_address: int, vip: int) -> Iterator[FlowEntry]:
        """A member that reached itself by a VIP: its packet gets the VIP for a source, or it would answer itself directly.

        The second translation has a zone of its own, and its replies meet it before the first (table 1).
        """
        zone = self.switch.zone | HAIRPIN_ZONE
        pinned = (KNOWN | vip << VIP_SHIFT, KNOWN | VIP_MASK)
        itself = match(
            eth_type=IPV4, ip_proto=TCP, ipv4_src=member.ip, ipv4_dst=member.ip, tcp_dst=port, ct_mark=pinned
        )
        source = Ct(zone, Table.ROUTE, commit=True, nat=Nat("src", vip_address, HAIRPIN_PORTS))
        yield FlowEntry(Table.ROUTE, 90, itself, Purpose.ROUTE, (source,))
        # A packet that just had a stage bit set has no mark to match any more; its second translation is known by then.
        later = match(eth_type=IPV4, ip_proto=TCP, ipv4_src=member.ip, ipv4_dst=member.ip, tcp_dst=port)
        yield FlowEntry(Table.ROUTE, 80, later, Purpose.ROUTE, (Ct(zone, Table.ROUTE, nat=Nat()),))
        reply = match(eth_type=IPV4, ip_proto=TCP, ipv4_src=member.ip, tcp_src=port, ipv4_dst=vip_address)
        yield FlowEntry(Table.TRACK, 20, reply, Purpose.TRACK, (Ct(zone, Table.TRACK, nat=Nat()),))
