"""Protocol headers as immutable values, with their wire form: ARP, IPv4, IPv6, TCP, UDP, ICMP. Addresses are integers.

Sources: RFC 826, RFC 791, RFC 8200, RFC 9293 §3.1, RFC 768, RFC 792, RFC 4443, RFC 4861 §4; the checksum is RFC 1071.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from controller.addresses import is_ipv6

ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_LLDP = 0x0806, 0x0800, 0x86DD, 0x88CC
PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6 = 1, 6, 17, 58
PROTOS_ICMP = frozenset({PROTO_ICMP, PROTO_ICMPV6})
FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
DONT_FRAGMENT, FRAGMENT_OFFSET = 0x4000, 0x1FFF
ICMP_ECHO_REPLY, ICMP_UNREACHABLE, ICMP_ECHO_REQUEST = 0, 3, 8
ND_SOLICITATION, ND_ADVERTISEMENT = 135, 136
ND_SOURCE_MAC, ND_TARGET_MAC = 1, 2
ICMP_ERRORS = {PROTO_ICMP: frozenset({3, 4, 5, 11, 12}), PROTO_ICMPV6: frozenset({1, 2, 3, 4})}
"""Types of ICMP errors, by protocol."""

_ARP = struct.Struct("!HHBBH6sI6sI")
_IPV4 = struct.Struct("!BBHHHBBHII")
_TCP = struct.Struct("!HHIIHHHH")
_UDP = struct.Struct("!HHHH")
_ICMP = struct.Struct("!BBHI")
_PSEUDO = struct.Struct("!IIBBH")
_IPV6 = struct.Struct("!IHBB16s16s")
_PSEUDO_IPV6 = struct.Struct("!16s16sIxxxB")
_FRAGMENT = 44
_EXTENSIONS = {0: 8, 43: 8, 60: 8, _FRAGMENT: 8, 51: 4}
"""Units of the length of extension headers, by their number (RFC 8200 §4, RFC 4302 §2.2); a fragment header has none."""


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


class Ipv6(NamedTuple):
    """An IPv6 header with its extension headers as they are; `proto` is what comes behind them. `first`: class and flow label."""

    src: int
    dst: int
    proto: int
    ttl: int = 64
    first: int = 0
    next_header: int | None = None
    extensions: bytes = b""
    fragment: int = 0
    """The fragment's offset, as `Ipv4.fragment` masks it; 0 also where there is no fragment header."""

    @property
    def size(self) -> int:
        """Octets of all headers."""
        return _IPV6.size + len(self.extensions)

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Ipv6, int] | None:
        """The headers at the start of `data` and the packet's total length; None when they cannot be right."""
        if len(data) < _IPV6.size or data[0] >> 4 != 6:
            return None
        first, length, next_header, ttl, src, dst = _IPV6.unpack_from(data)
        total = _IPV6.size + length
        behind = _skip_extensions(data[:total], next_header) if total <= len(data) else None
        if behind is None:
            return None
        proto, size, offset = behind
        addresses = int.from_bytes(src, "big"), int.from_bytes(dst, "big")
        return cls(*addresses, proto, ttl, first & 0xFFFFFFF, next_header, data[_IPV6.size : size], offset), total

    def pack(self, payload_size: int) -> bytes:
        """The headers before `payload_size` octets."""
        proto = self.proto if self.next_header is None else self.next_header
        length = len(self.extensions) + payload_size
        addresses = self.src.to_bytes(16, "big"), self.dst.to_bytes(16, "big")
        return _IPV6.pack(6 << 28 | self.first, length, proto, self.ttl, *addresses) + self.extensions

    def pseudo_header(self, size: int) -> bytes:
        """What the checksum of `size` octets of TCP, UDP or ICMPv6 also covers (RFC 8200 §8.1)."""
        return _PSEUDO_IPV6.pack(self.src.to_bytes(16, "big"), self.dst.to_bytes(16, "big"), size, self.proto)


def _skip_extensions(data: bytes, header: int) -> tuple[int, int, int] | None:
    """(protocol behind the extension headers, octets of all headers, fragment offset); None when they are cut short."""
    at, offset = _IPV6.size, 0
    while header in _EXTENSIONS and not offset:
        if len(data) < at + 8:
            return None
        size = 8
        if header == _FRAGMENT:
            offset = int.from_bytes(data[at + 2 : at + 4], "big") >> 3
        else:
            size = (data[at + 1] + (1 if _EXTENSIONS[header] == 8 else 2)) * _EXTENSIONS[header]
        header = data[at]
        at += size
    return (header, at, offset) if at <= len(data) else None


def ip_header(src: int, dst: int, proto: int, ident: int = 0, ttl: int = 64) -> Ipv4 | Ipv6:
    """A header of the addresses' family; `ident` where it has one."""
    return Ipv6(src, dst, proto, ttl) if is_ipv6(src) else Ipv4(src, dst, proto, ttl, ident=ident)


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


class Nd(NamedTuple):
    """What follows the header of a neighbour solicitation or advertisement (RFC 4861 §4.3): target, first option, others as they are.

    `option` 0: there is none. The 32 bits before it, `nd_reserved`, are `Icmp.rest`.
    """

    target: int
    option: int = 0
    mac: int = 0
    others: bytes = b""

    @classmethod
    def unpack(cls, data: bytes) -> Nd | None:
        """The message at the start of `data`; None when it is cut short or its first option is no link-layer address."""
        if len(data) < 16:
            return None
        target, options = int.from_bytes(data[:16], "big"), data[16:]
        if not options:
            return cls(target)
        if len(options) < 8 or options[1] != 1:
            return None
        return cls(target, options[0], int.from_bytes(options[2:8], "big"), options[8:])

    def pack(self) -> bytes:
        """Target and options."""
        option = bytes((self.option, 1)) + self.mac.to_bytes(6, "big") if self.option else b""
        return self.target.to_bytes(16, "big") + option + self.others
