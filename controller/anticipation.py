"""Members that begin to be slow get less before anybody is reset: a closed loop over how long connections stay and how long answers take.

Open connections divided by new ones per second is how long one stays (Little's law: L = λW). A member where they stay much longer than at
its peers has a queue, or is slower; its share follows the ratio, as least-connections would have it, but with nothing in the path.
The same goes for SYN-ACKs that take much longer than this member's own used to (an accept queue, a host out of CPU) and for a
load that its agent reports. Steps are bounded, small differences are left alone, and no incident is opened: harm is for the diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from statistics import median

from controller.activity import Activity
from controller.decisions import Announce, Decision
from controller.pools import MemberState
from controller.services import Services

LOOK_S = 2.0
SLOW_RATIO, ALIKE_RATIO = 1.6, 1.2
"""Acting begins at the first and ends at the second (hysteresis)."""
SLOW_LOOKS = 2
FEWEST_MORE = 4
DEADBAND = 0.2
"""A share that is wrong by less than this part is left alone."""
STEP_DOWN, STEP_UP = 0.7, 1.15
LEAST_EASE = 0.1
FEWEST_PER_S = 2.0
LONGEST_STAY_S = 5.0
"""Connections that stay longer at the peers are meant to: how many are open says nothing then."""
SHORTEST_STAY_S = 0.002
LATENCY_RATIO, LATENCY_MS = 3.0, 5.0
FULL_LOAD, HIGH_LOAD = 0.95, 0.85
SMOOTHED = 0.5
USUAL_LEARNING = 0.02
ANNOUNCED_STEP = 0.15


@dataclass(slots=True)
class _Known:
    """What is remembered of a member."""

    stay_s: float | None = None
    usual_ms: float | None = None
    acting: bool = False
    slow_looks: int = 0
    announced: float = 1.0


@dataclass(slots=True)
class Anticipation:
    """Moves `MemberState.ease`, the share that this loop leaves of a member's weight."""

    services: Services
    activity: Activity
    _known: dict[int, _Known] = field(default_factory=dict)
    _next_look: float = 0.0

    def on_tick(self, now: float, acting: bool) -> list[Decision]:
        """Look at every pool; `acting` is whether automation may change weights."""
        if now < self._next_look:
            return []
        self._next_look = now + LOOK_S
        said: list[Decision] = []
        for pool in self.services.pools.settings:
            members = list(self.services.pools.of(pool))
            for member in members:
                self._follow(member, now)
            if acting:
                for member in members:
                    said += self._steer(member, [other for other in members if other is not member], now)
        numbers = {member.number for member in self.services.pools.members.values()}
        self._known = {number: known for number, known in self._known.items() if number in numbers}
        return said

    def next_deadline(self) -> float:
        """When members are looked at again."""
        return self._next_look

    # --- what is known ---------------------------------------------------------------------------------------------------------

    def _follow(self, member: MemberState, now: float) -> None:
        known = self._known.setdefault(member.number, _Known())
        active, rate = member.connections_active, self.activity.connections_per_s(member)
        if active is None or rate is None or rate < FEWEST_PER_S:
            known.stay_s = None
        else:
            stay_s = max(active / rate, SHORTEST_STAY_S)
            known.stay_s = stay_s if known.stay_s is None else known.stay_s + SMOOTHED * (stay_s - known.stay_s)
        seen_ms = self.activity.handshakes.median_ms(member.number, now)
        if seen_ms is not None:
            usual = known.usual_ms
            # What is slow must not become usual within minutes.
            learned = USUAL_LEARNING if usual is not None and seen_ms < LATENCY_RATIO * usual else 0.0
            known.usual_ms = seen_ms if usual is None else usual + learned * (seen_ms - usual)

    def _wanted(self, member: MemberState, others: Iterable[MemberState], now: float) -> tuple[float, str]:
        """The share a member should have (1: all of its weight), and what says so."""
        known = self._known[member.number]
        wanted, why = 1.0, ""
        peers = [
            stay for other in others if other.accepts_new and (stay := self._known[other.number].stay_s) is not None
        ]
        if (
            known.stay_s is not None
            and peers
            and median(peers) <= LONGEST_STAY_S
            and self._says_something(member, peers)
        ):
            wanted = min(1.0, median(peers) / known.stay_s)
            why = f"connections stay {known.stay_s * 1000:.0f} ms, at its peers {median(peers) * 1000:.0f} ms"
        seen_ms, usual_ms = self.activity.handshakes.median_ms(member.number, now), known.usual_ms
        if seen_ms is not None and usual_ms is not None and seen_ms > usual_ms + LATENCY_MS:
            by_latency = LATENCY_RATIO * usual_ms / seen_ms
            if by_latency < wanted:
                wanted, why = by_latency, f"it answers SYNs after {seen_ms:.1f} ms, usually {usual_ms:.1f} ms"
        if member.load is not None and member.load >= HIGH_LOAD:
            by_load = max(0.0, 1.0 - (member.load - HIGH_LOAD) / (FULL_LOAD - HIGH_LOAD) * 0.5)
            if by_load < wanted:
                wanted, why = by_load, f"its agent reports a load of {member.load:.0%}"
        return max(LEAST_EASE, wanted), why

    def _says_something(self, member: MemberState, peers: list[float]) -> bool:
        """Whether it has more connections open than chance explains: a few more or less are no queue."""
        known, rate = self._known[member.number], self.activity.connections_per_s(member)
        expected = (rate or 0.0) * median(peers)
        return known.acting or (member.connections_active or 0) >= expected + FEWEST_MORE + 3 * sqrt(expected)

    # --- acting ----------------------------------------------------------------------------------------------------------------

    def _steer(self, member: MemberState, others: list[MemberState], now: float) -> list[Decision]:
        if not any(other.accepts_new for other in others):
            return self._move(member, 1.0, "nobody else takes new connections") if member.ease < 1.0 else []
        known = self._known[member.number]
        wanted, why = self._wanted(member, others, now)
        known.slow_looks = known.slow_looks + 1 if wanted < 1 / SLOW_RATIO else 0
        known.acting = wanted < 1 / ALIKE_RATIO if known.acting else known.slow_looks >= SLOW_LOOKS
        if not known.acting:
            wanted, why = 1.0, "it keeps up with its peers"
        if abs(wanted - member.ease) <= DEADBAND * member.ease and LEAST_EASE < wanted < 1.0:
            return []
        bounded = max(wanted, member.ease * STEP_DOWN) if wanted < member.ease else min(wanted, member.ease * STEP_UP)
        return self._move(member, round(min(1.0, bounded), 3), why)

    def _move(self, member: MemberState, ease: float, why: str) -> list[Decision]:
        if ease == member.ease:
            return []
        member.ease = ease
        self.services.pools.touch()
        known = self._known[member.number]
        if abs(ease - known.announced) < ANNOUNCED_STEP and ease not in (1.0, LEAST_EASE):
            return []
        known.announced = ease
        name = f"{member.pool}/{member.policy.name}"
        return [
            Announce(
                "weight", f"{name} is at {ease:.0%} of its weight: {why}", {"member": name, "share": ease, "why": why}
            )
        ]
