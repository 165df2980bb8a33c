"""New connections that were seen, and what rules that are only tried out would have done with them.

Table 12 stands before the firewall where a rule is tried out (`dry_run`), or everything shall be seen (`observe`): it shows first
packets to the controller and sends all of them on to table 2. What was seen is kept for an hour, at most `MAX_SEEN` kinds of it, where a
kind is everything but the source port.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controller import addresses, firewall
from controller.classifier import Classifier, FirstPacket
from controller.flows import FlowEntry, Punt, Purpose, Resubmit, match
from controller.pipeline import Meter, Table
from controller.policy import Firewall, FirewallDefault, Rule

KEPT_S = 3600.0
MAX_SEEN = 10_000
_ON = Resubmit(Table.FIREWALL)
EVERYTHING = 1


def wanted(settings: Firewall, rules: Iterable[Rule]) -> bool:
    """Whether first packets are shown at all."""
    return settings.observe or any(rule.dry_run for rule in rules)


def entries(settings: Firewall, rules: tuple[Rule, ...], priorities: Mapping[str, int]) -> Iterator[FlowEntry]:
    """Table 12. A rule above one that is tried out takes its packets away from it, so it stands here too."""
    if not wanted(settings, rules):
        return
    shown = (Punt(Meter.OBSERVE), _ON)
    lowest = min((priorities[rule.id] for rule in rules if rule.dry_run), default=LAST)
    for rule in rules:
        if priorities[rule.id] < lowest:
            continue
        for fields in firewall.first_packet_fields(rule):
            actions = shown if rule.dry_run or settings.observe else (_ON,)
            counts = ("rule", rule.id) if rule.dry_run else None
            purpose = Purpose.OBSERVED
            yield FlowEntry(Table.OBSERVE, priorities[rule.id], match(**fields), purpose, actions, counts=counts)
    if settings.observe:
        for fields in firewall.any_first_packet_fields():
            yield FlowEntry(Table.OBSERVE, EVERYTHING, match(**fields), Purpose.OBSERVED, shown)
    for family in addresses.FAMILIES:
        yield FlowEntry(Table.OBSERVE, 0, family.match(), Purpose.FIREWALL, (_ON,))


LAST = firewall.LAST_PRIORITY + 1


class Seen(NamedTuple):
    """Connections of one kind: everything but their source ports is the same."""

    src: int
    dst: int
    protocol: int
    dst_port: int
    from_zone: int = 0
    to_zone: int = 0


@dataclass(slots=True)
class Times:
    """When, and how often: samples, above the meter's rate there were more."""

    first: float
    last: float
    count: int


class WouldRefuse(NamedTuple):
    """What a rule would have refused that passed: `rule` is None for the default."""

    rule: str | None
    action: str
    seen: Seen
    times: Times


class Observations:
    """New connections of the last hour."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Seen, Times] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, packet: FirstPacket, now: float) -> None:
        """A first packet was shown."""
        kind = Seen(packet.src, packet.dst, packet.protocol, packet.dst_port, packet.from_zone, packet.to_zone)
        times = self._seen.get(kind)
        if times is None or now - times.last > KEPT_S:
            self._seen[kind] = Times(now, now, 1)
        else:
            times.last, times.count = now, times.count + 1
        self._seen.move_to_end(kind)
        while len(self._seen) > MAX_SEEN or now - next(iter(self._seen.values())).last > KEPT_S:
            self._seen.popitem(last=False)

    def would_refuse(
        self, in_force: tuple[Classifier, str], tried: tuple[Classifier, str], now: float
    ) -> Iterator[WouldRefuse]:
        """What `tried` (rules and default) would have refused of what was seen and `in_force` let pass, latest first."""
        for kind, times in reversed(self._seen.items()):
            if now - times.last > KEPT_S:
                return
            packet = FirstPacket(kind.src, kind.dst, kind.protocol, 0, kind.dst_port, kind.from_zone, kind.to_zone)
            _, action = decide(*in_force, packet)
            rule, would = decide(*tried, packet)
            if action in PASSING and would not in PASSING:
                yield WouldRefuse(rule.id if rule else None, would, kind, times)


PASSING = ("allow", "limit")


def decide(rules: Classifier, default: str | FirewallDefault, packet: FirstPacket) -> tuple[Rule | None, str]:
    """The rule that decides on a packet (None: the default), and its action."""
    rule = rules.first(packet)
    return rule, rule.action.value if rule else str(default)
