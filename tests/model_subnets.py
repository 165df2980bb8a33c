"""A modelled fabric with two subnets on every leaf, as `topologies/routed.py`: hosts of 10.0.E.0/25 and 10.0.E.128/25 by name."""

from dataclasses import replace
from typing import Any

from model_world import address, in_ipv6, ipv6_address, leaf_spine, policy_of, text

from controller.policy import Policy
from topologies.model.wiring import HostPlace, Wiring

HALF = 128
VIP_OUTSIDE = "192.0.2.80"
"""In none of the subnets: every client reaches it by its gateway."""


def gateway(leaf: int, half: int) -> int:
    return address(leaf, half * HALF + HALF - 2)


def routed(leaves: int = 2, hosts: int = 2) -> Wiring:
    """`a<leaf>-<n>` in the first, `b<leaf>-<n>` in the second subnet of a leaf."""
    plain = leaf_spine(leaves, 2, 2 * hosts)
    places = []
    for host in plain.hosts:
        half, number = divmod(host.at.port - 1, hosts)
        leaf = host.at.dpid
        places.append(
            replace(
                host,
                name=f"{'ab'[half]}{leaf}-{number + 1}",
                address=address(leaf, half * HALF + number + 1),
                prefix_length=25,
                gateway=gateway(leaf, half),
            )
        )
    return replace(plain, hosts=tuple(places))


def subnets(leaves: int = 2) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{'ab'[half]}{leaf}",
            "prefix": f"{text(address(leaf, half * HALF))}/25",
            "gateway": text(gateway(leaf, half)),
        }
        for leaf in range(1, leaves + 1)
        for half in range(2)
    ]


def routed_policy(*members: int, **parts: Any) -> Policy:
    """A VIP outside all subnets before these members."""
    parts = {"subnets": subnets(), **parts}
    return policy_of([text(member) for member in members], vip={"address": VIP_OUTSIDE}, **parts)


VIP6_OUTSIDE = "2001:db8::80"


def routed_ipv6() -> Wiring:
    """The same fabric with IPv6 hosts: fd00::E:0/121 and fd00::E:80/121."""
    plain = in_ipv6(routed())
    return replace(
        plain, hosts=tuple(replace(host, prefix_length=121, gateway=_ipv6_gateway(host)) for host in plain.hosts)
    )


def _ipv6_gateway(host: HostPlace) -> int:
    return ipv6_address(host.at.dpid, (host.address & HALF) + HALF - 2)


def ipv6_policy(*members: int) -> Policy:
    """Its subnets, and a VIP outside before these members."""
    divided = [
        {"name": f"{leaf}-{half}", "prefix": f"{text(ipv6_address(leaf, half * HALF))}/121",
         "gateway": text(ipv6_address(leaf, half * HALF + HALF - 2))}
        for leaf in (1, 2)
        for half in range(2)
    ]  # fmt: skip
    return policy_of([text(member) for member in members], vip={"address": VIP6_OUTSIDE}, subnets=divided)
