"""Own probes of members: when they are due, and what their silence is worth.

An answer is an answer. That nothing came back may be the member's fault, its switch's, or that of whatever lies between: it counts
once the switch has answered for itself, and some other member has answered a probe sent as late.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from controller.decisions import Barrier, Decision
from controller.health import MemberKey, Outcome, Prober, ProbeResult
from controller.policy import AdminState, HealthCheck
from controller.pools import MemberState
from controller.segments import Segment
from controller.services import Services

DEFAULT_CHECK = HealthCheck()
CONFIRMATION_TIMEOUT_S = 0.5
READMISSION_INTERVAL_S = 0.5
SWITCH_ANSWER_S = 1.0
"""How soon a switch must answer for a probe's silence to be the member's."""
PROBED_OF_LATE_S, SENT_TOGETHER_S = 10.0, 0.1
Decisions = list[Decision]


@dataclass(frozen=True, slots=True)
class _Doubted:
    """A probe that nothing came back of, until its switch has shown that it was there to carry it."""

    result: ProbeResult
    deadline: float


class Checks:
    """Owns the prober; hands over results that can be believed."""

    def __init__(self, services: Services, rng: random.Random, token: Callable[[], int]) -> None:
        self.services = services
        self.prober = Prober(rng)
        self._token = token
        self._doubted: dict[int, _Doubted] = {}
        self._silent: dict[MemberKey, ProbeResult] = {}
        """The last silence of each member that nobody is to blame for yet."""
        self._heard: dict[MemberKey, tuple[float, float]] = {}
        """When each member last answered a probe, and when that was sent."""
        self._known_in: int | None = None
        self._first_due = 0.0

    def check_of(self, member: MemberState) -> HealthCheck:
        """How a member is probed."""
        return self.services.pools.settings[member.pool].health_check or DEFAULT_CHECK

    def probe(self, member: MemberState, now: float, confirming: bool) -> Decisions:
        """Send a probe; `confirming`: somebody waits for what it finds."""
        target = self.services.target(member)
        if target is None:
            return []
        check = self.check_of(member)
        if confirming:
            check = check.model_copy(update={"timeout_s": min(check.timeout_s, CONFIRMATION_TIMEOUT_S)})
        return self.prober.start(target, check, now)

    def on_segment(self, segment: Segment, frame: bytes, now: float) -> tuple[Decisions, list[ProbeResult]]:
        """A member's answer to a probe."""
        sent, results = self.prober.on_segment(segment, frame, now)
        return sent, self._believable(results, now)

    def on_barrier(self, token: int, now: float) -> list[ProbeResult] | None:
        """A switch answered for a silence; None: it was asked about something else."""
        doubted = self._doubted.pop(token, None)
        if doubted is None:
            return None
        return self._believable([doubted.result], now) if now < doubted.deadline else []

    def on_tick(self, now: float) -> tuple[Decisions, list[ProbeResult]]:
        """Probes that ran out of time, and checks that are due."""
        decisions, results = self.prober.on_tick(now)
        answered = [result for result in results if result.outcome is not Outcome.TIMED_OUT]
        for result in results:
            if result.outcome is Outcome.TIMED_OUT:
                decisions += self._doubt(result, now)
        self._doubted = {token: doubted for token, doubted in self._doubted.items() if now < doubted.deadline}
        if now >= self._next_due():
            for member in self.services.pools.members.values():
                if now >= self._due(member):
                    decisions += self._check(member, now)
            self._known_in = None
        return decisions, self._believable(answered, now)

    def next_deadline(self, now: float) -> float:
        """When the next probe is due or runs out."""
        probe = self.prober.next_deadline()
        return min(self._next_due(), now + 60.0 if probe is None else probe)

    def _next_due(self) -> float:
        """When the first check is due: found anew only when one was made, or a member came, went or was ejected."""
        pools = self.services.pools
        if self._known_in != pools.version:
            self._known_in = pools.version
            self._first_due = min((self._due(member) for member in pools.members.values()), default=float("inf"))
        return self._first_due

    def _due(self, member: MemberState) -> float:
        """When a member is to be probed; never, when only a reason makes it."""
        if member.policy.admin_state is AdminState.DISABLED:
            return float("inf")
        if self.services.pools.settings[member.pool].health_check is not None:
            return member.next_probe
        if member.ejection is None:
            return float("inf")
        return max(member.next_probe, member.ejection.since + READMISSION_INTERVAL_S)

    def _check(self, member: MemberState, now: float) -> Decisions:
        interval = self.check_of(member).interval_s
        if member.ejection is not None:
            interval = min(interval, READMISSION_INTERVAL_S)
        member.next_probe = now + interval
        return self.probe(member, now, confirming=False)

    def _doubt(self, result: ProbeResult, now: float) -> Decisions:
        """The member's silence, or its switch's? The switch is asked; only its answer makes it the member's."""
        member = self.services.pools.members.get(result.member)
        target = self.services.target(member) if member else None
        if target is None:
            return []
        token = self._token()
        self._doubted[token] = _Doubted(result, now + SWITCH_ANSWER_S)
        return [Barrier(target.host.dpid, token)]

    def _believable(self, results: list[ProbeResult], now: float) -> list[ProbeResult]:
        """Answers, and silences that others' answers show to be their members' own."""
        believed: list[ProbeResult] = []
        for result in results:
            if result.outcome is not Outcome.TIMED_OUT:
                self._heard[result.member] = now, result.started
                self._silent.pop(result.member, None)
                believed.append(result)
            elif self._is_its_own(result, now):
                believed.append(result)
            else:
                self._silent[result.member] = result
        own = [silent for silent in self._silent.values() if self._is_its_own(silent, now)]
        for silent in own:
            del self._silent[silent.member]
        return believed + own

    def _is_its_own(self, silent: ProbeResult, now: float) -> bool:
        """All members at once do not fall silent; where nobody else is probed, there is nobody to compare with."""
        others = [
            sent
            for member, (heard, sent) in self._heard.items()
            if member != silent.member and member in self.services.pools.members and now - heard < PROBED_OF_LATE_S
        ]
        return not others or any(sent >= silent.started - SENT_TOGETHER_S for sent in others)
