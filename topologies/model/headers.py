"""Protocol headers as immutable values, with their wire form: ARP, IPv4, TCP, UDP, ICMP. Addresses are integers.

Sources: RFC 826, RFC 791, RFC 9293 §3.1, RFC 768, RFC 792; the checksum is RFC 1071.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

ETH_ARP, ETH_IPV4, ETH_LLDP = 0x0806, 0x0800, 0x88CC
PROTO_ICMP, PROTO_TCP, PROTO_UDP = 1, 6, 17
FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
DONT_FRAGMENT, FRAGMENT_OFFSET = 0x4000, 0x1FFF
ICMP_ECHO_REPLY, ICMP_UNREACHABLE, ICMP_ECHO_REQUEST = 0, 3, 8
ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})

_ARP = struct.Struct("!HHBBH6sI6sI")
_IPV4 = struct.Struct("!BBHHHBBHII")
_TCP = struct.Struct("!HHIIHHHH")
_UDP = struct.Struct("!HHHH")
_ICMP = struct.Struct("!BBHI")
_PSEUDO = struct.Struct("!IIBBH")


def checksum(data: bytes) -> int:
    """The Internet checksum of `data` (RFC 1071); over data that holds its own checksum it is 0 when that is right."""
    if len(data) & 1:
        data += b"\0"
    number = int.from_bytes(data, "big")
    # A ones' complement sum of 16-bit words is the number modulo 0xFFFF, with 0xFFFF for zero unless all words are zero.
    total = number % 0xFFFF or (0xFFFF if number else 0)
    return 0xFFFF - total


class Arp(NamedTuple):
    """An ARP message for IPv4 over Ethernet."""

    op: int
    sha: int
    spa: int
    tha: int
    tpa: int

    @classmethod
    def unpack(cls, data: bytes) -> Arp | None:
        """The message at the start of `data`; None when it is cut short or not IPv4 over Ethernet."""
        if len(data) < _ARP.size:
            return None
        hardware, protocol, hardware_size, protocol_size, op, sha, spa, tha, tpa = _ARP.unpack_from(data)
        if (hardware, protocol, hardware_size, protocol_size) != (1, ETH_IPV4, 6, 4):
            return None
        return cls(op, int.from_bytes(sha, "big"), spa, int.from_bytes(tha, "big"), tpa)

    def pack(self) -> bytes:
        """The 28 octets."""
        return _ARP.pack(
            1, ETH_IPV4, 6, 4, self.op, self.sha.to_bytes(6, "big"), self.spa, self.tha.to_bytes(6, "big"), self.tpa
        )


class Ipv4(NamedTuple):
    """An IPv4 header. `fragment` is flags and fragment offset as one 16-bit number."""

    src: int
    dst: int
    proto: int
    ttl: int = 64
    tos: int = 0
    ident: int = 0
    fragment: int = DONT_FRAGMENT
    options: bytes = b""

    @property
    def size(self) -> int:
        """Octets of the header."""
        return _IPV4.size + len(self.options)

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Ipv4, int] | None:
        """The header at the start of `data` and the datagram's total length; None when they cannot be right."""
        if len(data) < _IPV4.size:
            return None
        first, tos, total, ident, fragment, ttl, proto, _, src, dst = _IPV4.unpack_from(data)
        size = (first & 0xF) * 4
        if first >> 4 != 4 or not _IPV4.size <= size <= total <= len(data):
            return None
        return cls(src, dst, proto, ttl, tos, ident, fragment, data[_IPV4.size : size]), total

    def pack(self, payload_size: int) -> bytes:
        """The header before `payload_size` octets, its checksum filled in."""
        size = self.size
        fields = (0x40 | size // 4, self.tos, size + payload_size, self.ident, self.fragment, self.ttl, self.proto)
        bare = _IPV4.pack(*fields, 0, self.src, self.dst) + self.options
        return bare[:10] + checksum(bare).to_bytes(2, "big") + bare[12:]

    def pseudo_header(self, size: int) -> bytes:
        """What the checksum of `size` octets of TCP or UDP also covers (RFC 9293 §3.1)."""
        return _PSEUDO.pack(self.src, self.dst, 0, self.proto, size)


class Tcp(NamedTuple):
    """A TCP header. `flags` are the low 12 bits, `window` as on the wire, `options` padded to 4 octets."""

    src: int
    dst: int
    seq: int
    ack: int
    flags: int
    window: int = 0
    options: bytes = b""
    urgent: int = 0

    @property
    def size(self) -> int:
        """Octets of the header."""
        return _TCP.size + len(self.options)

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Tcp, int] | None:
        """The header at the start of `data` and its size; None when they cannot be right."""
        if len(data) < _TCP.size:
            return None
        src, dst, seq, ack, offset_flags, window, _, urgent = _TCP.unpack_from(data)
        size = (offset_flags >> 12) * 4
        if not _TCP.size <= size <= len(data):
            return None
        return cls(src, dst, seq, ack, offset_flags & 0xFFF, window, data[_TCP.size : size], urgent), size

    def pack(self) -> bytes:
        """The header with a zero checksum, which is at offset 16."""
        offset_flags = self.size // 4 << 12 | self.flags
        return (
            _TCP.pack(self.src, self.dst, self.seq, self.ack, offset_flags, self.window, 0, self.urgent) + self.options
        )


class Udp(NamedTuple):
    """A UDP header. `unsummed`: sent without checksum, which IPv4 allows (RFC 768)."""

    src: int
    dst: int
    unsummed: bool = False

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Udp, int] | None:
        """The header at the start of `data` and its size; None when the length is wrong."""
        if len(data) < _UDP.size:
            return None
        src, dst, size, total = _UDP.unpack_from(data)
        if not _UDP.size <= size <= len(data):
            return None
        return cls(src, dst, total == 0), _UDP.size

    def pack(self, payload_size: int) -> bytes:
        """The header before `payload_size` octets with a zero checksum, which is at offset 6."""
        return _UDP.pack(self.src, self.dst, _UDP.size + payload_size, 0)


class Icmp(NamedTuple):
    """An ICMP header; `rest` are the four octets after the checksum (for an echo: identifier and sequence number)."""

    type: int
    code: int
    rest: int = 0

    @property
    def ident(self) -> int:
        """The identifier of an echo."""
        return self.rest >> 16

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Icmp, int] | None:
        """The header at the start of `data` and its size; None when cut short."""
        if len(data) < _ICMP.size:
            return None
        kind, code, _, rest = _ICMP.unpack_from(data)
        return cls(kind, code, rest), _ICMP.size

    def pack(self) -> bytes:
        """The header with a zero checksum, which is at offset 2."""
        return _ICMP.pack(self.type, self.code, 0, self.rest)
