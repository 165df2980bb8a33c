"""What balancing is worth: repeated runs, the variants in turn, medians.

scripts/balancing two-paths|slow-member [--n 3] [--write]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from topologies import figures, sandbox
from topologies.balancing import slow_member, two_paths
from topologies.balancing.bench import Seen

SCENARIOS = {"two-paths": two_paths, "slow-member": slow_member}
PHASES = ("free", "first", "settled")
FIGURES = Path("docs/balancing.md")
Runs = dict[str, list[dict[str, Seen]]]


def measure(scenario: str, n: int) -> Runs:
    """Runs of every variant, in turn. Raises RuntimeError."""
    module = SCENARIOS[scenario]
    runs: Runs = {variant: [] for variant in module.VARIANTS}
    for number in range(1, n + 1):
        for variant in module.VARIANTS:
            found = module.run(variant)
            runs[variant].append(found)
            words = ", ".join(f"{phase} p99 {found[phase].p99_ms:.0f} ms" for phase in PHASES)
            print(f"{number} of {n}, {variant}: {words}", flush=True)
    return runs


def table(scenario: str, runs: Runs) -> str:
    """The medians as a table of the page."""
    module = SCENARIOS[scenario]
    heads = {"free": "before", "first": f"first {module.FIRST_S:g} s", "settled": f"the {module.SETTLED_S:g} s after"}
    lines = [
        "| variant | when | requests | p50 | p99 | over 500 ms or failed | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant, found in runs.items():
        for phase in PHASES:
            parts = [run[phase] for run in found]
            middle = Seen(*(median(values) for values in zip(*parts, strict=True)))
            lines.append(
                f"| {variant} | {heads[phase]} | {middle.requests:.0f} | {middle.p50_ms:.0f} ms | {middle.p99_ms:.0f} ms "
                f"| {middle.slow:.1%} | {middle.failed:.0f} |"
            )
    count = len(next(iter(runs.values())))
    lines.append(
        f"\nMedians of {count} runs each, taken in turn, on {os.cpu_count()} cores with a load average of {os.getloadavg()[0]:.1f} "
        "(fabric, servers, clients and other work)."
    )
    return "\n".join(lines) + "\n"


def write(scenario: str, text: str, path: Path = FIGURES) -> None:
    """Puts the table into the page, between its marks; raises ValueError if it has none."""
    figures.put(path, f"scripts/balancing {scenario} --write", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; status 1: not measured."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="scripts/balancing", description="Measure what balancing is worth.")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--n", type=int, default=3, help="runs of each variant (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {FIGURES}")
    options = parser.parse_args(given)
    try:
        if not sandbox.inside():
            return sandbox.enter([sys.executable, "-m", "topologies.balancing.command", *given])
        text = table(options.scenario, measure(options.scenario, options.n))
        print(f"\n{text}")
        if options.write:
            write(options.scenario, text)
    except (RuntimeError, ValueError, subprocess.SubprocessError) as error:
        print(f"balancing: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
