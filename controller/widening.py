"""The widest flow that is still right: how much more than one packet a verdict may be cached for.

Begins with the packet alone and lets go of one field after the other (port, source, destination) as far as the rule that decided
reaches, short of every rule before it that says something else. None of the fields can be widened further by a single bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from controller import addresses
from controller.classifier import FirstPacket
from controller.flows import MaskedValue
from controller.policy import Rule

PORT_BITS = 16


class Region(NamedTuple):
    """Packets of one family and protocol: those whose addresses and destination port agree with these under their masks."""

    is_ipv6: bool
    protocol: int
    src: MaskedValue
    dst: MaskedValue
    dst_port: MaskedValue
    zones: tuple[int, int] | None = None
    """The zones they are between, where rules name zones."""

    def holds(self, packet: FirstPacket) -> bool:
        """Whether the packet is one of them."""
        if self.zones is not None and (packet.from_zone, packet.to_zone) != self.zones:
            return False
        of_these = (addresses.is_ipv6(packet.dst), packet.protocol) == (self.is_ipv6, self.protocol)
        return of_these and all(
            value & mask == network
            for value, (network, mask) in (
                (packet.src, self.src),
                (packet.dst, self.dst),
                (packet.dst_port, self.dst_port),
            )
        )


class _Other(NamedTuple):
    """An earlier rule: prefixes as (value, mask), its ports as ranges."""

    src: MaskedValue
    dst: MaskedValue
    ports: Sequence[tuple[int, int]]


def widest(packet: FirstPacket, rule: Rule | None, others: Iterable[Rule], *, any_source: bool = True) -> Region:
    """The region of a verdict by `rule` (None: the default) that meets none of `others`; of one source only, unless `any_source`."""
    family = addresses.family_of(packet.dst)
    left = [_as_other(other) for other in others if _may_meet(other, packet, family)]
    ranges = rule.port_ranges() if rule is not None else ()
    port = _widen_port(
        packet.dst_port,
        ranges,
        [other for other in left if _meets(packet.src, other.src) and _meets(packet.dst, other.dst)],
    )
    left = [other for other in left if _ports_meet(port, other.ports)]
    source = packet.src, (1 << family.bits) - 1
    if any_source:
        wide = addresses.prefix(rule.src) if rule is not None and rule.src else (0, 0)
        source = _widen_prefix(
            packet.src, wide[1], [other.src for other in left if _meets(packet.dst, other.dst)], family.bits
        )
    left = [other for other in left if _overlap(source, other.src)]
    wide = addresses.prefix(rule.dst) if rule is not None and rule.dst else (0, 0)
    destination = _widen_prefix(packet.dst, wide[1], [other.dst for other in left], family.bits)
    return Region(family is addresses.V6, packet.protocol, source, destination, port)


def _may_meet(other: Rule, packet: FirstPacket, family: addresses.Family) -> bool:
    return other.protocol in (None, packet.name) and family in addresses.families_of(other.src, other.dst)


def _as_other(rule: Rule) -> _Other:
    src, dst = (addresses.prefix(text) if text else (0, 0) for text in (rule.src, rule.dst))
    return _Other(src, dst, rule.port_ranges())


def _meets(address: int, prefix: MaskedValue) -> bool:
    return address & prefix[1] == prefix[0]


def _overlap(one: MaskedValue, other: MaskedValue) -> bool:
    mask = one[1] & other[1]
    return one[0] & mask == other[0] & mask


def _block(port: MaskedValue) -> tuple[int, int]:
    return port[0], port[0] | (~port[1] & 0xFFFF)


def _ports_meet(port: MaskedValue, ranges: Sequence[tuple[int, int]]) -> bool:
    first, last = _block(port)
    return not ranges or any(low <= last and first <= high for low, high in ranges)


def _widen_port(port: int, allowed: Sequence[tuple[int, int]], others: Sequence[_Other]) -> MaskedValue:
    """The largest aligned block of ports round one that is allowed and that no other rule has a part of."""
    found = port, 0xFFFF
    for free_bits in range(1, PORT_BITS + 1):
        mask = 0xFFFF & ~((1 << free_bits) - 1)
        block = port & mask, mask
        first, last = _block(block)
        inside = not allowed or any(low <= first and last <= high for low, high in allowed)
        if not inside or any(_ports_meet(block, other.ports) for other in others):
            break
        found = block
    return found


def _widen_prefix(address: int, least_mask: int, others: Iterable[MaskedValue], bits: int) -> MaskedValue:
    """The shortest prefix of an address, no shorter than the mask says, that overlaps none of the others."""
    length = least_mask.bit_count()
    for network, mask in others:
        # The first bit in which they differ must stay.
        differing = (address ^ network) & mask
        length = max(length, bits - differing.bit_length() + 1)
    mask = ((1 << length) - 1) << (bits - length)
    return address & mask, mask
