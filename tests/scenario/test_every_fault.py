"""Faults of every cause: each happens, nearly all are named for what they are, and nobody else suffers for them."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from topologies.lab.batch import Run, play_all
from topologies.lab.catalogue import SCENARIOS
from topologies.lab.scenario import Scenario

pytestmark = [pytest.mark.fabric, pytest.mark.one_framework]

PLAYED = {
    name: SCENARIOS[name]
    for name in (
        "quiet", "port-closed", "process-killed", "abort-on-accept", "accept-queue-reset", "slow-server", "redis-maxclients",
        "link-saturated", "member-rejects-some", "firewall-rejects", "garbage", "syn-scan", "blind-resets", "browser-aborts",
        "checker-resets", "two-members",
    )
}  # fmt: skip
"""`resetlb lab report` plays all of them, on several seeds."""
SEED = 7
AT_ONCE = 2
NAMED_RIGHTLY = 0.85
"""Of one run of each on a busy machine; docs/lab-report.md has the figures over several."""


def asked_for(items: list[pytest.Item]) -> list[str]:
    """Every fault, unless only what became of single ones is asked again."""
    chosen = [item.callspec.params["scenario"].name if hasattr(item, "callspec") else None
              for item in items if item.path == Path(__file__)]  # fmt: skip
    return list(PLAYED) if None in chosen else chosen


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    """The verdict on each scenario's run; a whole /proc is what lets sandboxes be made within one (user_namespaces(7))."""
    whole = tmp_path_factory.mktemp("proc")
    subprocess.run(["mount", "-t", "proc", "proc", whole], check=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        played = play_all(
            [Run(name, SEED) for name in asked_for(request.session.items)], Path(folder), jobs=AT_ONCE, tell=print
        )
        yield {result["scenario"]: result for result in played}
    subprocess.run(["umount", whole], check=True)


@pytest.mark.parametrize("scenario", [scenario for scenario in PLAYED.values() if any(fault.signature for fault in scenario.faults)],
                         ids=lambda scenario: scenario.name)  # fmt: skip
def test_it_happens(scenario: Scenario, results: dict[str, dict[str, Any]]) -> None:
    told = results[scenario.name]
    for fault, judged in zip(scenario.faults, told["faults"], strict=True):
        assert not fault.signature or judged["resets_after"] > 0, told["resets"]


def test_nearly_all_are_named_for_what_they_are(results: dict[str, dict[str, Any]]) -> None:
    faults = [(name, fault) for name, result in results.items() for fault in result["faults"]]
    wrong = [f"{name}: {fault['expected']} taken for {fault['found']}" for name, fault in faults if not fault["right"]]
    assert len(wrong) <= (1 - NAMED_RIGHTLY) * len(faults), wrong


def test_no_bystander_is_ejected_or_quarantined(results: dict[str, dict[str, Any]]) -> None:
    assert {name: result["harmed"] for name, result in results.items() if result["harmed"]} == {}


def test_what_is_benign_is_left_alone(results: dict[str, dict[str, Any]]) -> None:
    benign = {name: result["faults"] for name, result in results.items() if result["faults"][0]["expected"] == "benign"}
    assert benign
    assert {name: faults for name, faults in benign.items() if not all(fault["acted"] for fault in faults)} == {}
