"""Who has which address: the questions and answers of both families as one message, ARP (RFC 826) and neighbour discovery (RFC 4861).

A station is learnt with the MAC its frames come from, whatever their link-layer options say: that is where frames for it go.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from controller import frames
from controller.addresses import family_of, is_ipv6, is_plain_ipv6, octets
from controller.frames import CONTROLLER_MAC, Arp
from controller.pipeline import ARP_TYPE, ICMPV6, IPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION

CONTROLLER_IPV6 = 0xFE80 << 112 | 0x08524CFFFE000001
"""The link-local address of `CONTROLLER_MAC` (RFC 4291 Appendix A): what the controller's questions come from.

Not from ::, as an ARP probe has no sender: a host that is just claiming the address would take that for a duplicate, and give it up
(RFC 4862 §5.4.3).
"""

ALL_NODES = 0xFF02 << 112 | 1
_SOLICITED_NODE = 0xFF02 << 112 | 0x1FF000000
SOLICITED, OVERRIDE = 0x40000000, 0x20000000
"""Flags of an advertisement, in the 32 bits after its checksum (RFC 4861 §4.4)."""
SOURCE_MAC, TARGET_MAC = 1, 2
"""Options that hold a link-layer address (RFC 4861 §4.6.1)."""
_HOP_LIMIT = 255
_IPV6_BYTES, _MESSAGE_BYTES = 40, 24


class Message(NamedTuple):
    """A question for `target`, or an answer, from the station (`ip`, `mac`). `ip` 0: it has no address yet, it tries one."""

    asks: bool
    ip: int
    mac: int
    target: int


def is_multicast(address: int) -> bool:
    """Whether an IPv6 address is in ff00::/8 (RFC 4291 §2.7)."""
    return address >> 120 == 0xFF


def read(frame: bytes) -> Message | None:
    """The message in an untagged frame; None when it is none, or is not what the RFCs let a host send."""
    if frame[12:14] == ARP_TYPE.to_bytes(2):
        message = frames.read_arp(frame)
        return message and Message(message.op == frames.ARP_REQUEST, message.spa, message.sha, message.tpa)
    return _read_discovery(frame) if frame[12:14] == IPV6.to_bytes(2) else None


def _read_discovery(frame: bytes) -> Message | None:
    """RFC 4861 §7.1.1 and §7.1.2. Nothing is looked for behind extension headers: an honest station sends none here (RFC 6980)."""
    packet = frame[14:]
    if len(packet) < _IPV6_BYTES + _MESSAGE_BYTES or packet[6:8] != bytes((ICMPV6, _HOP_LIMIT)):
        return None
    length = int.from_bytes(packet[4:6])
    body = packet[_IPV6_BYTES : _IPV6_BYTES + length]
    source, destination, target = (int.from_bytes(raw) for raw in (packet[8:24], packet[24:40], body[8:24]))
    kind, code = body[:1], body[1:2]
    well_formed = code == b"\0" and _MESSAGE_BYTES <= length == len(body) and _options_end(body)
    if not well_formed or not is_plain_ipv6(target) or is_multicast(target) or is_multicast(source):
        return None
    if frames.checksum(packet[8:40] + struct.pack("!HH", ICMPV6, length) + body):
        return None
    mac = int.from_bytes(frame[6:12])
    if kind[0] == NEIGHBOUR_ADVERTISEMENT:
        return Message(False, target, mac, target) if is_plain_ipv6(source) else None
    if kind[0] != NEIGHBOUR_SOLICITATION or not (is_plain_ipv6(source) or source == 0):
        return None
    trying = source == 0 and destination == _SOLICITED_NODE | target & 0xFFFFFF
    return Message(True, source, mac, target) if source or trying else None


def _options_end(body: bytes) -> bool:
    """Whether the options fill the message: each has its length in units of 8 octets, never 0 (RFC 4861 §4.6)."""
    at = _MESSAGE_BYTES
    while at + 2 <= len(body) and body[at + 1]:
        at += 8 * body[at + 1]
    return at == len(body)


def question(address: int) -> bytes:
    """Who has `address`? In a way that no neighbour learns a false binding from."""
    if not is_ipv6(address):
        return frames.arp_question(address)
    group = _SOLICITED_NODE | address & 0xFFFFFF
    # RFC 2464 §7: a multicast address maps to 33:33 and its last 32 bits.
    mac = 0x3333 << 32 | group & 0xFFFFFFFF
    return _discovery(NEIGHBOUR_SOLICITATION, 0, address, (SOURCE_MAC, CONTROLLER_MAC), (CONTROLLER_IPV6, group), mac)


def answer(ip: int, mac: int, asker: int, asker_mac: int) -> bytes:
    """To a station that asked: `ip` is at `mac`. Who has no address itself (`asker` 0) hears that this one is taken (RFC 4862 §5.4.4)."""
    if not is_ipv6(ip):
        return frames.arp(Arp(frames.ARP_REPLY, mac, ip, asker_mac, asker), asker_mac)
    to, flags = (asker, SOLICITED | OVERRIDE) if asker else (ALL_NODES, OVERRIDE)
    return _discovery(NEIGHBOUR_ADVERTISEMENT, flags, ip, (TARGET_MAC, mac), (ip, to), asker_mac)


def _discovery(
    kind: int, flags: int, target: int, option: tuple[int, int], way: tuple[int, int], eth_dst: int
) -> bytes:
    """A message from its option's MAC; `way` is (source, destination)."""
    body = struct.pack("!BBHI", kind, 0, 0, flags) + octets(target)
    body += bytes((option[0], 1)) + option[1].to_bytes(6)
    packet = frames.icmpv6(body, *way, hop_limit=_HOP_LIMIT)
    return frames.ethernet(eth_dst, option[1], family_of(target).eth_type, packet)
