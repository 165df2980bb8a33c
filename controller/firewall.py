"""The virtual firewall: ordered rules as flow entries in table 2, so they hold while the controller is away.

A rule judges a connection by its *original* direction. New connections are judged by their first packet; established ones, where
the policy wants it (`cut_established`), by the original tuple the tracker keeps, so both directions fall together and replies of
what is allowed always pass. What only the controller can do, it does: a `reject` is answered by a RST or an ICMP error of ours.

Without ports a TCP rule judges SYNs only: other unknown segments may be replies of a connection that is tracked at the initiator's
edge, and that edge has judged it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from controller.addresses import FAMILIES, Family, Fields, families_of, prefix, within
from controller.flows import FlowEntry, MaskedValue, MeterEntry, Punt, Purpose, match
from controller.pipeline import ACK, EST, FROM_HOST, NEW, SYN, TCP, UDP, Meter, Table
from controller.policy import Firewall, FirewallDefault, Rule, RuleAction, Schedule

HIGHEST_PRIORITY = 60_000
DEFAULT_PRIORITY = 900
FIRST_METER = 1000
DEFAULT_ID = "default"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


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


def protocols(family: Family) -> dict[str, int]:
    """Protocol numbers by the names that rules use: `icmp` is each family's own."""
    return {"tcp": TCP, "udp": UDP, "icmp": family.icmp}


def is_active(schedule: Schedule | None, now: float) -> bool:
    """Whether a rule with this schedule applies at a time (s since the epoch)."""
    if schedule is None:
        return True
    local = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(schedule.timezone))
    minutes = local.strftime("%H:%M")
    overnight = schedule.end < schedule.start
    if overnight and minutes < schedule.end:
        day = local - timedelta(days=1)
    elif (overnight and minutes >= schedule.start) or (not overnight and schedule.start <= minutes < schedule.end):
        day = local
    else:
        return False
    return not schedule.days or _DAYS[day.weekday()] in schedule.days


def active_rules(firewall: Firewall, now: float) -> tuple[Rule, ...]:
    """The rules whose schedule lets them apply."""
    return tuple(rule for rule in firewall.rules if is_active(rule.schedule, now))


def entries(firewall: Firewall, rules: tuple[Rule, ...]) -> Iterator[FlowEntry]:
    """The rules' entries, for any switch that hosts are attached to."""
    for judged in in_order(rules):
        yield from _rule_entries(judged, firewall.cut_established)
    if firewall.default is not FirewallDefault.ALLOW:
        actions = (Punt(Meter.FIREWALL),) if firewall.default is FirewallDefault.REJECT else ()
        purpose = Purpose.REJECTED if actions else Purpose.FIREWALL
        for fields in (fields for family in FAMILIES for fields in _new(family, None, {}, ())):
            yield FlowEntry(
                Table.FIREWALL, DEFAULT_PRIORITY, match(**fields), purpose, actions, counts=("rule", DEFAULT_ID)
            )


