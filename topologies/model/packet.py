"""A packet as a switch sees it: parsed headers that can be changed, and the metadata of the pipeline."""

from __future__ import annotations

from typing import NamedTuple

from topologies.model.headers import (
    ETH_ARP,
    ETH_IPV4,
    FRAGMENT_OFFSET,
    PROTO_ICMP,
    PROTO_TCP,
    PROTO_UDP,
    Arp,
    Icmp,
    Ipv4,
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

_PROTOCOLS: dict[int, tuple[str, type[Tcp] | type[Udp] | type[Icmp]]] = {
    PROTO_TCP: ("tcp", Tcp),
    PROTO_UDP: ("udp", Udp),
    PROTO_ICMP: ("icmp", Icmp),
}
_CHECKSUM_OFFSETS = {PROTO_TCP: 16, PROTO_UDP: 6, PROTO_ICMP: 2}


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
        "ipv4",
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
        self.ipv4: Ipv4 | None = None
        self.tcp: Tcp | None = None
        self.udp: Udp | None = None
        self.icmp: Icmp | None = None
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
        elif packet.eth_type == ETH_IPV4:
            packet._read_ipv4()
        return packet

    def _read_arp(self) -> None:
        self.arp = Arp.unpack(self.payload)
        if self.arp is not None:
            self.payload, self.trailer = b"", self.payload[28:]

    def _read_ipv4(self) -> None:
        header = Ipv4.unpack(self.payload)
        if header is None:
            return
        self.ipv4, total = header
        datagram, self.trailer = self.payload[:total], self.payload[total:]
        self.payload = datagram[self.ipv4.size :]
        protocol = _PROTOCOLS.get(self.ipv4.proto)
        if protocol is None or self.ipv4.fragment & FRAGMENT_OFFSET:
            return
        layer, kind = protocol
        transport = kind.unpack(self.payload)
        if transport is None:
            return
        parsed, size = transport
        unsummed = isinstance(parsed, Udp) and parsed.unsummed
        # A ones' complement sum over data that holds its checksum is 0xFFFF: its complement is 0.
        self.damaged = not unsummed and checksum(self._pseudo_header(len(self.payload)) + self.payload) != 0
        setattr(self, layer, parsed)
        self.payload = self.payload[size:]

    def _pseudo_header(self, size: int) -> bytes:
        if self.ipv4 is None or self.ipv4.proto == PROTO_ICMP:
            return b""
        return self.ipv4.pseudo_header(size)

    def to_bytes(self) -> bytes:
        """The frame, with lengths and checksums computed."""
        ethernet = self.eth_dst.to_bytes(6, "big") + self.eth_src.to_bytes(6, "big") + self.eth_type.to_bytes(2, "big")
        if self.arp is not None:
            return ethernet + self.arp.pack() + self.trailer
        if self.ipv4 is None:
            return ethernet + self.payload + self.trailer
        transport = self._transport_bytes(self.ipv4)
        return ethernet + self.ipv4.pack(len(transport)) + transport + self.trailer

    def _transport_bytes(self, ipv4: Ipv4) -> bytes:
        if self.tcp is not None:
            bare = self.tcp.pack() + self.payload
        elif self.udp is not None:
            bare = self.udp.pack(len(self.payload)) + self.payload
        elif self.icmp is not None:
            bare = self.icmp.pack() + self.payload
        else:
            return self.payload
        if self.udp is not None and self.udp.unsummed:
            return bare
        total = checksum(self._pseudo_header(len(bare)) + bare) ^ (0xFFFF if self.damaged else 0)
        if self.udp is not None and total == 0:
            total = 0xFFFF  # RFC 768: a computed zero is sent as all ones, zero means none.
        offset = _CHECKSUM_OFFSETS[ipv4.proto]
        return bare[:offset] + total.to_bytes(2, "big") + bare[offset + 2 :]

    def copy(self) -> Packet:
        """An independent packet, metadata included (headers are immutable, so they are shared)."""
        other = Packet(self.eth_dst, self.eth_src, self.eth_type, self.payload)
        other.trailer, other.damaged = self.trailer, self.damaged
        other.arp, other.ipv4, other.tcp, other.udp, other.icmp = self.arp, self.ipv4, self.tcp, self.udp, self.icmp
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
        if self.ipv4 is not None:
            flow["ip_proto"], flow["ipv4_src"], flow["ipv4_dst"] = self.ipv4.proto, self.ipv4.src, self.ipv4.dst
        if self.tcp is not None:
            flow["tcp_src"], flow["tcp_dst"], flow["tcp_flags"] = self.tcp.src, self.tcp.dst, self.tcp.flags
        elif self.udp is not None:
            flow["udp_src"], flow["udp_dst"] = self.udp.src, self.udp.dst
        elif self.icmp is not None:
            flow["icmpv4_type"], flow["icmpv4_code"] = self.icmp.type, self.icmp.code
        elif self.arp is not None:
            flow["arp_op"], flow["arp_spa"], flow["arp_tpa"] = self.arp.op, self.arp.spa, self.arp.tpa
            flow["arp_sha"], flow["arp_tha"] = self.arp.sha, self.arp.tha
        flow.update(self._connection_fields())
        return flow

    def _connection_fields(self) -> dict[str, int]:
        tracking = self.tracking
        if not self.tracked:
            return {"ct_state": 0, "ct_zone": 0, "ct_mark": 0}
        fields = {"ct_state": tracking.state, "ct_zone": tracking.zone, "ct_mark": tracking.mark}
        original = tracking.original
        if tracking.state & CT_VALID and original is not None:
            fields["ct_nw_src"], fields["ct_nw_dst"], fields["ct_nw_proto"] = original.src, original.dst, original.proto
            fields["ct_tp_src"], fields["ct_tp_dst"] = original.tp_src, original.tp_dst
        return fields
