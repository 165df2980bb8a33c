"""What the controller said and did during a run, gathered from its API."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from topologies.lab.controller import Controller
from topologies.lab.pool import POOL

INTERVAL_S = 0.25
Show = Callable[[str], None]


@dataclass
class Saying:
    """An incident's cause as it stood for a while.

    Attributes:
        time: when it was first seen to say so, seconds since the epoch.
        incident: the document then.
    """

    time: float
    incident: dict[str, Any]


@dataclass
class Observation:
    """What was seen.

    Attributes:
        sayings: every (incident, cause) in the order they were seen.
        last: every incident as it stood at the end, by id.
        lightest: the smallest effective weight of each member.
        quarantined: every client that was quarantined at some time.
    """

    sayings: list[Saying] = field(default_factory=list)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    lightest: dict[str, int] = field(default_factory=dict)
    quarantined: set[str] = field(default_factory=set)


class Observer:
    """Asks the controller four times a second, in a thread of its own, from `start` to `stop`.

    Args:
        controller: a running one.
        show: takes a line for the person at the terminal when something changed.
    """

    def __init__(self, controller: Controller, show: Show) -> None:
        self.seen = Observation()
        self._controller = controller
        self._show = show
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._weights: dict[str, int] = {}

    def start(self) -> None:
        """Begins to ask."""
        self._thread.start()

    def stop(self) -> Observation:
        """Asks a last time; returns what was seen."""
        self._stop.set()
        self._thread.join()
        self._look()
        return self.seen

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                self._look()
            except OSError as error:
                self._show(f"the controller does not answer: {error}")

    def _look(self) -> None:
        now = time.time()
        for incident in self._controller.items("incidents"):
            self._take_incident(incident, now)
        for member in self._controller.get(f"pools/{POOL}")["members"]:
            self._take_member(member["name"], member["effective_weight"])
        self.seen.quarantined.update(entry["client"] for entry in self._controller.items("quarantine"))

    def _take_incident(self, incident: dict[str, Any], now: float) -> None:
        before = self.seen.last.get(incident["id"])
        self.seen.last[incident["id"]] = incident
        if before is None or before["cause"] != incident["cause"]:
            self.seen.sayings.append(Saying(now, incident))
            subject = incident["subject"]
            said = f"{incident['cause']} ({incident['confidence']:.0%}) at {subject['type']} {subject['id']}"
            self._show(f"incident {incident['id']}: {said}")

    def _take_member(self, name: str, weight: int) -> None:
        self.seen.lightest[name] = min(weight, self.seen.lightest.get(name, weight))
        if self._weights.setdefault(name, weight) != weight:
            self._show(f"{name}: weight {self._weights[name]} → {weight}")
            self._weights[name] = weight


def count_resets(resets: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """How many sampled resets of each (sender, stage, kind); further ones of the same connection are left out."""
    return Counter((reset["sender"], reset["stage"], reset["kind"]) for reset in resets if not reset["repeated"])
