"""Benchmarks against peers: scripts/bench failover|data-plane|rules [--n 3] [--write]."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from topologies import figures, sandbox
from topologies.peers import data_plane, failover, rules

ALT = {
    "failover": "The failed connections as bars",
    "data-plane": "Requests and new connections per second as bars",
    "rules": "Rules per second as bars",
}
BENCHES = {"failover": failover, "data-plane": data_plane, "rules": rules}
PAGE, IMAGES = Path("docs/benchmarks.md"), Path("docs/images")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; status 1: not measured."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure ResetLB and its peers at the same work."
    )
    parser.add_argument("bench", choices=BENCHES)
    parser.add_argument(
        "--n", type=int, default=3, help="runs of each variant, of which medians are told (default: %(default)s)"
    )
    parser.add_argument("--write", action="store_true", help=f"put the figures into {PAGE}")
    options = parser.parse_args(given)
    try:
        if not sandbox.inside():
            return sandbox.enter([sys.executable, "-m", "topologies.peers.command", *given])
        table, picture = BENCHES[options.bench].measure(options.n)
    except (RuntimeError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    machine = (
        f"Medians of {options.n} runs each, taken in turn, on {os.cpu_count()} shared cores with a load average of "
        f"{os.getloadavg()[0]:.1f} (switch, servers, clients and other work)."
    )
    text = f"{table}\n\n{machine}"
    print(f"\n{text}")
    if options.write:
        figures.put(
            PAGE,
            f"scripts/bench {options.bench} --write",
            f"{text}\n\n![{ALT[options.bench]}]({IMAGES.name}/bench-{options.bench}.svg)",
        )
        (IMAGES / f"bench-{options.bench}.svg").write_text(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
