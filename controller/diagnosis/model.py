"""The likelihood model: how often each feature has each value under each cause, and the posterior that follows.

Naive Bayes over discrete features. They are not independent, so the evidence is tempered: log-likelihoods are multiplied by
`temperature` (below 1), fitted so that a stated confidence is a frequency (calibration). The table is `likelihoods.yaml`; it is fitted by
`scripts/fit` from runs of the fault lab, and operators' labels add to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import NamedTuple

import yaml

from controller.causes import Cause
from controller.diagnosis.features import Feature

CAUSES = tuple(Cause)
SMOOTHING = 0.5
LABEL_WEIGHT = 5.0
"""An operator's label counts as much as so many incidents of the lab."""

Counts = dict[str, dict[str, dict[str, float]]]
"""feature -> value -> cause -> how many incidents had it."""


class Spoken(NamedTuple):
    """A feature, and how it spoke: log10 of how much more likely it is under the cause named than under the others."""

    feature: Feature
    weight: float


class Diagnosis(NamedTuple):
    """A posterior over the causes, and what spoke for and against the most likely one."""

    posterior: dict[Cause, float]
    evidence: list[Spoken]

    @property
    def cause(self) -> Cause:
        """The most likely cause."""
        return max(self.posterior, key=self.posterior.__getitem__)

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.posterior[self.cause]


@cache
def _table() -> dict[str, object]:
    text = resources.files("controller.diagnosis").joinpath("likelihoods.yaml").read_text(encoding="utf-8")
    loaded = yaml.safe_load(text)
    assert isinstance(loaded, dict)
    return loaded


class Model:
    """The table, with operators' labels added."""

    def __init__(self, table: dict[str, object] | None = None) -> None:
        table = table if table is not None else _table()
        self.prior: dict[Cause, float] = {cause: float(table["prior"][cause.value]) for cause in CAUSES}  # type: ignore[index]
        self.temperature = float(table["temperature"])  # type: ignore[arg-type]
        self.counts: Counts = {
            name: {str(value): dict(causes) for value, causes in values.items()}
            for name, values in table["features"].items()  # type: ignore[attr-defined]
        }
        for name, values in table.get("lab", {}).items():  # type: ignore[attr-defined]
            for value, causes in values.items():
                known = self.counts.setdefault(name, {}).setdefault(str(value), {})
                for cause, count in causes.items():
                    known[cause] = known.get(cause, 0.0) + count
        self._totals: dict[tuple[str, Cause], float] = {}

    def likelihood(self, feature: Feature, cause: Cause) -> float | None:
        """P(value | cause), smoothed; None for a feature or value the table does not know."""
        values = self.counts.get(feature.name)
        if values is None or feature.value not in values:
            return None
        total = self._totals.get((feature.name, cause))
        if total is None:
            total = sum(causes.get(cause.value, 0.0) for causes in values.values())
            self._totals[feature.name, cause] = total
        return (values[feature.value].get(cause.value, 0.0) + SMOOTHING) / (total + SMOOTHING * len(values))

    def diagnose(self, features: Iterable[Feature]) -> Diagnosis:
        """The posterior. The order of the features does not matter."""
        features = sorted(features, key=lambda feature: feature.name)
        logs = {cause: math.log(self.prior[cause]) for cause in CAUSES}
        spoken: list[tuple[Feature, dict[Cause, float]]] = []
        for feature in features:
            likelihoods = {cause: self.likelihood(feature, cause) for cause in CAUSES}
            known = {cause: math.log(value) for cause, value in likelihoods.items() if value is not None}
            if not known:
                continue
            spoken.append((feature, known))
            for cause, value in known.items():
                logs[cause] += self.temperature * value
        largest = max(logs.values())
        weights = {cause: math.exp(value - largest) for cause, value in logs.items()}
        total = sum(weights.values())
        posterior = {cause: weight / total for cause, weight in weights.items()}
        likeliest = max(posterior, key=posterior.__getitem__)
        return Diagnosis(posterior, _weigh(spoken, likeliest, posterior))

    def label(self, features: Iterable[tuple[str, str]], cause: Cause) -> None:
        """An operator says what it was: such features are more likely under that cause from now on."""
        for name, value in features:
            if name in self.counts:
                causes = self.counts[name].setdefault(value, {})
                causes[cause.value] = causes.get(cause.value, 0.0) + LABEL_WEIGHT
        self._totals.clear()


def _weigh(
    spoken: list[tuple[Feature, dict[Cause, float]]], cause: Cause, posterior: dict[Cause, float]
) -> list[Spoken]:
    """How each feature spoke for the cause: against the average of the others, weighted by how likely they are."""
    others = {other: probability + 1e-6 for other, probability in posterior.items() if other is not cause}
    total = sum(others.values())
    result = []
    for feature, logs in spoken:
        average = sum(math.exp(logs[other]) * weight for other, weight in others.items()) / total
        result.append(Spoken(feature, (logs[cause] - math.log(average)) / math.log(10)))
    return sorted(result, key=lambda item: -abs(item.weight))
