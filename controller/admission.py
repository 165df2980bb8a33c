"""Tables 0, 6 and 10: what may enter at which port, and who answers ARP and neighbour discovery.

The source check is the defence against forged resets: a segment that claims a member's address enters at that member's port, or it
is dropped where it enters, counted and mirrored (docs/pipeline.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from controller.addresses import FAMILIES, V6, family_of, is_ipv6
from controller.flows import IN_PORT, KEPT_ENTRIES, FlowEntry, Move, Output, Punt, Purpose, SetField, match
from controller.frames import ARP_REPLY, ARP_REQUEST, CONTROLLER_MAC, EDGE_MASK, edge_mac, vip_mac
from controller.neighbours import CONTROLLER_IPV6, OVERRIDE, SOLICITED, TARGET_MAC
from controller.pipeline import (
    ARP_TYPE,
    FROM_FABRIC,
    FROM_HOST,
    ICMPV6,
    LINK_PROBE_TYPE,
    LLDP_TYPE,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    PROBE_PORTS,
    REDIRECT_MESSAGE,
    ROUTER_ADVERTISEMENT,
    RST,
    TCP,
    Meter,
    Table,
)
from controller.topology import Host

_MULTICAST = (0xFF << 120, 0xFF << 120)


def always() -> Iterator[FlowEntry]:
    """Entries every switch has: LLDP comes to the controller from any port, and where no link is known yet it has a limit of its own."""
    yield FlowEntry(Table.ADMISSION, 90, match(eth_type=LLDP_TYPE), Purpose.LLDP, (Punt(Meter.NEW_LINK),))


def fabric_port(port_no: int, vips: Iterable[int]) -> Iterator[FlowEntry]:
    """Packets from another switch pass through; link probes end here."""
    # Only at ports with a switch behind them: no host can use up the meter.
    link_probe = match(in_port=port_no, eth_type=LINK_PROBE_TYPE)
    yield FlowEntry(Table.ADMISSION, 90, link_probe, Purpose.LINK_PROBE, (Punt(Meter.LINK_PROBE),))
    # A host that floods LLDP must not make the fabric's own links look dead.
    known_link = match(in_port=port_no, eth_type=LLDP_TYPE)
    yield FlowEntry(Table.ADMISSION, 91, known_link, Purpose.LLDP, (Punt(Meter.LLDP),))
    for vip in vips:
        # A VIP answers at the client's own edge and nowhere else, so its address never crosses the fabric.
        yield FlowEntry(Table.ADMISSION, 55, family_of(vip).match(in_port=port_no, src=vip), Purpose.ADMISSION)
    for family in FAMILIES:
        yield FlowEntry(Table.ADMISSION, 30, family.match(in_port=port_no), Purpose.ADMISSION, goto=Table.ROUTE)


def arriving(zone: int, port_no: int) -> Iterator[FlowEntry]:
    """At an edge: packets from another switch that have come to the switch they are for, by whichever way."""
    from_fabric = (SetField("reg0", FROM_FABRIC),)
    for family in FAMILIES:
        for_us = family.match(in_port=port_no, eth_dst=(edge_mac(zone), EDGE_MASK))
        yield FlowEntry(Table.ADMISSION, 31, for_us, Purpose.ADMISSION, from_fabric, goto=Table.TRACK)


def sampled(port_no: int, zone: int | None) -> Iterator[FlowEntry]:
    """A pressed link ends here: some of its packets are shown to the controller. `zone`: the switch's, when it is an edge."""
    show = Punt(Meter.LINK_SAMPLE, max_len=128)
    for family in FAMILIES:
        passing = family.match(in_port=port_no)
        yield FlowEntry(Table.ADMISSION, 32, passing, Purpose.LINK_SAMPLE, (show,), goto=Table.ROUTE)
        if zone is not None:
            for_us = family.match(in_port=port_no, eth_dst=(edge_mac(zone), EDGE_MASK))
            arrived = (show, SetField("reg0", FROM_FABRIC))
            yield FlowEntry(Table.ADMISSION, 33, for_us, Purpose.LINK_SAMPLE, arrived, goto=Table.TRACK)


def host_port(port_no: int) -> Iterator[FlowEntry]:
    """Packets that no source check accepted: unknown stations are shown to the controller, false resets are evidence."""
    counts = ("injected", str(port_no))
    whole_frame = Punt(Meter.LEARN, max_len=0xFFFF)
    for family in FAMILIES:
        false_reset = family.match(in_port=port_no, ip_proto=TCP, tcp_flags=(RST, RST))
        yield FlowEntry(Table.ADMISSION, 41, false_reset, Purpose.INJECTED, (Punt(Meter.MIRROR),), counts=counts)
        yield FlowEntry(Table.ADMISSION, 40, family.match(in_port=port_no), Purpose.LEARN, (whole_frame,))
    yield FlowEntry(Table.ADMISSION, 40, match(in_port=port_no, eth_type=ARP_TYPE), Purpose.ARP, (Punt(Meter.ARP),))
    yield from _discovery(port_no)


