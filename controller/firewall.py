"""The virtual firewall: ordered rules as flow entries in table 2, so they hold while the controller is away.

A rule judges a connection by its *original* direction. New connections are judged by their first packet; established ones, where
the policy wants it (`cut_established`), by the original tuple the tracker keeps, so both directions fall together and replies of
what is allowed always pass. What only the controller can do, it does: a `reject` is answered by a RST or an ICMP error of ours, and a
rule that asks for judgement sends its first packets up (table 11, `inspection.py`).

A TCP rule judges what begins a connection: a SYN, and the probes that begin none (no flags, FIN, Xmas). Unknown segments with ACK, and
resets, may belong to a connection that is tracked at the initiator's edge, and that edge has judged it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from controller.addresses import FAMILIES, Family, Fields, families_of
from controller.classifier import Classifier, FirstPacket, prefix_of
from controller.flows import FlowEntry, MaskedValue, MeterEntry, Punt, Purpose, match
from controller.pipeline import ACK, EST, FROM_HOST, NEW, RST, SYN, TCP, UDP, Meter, Table
from controller.policy import Firewall, FirewallDefault, Rule, RuleAction, zone_number
from controller.ranking import rank
from controller.zoning import FROM, TO

FIRST_PRIORITY, LAST_PRIORITY = 1_000, 60_000
"""Rules have priorities in between, as their order wants; a rule's meter has the number of its priority."""
DEFAULT_PRIORITY = 900
DEFAULT_ID = "default"
_A_SYN, _BEGINS_NOTHING, _EITHER = (SYN, SYN | ACK | RST), (0, SYN | ACK | RST), (0, ACK | RST)
WHOLE_FRAME = 0xFFFF


class Judged(NamedTuple):
    """A rule with its place: lower rank is looked at first."""

    rank: int
    rule: Rule


def in_order(rules: Iterable[Rule]) -> list[Judged]:
    """Higher priority first, then the order of the policy."""
    ordered = sorted(enumerate(rules), key=lambda item: (-item[1].priority, item[0]))
    return [Judged(rank, rule) for rank, (_, rule) in enumerate(ordered)]


def port_masks(first: int, last: int) -> Iterator[MaskedValue]:
    """The fewest (value, mask) pairs that match the ports `first` to `last` (0 to 65535) and no other."""
    while first <= last:
        size = first & -first or 1 << 16
        while first + size - 1 > last:
            size >>= 1
        yield first, 0xFFFF & ~(size - 1)
        first += size


