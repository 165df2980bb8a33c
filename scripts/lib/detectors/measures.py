"""From alarms and labels to figures: delay, misses, false alarms; and what a detector costs."""

from __future__ import annotations

import gc
import itertools
import time
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.diagnosis.incidents import QUIET_S
from detectors.contestants import Contestant, Entry
from detectors.scenarios import WEIGHED
from detectors.series import TICK_S, Series, Tick, generate

DAY_S = 86_400.0
LATE_S = 5.0
"""An alarm so long after a fault's end still is about the fault: the last bin has to end."""
AFTERMATH_S = 120.0
"""So long after a fault's end an alarm is neither right nor false: the fault's end, too, is a change."""


@dataclass
class Judgement:
    """How a detector did, over one series or many."""

    delays: list[float] = field(default_factory=list)
    """Of the faults it found, from the fault's beginning (s)."""
    misses: int = 0
    false_alarms: int = 0
    without_fault_s: float = 0.0
    unnoticed_s: float = 0.0
    """How long faults went on unsaid, those that were missed from beginning to end."""

    def __iadd__(self, other: Judgement) -> Judgement:
        self.delays += other.delays
        self.misses += other.misses
        self.false_alarms += other.false_alarms
        self.without_fault_s += other.without_fault_s
        self.unnoticed_s += other.unnoticed_s
        return self

    @property
    def faults(self) -> int:
        """Found and missed."""
        return len(self.delays) + self.misses

    @property
    def mean_delay_s(self) -> float | None:
        """None without any fault found."""
        return sum(self.delays) / len(self.delays) if self.delays else None

    @property
    def false_alarms_per_day(self) -> float | None:
        """None where there was always a fault."""
        return self.false_alarms / self.without_fault_s * DAY_S if self.without_fault_s else None


def alarms(contestant: Contestant, ticks: Iterable[Tick]) -> list[float]:
    """When it says anomalous."""
    return [tick.now for tick in ticks if contestant.take(tick)]


def judge(series: Series, said: Sequence[float]) -> Judgement:
    """Alarms against labels. Alarms less than `QUIET_S` apart are one, as they would be one incident."""
    found = Judgement()
    end = series.begin + series.scenario.duration_s
    bounds = [*series.labels, (end, end)]
    excused = 0.0
    for (begin, until), (following, _) in itertools.pairwise(bounds):
        right = [moment for moment in said if begin < moment <= min(until + LATE_S, following)]
        found.delays += [right[0] - begin] if right else []
        found.misses += not right
        found.unnoticed_s += min(right[0] - begin, until - begin) if right else until - begin
        excused += min(until + AFTERMATH_S, following) - begin
    opened = [now for before, now in itertools.pairwise([-QUIET_S * 2, *said]) if now - before > QUIET_S]
    found.false_alarms = sum(
        not any(begin < moment <= until + AFTERMATH_S for begin, until in series.labels) for moment in opened
    )
    found.without_fault_s = series.scenario.duration_s - excused
    return found


class Overall(NamedTuple):
    """How a detector did over all scenarios."""

    false_alarms_per_day: float
    unnoticed_s: float
    """How long a fault goes unsaid; every scenario counts alike, however many faults it has."""
    misses: int
    faults: int

    @classmethod
    def of(cls, judgements: Mapping[str, Judgement]) -> Overall:
        """From the judgements by scenario."""
        whole = Judgement()
        for judgement in judgements.values():
            whole += judgement
        means = [judgement.unnoticed_s / judgement.faults for judgement in judgements.values() if judgement.faults]
        return cls(whole.false_alarms_per_day or 0.0, sum(means) / len(means), whole.misses, whole.faults)

    def __str__(self) -> str:
        return (
            f"{self.false_alarms_per_day:8.1f} false alarms/day, a fault is unnoticed for {self.unnoticed_s:6.1f} s, "
            f"{self.misses} of {self.faults} missed"
        )


@dataclass(frozen=True)
class Cost:
    """What one detector costs."""

    update_us: float
    """CPU time per update; a detector that looks at bins of 5 s has fewer of them."""
    watching_us: float
    """CPU time per second of watching one subject."""
    memory_bytes: float


WEIGHED_S = 3600.0


def cost(entry: Entry, count: int = 10) -> Cost:
    """The mean of `count` detectors that watched a busy hour and a reset in each of the next 23.

    Memory is what Python and numpy allocated and kept (tracemalloc).
    """
    ticks = list(itertools.islice(generate(WEIGHED, 1), round(WEIGHED_S / TICK_S)))
    ticks += [ticks[-1]._replace(now=ticks[-1].now + hour * 3600.0, resets=1) for hour in range(1, 24)]
    timed, *_ = watching = [entry.make(WEIGHED.pattern, entry.chosen) for _ in range(count)]
    began = time.process_time()
    for contestant in watching:
        alarms(contestant, ticks)
    took_us = (time.process_time() - began) / count * 1e6
    tracemalloc.start()
    kept = [entry.make(WEIGHED.pattern, entry.chosen) for _ in range(count)]
    for contestant in kept:
        alarms(contestant, ticks)
    gc.collect()
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Cost(took_us / timed.updates, took_us / WEIGHED_S, memory / count)
