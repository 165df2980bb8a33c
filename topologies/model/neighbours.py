"""Address resolution of one host (RFC 826, RFC 4861 §7.2): whom it knows, whom it asks for, and what waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from controller.addresses import is_ipv6
from topologies.model.headers import (
    ETH_ARP,
    ETH_IPV6,
    ND_ADVERTISEMENT,
    ND_SOLICITATION,
    ND_SOURCE_MAC,
    ND_TARGET_MAC,
    PROTO_ICMPV6,
    Arp,
    Icmp,
    Ipv6,
    Nd,
)
from topologies.model.packet import Packet

BROADCAST = 0xFFFFFFFFFFFF
ARP_RETRY_S, ARP_TRIES = 1.0, 3
"""Of neighbour discovery too: RetransTimer and MAX_MULTICAST_SOLICIT (RFC 4861 §10)."""
_HOP_LIMIT = 255
_SOLICITED_NODE = 0xFF02 << 112 | 0x1FF000000
_SOLICITED, _OVERRIDE = 0x40000000, 0x20000000


def solicited_node(address: int) -> tuple[int, int]:
    """The multicast address that a solicitation for an address goes to, and its MAC (RFC 4291 §2.7.1, RFC 2464 §7)."""
    group = _SOLICITED_NODE | address & 0xFFFFFF
    return group, 0x3333 << 32 | group & 0xFFFFFFFF


class Resolution(Enum):
    """What became of asking for an address."""

    DONE = "answered"
    FAILED = "nobody answered"


@dataclass(slots=True)
class _Question:
    tries: int = 1
    waiting: list[Packet] = field(default_factory=list)


class Neighbours:
    """The neighbours of a host with one address."""

    def __init__(self, mac: int, address: int) -> None:
        self._mac, self._address = mac, address
        self._known: dict[int, int] = {}
        self._asked: dict[int, _Question] = {}

    def address(self, packet: Packet, dst: int) -> tuple[list[bytes], bool]:
        """Gives a packet for `dst` its Ethernet destination: frames to send, and whether a question was asked just now."""
        known = self._known.get(dst)
        if known is not None:
            packet.eth_dst = known
            return [packet.to_bytes()], False
        if dst in self._asked:
            self._asked[dst].waiting.append(packet)
            return [], False
        self._asked[dst] = _Question(waiting=[packet])
        return [self._request(dst)], True

    def retry(self, dst: int) -> bytes | Resolution:
        """A further request for an address that nobody answered for, or what became of it."""
        question = self._asked.get(dst)
        if question is None:
            return Resolution.DONE
        if question.tries == ARP_TRIES:
            del self._asked[dst]
            return Resolution.FAILED
        question.tries += 1
        return self._request(dst)

    def receive(self, packet: Packet) -> list[bytes]:
        """Takes a message in, if it is one; returns frames to send: what waited for it, and the answer to a question about this host."""
        arp, nd, ip = packet.arp, packet.nd, packet.ip
        if arp is not None:
            frames = self._learn(arp.spa, arp.sha, arp.tpa == self._address)
            if arp.op == 1 and arp.tpa == self._address:
                frames.append(self._message(arp.sha, Arp(2, self._mac, self._address, arp.sha, arp.spa)))
            return frames
        if nd is None or ip is None or packet.icmp is None or packet.damaged or ip.ttl != _HOP_LIMIT:
            return []
        if packet.icmp.type == ND_ADVERTISEMENT:
            # Of whom it asked for or knows; without the option it says only that the neighbour is there.
            return self._learn(nd.target, nd.mac, nd.target in self._asked) if nd.option == ND_TARGET_MAC else []
        if nd.target != self._address or not ip.src:
            return []
        mac = nd.mac if nd.option == ND_SOURCE_MAC else packet.eth_src
        body = Nd(self._address, ND_TARGET_MAC, self._mac)
        answer = self._discovery(ND_ADVERTISEMENT, _SOLICITED | _OVERRIDE, ip.src, mac, body)
        return [*self._learn(ip.src, mac, True), answer]

    def _learn(self, address: int, mac: int, welcome: bool) -> list[bytes]:
        if not welcome and address not in self._known:
            return []
        self._known[address] = mac
        question = self._asked.pop(address, None)
        waiting = question.waiting if question else []
        for packet in waiting:
            packet.eth_dst = mac
        return [packet.to_bytes() for packet in waiting]

    def _request(self, dst: int) -> bytes:
        if is_ipv6(dst):
            return self._discovery(ND_SOLICITATION, 0, *solicited_node(dst), Nd(dst, ND_SOURCE_MAC, self._mac))
        return self._message(BROADCAST, Arp(1, self._mac, self._address, 0, dst))

    def _discovery(self, kind: int, flags: int, to: int, to_mac: int, body: Nd) -> bytes:
        frame = Packet(to_mac, self._mac, ETH_IPV6)
        frame.ip, frame.icmp, frame.nd = Ipv6(self._address, to, PROTO_ICMPV6, _HOP_LIMIT), Icmp(kind, 0, flags), body
        return frame.to_bytes()

    def _message(self, to: int, arp: Arp) -> bytes:
        frame = Packet(to, self._mac, ETH_ARP)
        frame.arp = arp
        return frame.to_bytes()
