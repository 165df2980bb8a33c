"""The fabric as the controller knows it: switches, ports, links, hosts, and who is how far from whom.

Facts only. How they come in is `discovery.py`; what follows from them for the switches is `routes.py` and `admission.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.events import Port
from controller.graph import Graph
from controller.hosts import Endpoint, Host, Hosts

__all__ = ["MAX_HOSTS_PER_PORT", "SETTLE_S", "Endpoint", "Host", "Switch", "Topology"]

MAX_HOSTS_PER_PORT = 256
SETTLE_S = 0.6
"""A port is neither a host's nor the fabric's for so long after it came up: LLDP needs time to cross it."""


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
    """The graph, and the questions asked of it.

    A link is up when both directions were seen and both ends are; it is used unless one of its directions is silent.
    """

    def __init__(self) -> None:
        self.switches: dict[int, Switch] = {}
        self.links: dict[Endpoint, Endpoint] = {}
        self.crossed: dict[Endpoint, float] = {}
        """When LLDP or a probe of ours last came across each direction."""
        self.silent: frozenset[Endpoint] = frozenset()
        """Directions that nothing crosses although their ports are up, where there is another way (`silence.py`)."""
        self.hosts = Hosts()
        self._graph = Graph()
        self._fabric_ports: dict[int, list[int]] = {}
        self._outdated = True
        self.version = 0
        """Another after every change of links and ports."""

    def changed(self) -> None:
        """To be called after links or port states change."""
        self._outdated = True
        self.version += 1

    @property
    def graph(self) -> Graph:
        """The usable links as they are now."""
        self._follow()
        return self._graph

    def _follow(self) -> None:
        if not self._outdated:
            return
        self._outdated = False
        self._graph.follow(self.switches, self.usable_links())
        self._fabric_ports = {}
        for dpid, port_no in sorted(self.links):
            self._fabric_ports.setdefault(dpid, []).append(port_no)

    def port_is_up(self, endpoint: Endpoint) -> bool:
        """Whether the switch says the port is up; a switch that is away keeps what it last said."""
        switch = self.switches.get(endpoint[0])
        if switch is not None and not switch.heard_of:
            # After a restart switches come back one by one, within seconds. Those that are still missing forward as they did.
            return True
        port = switch.ports.get(endpoint[1]) if switch else None
        return port is not None and port.up

    def links_that_are_up(self) -> Iterator[tuple[Endpoint, Endpoint]]:
        """Directed links (from, to) of which both directions are known and both ends are up."""
        for near, far in self.links.items():
            if self.links.get(far) == near and self.port_is_up(near) and self.port_is_up(far):
                yield near, far

    def usable_links(self) -> Iterator[tuple[Endpoint, Endpoint]]:
        """Those that packets may be sent over."""
        for near, far in self.links_that_are_up():
            if near not in self.silent and far not in self.silent:
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
        self._follow()
        return self._fabric_ports.get(dpid, [])

    def hosts_at(self, dpid: int) -> list[Host]:
        """Hosts attached to a switch, by address."""
        return self.hosts.at(dpid)

    def edges(self) -> list[int]:
        """Switches that hosts are attached to, in order."""
        return self.hosts.edges()

    def distance(self, source: int, target: int) -> int | None:
        """Hops between two switches, None when there is no path."""
        return self.graph.distances(target).get(source)

    def path_links(self, source: int, target: int) -> list[Endpoint]:
        """The sending ports of every link on any shortest path from one switch to another, nearest first."""
        links: list[Endpoint] = []
        reached, waiting = {source}, [source]
        for dpid in waiting:
            for port_no in self.next_hops(dpid, target):
                links.append((dpid, port_no))
                neighbour = self.links[dpid, port_no][0]
                if neighbour not in reached:
                    reached.add(neighbour)
                    waiting.append(neighbour)
        return links

    def next_hops(self, source: int, target: int) -> list[int]:
        """Ports of `source` on a shortest path to `target`, the one of the lowest number first; empty when there is none."""
        graph = self.graph
        distances = graph.distances(target)
        here = distances.get(source)
        if here is None:
            return []
        return [link.port_no for link in graph.links(source) if distances.get(link.beyond, here) < here]

    def detour_ports(self, source: int, target: int) -> tuple[int, int]:
        """Ports of `source` on two ways to `target` that share no link in one direction (`detours.py`); the same one over a bridge.

        Raises:
            KeyError: there is no way.
        """
        return self.graph.detours(target)[source]
