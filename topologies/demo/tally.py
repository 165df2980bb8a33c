"""What a run came to: every connection of the clients counted into the phase in which its outcome was known."""

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from topologies.load import Outcome

_REMEMBERED = 1000
"""Connections remembered for rates: those of a second, and more."""


@dataclass
class Counts:
    """New connections of one phase.

    Attributes:
        tried: all.
        refused: RST instead of SYN-ACK.
        reset: established, then broken.
        cut: the same, but the process that had it was killed: its own to break, whatever ResetLB does.
        timed_out: neither answer nor error in time.
        slowest_connect_ms: the slowest of those that were established.
    """

    tried: int = 0
    refused: int = 0
    reset: int = 0
    cut: int = 0
    timed_out: int = 0
    slowest_connect_ms: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        sums = {name: value + getattr(other, name) for name, value in asdict(self).items()}
        sums["slowest_connect_ms"] = max(self.slowest_connect_ms, other.slowest_connect_ms)
        return Counts(**sums)


class Death(NamedTuple):
    """A process was killed: asked to at `began`, gone at `gone` (s)."""

    member: str
    began: float
    gone: float


@dataclass
class PhaseTally:
    """A phase since `began` (s): its connections, and the members' weights when it ended."""

    name: str
    began: float
    counts: Counts = field(default_factory=Counts)
    weights: dict[str, int] = field(default_factory=dict)


class Tally:
    """One run.

    Args:
        handling: whether ResetLB handled resets in it.
        members: name → what that member answers, which is its host's name.
    """

    def __init__(self, handling: bool, members: dict[str, str]) -> None:
        self.handling = handling
        self.phases: list[PhaseTally] = []
        self.deaths: list[Death] = []
        self.out_after_ms: dict[str, float] = {}
        """Member → time from its first RST to the changed groups."""
        self.kept = 0
        self.kept_own = 0
        """Connections meant to last that the killed process had."""
        self.broken: list[str] = []
        """Connections meant to last that broke though their member lived: member and outcome."""
        self.late_ms = 0.0
        """By how much the load itself was late at worst."""
        self._name_of = {host: member for member, host in members.items()}
        self._served: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)

    def begin(self, phase: str, now: float) -> None:
        """What ends from now on belongs to this phase."""
        self.phases.append(PhaseTally(phase, now))

    @property
    def total(self) -> Counts:
        """All phases together; the slowest connect of all."""
        return sum((phase.counts for phase in self.phases), Counts())

    def served_per_s(self, member: str, now: float) -> int:
        """New connections that the member served within the last second."""
        return sum(1 for ended, name in self._served if name == member and now - ended <= 1.0)

    def take(self, record: dict[str, Any]) -> None:
        """Counts one line of `topologies.load`."""
        if "number" in record:
            self._take_kept(record)
        else:
            self._take_attempt(record)

    def _take_attempt(self, record: dict[str, Any]) -> None:
        counts = self._phase_at(record["ended"]).counts
        counts.tried += 1
        self.late_ms = max(self.late_ms, record["late_s"] * 1000)
        if record["connected"] is not None:
            counts.slowest_connect_ms = max(counts.slowest_connect_ms, (record["connected"] - record["started"]) * 1000)
        match record["outcome"]:
            case Outcome.OK:
                self._served.append((record["ended"], self._name_of.get(record["member"], "")))
            case Outcome.REFUSED:
                counts.refused += 1
            case Outcome.TIMED_OUT:
                counts.timed_out += 1
            case Outcome.RESET | Outcome.CUT if self._died_with(record):
                counts.cut += 1
            case Outcome.RESET | Outcome.CUT:
                counts.reset += 1

    def _died_with(self, record: dict[str, Any]) -> bool:
        """Whether a process that may have had this connection died under it; who it was, its client never learnt."""
        return any(record["started"] <= death.gone and record["ended"] >= death.began for death in self.deaths)

    def _take_kept(self, record: dict[str, Any]) -> None:
        self.kept += 1
        if record["outcome"] == Outcome.KEPT:
            return
        member = self._name_of.get(record["member"])
        if any(death.member == member and record["ended"] >= death.began for death in self.deaths):
            self.kept_own += 1
        else:
            self.broken.append(f"{member or 'unknown member'}: {record['outcome']}")

    def _phase_at(self, moment: float) -> PhaseTally:
        begun = [phase for phase in self.phases if phase.began <= moment]
        return begun[-1] if begun else self.phases[0]

    def document(self) -> dict[str, Any]:
        """The run as JSON."""
        return {
            "handling": self.handling,
            "phases": [
                {"phase": phase.name, **asdict(phase.counts), "weights": phase.weights} for phase in self.phases
            ],
            "out_after_ms": self.out_after_ms,
            "established": {"kept": self.kept, "of_the_killed_process": self.kept_own, "broken": self.broken},
            "load_late_ms": self.late_ms,
        }
