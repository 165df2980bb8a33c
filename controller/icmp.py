"""ICMP errors of a router (RFC 792 and RFC 1812 §4.3, RFC 4443): which packets may be answered with one, and the frame of it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from controller.addresses import is_ipv6
from controller.frames import checksum, ethernet, icmpv6, read_addresses
from controller.pipeline import ICMP, ICMPV6, IPV4, IPV6, TCP, UDP

ERRORS = frozenset({3, 4, 5, 11, 12})
"""Types of ICMP that report an error: destination unreachable, source quench, redirect, time exceeded, parameter problem."""
REDIRECT_V6 = 137
MAX_BYTES, MAX_BYTES_V6 = 576, 1280
"""An error quotes as much as fits into this (RFC 1812 §4.3.2.3, RFC 4443 §2.4)."""
INTERNETWORK_CONTROL = 0xC0
"""The precedence of an error (RFC 1812 §4.3.2.5)."""


class Problem(NamedTuple):
    """Type and code of an error in ICMP and in ICMPv6."""

    v4: tuple[int, int]
    v6: tuple[int, int]


NET_UNREACHABLE, HOST_UNREACHABLE = Problem((3, 0), (1, 0)), Problem((3, 1), (1, 3))
PORT_UNREACHABLE, TIME_EXCEEDED = Problem((3, 3), (1, 4)), Problem((11, 0), (3, 0))


def header_bytes(frame: bytes) -> int:
    """The length of an untagged frame's IP header; 0 when it has no whole one."""
    if read_addresses(frame) is None or frame[14] >> 4 != (6 if frame[12:14] == IPV6.to_bytes(2) else 4):
        return 0
    if frame[12:14] == IPV6.to_bytes(2):
        return 40
    length = (frame[14] & 0xF) * 4
    return length if 20 <= length <= len(frame) - 14 else 0


def protocol(frame: bytes) -> int | None:
    """The protocol behind the IP header; None when it has no whole one."""
    header = header_bytes(frame)
    return None if not header else frame[20] if frame[12:14] == IPV6.to_bytes(2) else frame[23]


def may_answer(frame: bytes) -> bool:
    """Whether an error may be sent about a packet (RFC 1812 §4.3.2.7, RFC 4443 §2.4).

    Not about an ICMP error, a broadcast or multicast of either layer, a fragment other than the first, nor a source that is no host.
    """
    header = header_bytes(frame)
    if not header or frame[0] & 1:
        return False
    return _may_answer_v4(frame, header) if frame[12:14] == IPV4.to_bytes(2) else _may_answer_v6(frame)


def _may_answer_v4(frame: bytes, header: int) -> bool:
    if int.from_bytes(frame[20:22]) & 0x1FFF:
        return False
    source, destination = frame[26], frame[30]
    if not (0 < source < 224 and source != 127 and destination < 224):
        return False
    return frame[23] != ICMP or (len(frame) > 14 + header and frame[14 + header] not in ERRORS)


def _may_answer_v6(frame: bytes) -> bool:
    source, destination = frame[22:38], frame[38:54]
    if source[0] == 0xFF or destination[0] == 0xFF or int.from_bytes(source) <= 1:
        return False
    if frame[20] == ICMPV6:
        return len(frame) > 54 and frame[54] >= 128 and frame[54] != REDIRECT_V6
    # Behind an extension header there may be an error, or a later fragment of anything.
    return frame[20] in (TCP, UDP)


def error(problem: Problem, frame: bytes, source: int, eth_dst: int, eth_src: int) -> bytes:
    """The frame that tells a packet's sender about a problem with it, in the name of `source`.

    Raises:
        ValueError: `may_answer` is False for the packet.
    """
    if not may_answer(frame):
        raise ValueError("nothing is said about such a packet")
    if is_ipv6(source):
        quoted = frame[14 : 14 + min(40 + int.from_bytes(frame[18:20]), MAX_BYTES_V6 - 48)]
        message = struct.pack("!BBHI", *problem.v6, 0, 0) + quoted
        return ethernet(eth_dst, eth_src, IPV6, icmpv6(message, source, int.from_bytes(frame[22:38])))
    quoted = frame[14 : 14 + min(int.from_bytes(frame[16:18]), MAX_BYTES - 28)]
    icmp = struct.pack("!BBHI", *problem.v4, 0, 0) + quoted
    icmp = icmp[:2] + checksum(icmp).to_bytes(2, "big") + icmp[4:]
    addresses = source.to_bytes(4, "big") + frame[26:30]
    fixed = (0x45, INTERNETWORK_CONTROL, 20 + len(icmp), 0, 0, 64, ICMP, 0)
    ip = struct.pack("!BBHHHBBH", *fixed) + addresses
    ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
    return ethernet(eth_dst, eth_src, IPV4, ip + icmp)


def as_sent(frame: bytes) -> bytes:
    """A packet that has lost one from its TTL here, as it was before."""
    header = header_bytes(frame)
    if frame[12:14] == IPV6.to_bytes(2):
        return frame[:21] + bytes([min(255, frame[21] + 1)]) + frame[22:]
    raised = frame[14:22] + bytes([min(255, frame[22] + 1)]) + frame[23:24] + b"\0\0" + frame[26 : 14 + header]
    return frame[:14] + raised[:10] + checksum(raised).to_bytes(2, "big") + raised[12:] + frame[14 + header :]
