"""Is this more than usual? One detector per subject and pattern, right from the first minute.

Resets of one kind are counted per tick against what this subject usually has. The usual rate has a Gamma distribution, learned with a
slow half-life and separately by hour of day once that hour was seen, so a tick's count is negative-binomial: the tail probability
of the count is the anomaly (conjugate Gamma-Poisson; Gelman et al., Bayesian Data Analysis, §2.6). Normal grows with load where
the count is taken per connection (`exposure`). Resets come in clumps (a browser closes all its connections at once), so they vary
more than a Poisson count: they are counted in clumps of the size this subject has, which is the usual correction for over-dispersion
(McCullagh & Nelder, Generalized Linear Models, §6.2.3). What is anomalous is not learned at once: an attack must not become the habit.

Compared with detectors of others on the same series in docs/detectors.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller.diagnosis.patterns import Pattern
from controller.diagnosis.windows import HALF_LIFE_S

ANOMALOUS_BELOW = 1e-5
"""Looks come four times a second, for each member and pattern: what happens once in a thousand looks happens all the time."""
SLOW_HALF_LIFE_S = 30.0
"""What is only twice the usual shows in minutes, not in seconds."""
LEARNING_HALF_LIFE_S = 600.0
ANOMALY_LEARNING = 0.02
"""Share of an anomalous count that is learned: what stays for hours becomes normal, what lasts for minutes does not."""
HOUR_S = 3600.0
HOURS = 24
UNKNOWN_EXPOSURE = 1.0
"""Connections that are taken for a tick's when nobody knows how many there were."""
MOST_QUIET = 2000.0
"""So many connections without a reset of a kind say as much as any number."""
SMALLEST_COUNT = 3.0
"""Fewer resets than this are never an incident by number alone."""

# Prior of the usual number per connection (mean) and its weight in connections: browsers abort, nobody is refused in peace.
PRIORS: dict[Pattern, tuple[float, float]] = {
    Pattern.REFUSED: (0.0005, 1000.0),
    Pattern.NOT_ACCEPTED: (0.0005, 1000.0),
    Pattern.MEMBER_EARLY: (0.001, 200.0),
    Pattern.MEMBER_LATE: (0.005, 100.0),
    Pattern.MEMBER_DISOWNED: (0.001, 200.0),
    Pattern.MEMBER_LOST: (0.001, 200.0),
    Pattern.HALF_OPEN: (0.005, 100.0),
    Pattern.CLIENT_NO_DATA: (0.03, 60.0),
    Pattern.CLIENT_EARLY: (0.005, 100.0),
    Pattern.CLIENT_LATE: (0.10, 40.0),
    Pattern.OUT_OF_WINDOW: (0.001, 200.0),
    Pattern.INJECTED: (0.0, 200.0),
}
CLUMPS: dict[Pattern, float] = {Pattern.CLIENT_NO_DATA: 3.0, Pattern.CLIENT_EARLY: 3.0, Pattern.CLIENT_LATE: 3.0}
"""Prior of how many usual resets come together, 1 where nothing is said: a browser opens up to six connections to a host."""
CLUMP_MEMORY = 100.0
"""Over how many clumps their size is remembered where a prior is given: that prior's weight, too."""
CLUMP_STEP, CLUMP_OUTLIER = 5.0, 6.0
"""One tick counts as so many clumps at most, and as so many times the known size: one flood teaches nothing about clumps."""


def tail_probability(count: float, shape: float, rate: float, exposure: float) -> float:
    """P(X >= count) for X negative-binomial: a Poisson count over `exposure` whose rate is Gamma(shape, rate).

    That is the regularised incomplete beta function I_x(count, shape), x = exposure / (rate + exposure), which carries on between
    whole counts (DLMF 8.17.24). Above the mean it is summed upwards from the count, where terms only get smaller: small tails are
    exact, and a flood costs no more than a trickle. Below the mean, a broken count is rounded up.
    """
    if count <= 0:
        return 1.0
    x = exposure / (rate + exposure)
    if count > shape * exposure / rate:
        return min(1.0, _probability(count, shape, x) * _series(count, shape, x))
    below, k = 0.0, math.ceil(count) - 1
    term = _probability(k, shape, x)
    while k >= 0 and term > below * 1e-12:
        below += term
        term *= k / ((shape + k - 1) * x) if k else 0.0
        k -= 1
    return max(0.0, 1.0 - below)


def tail_below(bound: float, count: float, shape: float, rate: float, exposure: float) -> bool:
    """Whether `tail_probability` is below a bound, for a count above the mean; mostly known from the first of its terms."""
    if _probability(count, shape, exposure / (rate + exposure)) >= bound:
        return False
    return tail_probability(count, shape, rate, exposure) < bound


def _probability(count: float, shape: float, x: float) -> float:
    """P(X = count)."""
    logarithm = math.lgamma(count + shape) - math.lgamma(shape) - math.lgamma(count + 1)
    return math.exp(logarithm + count * math.log(x) + shape * math.log1p(-x))


def _series(count: float, shape: float, x: float) -> float:
    """P(X >= count) / P(X = count), for a count above the mean."""
    total = term = 1.0
    while term > total * 1e-9:
        term *= (shape + count) / (count + 1) * x
        total += term
        count += 1
    return total


