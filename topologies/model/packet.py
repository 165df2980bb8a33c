"""A packet as a switch sees it: parsed headers that can be changed, and the metadata of the pipeline."""

from __future__ import annotations

from typing import NamedTuple

from controller.addresses import V4, V6, family_of
from topologies.model.headers import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    FRAGMENT_OFFSET,
    ND_ADVERTISEMENT,
    ND_SOLICITATION,
    ND_SOURCE_MAC,
    ND_TARGET_MAC,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_TCP,
    PROTO_UDP,
    Arp,
    Icmp,
    Ipv4,
    Ipv6,
    Nd,
    Tcp,
    Udp,
    checksum,
)

ETHERNET_SIZE = 14
REGISTERS = tuple(f"reg{index}" for index in range(8))

# ct_state, ovs-fields(7).
CT_NEW, CT_EST, CT_REL, CT_RPL, CT_INV, CT_TRK, CT_SNAT, CT_DNAT = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
CT_VALID = CT_NEW | CT_EST | CT_RPL
"""One of these is set on every packet of a valid connection: only then do the original-tuple fields exist."""

_Layer = tuple[str, type[Tcp] | type[Udp] | type[Icmp]]
_TRANSPORTS: dict[int, _Layer] = {PROTO_TCP: ("tcp", Tcp), PROTO_UDP: ("udp", Udp)}
_PROTOCOLS: dict[type[Ipv4] | type[Ipv6], dict[int, _Layer]] = {
    Ipv4: {**_TRANSPORTS, PROTO_ICMP: ("icmp", Icmp)},
    Ipv6: {**_TRANSPORTS, PROTO_ICMPV6: ("icmp", Icmp)},
}
_CHECKSUM_OFFSETS = {PROTO_TCP: 16, PROTO_UDP: 6, PROTO_ICMP: 2, PROTO_ICMPV6: 2}
_IP = {ETH_IPV4: Ipv4, ETH_IPV6: Ipv6}


class Original(NamedTuple):
    """The original direction of a tracked connection; for ICMP the ports are type and code (`ovs-fields(7)`, ct_tp_src)."""

    src: int
    dst: int
    tp_src: int
    tp_dst: int
    proto: int


class Tracking(NamedTuple):
    """What the datapath carries along with a packet about its connection. `state` 0: not tracked."""

    state: int = 0
    zone: int = 0
    mark: int = 0
    original: Original | None = None
    entry: object | None = None
    reply: bool = False
    related: bool = False


