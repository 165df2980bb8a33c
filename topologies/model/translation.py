"""How a tracker recognises a packet's connection, and how it translates addresses and ports (`ovs-actions(7)`, ct and nat)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from controller.flows import Nat
from topologies.model.headers import (
    ICMP_ERRORS,
    PROTO_ICMPV6,
    PROTO_TCP,
    PROTO_UDP,
    PROTOS_ICMP,
    Icmp,
    Ipv4,
    Ipv6,
    checksum,
)
from topologies.model.packet import CT_DNAT, CT_SNAT, Packet

_REVERSED_ICMP = {0: 8, 8: 0, 13: 14, 14: 13, 15: 16, 16: 15, 128: 129, 129: 128}
"""Type of the opposite direction. Those of ICMPv6 mean nothing to a tracker of IPv4, and the other way round."""
_ATTEMPTS = 128
_PORTS = {PROTO_TCP, PROTO_UDP}


class Key(NamedTuple):
    """One direction of a connection in a zone. For ICMP a port is identifier << 8 | type, the type of its own direction."""

    zone: int
    proto: int
    src: int
    src_port: int
    dst: int
    dst_port: int


class Translation(NamedTuple):
    """How a connection is translated: the keys of its packets in each direction as they arrive, and what it changes."""

    forward: Key
    reverse: Key
    kind: Literal["src", "dst"]


def reversed_key(key: Key) -> Key:
    """The opposite direction, as if nothing were translated."""
    return Key(key.zone, key.proto, key.dst, key.dst_port, key.src, key.src_port)


def key_of(packet: Packet, zone: int) -> tuple[Key, bool] | None:
    """The connection a packet belongs to and whether it only relates to it (an ICMP error); None: none can be told."""
    ip = packet.ip
    if ip is None or packet.damaged:
        return None
    if packet.icmp is not None and packet.icmp.type in ICMP_ERRORS.get(ip.proto, ()):
        quoted = _quoted_key(packet.payload, zone)
        # The error goes to whoever sent the quoted packet; anything else is forged or misdirected.
        return (reversed_key(quoted), True) if quoted is not None and quoted.src == ip.dst else None
    ports = _ports(packet, ip.proto)
    return (Key(zone, ip.proto, ip.src, ports[0], ip.dst, ports[1]), False) if ports else None


def _ports(packet: Packet, proto: int) -> tuple[int, int] | None:
    if proto in _PORTS:
        transport = packet.tcp or packet.udp
        return (transport.src, transport.dst) if transport and transport.src and transport.dst else None
    if proto in PROTOS_ICMP:
        return _icmp_ports(packet.icmp, proto) if packet.icmp else None
    return 0, 0


def _icmp_ports(icmp: Icmp, proto: int) -> tuple[int, int] | None:
    if icmp.type not in _REVERSED_ICMP or icmp.code != 0 or (icmp.type >= 128) != (proto == PROTO_ICMPV6):
        return None
    return icmp.ident << 8 | icmp.type, icmp.ident << 8 | _REVERSED_ICMP[icmp.type]


def _quoted_header(payload: bytes) -> tuple[Ipv4 | Ipv6, bytes] | None:
    """The IP header an ICMP error quotes, and what it quotes of the data: at least 8 octets (RFC 792, RFC 4443 §2.4)."""
    # The quotation is cut short, so its length says more than there is.
    header: tuple[Ipv4 | Ipv6, int] | None
    if payload[:1] and payload[0] >> 4 == 6:
        header = Ipv6.unpack(payload[:4] + max(0, len(payload) - 40).to_bytes(2, "big") + payload[6:])
    else:
        header = Ipv4.unpack(payload[:2] + len(payload).to_bytes(2, "big") + payload[4:])
    if header is None or len(payload) < header[0].size + 8:
        return None
    return header[0], payload[header[0].size :]


def _quoted_key(payload: bytes, zone: int) -> Key | None:
    quoted = _quoted_header(payload)
    if quoted is None:
        return None
    ip, data = quoted
    if ip.proto in _PORTS:
        src_port, dst_port = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        return Key(zone, ip.proto, ip.src, src_port, ip.dst, dst_port) if src_port and dst_port else None
    if ip.proto not in PROTOS_ICMP:
        return Key(zone, ip.proto, ip.src, 0, ip.dst, 0)
    header = Icmp.unpack(data)
    ports = _icmp_ports(header[0], ip.proto) if header else None
    return Key(zone, ip.proto, ip.src, ports[0], ip.dst, ports[1]) if ports else None


def reply_key(key: Key, nat: Nat, taken: Callable[[Key], bool]) -> Key | None:
    """The key the replies of a connection will have once it is translated; None when no free one is left.

    A source port that collides is replaced by an ephemeral one, also when only the destination is translated. A bare `nat`
    with commit gives replies no address, as in Open vSwitch 3.1: the connection never sees one.
    """
    if nat.kind == "known":
        return Key(key.zone, key.proto, 0, key.dst_port, key.src, 0 if key.proto in _PORTS else key.src_port)
    src = nat.address or key.src if nat.kind == "src" else key.src
    dst = nat.address or key.dst if nat.kind == "dst" else key.dst
    plain = Key(key.zone, key.proto, dst, key.dst_port, src, key.src_port)
    if key.proto not in _PORTS:
        return None if taken(plain) else plain
    candidates = _candidates(plain, nat, zlib.crc32(repr(key).encode()))
    return next((candidate for candidate in candidates if not taken(candidate)), None)


def _candidates(plain: Key, nat: Nat, seed: int) -> Iterator[Key]:
    if nat.ports and nat.kind == "src":
        yield from (plain._replace(dst_port=port) for port in _spread(nat.ports, seed))
        return
    if nat.ports:
        for port in _spread(nat.ports, seed):
            plain = plain._replace(src_port=port)
            yield plain
        plain = plain._replace(src_port=next(_spread(nat.ports, seed)))
    yield plain
    low, high = _class_of(plain.dst_port)
    yield from (plain._replace(dst_port=port) for port in _spread((low, high), plain.dst_port - low))


def _class_of(port: int) -> tuple[int, int]:
    """The ports that may stand for this one: privileged ones stay privileged."""
    if port < 512:
        return 1, 511
    return (600, 1023) if port < 1024 else (1024, 65535)


def _spread(ports: tuple[int, int], seed: int) -> Iterator[int]:
    low, high = ports
    size = high - low + 1
    return (low + (seed + step) % size for step in range(min(size, _ATTEMPTS)))


def translate(packet: Packet, translation: Translation, reply: bool, related: bool) -> int:
    """Rewrites a packet of a translated connection for its direction; returns the ct_state bit that says so."""
    # The packet becomes the opposite of what its answer looks like.
    wanted = translation.forward if reply else translation.reverse
    source = (translation.kind == "src") is not reply
    ip = packet.ip
    if ip is None:
        return 0
    packet.ip = ip._replace(src=wanted.dst) if source else ip._replace(dst=wanted.src)
    if related:
        packet.payload = _translate_quoted(packet.payload, wanted, not source)
    elif packet.tcp is not None:
        packet.tcp = packet.tcp._replace(src=wanted.dst_port, dst=wanted.src_port)
    elif packet.udp is not None:
        packet.udp = packet.udp._replace(src=wanted.dst_port, dst=wanted.src_port)
    return CT_SNAT if source else CT_DNAT


def _translate_quoted(payload: bytes, outer: Key, source: bool) -> bytes:
    """The packet quoted in an ICMP error, which went the other way: `source` says which of its addresses changes."""
    quoted = _quoted_header(payload)
    if quoted is None:
        return payload
    ip, data = quoted
    # Where the addresses are, and how long each is.
    first, size = (12, 4) if isinstance(ip, Ipv4) else (8, 16)
    second, end = first + size, first + 2 * size
    address = (outer.src if source else outer.dst).to_bytes(size, "big")
    header = payload[: ip.size]
    before = header[first:end] + data[:4]
    at = first if source else second
    header = header[:at] + address + header[at + size :]
    if ip.proto in _PORTS:
        ports = outer.src_port.to_bytes(2, "big") + outer.dst_port.to_bytes(2, "big")
        data = _adjusted(ports + data[4:], ip.proto, before, header[first:end] + ports)
    if isinstance(ip, Ipv4):
        bare = header[:10] + b"\0\0" + header[12:]
        header = header[:10] + checksum(bare).to_bytes(2, "big") + header[12:]
    return header + data


def _adjusted(data: bytes, proto: int, before: bytes, after: bytes) -> bytes:
    """Quoted transport data whose addresses and ports changed, with its checksum, where quoted, adjusted (RFC 1624)."""
    offset = 16 if proto == PROTO_TCP else 6
    old = int.from_bytes(data[offset : offset + 2], "big")
    if len(data) < offset + 2 or (proto == PROTO_UDP and old == 0):
        return data
    total = (0xFFFF - old - int.from_bytes(before, "big") + int.from_bytes(after, "big")) % 0xFFFF or 0xFFFF
    return data[:offset] + (0xFFFF - total).to_bytes(2, "big") + data[offset + 2 :]
