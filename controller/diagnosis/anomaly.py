"""Is this more than usual? One detector per subject and pattern, right from the first minute.

Resets of one kind are counted per tick against what this subject usually has. The usual rate has a Gamma distribution, learned with a
slow half-life and separately by hour of day once that hour was seen, so a tick's count is negative-binomial: the tail probability
of the count is the anomaly (conjugate Gamma-Poisson; Gelman et al., Bayesian Data Analysis, §2.6). Normal grows with load where
the count is taken per connection (`exposure`). What is anomalous is not learned at once: an attack must not become the habit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller.diagnosis.patterns import Pattern

ANOMALOUS_BELOW = 1e-4
LEARNING_HALF_LIFE_S = 600.0
ANOMALY_LEARNING = 0.02
"""Share of an anomalous count that is learned: what stays for hours becomes normal, what lasts for minutes does not."""
HOURS = 24
SMALLEST_COUNT = 3.0
"""Fewer resets than this are never an incident by number alone."""

# Prior of the usual number per connection (mean) and its weight in connections: browsers abort, nobody is refused in peace.
PRIORS: dict[Pattern, tuple[float, float]] = {
    Pattern.REFUSED: (0.0005, 200.0),
    Pattern.NOT_ACCEPTED: (0.0005, 200.0),
    Pattern.MEMBER_EARLY: (0.001, 200.0),
    Pattern.MEMBER_LATE: (0.005, 100.0),
    Pattern.MEMBER_LOST: (0.001, 200.0),
    Pattern.HALF_OPEN: (0.005, 100.0),
    Pattern.CLIENT_NO_DATA: (0.03, 60.0),
    Pattern.CLIENT_EARLY: (0.005, 100.0),
    Pattern.CLIENT_LATE: (0.10, 40.0),
    Pattern.OUT_OF_WINDOW: (0.001, 200.0),
    Pattern.INJECTED: (0.0, 200.0),
}


def tail_probability(count: float, shape: float, rate: float, exposure: float) -> float:
    """P(X >= count) for X negative-binomial: a Poisson count over `exposure` whose rate is Gamma(shape, rate)."""
    if count <= 0:
        return 1.0
    p = rate / (rate + exposure)
    below, term = 0.0, math.exp(shape * math.log(p))
    for k in range(math.ceil(count)):
        below += term
        term *= (shape + k) / (k + 1) * (1 - p)
        if below >= 1.0:
            break
    return max(0.0, 1.0 - below)


@dataclass(slots=True)
class Habit:
    """What is usual: Gamma(shape, rate) over resets per unit of exposure, overall and by hour of day."""

    shape: float
    rate: float
    hours: dict[int, tuple[float, float]] = field(default_factory=dict)
    updated: float = 0.0

    def parameters(self, hour: int) -> tuple[float, float]:
        """The distribution for this hour: its own where it was seen, beside the overall one."""
        shape, rate = self.hours.get(hour, (0.0, 0.0))
        return self.shape + shape, self.rate + rate

    def learn(self, count: float, exposure: float, hour: int, elapsed: float) -> None:
        """Take a tick in; older ticks fade."""
        keep = 0.5 ** (elapsed / LEARNING_HALF_LIFE_S)
        self.shape = self.shape * keep + count
        self.rate = self.rate * keep + exposure
        shape, rate = self.hours.get(hour, (0.0, 0.0))
        # An hour is seen once a day: it is remembered for days, with at most the weight of an hour.
        self.hours[hour] = min(shape * 0.9999 + count, 1e6), min(rate * 0.9999 + exposure, 1e6)


class Detector:
    """The habit of one (subject, pattern), and how unusual the present is."""

    def __init__(self, pattern: Pattern) -> None:
        mean, weight = PRIORS.get(pattern, (0.001, 200.0))
        self._prior = mean * weight + 0.05, weight
        self.habit = Habit(*self._prior)

    def unusual(self, count: float, exposure: float, now: float) -> bool:
        """Whether a count over `exposure` is anomalous; nothing is learned."""
        shape, rate = self.habit.parameters(int(now // 3600) % HOURS)
        return count >= SMALLEST_COUNT and tail_probability(count, shape, rate, max(exposure, 0.1)) < ANOMALOUS_BELOW

    def take(self, count: float, exposure: float, now: float, elapsed: float) -> bool:
        """A tick's count of resets over `exposure` (connections, or seconds of quiet); whether it is anomalous."""
        hour = int(now // 3600) % HOURS
        exposure = max(exposure, 0.1)
        anomalous = self.unusual(count, exposure, now)
        learned = ANOMALY_LEARNING if anomalous else 1.0
        self.habit.learn(count * learned, exposure * learned, hour, elapsed)
        # The prior never fades away altogether.
        self.habit.shape = max(self.habit.shape, self._prior[0] * 0.2)
        self.habit.rate = max(self.habit.rate, self._prior[1] * 0.2)
        return anomalous

    def document(self) -> list[object]:
        """Its durable form."""
        return [
            self.habit.shape,
            self.habit.rate,
            {str(hour): list(values) for hour, values in self.habit.hours.items()},
        ]

    def restore(self, document: object) -> None:
        """Take the durable form back; anything else is ignored."""
        if not isinstance(document, list) or len(document) != 3:
            return
        shape, rate, hours = document
        if isinstance(shape, (int, float)) and isinstance(rate, (int, float)) and isinstance(hours, dict):
            self.habit.shape, self.habit.rate = float(shape), float(rate)
            self.habit.hours = {int(hour): (float(values[0]), float(values[1])) for hour, values in hours.items()}
