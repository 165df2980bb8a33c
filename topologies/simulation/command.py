"""`scripts/simulate`: the core on fat trees of growing size, and what it costs there.

scripts/simulate [--k 4,8,12,16] [--rate 100000] [--json] [--write]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from topologies import figures
from topologies.simulation.fat_tree import LARGEST_K
from topologies.simulation.scenario import Report, Size, simulate
from topologies.simulation.tables import recoveries, sizes

FIGURES = Path("docs/scale.md")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ends the process with status 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Run ResetLB's core on simulated fat trees: connections, faults, and what they cost the core. "
        "No switch, no root. The largest takes some minutes.",
    )
    parser.add_argument("--k", type=_sizes, default=[4, 8, 12, 16], help="sizes, e.g. 4,8 (default: 4,8,12,16)")
    parser.add_argument("--rate", type=float, default=1e5, help="new connections per second (default: 100000)")
    parser.add_argument("--hosts-per-member", type=int, default=4, help="one host in so many is a member (default: 4)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, progress on standard error")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {FIGURES}")
    return parser.parse_args(arguments)


def _sizes(text: str) -> list[int]:
    sizes = [int(part) for part in text.split(",")]
    for k in sizes:
        if k < 4 or k % 2 or k > LARGEST_K:
            raise argparse.ArgumentTypeError(f"k={k}: must be even and in 4–{LARGEST_K}")
    return sizes


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(options: argparse.Namespace) -> list[Report]:
    """One report per size, each from a process of its own: memory is measured by the process."""
    reports = []
    for k in options.k:
        size = Size(k, options.hosts_per_member, options.rate, options.seed)
        with multiprocessing.get_context("spawn").Pool(1) as apart:
            reports.append(apart.apply(simulate, (size, _progress)))
    return reports


def write(reports: list[Report], path: Path = FIGURES) -> None:
    """Puts the figures into the page, between its marks; raises ValueError if it has none."""
    machine = (
        f"Python {platform.python_version()} on {os.cpu_count()} shared cores, load average {os.getloadavg()[0]:.1f}."
    )
    shown = "\n\n".join([sizes(reports).markdown(), recoveries(reports[-1]).markdown(), machine])
    figures.put(path, "scripts/simulate --write", shown)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; status 0 whatever was measured: the figures depend on the machine."""
    options = parse(arguments)
    reports = measure(options)
    if options.json:
        print(json.dumps([report.document() for report in reports], indent=2))
    else:
        console = Console(highlight=False)
        console.print(sizes(reports).rich(), "", recoveries(reports[-1]).rich(), sep="\n")
        console.print("\nTry next: ./scripts/simulate --k 8 --json, docs/scale.md", markup=False)
    if options.write:
        write(reports)
        _progress(f"written to {FIGURES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
