"""What has happened so far, by kind: totals that only go up, for whoever watches from outside (`/metrics`).

Resets are counted exactly by the switches, by VIP, member and who sent them; how far the connection had come and why it was reset is
known of the mirrored ones only. Here both meet: every mirrored reset is counted under its stage and cause, and what the mirror's meter
left out is counted with both unknown, so sums over stage and cause are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

from controller.counting import OCTETS, Counted, Counters
from controller.diagnosis.attribution import Attribution
from controller.diagnosis.incidents import Incident
from controller.diagnosis.investigation import Investigation
from controller.firewall import DEFAULT_ID
from controller.pipeline import SYN_ACK_SEEN
from controller.policy import Policy
from controller.resets import ResetRecord, Resets
from controller.segments import Kind, Sender
from controller.volumes import ATTEMPT, FROM_MEMBER, TO_MEMBER

SETTLED_S = 2.0
"""The resets that open an incident come before it: causes are read so long after. The switches' counters lag as much."""
INTERVAL_S = 0.25
AT_ONCE = 2_000
"""Resets settled in one go: a flood must not hold up what comes meanwhile. What is never settled counts as left out."""
UNKNOWN, NO_INCIDENT, NOBODY = "unknown", "none", ""


class ResetClass(NamedTuple):
    """The labels of `resetlb_resets_total`. `vip` and `member` are empty where a reset belongs to none."""

    vip: str
    member: str
    sender: str
    stage: str
    cause: str


class _Group(NamedTuple):
    """Resets that switches count together."""

    vip: str
    member: str
    kind: str


_SENDERS = {
    Kind.REFUSED: Sender.MEMBER,
    Kind.ABORTED_BY_MEMBER: Sender.MEMBER,
    Kind.ABORTED_BY_CLIENT: Sender.CLIENT,
    Kind.INJECTED: Sender.INJECTED,
    Kind.OUT_OF_WINDOW: Sender.UNKNOWN,
}
_OF_PAIRS = frozenset({"reset", "handshake", "closed", ATTEMPT, TO_MEMBER, FROM_MEMBER})
"""What is counted of a VIP and a member; the next two names are theirs."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a policy names, as counters and tallies call it."""

    pairs: frozenset[tuple[str, str]]
    rules: frozenset[str]

    @classmethod
    def by(cls, policy: Policy) -> Self:
        """Every (VIP, member) and every rule of a policy."""
        pairs = ((name, member.name) for name, vip in policy.vips.items() for member in policy.pools[vip.pool].members)
        return cls(frozenset(pairs), frozenset(rule.id for rule in policy.firewall.rules) | {DEFAULT_ID})

    def knows(self, counted: Counted) -> bool:
        """Whether something counted still has its name."""
        about = counted[1:] if counted[0] == OCTETS else counted
        if about[0] == "rule":
            return about[1] in self.rules
        if about[0] in _OF_PAIRS and len(about) > 2:
            return about[1:3] in self.pairs
        return True


