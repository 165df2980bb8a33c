"""Who plays what: which hosts of a topology are members, clients and bystanders, by the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from topologies.addressing import host_address
from topologies.lab.pool import POOL
from topologies.lab.scenario import Subject
from topologies.leaf_spine import LeafSpineTopo
from topologies.single import SingleTopo
from topologies.wiring import FabricTopo

CLIENT_HOSTS = 4
_FURTHER_ADDRESSES_FROM = 100


class Layout(NamedTuple):
    """A topology that scenarios run on: how it is made from its fabric links' rate (Mbit/s), and its edges with so many hosts each."""

    topo: Callable[[float], FabricTopo]
    edges: tuple[str, ...]
    hosts_per_edge: int


LAYOUTS: Mapping[str, Layout] = {
    "leafspine": Layout(
        lambda rate: LeafSpineTopo(spines=2, leaves=3, hosts=4, fabric_mbit=rate), ("leaf1", "leaf2", "leaf3"), 4
    ),
    "single": Layout(lambda _: SingleTopo(hosts=12), ("s1",), 12),
}


class Place(NamedTuple):
    """A host, its edge switch, and its addresses (the first is its own)."""

    host: str
    edge: str
    addresses: tuple[str, ...]

    @property
    def address(self) -> str:
        """Its own address."""
        return self.addresses[0]

    @property
    def subject(self) -> Subject:
        """An incident about it as a client."""
        return Subject("client", self.address)


class Member(NamedTuple):
    """A member of the pool and where it runs."""

    name: str
    place: Place

    @property
    def subject(self) -> Subject:
        """An incident about it."""
        return Subject("member", f"{POOL}/{self.name}")


@dataclass(frozen=True)
class Cast:
    """Roles by edge in turn, so members, clients and spare hosts are spread over the fabric."""

    members: tuple[Member, ...]
    clients: tuple[Place, ...]
    spares: tuple[Place, ...]

    def spare_at(self, edge: str) -> Place:
        """A host without a role at this edge; every edge has one."""
        return next(place for place in self.spares if place.edge == edge)

    def spare_elsewhere(self, edge: str) -> Place:
        """A host without a role at another edge."""
        return next(place for place in self.spares if place.edge != edge)


def assign(layout: Layout, members: int, addresses_per_client: int, dice: random.Random) -> Cast:
    """Deals the hosts."""
    hands = [
        [_place(layout, number, place) for place in range(1, layout.hosts_per_edge + 1)]
        for number in range(1, len(layout.edges) + 1)
    ]
    dice.shuffle(hands)
    for hand in hands:
        dice.shuffle(hand)
    dealt = [hand[turn] for turn in range(layout.hosts_per_edge) for hand in hands]
    clients = dealt[members : members + CLIENT_HOSTS]
    return Cast(
        tuple(Member(f"web-{number}", place) for number, place in enumerate(dealt[:members], 1)),
        tuple(_with_addresses(place, addresses_per_client) for place in clients),
        tuple(dealt[members + CLIENT_HOSTS :]),
    )


def _place(layout: Layout, edge: int, place: int) -> Place:
    number = (edge - 1) * layout.hosts_per_edge + place
    return Place(f"h{number}", layout.edges[edge - 1], (host_address(edge, place),))


def _with_addresses(place: Place, count: int) -> Place:
    """The host with further addresses of its edge's range, which no host has."""
    network, _, last = place.address.rpartition(".")
    first = _FURTHER_ADDRESSES_FROM + 10 * int(last)
    return place._replace(addresses=(place.address, *(f"{network}.{first + turn}" for turn in range(count - 1))))
