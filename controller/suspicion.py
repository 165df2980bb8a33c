"""What resets say against a member before anything is done: the first reaction's evidence.

One reset is a reason to look, never to act: anybody can send one. A member is out when two kinds of evidence agree: clients'
resets (from the member's own port, in the window) and an own probe that fails the same way, or, when the probe cannot see
it, several distinct clients while the pool's other members do well.

A member that fails some of the time passes many a probe: some that fail are enough to take it out, and many in a row must succeed
before it is let in again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil, log
from typing import NamedTuple

from controller.health import MemberKey, Outcome
from controller.segments import Kind

WINDOW_S = 2.0
MAX_REMEMBERED = 64
PASSIVE_CONNECTIONS, PASSIVE_CLIENTS = 5, 3
SOME_CONNECTIONS, SOME_PROBES = 2, 2
CHANCE = 0.05
"""That a member which fails as often as it did passes all the probes that let it in again."""
PROBES_AT_ONCE = {Kind.REFUSED: 1, Kind.NOT_ACCEPTED: 2, Kind.ABORTED_BY_MEMBER: 8, Kind.UNKNOWN_CONNECTION: 4}
"""How many own probes one suspicion is worth: a fault that shows only some of the time wants more.

Every kind that speaks against a member is worth some: it also starts `REPEAT_AFTER_S`, in which nobody looks again.
"""
REPEAT_AFTER_S = 0.1


class _Failure(NamedTuple):
    """A failed connection: when, whose, and how."""

    time: float
    client: int
    kind: Kind


@dataclass(slots=True)
class _Failures:
    """A member's recent ones, and how own probes ended meanwhile."""

    seen: deque[_Failure] = field(default_factory=lambda: deque(maxlen=MAX_REMEMBERED))
    probed_at: float = -REPEAT_AFTER_S
    outcomes: deque[tuple[float, Outcome]] = field(default_factory=lambda: deque(maxlen=16))

    def recent(self, now: float) -> list[_Failure]:
        return [failure for failure in self.seen if now - failure.time <= WINDOW_S]

    def probed(self, now: float) -> list[Outcome]:
        return [outcome for when, outcome in self.outcomes if now - when <= WINDOW_S]


@dataclass(slots=True)
class Suspicions:
    """Failures by member; bounded by members × `MAX_REMEMBERED`."""

    _failures: dict[MemberKey, _Failures] = field(default_factory=dict)

    def note(self, member: MemberKey, client: int, kind: Kind, now: float) -> int:
        """A connection failed for a reason that may be the member's. Returns how many own probes to send now."""
        failures = self._failures.setdefault(member, _Failures())
        failures.seen.append(_Failure(now, client, kind))
        if now - failures.probed_at < REPEAT_AFTER_S:
            return 0
        failures.probed_at = now
        return PROBES_AT_ONCE.get(kind, 0)

    def first_seen(self, member: MemberKey, now: float) -> float | None:
        """When the current run of failures began."""
        failures = self._failures.get(member)
        recent = failures.recent(now) if failures else []
        return recent[0].time if recent else None

    def confirmed_by(self, member: MemberKey, outcome: Outcome, others: list[MemberKey], now: float) -> bool:
        """Whether own probes and recent failures of clients agree that the member fails.

        One refusal is enough: a port is open or it is not. Resets after the handshake can be overload's: of the last probes
        since the failures began most must meet one, and at least two. Where a live socket aborts clients as well, and the pool's
        other members have nothing of the kind, two are enough.
        """
        failures = self._failures.get(member)
        if failures is None or not failures.recent(now):
            return False
        if outcome is Outcome.REFUSED:
            return True
        failures.outcomes.append((now, outcome))
        probed = failures.probed(now)
        if probed.count(Outcome.RESET) < SOME_PROBES:
            return False
        aborted = sum(failure.kind is Kind.ABORTED_BY_MEMBER for failure in failures.recent(now))
        most = probed.count(Outcome.RESET) > probed.count(Outcome.SUCCEEDED)
        return most or (aborted >= SOME_CONNECTIONS and self._others_do_well(others, aborted, now))

    def note_late(self, member: MemberKey, outcome: Outcome, now: float) -> None:
        """A probe ended that had been sent before the member was taken out."""
        if member in self._failures:
            self._failures[member].outcomes.append((now, outcome))

    def proofs_wanted(self, member: MemberKey, now: float) -> int:
        """How many own probes in a row must succeed to show that a member is well which fails as often as this one did; 0: any."""
        failures = self._failures.get(member)
        probed = failures.probed(now) if failures else []
        failed = [outcome is not Outcome.SUCCEEDED for outcome in probed]
        # What succeeded before the first failure was before the fault.
        since = failed[failed.index(True) :] if True in failed else []
        share = sum(since) / len(since) if since else 1.0
        return ceil(log(CHANCE) / log(1.0 - share)) if share < 1.0 else 0

    def passive(self, member: MemberKey, others: list[MemberKey], now: float) -> bool:
        """Whether clients alone are reason enough: many, distinct, and the other members have nothing of the kind."""
        failures = self._failures.get(member)
        recent = failures.recent(now) if failures else []
        if len(recent) < PASSIVE_CONNECTIONS or len({failure.client for failure in recent}) < PASSIVE_CLIENTS:
            return False
        return self._others_do_well(others, len(recent), now)

    def _others_do_well(self, others: list[MemberKey], here: int, now: float) -> bool:
        elsewhere = sum(len(self._failures[other].recent(now)) for other in others if other in self._failures)
        return elsewhere * 4 < here

    def suspected(self, member: MemberKey, now: float) -> bool:
        """Whether it failed a client just now."""
        return self.first_seen(member, now) is not None

    def acted_on(self, member: MemberKey) -> None:
        """The member was ejected: what clients met is done with; probes may still be under way."""
        if member in self._failures:
            self._failures[member].seen.clear()

    def clear(self, member: MemberKey) -> None:
        """Forget: the member is let in again."""
        self._failures.pop(member, None)
