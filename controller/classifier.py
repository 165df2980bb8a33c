"""Which rule is the first about a packet, found without reading all of them: tuple space search (Srinivasan et al., SIGCOMM 1999).

Rules of one shape (the lengths of their two prefixes, and their protocol) are in one table and found by looking up the packet's own
prefixes of these lengths. Real rule sets have a few dozen shapes however many rules there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from controller import addresses, frames
from controller.policy import Rule, zone_number

NAMES = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}
_FULL = {False: (1 << 32) - 1, True: (1 << 128) - 1}


prefix_of = lru_cache(maxsize=1 << 16)(addresses.prefix)
"""Rules are read anew with every change of one of them; what they say of addresses stays."""


class FirstPacket(NamedTuple):
    """What a rule judges: who begins to talk to whom. Addresses as integers; without ports both are 0, in no zone they are in zone 0."""

    src: int
    dst: int
    protocol: int
    src_port: int
    dst_port: int
    from_zone: int = 0
    to_zone: int = 0

    @property
    def name(self) -> str | None:
        """The protocol as rules call it; None for one that they do not name."""
        return NAMES.get(self.protocol)


def between(rule: Rule, packet: FirstPacket) -> bool:
    """Whether a packet is between the zones that a rule names."""
    ends = (rule.from_zone, packet.from_zone), (rule.to_zone, packet.to_zone)
    return all(name is None or zone_number(name) == number for name, number in ends)


class _Shape(NamedTuple):
    is_ipv6: bool
    src_mask: int
    dst_mask: int
    protocol: str | None


class Classifier:
    """Rules in the order they are tried."""

    def __init__(self, ordered: Iterable[Rule]) -> None:
        self.rules = list(ordered)
        self._tables: dict[_Shape, dict[tuple[int, int], list[int]]] = {}
        for place, rule in enumerate(self.rules):
            for family in addresses.families_of(rule.src, rule.dst):
                src, dst = (prefix_of(text) if text else (0, 0) for text in (rule.src, rule.dst))
                shape = _Shape(family is addresses.V6, src[1], dst[1], rule.protocol)
                self._tables.setdefault(shape, {}).setdefault((src[0], dst[0]), []).append(place)
        self._ports = [rule.port_ranges() for rule in self.rules]
        self.zoned = any(rule.from_zone or rule.to_zone for rule in self.rules)
        """Whether a rule names a zone."""

    def first(self, packet: FirstPacket) -> Rule | None:
        """The first rule about the packet."""
        place = self.place(packet)
        return self.rules[place] if place < len(self.rules) else None

    def place(self, packet: FirstPacket) -> int:
        """Where in the order the first rule about the packet stands; behind the last when there is none."""
        best = len(self.rules)
        is_ipv6, name = addresses.is_ipv6(packet.dst), packet.name
        for shape, table in self._tables.items():
            if shape.is_ipv6 != is_ipv6 or shape.protocol not in (None, name):
                continue
            for place in table.get((packet.src & shape.src_mask, packet.dst & shape.dst_mask), ()):
                if place >= best:
                    break
                ports = self._ports[place]
                if self.zoned and not between(self.rules[place], packet):
                    continue
                if not ports or any(low <= packet.dst_port <= high for low, high in ports):
                    best = place
                    break
        return best


def read_first_packet(frame: bytes) -> FirstPacket | None:
    """What a frame says of who talks to whom (RFC 791 §3.1, RFC 8200 §3); None when it is not IP, cut short, or IPv4 in disguise."""
    way = frames.read_addresses(frame)
    if way is None:
        return None
    header, protocol = (54, frame[20]) if addresses.is_ipv6(way[0]) else (14 + (frame[14] & 0x0F) * 4, frame[23])
    word = int.from_bytes
    has_ports = protocol in (6, 17) and len(frame) >= header + 4
    ports = (word(frame[header : header + 2]), word(frame[header + 2 : header + 4])) if has_ports else (0, 0)
    return FirstPacket(*way, protocol, *ports)
