"""What is done about an incident, by cause; and whether it helped.

| cause | done |
|---|---|
| misconfiguration | the member is ejected; own probes let it back |
| overload | the member's weight is halved, then grows back in steps while nothing happens |
| protocol violation, hostile | the client is quarantined; the member is left alone |
| congestion | ways over the link get a small share, if there are others |
| policy | nothing: the rule or the hop is named |
| benign | nothing: acting on a benign reset is an error |

What does not help is undone (`effects.py`). A quarantine is not lifted because an attacker goes on, and a member whose own probe fails
is not let back by numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from controller import addresses
from controller.causes import Cause
from controller.decisions import Announce, Decision
from controller.diagnosis.effects import Effects
from controller.diagnosis.incidents import CONFIDENT, Incident, Outcome, SubjectType
from controller.diagnosis.investigation import FEWEST, Investigation
from controller.hosts import endpoint_of, place_name
from controller.paths import Paths
from controller.policy import AutomationMode, Policy
from controller.pools import MemberState
from controller.quarantine import Quarantine, QuarantineError
from controller.services import Services

RECOVERY_STEP_S = 5.0
CUT_AGAIN_S = 3.0
SETTLE_S = 0.5
"""A cause must have stayed the likeliest for so long before anything is done."""

Eject = Callable[[MemberState, str, bool, float], list[Decision]]


@dataclass(slots=True)
class Remedies:
    """Carries out the table above, within what automation may do."""

    services: Services
    investigation: Investigation
    quarantine: Quarantine
    paths: Paths
    eject: Eject
    readmit: Callable[[MemberState, float], list[Decision]]
    mode: AutomationMode = AutomationMode.ENFORCE
    enforce_percent: int = 100
    protected: set[str] = field(default_factory=set)
    """Addresses that are never quarantined: members and the fabric's own."""
    effects: Effects = field(init=False)
    _recovering: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        undo = {"eject": self._readmit, "cut-weight": self._uncut, "move-paths": self._move_back}
        self.effects = Effects(self.services, self.investigation.evidence, undo)

    def apply(self, policy: Policy) -> None:
        """Take how far automation may go."""
        self.mode = policy.automation.mode
        self.enforce_percent = policy.automation.enforce_percent
        self.protected = {member.address for pool in policy.pools.values() for member in pool.members}
        self.protected |= {vip.address for vip in policy.vips.values()}

    def run(self, now: float) -> list[Decision]:
        """Act on open incidents that are clear enough, measure what was done, and let weights grow back."""
        if self.mode is AutomationMode.FROZEN:
            return []
        decisions: list[Decision] = []
        for incident in [*self.investigation.incidents.open.values()]:
            if self._clear(incident, now):
                decisions += self._act(incident, now)
            decisions += self.effects.judge(incident, now)
        return decisions + self._recover(now)

    def next_deadline(self, now: float) -> float:
        """When a weight grows back."""
        if self.mode is AutomationMode.FROZEN:
            return now + 60.0
        return min(self._recovering.values(), default=now + 60.0)

    def _clear(self, incident: Incident, now: float) -> bool:
        settled = now - incident.causes[-1][0] >= SETTLE_S or incident.resets >= 4 * FEWEST
        sure = incident.label is not None or incident.diagnosis.confidence >= CONFIDENT
        mine = int(incident.id[1:]) * 37 % 100 < self.enforce_percent
        return sure and settled and mine and self._is_felt(incident) and not incident.reverted

    def _is_felt(self, incident: Incident) -> bool:
        """Whether enough users are reset to act at once. While nobody is, shares of paths follow a full link in steps (`paths.py`).

        A host's only link has no share, and to say that there is no other way moves nobody.
        """
        subject = incident.subject
        only_way = subject.type is SubjectType.LINK and endpoint_of(subject.id) not in self.paths.topology.links
        return incident.resets >= FEWEST or only_way

    def _act(self, incident: Incident, now: float) -> list[Decision]:
        subject, cause = incident.subject, incident.cause
        if subject.type is SubjectType.MEMBER and cause is Cause.MISCONFIGURATION:
            return self._once(incident, "eject", now, self._eject)
        if subject.type is SubjectType.MEMBER and cause is Cause.OVERLOAD:
            return self._cut(incident, now)
        if subject.type is SubjectType.CLIENT and cause in (Cause.PROTOCOL_VIOLATION, Cause.HOSTILE):
            return self._once(incident, "quarantine", now, self._put_away)
        if subject.type is SubjectType.LINK and cause is Cause.CONGESTION:
            return self._once(incident, "move-paths", now, self._move_paths)
        return []

    def _once(
        self, incident: Incident, action: str, now: float, do: Callable[[Incident, float], list[Decision]]
    ) -> list[Decision]:
        if any(taken.action == action for taken in incident.actions):
            return []
        if self.mode is AutomationMode.DRY_RUN:
            incident.note(now, action, incident.subject.id, "dry run: not done", outcome=Outcome.DRY_RUN)
            text = f"dry run: would {action} {incident.subject.id} ({incident.cause.value})"
            return [Announce("would-act", text, {"incident": incident.id, "action": action})]
        return do(incident, now)

    def _member(self, incident: Incident) -> MemberState | None:
        pool, _, name = incident.subject.id.partition("/")
        return self.services.pools.members.get((pool, name))

    # --- what can be done ------------------------------------------------------------------------------------------------------

    def _eject(self, incident: Incident, now: float) -> list[Decision]:
        member = self._member(incident)
        if member is None or member.ejection is not None:
            return []
        if not self.services.may_eject(member):
            incident.note(
                now,
                "eject",
                incident.subject.id,
                "not done: the pool's limit, or its last member",
                outcome=Outcome.NOT_DONE,
            )
            return []
        return self.eject(member, f"{incident.cause.value} (incident {incident.id})", False, now)

    def _cut(self, incident: Incident, now: float) -> list[Decision]:
        """Halve the weight, again while it goes on; the rest of the pool must have somebody to take it."""
        member = self._member(incident)
        if member is None or member.ejection is not None:
            return []
        others = [other for other in self.services.pools.of(member.pool) if other is not member and other.accepts_new]
        last = max((taken.time for taken in incident.actions if taken.action == "cut-weight"), default=0.0)
        if not others or now - last < CUT_AGAIN_S or now - incident.last_seen > 1.0:
            return []
        if self.mode is AutomationMode.DRY_RUN:
            return self._once(incident, "cut-weight", now, lambda *_: [])
        if not self.services.pools.cut(member):
            return []
        self._recovering[member.key] = now + RECOVERY_STEP_S
        name = incident.subject.id
        # Cut after cut is one attempt: it is judged from the first.
        rate = 0.0 if last else self.effects.rate(incident, now)
        incident.note(now, "cut-weight", name, f"weight at {member.share:.0%}", rate)
        text = f"{name} is overloaded: its weight is at {member.share:.0%}"
        return [Announce("cut-weight", text, {"member": name, "share": member.share, "incident": incident.id})]

    def _put_away(self, incident: Incident, now: float) -> list[Decision]:
        client = incident.subject.id
        address = _address(client)
        if address is None or client in self.protected:
            incident.note(now, "quarantine", client, "not done: not a client's own address", outcome=Outcome.NOT_DONE)
            return []
        host = self.services.topology.hosts.get(address)
        try:
            # At the port it lives at now: nobody who uses this address elsewhere is put away for it.
            entry, decisions = self.quarantine.add(
                client, self.quarantine.settings.automatic_action, now, reason=incident.cause.value,
                incident=incident.id, place=place_name(host.endpoint) if host else None, automatic=True,
            )  # fmt: skip
        except QuarantineError as error:
            incident.note(now, "quarantine", client, f"not done: {error}", outcome=Outcome.NOT_DONE)
            return []
        incident.note(now, "quarantine", client, f"{entry.id} for {entry.ttl_s} s")
        return decisions

    def _move_paths(self, incident: Incident, now: float) -> list[Decision]:
        name = incident.subject.id
        near = endpoint_of(name)
        if not self.paths.demote(near, now):
            incident.note(now, "move-paths", name, "not done: no better way around it", outcome=Outcome.NOT_DONE)
            return []
        incident.note(now, "move-paths", name, "ways around it get the traffic", self.effects.rate(incident, now))
        return [Announce("paths", f"traffic moves off link {name}", {"link": name, "incident": incident.id})]

    # --- what became of it -----------------------------------------------------------------------------------------------------

    def _readmit(self, incident: Incident, now: float) -> list[Decision] | None:
        member = self._member(incident)
        if member is None or member.ejection is None or member.ejection.confirmed:
            return None
        return self.readmit(member, now)

    def _uncut(self, incident: Incident, now: float) -> list[Decision] | None:
        member = self._member(incident)
        if member is None or member.share >= 1.0:
            return None
        self.services.pools.grow(member, by=1.0)
        return []

    def _move_back(self, incident: Incident, now: float) -> list[Decision] | None:
        return [] if self.paths.restore(endpoint_of(incident.subject.id)) else None

    def note_ejection(self, member: MemberState, reason: str, now: float) -> Announce:
        """The first reaction, or this, took a member out: it belongs to the incident of that member."""
        incident = self.investigation.on_ejected(member, now)
        rate = self.effects.rate(incident, now)
        name = f"{member.pool}/{member.policy.name}"
        incident.note(now, "eject", name, reason, rate)
        confirmed = member.ejection is not None and member.ejection.confirmed
        fields: dict[str, object] = {"member": name, "reason": reason, "confirmed": confirmed, "incident": incident.id}
        return Announce("eject", f"{name} is out: {reason}", fields)

    def _recover(self, now: float) -> list[Decision]:
        """Additive increase: a tenth of the weight per quiet step."""
        decisions: list[Decision] = []
        for cut in self.services.pools.members.values():
            if cut.share < 1.0:  # maybe by an earlier run
                self._recovering.setdefault(cut.key, now + RECOVERY_STEP_S)
        for key in [key for key, due in self._recovering.items() if now >= due]:
            member = self.services.pools.members.get(key)
            if member is None or member.share >= 1.0:
                del self._recovering[key]
                continue
            self._recovering[key] = now + RECOVERY_STEP_S
            evidence = self.investigation.evidence.members.get(member.number)
            if evidence is not None and evidence.tally.bad_rate(now) > 0.2:
                continue
            self.services.pools.grow(member)
            name = f"{member.pool}/{member.policy.name}"
            decisions.append(
                Announce(
                    "weight", f"{name} is at {member.share:.0%} of its weight", {"member": name, "share": member.share}
                )
            )
        return decisions

    def revert(self, incident: Incident, now: float) -> list[Decision] | None:
        """Undo what was done about an incident and leave it alone from now on; None when there is nothing to undo."""
        decisions: list[Decision] = []
        undone = False
        for taken in incident.actions:
            member = self._member(incident) if incident.subject.type is SubjectType.MEMBER else None
            if taken.action == "quarantine":
                entry = next(
                    (entry for entry in self.quarantine.entries.values() if entry.incident == incident.id), None
                )
                decisions += (self.quarantine.remove(entry.id) or []) if entry else []
                undone |= entry is not None
            elif taken.action == "move-paths":
                undone |= self.paths.restore(endpoint_of(incident.subject.id))
            elif taken.action == "eject" and member is not None and member.ejection is not None:
                decisions += self.readmit(member, now)
                undone = True
            elif taken.action == "cut-weight" and member is not None and member.share < 1.0:
                self.services.pools.grow(member, by=1.0)
                undone = True
        if not undone:
            return None
        incident.reverted = True
        incident.note(now, "revert", incident.subject.id, "undone by the operator")
        return [
            *decisions,
            Announce("revert", f"incident {incident.id}: undone by the operator", {"incident": incident.id}),
        ]


def _address(client: str) -> int | None:
    """The address of a client; None where an incident only knows the port it is at."""
    try:
        return addresses.number(client)
    except ValueError:
        return None
