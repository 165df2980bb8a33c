"""Runs of the lab from end to end, each in a sandbox of its own: the faults are on the wire, the files say what happened."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from topologies.lab.batch import Run, play, play_all

pytestmark = [pytest.mark.fabric, pytest.mark.one_framework]

RESETLB = str(Path(sys.executable).with_name("resetlb"))
BUDGET_S = 120


@pytest.fixture(autouse=True)
def _whole_proc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In a user namespace the kernel allows a new /proc only where a whole one is to be seen (user_namespaces(7))."""
    whole = tmp_path_factory.mktemp("proc")
    subprocess.run(["mount", "-t", "proc", "proc", whole], check=True)
    yield
    subprocess.run(["umount", whole], check=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that is seen in the sandboxes within this one too; they cover /run, where the temporary files of this one are."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name)


def _kinds(result: dict[str, Any]) -> set[tuple[str, str]]:
    return {(sender, kind) for sender, _, kind, _ in result["resets"]}


def test_a_closed_port_is_found_and_the_truth_lies_beside_the_result(folder: Path) -> None:
    (result,) = play_all([Run("port-closed", 1)], folder, jobs=1, tell=print, record=True)
    truth = json.loads((folder / "port-closed-1.truth.json").read_text())
    faulty = f"web/web-{truth['parameters']['faulty'] % truth['parameters']['members'] + 1}"
    assert truth["faults"][0]["subjects"] == [{"type": "member", "id": faulty}]
    assert truth["load_at"] + 4 < truth["fault_at"] < truth["end_at"] - 6
    assert ("member", "refused") in _kinds(result)
    (fault,) = result["faults"]
    assert (fault["found"], fault["subject"]["id"], fault["acted"]) == ("misconfiguration", faulty, True)
    assert result["harmed"] == []
    assert result["clients"]["after"]["served"] > 100
    assert (folder / "port-closed-1.record").stat().st_size > 1000


def test_two_runs_at_once_do_not_see_each_other(folder: Path) -> None:
    runs = [Run("quiet", 1), Run("blind-resets", 1)]
    by_name = {result["scenario"]: result for result in play_all(runs, folder, jobs=2, tell=print)}
    assert ("injected", "injected") in _kinds(by_name["blind-resets"])
    assert by_name["blind-resets"]["faults"][0]["found"] == "hostile"
    assert not any(kind == "injected" for _, kind in _kinds(by_name["quiet"]))
    assert by_name["quiet"]["incidents"] == []


def test_os_ken_plays_it_too(folder: Path) -> None:
    result = play(Run("port-closed", 2), folder, framework="os-ken")
    assert result["faults"][0]["found"] == "misconfiguration"


def test_a_run_at_the_terminal_shows_what_happens_and_ends_with_the_verdict(folder: Path) -> None:
    ended = subprocess.run(
        [RESETLB, "lab", "run", "port-closed", "--record", str(folder)],
        capture_output=True,
        text=True,
        timeout=BUDGET_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "a member's listener closes" in ended.stdout
    assert "weight 100 → 0" in ended.stdout
    assert "expected  misconfiguration" in ended.stdout
    assert ": right; acted as expected" in ended.stdout
