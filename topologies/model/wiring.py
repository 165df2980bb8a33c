"""Which switch, host and link there is, and how fast and how far."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class SwitchPort(NamedTuple):
    """A port of a switch."""

    dpid: int
    port: int


@dataclass(frozen=True, slots=True)
class Speed:
    """One direction of a link. `rate_bps` 0: no limit; `queue_frames` wait at most behind the one being sent."""

    delay_s: float = 50e-6
    rate_bps: float = 0.0
    queue_frames: int = 100


@dataclass(frozen=True, slots=True)
class HostPlace:
    """A host at a port."""

    name: str
    mac: int
    address: int
    at: SwitchPort
    speed: Speed = Speed()
    prefix_length: int = 0
    """Of its subnet; 0: everybody is its neighbour."""
    gateway: int = 0
    """Its default router; 0: it has none."""


@dataclass(frozen=True, slots=True)
class LinkPlace:
    """A link between two switches."""

    a: SwitchPort
    b: SwitchPort
    speed: Speed = Speed()


class MininetTopo(Protocol):
    """What is read of a Mininet topology (`mininet.topo.Topo`)."""

    def hosts(self) -> Iterable[str]:
        """Names of the hosts."""

    def switches(self) -> Iterable[str]:
        """Names of the switches."""

    def nodeInfo(self, name: str) -> dict[str, Any]:  # noqa: N802 - Mininet's name
        """Options of a node."""

    def links(self, *, withInfo: bool) -> Iterable[tuple[str, str, dict[str, Any]]]:  # noqa: N803 - Mininet's name
        """The links: both names, and the options with the ports."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """A whole fabric."""

    hosts: tuple[HostPlace, ...] = ()
    links: tuple[LinkPlace, ...] = ()
    switches: dict[int, frozenset[int]] = field(default_factory=dict)
    """Port numbers by dpid; ports that hosts and links name need not be listed."""

    def ports(self) -> dict[int, set[int]]:
        """All ports by dpid."""
        ports = {dpid: set(numbers) for dpid, numbers in self.switches.items()}
        ends = [host.at for host in self.hosts] + [end for link in self.links for end in (link.a, link.b)]
        for dpid, port in ends:
            ports.setdefault(dpid, set()).add(port)
        return ports

    @classmethod
    def of(cls, topo: MininetTopo) -> Wiring:
        """The same fabric as a Mininet topology; its host addresses are `10.0.0.1/16`, MACs with colons, rates Mbit/s."""
        dpids = {name: int(topo.nodeInfo(name)["dpid"], 16) for name in topo.switches()}
        info = {name: topo.nodeInfo(name) for name in topo.hosts()}
        hosts, links = [], []
        for a, b, link in topo.links(withInfo=True):
            ports = {link["node1"]: link["port1"], link["node2"]: link["port2"]}
            speed = Speed(rate_bps=(link.get("bw") or link.get("params1", {}).get("bw") or 0) * 1e6)
            if a in dpids and b in dpids:
                links.append(LinkPlace(SwitchPort(dpids[a], ports[a]), SwitchPort(dpids[b], ports[b]), speed))
                continue
            name, switch = (b, a) if a in dpids else (a, b)
            interface = ipaddress.IPv4Interface(info[name]["ip"])
            gateway = int(ipaddress.IPv4Address(info[name].get("defaultRoute", "via 0.0.0.0").removeprefix("via ")))
            mac = int(info[name]["mac"].replace(":", ""), 16)
            at = SwitchPort(dpids[switch], ports[switch])
            hosts.append(HostPlace(name, mac, int(interface.ip), at, speed, interface.network.prefixlen, gateway))
        return cls(tuple(hosts), tuple(links), {dpid: frozenset() for dpid in dpids.values()})
