"""Address resolution of one host (RFC 826): whom it knows, whom it asks for, and what waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from topologies.model.headers import ETH_ARP, Arp
from topologies.model.packet import Packet

BROADCAST = 0xFFFFFFFFFFFF
ARP_RETRY_S, ARP_TRIES = 1.0, 3


class Resolution(Enum):
    """What became of asking for an address."""

    DONE = "answered"
    FAILED = "nobody answered"


@dataclass(slots=True)
class _Question:
    tries: int = 1
    waiting: list[Packet] = field(default_factory=list)


class Neighbours:
    """The ARP table of a host with one address."""

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

    def receive(self, arp: Arp) -> list[bytes]:
        """Takes a message in; returns frames to send: what waited for it, and the answer to a question about this host."""
        frames: list[bytes] = []
        if arp.spa in self._known or arp.tpa == self._address:
            self._known[arp.spa] = arp.sha
            question = self._asked.pop(arp.spa, None)
            for packet in question.waiting if question else ():
                packet.eth_dst = arp.sha
                frames.append(packet.to_bytes())
        if arp.op == 1 and arp.tpa == self._address:
            frames.append(self._message(arp.sha, Arp(2, self._mac, self._address, arp.sha, arp.spa)))
        return frames

    def _request(self, dst: int) -> bytes:
        return self._message(BROADCAST, Arp(1, self._mac, self._address, 0, dst))

    def _message(self, to: int, arp: Arp) -> bytes:
        frame = Packet(to, self._mac, ETH_ARP)
        frame.arp = arp
        return frame.to_bytes()
