"""Resets as Linux sends them: from a closed port, from no socket, from a live one. Neighbour discovery of hosts."""

from controller.addresses import family_of
from topologies.model.headers import (
    ACK,
    ETH_IPV6,
    ND_ADVERTISEMENT,
    ND_SOLICITATION,
    ND_SOURCE_MAC,
    ND_TARGET_MAC,
    PROTO_ICMPV6,
    PROTO_TCP,
    RST,
    Icmp,
    Ipv6,
    Nd,
    Tcp,
    ip_header,
)
from topologies.model.neighbours import solicited_node
from topologies.model.packet import Packet
from topologies.model.tcp_options import stamp_options

ANSWER_TO_SYN, ANSWER_TO_ACK, ABORT = range(3)


def segment_frame(src: int, src_port: int, dst: int, dst_port: int, style: int) -> bytes:
    """An Ethernet frame with a reset of that style."""
    segments = {
        ANSWER_TO_SYN: Tcp(src_port, dst_port, 0, 1001, RST | ACK),
        ANSWER_TO_ACK: Tcp(src_port, dst_port, 5001, 0, RST),
        ABORT: Tcp(src_port, dst_port, 5001, 1001, RST | ACK, 502, stamp_options(7, 9)),
    }
    packet = Packet(0x020000000002, 0x020000000001, family_of(src).eth_type)
    packet.ip = ip_header(src, dst, PROTO_TCP, ident=0 if style != ABORT else 77)
    packet.tcp = segments[style]
    return packet.to_bytes()


def solicitation(ip: int, mac: int, target: int, source_option: bool = True) -> bytes:
    """A neighbour solicitation as a host sends it; `ip` 0: it tries whether the target is free (RFC 4862 §5.4.2)."""
    group, group_mac = solicited_node(target)
    packet = Packet(group_mac, mac, ETH_IPV6)
    packet.ip, packet.icmp = Ipv6(ip, group, PROTO_ICMPV6, 255), Icmp(ND_SOLICITATION, 0)
    packet.nd = Nd(target, ND_SOURCE_MAC, mac) if ip and source_option else Nd(target)
    return packet.to_bytes()


def advertisement(ip: int, mac: int, to: int, to_mac: int) -> bytes:
    """A neighbour advertisement as its owner answers with it."""
    packet = Packet(to_mac, mac, ETH_IPV6)
    packet.ip, packet.icmp = Ipv6(ip, to, PROTO_ICMPV6, 255), Icmp(ND_ADVERTISEMENT, 0, 0x60000000)
    packet.nd = Nd(ip, ND_TARGET_MAC, mac)
    return packet.to_bytes()
