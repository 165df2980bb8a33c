"""Evidence to features: a few words per question, so that a table can say how likely each is under each cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from controller.diagnosis.evidence import ClientEvidence, Evidence, MemberEvidence, PortEvidence, RuleEvidence
from controller.diagnosis.patterns import ABORTS, OF_MEMBER, Pattern
from controller.diagnosis.windows import RECENT_S
from controller.health import Outcome

PROBE_FRESH_S = 4.0
FAILING_SPAN_S = 4.0
SHORTEST_SPAN_S = 0.02
FEWEST_TO_COUNT = 3
"""Of fewer resets it says nothing whether one client had them or all connections were."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One answer: `value` is a word of the table, `text` what an operator reads."""

    name: str
    value: str
    text: str


_PATTERN_TEXT = {
    Pattern.REFUSED: "connections are refused: nobody listens, or somebody answers so",
    Pattern.NOT_ACCEPTED: "handshakes are answered, then disowned: the accept queue is full",
    Pattern.MEMBER_EARLY: "the member aborts connections before it answers anything",
    Pattern.MEMBER_LATE: "the member aborts connections in the middle of its answers",
    Pattern.MEMBER_DISOWNED: "a connection's first request is answered as if there were no connection",
    Pattern.MEMBER_LOST: "open connections are answered as if they had never been",
    Pattern.HALF_OPEN: "handshakes are begun and never meant: the initiator resets the SYN-ACK",
    Pattern.CLIENT_NO_DATA: "clients connect and leave without a word",
    Pattern.CLIENT_EARLY: "clients ask, wait and give up without an answer",
    Pattern.CLIENT_LATE: "clients leave in the middle of an answer",
    Pattern.OUT_OF_WINDOW: "resets with sequence numbers that nobody in the connection would send",
    Pattern.INJECTED: "resets in the name of hosts that do not live where they entered",
    Pattern.AFTER_FIN: "resets after both sides were done",
}


_SUBJECT_TEXT = {
    "member": "it is the member that stands out",
    "client": "it is one client that stands out, others are served",
    "link": "it is those whose way leads over one link",
    "policy": "it is those whom a rule names",
}


def subject_feature(subject: str) -> Feature:
    """Who stands out (`incidents.SubjectType`)."""
    return Feature("subject", subject, _SUBJECT_TEXT[subject])


def _level(value: float, *levels: tuple[float, str]) -> str:
    """The first word whose bound the value is below; the last one's bound is not looked at."""
    return next((word for bound, word in levels if value < bound), levels[-1][1])


def pattern_feature(pattern: Pattern) -> Feature:
    """What most of the resets look like."""
    return Feature("pattern", pattern.value, _PATTERN_TEXT[pattern])


def member_features(
    number: int, evidence: Evidence, peers: list[int], link: Feature | None, now: float
) -> list[Feature]:
    """What speaks about a member; `link`: about the way between it and its clients (`link_feature`), None when nobody measured."""
    member = evidence.member(number)
    pattern = member.tally.dominant(now)
    if pattern is None:
        return []
    features = [
        pattern_feature(pattern),
        _failing(member, now),
        _clients(member, now),
        _peers(member, [evidence.member(peer) for peer in peers], pattern, now),
        _probe(member, pattern, now),
        _latency(member),
        _load(member, [evidence.member(peer) for peer in peers], pattern),
        _ttl(member, pattern, now),
        link,
    ]
    return [feature for feature in features if feature is not None]


def _failing(member: MemberEvidence, now: float) -> Feature | None:
    """Which share of its connections ends so, in its last seconds; counters lag, the usual rate does not."""
    usual = member.connections.usual
    failed, span = failed_of_late(member, now)
    if usual is None or failed < FEWEST_TO_COUNT:
        return None
    share = min(1.0, failed / (1 + usual * span))
    word = _level(share, (0.05, "rare"), (0.35, "some"), (0.75, "most"), (9.0, "all"))
    # A member that resets everybody is not what it is taken for; one whose clients all give up may only be slow.
    name = "failing" if member.tally.dominant(now) in OF_MEMBER else "giving-up"
    return Feature(name, word, f"about {share:.0%} of its connections end so")


def failed_of_late(member: MemberEvidence, now: float) -> tuple[int, float]:
    """(connections, seconds in which they failed), of those that look like most of them: up to the last one, not up to now."""
    alike = member.alike(FAILING_SPAN_S, now)
    return len(alike), max(alike[-1].time - alike[0].time, SHORTEST_SPAN_S) if alike else SHORTEST_SPAN_S


def affected_clients(member: MemberEvidence, now: float) -> Counter[int]:
    """How many connections each client lost of late, of those that look like most of them."""
    return Counter(one.client for one in member.alike(RECENT_S, now))


def _clients(member: MemberEvidence, now: float) -> Feature | None:
    affected = affected_clients(member, now)
    if affected.total() < FEWEST_TO_COUNT:
        return None
    count, share = len(affected), max(affected.values()) / affected.total()
    if count <= 1:
        return Feature("clients", "one", "one client alone is affected")
    if share > 0.8:
        return Feature("clients", "mostly-one", f"{share:.0%} of it is one client's, of {count}")
    return Feature("clients", _level(count, (4, "few"), (99, "many")), f"{count} clients are affected")


def _peers(member: MemberEvidence, peers: list[MemberEvidence], pattern: Pattern, now: float) -> Feature | None:
    if not peers:
        return None
    own = member.tally.rate(pattern, now)
    alike = sum(1 for peer in peers if peer.tally.rate(pattern, now) > 0.3 * own)
    if alike == 0:
        return Feature("peers", "fine", "the pool's other members have nothing of the kind")
    if alike == len(peers):
        return Feature("peers", "same", "every member of the pool has it")
    return Feature("peers", "some", f"{alike} of {len(peers)} other members have it too")


