"""The pipeline as data: an entry that breaks it fails here, not on a switch."""

import pytest

from controller.flows import Ct, FlowEntry, Purpose, Resubmit, match, purpose_of
from controller.pipeline import CLIENT_DATA_SEEN as ASKED
from controller.pipeline import (
    FIN_SEEN,
    IPV4,
    IPV6,
    KNOWN,
    MEMBER_MASK,
    METER_RATES,
    REDISPATCH,
    RULES,
    SYN_ACK_SEEN,
    TCP,
    VIP_MASK,
    VIP_SHIFT,
    Meter,
    PipelineError,
    Table,
    check,
    mark,
)
from controller.pipeline import MEMBER_DATA_SEEN as ANSWERED


def entry(table: Table, goto: Table | None = None, *actions: object, **fields: object) -> FlowEntry:
    return FlowEntry(table, 10, match(**fields), Purpose.FIREWALL, actions, goto)  # type: ignore[arg-type]


def test_a_proper_entry_passes() -> None:
    check(entry(Table.FIREWALL, Table.BALANCE, eth_type=IPV4, ip_proto=TCP, tcp_dst=80, ct_state=(1, 1), reg0=1))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (entry(Table.FIREWALL, in_port=1), "does not match in_port"),
        (entry(Table.NEIGHBOUR, eth_type=IPV4, ipv4_dst=1), "does not match ipv4_dst"),
        (entry(Table.FIREWALL, ipv4_dst=1), "ipv4_dst needs eth_type"),
        (entry(Table.FIREWALL, eth_type=IPV4, tcp_dst=80), "tcp_dst needs ip_proto"),
        (entry(Table.FIREWALL, eth_type=IPV4, ip_proto=17, tcp_dst=80), "tcp_dst needs ip_proto"),
        (entry(Table.FIREWALL, eth_type=IPV6, ipv4_dst=1), "ipv4_dst needs eth_type=0x800"),
        (entry(Table.FIREWALL, eth_type=IPV4, ct_ipv6_src=1), "ct_ipv6_src needs eth_type=0x86dd"),
        (entry(Table.FIREWALL, eth_type=IPV6, ip_proto=1, icmpv6_type=128), "icmpv6_type needs ip_proto=0x3a"),
        (
            entry(Table.NEIGHBOUR, eth_type=IPV6, ip_proto=58, icmpv6_type=128, ipv6_nd_target=1),
            "ipv6_nd_target needs icmpv6_type=0x87 or 0x88",
        ),
        (entry(Table.FIREWALL, eth_type=IPV4, ct_state=(3, 1)), "outside its mask"),
        (entry(Table.FIREWALL, Table.HOLD, eth_type=IPV4), "does not go to table 7"),
        (entry(Table.ROUTE, Table.BALANCE, eth_type=IPV4), "does not go to table 4"),
        (entry(Table.BALANCE, Table.ROUTE, Ct(1, Table.ROUTE), eth_type=IPV4), "must not also go on"),
        (entry(Table.BALANCE, None, Resubmit(Table.BALANCE), eth_type=IPV4), "does not resubmit to itself"),
    ],
)
def test_what_breaks_it_is_refused_with_the_reason(broken: FlowEntry, why: str) -> None:
    with pytest.raises(PipelineError, match=why):
        check(broken)


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(ValueError, match="99"):
        check(FlowEntry(99, 1, match(), Purpose.FIREWALL))


def test_packets_go_up_the_tables() -> None:
    assert RULES.keys() == set(Table)
    for table, rules in RULES.items():
        assert all(target > table for target in rules.goto)


def test_the_parts_of_a_mark_do_not_overlap() -> None:
    parts = [SYN_ACK_SEEN, KNOWN, ASKED, ANSWERED, FIN_SEEN, REDISPATCH, VIP_MASK, MEMBER_MASK]
    assert sum(parts) == 0xFFFFFFFF and sum(part.bit_count() for part in parts) == 32
    highest = mark(vip=1023, member=0xFFFF, redispatch=True)
    assert highest & VIP_MASK == 1023 << VIP_SHIFT and highest & MEMBER_MASK == 0xFFFF
    assert highest & (SYN_ACK_SEEN | FIN_SEEN | ASKED | ANSWERED) == 0, "a connection begins with nothing seen"


def test_every_kind_of_punt_has_a_meter_of_its_own() -> None:
    assert METER_RATES.keys() == set(Meter)


def test_a_cookie_is_the_content_and_its_purpose() -> None:
    one = entry(Table.FIREWALL, Table.BALANCE, eth_type=IPV4, reg0=1)
    assert one.cookie == entry(Table.FIREWALL, Table.BALANCE, reg0=1, eth_type=IPV4).cookie
    assert purpose_of(one.cookie) is Purpose.FIREWALL
    others = [
        entry(Table.FIREWALL, Table.ROUTE, eth_type=IPV4, reg0=1),
        entry(Table.FIREWALL, Table.BALANCE, eth_type=IPV4, reg0=0),
        entry(Table.FIREWALL, Table.BALANCE, Resubmit(3), eth_type=IPV4, reg0=1),
        FlowEntry(Table.FIREWALL, 11, one.match, Purpose.FIREWALL, (), Table.BALANCE),
        FlowEntry(Table.FIREWALL, 10, one.match, Purpose.RESET, (), Table.BALANCE),
        FlowEntry(Table.FIREWALL, 10, one.match, Purpose.FIREWALL, (), Table.BALANCE, hard_timeout_s=1),
        FlowEntry(Table.FIREWALL, 10, one.match, Purpose.FIREWALL, (), Table.BALANCE, meter_id=1),
    ]
    assert len({each.cookie for each in [one, *others]}) == len(others) + 1
    counted = FlowEntry(Table.FIREWALL, 10, one.match, Purpose.FIREWALL, (), Table.BALANCE, counts=("rule", "r1"))
    assert counted.cookie == one.cookie, "what it counts is no part of what it does"
