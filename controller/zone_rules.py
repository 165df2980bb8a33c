"""What zones say beside the firewall's rules: defaults of their own, hosts that are not filtered, and what holds without the controller."""

from __future__ import annotations

from collections.abc import Iterator

from controller.addresses import FAMILIES, Fields
from controller.firewall import DEFAULT_ID, first_packets
from controller.flows import FlowEntry, Punt, Purpose, match
from controller.pipeline import EST, Meter, Table
from controller.policy import Firewall, FirewallDefault
from controller.zoning import CONTROLLER, FROM, TO, Zoning

UNFILTERED, CLOSED = 61_500, 61_000
"""Above every rule."""
WITHIN, STRICTNESS = 908, {FirewallDefault.DROP: 906, FirewallDefault.REJECT: 904, FirewallDefault.ALLOW: 902}
"""Between the rules and the firewall's own default: of what two zones say, the stricter holds."""


def entries(zoning: Zoning, firewall: Firewall) -> Iterator[FlowEntry]:
    """Table 2: all of it, for any switch that hosts are attached to."""
    for number in zoning.unfiltered:
        for fields in first_packets({FROM: number}, only_syn=True):
            yield FlowEntry(Table.FIREWALL, UNFILTERED, match(**fields), Purpose.FIREWALL, goto=Table.BALANCE)
        for family in FAMILIES:
            known = family.match(ct_state=(EST, EST), **{FROM: number})
            yield FlowEntry(Table.FIREWALL, UNFILTERED, known, Purpose.FIREWALL, goto=Table.RESETS)
    for number in zoning.closed:
        for end in (FROM, TO):
            for fields in first_packets({end: number, CONTROLLER: 0}):
                yield FlowEntry(Table.FIREWALL, CLOSED, match(**fields), Purpose.FIREWALL)
    yield from _defaults(zoning, firewall.default)


def _defaults(zoning: Zoning, of_the_firewall: FirewallDefault) -> Iterator[FlowEntry]:
    for zone in zoning.zones:
        number = zoning.numbers[zone.name]
        if zone.says_defaults:
            yield from _default(WITHIN, of_the_firewall, {FROM: number, TO: number}, DEFAULT_ID)
        for end, default in ((FROM, zone.default_from), (TO, zone.default_to)):
            if default is not None:
                yield from _default(STRICTNESS[default], default, {end: number}, f"{DEFAULT_ID}:{zone.name}")


def _default(priority: int, default: FirewallDefault, zones: Fields, name: str) -> Iterator[FlowEntry]:
    passes = default is FirewallDefault.ALLOW
    actions = (Punt(Meter.FIREWALL),) if default is FirewallDefault.REJECT else ()
    purpose = Purpose.REJECTED if actions else Purpose.FIREWALL
    goto = Table.BALANCE if passes else None
    for fields in first_packets(zones, only_syn=passes):
        yield FlowEntry(Table.FIREWALL, priority, match(**fields), purpose, actions, goto, counts=("rule", name))


def default_of(zoning: Zoning, firewall: Firewall, from_zone: int, to_zone: int) -> tuple[FirewallDefault, str]:
    """(what holds for a new connection between two zones that no rule is about, whose default that is)."""
    said: list[tuple[int, FirewallDefault, str]] = []
    if from_zone != to_zone:
        source, target = zoning.by_number.get(from_zone), zoning.by_number.get(to_zone)
        if source is not None and source.default_from is not None:
            said.append((STRICTNESS[source.default_from], source.default_from, source.name))
        if target is not None and target.default_to is not None:
            said.append((STRICTNESS[target.default_to], target.default_to, target.name))
    if not said:
        return firewall.default, DEFAULT_ID
    _, default, name = max(said)
    return default, f"{DEFAULT_ID}:{name}"
