"""Resets in, incidents out: who is to be looked into, and when it is over. It is written down by `casebook.py`, acted on by `remedies.py`.

Runs a few times a second over the subjects that were touched, so its cost follows what happens, not what there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from controller import addresses
from controller.decisions import Decision
from controller.diagnosis.anomaly import CLUMPS, Detector
from controller.diagnosis.blame import Blame
from controller.diagnosis.casebook import Casebook, announcement
from controller.diagnosis.evidence import Evidence, RuleEvidence
from controller.diagnosis.features import client_features, port_features, rule_features
from controller.diagnosis.incidents import QUIET_S, Incident, Subject, SubjectType
from controller.diagnosis.lossy_links import loss_features, lossy_links
from controller.diagnosis.model import Model
from controller.diagnosis.patterns import FORGED, HARMLESS, Pattern, pattern_of, pattern_of_sum
from controller.diagnosis.ways import Ways
from controller.events import ResetSum
from controller.firewall import DEFAULT_ID
from controller.hosts import place_name
from controller.pipeline import MEMBER_MASK
from controller.policy import Policy
from controller.pools import MemberState
from controller.resets import ResetRecord
from controller.services import Services
from controller.topology import Endpoint

INTERVAL_S = 0.25
MEMBERS_AT_ONCE, CLIENTS_AT_ONCE, NEXT_LOOK_S = 24, 64, 0.002
"""Of a thousand members whose clients abort connections the rest waits, so that a reaction does not."""
SCAN_TARGETS = 8
FEWEST = 3
REVIEWED_S = 5.0
COUNTED_EVERY_S, LONGEST_ROUND_S = 0.9, 5.0
COMES_LATER = frozenset({"load", "limit", "latency", "link"})


class Investigation:
    """Owns evidence and habits; incidents are in `cases`."""

    def __init__(self, services: Services, ways: Ways, model: Model) -> None:
        self.services = services
        self.ways = ways
        self.topology = ways.topology
        self.model = model
        self.evidence = Evidence()
        self.blame = Blame(services, ways, self.evidence)
        self.cases = Casebook(model)
        self.incidents = self.cases.incidents
        self.detectors: dict[tuple[str, Pattern], Detector] = {}
        self._touched_members: set[int] = set()
        self._touched_clients: set[int] = set()
        self._touched_ports: set[Endpoint] = set()
        # In the order they came, unlike a set of texts: the same events give the same decisions in every process.
        self._touched_rules: dict[str, None] = {}
        self._last_run = self._counted_at = self._elapsed = 0.0
        self._waiting_clients: deque[int] = deque()
        self._waiting_members: deque[int] = deque()
        """Those that have still to be looked at in this run."""

    def apply(self, policy: Policy) -> None:
        """Forget what the policy no longer names."""
        members = {member.number for member in self.services.pools.members.values()}
        rules = {rule.id for rule in policy.firewall.rules} | {DEFAULT_ID}
        self.evidence.keep_only(members, rules)
        self._touched_rules = {rule: None for rule in self._touched_rules if rule in rules}

    # --- evidence --------------------------------------------------------------------------------------------------------------

    def add(self, record: ResetRecord, now: float) -> None:
        """Take a mirrored reset in. What a guilty client provokes is not held against a member."""
        if record.repeated:
            return
        pattern = pattern_of(record)
        if pattern in FORGED and record.entry is not None:
            self._touched_ports.add(record.entry)
            self.evidence.add(record, now)
            return
        self._touched_clients.add(record.connection.src)
        # Most of the time nothing is open, and no address has to be written out.
        guilty = bool(self.incidents.open) and self.client_subject(record.connection.src) in self.incidents.open
        self.evidence.add(record, now, against_member=not guilty)
        if record.member and not guilty:
            self._touched_members.add(record.member)

    def add_sums(self, sums: Iterable[ResetSum], now: float) -> None:
        """Take in mirrored resets that were added up."""
        guilty = {subject.id for subject in self.incidents.open if subject.type is SubjectType.CLIENT}
        for added in sums:
            pattern = pattern_of_sum(added.purpose, added.state, added.mark, added.passive)
            if pattern in FORGED:
                self._touched_ports.add(added.source)
                self.evidence.add_sum(added, pattern, added.clients, added.connections, now)
            else:
                self._add_sum(added, pattern, guilty, now)

    def _add_sum(self, added: ResetSum, pattern: Pattern, guilty: set[str], now: float) -> None:
        """What guilty clients provoke is not held against a member: of many, their share."""
        clients, count = added.clients, added.connections
        if guilty:
            clients = tuple(address for address in clients if addresses.text(address) not in guilty)
            count = round(count * len(clients) / max(1, len(added.clients)))
        self.evidence.add_sum(added, pattern, clients, count, now)
        self._touched_clients.update(address for address in added.clients if address in self.evidence.clients)
        if added.mark & MEMBER_MASK and count:
            self._touched_members.add(added.mark & MEMBER_MASK)

    def add_own_reject(self, rule: str, client: int, now: float) -> None:
        """A rule of ours rejected somebody: known, so it is never held against anybody else."""
        tally = self.evidence.rules.setdefault(rule, RuleEvidence())
        tally.tally.add(Pattern.REFUSED, now)
        tally.clients.add(client, now)
        self._touched_rules[rule] = None

    def on_counted(self, now: float) -> None:
        """Connection rates of members, as the flow counters have them by now: looked at once a round of reports."""
        elapsed_s = now - self._counted_at
        if elapsed_s < COUNTED_EVERY_S:
            return
        self._counted_at = now
        usual_now = all(incident.subject.type is SubjectType.CLIENT for incident in self.incidents.open.values())
        for member in self.services.pools.members.values():
            vips = self.services.vips_of.get(member.pool, [])
            rates = [self.connection_rate(vip, member.policy.name) for vip in vips]
            known = [rate for rate in rates if rate is not None]
            if known:
                evidence = self.evidence.member(member.number)
                evidence.connections.on_counted(sum(known), usual_now, min(elapsed_s, LONGEST_ROUND_S))
                evidence.load = member.load

    def _connections_so_far(self, state: MemberState) -> float:
        vips = self.services.vips_of.get(state.pool, [])
        return sum(self.connection_total(vip, state.policy.name) or 0 for vip in vips)

    connection_rate: Callable[[str, str], float | None] = staticmethod(lambda _vip, _member: None)
    """(vip, member) to new connections per second."""
    connection_total: Callable[[str, str], int | None] = staticmethod(lambda _vip, _member: None)
    """(vip, member) to connections since start."""

    # --- diagnosis -------------------------------------------------------------------------------------------------------------

    def next_deadline(self, now: float) -> float:
        """When to run again."""
        if self._waiting_clients or self._waiting_members:
            return now + NEXT_LOOK_S
        touched = self._touched_clients or self._touched_members or self._touched_ports or self._touched_rules
        if touched or self.incidents.open or self.ways.telemetry.congested():
            return self._last_run + INTERVAL_S
        return now + 60.0

    def run(self, now: float) -> list[Decision]:
        """Look at what was touched; open, update and close incidents."""
        decisions: list[Decision] = []
        if not self._waiting_clients and not self._waiting_members:
            if now < self._last_run + INTERVAL_S:
                return []
            decisions += self._begin(now)
        for _ in range(min(CLIENTS_AT_ONCE, len(self._waiting_clients))):
            decisions += self._look_at_client(self._waiting_clients.popleft(), now)
        # A client that is guilty is known before members are looked at.
        if not self._waiting_clients:
            for _ in range(min(MEMBERS_AT_ONCE, len(self._waiting_members))):
                decisions += self._look_at_member(self._waiting_members.popleft(), self._elapsed, now)
        if not self._waiting_clients and not self._waiting_members:
            decisions += self._close_and_review(now)
        return decisions

    def _begin(self, now: float) -> list[Decision]:
        """What is few is looked at now, the others wait for their turn."""
        elapsed = self._elapsed = min(now - self._last_run, 5.0)
        self._last_run = now
        decisions: list[Decision] = []
        for endpoint in self._touched_ports:
            decisions += self._look_at_port(endpoint, elapsed, now)
        for rule in self._touched_rules:
            decisions += self._look_at_rule(rule, elapsed, now)
        self._touched_rules.clear()
        decisions += self._look_at_links(now)
        self._waiting_clients.extend(self._touched_clients)
        self._waiting_members.extend(self._touched_members)
        for touched in (self._touched_ports, self._touched_clients, self._touched_members):
            touched.clear()
        return decisions

    def _close_and_review(self, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        for incident in [*self.incidents.open.values()]:
            if now - incident.last_seen > QUIET_S:
                decisions.append(self.cases.close(incident, now))
            elif 0 < now - incident.last_seen < REVIEWED_S and incident.subject.type is SubjectType.MEMBER:
                decisions += self._review(incident, now)
        return decisions

    def _review(self, incident: Incident, now: float) -> list[Decision]:
        """Evidence that comes later than resets (counters, probes) still counts: an ejected member has no more resets to show."""
        pool, _, name = incident.subject.id.partition("/")
        state = self.services.pools.members.get((pool, name))
        if state is None:
            return []
        known = {spoken.feature.name: spoken.feature for spoken in incident.diagnosis.evidence}
        # What resets said stands as they said it: without new ones their shares only thin out.
        known |= {feature.name: feature for feature in self.blame.features(state, now) if feature.name in COMES_LATER}
        if not incident.update(self.model.diagnose(known.values()), now):
            return []
        return [announcement(incident, "updated")]

    def _anomalous(
        self,
        subject: str,
        pattern: Pattern,
        count: int,
        exposure: float | None,
        now: float,
        elapsed: float,
        before: float = 0.0,
    ) -> bool:
        detector = self.detectors.get((subject, pattern))
        if detector is None:
            detector = self.detectors[subject, pattern] = Detector(pattern, quiet_exposure=before)
        return detector.take(count, exposure, now, elapsed)

    def _look_at_port(self, endpoint: Endpoint, elapsed: float, now: float) -> list[Decision]:
        port = self.evidence.port(endpoint)
        fresh = port.tally.collect()
        count = sum(fresh.values())
        name = place_name(endpoint)
        unusual = [
            pattern
            for pattern, number in fresh.items()
            if self._anomalous(f"port {name}", pattern, number, elapsed, now, elapsed)
        ]
        subject = self.subject_at(endpoint)
        # A reset that did not enter at its sender's port is proof by itself; three are no accident. One that is out of window may be
        # a stack's own late word: only many at once are somebody who guesses.
        proved = port.injected >= FEWEST and Pattern.INJECTED in fresh
        if subject not in self.incidents.open and not proved and Pattern.OUT_OF_WINDOW not in unusual:
            return self.cases.remember(subject, now)
        return self.cases.report(subject, port_features(port, now), count, now)

    def subject_at(self, endpoint: Endpoint) -> Subject:
        """Whose what enters at a port is: the only host there, else the port itself."""
        return Subject(SubjectType.CLIENT, self._who_lives_at(endpoint) or place_name(endpoint))

    @staticmethod
    def client_subject(address: int) -> Subject:
        """A client by its address (an integer)."""
        return Subject(SubjectType.CLIENT, addresses.text(address))

    def _who_lives_at(self, endpoint: Endpoint) -> str | None:
        host = self.topology.hosts.alone_at(endpoint)
        return addresses.text(host.ip) if host else None

    def _look_at_rule(self, rule: str, elapsed: float, now: float) -> list[Decision]:
        evidence = self.evidence.rules[rule]
        count = sum(evidence.tally.collect().values())
        subject = Subject(SubjectType.POLICY, rule)
        unusual = self._anomalous(f"rule {rule}", Pattern.REFUSED, count, elapsed, now, elapsed)
        if not unusual and subject not in self.incidents.open and evidence.tally.burst < FEWEST:
            return self.cases.remember(subject, now)
        return self.cases.report(subject, rule_features(rule, evidence, now), count, now)

    def _look_at_links(self, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        for state in lossy_links(self.ways.telemetry, now):
            subject = Subject(SubjectType.LINK, self.ways.name_of(state.near))
            incident = self.incidents.open.get(subject)
            if incident is None:
                decisions += self.cases.report(subject, loss_features(state), 0, now)
            else:
                # What resets said of it says more than that it still loses packets.
                incident.last_seen = now
        return decisions

    def _look_at_client(self, address: int, now: float) -> list[Decision]:
        client = self.evidence.client(address)
        fresh = client.tally.collect()
        count = sum(number for pattern, number in fresh.items() if pattern not in HARMLESS)
        subject = Subject(SubjectType.CLIENT, addresses.text(address))
        if subject in self.incidents.open and count:
            return self.cases.report(subject, client_features(client, self.evidence, None, now), count, now)
        if client.targets.count(now) >= SCAN_TARGETS and count and _scans(client.tally.dominant(now)):
            return self.cases.report(subject, client_features(client, self.evidence, None, now), count, now)
        return []

    def _look_at_member(self, number: int, elapsed: float, now: float) -> list[Decision]:
        state = self.services.member(number)
        evidence = self.evidence.members.get(number)
        if state is None or evidence is None:
            return []
        fresh = evidence.tally.collect()
        name = f"{state.pool}/{state.policy.name}"
        per_s = evidence.connections.of_late
        exposure = None if per_s is None else max(1.0, per_s * elapsed)
        before = self._connections_so_far(state)
        unusual = [
            pattern
            for pattern, count in fresh.items()
            if pattern not in HARMLESS and self._anomalous(name, pattern, count, exposure, now, elapsed, before)
        ]
        count = sum(number for pattern, number in fresh.items() if pattern not in HARMLESS)
        if not count:
            return []
        own = Subject(SubjectType.MEMBER, name)
        if not unusual and own not in self.incidents.open and not self.blame.held_up(state, now):
            return self.cases.remember(own, now)
        subject, features = self.blame.suspect(state, now)
        if subject is None and own not in self.incidents.open:
            return self.cases.remember(own, now)
        # What clients do all the time keeps no incident open.
        goes_on = bool(unusual) or any(pattern not in CLUMPS for pattern in fresh)
        decisions = self.cases.report(subject or own, features, count, now, goes_on)
        if subject is not None and subject != own:
            explained = self.incidents.open.get(subject)
            if explained is not None:
                explained.members.add(number)
            decisions += self._exonerate(own, subject, now)
        return decisions

    def _exonerate(self, own: Subject, guilty: Subject, now: float) -> list[Decision]:
        """A member that others' guilt explains has no incident of its own, unless own probes saw it fail."""
        incident = self.incidents.open.get(own)
        pool, _, name = own.id.partition("/")
        member = self.services.pools.members.get((pool, name))
        if incident is None or member is None or member.ejection is not None:
            return []
        incident.note(now, "exonerate", own.id, f"{guilty.type.value} {guilty.id} explains it")
        return [self.cases.close(incident, now)]

    def on_ejected(self, member: MemberState, now: float) -> Incident:
        """An ejection always has an incident, however few resets it took."""
        subject = Subject(SubjectType.MEMBER, f"{member.pool}/{member.policy.name}")
        incident = self.incidents.open.get(subject)
        return self.cases.begin(subject, self.blame.features(member, now), now) if incident is None else incident


def _scans(pattern: Pattern | None) -> bool:
    return pattern in (Pattern.REFUSED, Pattern.HALF_OPEN, Pattern.CLIENT_NO_DATA) or pattern in FORGED
