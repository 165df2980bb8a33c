"""Whose is it: a link on the way, one client, or the member itself.

What a member's clients suffer speaks against the member last: a full link on the way of those who suffer explains it, and so does a
client that fails where all others are served.
"""

from __future__ import annotations

from controller import addresses
from controller.diagnosis.evidence import Evidence, MemberEvidence
from controller.diagnosis.features import FEWEST_TO_COUNT, Feature, client_features, failed_of_late, member_features
from controller.diagnosis.incidents import Subject, SubjectType
from controller.diagnosis.patterns import GAVE_UP, Pattern
from controller.diagnosis.ways import Ways
from controller.health import Outcome
from controller.pools import MemberState
from controller.services import Services
from controller.topology import Host

GUILTY_SHARE = 0.8
SERVED_SHARE = 0.35
"""Where less than this share of the others' connections fail, the others are served."""
NEWCOMER = 1.5
"""More failures than this times all that the member usually gets: traffic that was not there before."""
FEWEST_OTHERS = 0.2
"""Of a member's usual connections others must have so many, or nobody knows how they fare."""
FEWEST_GAVE_UP = 1.5
"""Of a decayed count: two within seconds. Most who wait in vain go without a reset."""
UNDECIDED_S = 2.5
"""Flow counters lag about a second: for so long it may stay open whether others are served."""
NOT_BY_LINKS = frozenset({Pattern.REFUSED, Pattern.NOT_ACCEPTED})
"""A full link refuses nobody."""


class Blame:
    """Reads evidence and ways; changes nothing but which links are measured often."""

    def __init__(self, services: Services, ways: Ways, evidence: Evidence) -> None:
        self.services = services
        self.ways = ways
        self.evidence = evidence

    def features(self, state: MemberState, now: float) -> list[Feature]:
        """What speaks about a member."""
        peers = [peer.number for peer in self.services.pools.of(state.pool) if peer is not state]
        return member_features(state.number, self.evidence, peers, self._congestion(state, now)[0], now)

    def suspect(self, state: MemberState, now: float) -> tuple[Subject | None, list[Feature]]:
        """Who is to be looked into for what a member's clients suffer, and what speaks about it; None: too early to say."""
        evidence = self.evidence.member(state.number)
        congested, link = self._congestion(state, now)
        features = self.features(state, now)
        pattern = evidence.tally.dominant(now)
        if congested and link is not None and pattern not in NOT_BY_LINKS:
            return Subject(SubjectType.LINK, link), features
        own = Subject(SubjectType.MEMBER, f"{state.pool}/{state.policy.name}")
        client, share = evidence.clients.top(now)
        if client is None or share < GUILTY_SHARE or pattern is Pattern.REFUSED or not _probed_well(features):
            return own, features
        served = _others_are_served(evidence, share, now)
        if served is None and now - evidence.tally.burst_began < UNDECIDED_S:
            return None, features
        if not served:
            return own, features
        whole = client_features(self.evidence.client(client), self.evidence, congested, now)
        features = [feature for feature in features if feature.name in ("peers", "failing", "latency", "load")]
        return Subject(SubjectType.CLIENT, addresses.text(client)), [*whole, *features]

    def held_up(self, state: MemberState, now: float) -> bool:
        """Whether two kinds of evidence agree, so that few resets are enough.

        Clients gave up waiting, and there is a full link on their way or the member is silent to own probes.
        """
        evidence = self.evidence.member(state.number)
        patterns = evidence.tally.patterns
        if sum(patterns[pattern].value(now) for pattern in GAVE_UP if pattern in patterns) < FEWEST_GAVE_UP:
            return False
        member, clients = self._ends(state, now)
        if member is not None:
            self.ways.suspect(member, [host for host, _ in clients], now)
        silent = evidence.outcomes.get(Outcome.TIMED_OUT, 0.0) >= evidence.tally.burst_began
        return silent or bool(self._congestion(state, now)[0])

    def _congestion(self, state: MemberState, now: float) -> tuple[bool | None, str | None]:
        member, clients = self._ends(state, now)
        return (None, None) if member is None else self.ways.congestion(member, clients, now)

    def _ends(self, state: MemberState, now: float) -> tuple[Host | None, list[tuple[Host, float]]]:
        """Where the member lives, and the clients it failed of late, each with its share of the failures."""
        hosts = self.ways.topology.hosts
        affected = self.evidence.member(state.number).clients.shares(now)
        return hosts.get(state.address), [(hosts[one], share) for one, share in affected.items() if one in hosts]


def _probed_well(features: list[Feature]) -> bool:
    return all(feature.value in ("well", "open") for feature in features if feature.name == "probe")


def _others_are_served(member: MemberEvidence, share: float, now: float) -> bool | None:
    """Whether a member does well but for one client, which has this share of its failures; None while nobody knows.

    To be the only one who suffers is no guilt where nobody else asks.
    """
    usual, present = member.usual_connections_per_s, member.connections_per_s
    if usual is None or present is None or member.tally.burst < FEWEST_TO_COUNT:
        return None
    failed, span = failed_of_late(member, now)
    by_client, by_others = failed * share / span, failed * (1 - share) / span
    others = usual if by_client > NEWCOMER * usual else max(usual, present) - by_client
    if others < FEWEST_OTHERS * usual:
        return None
    return by_others < SERVED_SHARE * others
