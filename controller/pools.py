"""Members as they are: what the operator wants of them (admin state), how they do (health), and whether they are ejected.

Safety limits live here, so no decision can pass them by: at most `max_ejection_percent` of a pool out, never its last member.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from controller.agent_check import NEVER_SPOKE, Agent
from controller.health import MemberKey
from controller.policy import AdminState, OnDown, Policy, Pool
from controller.policy import Member as MemberPolicy

EJECTION_CAP_S = 300.0
SLOW_START_STEPS = 10
SMALLEST_SHARE = 0.1
HEAVIEST = 1000
"""The largest weight there is, whatever an agent asks for."""
FORGIVEN_AFTER_S = 60.0
"""A member that stays in for this long has one ejection forgiven."""


class Health(StrEnum):
    """How a member does, as far as is known."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ejection:
    """Why a member is out. `confirmed`: an own probe saw it fail, so own probes end it; else it ends at `until`.

    `proofs`: how many own probes in a row must succeed at least.
    """

    since: float
    reason: str
    confirmed: bool
    until: float
    count: int
    proofs: int = 0


@dataclass(slots=True)
class MemberState:
    """One member. Times are the core's clock (s)."""

    pool: str
    policy: MemberPolicy
    number: int
    address: int
    health: Health = Health.UNKNOWN
    ejection: Ejection | None = None
    ejections: int = 0
    healthy_since: float | None = None
    slow_start_from: float | None = None
    successes: int = 0
    failures: int = 0
    next_probe: float = 0.0
    handshake_ms: float | None = None
    load: float | None = None
    share: float = 1.0
    """Of its weight: less while it is overloaded."""
    ease: float = 1.0
    """Of its weight: less while it is slower than its peers (`anticipation.py`)."""
    agent: Agent = NEVER_SPOKE
    agent_heard: float | None = None
    agent_trouble: str | None = None
    """What its agent last said instead of words that are known."""
    next_agent_check: float = 0.0
    connections_active: int | None = None
    draining_since: float | None = None

    @property
    def key(self) -> MemberKey:
        """(pool, member)."""
        return self.pool, self.policy.name

    @property
    def accepts_new(self) -> bool:
        """Whether new connections may be given to it, by the operator, its agent and its health."""
        wanted = self.policy.admin_state is AdminState.ACTIVE and self.agent.admits and self.policy.weight > 0
        return wanted and self.ejection is None

    @property
    def is_full(self) -> bool:
        """Whether it has as many connections as its agent lets it have."""
        limit, active = self.agent.maxconn, self.connections_active
        return bool(limit and active is not None and active >= limit)

    def slow_start_step(self, now: float, slow_start_s: float) -> int:
        """How many tenths of its weight a returning member has."""
        if self.slow_start_from is None:
            return SLOW_START_STEPS
        return 1 + sum(now >= self.slow_start_ends(slow_start_s, step) for step in range(1, SLOW_START_STEPS))

    def slow_start_ends(self, slow_start_s: float, step: int) -> float:
        """When a returning member has had so many tenths of its weight for long enough; infinity for one that did not return."""
        if self.slow_start_from is None:
            return float("inf")
        return self.slow_start_from + slow_start_s * step / SLOW_START_STEPS

    def effective_weight(self, now: float, slow_start_s: float) -> int:
        """The weight in force: 0 while it takes nothing new, a growing share of its own after it came back (at least 1)."""
        if not self.accepts_new:
            return 0
        whole = min(HEAVIEST, self.agent.scaled(self.policy.weight)) * self.share * self.ease
        return max(1, int(whole * self.slow_start_step(now, slow_start_s)) // SLOW_START_STEPS)


@dataclass(slots=True)
class Pools:
    """Every pool's members by key, and the pools' own settings."""

    settings: dict[str, Pool] = field(default_factory=dict)
    members: dict[MemberKey, MemberState] = field(default_factory=dict)
    version: int = 0
    """Goes up with everything that can change who gets new connections."""
    _versions: dict[str, int] = field(default_factory=dict)
    _since: int = 0

    def touch(self, pool: str | None = None) -> None:
        """Something changed who can get new connections, of this pool or of any."""
        self.version += 1
        if pool is None:
            self._since = self.version
        else:
            self._versions[pool] = self.version

    def version_of(self, pool: str) -> int:
        """The version in which who gets this pool's new connections last changed."""
        return max(self._since, self._versions.get(pool, 0))

    def apply(self, policy: Policy, number_of: dict[MemberKey, int], address_of: dict[MemberKey, int]) -> None:
        """Take a policy; a member that stays the same server keeps what is known of it."""
        self.settings = dict(policy.pools)
        kept: dict[MemberKey, MemberState] = {}
        for pool_name, pool in policy.pools.items():
            for member in pool.members:
                key = pool_name, member.name
                known = self.members.get(key)
                if known is not None and known.number == number_of[key]:
                    known.policy = member
                    kept[key] = known
                else:
                    kept[key] = MemberState(pool_name, member, number_of[key], address_of[key])
        self.members = kept
        self._versions.clear()
        self.touch()

    def of(self, pool: str) -> Iterator[MemberState]:
        """A pool's members in the policy's order."""
        settings = self.settings.get(pool)
        for member in settings.members if settings else ():
            yield self.members[pool, member.name]

    def in_time(self) -> list[MemberState]:
        """Members whose part changes by itself as time passes: those that come back slowly, and those that drain."""
        members = self.members.values()
        return [one for one in members if one.slow_start_from is not None or one.draining_since is not None]

    def leaving(self) -> list[MemberState]:
        """Members that were taken out, by automation or by a drain."""
        members = self.members.values()
        return [one for one in members if one.ejection is not None or one.draining_since is not None]

    def is_cut(self, member: MemberState, now: float) -> bool:
        """Whether its open connections are ended: a drain that took too long, or a death that the pool does not wait out."""
        if member.draining_since is None and member.ejection is None:
            return False
        settings = self.settings[member.pool]
        if member.draining_since is not None and now >= member.draining_since + settings.drain_timeout_s:
            return True
        dead = member.ejection is not None and member.ejection.confirmed
        return dead and settings.on_down is OnDown.RESET

    def may_eject(self, member: MemberState) -> bool:
        """Whether one more may go: checked after the prospective ejection, never the last that accepts new connections."""
        active = [other for other in self.of(member.pool) if other.policy.admin_state is AdminState.ACTIVE]
        percent = self.settings[member.pool].max_ejection_percent
        if len(active) < 2 or percent == 0:
            return False
        allowed = min(len(active) - 1, max(1, len(active) * percent // 100))
        others_left = any(other.accepts_new for other in active if other is not member)
        out = sum(1 for other in active if other.ejection is not None and other is not member)
        return others_left and out + 1 <= allowed

    def eject(self, member: MemberState, reason: str, confirmed: bool, now: float, proofs: int = 0) -> None:
        """Take a member out; the caller has asked `may_eject`."""
        member.ejections += 1
        lasts = min(EJECTION_CAP_S, self.settings[member.pool].ejection_time_s * member.ejections)
        member.ejection = Ejection(now, reason, confirmed, now + lasts, member.ejections, proofs)
        member.health = Health.DOWN
        member.successes = 0
        member.healthy_since = None
        self.touch(member.pool)

    def readmit(self, member: MemberState, now: float) -> None:
        """Let a member back in, slowly."""
        member.ejection = None
        member.health = Health.DEGRADED
        member.slow_start_from = member.healthy_since = now
        member.failures = 0
        self.touch(member.pool)

    def cut(self, member: MemberState) -> bool:
        """Multiplicative decrease; False at the bottom."""
        if member.share <= SMALLEST_SHARE:
            return False
        member.share = max(SMALLEST_SHARE, member.share / 2)
        member.health = Health.DEGRADED
        self.touch(member.pool)
        return True

    def grow(self, member: MemberState, by: float = 0.1) -> None:
        """Additive increase, by a tenth of the weight."""
        member.share = min(1.0, round(member.share + by, 3))
        self.touch(member.pool)
        if member.share >= 1.0 and member.ejection is None:
            member.health = Health.UP

    def seen_well(self, member: MemberState, now: float) -> None:
        """A probe succeeded on a member that is in; staying well has past ejections forgiven one by one."""
        if member.health in (Health.UNKNOWN, Health.DOWN):
            member.health = Health.UP
        if member.healthy_since is None:
            member.healthy_since = now
        if member.ejections and now - member.healthy_since >= FORGIVEN_AFTER_S:
            member.ejections -= 1
            member.healthy_since = now

    def panicking(self, pool: str) -> bool:
        """Whether too few are left for the passive ejections to be believed (Envoy's panic threshold)."""
        active = [member for member in self.of(pool) if member.policy.admin_state is AdminState.ACTIVE]
        left = sum(1 for member in active if member.accepts_new)
        return bool(active) and left * 100 < len(active) * self.settings[pool].panic_threshold_percent
