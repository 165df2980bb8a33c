"""The k-ary fat tree as plain wiring (Al-Fares et al., SIGCOMM 2008), without Mininet."""

from __future__ import annotations

import ipaddress
from itertools import count

from topologies.addressing import CORE, EDGE, SPINE, dpid, host_address, host_mac
from topologies.model.wiring import HostPlace, LinkPlace, Speed, SwitchPort, Wiring

LARGEST_K = 20
"""A layer has at most 255 switches (`addressing.py`)."""
HOST_SPEED = Speed(rate_bps=10e9)
FABRIC_SPEED = Speed(rate_bps=10e9)


def fat_tree(k: int, hosts_per_edge: int | None = None) -> Wiring:
    """Wire k pods of k/2 edge and k/2 aggregation switches to (k/2)² core switches; k³/4 hosts unless `hosts_per_edge` says otherwise.

    Raises:
        ValueError: k is odd, below 2 or above `LARGEST_K`.
    """
    if k < 2 or k % 2 or k > LARGEST_K:
        raise ValueError(f"a fat tree of k={k}: k must be even and in 2–{LARGEST_K}")
    half = k // 2
    hosts = half if hosts_per_edge is None else hosts_per_edge
    # Ports count up from 1 on each switch: hosts first, then the links in the order they are made.
    ports = {switch: count(1) for switch in _switches(half)}
    places = []
    for edge in range(1, k * half + 1):
        for place in range(1, hosts + 1):
            at = SwitchPort(_dpid(EDGE, edge), next(ports[_dpid(EDGE, edge)]))
            mac = int(host_mac(edge, place).replace(":", ""), 16)
            address = int(ipaddress.IPv4Address(host_address(edge, place)))
            places.append(HostPlace(f"h{edge}-{place}", mac, address, at, HOST_SPEED))
    links = [
        LinkPlace(SwitchPort(a, next(ports[a])), SwitchPort(b, next(ports[b])), FABRIC_SPEED) for a, b in _links(half)
    ]
    return Wiring(tuple(places), tuple(links))


def _dpid(layer: int, index: int) -> int:
    return int(dpid(layer, index), 16)


def _switches(half: int) -> list[int]:
    layers = {EDGE: 2 * half * half, SPINE: 2 * half * half, CORE: half * half}
    return [_dpid(layer, index) for layer, size in layers.items() for index in range(1, size + 1)]


def _links(half: int) -> list[tuple[int, int]]:
    """Aggregation switch A of every pod leads to the cores (A-1)·k/2 + 1 … A·k/2."""
    links = []
    for pod in range(2 * half):
        for place in range(half):
            aggregation = _dpid(SPINE, pod * half + place + 1)
            links += [(_dpid(EDGE, pod * half + edge + 1), aggregation) for edge in range(half)]
            links += [(aggregation, _dpid(CORE, place * half + core + 1)) for core in range(half)]
    return links
