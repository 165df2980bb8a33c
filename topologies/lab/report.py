"""The measures of the diagnosis as a page: Markdown for docs/ and the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from controller.causes import Cause
from topologies.lab.measures import NONE, Measures, answer, measure

Result = dict[str, Any]
_SHORT = {Cause.PROTOCOL_VIOLATION: "protocol", Cause.MISCONFIGURATION: "misconfig."}


def page(results: Sequence[Result], title: str = "Lab report") -> str:
    """The report of some runs, as Markdown.

    Raises:
        ValueError: no results.
    """
    measures = measure(results)
    seeds = sorted({result["seed"] for result in results})
    purposes = " and ".join(sorted({result["purpose"] for result in results}))
    runs = f"{len(results)} runs, {measures.faults} faults, {purposes} seeds {_ranges(seeds)}"
    return "\n".join([
        f"# {title}",
        "",
        f"{runs}; made by `resetlb lab report`. What the words mean and how a run is judged: [lab.md](lab.md).",
        "",
        *_headline(measures),
        "",
        "## Confusion",
        "",
        *_confusion(measures),
        "",
        "## Calibration",
        "",
        *_calibration(measures),
        "",
        "## By scenario",
        "",
        *_scenarios(results),
        *_harm(measures),
    ]) + "\n"  # fmt: skip


def _headline(measures: Measures) -> list[str]:
    weakest = min(measures.recall.items(), key=lambda item: item[1])
    rows = [
        ("accuracy", f"{measures.accuracy:.1%}"),
        ("lowest recall", f"{weakest[1]:.1%} ({weakest[0]})"),
        ("first reset to the right cause, median / p95", f"{_s(measures.median_s)} / {_s(measures.p95_s)}"),
        ("Brier score (0 best, 2 worst)", "–" if measures.brier is None else f"{measures.brier:.3f}"),
        ("action as expected", f"{measures.acted:.1%}"),
        ("benign runs acted on", f"{measures.benign_acted} of {measures.benign_runs}"),
        ("bystanders ejected or quarantined", str(len(measures.harmed))),
        ("further incidents that are about no fault", str(measures.beside)),
    ]
    return _table(("", ""), rows)


def _confusion(measures: Measures) -> list[str]:
    found = [*map(str, Cause), NONE]
    head = ("expected ↓ found →", *(_SHORT.get(name, name) for name in found), "recall")
    rows = [
        (cause, *(str(measures.confusion[cause, name] or "·") for name in found), f"{measures.recall[cause]:.0%}")
        for cause in map(str, Cause)
        if cause in measures.recall
    ]
    shares = (f"{measures.precision[name]:.0%}" if name in measures.precision else "" for name in found)
    return _table(head, [*rows, ("precision", *shares, "")])


def _calibration(measures: Measures) -> list[str]:
    rows = [
        (f"{row.low:.0%}–{row.high:.0%}", str(row.count), f"{row.confidence:.0%}", f"{row.right:.0%}")
        for row in measures.reliability
    ]
    return _table(("confidence", "diagnoses", "mean confidence", "right"), rows)


def _scenarios(results: Sequence[Result]) -> list[str]:
    rows = []
    for name in dict.fromkeys(result["scenario"] for result in results):
        runs = [result for result in results if result["scenario"] == name]
        for place, first in enumerate(runs[0]["faults"]):
            faults = [run["faults"][place] for run in runs]
            times = [fault["after_s"] for fault in faults if fault["after_s"] is not None]
            wrong = sorted({answer(fault) for fault in faults if not fault["right"]})
            right = f"{sum(fault['right'] for fault in faults)}/{len(faults)}"
            acted = f"{sum(fault['acted'] for fault in faults)}/{len(faults)}"
            after = _s(statistics.median(times)) if times else "–"
            resets = statistics.median(fault["resets_after"] for fault in faults)
            rows.append((name, first["expected"], right, ", ".join(wrong), after, acted, f"{resets:.0f}"))
    head = ("scenario", "expected", "right", "else found", "median time", "action as expected", "its resets, median")
    return _table(head, rows)


def _harm(measures: Measures) -> list[str]:
    if not measures.harmed:
        return []
    lines = [f"- {scenario}, seed {seed}: {name}" for scenario, seed, name in measures.harmed]
    return ["", "## Bystanders ejected or quarantined", "", *lines]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _s(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f} s"


def _ranges(seeds: Sequence[int]) -> str:
    """1, 2, 3, 7 as 1–3, 7."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
