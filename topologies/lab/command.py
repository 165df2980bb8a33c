"""`resetlb lab`: the fault lab at a terminal."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controller.causes import Cause
from topologies.lab.batch import Run as _Run
from topologies.lab.batch import RunFailedError, play, play_all, runs_of, seeds_of
from topologies.lab.catalogue import SCENARIOS
from topologies.lab.parameters import FIRST_EVALUATION_SEED, draw
from topologies.lab.report import page
from topologies.sandbox import SandboxUnavailableError

DONE, FAILED, INVALID = 0, 1, 2
DOCS = Path(__file__).resolve().parents[2] / "docs"
REPORT = "lab-report.md"
EVALUATION_SEEDS = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 5)
Result = dict[str, Any]


def list_scenarios(as_json: bool = False) -> int:
    """Prints every scenario, and what should be said of it."""
    if as_json:
        print(json.dumps([_description(name) for name in SCENARIOS], indent=1))
        return DONE
    width = max(map(len, SCENARIOS))
    for name, scenario in SCENARIOS.items():
        causes = " + ".join(fault.expected.cause for fault in scenario.faults)
        print(f"{name:{width}}  {causes:{len(Cause.PROTOCOL_VIOLATION)}}  {scenario.title}")
    return DONE


def _description(name: str) -> dict[str, Any]:
    scenario = SCENARIOS[name]
    return {
        "name": name,
        "title": scenario.title,
        "service": scenario.service,
        "faults": [
            {"cause": fault.expected.cause, "accept": fault.expected.accept, "action": fault.expected.action}
            for fault in scenario.faults
        ],
        "parameters": sorted(draw(name, scenario.parameters, seed=1)),
    }


def run(name: str, seed: int = 1, as_json: bool = False, framework: str = "ryu", record: Path | None = None) -> int:
    """Plays a scenario, showing what happens, and ends with expected against found.

    Args:
        name: of the scenario.
        seed: of its parameters.
        as_json: print the result as JSON and nothing else.
        framework: ryu or os-ken.
        record: folder for the recording, the ground truth and the result; None keeps nothing.

    Returns:
        0 when every cause was found and nobody was harmed, 1 when not, 2 when there is no such scenario.
    """
    if name not in SCENARIOS:
        print(f"resetlb lab: no scenario {name}; `resetlb lab list` names them", file=sys.stderr)
        return INVALID
    with tempfile.TemporaryDirectory(prefix="resetlb-lab-") as scratch:
        folder = record or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = play(_Run(name, seed), folder, framework=framework, record=record is not None, quiet=as_json)
        except (RunFailedError, SandboxUnavailableError) as error:
            print(f"resetlb lab: {error}", file=sys.stderr)
            return FAILED
    print(json.dumps(result, indent=1) if as_json else _ending(result))
    return DONE if all(fault["right"] for fault in result["faults"]) and not result["harmed"] else FAILED


def _ending(result: Result) -> str:
    """Expected against found, for a person."""
    lines = [""]
    for fault in result["faults"]:
        also = f" (or {', '.join(fault['accept'])})" if fault["accept"] else ""
        about = f" at {fault['subject']['type']} {fault['subject']['id']}" if fault["subject"] else ""
        after = "" if fault["after_s"] is None else f", {fault['after_s']:.2f} s after its first reset"
        lines += [
            f"expected  {fault['expected']}{also}, action {fault['action']}",
            f"found     {fault['found'] or 'no diagnosis'}{about}{after}: {'right' if fault['right'] else 'WRONG'}"
            f"; {'acted as expected' if fault['acted'] else 'not acted as expected'}",
        ]
    lines += ["resets    " + (", ".join(f"{count} × {kind} ({sender}, {stage})"
                                       for sender, stage, kind, count in result["resets"][:6]) or "none")]  # fmt: skip
    for when in ("before", "after"):
        outcomes = ", ".join(f"{count} {how}" for how, count in result["clients"][when].items())
        lines.append(f"clients   {when}: {outcomes or 'none'}")
    lines += [f"HARMED    {kind} {name}" for kind, name in result["harmed"]]
    return "\n".join(lines)


def report(
    seeds: Sequence[int] = EVALUATION_SEEDS,
    jobs: int = 2,
    write: bool = True,
    names: Sequence[str] | None = None,
    results: Path | None = None,
    framework: str = "ryu",
    as_json: bool = False,
) -> int:
    """Plays all scenarios with these seeds and reports how good the diagnosis was.

    Args:
        seeds: of the runs; from `FIRST_EVALUATION_SEED` on they are for evaluation.
        jobs: runs at a time.
        write: also write the page to docs/ of this checkout.
        names: only these scenarios.
        results: folder that results are kept in; runs whose result is there are not played again.
        framework: ryu or os-ken.
        as_json: print the results instead of the page.

    Returns:
        0 when every run came to a result, 1 when not, 2 when a name is unknown.
    """
    names = list(SCENARIOS) if names is None else list(names)
    if unknown := set(names) - set(SCENARIOS):
        print(f"resetlb lab: no scenario {', '.join(sorted(unknown))}", file=sys.stderr)
        return INVALID
    with tempfile.TemporaryDirectory(prefix="resetlb-lab-") as scratch:
        folder = results or Path(scratch)
        wanted = runs_of(names, seeds)
        known = {each: file for each in wanted if (file := folder / f"{each.name}-{each.seed}.result.json").exists()}
        try:
            played = play_all(
                [each for each in wanted if each not in known], folder, jobs=jobs, framework=framework,
                tell=lambda line: print(line, file=sys.stderr, flush=True),
            )  # fmt: skip
        except SandboxUnavailableError as error:
            print(f"resetlb lab: {error}", file=sys.stderr)
            return FAILED
        found = [json.loads(file.read_text()) for file in known.values()] + played
    if not found:
        return FAILED
    order = {name: place for place, name in enumerate(names)}
    found.sort(key=lambda result: (order[result["scenario"]], result["seed"]))
    text = page(found)
    print(json.dumps(found) if as_json else text)
    if write:
        (DOCS / REPORT).write_text(text)
    return DONE if len(found) == len(wanted) else FAILED


def main(arguments: Sequence[str] | None = None) -> int:
    """`resetlb lab list|run|report`; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.what == "list":
        return list_scenarios(chosen.json)
    if chosen.what == "run":
        return run(chosen.name, chosen.seed, chosen.json, chosen.framework, chosen.record)
    only = chosen.only.split(",") if chosen.only else None
    return report(
        chosen.seeds, chosen.jobs, chosen.write, only, chosen.results, chosen.framework, as_json=chosen.json
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="resetlb lab", description="Play fault scenarios on an emulated fabric.")
    commands = parser.add_subparsers(dest="what", required=True)
    listing = commands.add_parser("list", help="name the scenarios")
    playing = commands.add_parser("run", help="play one and see what happens")
    playing.add_argument("name")
    playing.add_argument("--seed", type=int, default=1, help="of its parameters; the same seed, the same run")
    playing.add_argument("--record", type=Path, metavar="DIR", help="keep recording, ground truth and result")
    reporting = commands.add_parser("report", help="play all and measure the diagnosis")
    reporting.add_argument("--seeds", type=seeds_of, default=list(EVALUATION_SEEDS), help="such as 1000-1004")
    reporting.add_argument("--jobs", type=int, default=2, help="runs at a time")
    reporting.add_argument("--only", metavar="NAME,NAME", help="only these scenarios")
    reporting.add_argument(
        "--results", type=Path, metavar="DIR", help="keep results; what is there is not played again"
    )
    reporting.add_argument("--no-write", dest="write", action="store_false", help=f"leave docs/{REPORT} as it is")
    for command in (playing, reporting):
        command.add_argument("--framework", choices=("ryu", "os-ken"), default="ryu")
    for command in (listing, playing, reporting):
        command.add_argument("--json", action="store_true", help="machine-readable output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
