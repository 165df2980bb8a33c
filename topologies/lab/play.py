"""Plays one scenario in this sandbox, and writes what happened.

    python -m topologies.lab.play NAME SEED FOLDER [--framework F] [--record] [--quiet]

Into FOLDER go NAME-SEED.truth.json, NAME-SEED.result.json (`verdict.Result`), and with --record NAME-SEED.record.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from topologies.lab.catalogue import SCENARIOS
from topologies.lab.controller import Controller
from topologies.lab.observation import Observer
from topologies.lab.pool import POOL
from topologies.lab.scene import Scene
from topologies.lab.traffic import Outcome
from topologies.lab.truth import truth_of
from topologies.lab.verdict import Ended, judge

READY_S = 30.0
BASELINE_S = 9.0
"""Counters lag by up to two seconds, and what is usual is learned two rounds late."""
FAULT_S = 7.0
HEALTHY_SHARE = 0.95
AFTERGLOW_S = 0.5
"""Resets of the last connections are on their way when the traffic ends."""


class Player:
    """Plays one run and tells the person at the terminal.

    Args:
        name: of the scenario.
        seed: of its parameters.
        folder: for what it writes.
        show: takes a line for the person at the terminal.
    """

    def __init__(self, name: str, seed: int, folder: Path, show: Callable[[str], None]) -> None:
        self.scene = Scene(SCENARIOS[name], seed)
        self._stem = f"{name}-{seed}"
        self._folder = folder
        self._show = show

    def play(self, framework: str, *, record: bool) -> dict[str, Any]:
        """From building to judging; returns the result, which is also written.

        Raises:
            RuntimeError: the service did not come up, or was not well.
        """
        scene = self.scene
        recording = self._folder / f"{self._stem}.record" if record else None
        with Controller(scene.folder, scene.policy(), framework, recording) as controller:
            scene.controller = controller
            scene.build()
            self._show(f"{scene.parameters['topology']} with {len(scene.cast.members)} servers stands")
            self._wait_until_served(controller)
            scene.introduce()
            observer = Observer(controller, self._show)
            load_at = time.time()
            scene.open_for_business()
            observer.start()
            self._show(f"all members are up; clients open {scene.parameters['rate']:.0f} connections/s")
            time.sleep(BASELINE_S)
            self._check_healthy()
            fault_at = self._begin()
            time.sleep(max(0.0, fault_at + FAULT_S - time.time()))
            scene.close()
            end_at = time.time()
            time.sleep(AFTERGLOW_S)
            seen = observer.stop()
            resets = controller.items("resets?since=" + _rfc3339(load_at))
        truth = truth_of(scene, load_at, fault_at, end_at)
        result = judge(truth, seen, resets, self._ended(fault_at))
        self._write("truth", truth.document())
        self._write("result", result)
        return result

    def _wait_until_served(self, controller: Controller) -> None:
        deadline = time.monotonic() + READY_S
        said = "nothing"
        while time.monotonic() < deadline and controller.running:
            try:
                members = controller.get(f"pools/{POOL}")["members"]
                if all(member["health"] == "up" and member["effective_weight"] == 100 for member in members):
                    return
                said = ", ".join(f"{member['name']} {member['health']}" for member in members)
            except OSError as error:
                said = str(error)
            time.sleep(0.1)
        raise RuntimeError(f"the service did not come up ({said}):\n{controller.log.read_text()[-2000:]}")

    def _check_healthy(self) -> None:
        """A run whose service was not well before the fault says nothing about the fault."""
        before = self._ended(time.time()).before
        if before[Outcome.SERVED] < HEALTHY_SHARE * before.total() or not before:
            raise RuntimeError(f"not healthy before the fault (is this machine busy?): {dict(before)}")

    def _begin(self) -> float:
        """Starts the faults; returns when."""
        fault_at = time.time()
        self._show(self.scene.scenario.title)
        for fault in self.scene.scenario.faults:
            fault.act.begin(self.scene)
        return fault_at

    def _ended(self, fault_at: float) -> Ended:
        """How the ordinary clients' connections ended, before and from the fault on."""
        ended = Ended(Counter(), Counter())
        for path in self.scene.ended:
            for line in path.read_text().splitlines():
                outcomes = json.loads(line)
                when = outcomes.pop("time")
                del outcomes["slowest_ms"]
                (ended.before if when < fault_at else ended.after).update(outcomes)
        return ended

    def _write(self, what: str, document: dict[str, Any]) -> None:
        (self._folder / f"{self._stem}.{what}.json").write_text(json.dumps(document, indent=1))


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def main() -> int:
    """Plays what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m topologies.lab.play")
    parser.add_argument("name", choices=SCENARIOS)
    parser.add_argument("seed", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--framework", default="ryu")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args()
    began = time.monotonic()

    def show(line: str) -> None:
        if arguments.quiet:
            return
        with contextlib.suppress(BrokenPipeError):  # nobody looks any more; the result is written all the same
            print(f"{time.monotonic() - began:6.2f} s  {line}", flush=True)

    try:
        Player(arguments.name, arguments.seed, arguments.folder, show).play(
            arguments.framework, record=arguments.record
        )
    except (RuntimeError, OSError) as error:
        print(f"{arguments.name} with seed {arguments.seed}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
