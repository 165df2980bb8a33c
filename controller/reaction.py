"""The first reaction to a reset: look again, move the connection, take the member out; and let it back when it is well."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from zlib import crc32

from controller import balance, ending, redispatch
from controller.checks import Checks
from controller.decisions import Announce, Barrier, Decision, RemoveFlow
from controller.diagnosis.investigation import Investigation
from controller.events import BarrierReplied, PacketSeen
from controller.flows import Connection, Purpose
from controller.health import MemberKey, Outcome, ProbeResult
from controller.member_records import ejection_record
from controller.pipeline import INV, MEMBER_MASK, VIP_MASK, VIP_SHIFT, Table
from controller.policy import AutomationMode, Policy
from controller.pools import Ejection, MemberState
from controller.redispatch import Redispatcher, Refused
from controller.reopening import Reopening
from controller.resets import ResetRecord, Resets, tuple_of
from controller.segments import Kind, Segment, Stage
from controller.suspicion import Suspicions
from controller.topology import Endpoint

Decisions = list[Decision]


@dataclass(slots=True)
class _Ordered:
    """An ejection that switches have been told of."""

    member: str
    began: float
    switches_left: int


class Reaction:
    """Owns suspicion, probes and redispatch; acts on members only through `Pools`, which keeps the safety limits."""

    def __init__(self, investigation: Investigation, resets: Resets, rng: random.Random) -> None:
        self.investigation = investigation
        self.topology = investigation.topology
        self.services = investigation.services
        self.resets = resets
        self.checks = Checks(self.services, rng, self._token)
        self.suspicions = Suspicions()
        self.redispatcher = Redispatcher()
        self.reopening = Reopening(self.services)
        self.mode = AutomationMode.ENFORCE
        self.enforce_percent = 100
        self._tokens = itertools.count(1)
        self._in_force: dict[int, _Ordered] = {}
        self.ejected: list[tuple[MemberState, str]] = []
        """Members taken out since somebody looked, and why."""
        self.recorded: list[ResetRecord] = []
        """Resets seen since somebody looked."""
        self._barriers: Decisions = []

    def apply(self, policy: Policy) -> None:
        """Take how far automation may go."""
        self.mode = policy.automation.mode
        self.enforce_percent = policy.automation.enforce_percent

    # --- packets ---------------------------------------------------------------------------------------------------------------

    def on_segment(self, event: PacketSeen, segment: Segment, zone: int, now: float) -> Decisions:
        """A punted or mirrored TCP segment; `zone` is the switch's."""
        if event.purpose is Purpose.PROBE:
            sent, results = self.checks.on_segment(segment, event.frame, now)
            return sent + self._on_probes(results, now)
        if event.purpose is Purpose.REUSED_PORT:
            return self.reopening.on_segment(event, segment, zone, now)
        if event.purpose is Purpose.UNAVAILABLE:
            return self._unavailable(event, segment)
        if event.purpose is Purpose.ENDED:
            return self._end(event, segment, zone)
        opened, entry = self._connection(event, segment), self._entry(event, segment)
        itself = bool(event.fields.get("ct_state", 0) & INV) and self._lives_alone(event, entry)
        record = self.resets.take(event.purpose, event.dpid, event.fields, segment, entry, now, opened, itself)
        self.investigation.add(record, now)
        self.recorded.append(record)
        against = self._hold_against(record, now)
        if event.purpose is Purpose.HELD:
            return self._redispatch(event, segment, record, zone, now) + against
        return against

    def _connection(self, event: PacketSeen, segment: Segment) -> Connection:
        """As its client opened it: the tracker says, or, out of window, the mark does."""
        known = balance.connection_of(event.fields)
        return known or self.services.as_opened(tuple_of(segment), event.fields.get("ct_mark", 0))

    def _entry(self, event: PacketSeen, segment: Segment) -> Endpoint | None:
        """Where the segment entered the fabric: at its edge the source check has proved it; a false one says so itself."""
        if event.purpose is Purpose.INJECTED:
            return event.dpid, event.fields.get("in_port", 0)
        address = int.from_bytes(segment.src)
        member = self.services.member(event.fields.get("ct_mark", 0) & MEMBER_MASK)
        if member is not None and address not in self.topology.hosts:
            # Translated back already: the source is the VIP, the sender the member.
            address = member.address
        host = self.topology.hosts.get(address)
        return host.endpoint if host else None

    def _lives_alone(self, event: PacketSeen, entry: Endpoint | None) -> bool:
        """Whether one host alone is at the port where a segment with its address came in."""
        if entry is None or event.purpose is Purpose.INJECTED:
            return False
        return self.topology.hosts.alone_at(entry) is not None

    def _end(self, event: PacketSeen, segment: Segment, zone: int) -> Decisions:
        member = self.services.member(event.fields.get("ct_mark", 0) & MEMBER_MASK)
        if member is None:
            return []
        where = member.address, member.policy.port
        return list(ending.end(event, segment, self._connection(event, segment), where, zone, self.topology))

    def _unavailable(self, event: PacketSeen, segment: Segment) -> Decisions:
        client = self.topology.hosts.get(int.from_bytes(segment.src))
        return [redispatch.refuse(tuple_of(segment), segment.seq, client, event.dpid)] if client else []

    def _redispatch(self, event: PacketSeen, segment: Segment, record: ResetRecord, zone: int, now: float) -> Decisions:
        mark = event.fields.get("ct_mark", 0)
        client = self.topology.hosts.get(record.connection.src)
        service = self.services.service((mark & VIP_MASK) >> VIP_SHIFT, now)
        if client is None:
            return []
        isn = (segment.ack - 1) % (1 << 32)
        refused = Refused(event.dpid, zone, record.connection, mark & MEMBER_MASK, isn, client)
        suspects = {
            choice.number
            for choice in (service.choices if service else ())
            if (member := self.services.member(choice.number)) and self.suspicions.suspected(member.key, now)
        }
        return self.redispatcher.on_refused(refused, service, suspects, now)[0]

    # --- evidence --------------------------------------------------------------------------------------------------------------

    def _hold_against(self, record: ResetRecord, now: float) -> Decisions:
        """A reset of the member's own that its client did not ask for is a reason to look at the member."""
        member = self.services.member(record.member)
        if member is None or member.ejection is not None or record.repeated or not _speaks_against_member(record):
            return []
        probes = self.suspicions.note(member.key, record.connection.src, record.kind, now)
        # Without a failing probe only a live socket's aborts count: who is refused is redispatched, and an answer without a
        # socket to an open connection says nothing about the next one.
        decisions = self._passive(member, now) if record.kind is Kind.ABORTED_BY_MEMBER else []
        for _ in range(probes if member.ejection is None else 0):
            decisions += self.checks.probe(member, now, confirming=True)
        return decisions

    def _passive(self, member: MemberState, now: float) -> Decisions:
        if member.ejection is None and self.suspicions.passive(member.key, self._others(member), now):
            return self.eject(member, "several clients were reset by it", confirmed=False, now=now)
        return []

    def _others(self, member: MemberState) -> list[MemberKey]:
        return [other.key for other in self.services.pools.of(member.pool) if other is not member]

    def _on_probes(self, results: list[ProbeResult], now: float) -> Decisions:
        return [decision for result in results for decision in self._on_probed(result, now)]

    def _on_probed(self, result: ProbeResult, now: float) -> Decisions:
        member = self.services.pools.members.get(result.member)
        if member is None:
            return []
        self.investigation.evidence.member(member.number).on_probe(result, now)
        if result.handshake_ms is not None:
            member.handshake_ms = result.handshake_ms
        ejection = member.ejection
        if ejection is not None and result.started < ejection.since:
            return self._on_late(member, ejection, result, now)
        confirmed = self.suspicions.confirmed_by(member.key, result.outcome, self._others(member), now)
        if result.outcome is Outcome.SUCCEEDED:
            return self._on_success(member, now)
        member.successes = 0
        member.failures += 1
        return [] if ejection is not None else self._on_failure(member, result, confirmed, now)

    def _on_failure(self, member: MemberState, result: ProbeResult, confirmed: bool, now: float) -> Decisions:
        check = self.services.pools.settings[member.pool].health_check
        if confirmed:
            return self.eject(
                member, f"clients were reset and an own probe was {result.outcome}", confirmed=True, now=now
            )
        if check is not None and member.failures >= check.fall:
            return self.eject(
                member,
                f"{member.failures} probes in a row: {result.outcome} {result.text}".strip(),
                confirmed=True,
                now=now,
            )
        return []

    def _on_late(self, member: MemberState, ejection: Ejection, result: ProbeResult, now: float) -> Decisions:
        """It was sent before the member was taken out: it says how often the member failed, not that it is well again."""
        self.suspicions.note_late(member.key, result.outcome, now)
        proofs = self.suspicions.proofs_wanted(member.key, now)
        # What is too long ago to be counted still happened: a probe that ran out late asks for no less.
        if proofs <= ejection.proofs:
            return []
        member.ejection = replace(ejection, proofs=proofs)
        return [ejection_record(member)]

    def _on_success(self, member: MemberState, now: float) -> Decisions:
        member.failures = 0
        member.successes += 1
        if member.ejection is None:
            self.services.pools.seen_well(member, now)
            return []
        if self.mode is AutomationMode.FROZEN:
            return []
        check = self.checks.check_of(member)
        # Each further ejection asks for more: what fails now and then must not swing in and out.
        enough = member.successes >= max(check.rise * member.ejection.count, member.ejection.proofs)
        if not member.ejection.confirmed:
            enough = enough and now >= member.ejection.until
        return self.readmit(member, now) if enough else []

    # --- acting ----------------------------------------------------------------------------------------------------------------

    def eject(self, member: MemberState, reason: str, confirmed: bool, now: float) -> Decisions:
        """Take a member out, if automation may and the pool's limits let it; `confirmed`: own probes saw it fail."""
        name = f"{member.pool}/{member.policy.name}"
        fields: dict[str, object] = {"member": name, "reason": reason, "confirmed": confirmed}
        if self.mode is not AutomationMode.ENFORCE:
            return (
                [Announce("would-eject", f"{name} would be ejected: {reason}", fields)]
                if self.mode is AutomationMode.DRY_RUN
                else []
            )
        if crc32(f"{name} {member.ejections}".encode()) % 100 >= self.enforce_percent:
            return []
        if not self.services.may_eject(member):
            return []
        began = self.suspicions.first_seen(member.key, now)
        self.services.pools.eject(member, reason, confirmed, now, self.suspicions.proofs_wanted(member.key, now))
        self.suspicions.acted_on(member.key)
        self.ejected.append((member, reason))
        decisions: Decisions = [ejection_record(member)]
        edges = [dpid for dpid in self.topology.edges() if self.topology.switches[dpid].connected]
        decisions += self._forget_affinity(edges, member)
        self._ask_when_in_force(name, edges, now if began is None else began)
        return decisions

    def _ask_when_in_force(self, member: str, edges: list[int], began: float) -> None:
        ordered = _Ordered(member, began, len(edges))
        for dpid in edges:
            token = self._token()
            self._in_force[token] = ordered
            self._barriers.append(Barrier(dpid, token))

    def _token(self) -> int:
        return next(self._tokens) & 0xFFFFFF

    def barriers(self) -> Decisions:
        """Barriers for the ejections just decided: to be sent after the groups changed."""
        barriers, self._barriers = self._barriers, []
        return barriers

    def on_barrier(self, event: BarrierReplied, now: float) -> Decisions:
        """An ejection is in force on one more switch, on the last one its time is known; or a switch answers for a silence."""
        results = self.checks.on_barrier(event.token, now)
        if results is not None:
            return self._on_probes(results, now)
        ordered = self._in_force.pop(event.token, None)
        if ordered is None:
            return []
        ordered.switches_left -= 1
        if ordered.switches_left:
            return []
        took_ms = (now - ordered.began) * 1000
        text = f"{ordered.member} takes no new connections, {took_ms:.1f} ms after the first reset"
        return [Announce("ejected", text, {"member": ordered.member, "after_ms": took_ms})]

    def _forget_affinity(self, edges: list[int], member: MemberState) -> Decisions:
        vips = [name for name, vip in self.services.vips.items() if vip.pool == member.pool and vip.affinity_timeout_s]
        cookies = [balance.affinity_cookie(self.services.vip_number(name), member.number) for name in vips]
        return [RemoveFlow(dpid, cookie, table_id=Table.AFFINITY) for dpid in edges for cookie in cookies]

    def readmit(self, member: MemberState, now: float) -> Decisions:
        """Let a member back in, slowly."""
        name = f"{member.pool}/{member.policy.name}"
        self.suspicions.clear(member.key)
        self.services.pools.readmit(member, now)
        return [ejection_record(member), Announce("readmit", f"{name} is back, slowly", {"member": name})]

    # --- time ------------------------------------------------------------------------------------------------------------------

    def on_tick(self, now: float) -> Decisions:
        """Probes that ran out of time, checks that are due, passive ejections that are over."""
        decisions, results = self.checks.on_tick(now)
        return decisions + self._on_probes(results, now)

    def next_deadline(self, now: float) -> float:
        """When the next probe is due or runs out."""
        return self.checks.next_deadline(now)


def _speaks_against_member(record: ResetRecord) -> bool:
    """Refused, disowned after the SYN-ACK, or aborted before it had sent anything. What came later may be anybody's fault."""
    if record.kind in (Kind.REFUSED, Kind.NOT_ACCEPTED):
        return True
    aborted = record.kind in (Kind.ABORTED_BY_MEMBER, Kind.UNKNOWN_CONNECTION) and record.sender == "member"
    return aborted and not record.member_sent_data and record.stage is not Stage.AFTER_FIN
