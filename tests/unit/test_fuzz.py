"""A short run of `scripts/fuzz` finds nothing in what there is, and the fuzzer finds what was put there for it."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lib"))

from fuzz import __main__ as fuzzer
from fuzz.mutation import Mutator

ROOT = Path(__file__).resolve().parents[2]
CORPUS = [b"a record of twenty octets", bytes(range(40))]


def test_nothing_is_found_in_what_reads_untrusted_octets() -> None:
    path = os.pathsep.join((str(ROOT), str(ROOT / "scripts/lib")))
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--inputs", "12000", "--seed", "553332"],
        capture_output=True, text=True, timeout=120, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def stumble(octets: bytes) -> None:
    if octets[:1] == b"\xff":
        raise KeyError(octets)


def hang(octets: bytes) -> None:
    while octets[:1] == b"\x00":
        pass


def test_what_stumbles_and_what_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzer, "SLOWEST_S", 0.02)
    faulty = {"stumbles": (0.5, CORPUS, stumble), "hangs": (0.5, CORPUS[:1], hang)}
    report = fuzzer.give(faulty, 2000, random.Random(1))
    found = {finding.reader: finding for finding in report.findings}
    assert found.keys() == {"stumbles", "hangs"} and not report.clean
    assert found["stumbles"].octets.startswith(b"\xff") and "KeyError" in found["stumbles"].text
    assert "TooSlowError" in found["hangs"].text


def test_a_seed_makes_the_same_inputs_again_and_few_are_as_they_were() -> None:
    first, second = (Mutator(CORPUS, random.Random(7)) for _ in range(2))
    inputs = [first.input() for _ in range(500)]
    assert inputs == [second.input() for _ in range(500)]
    assert 0 < sum(octets in CORPUS for octets in inputs) < 50
