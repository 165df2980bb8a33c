"""What switches do as the hosts' default router: the TTL, the gateways' own addresses, and what has nowhere to go.

Whether a packet leaves its sender's subnet is judged by the addresses the sender wrote, before any translation: so a connection loses
the same from its TTL in all of its packets, whichever member it is given, and an ICMP error quotes what the sender sent. It is judged
at the packet's first edge and nowhere else. With no subnets there is none of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.addresses import FAMILIES, V4, V6, Family, family_of
from controller.balance import echo
from controller.flows import DecTtl, FlowEntry, MaskedValue, Punt, Purpose, Resubmit, SetField
from controller.pipeline import ROUTED, TCP, UDP, Meter, Table
from controller.subnets import Routed, Subnets

QUOTED_BYTES = {V4: 14 + 576 - 20 - 8, V6: 14 + 1280 - 40 - 8}
"""As much of a packet as an ICMP error may quote, with its Ethernet header (RFC 1812 §4.3.2.3, RFC 4443 §2.4)."""
WHOLE = 0xFFFF

MARTIANS: dict[Family, tuple[MaskedValue, ...]] = {
    # RFC 1812 §5.3.7: "this network", loopback, multicast (not routed here), class E with limited broadcast.
    V4: ((0, 0xFF << 24), (0x7F << 24, 0xFF << 24), (0xE << 28, 0xF << 28), (0xF << 28, 0xF << 28)),
    # RFC 4291 §2.7: multicast. The unspecified address and loopback are in no subnet, and no route leads there.
    V6: ((0xFF << 120, 0xFF << 120),),
}
_ON = (Resubmit(Table.TRACK),)
LINK_LOCAL: MaskedValue = (0xFE80 << 112, 0xFFC0 << 112)


def leaving(subnets: Subnets) -> Iterator[FlowEntry]:
    """Table 16: what leaves its sender's subnet loses one from its TTL, or is shown to the controller when none is left."""
    for family in FAMILIES:
        routed = [subnet for subnet in subnets.all if family_of(subnet.last) is family]
        if routed:
            yield from _leaving(family, routed)
        else:
            yield FlowEntry(Table.LEAVE, 10, family.match(), Purpose.ROUTE, _ON)


def _leaving(family: Family, subnets: list[Routed]) -> Iterator[FlowEntry]:
    # Directed broadcasts are not forwarded (RFC 2644).
    unusable = [(address, (1 << family.bits) - 1) for subnet in subnets for address in subnet.unusable]
    for nowhere in (*MARTIANS[family], *unusable):
        yield FlowEntry(Table.LEAVE, 50, family.match(dst=nowhere), Purpose.ROUTE)
    for subnet in subnets:
        stays = family.match(src=subnet.prefix, dst=subnet.prefix)
        yield FlowEntry(Table.LEAVE, 40, stays, Purpose.ROUTE, _ON)
        # What is for the router itself is not forwarded, so its TTL is not looked at.
        yield FlowEntry(Table.LEAVE, 40, family.match(dst=subnet.gateway), Purpose.ROUTE, _ON)
    if family is V6:
        # Link-local addresses mean something on their own link only (RFC 4291 §2.5.6).
        yield FlowEntry(Table.LEAVE, 40, family.match(dst=LINK_LOCAL), Purpose.ROUTE, _ON)
        yield FlowEntry(Table.LEAVE, 30, family.match(src=LINK_LOCAL), Purpose.ROUTE)
    for ttl in (0, 1):
        punt = Punt(Meter.ROUTER, QUOTED_BYTES[family])
        yield FlowEntry(Table.LEAVE, 20, family.match(nw_ttl=ttl), Purpose.EXPIRED, (punt,))
    yield FlowEntry(Table.LEAVE, 10, family.match(), Purpose.ROUTE, (SetField("reg2", ROUTED), DecTtl(), *_ON))


def addressed(subnets: Subnets) -> Iterator[FlowEntry]:
    """Table 5: what the gateways themselves are sent. Echoes outlive the controller; what nobody listens for it refuses."""
    for address in subnets.gateways:
        yield echo(address, Table.ROUTE, 45)
        family = family_of(address)
        for protocol in (TCP, UDP):
            punt = Punt(Meter.ROUTER, QUOTED_BYTES[family])
            yield FlowEntry(Table.ROUTE, 43, family.match(ip_proto=protocol, dst=address), Purpose.GATEWAY, (punt,))


def nowhere_to_go(subnets: Subnets, vips: Iterable[int]) -> Iterator[FlowEntry]:
    """Table 5, below every host: addresses that may yet be found by ARP, and those that are in no subnet."""
    for address in (*subnets.gateways, *vips):
        # Strays to the fabric's own addresses: there is nobody to ask for.
        yield FlowEntry(Table.ROUTE, 40, family_of(address).match(dst=address), Purpose.ROUTE)
    for subnet in subnets.all:
        unknown = family_of(subnet.last).match(reg2=ROUTED, dst=subnet.prefix)
        yield FlowEntry(Table.ROUTE, 10, unknown, Purpose.UNKNOWN_HOST, (Punt(Meter.ROUTER, WHOLE),))
    for family in FAMILIES:
        punt = Punt(Meter.ROUTER, QUOTED_BYTES[family])
        yield FlowEntry(Table.ROUTE, 5, family.match(reg2=ROUTED), Purpose.NO_ROUTE, (punt,))
