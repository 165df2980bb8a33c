"""The part of a policy that says how the fabric is divided: subnets with their gateways."""

import ipaddress
from typing import Self

from pydantic import model_validator

from controller.policy.frozen import Frozen
from controller.policy.values import HostAddress, Name, Prefix, wrong

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Subnet(Frozen):
    """An IP subnet of the fabric; ``gateway`` is its hosts' default router, answered for by every edge switch."""

    name: Name
    prefix: Prefix
    gateway: HostAddress

    @model_validator(mode="after")
    def _gateway_is_one_of_its_hosts(self) -> Self:
        if self.network.is_multicast or self.network.is_loopback or self.network.is_link_local:
            raise wrong(f"{self.prefix} is not routed: multicast, loopback and link-local addresses")
        network, gateway = self.network, ipaddress.ip_address(self.gateway)
        if network.num_addresses < 2:
            raise wrong(f"{self.prefix} is one address, not a subnet")
        if gateway not in network:
            raise wrong(f"gateway {self.gateway} is not in {self.prefix}")
        if int(gateway) in not_for_hosts(network):
            raise wrong(f"gateway {self.gateway} is the network's or the broadcast address of {self.prefix}")
        return self

    @property
    def network(self) -> Network:
        """The prefix as a network."""
        return ipaddress.ip_network(self.prefix)


def not_for_hosts(network: Network) -> tuple[int, ...]:
    """Addresses of a subnet that are no host's: all zeros and all ones (RFC 1122 §3.2.1.3), none on a point-to-point /31 (RFC 3021).

    Of an IPv6 subnet the first one is its routers' (RFC 4291 §2.6.1).
    """
    if network.num_addresses <= 2:
        return ()
    if network.version == 6:
        return (int(network.network_address),)
    return int(network.network_address), int(network.broadcast_address)
