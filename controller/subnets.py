"""The subnets of the fabric as numbers: whose gateway is whose, and which addresses no host has."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from controller.addresses import is_ipv6
from controller.flows import MaskedValue
from controller.policy import Subnet, not_for_hosts


class Routed(NamedTuple):
    """A subnet: its addresses `first` to `last`, its gateway, and those that are no host's. IPv4 as integers."""

    name: str
    first: int
    last: int
    prefix: MaskedValue
    gateway: int
    unusable: tuple[int, ...]

    def holds(self, address: int) -> bool:
        """Whether an address lies in it."""
        return self.first <= address <= self.last


def _routed(subnet: Subnet) -> Routed:
    network = subnet.network
    first, mask = int(network.network_address), int(network.netmask)
    gateway = int(ipaddress.ip_address(subnet.gateway))
    return Routed(subnet.name, first, int(network.broadcast_address), (first, mask), gateway, not_for_hosts(network))


@dataclass(frozen=True)
class Subnets:
    """All subnets. None at all: the fabric is one subnet, and nobody is a router."""

    all: tuple[Routed, ...] = ()

    @classmethod
    def of(cls, subnets: Iterable[Subnet]) -> Subnets:
        """The policy's."""
        return cls(tuple(_routed(subnet) for subnet in subnets))

    def __bool__(self) -> bool:
        """Whether there is anything to route between."""
        return bool(self.all)

    def at(self, address: int) -> Routed | None:
        """The subnet that an address lies in."""
        return next((subnet for subnet in self.all if subnet.holds(address)), None)

    def may_hold(self, address: int) -> bool:
        """Whether a host may have an address: link-local, or in one of the subnets if there are any of its family (RFC 1812 §5.3.7)."""
        if is_ipv6(address) and address >> 118 == 0xFE80 >> 6:
            return True
        routed = any(is_ipv6(subnet.last) == is_ipv6(address) for subnet in self.all)
        return not routed or self.at(address) is not None

    @property
    def gateways(self) -> list[int]:
        """Every gateway's address."""
        return [subnet.gateway for subnet in self.all]

    @property
    def reserved(self) -> frozenset[int]:
        """Addresses that no host may have."""
        return frozenset(address for subnet in self.all for address in (subnet.gateway, *subnet.unusable))
