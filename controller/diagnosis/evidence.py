"""What is known about each member, client and port of late. Bounded: members by the policy, clients and ports by caps."""

from __future__ import annotations

import statistics
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from controller.diagnosis.patterns import ALL_THE_TIME, FORGED, HARMLESS, OF_MEMBER, Pattern, pattern_of
from controller.diagnosis.rates import ConnectionRate
from controller.diagnosis.windows import Decayed, Distinct, Heavy
from controller.events import ResetSum
from controller.health import Outcome, ProbeResult
from controller.pipeline import MEMBER_MASK
from controller.resets import ResetRecord
from controller.topology import Endpoint

K = TypeVar("K", bound=Hashable)
E = TypeVar("E")

MAX_CLIENTS, MAX_PORTS = 4096, 1024
LATENCY_LEARNING = 0.05
BURST_GAP_S = 5.0
USUAL_WEIGHT = 0.25
LATEST_RESETS = 128
LATEST_PROBES = 16
LATEST_HANDSHAKES = 3
"""One slow handshake is nothing: the middle one of so many counts."""
SHORTEST_BURST_S = 0.5


@dataclass(slots=True)
class Tally:
    """Resets by pattern, as decayed counts and as what came since it was last collected."""

    patterns: dict[Pattern, Decayed] = field(default_factory=dict)
    fresh: dict[Pattern, int] = field(default_factory=dict)
    total: int = 0
    bad_total: int = 0
    """Those that were not harmless."""
    burst_began: float = 0.0
    burst_last: float = 0.0
    burst: int = 0
    """The present run of resets that are not harmless: it ends with `BURST_GAP_S` of quiet."""
    runs: dict[Pattern, tuple[float, float]] = field(default_factory=dict)
    """The same for each pattern: when it began, and its last reset."""

    def add(self, pattern: Pattern, now: float, count: int = 1) -> None:
        """Count connections that were reset."""
        if pattern not in HARMLESS:
            if now - self.burst_last > BURST_GAP_S:
                self.burst_began, self.burst = now, 0
            self.burst += count
            self.bad_total += count
            self.burst_last = now
        began, last = self.runs.get(pattern, (now, now))
        self.runs[pattern] = (now if now - last > BURST_GAP_S else began), now
        known = self.patterns.get(pattern)
        if known is None:
            known = self.patterns[pattern] = Decayed()
        known.add(now, count)
        self.fresh[pattern] = self.fresh.get(pattern, 0) + count
        self.total += count

    def collect(self) -> dict[Pattern, int]:
        """What came since the last time this was called."""
        fresh, self.fresh = self.fresh, {}
        return fresh

    def rate(self, pattern: Pattern, now: float) -> float:
        """Connections reset like this, per second."""
        count = self.patterns.get(pattern)
        return count.rate(now) if count else 0.0

    def bad_rate(self, now: float) -> float:
        """Connections reset in any way that is not harmless, per second."""
        return sum(count.rate(now) for pattern, count in self.patterns.items() if pattern not in HARMLESS)

    def burst_rate(self, now: float) -> float:
        """Connections per second in the present burst."""
        return self.burst / max(now - self.burst_began, SHORTEST_BURST_S)

    def dominant(self, now: float) -> Pattern | None:
        """The pattern most resets have; of several as many, the same whichever came first.

        What clients do all the time counts less: beside a single refusal, a few who left early are not what is the matter.
        """
        live = {
            pattern: count.value(now) * (USUAL_WEIGHT if pattern in ALL_THE_TIME else 1.0)
            for pattern, count in self.patterns.items()
            if pattern not in HARMLESS
        }
        return max(live, key=lambda pattern: (live[pattern], pattern)) if live else None


class Suffered(NamedTuple):
    """A connection to a member that was reset, other than harmlessly.

    `foreign_ttl`: the reset is said to be the member's, but has not the TTL of what the member sends.
    """

    time: float
    pattern: Pattern
    client: int
    foreign_ttl: bool


@dataclass(slots=True)
class MemberEvidence:
    """One member, by its number."""

    tally: Tally = field(default_factory=Tally)
    latest: deque[Suffered] = field(default_factory=lambda: deque(maxlen=LATEST_RESETS))
    usual_ttl: int | None = None
    probes: deque[tuple[float, Outcome]] = field(default_factory=lambda: deque(maxlen=LATEST_PROBES))
    """When own probes ended last, and how."""
    handshakes_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST_HANDSHAKES))
    """Of the last own probes."""
    usual_handshake_ms: float | None = None
    connections: ConnectionRate = field(default_factory=ConnectionRate)
    load: float | None = None
    """What its agent says, 0 to 1."""

    def alike(self, span_s: float, now: float) -> list[Suffered]:
        """The latest that look like most of them, up to so long before the last one.

        Not before now: after an ejection nothing fails any more, and what is asked is how it was before. And no others: that all
        clients leave a little early now and then does not say whose connections the member aborts.
        """
        pattern = self.tally.dominant(now)
        alike = [one for one in self.latest if one.pattern is pattern]
        return [one for one in alike if one.time >= alike[-1].time - span_s]

    @property
    def handshake_ms(self) -> float | None:
        """The middle one of the last own probes' handshakes."""
        return statistics.median_low(self.handshakes_ms) if self.handshakes_ms else None

    def on_probe(self, result: ProbeResult, now: float) -> None:
        """Take in what an own probe found."""
        self.probes.append((now, result.outcome))
        if result.ttl is not None:
            self.usual_ttl = result.ttl
        if result.handshake_ms is not None:
            self.handshakes_ms.append(result.handshake_ms)
            usual = self.usual_handshake_ms
            if usual is None:
                self.usual_handshake_ms = result.handshake_ms
            elif result.handshake_ms < 3 * usual:
                self.usual_handshake_ms = usual + LATENCY_LEARNING * (result.handshake_ms - usual)


