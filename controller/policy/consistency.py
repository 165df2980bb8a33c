"""Checks across the parts of a policy: references that resolve, names and addresses used once."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from controller.policy.chain import Function
from controller.policy.network import not_for_hosts
from controller.policy.problems import Location, PolicyError, Problem, format_path
from controller.policy.zones import zone_number

if TYPE_CHECKING:
    from controller.policy.model import Policy


def check(policy: Policy) -> None:
    """Raise PolicyError with every contradiction of the policy."""
    found = [
        *_pools(policy),
        *_vips(policy),
        *_addresses(policy),
        *_firewall(policy),
        *_subnets(policy),
        *_places(policy),
        *_tags(policy),
        *_zones(policy),
        *_links(policy),
    ]
    if found:
        raise PolicyError(found)


class _Once:
    """Reports the second use of something that must be unique."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._first: dict[Hashable, Location] = {}

    def use(self, key: Hashable, location: Location) -> Iterator[Problem]:
        first = self._first.setdefault(key, location)
        if first != location:
            yield Problem(location, f"{self._what} as {format_path(first)}", collision=True)


def _pools(policy: Policy) -> Iterator[Problem]:
    for pool_name, pool in policy.pools.items():
        names, services = _Once("the same name"), _Once("the same address and port")
        for index, member in enumerate(pool.members):
            here: Location = ("pools", pool_name, "members", index)
            yield from names.use(member.name, (*here, "name"))
            yield from services.use((member.address, member.port), (*here, "address"))
            first = pool.members[0].address
            if (":" in member.address) != (":" in first):
                text = f"{member.address} is of another address family than {first}, and a pool has one"
                yield Problem((*here, "address"), text)


def _vips(policy: Policy) -> Iterator[Problem]:
    services = _Once("the same address and port")
    first: dict[str, str] = {}
    for name, vip in policy.vips.items():
        here: Location = ("vips", name)
        yield from services.use((vip.address, vip.port), (*here, "address"))
        pool = policy.pools.get(vip.pool)
        if pool is None:
            yield Problem((*here, "pool"), f"there is no pool {vip.pool}")
        elif any((":" in member.address) != (":" in vip.address) for member in pool.members):
            yield Problem((*here, "pool"), f"pool {vip.pool} has members of another address family than {vip.address}")
        elif (":" in first.setdefault(vip.pool, vip.address)) != (":" in vip.address):
            text = (
                f"pool {vip.pool} is that of {first[vip.pool]}, which is of another address family than {vip.address}"
            )
            yield Problem((*here, "pool"), text)


def _addresses(policy: Policy) -> Iterator[Problem]:
    # A member that carries a VIP's address would answer for the whole VIP.
    owners = {vip.address: name for name, vip in policy.vips.items()}
    for pool_name, pool in policy.pools.items():
        for index, member in enumerate(pool.members):
            if member.address in owners:
                location: Location = ("pools", pool_name, "members", index, "address")
                yield Problem(location, f"{member.address} is the address of VIP {owners[member.address]}")
            if member.address == policy.probe_address:
                owner = f"{pool_name}/{member.name}"
                yield Problem(("probe_address",), f"{member.address} is the address of member {owner}")


def _firewall(policy: Policy) -> Iterator[Problem]:
    ids = _Once("the same id (or, without ids, the same rule)")
    for index, rule in enumerate(policy.firewall.rules):
        yield from ids.use(rule.id, ("firewall", "rules", index))


