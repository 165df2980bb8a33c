"""Tables 0 and 6: what may enter at which port, and who answers ARP.

The source check is the defence against forged resets: a segment that claims a member's address enters at that member's port, or it
is dropped where it enters, counted and mirrored (docs/pipeline.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.flows import IN_PORT, FlowEntry, Move, Output, Punt, Purpose, SetField, match
from controller.frames import ARP_REPLY, ARP_REQUEST, EDGE_MASK, edge_mac, vip_mac
from controller.pipeline import (
    ARP_TYPE,
    FROM_FABRIC,
    FROM_HOST,
    IPV4,
    LINK_PROBE_TYPE,
    LLDP_TYPE,
    PROBE_PORTS,
    RST,
    TCP,
    Meter,
    Table,
)
from controller.topology import Host


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
        yield FlowEntry(Table.ADMISSION, 55, match(in_port=port_no, eth_type=IPV4, ipv4_src=vip), Purpose.ADMISSION)
    yield FlowEntry(Table.ADMISSION, 30, match(in_port=port_no, eth_type=IPV4), Purpose.ADMISSION, goto=Table.ROUTE)


def arriving(zone: int, port_no: int) -> FlowEntry:
    """At an edge: packets from another switch that have come to the switch they are for, by whichever way."""
    for_us = match(in_port=port_no, eth_type=IPV4, eth_dst=(edge_mac(zone), EDGE_MASK))
    return FlowEntry(Table.ADMISSION, 31, for_us, Purpose.ADMISSION, (SetField("reg0", FROM_FABRIC),), goto=Table.TRACK)


def host_port(port_no: int) -> Iterator[FlowEntry]:
    """Packets that no source check accepted: unknown stations are shown to the controller, false resets are evidence."""
    false_reset = match(in_port=port_no, eth_type=IPV4, ip_proto=TCP, tcp_flags=(RST, RST))
    counts = ("injected", str(port_no))
    yield FlowEntry(Table.ADMISSION, 41, false_reset, Purpose.INJECTED, (Punt(Meter.MIRROR),), counts=counts)
    whole_frame = Punt(Meter.LEARN, max_len=0xFFFF)
    yield FlowEntry(Table.ADMISSION, 40, match(in_port=port_no, eth_type=IPV4), Purpose.LEARN, (whole_frame,))
    yield FlowEntry(Table.ADMISSION, 40, match(in_port=port_no, eth_type=ARP_TYPE), Purpose.ARP, (Punt(Meter.ARP),))


def attached(host: Host) -> Iterator[FlowEntry]:
    """The source check of a known station: this address from this MAC at this port."""
    from_host = (SetField("reg0", FROM_HOST),)
    ip = match(in_port=host.port_no, eth_src=host.mac, eth_type=IPV4, ipv4_src=host.ip)
    yield FlowEntry(Table.ADMISSION, 50, ip, Purpose.ADMISSION, from_host, goto=Table.TRACK)
    arp = match(in_port=host.port_no, eth_src=host.mac, eth_type=ARP_TYPE, arp_spa=host.ip)
    yield FlowEntry(Table.ADMISSION, 50, arp, Purpose.ADMISSION, goto=Table.NEIGHBOUR)


def probe_answers(member: Host, port: int, probe_address: int) -> FlowEntry:
    """What a member answers to our own probes goes to the controller before anything tracks it."""
    fields = match(in_port=member.port_no, eth_type=IPV4, ip_proto=TCP, ipv4_src=member.ip, tcp_src=port,
                   ipv4_dst=probe_address, tcp_dst=PROBE_PORTS)  # fmt: skip
    return FlowEntry(Table.ADMISSION, 80, fields, Purpose.PROBE, (Punt(Meter.PROBE, max_len=512),))


def neighbours(vips: Iterable[int], hosts: Iterable[Host]) -> Iterator[FlowEntry]:
    """ARP is answered by the switch itself, for VIPs and for known hosts: they outlive the controller."""
    for vip in vips:
        yield _answer(vip, vip_mac(vip))
    for host in hosts:
        yield _answer(host.ip, host.mac)
    yield FlowEntry(Table.NEIGHBOUR, 1, match(eth_type=ARP_TYPE), Purpose.ARP, (Punt(Meter.ARP),))


def _answer(address: int, mac: int) -> FlowEntry:
    actions = (
        Move("eth_src", "eth_dst", 48), SetField("eth_src", mac), SetField("arp_op", ARP_REPLY),
        Move("arp_sha", "arp_tha", 48), SetField("arp_sha", mac),
        Move("arp_spa", "arp_tpa", 32), SetField("arp_spa", address), Output(IN_PORT),
    )  # fmt: skip
    fields = match(eth_type=ARP_TYPE, arp_op=ARP_REQUEST, arp_tpa=address)
    return FlowEntry(Table.NEIGHBOUR, 10, fields, Purpose.ARP, actions)
