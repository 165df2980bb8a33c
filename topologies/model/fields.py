"""The match fields a switch knows: width, masks, prerequisites, and which of them actions may write (`ovs-fields(7)`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from controller.flows import MaskedValue, Match
from topologies.model.errors import OpenFlowError
from topologies.model.headers import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ND_ADVERTISEMENT,
    ND_SOLICITATION,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_TCP,
    PROTO_UDP,
)
from topologies.model.packet import CT_DNAT, CT_EST, CT_INV, CT_NEW, CT_REL, CT_RPL, CT_SNAT, CT_TRK, REGISTERS, Packet

Prerequisite = Literal["", "arp", "ip", "ipv4", "ipv6", "tcp", "udp", "icmp", "icmpv6", "nd", "ns", "na", "ct"]
Masked = dict[str, tuple[int, int]]
"""A match by field name: (value, mask), the mask never 0."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its `bits`, whether a match may mask it, what must be matched beside it, and where a packet holds it."""

    bits: int
    maskable: bool
    prerequisite: Prerequisite = ""
    writes: tuple[str, str] | None = None
    """(header, attribute) that a set-field changes; None: read-only."""

    @property
    def full(self) -> int:
        """The mask of an exact match."""
        return (1 << self.bits) - 1


FIELDS: dict[str, Field] = {
    "in_port": Field(32, False, "", ("", "in_port")),
    "eth_dst": Field(48, True, "", ("", "eth_dst")),
    "eth_src": Field(48, True, "", ("", "eth_src")),
    "eth_type": Field(16, False),
    "ip_proto": Field(8, False, "ip"),
    "nw_ttl": Field(8, False, "ip", ("ip", "ttl")),
    "ipv4_src": Field(32, True, "ipv4", ("ip", "src")),
    "ipv4_dst": Field(32, True, "ipv4", ("ip", "dst")),
    "ipv6_src": Field(128, True, "ipv6", ("ip", "src")),
    "ipv6_dst": Field(128, True, "ipv6", ("ip", "dst")),
    "tcp_src": Field(16, True, "tcp", ("tcp", "src")),
    "tcp_dst": Field(16, True, "tcp", ("tcp", "dst")),
    "tcp_flags": Field(12, True, "tcp"),
    "udp_src": Field(16, True, "udp", ("udp", "src")),
    "udp_dst": Field(16, True, "udp", ("udp", "dst")),
    "icmpv4_type": Field(8, False, "icmp", ("icmp", "type")),
    "icmpv4_code": Field(8, False, "icmp", ("icmp", "code")),
    "icmpv6_type": Field(8, False, "icmpv6", ("icmp", "type")),
    "icmpv6_code": Field(8, False, "icmpv6", ("icmp", "code")),
    "ipv6_nd_target": Field(128, True, "nd", ("nd", "target")),
    "nd_reserved": Field(32, False, "nd", ("icmp", "rest")),
    "nd_options_type": Field(8, False, "nd", ("nd", "option")),
    "ipv6_nd_sll": Field(48, True, "ns", ("nd", "mac")),
    "ipv6_nd_tll": Field(48, True, "na", ("nd", "mac")),
    "arp_op": Field(16, False, "arp", ("arp", "op")),
    "arp_spa": Field(32, True, "arp", ("arp", "spa")),
    "arp_tpa": Field(32, True, "arp", ("arp", "tpa")),
    "arp_sha": Field(48, True, "arp", ("arp", "sha")),
    "arp_tha": Field(48, True, "arp", ("arp", "tha")),
    "ct_state": Field(32, True),
    "ct_zone": Field(16, False),
    "ct_mark": Field(32, True),
    "ct_nw_src": Field(32, True, "ct"),
    "ct_nw_dst": Field(32, True, "ct"),
    "ct_ipv6_src": Field(128, True, "ct"),
    "ct_ipv6_dst": Field(128, True, "ct"),
    "ct_nw_proto": Field(8, False, "ct"),
    "ct_tp_src": Field(16, True, "ct"),
    "ct_tp_dst": Field(16, True, "ct"),
    **{name: Field(32, True, "", ("", name)) for name in REGISTERS},
}

