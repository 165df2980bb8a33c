"""`scripts/fuzz`: mutated input for everything that reads octets nobody vouches for; status 1 when something was found.

An input is a finding when its reader raises, or does not come back within a second of processor time; so is memory that grows.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from apps.parser_limit import within_cpu_time
from fuzz.mutation import Mutator

SLOWEST_S = 1.0
GROWTH_MB = 40.0
FINDINGS_SHOWN = 20
WARM_UP = 0.25
"""The share of inputs after which memory is looked at for the first time: by then what may fill up has."""


class Finding(NamedTuple):
    """Who stumbled, over which input, and how: the last lines of a traceback."""

    reader: str
    octets: bytes
    text: str


class Report(NamedTuple):
    """How many inputs each reader had, how long that took (s), what was found, and by how much memory grew (MB)."""

    inputs: dict[str, int]
    seconds: float
    findings: list[Finding]
    growth_mb: float

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings and self.growth_mb < GROWTH_MB


def fuzz(inputs: int, seed: int) -> Report:
    """Give so many inputs to everything of ours that reads."""
    from apps.main import patch_hub

    patch_hub("ryu")  # before anything imports the framework
    from fuzz.corpus import gather
    from fuzz.readers import readers

    return give(readers(gather(seed)), inputs, random.Random(seed))


def give(
    readers: Mapping[str, tuple[float, list[bytes], Callable[[bytes], object]]], inputs: int, dice: random.Random
) -> Report:
    """Give so many inputs to readers (share, corpus and function, by name), in turn by chance."""
    names, shares = list(readers), [share for share, _, _ in readers.values()]
    mutators = {name: Mutator(corpus, dice) for name, (_, corpus, _) in readers.items()}
    given = dict.fromkeys(names, 0)
    findings: dict[str, Finding] = {}
    began, warm_mb = time.monotonic(), 0.0
    for number in range(inputs):
        name = dice.choices(names, shares)[0]
        octets = mutators[name].input()
        given[name] += 1
        try:
            with within_cpu_time(SLOWEST_S):
                readers[name][2](octets)
        except Exception as error:
            place, finding = _finding(name, octets, error)
            findings.setdefault(place, finding)
        if number == int(inputs * WARM_UP):
            warm_mb = _memory_mb()
    return Report(given, time.monotonic() - began, list(findings.values()), _memory_mb() - warm_mb)


def _finding(name: str, octets: bytes, error: Exception) -> tuple[str, Finding]:
    """What tells it from others, and the finding."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = "".join(traceback.format_exception(error)[-6:])
    return f"{name} {type(error).__name__} {where.filename}:{where.lineno}", Finding(name, octets, text)


def _memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description="Mutated input for every reader of untrusted octets."
    )
    parser.add_argument("--inputs", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    report = fuzz(options.inputs, options.seed)
    for name, count in report.inputs.items():
        print(f"{count:9,} {name}")
    for finding in report.findings[:FINDINGS_SHOWN]:
        print(f"\n{finding.reader}: {finding.octets.hex()}\n{finding.text}")
    print(
        f"\n{sum(report.inputs.values()):,} inputs in {report.seconds:.0f} s, seed {options.seed}: {len(report.findings)} findings, "
        f"memory {report.growth_mb:+.1f} MB over the last three quarters\n{'✓ nothing found' if report.clean else '✗'}"
    )
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
