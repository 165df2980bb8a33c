"""A fabric as a fluid: flows hashed over parallel ways by the weights that `Paths` gives, and what telemetry would say of them.

Flows have a rate of their own, or take what their way leaves them (`elastic`, as TCP does). Each has one place among all hashes, so a
large one cannot be divided and moves as a whole when weights change.
"""

import itertools
from bisect import bisect_right
from dataclasses import dataclass, field
from math import exp

from model_world import leaf_spine
from static_fabric import core_that_knows

from controller.paths import Paths
from controller.telemetry import LinkState
from controller.topology import Endpoint

CAPACITY_BPS = 20_000_000
SMOOTHED_S = 1.5
LOOK_S = 0.5
SOURCE, TARGET = 1, 2


@dataclass(frozen=True)
class Flow:
    """`place` is its hash, 0 to 1; `share` of a link's capacity is what it sends, or (elastic) would."""

    place: float
    share: float
    elastic: bool = False


@dataclass
class ClosedLoop:
    """Two leaves with so many spines between them."""

    spines: int
    flows: list[Flow]
    lossy: dict[int, float] = field(default_factory=dict)
    """Loss of single ways by their index."""

    def __post_init__(self) -> None:
        topology = core_that_knows(leaf_spine(leaves=2, spines=self.spines)).topology
        self.paths = Paths(topology)
        self.ports = topology.next_hops(SOURCE, TARGET)
        self.now = 0.0
        self.used = dict.fromkeys(self.ports, 0.0)
        self.offered = dict.fromkeys(self.ports, 0.0)
        self.history: list[tuple[float, dict[int, float]]] = []

    def shares(self) -> dict[int, float]:
        """Which part of all hashes each way has."""
        weights = self.paths.shares(SOURCE, TARGET, self.ports)
        return {port: weight / sum(weights.values()) for port, weight in weights.items()}

    def _carry(self) -> None:
        shares, bounds, total = self.shares(), [], 0.0
        for port in self.ports:
            total += shares[port]
            bounds.append(total)
        on: dict[int, list[Flow]] = {port: [] for port in self.ports}
        for flow in self.flows:
            on[self.ports[min(bisect_right(bounds, flow.place), len(self.ports) - 1)]].append(flow)
        for port, flows in on.items():
            fixed = sum(flow.share for flow in flows if not flow.elastic)
            greedy = [flow.share for flow in flows if flow.elastic]
            self.offered[port] = fixed + min(sum(greedy), max(0.0, 1.0 - fixed)) if greedy else fixed

    def _measured(self, near: Endpoint) -> LinkState:
        port = near[1]
        if near[0] != SOURCE or port not in self.used:
            return LinkState(near, None, CAPACITY_BPS, utilisation=0.0)
        used, offered = self.used[port], self.offered[port]
        drops = max(0.0, offered - 1.0) * 1000
        queue_ms = 30.0 if offered >= 0.99 else 0.0
        loss = self.lossy.get(self.ports.index(port), 0.0)
        return LinkState(
            near, None, CAPACITY_BPS, utilisation=used, drops_per_s=drops, loss_at_least=loss, queue_ms=queue_ms
        )

    def run(self, seconds: float) -> None:
        """Time passes."""
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK_S
            self._carry()
            for port in self.ports:
                self.used[port] += (1 - exp(-LOOK_S / SMOOTHED_S)) * (min(1.0, self.offered[port]) - self.used[port])
            suspects = {(SOURCE, port) for port in self.ports if self.used[port] >= 0.5 or self.lossy}
            self.paths.on_tick(suspects, self._measured, self.now)
            self.history.append((self.now, self.shares()))

    def movement(self, seconds: float) -> float:
        """Which part of all hashes has been moved to another way over the last so many seconds, there and back included."""
        recent = [shares for when, shares in self.history if when >= self.now - seconds]
        return sum(
            sum(abs(after[port] - before[port]) for port in self.ports) / 2
            for before, after in itertools.pairwise(recent)
        )

    def largest_step(self) -> float:
        """The most that was ever moved at once."""
        shares = [shares for _, shares in self.history]
        return max(
            sum(abs(after[port] - before[port]) for port in self.ports) / 2
            for before, after in itertools.pairwise(shares)
        )
