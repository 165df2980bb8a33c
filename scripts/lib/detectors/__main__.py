"""The command behind scripts/detectors."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from detectors import page
from detectors.contestants import ENTRIES, OURS, Entry
from detectors.measures import Judgement, Overall, alarms, cost, judge
from detectors.scenarios import BENIGN, DAYS, FAULTY
from detectors.series import Scenario, Series, generate

TUNED_ON, JUDGED_ON = (1, 2), (11, 12, 13)
MOST_FALSE_ALARMS_PER_DAY = 1.0
SHOWN, SHOWN_S = "flapping: 10 s of every 30 s", (18 * 60.0, 28 * 60.0)


def judged(entry: Entry, setting: Any, series: Iterable[Series]) -> dict[str, Judgement]:
    """How a detector does over these series with this setting, by scenario."""
    found: dict[str, Judgement] = defaultdict(Judgement)
    for one in series:
        found[one.scenario.name] += judge(one, alarms(entry.make(one.scenario.pattern, setting), one))
    return found


def tune(entries: Sequence[Entry], write: bool) -> None:
    """Tries every setting; the best is the one that leaves faults unnoticed shortest, of those with few false alarms."""
    series = [generate(scenario, seed) for scenario in (*BENIGN, *FAULTY) for seed in TUNED_ON]
    curves, chosen = {}, {}
    for entry in entries:
        points = {}
        for setting in entry.settings:
            points[setting] = overall = Overall.of(judged(entry, setting, series))
            print(f"{entry.name:16} {setting!s:24} {overall}", flush=True)
        least = min(overall.false_alarms_per_day for overall in points.values())
        few = max(MOST_FALSE_ALARMS_PER_DAY, 1.1 * least)
        best = min(
            (setting for setting, overall in points.items() if overall.false_alarms_per_day <= few),
            key=lambda setting: points[setting].unnoticed_s,
        )
        print(
            f"{entry.name:16} best: {best}{'' if best == entry.chosen else f', but {entry.chosen} is set'}", flush=True
        )
        curves[entry.name], chosen[entry.name] = [*points.values()], points[entry.chosen]
    if write:
        (page.IMAGES / "detectors-settings.svg").write_text(page.trade_off(curves, chosen))


def compare(entries: Sequence[Entry], write: bool) -> None:
    """Judges the chosen settings on seeds nobody was tuned on; prints or writes tables and a picture."""
    results: dict[str, dict[str, Judgement]] = {entry.name: {} for entry in entries}
    said = {}
    for scenario in (*BENIGN, DAYS, *FAULTY):
        series = [generate(scenario, seed) for seed in _seeds(scenario)]
        for entry in entries:
            results[entry.name] |= judged(entry, entry.chosen, series)
            if scenario.name == SHOWN:
                said[entry.name] = alarms(entry.make(scenario.pattern, entry.chosen), series[0])
        if scenario.name == SHOWN:
            picture = page.timeline(series[0], said, *SHOWN_S)
        print(f"{scenario.name} × {len(series)}", file=sys.stderr, flush=True)
    costs = {entry.name: cost(entry) for entry in entries}
    tables = {
        "summary": page.summary(results, costs),
        "delays": page.by_scenario(results, [scenario.name for scenario in FAULTY], faulty=True),
        "false alarms": page.by_scenario(results, [scenario.name for scenario in (*BENIGN, DAYS)], faulty=False),
    }
    for name, lines in tables.items():
        print("", *lines, sep="\n")
        if write:
            page.between_marks(page.PAGE, name, lines)
    if write:
        (page.IMAGES / "detectors-flapping.svg").write_text(picture)


def _seeds(scenario: Scenario) -> tuple[int, ...]:
    return JUDGED_ON[:1] if scenario is DAYS else JUDGED_ON


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="scripts/detectors", description="Compares ResetLB's detector with river's.")
    parser.add_argument("--tune", action="store_true", help="try all settings of all detectors instead, on other seeds")
    parser.add_argument("--without-river", action="store_true", help="only what needs no river")
    parser.add_argument("--only", metavar="DETECTOR", help="one detector, by its name in the tables")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/detectors.md")
    options = parser.parse_args()
    entries = [
        entry
        for entry in ENTRIES
        if options.only in (None, entry.name) and not (options.without_river and entry.of_river)
    ]
    if importlib.util.find_spec("river") is None and not options.without_river:
        sys.exit(
            "scripts/detectors: river is not installed here. It is no dependency of ResetLB, only what it is compared with:\n"
            "  scripts/detectors                   fetches it, for this run only (200 MB)\n"
            f"  scripts/detectors --without-river   compares {OURS.name} with a fixed threshold only"
        )
    (tune if options.tune else compare)(entries, options.write)


if __name__ == "__main__":
    main()
