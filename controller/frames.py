"""The few frames the controller writes itself: ARP, LLDP and bare TCP segments. Reading of mirrored frames: `segments.py`."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import NamedTuple

from controller.pipeline import ACK, ARP_TYPE, IPV4, LLDP_TYPE, RST, SYN

BROADCAST = 0xFFFFFFFFFFFF
LLDP_MULTICAST = 0x0180C200000E
CONTROLLER_MAC = 0x0A524C000001
"""Locally administered: what the controller's own questions come from."""

ARP_REQUEST, ARP_REPLY = 1, 2
_ORGANISATION = b"\x0e\x52\x4c"
_SIGNATURE_BYTES = 16


def vip_mac(address: int) -> int:
    """The MAC a VIP (IPv4 as integer) answers ARP with: locally administered, one per address, none of which is the fabric's own."""
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


def _checksum(raw: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    if len(raw) % 2:
        raw += b"\0"
    total: int = sum(struct.unpack(f"!{len(raw) // 2}H", raw))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Tcp(NamedTuple):
    """A TCP segment to be written (RFC 9293 §3.1); addresses are IPv4 integers."""

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


MSS_1460 = b"\x02\x04\x05\xb4"


def tcp(segment: Tcp, eth_dst: int, eth_src: int) -> bytes:
    """The frame of a segment, checksums filled in, don't-fragment set."""
    source, destination = segment.src.to_bytes(4, "big"), segment.dst.to_bytes(4, "big")
    offset = (20 + len(segment.options)) // 4
    fixed = (segment.src_port, segment.dst_port, segment.seq & 0xFFFFFFFF, segment.ack & 0xFFFFFFFF)
    body = segment.options + segment.payload
    header = struct.pack("!HHIIBBHHH", *fixed, offset << 4, segment.flags, segment.window, 0, 0)
    pseudo = source + destination + struct.pack("!BBH", 0, 6, len(header) + len(body))
    total = _checksum(pseudo + header + body)
    header = header[:16] + total.to_bytes(2, "big") + header[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(header) + len(body), 0, 0x4000, 64, 6, 0, source, destination)
    ip = ip[:10] + _checksum(ip).to_bytes(2, "big") + ip[12:]
    return ethernet(eth_dst, eth_src, IPV4, ip + header + body)


def rebuilt_syn(client: tuple[int, int], vip: tuple[int, int], isn: int) -> Tcp:
    """The client's SYN, made again from what its refusal names. Only an MSS option: timestamps may not be invented (RFC 7323 PAWS)."""
    return Tcp(*client, *vip, SYN, isn, window=64240, options=MSS_1460)


def refusal(vip: tuple[int, int], client: tuple[int, int], isn: int) -> Tcp:
    """The RST that refuses a SYN with this ISN (RFC 9293 §3.10.7.1: seq 0, ack SEG.SEQ + 1)."""
    return Tcp(*vip, *client, RST | ACK, 0, isn + 1)


def answer_to(segment: Tcp, length: int) -> Tcp:
    """The RST that answers a segment of `length` sequence numbers (RFC 9293 §3.10.7.1): no socket here."""
    back = segment.dst, segment.dst_port, segment.src, segment.src_port
    if segment.flags & ACK:
        return Tcp(*back, RST, segment.ack)
    return Tcp(*back, RST | ACK, 0, segment.seq + length)


def prohibited(frame: bytes, eth_dst: int) -> bytes | None:
    """ICMP "communication administratively prohibited" (RFC 1812 §5.2.7.1) for an untagged IPv4 frame, in the name of its destination."""
    header = (frame[14] & 0xF) * 4 if len(frame) >= 34 else 0
    if header < 20 or len(frame) < 14 + header + 8:
        return None
    quoted = frame[14 : 14 + header + 8]
    icmp = struct.pack("!BBHI", 3, 13, 0, 0) + quoted
    icmp = icmp[:2] + _checksum(icmp).to_bytes(2, "big") + icmp[4:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0, frame[30:34], frame[26:30])
    ip = ip[:10] + _checksum(ip).to_bytes(2, "big") + ip[12:]
    return ethernet(eth_dst, CONTROLLER_MAC, IPV4, ip + icmp)