class Tally:
    """Totals of resets, incidents and actions by what they were."""

    def __init__(self, resets: Resets, investigation: Investigation) -> None:
        self._resets = resets
        self._investigation = investigation
        self._mirrored: Counter[ResetClass] = Counter()
        self._settled: Counter[_Group] = Counter()
        self._left_out: dict[_Group, int] = {}
        self._next = 0.0
        self._counted: set[str] = set()
        self._actions_seen: dict[str, int] = {}
        self._effects_seen: dict[str, int] = {}
        self.incidents: Counter[str] = Counter()
        """By the cause that was likeliest when it had not changed for `SETTLED_S`, or at the end."""
        self.actions: Counter[tuple[str, str]] = Counter()
        """By (action, outcome)."""
        self.effects: Counter[tuple[str, str]] = Counter()
        """By (action, effect), of actions whose effect was measured."""

    def keep_only(self, named: Named) -> None:
        """Forget members and VIPs that the policy no longer names."""
        pairs = named.pairs | {(NOBODY, NOBODY)}
        self._mirrored = Counter({known: total for known, total in self._mirrored.items() if known[:2] in pairs})
        self._settled = Counter({known: total for known, total in self._settled.items() if known[:2] in pairs})
        self._left_out = {known: total for known, total in self._left_out.items() if known[:2] in pairs}

    def run(self, now: float) -> None:
        """Count what has settled; cheap, and at most every `INTERVAL_S`."""
        if now < self._next:
            return
        self._next = now + INTERVAL_S
        self._settle_resets(now)
        known = self._investigation.incidents.all
        for incident in known.values():
            self._count(incident, now)
        if len(self._counted) > len(known):
            self._counted &= known.keys()
            for seen in (self._actions_seen, self._effects_seen):
                for name in [name for name in seen if name not in known]:
                    del seen[name]

    def _settle_resets(self, now: float) -> None:
        unsettled = self._resets.unsettled
        if not unsettled or now - unsettled[0].time < SETTLED_S:
            return
        attribution = Attribution(self._investigation, unsettled[0].time)
        for _ in range(AT_ONCE):
            if not unsettled or now - unsettled[0].time < SETTLED_S:
                return
            record = unsettled.popleft()
            incident = attribution.incident_of(record)
            group = self._group(record)
            cause = NO_INCIDENT if incident is None else incident.cause.value
            sender = record.sender.value
            self._mirrored[ResetClass(group.vip, group.member, sender, record.stage.value, cause)] += 1
            self._settled[group] += 1

    def _group(self, record: ResetRecord) -> _Group:
        if record.kind is Kind.INJECTED:
            return _Group(NOBODY, NOBODY, Kind.INJECTED)
        if record.kind is Kind.OUT_OF_WINDOW:
            return _Group(NOBODY, NOBODY, Kind.OUT_OF_WINDOW)
        services = self._investigation.services
        vip, member = services.vip_name(record.vip), services.member(record.member)
        pair = (NOBODY, NOBODY) if vip is None or member is None else (vip, member.policy.name)
        if record.sender is Sender.CLIENT:
            return _Group(*pair, Kind.ABORTED_BY_CLIENT)
        return _Group(*pair, Kind.ABORTED_BY_MEMBER if record.mark & SYN_ACK_SEEN else Kind.REFUSED)

    def _count(self, incident: Incident, now: float) -> None:
        settled = incident.closed is not None or now - incident.causes[-1][0] >= SETTLED_S
        if settled and incident.id not in self._counted:
            self._counted.add(incident.id)
            self.incidents[incident.cause.value] += 1
        seen = self._actions_seen.get(incident.id, 0)
        for taken in incident.actions[seen:]:
            self.actions[taken.action, taken.outcome.value] += 1
        self._actions_seen[incident.id] = len(incident.actions)
        measured = [taken for taken in incident.actions if taken.effect is not None]
        for taken in measured[self._effects_seen.get(incident.id, 0) :]:
            assert taken.effect is not None
            self.effects[taken.action, taken.effect.value] += 1
        self._effects_seen[incident.id] = len(measured)

    def resets(self, counters: Counters) -> Iterator[tuple[ResetClass, int]]:
        """Every class with its total. Sums over stage and cause are what the switches counted, once both have settled."""
        yield from self._mirrored.items()
        waiting = Counter(self._group(record) for record in self._resets.unsettled)
        for group, exact in _exact(counters).items():
            left_out = exact - self._settled[group] - waiting[group]
            # What counters have not told yet makes it too small for a moment: a total never goes down.
            self._left_out[group] = max(left_out, self._left_out.get(group, 0))
        for group, total in self._left_out.items():
            if total:
                yield ResetClass(group.vip, group.member, _SENDERS[Kind(group.kind)], UNKNOWN, UNKNOWN), total


def _exact(counters: Counters) -> Counter[_Group]:
    """What switches have counted, by the groups they count in."""
    exact: Counter[_Group] = Counter()
    for counted, total in counters.totals().items():
        if counted[0] == "injected":
            exact[_Group(NOBODY, NOBODY, Kind.INJECTED)] += total
        elif counted[0] == "reset":
            pair = counted[1:3] if len(counted) == 4 else (NOBODY, NOBODY)
            exact[_Group(*pair, counted[-1])] += total
    return exact
