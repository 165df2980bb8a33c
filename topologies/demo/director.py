"""The demo's timeline: has faults made and mended on the stage, and keeps the account of each run."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from topologies.demo import script
from topologies.demo.api import Api, ApiError, Event
from topologies.demo.screen import Screen
from topologies.demo.stage import Record, Stage, StageFailedError
from topologies.demo.tally import Death, Tally

if TYPE_CHECKING:
    from topologies.demo.simulated import SimulatedApi, SimulatedStage

    AnyStage = Stage | SimulatedStage
    AnyApi = Api | SimulatedApi

READY_S = 40.0
POLL_S = 0.5
_TURN_S = 0.1
_FULL_WEIGHT = 100


class Director:
    """Runs the script on a stage that is ready, and shows it."""

    def __init__(self, stage: AnyStage, api: AnyApi, screen: Screen) -> None:
        self._stage = stage
        self._api = api
        self._screen = screen
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._next_poll = 0.0

    def prepare(self) -> None:
        """Waits until every switch and member is known and well. Raises StageFailedError."""
        self._screen.step("waiting for switches and members")
        self._wait_until_well(READY_S)
        self._call(lambda: self._api.follow(self._events.put))

    def run(self, handling: bool) -> Tally:
        """Plays all phases with reset handling on or off; returns the account. Raises StageFailedError."""
        self._wait_until_well(READY_S)
        self._call(lambda: self._api.automation("enforce" if handling else "frozen"))
        tally = Tally(handling, script.MEMBERS)
        self._begun = self._stage.now()
        self._screen.run_begins(tally)
        tally.begin(script.PHASES[0].name, self._begun)
        self._stage.order("load", tally.take, rate=script.RATE, kept=script.KEPT)
        for phase in script.PHASES:
            self._play(phase, tally)
        self._stage.order("stop-load", tally.take)
        self._look(tally)
        self._screen.run_ends()
        return tally

    def idle(self) -> None:
        """Light load with reset handling on, without end: something to see on the dashboard."""
        self._call(lambda: self._api.automation("enforce"))
        self._stage.order("load", _ignore, rate=script.IDLE_RATE, kept=0)
        while True:
            self._stage.drain(_ignore, 1.0)

    def _play(self, phase: script.Phase, tally: Tally) -> None:
        began = self._stage.now()
        if phase is not script.PHASES[0]:
            tally.begin(phase.name, began)
        self._screen.phase_begins(phase.name, began - self._begun)
        for do, member in phase.orders:
            told: list[Record] = []
            done = self._stage.order(do, told.append, member=member)
            if "gone" in done:
                # Before what its clients told meanwhile is counted: they lost what was its own to break.
                tally.deaths.append(Death(member, done["began"], done["gone"]))
            for record in told:
                tally.take(record)
        while (left := began + phase.duration_s - self._stage.now()) > 0:
            self._stage.drain(tally.take, min(_TURN_S, left))
            self._look(tally)
        tally.phases[-1].weights = {member["name"]: member["effective_weight"] for member in self._members()}
        self._screen.phase_ends(tally.phases[-1], self._stage.now() - self._begun)

    def _look(self, tally: Tally) -> None:
        """Takes announcements, and now and then the members' state."""
        elapsed_s = self._stage.now() - self._begun
        while not self._events.empty():
            event = self._events.get()
            if event.kind == "ejected":
                tally.out_after_ms[event.document["member"].partition("/")[2]] = event.document["after_ms"]
            if event.kind in ("eject", "ejected", "readmit"):
                self._screen.announce(event.document["text"], elapsed_s)
        if self._stage.now() >= self._next_poll:
            self._next_poll = self._stage.now() + POLL_S
            self._screen.members(self._members())
        self._screen.refresh(elapsed_s)

    def _wait_until_well(self, timeout_s: float) -> None:
        deadline = self._stage.now() + timeout_s
        while not self._well():
            if self._stage.now() > deadline:
                raise StageFailedError(f"switches and members were not well after {timeout_s:g} s: {self._state()}")
            self._stage.drain(_ignore, POLL_S)

    def _well(self) -> bool:
        try:
            if self._api.get("health")["switches"] < script.SWITCHES:
                return False
            members = self._api.members(script.POOL)
        except ApiError:
            return False  # it is only just starting; if it has ended, the stage says so
        return all(member["health"] == "up" and member["effective_weight"] == _FULL_WEIGHT for member in members)

    def _state(self) -> str:
        try:
            health, members = self._api.get("health"), self._api.members(script.POOL)
        except ApiError as error:
            return str(error)
        each = (f"{member['name']} {member['health']}, weight {member['effective_weight']}" for member in members)
        return f"{health['switches']} of {script.SWITCHES} switches; " + "; ".join(each)

    def _members(self) -> list[dict[str, Any]]:
        return self._call(lambda: self._api.members(script.POOL))

    def _call(self, ask: Any) -> Any:
        """What the API answers; if it does not, the stage knows why."""
        try:
            return ask()
        except ApiError as error:
            self._stage.drain(_ignore, 2.0)
            raise StageFailedError(f"the controller's API failed: {error}") from error


def _ignore(_record: Record) -> None:
    """For lines of clients that belong to no run."""