def probes_failed(member: MemberEvidence, since: float) -> int:
    """How many of the last own probes of it failed."""
    return sum(at >= since and outcome is not Outcome.SUCCEEDED for at, outcome in member.probes)


def _probe(member: MemberEvidence, pattern: Pattern, now: float) -> Feature | None:
    began = max(member.tally.burst_began, now - PROBE_FRESH_S)
    fresh = [outcome for at, outcome in member.probes if at >= began]
    if not fresh:
        return None
    failed = [outcome for outcome in fresh if outcome is not Outcome.SUCCEEDED]
    lost_one = failed == [Outcome.TIMED_OUT] and Outcome.SUCCEEDED in fresh
    if not failed or lost_one:
        if pattern is Pattern.REFUSED:
            return Feature("probe", "open", "own probes find the port open that refuses clients")
        return Feature("probe", "well", "own probes succeed")
    # What succeeded before the first failure was before the fault.
    if Outcome.SUCCEEDED in fresh[fresh.index(failed[0]) :]:
        return Feature("probe", "now-and-then", f"own probes fail now and then ({failed[-1].value})")
    return Feature("probe", failed[-1].value, f"own probes: {failed[-1].value}")


def _latency(member: MemberEvidence) -> Feature | None:
    if member.handshake_ms is None or member.usual_handshake_ms is None:
        return None
    raised = member.handshake_ms > 3 * member.usual_handshake_ms and member.handshake_ms > member.usual_handshake_ms + 5
    text = f"its handshake takes {member.handshake_ms:.1f} ms, usually {member.usual_handshake_ms:.1f} ms"
    return Feature("latency", "raised" if raised else "usual", text)


def _load(member: MemberEvidence, peers: list[MemberEvidence], pattern: Pattern) -> Feature | None:
    """What its agent says; else what the whole pool is offered, since an ejection moves load from one member to others."""
    # A member that is slow may be so at any load; one that aborts what is above its limit gets more than usual.
    name = "limit" if pattern in ABORTS else "load"
    if member.load is not None and member.load >= 0.9:
        return Feature(name, "full", f"it reports a load of {member.load:.0%}")
    pool = [member, *peers]
    usual = sum(one.connections.usual or 0.0 for one in pool)
    if not usual:
        return None
    # Who is refused is redispatched, and counted where it goes then.
    offered = sum(one.connections.of_late or 0.0 for one in pool)
    text = f"the pool is offered {offered:.0f} new connections/s, usually {usual:.0f}"
    return Feature(name, _level(offered / usual, (1.5, "usual"), (2.0, "raised"), (9e9, "surge")), text)


def _ttl(member: MemberEvidence, pattern: Pattern, now: float) -> Feature | None:
    """Whether the member wrote its resets; those that clients sent say nothing about it."""
    if member.usual_ttl is None or pattern not in OF_MEMBER:
        return None
    alike = member.alike(RECENT_S, now)
    if sum(one.foreign_ttl for one in alike) > 0.5 * len(alike):
        return Feature(
            "ttl", "foreign", f"the resets' TTL is not the member's ({member.usual_ttl}): another hop wrote them"
        )
    return Feature("ttl", "usual", "the resets have the member's own TTL")


def link_feature(congested: bool | None, probes_fail_too: bool = False) -> Feature | None:
    """The way between the clients and the member; `probes_fail_too`: own probes, whose way is another, fail as clients do."""
    if congested is None:
        return None
    if congested and probes_fail_too:
        return Feature("link", "beside", "a link on the way is full, but own probes do not cross it and fail as well")
    if congested:
        return Feature("link", "congested", "a link on the way is full, or loses packets")
    return Feature("link", "free", "the links on the way have room")


def client_features(client: ClientEvidence, evidence: Evidence, link: Feature | None, now: float) -> list[Feature]:
    """What speaks about a client; `link` as for `member_features`."""
    pattern = client.tally.dominant(now)
    if pattern is None:
        return []
    targets = client.targets.count(now)
    word = _level(targets, (2, "one"), (6, "few"), (999, "many"))
    member, _ = client.members.top(now)
    features = [
        pattern_feature(pattern),
        Feature("targets", word, f"it met {targets}{'+' if targets == 64 else ''} different ports"),
        Feature("clients", "one", "one client alone is affected"),
        link,
    ]
    if member is not None:
        features += [_probe(evidence.member(member), pattern, now), _ttl(evidence.member(member), pattern, now)]
    rate = client.tally.bad_rate(now)
    pace = _level(rate, (2, "slow"), (30, "steady"), (9e9, "fast"))
    features.append(Feature("pace", pace, f"{rate:.1f} resets per second"))
    return [feature for feature in features if feature is not None]


def port_features(port: PortEvidence, now: float) -> list[Feature]:
    """What speaks about a port where false resets entered."""
    pattern = port.tally.dominant(now)
    if pattern is Pattern.OUT_OF_WINDOW:
        return [pattern_feature(pattern)]
    claimed = port.claimed.count(now)
    word = _level(claimed, (2, "one"), (6, "few"), (999, "many"))
    return [
        pattern_feature(Pattern.INJECTED),
        Feature("claimed", word, f"in the name of {claimed} addresses that do not live there"),
    ]


def rule_features(rule: str, evidence: RuleEvidence, now: float) -> list[Feature]:
    """What speaks about a firewall rule of ours."""
    clients = evidence.clients.count(now)
    return [
        pattern_feature(Pattern.REFUSED),
        Feature(
            "firewall",
            "ours",
            f"rule {rule} of our own firewall rejected {evidence.tally.burst} connections of {clients} clients",
        ),
    ]
