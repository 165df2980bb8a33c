"""The links between clients and a member: is one of them to blame?"""

from __future__ import annotations

from collections.abc import Iterable

from controller.hosts import place_name
from controller.telemetry import Telemetry
from controller.topology import Endpoint, Host, Topology

EXPLAINS = 0.6
"""A link is to blame for what members' clients suffer if it is on the way of at least this share of it."""


class Ways:
    """Asks the telemetry about every link that packets between two places may take, either way."""

    def __init__(self, topology: Topology, telemetry: Telemetry) -> None:
        self.topology = topology
        self.telemetry = telemetry

    def name_of(self, near: Endpoint) -> str:
        """A direction of a link as operators write it, or the port of a host."""
        far = self.topology.links.get(near)
        return place_name(near) if far is None else f"{place_name(near)}-{place_name(far)}"

    def suspect(self, member: Host, clients: Iterable[Host], now: float) -> None:
        """Have the links on the way measured often from now on."""
        for edge in {client.dpid for client in clients}:
            for near in (*self.topology.path_links(edge, member.dpid), *self.topology.path_links(member.dpid, edge)):
                self.telemetry.suspect(near, now)

    def congestion(self, member: Host, clients: list[tuple[Host, float]], now: float) -> tuple[bool | None, str | None]:
        """(whether a link is congested that most who suffer have on their way, its name); (None, None) when nothing was measured.

        `clients` come with their shares of what is suffered: a full link explains nothing of those whose way is another.
        The name is `dpid:port-dpid:port` for a link, `dpid:port` for the port of a host.
        """
        measured = False
        blamed: dict[str, tuple[float, float]] = {}
        everybody = sum(share for _, share in clients)
        edges: dict[int, float] = {}
        for host, share in ((member, everybody), *clients):
            state = self.telemetry.port(host.endpoint, now)
            measured |= state.utilisation is not None
            if state.congested:
                blamed[place_name(host.endpoint)] = share, state.drops_per_s or 0.0
        for client, share in clients:
            edges[client.dpid] = edges.get(client.dpid, 0.0) + share
        for edge, share in edges.items():
            for near in (*self.topology.path_links(edge, member.dpid), *self.topology.path_links(member.dpid, edge)):
                state = self.telemetry.link(near, now)
                measured |= state.utilisation is not None
                if state.congested:
                    name = self.name_of(near)
                    blamed[name] = blamed.get(name, (0.0, 0.0))[0] + share, state.drops_per_s or 0.0
        # Of two that all have on their way, what the first lets through arrives at the second in bursts: who drops most, then.
        worst = max(blamed, key=blamed.__getitem__, default=None)
        if worst is not None and blamed[worst][0] >= EXPLAINS * everybody:
            return True, worst
        return (False if measured else None), None
