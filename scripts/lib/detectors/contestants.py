"""The detectors, each behind the same question: after this tick, is the subject reset more than usual?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from controller.diagnosis.anomaly import ANOMALOUS_BELOW, SMALLEST_COUNT, Detector
from controller.diagnosis.patterns import Pattern
from controller.diagnosis.windows import Decayed
from detectors.series import TICK_S, Tick

LONGEST_ELAPSED_S = 5.0


class Contestant(Protocol):
    """One detector for one subject."""

    updates: int
    """How often its statistics were asked: not every tick is worth it."""

    def take(self, tick: Tick) -> bool:
        """Whether it says anomalous, after this tick."""


class Entry(NamedTuple):
    """A detector that takes part, and the settings it may choose from."""

    name: str
    make: Callable[[Pattern, Any], Contestant]
    settings: tuple[Any, ...]
    chosen: Any
    """What tuning found on seeds of its own."""
    of_river: bool = True


class Ours:
    """The controller's detector, asked as `Investigation` asks it: only when something was reset, its own or another member."""

    def __init__(self, pattern: Pattern, below: float = ANOMALOUS_BELOW) -> None:
        self.detector = Detector(pattern, below)
        self._looked = 0.0
        self.updates = 0

    def take(self, tick: Tick) -> bool:
        """As the protocol says."""
        if not (tick.resets or tick.others):
            return False
        elapsed = min(tick.now - self._looked, LONGEST_ELAPSED_S)
        self._looked = tick.now
        if not tick.resets:
            return False
        self.updates += 1
        exposure = None if tick.known_per_s is None else max(1.0, tick.known_per_s * elapsed)
        return self.detector.take(tick.resets, exposure, tick.now, elapsed)


class Binned:
    """Sums ticks to bins, and gives the detector each bin's share of connections that were reset.

    Like ours it never calls fewer than `SMALLEST_COUNT` resets of late anomalous: that is knowledge of resets, not of statistics.
    """

    def __init__(self, anomalous: Callable[[float], bool], bin_s: float) -> None:
        self._anomalous = anomalous
        self._ticks = round(bin_s / TICK_S)
        self._bin_s = bin_s
        self._seen = 0
        self._resets = 0
        self._decayed = Decayed()
        self.updates = 0

    def take(self, tick: Tick) -> bool:
        """As the protocol says."""
        self._seen += 1
        self._resets += tick.resets
        if tick.resets:
            self._decayed.add(tick.now, tick.resets)
        if self._seen % self._ticks:
            return False
        if tick.known_per_s is None:
            self._resets = 0
            return False
        self.updates += 1
        connections = max(1.0, tick.known_per_s * self._bin_s)
        share, self._resets = min(1.0, self._resets / connections), 0
        return self._anomalous(share) and self._decayed.value(tick.now) >= SMALLEST_COUNT


def fixed_share(_: Pattern, setting: tuple[float, float]) -> Contestant:
    """Learns nothing: more than this share of connections."""
    most, bin_s = setting
    return Binned(lambda share: share > most, bin_s)


def adwin(_: Pattern, setting: tuple[float, float]) -> Contestant:
    """river.drift.ADWIN, Bifet & Gavaldà 2007, over root shares: the window's mean has risen."""
    from river.drift import ADWIN

    delta, bin_s = setting
    detector = ADWIN(delta=delta, clock=1)

    def risen(share: float) -> bool:
        before = detector.estimation
        detector.update(math.sqrt(share))
        return bool(detector.drift_detected and detector.estimation > before)

    return Binned(risen, bin_s)


def page_hinkley(_: Pattern, setting: tuple[float, float]) -> Contestant:
    """river.drift.PageHinkley: a one-sided CUSUM over root shares and their mean since its last alarm."""
    from river.drift import PageHinkley

    threshold, bin_s = setting
    detector = PageHinkley(threshold=threshold, mode="up")

    def risen(share: float) -> bool:
        detector.update(math.sqrt(share))
        return bool(detector.drift_detected)

    return Binned(risen, bin_s)


def gaussian_scorer(_: Pattern, setting: tuple[float, float]) -> Contestant:
    """river.anomaly.GaussianScorer over the last hour of root shares, a scale on which Poisson counts have one variance.

    It is not taught what it calls anomalous, as river's own filters would have it.
    """
    from river.anomaly import GaussianScorer

    level, bin_s = setting
    scorer = GaussianScorer(window_size=round(3600 / bin_s))

    def anomalous(share: float) -> bool:
        value, usual = math.sqrt(share), scorer.gaussian
        # River's rolling variance can come out below zero where all values are alike, and its deviation is complex then.
        alike = isinstance(usual.sigma, complex)
        high = value > usual.mu and (alike or scorer.score_one(None, value) > level)
        if not high:
            scorer.learn_one(None, value)
        return bool(high)

    return Binned(anomalous, bin_s)


def half_space_trees(_: Pattern, setting: tuple[float, float]) -> Contestant:
    """river.anomaly.HalfSpaceTrees, Tan et al. 2011, over root shares; anomalous above a score."""
    from river.anomaly import HalfSpaceTrees

    level, bin_s = setting
    trees = HalfSpaceTrees(seed=1)

    def anomalous(share: float) -> bool:
        x = {"share": math.sqrt(share)}
        high = trees.score_one(x) > level
        if not high:
            trees.learn_one(x)
        return bool(high)

    return Binned(anomalous, bin_s)


def quantile_filter(_: Pattern, setting: tuple[float, float]) -> Contestant:
    """river.anomaly.QuantileFilter around HalfSpaceTrees: the threshold is a quantile of the scores so far."""
    from river.anomaly import HalfSpaceTrees, QuantileFilter

    quantile, bin_s = setting
    trees = QuantileFilter(HalfSpaceTrees(seed=1), q=quantile)

    def anomalous(share: float) -> bool:
        x = {"share": math.sqrt(share)}
        high = trees.classify(trees.score_one(x))
        trees.learn_one(x)
        return bool(high)

    return Binned(anomalous, bin_s)


def _times(levels: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    return tuple((level, bin_s) for level in levels for bin_s in (1.0, 5.0))


OURS = Entry("ResetLB", Ours, (1e-4, 1e-5, 1e-6, 1e-7, 1e-8), ANOMALOUS_BELOW, of_river=False)
ENTRIES = (
    OURS,
    Entry("fixed share", fixed_share, _times((0.05, 0.1, 0.2, 0.3, 0.5)), (0.5, 5.0), of_river=False),
    Entry("ADWIN", adwin, _times((0.9, 0.5, 0.1, 1e-2, 1e-3)), (0.1, 1.0)),
    Entry("PageHinkley", page_hinkley, _times((1.0, 3.0, 5.0, 10.0, 20.0, 30.0)), (20.0, 1.0)),
    Entry("GaussianScorer", gaussian_scorer, _times((0.999, 1 - 1e-5, 1 - 1e-7, 1 - 1e-9)), (1 - 1e-5, 5.0)),
    Entry("HalfSpaceTrees", half_space_trees, _times((0.95, 0.98, 0.99, 0.992, 0.994, 0.996)), (0.996, 5.0)),
    Entry("QuantileFilter", quantile_filter, _times((0.999, 0.9999, 0.99999)), (0.999, 5.0)),
)
