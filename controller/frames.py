"""The few frames the controller writes itself: ARP, LLDP, bare TCP segments and ICMP errors. Reading of mirrored frames: `segments.py`."""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from typing import NamedTuple

from controller import addresses
from controller.addresses import family_of, is_ipv6, octets
from controller.pipeline import ACK, ARP_TYPE, ICMP, ICMPV6, IPV4, IPV6, LLDP_TYPE, RST, SYN, TCP

BROADCAST = 0xFFFFFFFFFFFF
LLDP_MULTICAST = 0x0180C200000E
CONTROLLER_MAC = 0x0A524C000001
"""Locally administered: what the controller's own questions come from."""

ARP_REQUEST, ARP_REPLY = 1, 2
_ORGANISATION = b"\x0e\x52\x4c"
_SIGNATURE_BYTES = 16


def vip_mac(address: int) -> int:
    """The MAC a VIP answers with when it is asked for: locally administered, none of which is the fabric's own.

    One per IPv4 address. Of IPv6 addresses two may share one: packets are told apart by address, never by this MAC.
    """
    if is_ipv6(address):
        return 0x0E56 << 32 | zlib.crc32(octets(address))
    return 0x0E52 << 32 | address


EDGE_MASK = 0xFFFFFFFCFFFF
"""What all destination MACs of one switch have in common."""


def edge_mac(zone: int, way: int = 0) -> int:
    """The destination MAC that carries a packet across the fabric to the switch with this zone: by the shortest way or by detour 1 or 2."""
    return 0x0A524C400000 | way << 16 | zone


def is_ours(mac: int) -> bool:
    """Whether a MAC is one of the fabric's own, which no host may have."""
    return mac >> 24 == 0x0A524C


def ethernet(dst: int, src: int, eth_type: int, payload: bytes) -> bytes:
    """An Ethernet frame, padded to 60 bytes (IEEE 802.3 minimum without FCS)."""
    frame = dst.to_bytes(6, "big") + src.to_bytes(6, "big") + eth_type.to_bytes(2, "big") + payload
    return frame.ljust(60, b"\0")


class Arp(NamedTuple):
    """An ARP message for IPv4 over Ethernet (RFC 826)."""

    op: int
    sha: int
    spa: int
    tha: int
    tpa: int


def arp(message: Arp, dst: int) -> bytes:
    """The frame of an ARP message."""
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, message.op)
    body += message.sha.to_bytes(6, "big") + message.spa.to_bytes(4, "big")
    body += message.tha.to_bytes(6, "big") + message.tpa.to_bytes(4, "big")
    return ethernet(dst, message.sha, ARP_TYPE, body)


def arp_question(address: int) -> bytes:
    """Who has `address`? Asked from no address at all, as an ARP probe (RFC 5227 §2.1.1), so no neighbour learns a false binding."""
    return arp(Arp(ARP_REQUEST, CONTROLLER_MAC, 0, 0, address), BROADCAST)


def read_arp(frame: bytes) -> Arp | None:
    """The ARP message in an untagged frame, None when it is none for IPv4 over Ethernet."""
    if len(frame) < 42 or frame[12:20] != b"\x08\x06\x00\x01\x08\x00\x06\x04":
        return None
    word = int.from_bytes
    return Arp(word(frame[20:22]), word(frame[22:28]), word(frame[28:32]), word(frame[32:38]), word(frame[38:42]))


def _tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!H", kind << 9 | len(value)) + value


def _signature(key: bytes, dpid: int, port_no: int) -> bytes:
    return hmac.digest(key, struct.pack("!QI", dpid, port_no), hashlib.sha256)[:_SIGNATURE_BYTES]


def lldp(key: bytes, dpid: int, port_no: int) -> bytes:
    """A signed LLDP frame (IEEE 802.1AB) that names the port it leaves by: hosts cannot invent links."""
    body = _tlv(1, b"\x07" + f"{dpid:016x}".encode()) + _tlv(2, b"\x07" + str(port_no).encode()) + _tlv(3, b"\x00\x78")
    body += _tlv(127, _ORGANISATION + b"\x01" + _signature(key, dpid, port_no)) + _tlv(0, b"")
    return ethernet(LLDP_MULTICAST, CONTROLLER_MAC, LLDP_TYPE, body)


def read_lldp(key: bytes, frame: bytes) -> tuple[int, int] | None:
    """(dpid, port_no) that a signed LLDP frame left by; None when it is not ours."""
    values: dict[int, bytes] = {}
    offset = 14
    while offset + 2 <= len(frame):
        head = int.from_bytes(frame[offset : offset + 2])
        kind, length = head >> 9, head & 0x1FF
        if kind == 0:
            break
        values[kind] = frame[offset + 2 : offset + 2 + length]
        offset += 2 + length
    try:
        dpid, port_no = int(values[1][1:], 16), int(values[2][1:])
    except (KeyError, ValueError):
        return None
    if not 0 <= dpid < 1 << 64 or not 0 <= port_no < 1 << 32:
        return None
    expected = _ORGANISATION + b"\x01" + _signature(key, dpid, port_no)
    return (dpid, port_no) if hmac.compare_digest(values.get(127, b""), expected) else None


def checksum(raw: bytes) -> int:
    """Internet checksum (RFC 1071); 0 over data that holds its own and is intact."""
    if len(raw) % 2:
        raw += b"\0"
    total: int = sum(struct.unpack(f"!{len(raw) // 2}H", raw))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Tcp(NamedTuple):
    """A TCP segment to be written (RFC 9293 §3.1); both addresses of one family."""

    src: int
    src_port: int
    dst: int
    dst_port: int
    flags: int
    seq: int
    ack: int = 0
    window: int = 0
    options: bytes = b""
    payload: bytes = b""


