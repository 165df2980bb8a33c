"""The whole demo, as a user without a terminal sees it: what it promises, and that it leaves nothing behind.

The tests run in a sandbox, the demo makes one of its own in it: "outside" is what these tests see.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.fabric, pytest.mark.one_framework]

DEMO = [str(Path(sys.executable).with_name("resetlb")), "demo"]
BUDGET_S = 150
GONE_S = 5.0


@pytest.fixture(autouse=True)
def _whole_proc(tmp_path: Path) -> Iterator[None]:
    """In a user namespace the kernel allows a new /proc only where a whole one is to be seen (user_namespaces(7))."""
    subprocess.run(["mount", "-t", "proc", "proc", tmp_path], check=True)
    yield
    subprocess.run(["umount", tmp_path], check=True)


@pytest.fixture
def _nothing_left_behind(_whole_proc: None) -> Iterator[None]:
    before = _traces()
    yield
    deadline = time.monotonic() + GONE_S
    while _traces() != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _traces() == before


@pytest.mark.usefixtures("_nothing_left_behind")
def test_the_demo_keeps_its_promises_and_says_so() -> None:
    ended = subprocess.run(DEMO, capture_output=True, text=True, timeout=BUDGET_S, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows, weights = _table(ended.stdout, 12), _table(ended.stdout, 6)
    assert list(rows) == ["all well", "web-2 killed", "web-3 resets", "both back", "whole run"]
    tried, refused, reset = rows["web-2 killed"][0:2], rows["web-2 killed"][2:4], rows["web-3 resets"][4:6]
    assert min(tried) > 400
    assert refused[0] == 0 < refused[1]
    assert reset[0] <= 3 < reset[1]
    assert re.search(r"First RST to changed groups: on web-2 [\d.]+ ms, web-3 [\d.]+ ms; off never", ended.stdout)
    assert weights["web-2 killed"] == [100, 100, 0, 100, 100, 100]
    assert weights["web-3 resets"] == [100, 100, 0, 100, 0, 100]
    assert weights["both back"] == [100] * 6
    assert "✗" not in ended.stdout.replace("✗ handling on: no connect slower than 50 ms", "")
    assert "\x1b" not in ended.stdout


@pytest.mark.usefixtures("_nothing_left_behind")
def test_ctrl_c_ends_it_at_once_and_the_api_answered_until_then() -> None:
    demo = subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    url = next(found[0] for line in demo.stdout if (found := re.findall(r"http://127\.0\.0\.1:\d+/", line)))
    while "all well" not in demo.stdout.readline():
        assert demo.poll() is None
    with urllib.request.urlopen(f"{url}v1/health") as answer:
        assert answer.status == 200
    asked = time.monotonic()
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=GONE_S)
    assert time.monotonic() - asked < 3.0
    assert demo.returncode == 130
    assert "Traceback" not in rest


@pytest.mark.usefixtures("_nothing_left_behind")
def test_a_controller_that_dies_ends_the_demo_with_its_last_words() -> None:
    demo = subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    while "all well" not in demo.stdout.readline():
        assert demo.poll() is None
    os.kill(_controller_of(demo.pid), signal.SIGKILL)
    rest, _ = demo.communicate(timeout=GONE_S * 2)
    assert demo.returncode == 1
    assert "the controller has ended, by SIGKILL" in rest
    assert "the API is at" in rest  # a line of its log
    assert "Traceback" not in rest


def _controller_of(ancestor: int) -> int:
    """The process `resetlb run` among the descendants."""
    parents = {pid: int(_status(pid, "PPid") or 0) for pid in _processes()}
    for pid in parents:
        above = pid
        while above in parents and above != ancestor:
            above = parents[above]
        words = _command(pid).split("\0")
        if above == ancestor and "run" in words and any(word.endswith("/resetlb") for word in words):
            return pid
    raise AssertionError("no controller runs")


def _table(output: str, columns: int) -> dict[str, list[float]]:
    """Rows with so many numbers: phase → its numbers, on and off in turn."""
    found = re.findall(rf"^(\S+ \S+) +((?:[\d.]+(?: +|$)){{{columns}}})$", output, re.MULTILINE)
    return {phase: [float(number) for number in numbers.split()] for phase, numbers in found}


def _traces() -> dict[str, list[str]]:
    """Everything a fabric could leave: processes, interfaces, mounts, files in the usual places."""
    interfaces = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    scratch = Path(os.environ.get("TMPDIR", "/tmp"))
    return {
        "processes": sorted(command for pid in _processes() if (command := _command(pid))),
        "interfaces": [line.split()[0] for line in interfaces.splitlines()],
        "mounts": Path("/proc/self/mounts").read_text().splitlines(),
        "namespaces": sorted(entry.name for entry in Path("/run/netns").iterdir()),
        "files": sorted(entry.name for entry in scratch.iterdir()),
    }


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _status(pid: int, field: str) -> str | None:
    try:
        lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((line.split()[1] for line in lines if line.startswith(f"{field}:")), None)