class Packet:
    """One frame: headers as far as they can be read, and `payload`, whatever comes after the last header that was.

    `damaged`: its transport checksum (or ICMP's) was wrong on arrival; it stays wrong. `trailer`: Ethernet padding.
    `tracked`: the pipeline may see `tracking` (only behind a `ct` with a table, `ovs-actions(7)`).
    """

    __slots__ = (
        "_flow",
        "arp",
        "damaged",
        "eth_dst",
        "eth_src",
        "eth_type",
        "icmp",
        "in_port",
        "ip",
        "nd",
        "payload",
        "registers",
        "tcp",
        "tracked",
        "tracking",
        "trailer",
        "udp",
    )

    def __init__(self, eth_dst: int, eth_src: int, eth_type: int, payload: bytes = b"") -> None:
        self.eth_dst, self.eth_src, self.eth_type = eth_dst, eth_src, eth_type
        self.payload, self.trailer, self.damaged = payload, b"", False
        self.arp: Arp | None = None
        self.ip: Ipv4 | Ipv6 | None = None
        self.tcp: Tcp | None = None
        self.udp: Udp | None = None
        self.icmp: Icmp | None = None
        self.nd: Nd | None = None
        self.in_port = 0
        self.registers = [0] * len(REGISTERS)
        self.tracking = Tracking()
        self.tracked = False
        self._flow: dict[str, int] | None = None

    @classmethod
    def from_bytes(cls, frame: bytes, in_port: int = 0) -> Packet:
        """Reads a frame as far as its headers make sense; the rest is payload.

        Raises:
            ValueError: shorter than an Ethernet header.
        """
        if len(frame) < ETHERNET_SIZE:
            raise ValueError(f"a frame of {len(frame)} octets has no Ethernet header")
        packet = cls(
            int.from_bytes(frame[:6], "big"),
            int.from_bytes(frame[6:12], "big"),
            int.from_bytes(frame[12:14], "big"),
            frame[ETHERNET_SIZE:],
        )
        packet.in_port = in_port
        if packet.eth_type == ETH_ARP:
            packet._read_arp()
        elif packet.eth_type in _IP:
            packet._read_ip(_IP[packet.eth_type])
        return packet

    def _read_arp(self) -> None:
        self.arp = Arp.unpack(self.payload)
        if self.arp is not None:
            self.payload, self.trailer = b"", self.payload[28:]

    def _read_ip(self, version: type[Ipv4] | type[Ipv6]) -> None:
        header = version.unpack(self.payload)
        if header is None:
            return
        self.ip, total = header
        datagram, self.trailer = self.payload[:total], self.payload[total:]
        self.payload = datagram[self.ip.size :]
        protocol = _PROTOCOLS[version].get(self.ip.proto)
        if protocol is None or self.ip.fragment & FRAGMENT_OFFSET:
            return
        layer, kind = protocol
        transport = kind.unpack(self.payload)
        if transport is None:
            return
        parsed, size = transport
        unsummed = isinstance(parsed, Udp) and parsed.unsummed and version is Ipv4
        # A ones' complement sum over data that holds its checksum is 0xFFFF: its complement is 0.
        self.damaged = not unsummed and checksum(self._pseudo_header(len(self.payload)) + self.payload) != 0
        setattr(self, layer, parsed)
        self.payload = self.payload[size:]
        if version is Ipv6 and self._discovers():
            self.nd = Nd.unpack(self.payload)
            self.payload = b"" if self.nd is not None else self.payload

    def _discovers(self) -> bool:
        return self.icmp is not None and self.icmp[:2] in {(ND_SOLICITATION, 0), (ND_ADVERTISEMENT, 0)}

    def _pseudo_header(self, size: int) -> bytes:
        if self.ip is None or self.ip.proto == PROTO_ICMP:
            return b""
        return self.ip.pseudo_header(size)

    def to_bytes(self) -> bytes:
        """The frame, with lengths and checksums computed."""
        ethernet = self.eth_dst.to_bytes(6, "big") + self.eth_src.to_bytes(6, "big") + self.eth_type.to_bytes(2, "big")
        if self.arp is not None:
            return ethernet + self.arp.pack() + self.trailer
        if self.ip is None:
            return ethernet + self.payload + self.trailer
        transport = self._transport_bytes(self.ip)
        return ethernet + self.ip.pack(len(transport)) + transport + self.trailer

    def _transport_bytes(self, ip: Ipv4 | Ipv6) -> bytes:
        if self.tcp is not None:
            bare = self.tcp.pack() + self.payload
        elif self.udp is not None:
            bare = self.udp.pack(len(self.payload)) + self.payload
        elif self.icmp is not None:
            bare = self.icmp.pack() + (self.nd.pack() if self.nd is not None else b"") + self.payload
        else:
            return self.payload
        if self.udp is not None and self.udp.unsummed:
            return bare
        total = checksum(self._pseudo_header(len(bare)) + bare) ^ (0xFFFF if self.damaged else 0)
        if self.udp is not None and total == 0:
            total = 0xFFFF  # RFC 768: a computed zero is sent as all ones, zero means none.
        offset = _CHECKSUM_OFFSETS[ip.proto]
        return bare[:offset] + total.to_bytes(2, "big") + bare[offset + 2 :]

    def copy(self) -> Packet:
        """An independent packet, metadata included (headers are immutable, so they are shared)."""
        other = Packet(self.eth_dst, self.eth_src, self.eth_type, self.payload)
        other.trailer, other.damaged = self.trailer, self.damaged
        other.arp, other.ip, other.tcp, other.udp, other.icmp = self.arp, self.ip, self.tcp, self.udp, self.icmp
        other.nd = self.nd
        other.in_port, other.registers = self.in_port, self.registers.copy()
        other.tracking, other.tracked, other._flow = self.tracking, self.tracked, self._flow
        return other

    def changed(self) -> None:
        """Call after replacing a header or the metadata: `flow()` is computed anew."""
        self._flow = None

    def flow(self) -> dict[str, int]:
        """Every field that exists in this packet, by OXM/NXM name: what a match is compared with. Not to be changed."""
        if self._flow is None:
            self._flow = self._read_flow()
        return self._flow

    def _read_flow(self) -> dict[str, int]:
        flow = {"in_port": self.in_port, "eth_dst": self.eth_dst, "eth_src": self.eth_src, "eth_type": self.eth_type}
        flow.update(zip(REGISTERS, self.registers, strict=True))
        if self.ip is not None:
            family = V6 if isinstance(self.ip, Ipv6) else V4
            flow["ip_proto"], flow[family.src], flow[family.dst] = self.ip.proto, self.ip.src, self.ip.dst
            flow["nw_ttl"] = self.ip.ttl
        if self.tcp is not None:
            flow["tcp_src"], flow["tcp_dst"], flow["tcp_flags"] = self.tcp.src, self.tcp.dst, self.tcp.flags
        elif self.udp is not None:
            flow["udp_src"], flow["udp_dst"] = self.udp.src, self.udp.dst
        elif self.icmp is not None:
            version = "v6" if isinstance(self.ip, Ipv6) else "v4"
            flow[f"icmp{version}_type"], flow[f"icmp{version}_code"] = self.icmp.type, self.icmp.code
            flow.update(self._discovery_fields(self.icmp))
        elif self.arp is not None:
            flow["arp_op"], flow["arp_spa"], flow["arp_tpa"] = self.arp.op, self.arp.spa, self.arp.tpa
            flow["arp_sha"], flow["arp_tha"] = self.arp.sha, self.arp.tha
        flow.update(self._connection_fields())
        return flow

    def _discovery_fields(self, icmp: Icmp) -> dict[str, int]:
        if self.nd is None or not self._discovers():
            return {}
        fields = {"ipv6_nd_target": self.nd.target, "nd_reserved": icmp.rest}
        if self.nd.option:
            fields["nd_options_type"] = self.nd.option
        if (icmp.type, self.nd.option) == (ND_SOLICITATION, ND_SOURCE_MAC):
            fields["ipv6_nd_sll"] = self.nd.mac
        elif (icmp.type, self.nd.option) == (ND_ADVERTISEMENT, ND_TARGET_MAC):
            fields["ipv6_nd_tll"] = self.nd.mac
        return fields

    def _connection_fields(self) -> dict[str, int]:
        tracking = self.tracking
        if not self.tracked:
            return {"ct_state": 0, "ct_zone": 0, "ct_mark": 0}
        fields = {"ct_state": tracking.state, "ct_zone": tracking.zone, "ct_mark": tracking.mark}
        original = tracking.original
        if tracking.state & CT_VALID and original is not None:
            family = family_of(original.src)
            fields[family.ct_src], fields[family.ct_dst] = original.src, original.dst
            fields["ct_nw_proto"] = original.proto
            fields["ct_tp_src"], fields["ct_tp_dst"] = original.tp_src, original.tp_dst
        return fields