def meters(rules: tuple[Rule, ...]) -> Iterator[MeterEntry]:
    """A meter for each rule that limits."""
    for judged in in_order(rules):
        if judged.rule.rate_pps is not None:
            yield MeterEntry(FIRST_METER + judged.rank, judged.rule.rate_pps, max(1, judged.rule.rate_pps // 10))


def _rule_entries(judged: Judged, cut_established: bool) -> Iterator[FlowEntry]:
    rule = judged.rule
    priority, counts = HIGHEST_PRIORITY - judged.rank, ("rule", rule.id)
    meter = FIRST_METER + judged.rank if rule.action is RuleAction.LIMIT else None
    passes = rule.action in (RuleAction.ALLOW, RuleAction.LIMIT)
    actions = (Punt(Meter.FIREWALL),) if rule.action is RuleAction.REJECT else ()
    purpose = Purpose.REJECTED if actions else Purpose.FIREWALL
    for family in families_of(rule.src, rule.dst):
        ends = _addresses(rule, family.src, family.dst)
        for fields in _new(family, rule.protocol, ends, rule.port_ranges(), only_syn=passes):
            goto = Table.BALANCE if passes else None
            yield FlowEntry(Table.FIREWALL, priority, match(**fields), purpose, actions, goto, meter, counts=counts)
        for fields in _established(family, rule) if cut_established or meter else ():
            goto = Table.RESETS if passes else None
            yield FlowEntry(Table.FIREWALL, priority, match(**fields), purpose, actions, goto, meter, counts=counts)


def _addresses(rule: Rule, source: str, destination: str) -> Fields:
    fields: Fields = {}
    if rule.src is not None:
        fields[source] = prefix(rule.src)
    if rule.dst is not None:
        fields[destination] = prefix(rule.dst)
    return fields


def _new(
    family: Family, protocol: str | None, addresses: Fields, ports: tuple[tuple[int, int], ...], only_syn: bool = False
) -> Iterator[Fields]:
    """What begins a connection that the rule is about."""
    here = family.fields(reg0=FROM_HOST, ct_state=(NEW, NEW), **addresses)
    for name, number in protocols(family).items():
        if protocol not in (None, name):
            continue
        fields = {**here, "ip_proto": number}
        if name == "tcp" and (only_syn or not ports):
            fields["tcp_flags"] = (SYN, SYN | ACK)
        masks = [mask for first, last in ports for mask in port_masks(first, last)]
        yield from ({**fields, f"{name}_dst": mask} for mask in masks) if masks else (fields,)


def _established(family: Family, rule: Rule) -> Iterator[Fields]:
    """Both directions of known connections that the rule is about, by the tuple they began with."""
    here = family.fields(ct_state=(EST, EST), **_addresses(rule, family.ct_src, family.ct_dst))
    for name, number in protocols(family).items():
        if rule.protocol not in (None, name):
            continue
        fields = {**here, "ct_nw_proto": number}
        masks = [mask for first, last in rule.port_ranges() for mask in port_masks(first, last)]
        yield from ({**fields, "ct_tp_dst": mask} for mask in masks) if masks else (fields,)


def verdict(firewall: Firewall, rules: Iterable[Rule], src: int, dst: int, dst_port: int) -> tuple[str, str]:
    """(action, rule id) for a new TCP connection between two addresses: what the entries do, read off the rules."""
    for judged in in_order(rules):
        rule = judged.rule
        in_ports = not rule.dst_ports or any(low <= dst_port <= high for low, high in rule.port_ranges())
        if rule.protocol in (None, "tcp") and in_ports and within(src, rule.src) and within(dst, rule.dst):
            return rule.action.value, rule.id
    return firewall.default.value, DEFAULT_ID


def shadowed(rules: Iterable[Rule]) -> list[tuple[Rule, Rule]]:
    """(rule, the earlier one that takes everything it could match) for each rule that can never act."""
    ordered = [judged.rule for judged in in_order(rules)]
    pairs = []
    for position, rule in enumerate(ordered):
        earlier = next((other for other in ordered[:position] if _covers(other, rule)), None)
        if earlier is not None:
            pairs.append((rule, earlier))
    return pairs


def _covers(wide: Rule, narrow: Rule) -> bool:
    if wide.schedule is not None and wide.schedule != narrow.schedule:
        return False
    if wide.protocol not in (None, narrow.protocol):
        return False
    if not (_contains(wide.src, narrow.src) and _contains(wide.dst, narrow.dst)):
        return False
    ports = narrow.port_ranges()
    return not wide.dst_ports or (
        bool(ports)
        and all(any(low <= first and last <= high for low, high in wide.port_ranges()) for first, last in ports)
    )


def _contains(wide: str | None, narrow: str | None) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    outer, inner = ipaddress.ip_network(wide, strict=False), ipaddress.ip_network(narrow, strict=False)
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]
