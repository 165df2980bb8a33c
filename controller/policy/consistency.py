"""Checks across the parts of a policy: references that resolve, names and addresses used once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from controller.policy.problems import Location, PolicyError, Problem, format_path

if TYPE_CHECKING:
    from controller.policy.model import Policy


def check(policy: Policy) -> None:
    """Raise PolicyError with every contradiction of the policy."""
    found = [
        *_pools(policy),
        *_vips(policy),
        *_addresses(policy),
        *_firewall(policy),
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


def _links(policy: Policy) -> Iterator[Problem]:
    directions = _Once("the same link")
    for index, link in enumerate(policy.links.capacities):
        here: Location = ("links", "capacities", index)
        yield from directions.use((link.src, link.dst), here)
        if link.src == link.dst:
            yield Problem(here, f"src and dst are both {link.src}")
