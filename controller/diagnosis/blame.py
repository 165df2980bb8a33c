"""Whose is it: a link on the way, one client, or the member itself.

What a member's clients suffer speaks against the member last: a full link on the way of those who suffer explains it, and so does a
client that fails where all others are served.
"""

from __future__ import annotations

from controller import addresses
from controller.diagnosis.evidence import Evidence, MemberEvidence
from controller.diagnosis.features import (
    FAILING_SPAN_S,
    FEWEST_TO_COUNT,
    Feature,
    affected_clients,
    client_features,
    failed_of_late,
    link_feature,
    member_features,
    probes_failed,
)
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
ENOUGH_OTHERS = 6.0
"""Connections that others must have had: that none of two failed is chance."""
FEWEST_GAVE_UP = 1.5
"""Of a decayed count: two within seconds. Most who wait in vain go without a reset."""
UNDECIDED_S = 2.5
"""Flow counters lag about a second: for so long it may stay open whether others are served."""
_OF_POOL = frozenset({"peers", "failing", "giving-up", "latency", "load", "limit"})
"""Features of a member that speak about its guilty client, too."""
FEWEST_PROBES = 2
"""One lost probe is nothing."""
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
        return self._features(state, self._way(state, now)[0], now)

    def _features(self, state: MemberState, way: Feature | None, now: float) -> list[Feature]:
        peers = [peer.number for peer in self.services.pools.of(state.pool) if peer is not state]
        return member_features(state.number, self.evidence, peers, way, now)

    def suspect(self, state: MemberState, now: float) -> tuple[Subject | None, list[Feature]]:
        """Who is to be looked into for what a member's clients suffer, and what speaks about it; None: too early to say."""
        evidence = self.evidence.member(state.number)
        way, link = self._way(state, now)
        features = self._features(state, way, now)
        pattern = evidence.tally.dominant(now)
        if link is not None and pattern not in NOT_BY_LINKS:
            return Subject(SubjectType.LINK, link), features
        own = Subject(SubjectType.MEMBER, f"{state.pool}/{state.policy.name}")
        affected = affected_clients(evidence, now)
        client = max(affected, key=lambda one: (affected[one], one), default=None)
        guilty = client is not None and affected[client] >= GUILTY_SHARE * affected.total()
        if pattern in (None, Pattern.REFUSED) or client is None or not guilty or not _probed_well(features):
            return own, features
        served = _others_are_served(evidence, client, now)
        began, _ = evidence.tally.runs[pattern]
        if served is None and now - began < UNDECIDED_S:
            return None, features
        if not served:
            return own, features
        whole = client_features(self.evidence.client(client), self.evidence, way, now)
        features = [feature for feature in features if feature.name in _OF_POOL]
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
        began = evidence.tally.burst_began
        silent = any(outcome is Outcome.TIMED_OUT and at >= began for at, outcome in evidence.probes)
        return silent or bool(self._congestion(state, now)[0])

    def _way(self, state: MemberState, now: float) -> tuple[Feature | None, str | None]:
        """(what speaks about the way to a member, the link that explains what its clients suffer).

        Own probes are handed to the member at its own port: a full link elsewhere does not explain why they failed since this began, even
        if they succeed again, since it gets less to do.
        """
        congested, link = self._congestion(state, now)
        host = self.ways.topology.hosts.get(state.address)
        crossed = host is not None and link == self.ways.name_of(host.endpoint)
        evidence = self.evidence.member(state.number)
        beside = not crossed and probes_failed(evidence, evidence.tally.burst_began) >= FEWEST_PROBES
        return link_feature(congested, probes_fail_too=beside), link if congested and not beside else None

    def _congestion(self, state: MemberState, now: float) -> tuple[bool | None, str | None]:
        member, clients = self._ends(state, now)
        return (None, None) if member is None else self.ways.congestion(member, clients, now)

    def _ends(self, state: MemberState, now: float) -> tuple[Host | None, list[tuple[Host, float]]]:
        """Where the member lives, and the clients it failed of late, each with its share of the failures."""
        hosts = self.ways.topology.hosts
        affected = affected_clients(self.evidence.member(state.number), now)
        lost = affected.total()
        return hosts.get(state.address), [(hosts[one], count / lost) for one, count in affected.items() if one in hosts]


def _probed_well(features: list[Feature]) -> bool:
    return all(feature.value in ("well", "open") for feature in features if feature.name == "probe")


def _others_are_served(member: MemberEvidence, client: int, now: float) -> bool | None:
    """Whether a member does well but for one client; None while nobody knows.

    To be the only one who suffers is no guilt where nobody else asks.
    """
    usual, present = member.connections.usual, member.connections.of_late
    failed, span = failed_of_late(member, now)
    if usual is None or present is None or failed < FEWEST_TO_COUNT:
        return None
    its_own = sum(one.client == client for one in member.alike(FAILING_SPAN_S, now))
    by_client, by_others = its_own / span, (failed - its_own) / span
    others = usual if by_client > NEWCOMER * usual else max(usual, present) - by_client
    if others < FEWEST_OTHERS * usual or others * span < ENOUGH_OTHERS:
        return None
    return by_others < SERVED_SHARE * others
