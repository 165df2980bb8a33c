"""Left alone with faults for long: memory, file descriptors and log of the controller stay flat."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from topologies.faulty_server import Fault
from topologies.reliability.stage import CLIENTS, MEMBERS, VIP, VIP_PORT, Stage

SAMPLE_S = 5.0
FAULT_S = (2.0, 8.0)
ATTACKER = "h5"
GROWTH_MB, MORE_FILES, LINES_PER_MINUTE = 5.0, 5, 300
"""What is flat: medians of the last quarter against those of the second (the first is warming up), and lines of the whole."""


class Sample(NamedTuple):
    """Resident memory (MB), open file descriptors and log lines so far, at a time (s since the start)."""

    at_s: float
    memory_mb: float
    files: int
    lines: int


class Found(NamedTuple):
    """What was sampled, which faults there were, and how connections ended."""

    samples: list[Sample]
    faults: Counter[str]
    outcomes: Counter[str]
    tracebacks: int

    def quarter(self, number: int) -> list[Sample]:
        """A quarter of the samples, 0 to 3."""
        count = len(self.samples)
        return self.samples[number * count // 4 : (number + 1) * count // 4]

    @property
    def growth_mb(self) -> float:
        """By how much memory has grown from the second quarter to the last (medians)."""
        last, second = (median(sample.memory_mb for sample in self.quarter(number)) for number in (3, 1))
        return last - second

    @property
    def more_files(self) -> float:
        """How many more files are open (medians)."""
        last, second = (median(sample.files for sample in self.quarter(number)) for number in (3, 1))
        return last - second

    @property
    def lines_per_minute(self) -> float:
        """Of the log."""
        first, last = self.samples[0], self.samples[-1]
        return 60 * (last.lines - first.lines) / (last.at_s - first.at_s)

    @property
    def met(self) -> bool:
        """Whether everything stayed flat."""
        flat = self.growth_mb < GROWTH_MB and self.more_files <= MORE_FILES
        return flat and self.lines_per_minute < LINES_PER_MINUTE and not self.tracebacks


def measure(seconds: float, seed: int, framework: str) -> Found:
    """Causes faults for so long, showing a sample every minute. Raises RuntimeError."""
    with Stage(framework) as stage:
        faults, dice = Faults(stage, random.Random(seed)), random.Random(seed)
        began, samples, caused = time.monotonic(), [], Counter[str]()
        while (now := time.monotonic() - began) < seconds or len(samples) < 8:
            name = dice.choice(list(faults.all))
            caused[name] += 1
            faults.all[name](dice.uniform(*FAULT_S))
            if not stage.controller.running:
                raise RuntimeError(f"the controller ended: {stage.controller.log.read_text()[-2000:]}")
            samples.append(_sample(stage, now))
            if len(samples) % 10 == 0:
                print(f"{now / 60:5.1f} min: {samples[-1].memory_mb:.1f} MB, {samples[-1].files} files", flush=True)
        outcomes = Counter(connection.outcome for connection in stage.finish())
        return Found(samples, caused, outcomes, stage.controller.log.read_text().count("Traceback"))


class Faults:
    """What can go wrong, by name: each is caused for so long (s), and mended."""

    def __init__(self, stage: Stage, dice: random.Random) -> None:
        self._stage = stage
        self._dice = dice
        self.all: dict[str, Callable[[float], None]] = {
            "a member refuses": lambda seconds: self._behave(Fault.REFUSE, seconds),
            "a member resets what it accepts": lambda seconds: self._behave(Fault.RESET_ON_ACCEPT, seconds),
            "a link is cut": self._cut,
            "a switch is parted": self._part,
            "the policy changes": self._policy,
            "forged resets": self._forge,
            "garbage on the OpenFlow port": self._garbage,
            "questions to the API": self._ask,
            "nothing": time.sleep,
        }

    def _behave(self, fault: Fault, seconds: float) -> None:
        server = self._stage.servers[self._dice.choice(MEMBERS)]
        server.behave(fault)
        time.sleep(seconds)
        server.behave()

    def _cut(self, seconds: float) -> None:
        link = self._dice.choice(("leaf1", "leaf2", "leaf3")), self._dice.choice(("spine1", "spine2"))
        self._stage.fabric.cut_link(*link)
        time.sleep(seconds)
        self._stage.fabric.restore_link(*link)

    def _part(self, seconds: float) -> None:
        switch = self._dice.choice(self._stage.fabric.switch_names)
        self._stage.fabric.disconnect(switch)
        time.sleep(seconds)
        self._stage.call_in()

    def _policy(self, seconds: float) -> None:
        rules = [
            {"priority": 100 + n, "src": f"10.9.{n}.0/24", "action": "drop"} for n in range(self._dice.randrange(50))
        ]
        with contextlib.suppress(OSError):  # a busy machine may answer late
            self._stage.controller.put("policy", {**self._stage.policy, "firewall": {"rules": rules}})
        time.sleep(seconds)

    def _forge(self, seconds: float) -> None:
        """In a member's name, from a host that is put away for it: one that nobody else needs."""
        fabric, victim = self._stage.fabric, CLIENTS[0]
        claimed = fabric.address(self._dice.choice(MEMBERS))
        argv = ["hping3", "--rst", "--quiet", "--spoof", claimed, "--baseport", "8080", "--destport", "++30000"]
        argv += ["--interval", "u2000", "--count", str(int(seconds * 500)), fabric.address(victim)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            fabric.run(ATTACKER, *argv, timeout_s=seconds)

    def _garbage(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 6653), timeout=2) as peer:
                peer.sendall(bytes((4, 0, 0, 16, 0, 0, 0, 0)) + self._dice.randbytes(64))
            time.sleep(0.1)

    def _ask(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        paths = "resets?limit=1000", "incidents", "topology", f"explain?src={VIP}&dst={VIP}&dst_port={VIP_PORT}"
        while time.monotonic() < end:
            for path in paths:
                with contextlib.suppress(OSError):
                    self._stage.controller.get(path)
            time.sleep(0.2)


def _sample(stage: Stage, at_s: float) -> Sample:
    process = Path(f"/proc/{stage.controller.pid}")
    status = (process / "status").read_text()
    memory_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    lines = stage.controller.log.read_bytes().count(b"\n")
    return Sample(at_s, memory_kb / 1024, len(list((process / "fd").iterdir())), lines)


def table(found: Found) -> str:
    """The figures as a table of the page."""
    first, last = (median(sample.memory_mb for sample in found.quarter(number)) for number in (0, 3))
    lost = sum(count for outcome, count in found.outcomes.items() if outcome not in ("ok", "kept"))
    faults = ", ".join(f"{name} {count}×" for name, count in sorted(found.faults.items()))
    return (
        "| | wanted | found |\n|---|---|---|\n"
        f"| for | | {found.samples[-1].at_s / 60:.0f} min, {found.faults.total()} faults |\n"
        f"| memory, second quarter → last | < +{GROWTH_MB:g} MB | {found.growth_mb:+.1f} MB "
        f"(first quarter {first:.1f} MB, last {last:.1f} MB) |\n"
        f"| open files, second quarter → last | ≤ +{MORE_FILES} | {found.more_files:+g} (at most {max(s.files for s in found.samples)}) |\n"
        f"| log lines a minute | < {LINES_PER_MINUTE} | {found.lines_per_minute:.0f} |\n"
        f"| tracebacks | none | {found.tracebacks or 'none'} |\n"
        f"| connections, and those that the faults cost | | {found.outcomes.total()}, {lost} |\n"
        f"\nFaults: {faults}.\n"
    )
