"""Labelled series of resets, the same for every detector: what is usual, and when a fault added to it.

One tick is the diagnosis' interval. Connections open at the load's rate; the usual resets come in clumps (a browser that closes resets
all its connections at once), a fault resets connections one by one. The controller does not see the load itself but what flow
counters said of it: `known_per_s` is late and smoothed, by `controller.counting` itself.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from controller import readings
from controller.counting import Counters
from controller.diagnosis.investigation import INTERVAL_S
from controller.diagnosis.patterns import Pattern
from controller.events import FlowCounted

TICK_S = INTERVAL_S
MIDNIGHT = 20_000 * 86_400.0
COUNTERS_LAG_S = 1.0
"""Open vSwitch's userspace datapath writes packet counts into flow entries about once a second."""

Curve = Callable[[float], float]
"""Seconds since the series' start to a value."""


class Fault(NamedTuple):
    """Between two moments (s since start) this share of connections is reset that usually would not be."""

    begin: float
    end: float
    share: Curve


@dataclass(frozen=True)
class Scenario:
    """What a member lives through; one series of it per seed."""

    name: str
    pattern: Pattern
    duration_s: float
    load: Curve
    """New connections per second."""
    usual: Curve
    """Share of connections that is reset without anything being wrong."""
    clump: int = 1
    """Usual resets come 1 to so many at a time."""
    faults: tuple[Fault, ...] = ()
    spikes: tuple[float, ...] = ()
    """Moments at which `SPIKE` connections are reset at once; each is a fault of one tick."""
    others_per_s: float = 2.0
    """Resets of other members: each makes the diagnosis look, so quiet ticks come in pieces of any length."""
    moves: float = 0.0
    """How much later faults and spikes begin, at most, depending on the seed (s)."""


SPIKE = 30


class Tick(NamedTuple):
    """One interval of the diagnosis."""

    now: float
    resets: int
    known_per_s: float | None
    others: bool
    """Whether anybody else was reset."""


@dataclass
class Series:
    """A scenario as it went with one seed. Times are wall-clock seconds; the first tick ends at `begin` + `TICK_S`."""

    scenario: Scenario
    seed: int
    begin: float = MIDNIGHT
    labels: list[tuple[float, float]] = field(default_factory=list)
    """When something was wrong, in order."""
    _resets: array[int] = field(default_factory=lambda: array("H"))
    _known: array[float] = field(default_factory=lambda: array("f"))
    _others: bytearray = field(default_factory=bytearray)

    def __iter__(self) -> Iterator[Tick]:
        for number, resets in enumerate(self._resets):
            known = self._known[number]
            now = self.begin + (number + 1) * TICK_S
            yield Tick(now, resets, None if math.isnan(known) else known, bool(self._others[number]))

    def __len__(self) -> int:
        return len(self._resets)

    def add(self, resets: int, known_per_s: float | None, others: bool) -> None:
        """Append a tick."""
        self._resets.append(min(resets, 65_535))
        self._known.append(math.nan if known_per_s is None else known_per_s)
        self._others.append(others)


def poisson(rng: random.Random, mean: float) -> int:
    """A Poisson number; above 50 the rounded normal one, which differs by less than a reset."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, number, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        number += 1
        product *= rng.random()
    return number


class KnownLoad:
    """The load as the controller knows it: the controller's own counters, fed by a switch that lags."""

    def __init__(self) -> None:
        self._counters = Counters()
        self._lagging: list[int] = []
        self._opened = 0

    def tick(self, number: int, connections: int) -> float | None:
        """Takes in what opened in tick `number` (from 0); what is known after it (1/s)."""
        self._lagging.append(connections)
        if len(self._lagging) > COUNTERS_LAG_S / TICK_S:
            self._opened += self._lagging.pop(0)
        now = (number + 1) * TICK_S
        if now % readings.INTERVAL_S < TICK_S:
            self._counters.take(FlowCounted(1, 0, {1: self._opened}), {1: ("handshake",)}, now)
        return self._counters.rate("handshake")


def generate(scenario: Scenario, seed: int) -> Series:
    """The scenario with this seed: always the same."""
    rng = random.Random(f"{scenario.name} {seed}")
    series = Series(scenario, seed)
    later = rng.uniform(0, scenario.moves)
    spikes = {int((moment + later) / TICK_S) for moment in scenario.spikes}
    series.labels = sorted(
        [(series.begin + fault.begin + later, series.begin + fault.end + later) for fault in scenario.faults]
        + [(series.begin + spike * TICK_S, series.begin + (spike + 1) * TICK_S) for spike in spikes]
    )
    load = KnownLoad()
    clumps_per_reset = 2 / (1 + scenario.clump)
    for number in range(round(scenario.duration_s / TICK_S)):
        t = number * TICK_S
        connections = poisson(rng, scenario.load(t) * TICK_S)
        clumps = poisson(rng, connections * scenario.usual(t) * clumps_per_reset)
        resets = sum(rng.randint(1, scenario.clump) for _ in range(clumps)) if scenario.clump > 1 else clumps
        for fault in scenario.faults:
            if fault.begin <= t - later < fault.end:
                share = fault.share(t - later - fault.begin)
                resets += sum(rng.random() < share for _ in range(connections))
        if number in spikes:
            resets += SPIKE
        known = load.tick(number, connections)
        series.add(resets, known, rng.random() < scenario.others_per_s * TICK_S)
    return series
