"""IPv4 and IPv6 addresses as integers, and how OpenFlow names the parts of a packet of either family.

An IPv4 address is below 2^32, an IPv6 address at or above it, so the family follows from the value and nothing carries a second field.
The IPv6 addresses below, ::/96, are refused wherever one could come in: they are deprecated (RFC 4291 §2.5.5.1), and so are the
IPv4-mapped ones (§2.5.5.2), a second spelling of what is no IPv6 host at all.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from controller.flows import MaskedValue, Match, match
from controller.pipeline import ICMP, ICMPV6, IPV4, IPV6

Fields = dict[str, int | MaskedValue]

_IPV4_BITS, _IPV6_BITS = 32, 128
_MAPPED = 0xFFFF << _IPV4_BITS
"""::ffff:0:0/96."""


class Family(NamedTuple):
    """One address family: its EtherType, and its own names for what both have (OpenFlow 1.3.5 §7.2.3.7, `ovs-fields(7)`)."""

    eth_type: int
    bits: int
    src: str
    dst: str
    ct_src: str
    ct_dst: str
    icmp: int
    icmp_type: str
    echo_request: int
    echo_reply: int

    def fields(self, **fields: int | MaskedValue) -> Fields:
        """Fields for packets of this family: `src`, `dst`, `ct_src`, `ct_dst` and `icmp_type` become the family's, others stay."""
        own = {"src": self.src, "dst": self.dst, "ct_src": self.ct_src, "ct_dst": self.ct_dst}
        own["icmp_type"] = self.icmp_type
        return {"eth_type": self.eth_type, **{own.get(name, name): value for name, value in fields.items()}}

    def match(self, **fields: int | MaskedValue) -> Match:
        """A match on packets of this family, `fields` named as in `fields()`."""
        return match(**self.fields(**fields))


V4 = Family(IPV4, _IPV4_BITS, "ipv4_src", "ipv4_dst", "ct_nw_src", "ct_nw_dst", ICMP, "icmpv4_type", 8, 0)
V6 = Family(IPV6, _IPV6_BITS, "ipv6_src", "ipv6_dst", "ct_ipv6_src", "ct_ipv6_dst", ICMPV6, "icmpv6_type", 128, 129)
FAMILIES = (V4, V6)


def is_ipv6(address: int) -> bool:
    """Whether an address (integer) is an IPv6 one."""
    return address >> _IPV4_BITS != 0


def family_of(address: int) -> Family:
    """The family of an address."""
    return V6 if is_ipv6(address) else V4


def families_of(*prefixes: str | None) -> tuple[Family, ...]:
    """The families that packets between these addresses or prefixes (text; None: any) can be of."""
    given = {V6 if ":" in prefix else V4 for prefix in prefixes if prefix is not None}
    return tuple(family for family in FAMILIES if not given - {family})


def number(text: str) -> int:
    """An address as an integer. Raises ValueError: no address."""
    return int(ipaddress.ip_address(text))


def text(address: int) -> str:
    """An address as people write it."""
    return str(ipaddress.ip_address(address))


def octets(address: int) -> bytes:
    """The 4 or 16 octets of an address in network order."""
    return address.to_bytes(family_of(address).bits // 8, "big")


def prefix(written: str) -> MaskedValue:
    """A prefix (or one address) as (value, mask)."""
    network = ipaddress.ip_network(written, strict=False)
    return int(network.network_address), int(network.netmask)


def within(address: int, prefix_text: str | None) -> bool:
    """Whether an address is in a prefix (None: any)."""
    if prefix_text is None:
        return True
    value, mask = prefix(prefix_text)
    return is_ipv6(address) == (":" in prefix_text) and address & mask == value


def read(packed: bytes) -> int | None:
    """The address in 4 or 16 octets of a packet; None for an IPv6 address that only disguises an IPv4 one."""
    address = int.from_bytes(packed)
    if len(packed) == _IPV4_BITS // 8:
        return address
    return address if is_plain_ipv6(address) else None


def is_plain_ipv6(address: int) -> bool:
    """Whether an IPv6 address is outside ::/96 and ::ffff:0:0/96."""
    return address >> _IPV4_BITS not in (0, _MAPPED >> _IPV4_BITS)
