"""The figures as Markdown tables and pictures, for docs/detectors.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from detectors.measures import Cost, Judgement, Overall
from detectors.series import TICK_S, Series

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/detectors.md"
IMAGES = ROOT / "docs/images"
STYLE = """<style>
    text { font: 13px sans-serif; fill: #222 } .small { font-size: 11px; fill: #555 } .end { text-anchor: end }
    .middle { text-anchor: middle } line, polyline { stroke: #999; stroke-width: 1; fill: none } .grid { stroke: #ddd }
    .ours { stroke: #b3261e; stroke-width: 2.5 } .oursp { fill: #b3261e } .other { stroke: #4a5fa5; stroke-width: 1.5 }
    .otherp { fill: #4a5fa5 } .resets { stroke: #888 } .wrong { fill: #b3261e; opacity: .15 }
    @media (prefers-color-scheme: dark) {
      text { fill: #ddd } .small { fill: #aaa } .grid { stroke: #444 } .ours { stroke: #f2938c } .oursp { fill: #f2938c }
      .other { stroke: #8fa2e0 } .otherp { fill: #8fa2e0 } .wrong { fill: #f2938c }
    }
  </style>"""


def between_marks(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replaces what stands between a page's marks of this name; raises ValueError if it has none."""
    begin, end = f"<!-- {name}: scripts/detectors -->\n", f"<!-- end of {name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, found_too, after = rest.partition(end)
    if not found or not found_too:
        raise ValueError(f"{page.name} has no marks for {name}")
    page.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] + ["--:"] * (len(head) - 1), *rows)]


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _delay(judgement: Judgement) -> str:
    missed = f" ({judgement.misses} of {judgement.faults} missed)" if judgement.misses and judgement.delays else ""
    return "missed" if not judgement.delays else _seconds(judgement.mean_delay_s) + missed


Results = Mapping[str, Mapping[str, Judgement]]
"""Detector to scenario to judgement."""


def summary(results: Results, costs: Mapping[str, Cost]) -> list[str]:
    """One row per detector."""
    head = (
        "detector", "false alarms per day", "faults missed", "mean time unnoticed (s)", "memory (bytes)", "µs per update",
        "µs per second watched",
    )  # fmt: skip
    rows = []
    for name, scenarios in results.items():
        overall, spent = Overall.of(scenarios), costs[name]
        rows.append((
            name, f"{overall.false_alarms_per_day:.1f}", f"{overall.misses} of {overall.faults}",
            _seconds(overall.unnoticed_s), f"{spent.memory_bytes:,.0f}", f"{spent.update_us:.1f}", f"{spent.watching_us:.1f}",
        ))  # fmt: skip
    return _table(head, rows)


def by_scenario(results: Results, names: Sequence[str], faulty: bool) -> list[str]:
    """One row per scenario: mean delay of its faults (s), or false alarms per day."""
    rows = []
    for name in names:
        judgements = [results[detector][name] for detector in results]
        cells = map(_delay, judgements) if faulty else (f"{one.false_alarms_per_day:.1f}" for one in judgements)
        rows.append((name, *cells))
    return _table(("delay (s)" if faulty else "false alarms per day", *results), rows)


def trade_off(curves: Mapping[str, Sequence[Overall]], chosen: Mapping[str, Overall]) -> str:
    """A picture: for each detector and each of its settings, false alarms per day (log) against time unnoticed (s)."""
    left, top, width, height, floor = 70, 20, 470, 300, 0.3
    worst = max(overall.unnoticed_s for curve in curves.values() for overall in curve) * 1.05
    most = max(overall.false_alarms_per_day for curve in curves.values() for overall in curve)
    decades = math.ceil(math.log10(max(most, 10) / floor))

    def place(alarms_per_day: float, unnoticed_s: float) -> tuple[float, float]:
        along = math.log10(max(alarms_per_day, floor) / floor) / decades
        return left + along * width, top + height * (1 - unnoticed_s / worst)

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 380" role="img" aria-label="False alarms against time unnoticed">',
        f"  {STYLE}",
    ]
    for alarms in (floor, *(10.0**power for power in range(0, decades + 1) if 10**power <= floor * 10**decades)):
        x, _ = place(alarms, 0)
        text = "none" if alarms == floor else f"{alarms:g}"
        parts.append(f'  <line class="grid" x1="{x:.0f}" y1="{top}" x2="{x:.0f}" y2="{top + height}"/>')
        parts.append(f'  <text class="small middle" x="{x:.0f}" y="{top + height + 16}">{text}</text>')
    for seconds in range(0, int(worst) + 1, 20):
        _, y = place(1, seconds)
        parts.append(f'  <line class="grid" x1="{left}" y1="{y:.0f}" x2="{left + width}" y2="{y:.0f}"/>')
        parts.append(f'  <text class="small end" x="{left - 6}" y="{y + 4:.0f}">{seconds}</text>')
    labels = sorted((place(*chosen[name][:2])[1], name) for name in curves)
    lowest = 0.0
    for y, name in labels:
        lowest = max(y, lowest + 17)
        kind = "ours" if name == "ResetLB" else "other"
        x, at = place(*chosen[name][:2])
        for overall in curves[name]:
            tried = place(*overall[:2])
            parts.append(f'  <circle class="{kind}p" cx="{tried[0]:.0f}" cy="{tried[1]:.0f}" r="2" opacity="0.6"/>')
        parts.append(f'  <circle class="{kind}p" cx="{x:.0f}" cy="{at:.0f}" r="5"/>')
        parts.append(f'  <line x1="{x + 6:.0f}" y1="{at:.0f}" x2="{left + width + 10}" y2="{lowest:.0f}"/>')
        parts.append(f'  <text x="{left + width + 14}" y="{lowest + 4:.0f}">{name}</text>')
    parts.append(f'  <text class="middle" x="{left + width / 2}" y="{top + height + 38}">false alarms per day</text>')
    parts.append(
        f'  <text class="middle" transform="translate(20 {top + height / 2}) rotate(-90)">mean time a fault goes unnoticed (s)</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def timeline(series: Series, said: Mapping[str, Sequence[float]], begin_s: float, end_s: float) -> str:
    """A picture: resets of a series, its faults, and when each detector says anomalous, between two of its seconds."""
    left, top, width, height, row = 130, 20, 570, 110, 20
    end = series.begin + end_s
    start = series.begin + begin_s
    ticks = [tick for tick in series if start < tick.now <= end]
    per = max(1, round(1 / TICK_S))
    sums = [sum(tick.resets for tick in ticks[i : i + per]) for i in range(0, len(ticks), per)]
    highest = max(*sums, 1)

    def across(now: float) -> float:
        return left + width * (now - start) / (end - start)

    size = top + height + 20 + row * len(said) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {size}" role="img" aria-label="When each detector says it">',
        f"  {STYLE}",
    ]
    for wrong, until in series.labels:
        x, x2 = across(max(wrong, start)), across(min(until, end))
        if x2 > x:
            parts.append(
                f'  <rect class="wrong" x="{x:.1f}" y="{top}" width="{x2 - x:.1f}" height="{size - top - 30}"/>'
            )
    points = " ".join(
        f"{across(start + i + 0.5):.1f},{top + height * (1 - count / highest):.1f}" for i, count in enumerate(sums)
    )
    parts.append(f'  <polyline class="resets" points="{points}"/>')
    parts.append(f'  <text class="small end" x="{left - 8}" y="{top + 10}">{highest} resets/s</text>')
    for number, (name, moments) in enumerate(said.items()):
        y = top + height + 20 + row * number
        kind = "ours" if name == "ResetLB" else "other"
        parts.append(f'  <text class="end" x="{left - 8}" y="{y + 9}">{name}</text>')
        parts += [
            f'  <line class="{kind}" x1="{across(now):.1f}" y1="{y - 4}" x2="{across(now):.1f}" y2="{y + 10}"/>'
            for now in moments
            if start < now <= end
        ]
    minutes = range(math.ceil(begin_s / 60), int(end_s / 60) + 1)
    parts += [
        f'  <text class="small middle" x="{across(series.begin + minute * 60):.0f}" y="{size - 8}">{minute} min</text>'
        for minute in minutes
    ]
    return "\n".join([*parts, "</svg>", ""])
