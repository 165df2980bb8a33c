"""Plays many runs, each in a sandbox of its own, some at a time.

    python -m topologies.lab.batch --seeds 1-3 --jobs 2 --record DIR [--only NAME,NAME]

Into DIR go the ground truth, the result and (unless --no-recording) the recording of every run: see docs/lab.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from controller.causes import Cause
from topologies.lab.catalogue import SCENARIOS
from topologies.sandbox import Sandbox, SandboxUnavailableError

RUN_TIMEOUT_S = 120.0
ATTEMPTS = 3
Result = dict[str, Any]


class Run(NamedTuple):
    """A scenario with a seed."""

    name: str
    seed: int


class RunFailedError(RuntimeError):
    """A run could not be played to its end; the message says why."""


def play(run: Run, folder: Path, *, framework: str = "ryu", record: bool = False, quiet: bool = True) -> Result:
    """Plays a run in a new sandbox; returns its result (`verdict.Result`).

    Raises:
        RunFailedError: it came to no result.
        SandboxUnavailableError: this machine lacks something.
    """
    options = ["--framework", framework, *(["--record"] if record else []), *(["--quiet"] if quiet else [])]
    argv = [sys.executable, "-m", "topologies.lab.play", run.name, str(run.seed), str(folder.resolve()), *options]
    with Sandbox(argv, stderr=subprocess.PIPE, text=True) as sandbox:
        try:
            _, errors = sandbox.process.communicate(timeout=RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise RunFailedError(f"not done after {RUN_TIMEOUT_S:.0f} s") from None
    if sandbox.process.returncode:
        raise RunFailedError(errors.strip() or f"exit status {sandbox.process.returncode}")
    result: Result = json.loads((folder / f"{run.name}-{run.seed}.result.json").read_text())
    return result


def play_all(
    runs: Sequence[Run],
    folder: Path,
    *,
    jobs: int,
    tell: Callable[[str], None],
    framework: str = "ryu",
    record: bool = False,
) -> list[Result]:
    """Plays runs, `jobs` at a time; returns the results there are. One that fails is told and left out.

    Raises:
        SandboxUnavailableError: this machine lacks something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    with ThreadPoolExecutor(jobs) as pool:
        playing = {pool.submit(_play_again, run, folder, framework, record, tell): run for run in runs}
        for done, future in enumerate(as_completed(playing), 1):
            run = playing[future]
            try:
                results.append(future.result())
                said = summary(results[-1])
            except RunFailedError as error:
                said = f"failed: {error}"
            except SandboxUnavailableError:
                pool.shutdown(cancel_futures=True)
                raise
            tell(f"[{done}/{len(runs)}] {run.name} {run.seed}: {said}")
    return results


def _play_again(run: Run, folder: Path, framework: str, record: bool, tell: Callable[[str], None]) -> Result:
    """A run that came to no result is tried again: on a busy machine the service may not be well before the fault."""
    for _ in range(ATTEMPTS - 1):
        try:
            return play(run, folder, framework=framework, record=record)
        except RunFailedError as error:
            tell(f"{run.name} {run.seed} is played again: {str(error).splitlines()[-1]}")
    return play(run, folder, framework=framework, record=record)


def summary(result: Result) -> str:
    """One line about a result."""
    parts = []
    for fault in result["faults"]:
        found = fault["found"] or "no diagnosis"
        mark = "✓" if fault["right"] else f"✗ (expected {fault['expected']})"
        after = "" if fault["after_s"] is None else f" after {fault['after_s']:.2f} s"
        wire = f", resets {fault['resets_before']} → {fault['resets_after']}"
        acted = "" if fault["acted"] else f", no {fault['action']}" if fault["action"] != "none" else ", acted"
        subject = "" if fault["subject_right"] or fault["expected"] == Cause.BENIGN else ", subject wrong"
        parts.append(f"{found} {mark}{after}{subject}{acted}{wire}")
    harmed = [f"harmed {name}" for _, name in result["harmed"]]
    return "; ".join(parts + harmed)


def seeds_of(text: str) -> list[int]:
    """The seeds that "1-3,7" names.

    Raises:
        ValueError: it names none.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    if not seeds:
        raise ValueError(f"no seeds in {text!r}")
    return seeds


def runs_of(names: Iterable[str], seeds: Iterable[int]) -> list[Run]:
    """Every scenario with every seed, seed by seed, so an interrupted batch has seen all scenarios alike."""
    names = list(names)
    return [Run(name, seed) for seed in seeds for name in names]


def main() -> int:
    """Plays what the arguments say; exit status 1 when a run failed."""
    parser = argparse.ArgumentParser(prog="python -m topologies.lab.batch", description="Play many runs.")
    parser.add_argument("--seeds", type=seeds_of, default=[1], help="such as 1-3,7")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--record", type=Path, required=True, metavar="DIR")
    parser.add_argument("--no-recording", action="store_true")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SCENARIOS))
    parser.add_argument("--framework", default="ryu")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    runs = runs_of(arguments.only, arguments.seeds)
    results = play_all(
        runs, arguments.record, jobs=arguments.jobs, tell=lambda line: print(line, flush=True),
        framework=arguments.framework, record=not arguments.no_recording,
    )  # fmt: skip
    return 0 if len(results) == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
