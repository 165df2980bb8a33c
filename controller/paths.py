"""Shares of paths: which of several shortest ways takes how much of the traffic to a switch.

A link that is to blame for congestion is *demoted*: ways over it get a small share wherever there is another way, and the full one where
there is none. It stays so for `DWELL_S` at least, then grows back in steps while it is free: so traffic does not swing between
two links that are both too small.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.topology import Endpoint, Topology

FULL, DEMOTED = 100, 10
STEP = 30
DWELL_S = 30.0
STEP_S = 10.0


@dataclass(slots=True)
class Paths:
    """Weights of links (1 to 100), and of ways as the worst link on the best of them."""

    topology: Topology
    changed: bool = False
    _weights: dict[Endpoint, int] = field(default_factory=dict)
    _next_step: dict[Endpoint, float] = field(default_factory=dict)

    @property
    def weights(self) -> dict[Endpoint, int]:
        """The links that have less than the full weight, with theirs."""
        return dict(self._weights)

    def weight(self, near: Endpoint) -> int:
        """A link's own weight."""
        return self._weights.get(near, FULL)

    def shares(self, source: int, target: int, ports: list[int]) -> dict[int, int]:
        """The weight of each of a switch's shortest ways to another."""
        return {port: self._way((source, port), target) for port in ports}

    def _way(self, near: Endpoint, target: int) -> int:
        beyond = self.topology.links[near][0]
        if beyond == target or not self._weights:
            return self.weight(near)
        onward = self.topology.next_hops(beyond, target)
        best = max((self._way((beyond, port), target) for port in onward), default=FULL)
        return min(self.weight(near), best)

    def demote(self, near: Endpoint, now: float) -> bool:
        """Move traffic off a link; False when it already was, or when no way is left that is better."""
        if self.weight(near) == DEMOTED or not self._has_alternative(near):
            return False
        self._weights[near] = DEMOTED
        self._next_step[near] = now + DWELL_S
        self.changed = True
        return True

    def _has_alternative(self, near: Endpoint) -> bool:
        """Whether any switch would still have a way of full weight to somewhere beyond the link without it."""
        beyond = self.topology.links.get(near)
        if beyond is None:
            return False
        for edge in self.topology.edges():
            for source in self.topology.edges():
                if source == edge or near not in self.topology.path_links(source, edge):
                    continue
                ports = self.topology.next_hops(source, edge)
                before = [port for port in ports if self._way((source, port), edge) == FULL]
                if len(before) > 1:
                    return True
        return False

    def restore(self, near: Endpoint) -> bool:
        """Give a link its full weight back at once; False when it had it."""
        if near not in self._weights:
            return False
        del self._weights[near], self._next_step[near]
        self.changed = True
        return True

    def on_tick(self, congested: set[Endpoint], now: float) -> None:
        """Let links that are free again grow back, a step at a time."""
        for near in [near for near, due in self._next_step.items() if now >= due]:
            self._next_step[near] = now + STEP_S
            if near in congested:
                continue
            self._weights[near] = min(FULL, self._weights[near] + STEP)
            self.changed = True
            if self._weights[near] == FULL:
                self.restore(near)

    def next_deadline(self, now: float) -> float:
        """When a link may grow back."""
        return min(self._next_step.values(), default=now + 60.0)
