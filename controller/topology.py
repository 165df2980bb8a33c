"""The fabric as the controller knows it: switches, ports, links, hosts, and who is how far from whom.

Facts only. How they come in is `discovery.py`; what follows from them for the switches is `routes.py` and `admission.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import networkx as nx

from controller import detours
from controller.events import Port

Endpoint = tuple[int, int]
"""(dpid, port_no)."""

MAX_HOSTS_PER_PORT = 256


@dataclass(frozen=True, slots=True)
class Host:
    """Where an address lives: learnt from ARP or IP that came in at a host port. `ip` and `mac` are integers."""

    ip: int
    mac: int
    dpid: int
    port_no: int

    @property
    def endpoint(self) -> Endpoint:
        """The port it is attached to."""
        return self.dpid, self.port_no


@dataclass(slots=True)
class Switch:
    """A switch. `zone` is its conntrack zone and its number in the fabric: stable for as long as the store lives."""

    dpid: int
    zone: int
    ports: dict[int, Port] = field(default_factory=dict)
    up_since: dict[int, float] = field(default_factory=dict)
    connected: bool = False
    heard_of: bool = True
    """Not yet: it is known from an earlier run only."""


class Topology:
    """The graph, and the questions asked of it. A link is usable when both directions were seen and both ends are up."""

    def __init__(self) -> None:
        self.switches: dict[int, Switch] = {}
        self.links: dict[Endpoint, Endpoint] = {}
        self.crossed: dict[Endpoint, float] = {}
        """When LLDP or a probe of ours last came across each direction."""
        self.hosts: dict[int, Host] = {}
        self._distances = lru_cache(maxsize=4096)(self._distances_to)
        self._detours = lru_cache(maxsize=4096)(self._detours_to)

    def changed(self) -> None:
        """To be called after links or port states change: distances are computed anew."""
        self._distances.cache_clear()
        self._detours.cache_clear()

    def port_is_up(self, endpoint: Endpoint) -> bool:
        """Whether the switch says the port is up; a switch that is away keeps what it last said."""
        switch = self.switches.get(endpoint[0])
        if switch is not None and not switch.heard_of:
            # After a restart switches come back one by one, within seconds. Those that are still missing forward as they did.
            return True
        port = switch.ports.get(endpoint[1]) if switch else None
        return port is not None and port.up

    def usable_links(self) -> Iterator[tuple[Endpoint, Endpoint]]:
        """Directed links (from, to) of which both directions are known and both ends are up."""
        for near, far in self.links.items():
            if self.links.get(far) == near and self.port_is_up(near) and self.port_is_up(far):
                yield near, far

    def is_fabric_port(self, endpoint: Endpoint) -> bool:
        """Whether another switch is on the other end, as far as is known."""
        return endpoint in self.links

    def host_ports(self, dpid: int, now: float, settle_s: float) -> list[int]:
        """Up ports without a switch behind them that have had time to show one, in order."""
        switch = self.switches[dpid]
        return sorted(
            number
            for number, port in switch.ports.items()
            if port.up and (dpid, number) not in self.links and now >= switch.up_since.get(number, now) + settle_s
        )

    def fabric_ports(self, dpid: int) -> list[int]:
        """Ports with a switch behind them, up or not, in order."""
        return sorted(port for switch, port in self.links if switch == dpid)

    def hosts_at(self, dpid: int) -> list[Host]:
        """Hosts attached to a switch, by address."""
        return sorted((host for host in self.hosts.values() if host.dpid == dpid), key=lambda host: host.ip)

    def edges(self) -> list[int]:
        """Switches that hosts are attached to, in order."""
        return sorted({host.dpid for host in self.hosts.values()})

    def _graph(self) -> nx.DiGraph[int]:
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(self.switches)
        graph.add_edges_from((near[0], far[0]) for near, far in self.usable_links())
        return graph

    def _distances_to(self, dpid: int) -> dict[int, int]:
        return dict(nx.single_source_shortest_path_length(self._graph(), dpid))

    def distance(self, source: int, target: int) -> int | None:
        """Hops between two switches, None when there is no path."""
        return self._distances(target).get(source)

    def path_links(self, source: int, target: int) -> list[Endpoint]:
        """The sending ports of every link on any shortest path from one switch to another, nearest first."""
        distances = self._distances(target)
        onward: dict[int, list[tuple[int, int]]] = {}
        for near, far in self.usable_links():
            if far[0] in distances and distances.get(near[0]) == distances[far[0]] + 1:
                onward.setdefault(near[0], []).append((near[1], far[0]))
        links: list[Endpoint] = []
        reached = [source]
        for dpid in reached:
            for port_no, neighbour in sorted(onward.get(dpid, ())):
                links.append((dpid, port_no))
                if neighbour not in reached:
                    reached.append(neighbour)
        return links

    def next_hops(self, source: int, target: int) -> list[int]:
        """Ports of `source` on a shortest path to `target`, the one of the lowest number first; empty when there is none."""
        distances = self._distances(target)
        if source not in distances:
            return []
        return sorted(
            near[1]
            for near, far in self.usable_links()
            if near[0] == source and distances.get(far[0], distances[source]) < distances[source]
        )

    def _detours_to(self, target: int) -> dict[int, tuple[int, int]]:
        links: dict[int, list[detours.Link]] = {}
        for near, far in sorted(self.usable_links()):
            links.setdefault(near[0], []).append(detours.Link(near[1], *far))
        return detours.detours(links, target)

    def detour_ports(self, source: int, target: int) -> tuple[int, int]:
        """Ports of `source` on two ways to `target` that share no link in one direction (`detours.py`); the same one over a bridge.

        Raises:
            KeyError: there is no way.
        """
        return self._detours(target)[source]
