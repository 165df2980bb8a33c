"""Members that begin to be slow get less before anybody is reset: a closed loop over how long connections stay and how long answers take.

Open connections divided by new ones per second is how long one stays (Little's law: L = λW). A member where they stay much longer than at
its peers has a queue, or is slower; its share follows the ratio, as least-connections would have it, but with nothing in the path.
The same goes for SYN-ACKs that take much longer than this member's own used to (an accept queue, a host out of CPU) and for a
load that its agent reports. Steps are bounded, small differences are left alone, and no incident is opened: harm is for the diagnosis.

It looks whenever connections have been counted. A queue builds up within seconds, so while a member stands out, `watching` asks for
counts every half second.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, sqrt

from controller.activity import Activity
from controller.decisions import Announce, Decision
from controller.pools import MemberState
from controller.services import Services

WATCHED_RATIO, WATCHED_MORE = 1.3, 2
"""A member stands out whose connections stay so many times as long as its peers', with so many more of them open."""
SLOW_RATIO, ALIKE_RATIO = 1.6, 1.2
"""Acting begins at the first and ends at the second (hysteresis)."""
SLOW_LOOKS = 2
EVIDENT = 2.0
"""So many times as many more as chance explains need no second look."""
FEWEST_MORE = 4
VARIED_S = 5.0
VARIES, STILL_VARIES = 4.0, 16.0
"""Of connections that come and go the open ones vary as by chance: their variance is their number, so seldom a quarter of it. Acting
begins at the first and ends at the second."""
STILL = 0.25
"""A step down needs so much of what chance explains at that very look."""
DEADBAND = 0.5
"""A share that is wrong by less than this part is left alone."""
STEP_DOWN, STEP_UP_PER_S = 0.7, 1.07
LONGEST_STEP_S = 1.0
LEAST_EASE = 0.1
FEWEST_PER_S = 2.0
LONGEST_STAY_S = 5.0
"""Connections that stay longer at the peers are meant to: how many are open says nothing then."""
SHORTEST_STAY_S = 0.002
LATENCY_RATIO, LATENCY_MS = 3.0, 5.0
FULL_LOAD, HIGH_LOAD = 0.95, 0.85
SMOOTHED, FALLING_S = 0.3, 15.0
RATES_LAG_S = 8.0
"""When connections begin to come, their rate is told too low for so long, and how long they stay would be told too high."""
USUAL_LEARNING = 0.02
ANNOUNCED_STEP = 0.15
MEMBERS_AT_ONCE, NEXT_LOOK_S = 64, 0.002
"""Of a thousand members the rest waits, so that a reaction does not."""


@dataclass(slots=True)
class _Known:
    """What is remembered of a member."""

    coming_from: float | None = None
    """Since when connections have come (s)."""
    stay_s: float | None = None
    mean_open: float = 0.0
    variance_open: float = 0.0
    """Of the open connections, recent ones above all."""
    usual_ms: float | None = None
    acting: bool = False
    slow_looks: int = 0
    announced: float = 1.0


