"""What members are doing, without touching them: open connections, attempts answered, bytes, and how long an answer takes.

Everything is counted where clients attach (`volumes.py`, `mirror.py`). Switches count reset segments, and one abort can be several, or come
after a FIN: how many of them end a connection is known of those that are mirrored, and guessed of the others. What is mirrored is known at
once and what is counted a second or two later, so more seem to have ended than had begun now and then: believed only if it lasts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import TypeVar

from controller.counting import OCTETS, Counters
from controller.events import ResetSum
from controller.handshakes import Handshakes
from controller.pipeline import MEMBER_MASK, SYN_ACK_SEEN
from controller.pools import MemberState
from controller.resets import ResetRecord, said_by
from controller.segments import Kind, Stage
from controller.services import Services
from controller.volumes import ATTEMPT, FROM_MEMBER, TO_MEMBER

N = TypeVar("N", int, float)
_COUNTED = (Kind.ABORTED_BY_MEMBER, Kind.ABORTED_BY_CLIENT)
"""What switches call the resets of a connection that had begun, whatever kind it is when looked at."""
_NOT_BEGUN = frozenset({Kind.REFUSED, Kind.OUT_OF_WINDOW, Kind.INJECTED})
BELIEVED_S = 6.0
"""More that ended than began is believed after so long: counters lag by less."""
FEWEST_ATTEMPTS_PER_S = 0.01
SUMMED_S, SUMMED_CLOSELY_S = 0.9, 0.4
COMING_IN_S = 0.1
"""A round of counters comes in within so long; before that, some are of the round before."""


@dataclass(slots=True)
class _Aborts:
    """Mirrored resets of one member's connections, and those of them that ended one."""

    seen: int = 0
    ended: int = 0


@dataclass(slots=True)
class _Settled:
    """How many more seem to have ended than had begun: for good, and at least so many since a moment."""

    for_good: int = 0
    short: int = 0
    since: float = inf

    def take(self, balance: int, now: float) -> None:
        """Look at what is left of those that had begun."""
        short = -(balance + self.for_good)
        if short <= 0:
            self.since = inf
            return
        self.short = min(self.short, short) if self.since < inf else short
        self.since = min(self.since, now)
        if now - self.since >= BELIEVED_S:
            self.for_good, self.since = self.for_good + self.short, inf


@dataclass(slots=True)
class Activity:
    """Answers about one member, added up over the VIPs that lead to it; None where no switch has said."""

    services: Services
    counters: Counters
    handshakes: Handshakes = field(default_factory=Handshakes)
    _aborts: dict[int, _Aborts] = field(default_factory=dict)
    _settled: dict[int, _Settled] = field(default_factory=dict)
    closely: bool = False
    """Add up more often: somebody is watching a member."""
    summed_at: float = -inf
    _sum_due: float = inf

    def on_reset(self, record: ResetRecord) -> None:
        """A mirrored reset."""
        self._add(record.kind, record.stage, record.mark, int(not record.repeated), int(record.repeated))

    def on_sum(self, added: ResetSum) -> None:
        """Mirrored resets that were added up."""
        said = said_by(added.purpose, added.state, added.mark, added.passive)
        self._add(said.kind, said.stage, added.mark, added.connections, added.repeated)

    def _add(self, kind: Kind, stage: Stage, mark: int, connections: int, repeated: int) -> None:
        member = mark & MEMBER_MASK
        if not member or kind in _NOT_BEGUN:
            return
        aborts = self._aborts.setdefault(member, _Aborts())
        aborts.seen += connections + repeated
        aborts.ended += connections if mark & SYN_ACK_SEEN and stage is not Stage.AFTER_FIN else 0

    def on_counted(self, now: float) -> None:
        """New counts are coming in: they are added up when their round is complete, not for each of many switches."""
        spacing_s = SUMMED_CLOSELY_S if self.closely else SUMMED_S
        self._sum_due = min(self._sum_due, max(now + COMING_IN_S, self.summed_at + spacing_s))

    def next_deadline(self) -> float:
        """When counts are added up."""
        return self._sum_due

    def on_tick(self, now: float) -> None:
        """Tell members how many connections they have."""
        if now < self._sum_due:
            return
        self._sum_due, self.summed_at = inf, now
        for member in self.services.pools.members.values():
            balance = self._balance(member)
            if balance is not None:
                self._settled.setdefault(member.number, _Settled()).take(balance, now)
            was_full, member.connections_active = member.is_full, self._open(member, balance)
            if was_full != member.is_full:
                self.services.pools.touch()

    def keep_only(self, members: set[int]) -> None:
        """Forget members that the policy no longer names."""
        self.handshakes.keep_only(members)
        for kept in (self._aborts, self._settled):
            for number in [number for number in kept if number not in members]:
                del kept[number]

    def active(self, member: MemberState) -> int | None:
        """Open connections: those that began less those that said FIN first, or were aborted."""
        return self._open(member, self._balance(member))

    def _open(self, member: MemberState, balance: int | None) -> int | None:
        settled = self._settled.get(member.number)
        return None if balance is None else max(0, balance + (settled.for_good if settled else 0))

    def _balance(self, member: MemberState) -> int | None:
        opened = self._total(member, "handshake")
        if opened is None:
            return None
        aborts = self._aborts.get(member.number, _Aborts())
        share = aborts.ended / aborts.seen if aborts.seen else 1.0
        unseen = max(0, sum(self._total(member, "reset", kind) or 0 for kind in _COUNTED) - aborts.seen)
        return opened - (self._total(member, "closed") or 0) - aborts.ended - round(unseen * share)

    def handshake_ratio(self, member: MemberState) -> float | None:
        """The share of SYNs given to it that it answered, of late; None while there are none."""
        attempts, answers = self._rate(member, ATTEMPT), self._rate(member, "handshake")
        if attempts is None or answers is None or attempts < FEWEST_ATTEMPTS_PER_S:
            return None
        return min(1.0, answers / attempts)

    def handshake_ms(self, member: MemberState, now: float) -> float | None:
        """The median over real connections of late, else what the last own probe took."""
        seen = self.handshakes.median_ms(member.number, now)
        return member.handshake_ms if seen is None else seen

    def connections_per_s(self, member: MemberState) -> float | None:
        """New connections of late, by its SYN-ACKs."""
        return self._rate(member, "handshake")

    def bytes_to(self, member: MemberState) -> int | None:
        """Bytes its clients sent, frames included, since the controller started."""
        return self._total(member, OCTETS, TO_MEMBER)

    def bytes_from(self, member: MemberState) -> int | None:
        """Bytes it sent its clients, frames included, since the controller started."""
        return self._total(member, OCTETS, FROM_MEMBER)

    # --- sums over VIPs --------------------------------------------------------------------------------------------------------

    def _names(self, member: MemberState, *counted: str) -> list[tuple[str, ...]]:
        vips, name = self.services.vips_of.get(member.pool, []), member.policy.name
        if counted[0] == OCTETS:
            return [(*counted, vip, name) for vip in vips]
        return [(counted[0], vip, name, *counted[1:]) for vip in vips]

    def _total(self, member: MemberState, *counted: str) -> int | None:
        totals = _known(self.counters.total(*names) for names in self._names(member, *counted))
        return sum(totals) if totals else None

    def _rate(self, member: MemberState, *counted: str) -> float | None:
        rates = _known(self.counters.rate(*names) for names in self._names(member, *counted))
        return sum(rates) if rates else None


def _known(values: Iterable[N | None]) -> list[N]:
    return [value for value in values if value is not None]