@dataclass(slots=True)
class ClientEvidence:
    """One client, by its address."""

    tally: Tally = field(default_factory=Tally)
    targets: Distinct[tuple[int, int]] = field(default_factory=Distinct)
    members: Heavy[int] = field(default_factory=Heavy)


@dataclass(slots=True)
class PortEvidence:
    """A port where resets entered whose sender does not live there, or that nobody in their connection would send."""

    tally: Tally = field(default_factory=Tally)
    injected: int = 0
    """How many were of the first kind."""
    claimed: Distinct[int] = field(default_factory=Distinct)
    victims: Heavy[int] = field(default_factory=Heavy)


@dataclass(slots=True)
class RuleEvidence:
    """A firewall rule of ours that rejects."""

    tally: Tally = field(default_factory=Tally)
    clients: Distinct[int] = field(default_factory=Distinct)


class Evidence:
    """All of it, and which subjects were touched since the last diagnosis."""

    def __init__(self) -> None:
        self.members: dict[int, MemberEvidence] = {}
        self.clients: OrderedDict[int, ClientEvidence] = OrderedDict()
        self.ports: OrderedDict[Endpoint, PortEvidence] = OrderedDict()
        self.rules: dict[str, RuleEvidence] = {}

    def member(self, number: int) -> MemberEvidence:
        """A member's evidence."""
        return self.members.setdefault(number, MemberEvidence())

    def client(self, address: int) -> ClientEvidence:
        """A client's evidence; the one not heard of longest makes room."""
        return _recent(self.clients, address, ClientEvidence, MAX_CLIENTS)

    def port(self, endpoint: Endpoint) -> PortEvidence:
        """A port's evidence."""
        return _recent(self.ports, endpoint, PortEvidence, MAX_PORTS)

    def add(self, record: ResetRecord, now: float, against_member: bool = True) -> None:
        """Take a connection's reset in. A false one is held against the port it came in by, and nobody else."""
        pattern = pattern_of(record)
        connection = record.connection
        if pattern in FORGED and record.entry is not None:
            self._add_forged(record.entry, pattern, (int.from_bytes(record.segment.src),), connection.dst, 1, now)
            return
        self._add_to_client(connection.src, pattern, connection[2:4], record.member, 1, now)
        if record.member and against_member:
            self._add_to_member(record.member, pattern, (connection.src,), 1, now, record.segment.ttl)

    def add_sum(self, added: ResetSum, pattern: Pattern, clients: Sequence[int], count: int, now: float) -> None:
        """Take many in that say the same; `count` of them, the last ones of `clients`, are held against the member, if there is one.

        A client that comes up only once and is not known yet has no evidence of its own: in a flood with forged sources it never will.
        """
        if pattern in FORGED:
            self._add_forged(added.source, pattern, clients, added.target[0], added.connections, now)
            return
        number = added.mark & MEMBER_MASK
        for client, times in Counter(added.clients).items():
            if times > 1 or client in self.clients:
                self._add_to_client(client, pattern, added.target, number, times, now)
        if number and count:
            self._add_to_member(number, pattern, clients, count, now)

    def _add_forged(
        self, entry: Endpoint, pattern: Pattern, claimed: Iterable[int], victim: int, count: int, now: float
    ) -> None:
        port = self.port(entry)
        port.tally.add(pattern, now, count)
        port.injected += count if pattern is Pattern.INJECTED else 0
        for address in claimed:
            port.claimed.add(address, now)
        port.victims.add(victim, now, count)

    def _add_to_client(
        self, address: int, pattern: Pattern, target: tuple[int, int], member: int, count: int, now: float
    ) -> None:
        client = self.client(address)
        client.tally.add(pattern, now, count)
        client.targets.add(target, now)
        if member:
            client.members.add(member, now, count)

    def _add_to_member(
        self, number: int, pattern: Pattern, clients: Sequence[int], count: int, now: float, ttl: int | None = None
    ) -> None:
        member = self.member(number)
        member.tally.add(pattern, now, count)
        if pattern in HARMLESS:
            return
        known = pattern in OF_MEMBER and None not in (ttl, member.usual_ttl)
        foreign = known and ttl != member.usual_ttl
        member.latest.extend(Suffered(now, pattern, client, foreign) for client in clients)

    def keep_only(self, members: set[int], rules: set[str]) -> None:
        """Forget members and rules that are no longer in the policy."""
        self.members = {number: evidence for number, evidence in self.members.items() if number in members}
        self.rules = {rule: evidence for rule, evidence in self.rules.items() if rule in rules}


def _recent(kept: OrderedDict[K, E], key: K, make: Callable[[], E], cap: int) -> E:
    evidence = kept.get(key)
    if evidence is None:
        evidence = kept[key] = make()
        if len(kept) > cap:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return evidence
