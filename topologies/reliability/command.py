"""How reliable the controller is: killed over and over under load, or left alone with faults for long.

scripts/reliability kills [--n 100] [--seed 1] [--write]
scripts/reliability soak [--minutes 30] [--seed 1] [--write]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from topologies import sandbox
from topologies.reliability import kills, soak

FIGURES = Path("docs/reliability.md")
_END = "<!-- end of figures -->"


def write(what: str, text: str, path: Path = FIGURES) -> None:
    """Puts a table into the page, between its marks; raises ValueError if it has no place for it."""
    begin = f"<!-- figures: scripts/reliability {what} --write -->\n"
    before, found, rest = path.read_text().partition(begin)
    _, ended, after = rest.partition(_END)
    if not found or not ended:
        raise ValueError(f"{path} has no place for figures of {what}")
    where = f"\nOn {os.cpu_count()} cores with a load average of {os.getloadavg()[0]:.1f} (fabric, servers, clients and other work).\n"
    path.write_text(f"{before}{begin}{text}{where}{_END}{after}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; status 1: something was lost, leaked or grew, or it could not be measured."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--framework", choices=("ryu", "os-ken"), default="ryu", help="(default: %(default)s)")
    both.add_argument("--seed", type=int, default=1, help="of the dice (default: %(default)s)")
    both.add_argument("--write", action="store_true", help=f"put the figures into {FIGURES}")
    parser = argparse.ArgumentParser(prog="scripts/reliability", description="How reliable the controller is.")
    tests = parser.add_subparsers(dest="test", required=True)
    killed = tests.add_parser("kills", parents=[both], help="kill -9 under load")
    killed.add_argument("--n", type=int, default=100, help="how often (default: %(default)s)")
    soaked = tests.add_parser("soak", parents=[both], help="faults for long: memory, files and log")
    soaked.add_argument("--minutes", type=float, default=30.0, help="for how long (default: %(default)s)")
    options = parser.parse_args(given)
    try:
        if not sandbox.inside():
            return sandbox.enter([sys.executable, "-m", "topologies.reliability.command", *given])
        text, met = _run(options)
    except (RuntimeError, ValueError, subprocess.SubprocessError) as error:
        print(f"reliability: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\n{text}\n{'✓ as it should be' if met else '✗ not as it should be'}")
    if options.write:
        write(options.test, text)
    return 0 if met else 1


def _run(options: argparse.Namespace) -> tuple[str, bool]:
    if options.test == "kills":
        killed = kills.measure(options.n, options.seed, options.framework)
        return kills.table(killed), killed.met
    soaked = soak.measure(options.minutes * 60, options.seed, options.framework)
    return soak.table(soaked), soaked.met


if __name__ == "__main__":
    sys.exit(main())
