"""Who lives where: hosts by address, and an index by switch and port that follows every change."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

Endpoint = tuple[int, int]
"""(dpid, port_no)."""


def place_name(endpoint: Endpoint) -> str:
    """A port as people write it: the switch's dpid in hexadecimal, a colon, the port's number."""
    return f"{endpoint[0]:016x}:{endpoint[1]}"


def endpoint_of(name: str) -> Endpoint:
    """The port that is written so; of a link, `dpid:port-dpid:port`, the sending one."""
    dpid, _, port_no = name.partition("-")[0].partition(":")
    return int(dpid, 16), int(port_no)


@dataclass(frozen=True, slots=True)
class Host:
    """Where an address of either family lives: learnt from what came in at a host port. `ip` and `mac` are integers."""

    ip: int
    mac: int
    dpid: int
    port_no: int

    @property
    def endpoint(self) -> Endpoint:
        """The port it is attached to."""
        return self.dpid, self.port_no


class Hosts(dict[int, Host]):
    """Hosts by address. Set and delete items only: what else a dictionary offers to change it does not keep the index."""

    def __init__(self) -> None:
        super().__init__()
        self._by_switch: dict[int, dict[int, Host]] = {}
        self._by_port: Counter[Endpoint] = Counter()
        self._edges: list[int] | None = []

    def __setitem__(self, ip: int, host: Host) -> None:
        """The address lives there from now on."""
        if ip in self:
            del self[ip]
        super().__setitem__(ip, host)
        if host.dpid not in self._by_switch:
            self._edges = None
        self._by_switch.setdefault(host.dpid, {})[ip] = host
        self._by_port[host.endpoint] += 1

    def __delitem__(self, ip: int) -> None:
        """Nobody has the address."""
        host = self[ip]
        super().__delitem__(ip)
        there = self._by_switch[host.dpid]
        del there[ip]
        if not there:
            del self._by_switch[host.dpid]
            self._edges = None
        self._by_port[host.endpoint] -= 1
        if not self._by_port[host.endpoint]:
            del self._by_port[host.endpoint]

    def at(self, dpid: int) -> list[Host]:
        """Hosts attached to a switch, by address."""
        return [host for _, host in sorted(self._by_switch.get(dpid, {}).items())]

    def count_at(self, endpoint: Endpoint) -> int:
        """How many addresses a port has."""
        return self._by_port[endpoint]

    def alone_at(self, endpoint: Endpoint) -> Host | None:
        """The only host at a port; None when there are several, or none."""
        if self._by_port[endpoint] != 1:
            return None
        return next(host for host in self._by_switch[endpoint[0]].values() if host.port_no == endpoint[1])

    def edges(self) -> list[int]:
        """Switches that hosts are attached to, in order."""
        if self._edges is None:
            self._edges = sorted(self._by_switch)
        return self._edges
