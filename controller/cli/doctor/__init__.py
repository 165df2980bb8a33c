"""``resetlb doctor``: what stands in the way, and what to do about it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import DONE, FAILED
from controller.cli.client import Client
from controller.cli.options import DEFAULT_URL, Ca, Json, StateDir, TokenText, Url, default_state_dir
from controller.cli.output import cell, console, print_json
from controller.cli.run import address

if TYPE_CHECKING:
    from controller.cli.doctor.findings import Finding


def doctor(
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="Check this policy file too.")] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Check until when this certificate is good; may be repeated."),
    ] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where switches shall connect.")] = "127.0.0.1:6653",
    api: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the API shall listen.")] = "127.0.0.1:8080",
    state_dir: StateDir = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Check controller, switches and this machine.

    Every check ends with ✓, ✗ or ? (not to be seen from here) and what to do. Exit status 1 when there is a ✗.
    """
    from controller.cli.doctor.findings import Verdict

    places = address(listen, "--listen"), address(api, "--api")
    client = Client(url, token, ca)
    findings = []
    for finding in _examine(client, policy, certificate or [], places, state_dir or default_state_dir()):
        findings.append(finding)
        if not as_json:
            _print(finding)
    wrong = sum(finding.verdict is Verdict.WRONG for finding in findings)
    if as_json:
        print_json({"ok": not wrong, "findings": [_document(finding) for finding in findings]})
    else:
        print(f"{len(findings)} checks, {wrong} ✗" if wrong else f"{len(findings)} checks, nothing is wrong")
    raise typer.Exit(FAILED if wrong else DONE)


def _examine(
    client: Client,
    policy: Path | None,
    certificates: list[Path],
    places: tuple[tuple[str, int], tuple[str, int]],
    state_dir: Path,
) -> Iterator["Finding"]:
    from controller.cli.doctor import fabric, machine, openvswitch

    yield from fabric.examine(client)
    if not fabric.answers(client):
        yield from machine.ports(*places)
    yield from openvswitch.examine()
    yield from machine.state(state_dir)
    if policy is not None:
        yield machine.policy(policy)
    for file in certificates:
        yield machine.certificate(file, time.time())
    yield from machine.clock()


def _document(finding: "Finding") -> dict[str, str | None]:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "text": finding.text,
        "advice": finding.advice,
    }


def _print(finding: "Finding") -> None:
    from rich.text import Text

    from controller.cli.doctor.findings import MARKS, STYLES

    out = console()
    line = Text.assemble(
        (MARKS[finding.verdict], STYLES[finding.verdict]), f" {cell(finding.check)}: {cell(finding.text)}"
    )
    out.print(line, soft_wrap=True)
    if finding.advice:
        for advice in finding.advice.splitlines():
            out.print(Text(f"  → {cell(advice)}", style="dim"), soft_wrap=True)