def mss(address: int) -> bytes:
    """The MSS option of a SYN to or from this address: what an Ethernet frame carries (RFC 9293 §3.7.1)."""
    return struct.pack("!BBH", 2, 4, 1440 if is_ipv6(address) else 1460)


def tcp(segment: Tcp, eth_dst: int, eth_src: int) -> bytes:
    """The frame of a segment, checksums filled in, never to be fragmented."""
    way = octets(segment.src) + octets(segment.dst)
    offset = (20 + len(segment.options)) // 4
    fixed = (segment.src_port, segment.dst_port, segment.seq & 0xFFFFFFFF, segment.ack & 0xFFFFFFFF)
    body = segment.options + segment.payload
    header = struct.pack("!HHIIBBHHH", *fixed, offset << 4, segment.flags, segment.window, 0, 0)
    # The pseudo-header's sum is the same for both families: addresses, length and protocol (RFC 8200 §8.1).
    pseudo = way + struct.pack("!HH", TCP, len(header) + len(body))
    total = checksum(pseudo + header + body)
    header = header[:16] + total.to_bytes(2, "big") + header[18:]
    eth_type = family_of(segment.src).eth_type
    return ethernet(eth_dst, eth_src, eth_type, _ip(TCP, segment.src, segment.dst, header + body))


def _ip(protocol: int, src: int, dst: int, payload: bytes, hop_limit: int = 64) -> bytes:
    """An IP packet of the addresses' family (RFC 791, RFC 8200 §3)."""
    if is_ipv6(src):
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit) + octets(src) + octets(dst) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, hop_limit, protocol, 0)
    header += octets(src) + octets(dst)
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + payload


def icmpv6(message: bytes, src: int, dst: int, hop_limit: int = 64) -> bytes:
    """The IPv6 packet of an ICMPv6 message, its checksum (RFC 4443 §2.3) written over whatever stands there."""
    pseudo = octets(src) + octets(dst) + struct.pack("!HH", ICMPV6, len(message))
    total = checksum(pseudo + message[:2] + message[4:])
    return _ip(ICMPV6, src, dst, message[:2] + total.to_bytes(2, "big") + message[4:], hop_limit)


def rebuilt_syn(client: tuple[int, int], vip: tuple[int, int], isn: int) -> Tcp:
    """The client's SYN, made again from what its refusal names. Only an MSS option: timestamps may not be invented (RFC 7323 PAWS)."""
    return Tcp(*client, *vip, SYN, isn, window=64240, options=mss(vip[0]))


def refusal(vip: tuple[int, int], client: tuple[int, int], isn: int) -> Tcp:
    """The RST that refuses a SYN with this ISN (RFC 9293 §3.10.7.1: seq 0, ack SEG.SEQ + 1)."""
    return Tcp(*vip, *client, RST | ACK, 0, isn + 1)


def answer_to(segment: Tcp, length: int) -> Tcp:
    """The RST that answers a segment of `length` sequence numbers (RFC 9293 §3.10.7.1): no socket here."""
    back = segment.dst, segment.dst_port, segment.src, segment.src_port
    if segment.flags & ACK:
        return Tcp(*back, RST, segment.ack)
    return Tcp(*back, RST | ACK, 0, segment.seq + length)


def read_addresses(frame: bytes) -> tuple[int, int] | None:
    """(source, destination) of an untagged IP frame; None: no IP, or an IPv6 address that only disguises an IPv4 one."""
    eth_type = frame[12:14]
    if eth_type == IPV4.to_bytes(2) and len(frame) >= 34:
        return int.from_bytes(frame[26:30]), int.from_bytes(frame[30:34])
    if eth_type != IPV6.to_bytes(2) or len(frame) < 54:
        return None
    src, dst = addresses.read(frame[22:38]), addresses.read(frame[38:54])
    return None if src is None or dst is None else (src, dst)


_LEAST_MTU = 1280


def prohibited(frame: bytes, eth_dst: int) -> bytes | None:
    """ICMP "communication administratively prohibited" for an untagged IP frame, in the name of its destination.

    RFC 1812 §5.2.7.1 (quotes 8 octets behind the header) and RFC 4443 §3.1 (quotes what fits the least MTU). None for what is not
    to be answered: headers that are cut, and ICMPv6 errors themselves (RFC 4443 §2.4).
    """
    way = read_addresses(frame)
    if way is None:
        return None
    src, dst = way
    if is_ipv6(src):
        if frame[20] == ICMPV6 and (len(frame) < 55 or frame[54] < 128):
            return None
        message = struct.pack("!BBHI", 1, 1, 0, 0) + frame[14 : 14 + _LEAST_MTU - 48]
        return ethernet(eth_dst, CONTROLLER_MAC, IPV6, icmpv6(message, dst, src))
    header = (frame[14] & 0xF) * 4
    if header < 20 or len(frame) < 14 + header + 8:
        return None
    icmp = struct.pack("!BBHI", 3, 13, 0, 0) + frame[14 : 14 + header + 8]
    icmp = icmp[:2] + checksum(icmp).to_bytes(2, "big") + icmp[4:]
    return ethernet(eth_dst, CONTROLLER_MAC, IPV4, _ip(ICMP, dst, src, icmp))
