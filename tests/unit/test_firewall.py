"""Rules to entries: what they judge, what they leave alone, and how unknown connections are taken up after a restart."""

import pytest

from controller.firewall import DEFAULT_PRIORITY, entries, meters, priorities
from controller.flows import FlowEntry, Punt, Purpose
from controller.pipeline import ACK, EST, ICMP, ICMPV6, IPV4, IPV6, NEW, RST, SYN, Table
from controller.policy import Firewall
from controller.rule_review import shadowed
from controller.tracking import admit, end_connections


def planned(**parts: object) -> list[FlowEntry]:
    firewall = Firewall.model_validate(parts)
    return list(entries(firewall, firewall.rules))


def rule(**fields: object) -> dict[str, object]:
    return {"action": "drop", **fields}


def test_without_ports_only_what_begins_a_connection_is_judged() -> None:
    judged = planned(rules=[rule(protocol="tcp", src="0.0.0.0/0")], cut_established=False)
    assert [entry.match.get("tcp_flags") for entry in judged] == [(0, ACK | RST)], "SYN, and FIN, Xmas and null probes"


def test_a_segment_of_a_connection_tracked_elsewhere_is_not_judged_by_its_port() -> None:
    """The server of a connection from another edge answers to a client port; a rule about that port is not about the answer."""
    judged = planned(rules=[rule(protocol="tcp", dst_ports=["1024-65535"])], cut_established=False)
    assert {entry.match.get("tcp_flags") for entry in judged} == {(0, ACK | RST)}


def test_ports_named_twice_are_matched_once() -> None:
    judged = planned(
        rules=[rule(protocol="udp", dst="10.0.0.0/8", dst_ports=["80-90", 85, "91-95", "80-90"])], cut_established=False
    )
    assert [entry.match.get("udp_dst") for entry in judged] == [(80, 0xFFF0)]


def test_an_allowed_port_is_shielded_from_a_later_drop_for_probes_too() -> None:
    allow = rule(action="allow", protocol="tcp", dst="10.0.0.9", dst_ports=[80], priority=9)
    first, probe = list(planned(rules=[allow, rule()], cut_established=False))[:2]
    assert (first.match.get("tcp_flags"), first.goto) == ((SYN, SYN | ACK | RST), Table.BALANCE)
    assert (probe.match.get("tcp_flags"), probe.goto) == ((0, SYN | ACK | RST), Table.ROUTE)


def test_what_is_allowed_goes_on_as_if_there_were_no_rules() -> None:
    judged = planned(rules=[rule(action="allow", protocol="tcp", dst_ports=[80])], cut_established=False)
    begun = [entry for entry in judged if entry.goto == Table.BALANCE]
    assert [(entry.actions, entry.match.get("tcp_flags")) for entry in begun] == [((), (SYN, SYN | ACK | RST))] * 2


@pytest.mark.parametrize(
    ("ends", "families"),
    [({}, {IPV4, IPV6}), ({"src": "10.0.0.0/8"}, {IPV4}), ({"dst": "fd00::64"}, {IPV6}), ({"src": "::/0"}, {IPV6})],
)
def test_a_rule_is_about_the_families_of_its_addresses_or_both(ends: dict[str, str], families: set[int]) -> None:
    judged = planned(rules=[rule(protocol="icmp", **ends)])
    assert {entry.match.get("eth_type") for entry in judged} == families
    own = {IPV4: ICMP, IPV6: ICMPV6}
    new = [entry for entry in judged if entry.match.get("ct_state") == (NEW, NEW)]
    assert {entry.match.get("ip_proto") for entry in new} == {own[family] for family in families}


def test_established_connections_are_judged_by_the_direction_they_began_in() -> None:
    judged = planned(rules=[rule(src="10.0.1.0/24", protocol="tcp", dst_ports=[80])])
    (established,) = [entry for entry in judged if entry.match.get("ct_state") == (EST, EST)]
    assert established.match.get("ct_nw_src") == (0x0A000100, 0xFFFFFF00)
    assert established.match.get("ct_tp_dst") == (80, 0xFFFF)
    assert established.match.get("reg0") is None, "replies come from the fabric too"


def test_a_limit_has_a_meter_of_its_own_for_both_directions_of_what_it_is_about() -> None:
    firewall = Firewall.model_validate({"rules": [rule(), rule(action="limit", rate_pps=100, protocol="udp")]})
    (meter,) = meters(firewall.rules)
    assert (meter.meter_id, meter.rate_pps, meter.burst) == (
        priorities(firewall.rules, {})[firewall.rules[1].id],
        100,
        10,
    )
    limited = [entry for entry in entries(firewall, firewall.rules) if entry.meter_id is not None]
    assert {entry.match.get("ct_state") for entry in limited} == {(NEW, NEW), (EST, EST)}


def test_the_last_of_many_rules_still_comes_before_the_default() -> None:
    many = [rule(id=f"r{number}", dst=f"10.{number >> 8}.{number & 255}.1") for number in range(10_000)]
    lowest = min(entry.priority for entry in planned(rules=many, default="drop") if entry.counts != ("rule", "default"))
    assert lowest > DEFAULT_PRIORITY > max(entry.priority for entry in admit(1, []))


@pytest.mark.parametrize(("default", "purpose"), [("drop", Purpose.FIREWALL), ("reject", Purpose.REJECTED)])
def test_the_default_takes_what_begins_and_no_rule_took(default: str, purpose: Purpose) -> None:
    taken = planned(default=default)
    judged = {(entry.match.get("eth_type"), entry.match.get("ip_proto")) for entry in taken}
    assert judged == {(IPV4, ICMP), (IPV4, 6), (IPV4, 17), (IPV6, ICMPV6), (IPV6, 6), (IPV6, 17)}
    assert {(entry.purpose, entry.goto) for entry in taken} == {(purpose, None)}
    assert all(entry.match.get("ct_state") == (NEW, NEW) for entry in taken)


def test_a_rule_under_a_wider_one_is_named_with_the_one_above_it() -> None:
    wide, narrow = (
        rule(id="wide", dst="10.0.0.0/8"),
        rule(id="narrow", dst="10.0.1.1", protocol="tcp", dst_ports=["80-90"]),
    )
    night = {"start": "22:00", "end": "06:00"}
    for rules, found in (
        ([wide, narrow], [("narrow", "wide")]),
        ([narrow, wide], []),
        ([{**narrow, "priority": 1}, {**wide, "priority": 9}], [("narrow", "wide")]),
        ([{**wide, "schedule": night}, narrow], []),
        ([{**wide, "schedule": night}, {**narrow, "schedule": night}], [("narrow", "wide")]),
        ([{**narrow, "id": "ports", "dst_ports": ["1-1000"]}, narrow], [("narrow", "ports")]),
        ([{**narrow, "id": "ports", "dst_ports": [80]}, narrow], []),
    ):
        firewall = Firewall.model_validate({"rules": rules})
        assert [(below.id, above.id) for below, above in shadowed(firewall.rules)] == found


def test_connections_that_are_over_are_shown_to_the_controller_and_passed_on_to_nobody() -> None:
    for entry in end_connections([7]):
        assert entry.purpose is Purpose.ENDED and entry.match.get("ct_state") == (EST, EST)
        assert entry.priority > max(known.priority for known in admit(1, []))
        assert entry.goto is None and [type(action) for action in entry.actions] == [Punt]