def _discovery(port_no: int) -> Iterator[FlowEntry]:
    """What is IPv6 and stays on the link. Above quarantine, as ARP is beside it: who is in it must still be found where it is."""
    for kind in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        fields = V6.match(in_port=port_no, ip_proto=ICMPV6, icmp_type=kind)
        yield FlowEntry(Table.ADMISSION, 96, fields, Purpose.ND, (Punt(Meter.ND),))
    # Hosts are no routers: a false one would have everybody's packets (RFC 6104).
    for kind in (ROUTER_ADVERTISEMENT, REDIRECT_MESSAGE):
        fields = V6.match(in_port=port_no, ip_proto=ICMPV6, icmp_type=kind)
        yield FlowEntry(Table.ADMISSION, 96, fields, Purpose.ADMISSION)
    # Router solicitations and multicast listener reports among it: nobody here has an answer, and nothing is flooded.
    yield FlowEntry(Table.ADMISSION, 94, V6.match(in_port=port_no, dst=_MULTICAST), Purpose.ADMISSION)


@lru_cache(KEPT_ENTRIES)
def attached(host: Host, onward: Table = Table.TRACK) -> tuple[FlowEntry, ...]:
    """The source check of a known station: this address from this MAC at this port. Its packets go on in table `onward`."""
    from_host = (SetField("reg0", FROM_HOST),)
    family = family_of(host.ip)
    ip = family.fields(in_port=host.port_no, eth_src=host.mac, src=host.ip)
    checked = FlowEntry(Table.ADMISSION, 50, match(**ip), Purpose.ADMISSION, from_host, goto=onward)
    if is_ipv6(host.ip):
        asking = match(**ip, ip_proto=ICMPV6, icmpv6_type=NEIGHBOUR_SOLICITATION)
        return checked, FlowEntry(Table.ADMISSION, 97, asking, Purpose.ADMISSION, goto=Table.NEIGHBOUR)
    arp = match(in_port=host.port_no, eth_src=host.mac, eth_type=ARP_TYPE, arp_spa=host.ip)
    return checked, FlowEntry(Table.ADMISSION, 50, arp, Purpose.ADMISSION, goto=Table.NEIGHBOUR)


@lru_cache(KEPT_ENTRIES)
def probe_answers(member: Host, port: int, probe_address: int) -> FlowEntry:
    """What a member answers to our own probes goes to the controller before anything tracks it."""
    fields = family_of(member.ip).match(in_port=member.port_no, ip_proto=TCP, src=member.ip, tcp_src=port,
                                        dst=probe_address, tcp_dst=PROBE_PORTS)  # fmt: skip
    return FlowEntry(Table.ADMISSION, 80, fields, Purpose.PROBE, (Punt(Meter.PROBE, max_len=512),))


def neighbours(vips: Iterable[int], hosts: Iterable[Host]) -> Iterator[FlowEntry]:
    """Questions are answered by the switch itself, for VIPs and for known hosts: they outlive the controller."""
    for vip in vips:
        yield _answer(vip, vip_mac(vip))
    for host in hosts:
        yield _answer(host.ip, host.mac)
    yield FlowEntry(Table.NEIGHBOUR, 1, match(eth_type=ARP_TYPE), Purpose.ARP, (Punt(Meter.ARP),))
    # Who was asked by the controller may make sure of it later (RFC 4861 §7.3.3).
    yield _advertisement(CONTROLLER_IPV6, CONTROLLER_MAC)
    yield FlowEntry(Table.NEIGHBOUR, 1, V6.match(), Purpose.ND, (Punt(Meter.ND),))
    # Open vSwitch lets this option be written only where the match says that there is one.
    to_asker = (Move("eth_src", "ipv6_nd_tll", 48), Output(IN_PORT))
    advertised = V6.match(ip_proto=ICMPV6, icmp_type=NEIGHBOUR_ADVERTISEMENT)
    yield FlowEntry(Table.ADVERTISE, 10, advertised, Purpose.ND, to_asker)


@lru_cache(KEPT_ENTRIES)
def _answer(address: int, mac: int) -> FlowEntry:
    return _advertisement(address, mac) if is_ipv6(address) else _arp_reply(address, mac)


def _advertisement(address: int, mac: int) -> FlowEntry:
    """A solicitation becomes its answer (RFC 4861 §7.2.4); the hop limit is 255 already."""
    actions = (
        Move("eth_src", "eth_dst", 48), SetField("eth_src", mac), Move("ipv6_src", "ipv6_dst", 128), SetField("ipv6_src", address),
        SetField("icmpv6_type", NEIGHBOUR_ADVERTISEMENT), SetField("nd_reserved", SOLICITED | OVERRIDE),
        SetField("nd_options_type", TARGET_MAC),
    )  # fmt: skip
    fields = V6.match(ip_proto=ICMPV6, icmp_type=NEIGHBOUR_SOLICITATION, ipv6_nd_target=address)
    return FlowEntry(Table.NEIGHBOUR, 10, fields, Purpose.ND, actions, goto=Table.ADVERTISE)


def _arp_reply(address: int, mac: int) -> FlowEntry:
    actions = (
        Move("eth_src", "eth_dst", 48), SetField("eth_src", mac), SetField("arp_op", ARP_REPLY),
        Move("arp_sha", "arp_tha", 48), SetField("arp_sha", mac),
        Move("arp_spa", "arp_tpa", 32), SetField("arp_spa", address), Output(IN_PORT),
    )  # fmt: skip
    fields = match(eth_type=ARP_TYPE, arp_op=ARP_REQUEST, arp_tpa=address)
    return FlowEntry(Table.NEIGHBOUR, 10, fields, Purpose.ARP, actions)