class _Peers:
    """How long connections stay at the members of a pool that take new ones, by number; None where nobody knows."""

    def __init__(self, stays: Mapping[int, float | None]) -> None:
        self._stays = stays
        self._ordered = sorted(stay_s for stay_s in stays.values() if stay_s is not None)

    def others(self, member: MemberState) -> int:
        """How many there are beside this one."""
        return len(self._stays) - (member.number in self._stays)

    def usual_stay_s(self, member: MemberState) -> float | None:
        """The median over the others; None where nobody knows, or where connections are meant to stay."""
        own_s = self._stays.get(member.number)
        left_out = len(self._ordered) if own_s is None else bisect_left(self._ordered, own_s)
        count = len(self._ordered) - (own_s is not None)
        if not count:
            return None
        low, high = (self._ordered[place + (place >= left_out)] for place in ((count - 1) // 2, count // 2))
        median_s = (low + high) / 2
        return median_s if median_s <= LONGEST_STAY_S else None


@dataclass(slots=True)
class Anticipation:
    """Moves `MemberState.ease`, the share that this loop leaves of a member's weight."""

    services: Services
    activity: Activity
    _known: dict[int, _Known] = field(default_factory=dict)
    watching: bool = False
    """Whether some member stands out."""
    _looked_at: float = float("-inf")
    _elapsed_s: float = 0.0
    _waiting: deque[str] = field(default_factory=deque)
    """Pools that have still to be looked at in this round."""
    _stand_out: bool = False

    def on_tick(self, now: float, acting: bool) -> list[Decision]:
        """Look at some pools; `acting` is whether automation may change weights."""
        if not self._waiting:
            if self.activity.summed_at == self._looked_at:
                return []
            self._elapsed_s, self._looked_at = self.activity.summed_at - self._looked_at, self.activity.summed_at
            self._stand_out = False
            self._waiting.extend(self.services.pools.settings)
        said: list[Decision] = []
        looked_at = 0
        while self._waiting and looked_at < MEMBERS_AT_ONCE:
            members = list(self.services.pools.of(self._waiting.popleft()))
            looked_at += len(members)
            said += self._look_at(members, now, acting)
        if not self._waiting:
            numbers = {member.number for member in self.services.pools.members.values()}
            self._known = {number: known for number, known in self._known.items() if number in numbers}
            self.watching = self.activity.closely = self._stand_out
        return said

    def next_deadline(self, now: float) -> float:
        """When the next pools have their turn."""
        return now + NEXT_LOOK_S if self._waiting else now + 60.0

    def _look_at(self, members: list[MemberState], now: float, acting: bool) -> list[Decision]:
        for member in members:
            self._follow(member, now)
        peers = _Peers({member.number: self._known[member.number].stay_s for member in members if member.accepts_new})
        self._stand_out |= any(self._stands_out(member, peers.usual_stay_s(member)) for member in members)
        if not acting:
            return []
        said: list[Decision] = []
        for member in members:
            said += self._steer(member, peers, now)
        return said

    # --- what is known ---------------------------------------------------------------------------------------------------------

    def _follow(self, member: MemberState, now: float) -> None:
        known = self._known.setdefault(member.number, _Known())
        active, rate = member.connections_active, self._told_right(member, known, now)
        if active is None or rate is None:
            known.stay_s = None
            known.mean_open, known.variance_open = active or 0.0, 0.0
        else:
            self._follow_variance(known, active)
            stay_s = max(active / rate, SHORTEST_STAY_S)
            known.stay_s = stay_s if known.stay_s is None else self._smoothed(known.stay_s, stay_s, active)
        seen_ms = self.activity.handshakes.median_ms(member.number, now)
        if seen_ms is not None:
            usual = known.usual_ms
            # What is slow must not become usual within minutes.
            learned = USUAL_LEARNING if usual is not None and seen_ms < LATENCY_RATIO * usual else 0.0
            known.usual_ms = seen_ms if usual is None else usual + learned * (seen_ms - usual)

    def _told_right(self, member: MemberState, known: _Known, now: float) -> float | None:
        """Its new connections per second; None when they are few, or began so lately that counters have not caught up."""
        rate = self.activity.connections_per_s(member)
        if (
            rate is None
            or rate < FEWEST_PER_S
            or member.connections_active is None
            or member.slow_start_from is not None
        ):
            known.coming_from = None
            return None
        if known.coming_from is None:
            known.coming_from = now
        return rate if now >= known.coming_from + RATES_LAG_S else None

    def _follow_variance(self, known: _Known, active: int) -> None:
        """Exponentially weighted (Finch, Incremental calculation of weighted mean and variance, 2009, equation 143)."""
        part, more = 1.0 - exp(-self._elapsed_s / VARIED_S), active - known.mean_open
        known.mean_open += part * more
        known.variance_open = (1.0 - part) * (known.variance_open + part * more * more)

    def _smoothed(self, before_s: float, now_s: float, active: int) -> float:
        """A queue is believed at once; that it is gone, slowly: a few connections open say little about how long they stay."""
        grows = now_s > before_s and active >= FEWEST_MORE
        return before_s + (SMOOTHED if grows else 1.0 - exp(-self._elapsed_s / FALLING_S)) * (now_s - before_s)

    def _stands_out(self, member: MemberState, usual_s: float | None) -> bool:
        known = self._known[member.number]
        if member.ease < 1.0:
            return True
        if known.stay_s is None or usual_s is None or known.stay_s < WATCHED_RATIO * usual_s:
            return False
        return (member.connections_active or 0) >= self._expected(member, usual_s) + WATCHED_MORE

    def _expected(self, member: MemberState, usual_s: float) -> float:
        """How many connections it would have open, did they stay as long as at its peers."""
        return (self.activity.connections_per_s(member) or 0.0) * usual_s

    def _wanted(self, member: MemberState, usual_s: float | None, now: float) -> tuple[float, str]:
        """The share a member should have (1: all of its weight), and what says so."""
        known = self._known[member.number]
        wanted, why = 1.0, ""
        if known.stay_s is not None and usual_s is not None and self._says_something(member, usual_s):
            wanted = min(1.0, usual_s / known.stay_s)
            if self._more_than_chance(member, usual_s) < STILL:
                # What is remembered of a moment keeps its share where it is; only what shows now lowers it.
                wanted = max(wanted, member.ease)
            why = f"connections stay {known.stay_s * 1000:.0f} ms, at its peers {usual_s * 1000:.0f} ms"
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

    def _says_something(self, member: MemberState, usual_s: float) -> bool:
        """Whether it has more connections open than chance explains, and they come and go: neither a few nor idle ones are a queue."""
        known = self._known[member.number]
        active = member.connections_active or 0
        if known.acting:
            return active <= STILL_VARIES * known.variance_open
        return active <= VARIES * known.variance_open and self._more_than_chance(member, usual_s) >= 1.0

    def _more_than_chance(self, member: MemberState, usual_s: float) -> float:
        """How many more connections it has open than expected, in parts of what chance explains."""
        expected = self._expected(member, usual_s)
        return ((member.connections_active or 0) - expected) / (FEWEST_MORE + 3 * sqrt(expected))

    # --- acting ----------------------------------------------------------------------------------------------------------------

    def _steer(self, member: MemberState, peers: _Peers, now: float) -> list[Decision]:
        if not peers.others(member):
            return self._move(member, 1.0, "nobody else takes new connections") if member.ease < 1.0 else []
        known = self._known[member.number]
        usual_s = peers.usual_stay_s(member)
        wanted, why = self._wanted(member, usual_s, now)
        if known.stay_s is not None and usual_s is not None:
            # Less than the least share cannot be wanted; to remember more would only delay the return.
            known.stay_s = min(known.stay_s, usual_s / LEAST_EASE)
        looks = SLOW_LOOKS if self._more_than_chance(member, usual_s or 0.0) >= EVIDENT else 1
        known.slow_looks = known.slow_looks + looks if wanted < 1 / SLOW_RATIO else 0
        known.acting = wanted < 1 / ALIKE_RATIO if known.acting else known.slow_looks >= SLOW_LOOKS
        if not known.acting:
            wanted, why = 1.0, "it keeps up with its peers"
        if abs(wanted - member.ease) <= DEADBAND * member.ease and LEAST_EASE < wanted < 1.0:
            return []
        highest = member.ease * STEP_UP_PER_S ** min(self._elapsed_s, LONGEST_STEP_S)
        bounded = max(wanted, member.ease * STEP_DOWN) if wanted < member.ease else min(wanted, highest)
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
