"""The links between clients and a member: is one of them to blame?"""

from __future__ import annotations

from collections.abc import Iterable

from controller.telemetry import Telemetry
from controller.topology import Endpoint, Host, Topology


class Ways:
    """Asks the telemetry about every link that packets between two places may take, either way."""

    def __init__(self, topology: Topology, telemetry: Telemetry) -> None:
        self.topology = topology
        self.telemetry = telemetry

    def suspect(self, member: Host, clients: Iterable[Host], now: float) -> None:
        """Have the links on the way measured often from now on."""
        for edge in {client.dpid for client in clients}:
            for near in (*self.topology.path_links(edge, member.dpid), *self.topology.path_links(member.dpid, edge)):
                self.telemetry.suspect(near, now)

    def congestion(self, member: Host, clients: Iterable[Host], now: float) -> tuple[bool | None, str | None]:
        """(whether a link on the way is congested, its name); (None, None) when nothing on the way was measured.

        The name is `dpid:port-dpid:port` for a link, `dpid:port` for the port of a host.
        """
        clients = list(clients)
        measured = False
        for host in (member, *clients):
            state = self.telemetry.port(host.endpoint, now)
            measured |= state.utilisation is not None
            if state.congested:
                return True, _name(host.endpoint)
        for edge in {client.dpid for client in clients}:
            for near in (*self.topology.path_links(edge, member.dpid), *self.topology.path_links(member.dpid, edge)):
                state = self.telemetry.link(near, now)
                measured |= state.utilisation is not None
                if state.congested:
                    return True, f"{_name(near)}-{_name(self.topology.links[near])}"
        return (False if measured else None), None


def _name(endpoint: Endpoint) -> str:
    return f"{endpoint[0]:016x}:{endpoint[1]}"
