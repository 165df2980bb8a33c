"""Frames for tests of the model: built ones, and random ones that keep to a handful of connections."""

import random
from typing import NamedTuple

from controller import addresses
from controller.addresses import V4, family_of
from topologies.model.headers import (
    ACK,
    FIN,
    PROTO_TCP,
    PROTO_UDP,
    PSH,
    RST,
    SYN,
    Icmp,
    Tcp,
    Udp,
    ip_header,
)
from topologies.model.packet import Packet

CLIENT, VIP, MEMBER, OTHER = 0x0A000001, 0x0A000064, 0x0A000101, 0x0A0000FE
"""10.0.0.1, 10.0.0.100, 10.0.1.1, 10.0.0.254."""
VIP_PORT, MEMBER_PORT = 80, 8080


class Ends(NamedTuple):
    """Who talks with whom."""

    client: int
    vip: int
    member: int
    other: int


IPV4_ENDS = Ends(CLIENT, VIP, MEMBER, OTHER)
IPV6_ENDS = Ends(*(addresses.number(f"fd00::{place}") for place in ("1", "64", "1:1", "fe")))
MASK = 0xFFFFFFFF
SCALED = b"\x02\x04\x05\xb4\x01\x03\x03\x07"
_KINDS = {
    "syn": SYN,
    "syn-ack": SYN | ACK,
    "ack": ACK,
    "data": ACK | PSH,
    "fin": FIN | ACK,
    "rst": RST,
    "rst-ack": RST | ACK,
}


def ip_packet(src: int, dst: int, transport: Tcp | Udp | Icmp, payload: bytes = b"") -> Packet:
    family = family_of(src)
    packet = Packet(0x020000000002, 0x020000000001, family.eth_type, payload)
    if isinstance(transport, Tcp):
        proto, packet.tcp = PROTO_TCP, transport
    elif isinstance(transport, Udp):
        proto, packet.udp = PROTO_UDP, transport
    else:
        proto, packet.icmp = family.icmp, transport
    packet.ip = ip_header(src, dst, proto, ident=7)
    return packet


class Traffic:
    """Random packets: TCP through the VIP, direct and source-translated, with wrong numbers now and then; UDP; ICMP and its errors.

    `last` is a frame the switch let out, for ICMP errors to quote.
    """

    def __init__(self, seed: int, ends: Ends = IPV4_ENDS) -> None:
        self.chance = random.Random(seed)
        self.ends, self.family = ends, family_of(ends.client)
        self.last: bytes | None = None
        self._connections: dict[tuple[str, int], dict[str, int]] = {}

    def frame(self) -> bytes:
        kinds = [self._tcp, self._udp, self._echo, self._error]
        return self.chance.choices(kinds, [80, 7, 6, 7])[0]().to_bytes()

    def _tcp(self) -> Packet:
        chance = self.chance
        path, port = chance.choice(["vip", "vip", "vip", "direct", "snat"]), chance.randrange(40000, 40006)
        fresh = {"client": chance.randrange(1 << 32), "member": chance.randrange(1 << 32)}
        numbers = self._connections.setdefault((path, port), fresh)
        if chance.random() < 0.03:
            del self._connections[path, port]
        kind = chance.choices([*_KINDS, "odd"], [6, 5, 6, 8, 2, 1, 1, 1])[0]
        flags = _KINDS.get(kind, chance.randrange(64))
        forward = chance.random() < {"syn": 0.95, "syn-ack": 0.05}.get(kind, 0.5)
        tcp, payload = self._segment(numbers, flags, forward, kind == "data")
        return self._addressed(path, port, forward, tcp, payload)

    def _segment(self, numbers: dict[str, int], flags: int, forward: bool, data: bool) -> tuple[Tcp, bytes]:
        chance = self.chance
        mine, yours = ("client", "member") if forward else ("member", "client")
        wide = [0, chance.randrange(-3, 4), chance.randrange(-70000, 70000), chance.randrange(1 << 32)]
        off = chance.choices(wide, [8, 2, 1, 0.5])[0]
        acknowledged = numbers[yours] + chance.choices([0, *wide[1:]], [8, 2, 1, 0.5])[0]
        payload = b"x" * chance.choice([1, 10, 1400]) if data else b""
        options = chance.choice([b"", SCALED, SCALED[:-1] + bytes([chance.choice([0, 2, 14])])]) if flags & SYN else b""
        seq, ack = (numbers[mine] + off) & MASK, acknowledged & MASK if flags & ACK else 0
        if off == 0:
            numbers[mine] = (numbers[mine] + len(payload) + bool(flags & SYN) + bool(flags & FIN)) & MASK
        return Tcp(0, 0, seq, ack, flags, chance.choice([0, 1, 502, 64240, 65535]), options), payload

    def _addressed(self, path: str, port: int, forward: bool, tcp: Tcp, payload: bytes) -> Packet:
        client, server, server_port = {
            "vip": (self.ends.client, self.ends.vip, VIP_PORT),
            "direct": (self.ends.client, self.ends.member, MEMBER_PORT),
            "snat": (self.ends.other, self.ends.member, MEMBER_PORT),
        }[path]
        if forward:
            return ip_packet(client, server, tcp._replace(src=port, dst=server_port), payload)
        seen_by_member = self.ends.vip if path == "snat" else self.ends.client
        return ip_packet(self.ends.member, seen_by_member, tcp._replace(src=MEMBER_PORT, dst=port), payload)

    def _udp(self) -> Packet:
        port, (client, vip, member, _) = self.chance.randrange(50000, 50004), self.ends
        if self.chance.random() < 0.5:
            return ip_packet(client, self.chance.choice([vip, member]), Udp(port, 53), b"question")
        return ip_packet(member, client, Udp(53, port), b"answer")

    def _echo(self) -> Packet:
        rest, (client, _, member, _) = self.chance.randrange(3) << 16 | 1, self.ends
        if self.chance.random() < 0.5:
            return ip_packet(client, member, Icmp(self.family.echo_request, 0, rest), b"ping")
        # Neither a timestamp request nor a report of listeners answers an echo.
        kinds = [self.family.echo_reply] * 3 + [13 if self.family is V4 else 131]
        return ip_packet(member, client, Icmp(self.chance.choice(kinds), 0, rest), b"ping")

    def _error(self) -> Packet:
        if self.last is None:
            return self._echo()
        # Never cut before the TCP checksum: Open vSwitch 3.1 writes there, in and out of the packet.
        source, kinds, sizes = (slice(12, 16), [3, 11, 5], [40, 60])
        if self.family is not V4:
            source, kinds, sizes = (slice(8, 24), [1, 2, 3, 4], [60, 80])
        quoted = self.last[14 : 14 + self.chance.choice(sizes)]
        to = int.from_bytes(quoted[source], "big") if self.chance.random() < 0.9 else self.ends.client
        return ip_packet(self.chance.choice(self.ends[1:]), to, Icmp(self.chance.choice(kinds), 1), quoted)
