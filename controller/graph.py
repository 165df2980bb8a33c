"""The usable links as a graph: how far each switch is from another, and its detours there, kept for as long as they hold.

A change of links leaves most answers as they are. What is kept is exactly what would be computed anew:

* A link that is gone changes the distances to a switch only if it began the last shortest way of the switch it leaves; a new one only
  if it makes somebody's way shorter.
* The walks of `detours.py` are searched breadth first in a fixed order. Without a link that is on none of them the search finds the
  same walks: whoever was found through that link comes later or not at all, and was on no walk. A new link may be on any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import networkx as nx

from controller import detours
from controller.detours import Link

Endpoint = tuple[int, int]
"""(dpid, port_no)."""


class _Changes(NamedTuple):
    """Directed links by the switch they leave that came or went."""

    gone: list[tuple[int, Link]]
    new: list[tuple[int, Link]]


class Graph:
    """Directed links between switches. Answers are computed when they are asked for."""

    def __init__(self) -> None:
        self._links: dict[int, list[Link]] = {}
        self._graph: nx.DiGraph[int] = nx.DiGraph()
        self._distances: dict[int, dict[int, int]] = {}
        self._detours: dict[int, dict[int, tuple[int, int]]] = {}

    def follow(self, switches: Iterable[int], links: Iterable[tuple[Endpoint, Endpoint]]) -> None:
        """From now on these switches and these links (from, to), both directions of each, are all there are."""
        known: dict[int, list[Link]] = {}
        for near, far in sorted(links):
            known.setdefault(near[0], []).append(Link(near[1], *far))
        changes = _changes(self._links, known)
        self._links = known
        self._graph = nx.DiGraph()
        self._graph.add_nodes_from(switches)
        self._graph.add_edges_from((dpid, link.beyond) for dpid, links in known.items() for link in links)
        self._forget(changes)

    def _forget(self, changes: _Changes) -> None:
        self._distances = {
            target: distances for target, distances in self._distances.items() if self._hold(distances, changes)
        }
        if changes.new:
            self._detours.clear()
        self._detours = {
            target: ways
            for target, ways in self._detours.items()
            if not any(link.port_no in ways.get(dpid, ()) for dpid, link in changes.gone)
        }

    def _hold(self, distances: dict[int, int], changes: _Changes) -> bool:
        unreached = len(self._graph) + 1
        for dpid, link in changes.new:
            if distances.get(link.beyond, unreached) + 1 < distances.get(dpid, unreached):
                return False
        for dpid, link in changes.gone:
            onward = distances.get(link.beyond, unreached)
            if distances.get(dpid) == onward + 1 and all(
                distances.get(other.beyond) != onward for other in self._links.get(dpid, ())
            ):
                return False
        return True

    def links(self, dpid: int) -> list[Link]:
        """The links that leave a switch, by port."""
        return self._links.get(dpid, [])

    def distances(self, target: int) -> dict[int, int]:
        """Hops to `target` by switch; those without a way are missing."""
        known = self._distances.get(target)
        if known is None:
            known = dict(nx.single_source_shortest_path_length(self._graph, target)) if target in self._graph else {}
            self._distances[target] = known
        return known

    def detours(self, target: int) -> dict[int, tuple[int, int]]:
        """Ports by switch on two ways to `target` that share no link in one direction; the same one over a bridge."""
        known = self._detours.get(target)
        if known is None:
            known = self._detours[target] = detours.detours(self._links, target)
        return known


def _changes(before: dict[int, list[Link]], after: dict[int, list[Link]]) -> _Changes:
    changes = _Changes([], [])
    for dpid in before.keys() | after.keys():
        old, new = before.get(dpid, []), after.get(dpid, [])
        if old != new:
            changes.gone.extend((dpid, link) for link in old if link not in new)
            changes.new.extend((dpid, link) for link in new if link not in old)
    return changes