@dataclass(slots=True)
class Window:
    """Resets of late and the exposure they came in: both fade alike, so they can be judged against each other from the first tick."""

    half_life_s: float
    count: float = 0.0
    exposure: float = 0.0

    def take(self, count: float, exposure: float, elapsed: float, quiet_s: float) -> tuple[float, float]:
        """Take in a tick and the quiet before it; the count and the exposure that faded away."""
        quiet = exposure / elapsed * quiet_s
        before = self.count + count, self.exposure + quiet + exposure
        keep = 0.5 ** (quiet_s / self.half_life_s)
        steady = exposure / elapsed * self.half_life_s / math.log(2)
        self.exposure = self.exposure * keep + steady * (1 - keep)
        keep_too = 0.5 ** (elapsed / self.half_life_s)
        self.count = self.count * keep * keep_too + count
        self.exposure = self.exposure * keep_too + exposure
        return before[0] - self.count, before[1] - self.exposure


@dataclass(slots=True)
class Habit:
    """What is usual: Gamma(shape, rate) over resets per unit of exposure, overall and by hour of day, and the size of clumps."""

    shape: float
    rate: float
    hours: dict[int, tuple[float, float]] = field(default_factory=dict)
    clump: float = 1.0

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

    def learn_clump(self, count: float, expected: float, quiet_ticks: float, share: float) -> None:
        """Take in how resets come together: the variance of ticks over their mean, those without a reset included.

        `share` is how much one clump counts of all that is remembered.
        """
        size = ((count - expected) ** 2 + quiet_ticks * expected**2) / count
        weight = min(count / max(self.clump, expected), CLUMP_STEP) * share
        self.clump += weight * (min(size, CLUMP_OUTLIER * self.clump) - self.clump)


class Detector:
    """The habit of one (subject, pattern), and how unusual the present is."""

    def __init__(self, pattern: Pattern, anomalous_below: float = ANOMALOUS_BELOW, quiet_exposure: float = 0.0) -> None:
        """`quiet_exposure`: connections that came before the first reset of this kind; they show how rare it is."""
        mean, weight = PRIORS.get(pattern, (0.001, 200.0))
        self._prior = mean * weight + 0.05, weight
        self._anomalous_below = anomalous_below
        self._usual = pattern in CLUMPS
        self.habit = Habit(*self._prior, clump=CLUMPS.get(pattern, 1.0))
        self.habit.rate += min(quiet_exposure, MOST_QUIET)
        self._updated: float | None = None
        self._fast = Window(HALF_LIFE_S)
        self._slow = Window(SLOW_HALF_LIFE_S)

    def unusual(self, count: float, exposure: float, now: float) -> bool:
        """Whether a count over `exposure` is anomalous; nothing is learned."""
        shape, rate = self.habit.parameters(hour_of(now))
        exposure = max(exposure, 0.1)
        if count < SMALLEST_COUNT or count * rate <= shape * exposure:
            return False
        clump = max(1.0, self.habit.clump)
        return tail_below(self._anomalous_below, count / clump, shape / clump, rate, exposure)

    def take(self, count: float, exposure: float | None, now: float, elapsed: float) -> bool:
        """A tick's count of resets over `exposure` (connections, or seconds); whether there were too many of late.

        `elapsed` is the tick's length (s). It need not be called for ticks without resets: the time since the last call was quiet.
        An exposure of None is a load nobody knows yet: what clients do all the time cannot be judged then, what members never do can.
        """
        if exposure is None and self._usual:
            return False
        exposure = max(exposure or UNKNOWN_EXPOSURE, 0.1)
        since = elapsed if self._updated is None else max(elapsed, now - self._updated)
        self._updated = now
        quiet_s = max(0.0, min(since, LEARNING_HALF_LIFE_S) - elapsed)
        self._fast.take(count, exposure, elapsed, quiet_s)
        sudden = self.unusual(self._fast.count, self._fast.exposure, now)
        share = ANOMALY_LEARNING if sudden else 1.0
        if count:
            shape, rate = self.habit.parameters(hour_of(now))
            # Of what nobody does in peace, many together are a fault long before they are a habit.
            memory = CLUMP_MEMORY if self._usual else 10 * CLUMP_MEMORY
            self.habit.learn_clump(count, shape / rate * exposure, quiet_s / elapsed, share / memory)
        if sudden:
            self._learn(count * share, exposure * share, now, since)
            return True
        # What is learned was looked at for a while: the beginning of a fault is not yet part of what it is measured by.
        self._learn(*self._slow.take(count, exposure, elapsed, quiet_s), now, since)
        if self.unusual(self._slow.count, self._slow.exposure, now):
            # Said once: what was too many is not still too many when the next harmless reset comes along.
            self._learn(self._slow.count * ANOMALY_LEARNING, self._slow.exposure * ANOMALY_LEARNING, now, 0.0)
            self._slow = Window(SLOW_HALF_LIFE_S)
            return True
        return False

    def _learn(self, count: float, exposure: float, now: float, elapsed: float) -> None:
        self.habit.learn(count, exposure, hour_of(now), elapsed)
        # The prior never fades away altogether.
        self.habit.shape = max(self.habit.shape, self._prior[0] * 0.2)
        self.habit.rate = max(self.habit.rate, self._prior[1] * 0.2)

    def document(self) -> list[object]:
        """Its durable form."""
        hours = {str(hour): list(values) for hour, values in self.habit.hours.items()}
        return [self.habit.shape, self.habit.rate, hours, self.habit.clump]

    def restore(self, document: object) -> None:
        """Take the durable form back; anything else is ignored."""
        match document:
            case [float() | int() as shape, float() | int() as rate, dict() as hours, *clump]:
                self.habit.shape, self.habit.rate = float(shape), float(rate)
                self.habit.hours = {int(hour): (float(values[0]), float(values[1])) for hour, values in hours.items()}
                match clump:  # documents of earlier versions have none
                    case [float() | int() as size]:
                        self.habit.clump = float(size)


def hour_of(now: float) -> int:
    """The hour of day (UTC) of a wall-clock time."""
    return int(now // HOUR_S) % HOURS
