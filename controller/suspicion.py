"""What resets say against a member before anything is done: the first reaction's evidence.

One reset is a reason to look, never to act: anybody can send one. A member is out when two kinds of evidence agree: clients'
resets (from the member's own port, in the window) and an own probe that fails the same way, or, when the probe cannot see
it, several distinct clients while the pool's other members do well.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from controller.health import MemberKey, Outcome
from controller.segments import Kind

WINDOW_S = 2.0
MAX_REMEMBERED = 64
PASSIVE_CONNECTIONS, PASSIVE_CLIENTS = 5, 3
PROBES_AT_ONCE = {Kind.REFUSED: 1, Kind.NOT_ACCEPTED: 2, Kind.ABORTED_BY_MEMBER: 4, Kind.UNKNOWN_CONNECTION: 4}
"""How many own probes one suspicion is worth: a fault that shows only some of the time wants more.

Every kind that speaks against a member is worth some: it also starts `REPEAT_AFTER_S`, in which nobody looks again.
"""
REPEAT_AFTER_S = 0.1


@dataclass(slots=True)
class _Failures:
    """A member's recent failed connections: (time, client)."""

    seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MAX_REMEMBERED))
    probed_at: float = -REPEAT_AFTER_S
    outcomes: deque[tuple[float, Outcome]] = field(default_factory=lambda: deque(maxlen=8))

    def recent(self, now: float) -> list[tuple[float, int]]:
        return [failure for failure in self.seen if now - failure[0] <= WINDOW_S]


@dataclass(slots=True)
class Suspicions:
    """Failures by member; bounded by members × `MAX_REMEMBERED`."""

    _failures: dict[MemberKey, _Failures] = field(default_factory=dict)

    def note(self, member: MemberKey, client: int, kind: Kind, now: float) -> int:
        """A connection failed for a reason that may be the member's. Returns how many own probes to send now."""
        failures = self._failures.setdefault(member, _Failures())
        failures.seen.append((now, client))
        if now - failures.probed_at < REPEAT_AFTER_S:
            return 0
        failures.probed_at = now
        return PROBES_AT_ONCE.get(kind, 0)

    def first_seen(self, member: MemberKey, now: float) -> float | None:
        """When the current run of failures began."""
        failures = self._failures.get(member)
        recent = failures.recent(now) if failures else []
        return recent[0][0] if recent else None

    def confirmed_by(self, member: MemberKey, outcome: Outcome, now: float) -> bool:
        """Whether own probes and recent failures of clients agree that the member fails.

        One refusal is enough: a port is open or it is not. Resets after the handshake can be overload's: of the last probes
        since the failures began most must meet one, and at least two.
        """
        failures = self._failures.get(member)
        if failures is None or not failures.recent(now):
            return False
        if outcome is Outcome.REFUSED:
            return True
        failures.outcomes.append((now, outcome))
        recent = [found for when, found in failures.outcomes if now - when <= WINDOW_S]
        return recent.count(Outcome.RESET) >= 2 and recent.count(Outcome.RESET) > recent.count(Outcome.SUCCEEDED)

    def passive(self, member: MemberKey, others: list[MemberKey], now: float) -> bool:
        """Whether clients alone are reason enough: many, distinct, and the other members have nothing of the kind."""
        failures = self._failures.get(member)
        recent = failures.recent(now) if failures else []
        if len(recent) < PASSIVE_CONNECTIONS or len({client for _, client in recent}) < PASSIVE_CLIENTS:
            return False
        elsewhere = sum(len(self._failures[other].recent(now)) for other in others if other in self._failures)
        return elsewhere * 4 < len(recent)

    def suspected(self, member: MemberKey, now: float) -> bool:
        """Whether it failed a client just now."""
        return self.first_seen(member, now) is not None

    def clear(self, member: MemberKey) -> None:
        """Forget: the member was ejected or is gone."""
        self._failures.pop(member, None)