def _subnets(policy: Policy) -> Iterator[Problem]:
    names = _Once("the same name")
    owners = {vip.address: f"VIP {name}" for name, vip in policy.vips.items()}
    owners |= {
        member.address: f"member {name}/{member.name}" for name, pool in policy.pools.items() for member in pool.members
    }
    if policy.probe_address is not None:
        owners.setdefault(policy.probe_address, "own probes")
    for index, subnet in enumerate(policy.subnets):
        here: Location = ("subnets", index)
        yield from names.use(subnet.name, (*here, "name"))
        for other in policy.subnets[:index]:
            # Which gateway is whose, and who is a neighbour of whom, must have one answer.
            if subnet.network.version == other.network.version and subnet.network.overlaps(other.network):
                yield Problem((*here, "prefix"), f"{subnet.prefix} overlaps {other.prefix} of subnet {other.name}")
        if subnet.gateway in owners:
            yield Problem((*here, "gateway"), f"{subnet.gateway} is the address of {owners[subnet.gateway]}")


def _places(policy: Policy) -> Iterator[Problem]:
    """Where there are subnets, a member outside all of them would never be heard of, and no address is a subnet's own."""
    routed = {subnet.network.version for subnet in policy.subnets}
    unusable = {
        (subnet.network.version, address): subnet
        for subnet in policy.subnets
        for address in not_for_hosts(subnet.network)
    }
    used: list[tuple[Location, str]] = [(("vips", name, "address"), vip.address) for name, vip in policy.vips.items()]
    for name, pool in policy.pools.items():
        for index, member in enumerate(pool.members):
            location: Location = ("pools", name, "members", index, "address")
            used.append((location, member.address))
            address = ipaddress.ip_address(member.address)
            if address.version in routed and not any(address in subnet.network for subnet in policy.subnets):
                yield Problem(location, f"{member.address} is in none of the subnets")
    for location, text in used:
        address = ipaddress.ip_address(text)
        subnet = unusable.get((address.version, int(address)))
        if subnet is not None:
            yield Problem(location, f"{text} is the network's or the broadcast address of subnet {subnet.name}")


def _tags(policy: Policy) -> Iterator[Problem]:
    names, hosts = _Once("the same name"), _Once("the same host")
    for index, tag in enumerate(policy.tags):
        yield from names.use(tag.name, ("tags", index, "name"))
        for place, host in enumerate(tag.hosts):
            yield from hosts.use(host, ("tags", index, "hosts", place))


def _zones(policy: Policy) -> Iterator[Problem]:
    names, ports, prefixes = _Once("the same name"), _Once("the same port"), _Once("the same prefix")
    tags, known_tags = _Once("the same tag"), {tag.name for tag in policy.tags}
    numbers = _Once("by chance the same number, so one of them must be called otherwise,")
    for index, zone in enumerate(policy.zones):
        here: Location = ("zones", index)
        yield from names.use(zone.name, (*here, "name"))
        yield from numbers.use(zone_number(zone.name), here)
        for place, port in enumerate(zone.ports):
            yield from ports.use(port, (*here, "ports", place))
        for place, tag in enumerate(zone.tags):
            yield from tags.use(tag, (*here, "tags", place))
            if tag not in known_tags:
                yield Problem((*here, "tags", place), f"there is no tag {tag}")
        for place, prefix in enumerate(zone.prefixes):
            yield from prefixes.use(prefix, (*here, "prefixes", place))
        others = tuple(function for function in policy.chain if function is not Function.FIREWALL)
        if zone.chain is not None and zone.chain not in (policy.chain, others):
            # One switch serves hosts of many zones: who answers for a VIP or a gateway there cannot depend on who asks.
            yield Problem(
                (*here, "chain"), "a zone may leave out the firewall; balancer and router are the whole fabric's"
            )
    known = {zone.name for zone in policy.zones}
    for index, rule in enumerate(policy.firewall.rules):
        for field in ("from_zone", "to_zone"):
            name = getattr(rule, field)
            if name is not None and name not in known:
                yield Problem(("firewall", "rules", index, field), f"there is no zone {name}")


def _links(policy: Policy) -> Iterator[Problem]:
    directions = _Once("the same link")
    for index, link in enumerate(policy.links.capacities):
        here: Location = ("links", "capacities", index)
        yield from directions.use((link.src, link.dst), here)
        if link.src == link.dst:
            yield Problem(here, f"src and dst are both {link.src}")