def merged(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same ports as disjoint ranges, in order."""
    first = last = -1
    for low, high in sorted(ranges):
        if first < 0:
            first, last = low, high
        elif low <= last + 1:
            last = max(last, high)
        else:
            yield first, last
            first, last = low, high
    if first >= 0:
        yield first, last


def protocols(family: Family) -> dict[str, int]:
    """Protocol numbers by the names that rules use: `icmp` is each family's own."""
    return {"tcp": TCP, "udp": UDP, "icmp": family.icmp}


def priorities(rules: Iterable[Rule], known: Mapping[str, int]) -> dict[str, int]:
    """The priority of each rule by its id; those that are `known` stay where the order allows it."""
    return rank([judged.rule.id for judged in in_order(rules)], known, FIRST_PRIORITY, LAST_PRIORITY)


def entries(firewall: Firewall, rules: tuple[Rule, ...]) -> Iterator[FlowEntry]:
    """The entries of the rules and the default, for any switch that hosts are attached to."""
    numbers = priorities(rules, {})
    for rule in rules:
        yield from rule_entries(rule, numbers[rule.id], firewall.cut_established)
    yield from default_entries(firewall.default)


def meters(rules: tuple[Rule, ...]) -> Iterator[MeterEntry]:
    """A meter for each rule that limits."""
    numbers = priorities(rules, {})
    yield from (meter for rule in rules if (meter := rule_meter(rule, numbers[rule.id])))


def rule_meter(rule: Rule, priority: int) -> MeterEntry | None:
    """The meter of a rule that limits."""
    if rule.rate_pps is None or rule.dry_run:
        return None
    return MeterEntry(priority, rule.rate_pps, max(1, rule.rate_pps // 10))


def default_entries(default: FirewallDefault) -> Iterator[FlowEntry]:
    """What begins a connection that no rule is about, where it shall not pass."""
    if default is FirewallDefault.ALLOW:
        return
    actions = (Punt(Meter.FIREWALL),) if default is FirewallDefault.REJECT else ()
    purpose = Purpose.REJECTED if actions else Purpose.FIREWALL
    for family in FAMILIES:
        for fields in _new(family, None, {}, (), _EITHER):
            counts = ("rule", DEFAULT_ID)
            yield FlowEntry(Table.FIREWALL, DEFAULT_PRIORITY, match(**fields), purpose, actions, counts=counts)


def rule_entries(rule: Rule, priority: int, cut_established: bool) -> Iterator[FlowEntry]:
    """The entries of one rule. One that is only tried out has none here (`observation.py`)."""
    if rule.dry_run:
        return
    counts = ("rule", rule.id)
    meter = priority if rule.action is RuleAction.LIMIT else None
    for family in families_of(rule.src, rule.dst):
        yield from _first_packets(rule, family, priority, meter)
        if not (cut_established or meter):
            continue
        purpose, actions = _refusal(rule)
        for fields in _established(family, rule):
            goto = Table.RESETS if rule.passes else None
            yield FlowEntry(Table.FIREWALL, priority, match(**fields), purpose, actions, goto, meter, counts=counts)


def _refusal(rule: Rule) -> tuple[Purpose, tuple[Punt, ...]]:
    if rule.action is RuleAction.REJECT:
        return Purpose.REJECTED, (Punt(Meter.FIREWALL),)
    return Purpose.FIREWALL, ()


def _first_packets(rule: Rule, family: Family, priority: int, meter: int | None) -> Iterator[FlowEntry]:
    counts, ends = ("rule", rule.id), _addresses(rule, family.src, family.dst)
    ports = tuple(merged(rule.port_ranges()))
    purpose, actions = _refusal(rule)
    if rule.log and not rule.inspected and rule.action is not RuleAction.REJECT:
        purpose, actions = Purpose.LOGGED, (Punt(Meter.LOG),)
    if not rule.passes:
        if rule.inspected:
            purpose, actions = Purpose.INSPECTED, (Punt(Meter.INSPECT, WHOLE_FRAME),)
        for fields in _new(family, rule.protocol, ends, ports, _EITHER):
            yield FlowEntry(Table.FIREWALL, priority, match(**fields), purpose, actions, counts=counts)
        return
    goto = Table.INSPECT if rule.inspected else Table.BALANCE
    for fields in _new(family, rule.protocol, ends, ports, _A_SYN):
        yield FlowEntry(Table.FIREWALL, priority, match(**fields), purpose, actions, goto, meter, counts=counts)
    if rule.protocol in (None, "tcp"):
        # What begins nothing passes as if there were no rules, and no later rule has a say in it.
        for fields in _new(family, "tcp", ends, ports, _BEGINS_NOTHING):
            yield FlowEntry(
                Table.FIREWALL, priority, match(**fields), Purpose.FIREWALL, goto=Table.ROUTE, counts=counts
            )


def first_packet_fields(rule: Rule) -> Iterator[Fields]:
    """What the rule judges of new connections, as match fields."""
    for family in families_of(rule.src, rule.dst):
        ends = _addresses(rule, family.src, family.dst)
        yield from _new(family, rule.protocol, ends, tuple(merged(rule.port_ranges())), _A_SYN)


def any_first_packet_fields() -> Iterator[Fields]:
    """What begins any connection, as match fields."""
    for family in FAMILIES:
        yield from _new(family, None, {}, (), _A_SYN)


def _addresses(rule: Rule, source: str, destination: str) -> Fields:
    fields: Fields = {}
    if rule.src is not None:
        fields[source] = prefix_of(rule.src)
    if rule.dst is not None:
        fields[destination] = prefix_of(rule.dst)
    if rule.from_zone is not None:
        fields[FROM] = zone_number(rule.from_zone)
    if rule.to_zone is not None:
        fields[TO] = zone_number(rule.to_zone)
    return fields


def first_packets(zones: Fields, only_syn: bool = False) -> Iterator[Fields]:
    """What begins any connection between zones, as match fields; of what begins nothing too, unless `only_syn`."""
    for family in FAMILIES:
        yield from _new(family, None, zones, (), _A_SYN if only_syn else _EITHER)


def _new(
    family: Family, protocol: str | None, addresses: Fields, ports: tuple[tuple[int, int], ...], flags: MaskedValue
) -> Iterator[Fields]:
    """What begins a connection that the rule is about; of TCP segments those with these flags."""
    here = family.fields(reg0=FROM_HOST, ct_state=(NEW, NEW), **addresses)
    for name, number in protocols(family).items():
        if protocol not in (None, name):
            continue
        fields = {**here, "ip_proto": number}
        if name == "tcp":
            fields["tcp_flags"] = flags
        masks = [mask for first, last in ports for mask in port_masks(first, last)]
        yield from ({**fields, f"{name}_dst": mask} for mask in masks) if masks else (fields,)


def _established(family: Family, rule: Rule) -> Iterator[Fields]:
    """Both directions of known connections that the rule is about, by the tuple they began with."""
    here = family.fields(ct_state=(EST, EST), **_addresses(rule, family.ct_src, family.ct_dst))
    for name, number in protocols(family).items():
        if rule.protocol not in (None, name):
            continue
        fields = {**here, "ct_nw_proto": number}
        masks = [mask for first, last in merged(rule.port_ranges()) for mask in port_masks(first, last)]
        yield from ({**fields, "ct_tp_dst": mask} for mask in masks) if masks else (fields,)


def verdict(firewall: Firewall, rules: Iterable[Rule], src: int, dst: int, dst_port: int) -> tuple[str, str]:
    """(action, rule id) for a new TCP connection between two addresses: what the entries do, read off the rules."""
    enforced = Classifier(judged.rule for judged in in_order(rules) if not judged.rule.dry_run)
    rule = enforced.first(FirstPacket(src, dst, TCP, 0, dst_port))
    return (rule.action.value, rule.id) if rule else (firewall.default.value, DEFAULT_ID)