_IP = ("eth_type", (ETH_IPV4, ETH_IPV6))
_ICMPV6 = (("eth_type", (ETH_IPV6,)), ("ip_proto", (PROTO_ICMPV6,)))
_NEEDS: dict[Prerequisite, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "": (),
    "arp": (("eth_type", (ETH_ARP,)),),
    "ip": (_IP,),
    "ipv4": (("eth_type", (ETH_IPV4,)),),
    "ipv6": (("eth_type", (ETH_IPV6,)),),
    "tcp": (_IP, ("ip_proto", (PROTO_TCP,))),
    "udp": (_IP, ("ip_proto", (PROTO_UDP,))),
    "icmp": (("eth_type", (ETH_IPV4,)), ("ip_proto", (PROTO_ICMP,))),
    "icmpv6": _ICMPV6,
    "nd": (*_ICMPV6, ("icmpv6_type", (ND_SOLICITATION, ND_ADVERTISEMENT))),
    "ns": (*_ICMPV6, ("icmpv6_type", (ND_SOLICITATION,))),
    "na": (*_ICMPV6, ("icmpv6_type", (ND_ADVERTISEMENT,))),
}
_CT_ASSURED = CT_NEW | CT_EST | CT_REL | CT_RPL | CT_SNAT | CT_DNAT


def meets(prerequisite: Prerequisite, match: Mapping[str, tuple[int, int]]) -> bool:
    """Whether a packet that fits `match` is sure to have the fields behind `prerequisite`."""
    if prerequisite == "ct":
        value, mask = match.get("ct_state", (0, 0))
        return bool(value & _CT_ASSURED) or bool(value & CT_TRK and mask & CT_INV and not value & CT_INV)
    exact = {name: value for name, (value, mask) in match.items() if mask == FIELDS[name].full}
    return all(exact.get(name) in values for name, values in _NEEDS[prerequisite])


def _masked(name: str, value: int | MaskedValue) -> tuple[int, int]:
    field = FIELDS.get(name)
    if field is None:
        raise OpenFlowError("OFPBMC_BAD_FIELD", name)
    wanted, mask = value if isinstance(value, tuple) else (value, field.full)
    if not 0 <= wanted <= field.full or not 0 <= mask <= field.full:
        raise OpenFlowError("OFPBMC_BAD_VALUE", f"{name}: {value} does not fit {field.bits} bits")
    if not field.maskable and mask not in (0, field.full):
        raise OpenFlowError("OFPBMC_BAD_MASK", f"{name} takes no mask")
    if wanted & ~mask:
        raise OpenFlowError("OFPBMC_BAD_WILDCARDS", f"{name}: {wanted:#x} has bits outside its mask {mask:#x}")
    return wanted, mask


def masked_match(match: Match) -> Masked:
    """The match in full, when a switch would accept it.

    Raises:
        OpenFlowError: unknown field, wrong width or mask, or a field without its prerequisite.
    """
    names = [name for name, _ in match.fields]
    if len(set(names)) != len(names):
        raise OpenFlowError("OFPBMC_DUP_FIELD", ", ".join(names))
    masked = {name: _masked(name, value) for name, value in match.fields}
    masked = {name: value for name, value in masked.items() if value[1]}
    for name in masked:
        if not meets(FIELDS[name].prerequisite, masked):
            raise OpenFlowError("OFPBMC_BAD_PREREQ", f"{name} needs {FIELDS[name].prerequisite}")
    return masked


def write(packet: Packet, name: str, value: int) -> None:
    """Set-field: does nothing to a packet without the field, like Open vSwitch.

    Raises:
        KeyError: no such field.
        TypeError: the field is read-only.
    """
    target = FIELDS[name].writes
    if target is None:
        raise TypeError(f"{name} is read-only")
    header, attribute = target
    if name in REGISTERS:
        packet.registers[REGISTERS.index(name)] = value
    elif not header:
        setattr(packet, attribute, value)
    elif name in packet.flow():
        setattr(packet, header, getattr(packet, header)._replace(**{attribute: value}))
    packet.changed()
