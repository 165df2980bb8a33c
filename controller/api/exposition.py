"""Measurements to Prometheus' text format, with a limit on how many series a name may have.

Labels carry names of the policy and ports of the fabric: whoever may write those must not be able to fill the monitoring's disk. Beyond
`MAX_SERIES` label sets of a name, counters and additive gauges are added up under `other`; what cannot be added is left out and counted.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from controller.api.service import Distribution, Measurement

PREFIX = "resetlb_"
MAX_SERIES = 2_000
OTHER = "other"
CLOSED_SETS = frozenset(
    {"action", "cause", "effect", "health", "kind", "meter", "mode", "purpose", "result", "sender", "stage"}
)
"""Labels whose values are ours: they stay themselves when the others become `other`."""

Series = tuple[str, ...]


class SeriesLimit:
    """Which label sets of each name have a series of their own: those that had one keep it as long as they are there."""

    def __init__(self, at_most: int = MAX_SERIES) -> None:
        """Start with none."""
        self._at_most = at_most
        self._admitted: dict[str, frozenset[Series]] = {}

    def families(self, measurements: Iterable[Measurement | Distribution]) -> Iterator[Metric]:
        """Group samples by name."""
        families: dict[str, dict[Series, Measurement]] = {}
        distributions: dict[str, HistogramMetricFamily] = {}
        for sample in measurements:
            if isinstance(sample, Distribution):
                _add_distribution(distributions, sample)
            else:
                families.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample
        left_out = 0
        for name, samples in families.items():
            beyond = self._beyond(name, samples)
            yield _metric(samples, beyond)
            left_out += sum(1 for series in beyond if not _adds_up(samples[series]))
        yield from distributions.values()
        text = "Label sets beyond the limit of their name that cannot be added up."
        yield GaugeMetricFamily(f"{PREFIX}series_left_out", text, left_out)

    def _beyond(self, name: str, samples: dict[Series, Measurement]) -> list[Series]:
        """The label sets that get no series of their own."""
        before = self._admitted.get(name, frozenset())
        kept = [series for series in samples if series in before]
        new = [series for series in samples if series not in before]
        free = self._at_most - len(kept)
        self._admitted[name] = frozenset([*kept, *new[:free]])
        return new[free:]


def _adds_up(sample: Measurement) -> bool:
    return sample.kind == "counter" or sample.additive


def _added_up(samples: dict[Series, Measurement], beyond: list[Series]) -> dict[Series, float]:
    """The sums under `other` of what is beyond the limit."""
    sums: dict[Series, float] = {}
    for series in beyond:
        sample = samples[series]
        if _adds_up(sample):
            other = tuple(value if name in CLOSED_SETS else OTHER for name, value in sample.labels.items())
            sums[other] = sums.get(other, 0.0) + sample.value
    return sums


def _metric(samples: dict[Series, Measurement], beyond: list[Series]) -> Metric:
    """The samples that have a series of their own, and the sums of the others."""
    first = next(iter(samples.values()))
    kind: Any = GaugeMetricFamily if first.kind == "gauge" else CounterMetricFamily
    metric: Metric = kind(PREFIX + first.name, first.help, labels=list(first.labels))
    shown = {series: sample.value for series, sample in samples.items()}
    for series in beyond:
        del shown[series]
    for series, value in (shown | _added_up(samples, beyond)).items():
        metric.add_metric(list(series), value)  # type: ignore[attr-defined]
    return metric


def _add_distribution(known: dict[str, HistogramMetricFamily], sample: Distribution) -> None:
    family = known.get(sample.name)
    if family is None:
        family = known[sample.name] = HistogramMetricFamily(
            PREFIX + sample.name, sample.help, labels=list(sample.labels)
        )
    family.add_metric(
        list(sample.labels.values()), [(bound, float(count)) for bound, count in sample.buckets], sample.sum
    )
