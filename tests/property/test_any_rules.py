"""Rules as a switch carries them out, held against twenty lines that read them one by one."""

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from any_policy import firewalls, rules
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller import addresses, tracking
from controller.addresses import family_of
from controller.decisions import InstallFlow, SetMeter
from controller.firewall import entries, in_order, meters, port_masks
from controller.flows import MeterEntry, Purpose
from controller.pipeline import ACK, EST, FROM_HOST, ICMP, ICMPV6, METER_RATES, NEW, PSH, SYN, TCP, UDP, Table
from controller.policy import Firewall, Rule, Schedule
from controller.rule_review import shadowed
from controller.timetable import is_active
from topologies.model.headers import Icmp, Tcp, Udp, ip_header
from topologies.model.packet import CT_TRK, Original, Packet, Tracking
from topologies.model.switch import FakeSwitch

ZONE = 1
ADDRESSES = [
    [addresses.number(text) for text in texts]
    for texts in (
        ("10.0.1.1", "10.0.1.9", "10.0.2.2", "10.0.0.100", "192.0.2.7", "8.8.8.8"),
        ("fd00::1:1", "fd00::1:9", "fd00::2:2", "fd00::64", "2001:db8::7", "2620:fe::fe"),
    )
]
DST_PORTS = [80, 85, 443, 1000, 1500, 1999, 2000, 8080, 65535]
NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmp"}
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Connection = tuple[int, int, int, int]
"""(protocol, source, destination, destination port)."""
connections = st.one_of(
    st.tuples(
        st.sampled_from([TCP, UDP, icmp]),
        st.sampled_from(located),
        st.sampled_from(located),
        st.sampled_from(DST_PORTS),
    )
    for icmp, located in zip((ICMP, ICMPV6), ADDRESSES, strict=True)
)


# --- the rules, read one by one ------------------------------------------------------------------------------------------------


def concerns(rule: Rule, connection: Connection) -> bool:
    protocol, src, dst, port = connection
    return (
        rule.protocol in (None, NAMES[protocol])
        and all(
            prefix is None or ipaddress.ip_address(address) in ipaddress.ip_network(prefix)
            for prefix, address in ((rule.src, src), (rule.dst, dst))
        )
        and (not rule.dst_ports or any(low <= port <= high for low, high in rule.port_ranges()))
    )


def first(firewall: Firewall, connection: Connection) -> Rule | None:
    ordered = sorted(firewall.rules, key=lambda rule: -rule.priority)
    return next((rule for rule in ordered if concerns(rule, connection)), None)


def verdict(firewall: Firewall, connection: Connection) -> tuple[str, str | None]:
    """What becomes of the first packet of a connection, and by which rule."""
    rule = first(firewall, connection)
    if rule is None:
        return firewall.default.value, None if firewall.default == "allow" else "default"
    return ("allow" if rule.action == "limit" else rule.action.value), rule.id


def verdict_on_established(firewall: Firewall, connection: Connection) -> str:
    """What becomes of the packets of a connection that was open when the rules came."""
    judging = [rule for rule in firewall.rules if firewall.cut_established or rule.action == "limit"]
    rule = first(firewall.model_copy(update={"rules": tuple(judging)}), connection)
    return "allow" if rule is None or rule.action == "limit" else rule.action.value


# --- the rules, as a switch carries them out -----------------------------------------------------------------------------------


def switch_with(firewall: Firewall) -> FakeSwitch:
    switch = FakeSwitch(1, [1])
    known = [MeterEntry(meter, *rate) for meter, rate in METER_RATES.items()]
    for meter in (*known, *meters(firewall.rules)):
        assert switch.handle(SetMeter(1, meter, exists=False), 0.0) == []
    for entry in (*tracking.admit(ZONE, []), *entries(firewall, firewall.rules)):
        assert switch.handle(InstallFlow(1, entry), 0.0) == []
    return switch


def packet_of(connection: Connection, state: int, flags: int = SYN) -> Packet:
    protocol, src, dst, port = connection
    family = family_of(src)
    packet = Packet(1, 2, family.eth_type)
    packet.ip = ip_header(src, dst, protocol)
    if protocol == TCP:
        packet.tcp = Tcp(40000, port, 1, 0, flags)
    elif protocol == UDP:
        packet.udp = Udp(40000, port)
    else:
        packet.icmp = Icmp(family.echo_request, 0, 1)
    packet.registers[0] = FROM_HOST
    ports = (40000, port) if protocol in (TCP, UDP) else (family.echo_request, 0)
    packet.tracking, packet.tracked = Tracking(state | CT_TRK, ZONE, 0, Original(src, dst, *ports, protocol)), True
    return packet


def carried_out(switch: FakeSwitch, packet: Packet, onward: Table) -> str:
    entry = switch.look_up(Table.FIREWALL, packet, 0.0)
    assert switch.warnings == []
    if entry is not None and entry.goto == onward:
        return "allow"
    return "reject" if entry is not None and entry.cookie >> 56 == Purpose.REJECTED else "drop"


RULES = firewalls().map(Firewall.model_validate)


@settings(max_examples=150, deadline=None)
@given(RULES, st.lists(connections, min_size=5, max_size=15))
def test_first_packets_meet_the_first_rule_about_them(firewall: Firewall, wanted: list[Connection]) -> None:
    switch = switch_with(firewall)
    for connection in wanted:
        packet = packet_of(connection, NEW)
        assert carried_out(switch, packet, Table.BALANCE) == verdict(firewall, connection)[0], connection


@settings(max_examples=100, deadline=None)
@given(RULES, st.lists(connections, min_size=5, max_size=15))
def test_established_connections_meet_it_where_the_policy_wants_that(
    firewall: Firewall, wanted: list[Connection]
) -> None:
    switch = switch_with(firewall)
    for connection in wanted:
        packet = packet_of(connection, EST, ACK | PSH)
        assert carried_out(switch, packet, Table.RESETS) == verdict_on_established(firewall, connection), connection


@settings(max_examples=100, deadline=None)
@given(RULES, connections)
def test_hits_are_counted_at_the_rule_that_decided(firewall: Firewall, connection: Connection) -> None:
    switch = switch_with(firewall)
    switch.look_up(Table.FIREWALL, packet_of(connection, NEW), 0.0)
    counted = [entry.counts[1] for entry in entries(firewall, firewall.rules)
               if entry.counts and any(installed.cookie == entry.cookie and installed.packets
                                       for installed in switch.installed(0.0))]  # fmt: skip
    assert counted == [rule for rule in [verdict(firewall, connection)[1]] if rule]


@settings(max_examples=100, deadline=None)
@given(st.lists(rules(), max_size=6), connections)
def test_a_shadowed_rule_never_decides(documents: list[dict[str, object]], connection: Connection) -> None:
    named = [{**document, "id": f"r{number}"} for number, document in enumerate(documents)]
    firewall = Firewall.model_validate({"rules": named})
    for rule, by in shadowed(firewall.rules):
        assert first(firewall, connection) is not rule
        if concerns(rule, connection):
            assert concerns(by, connection)
    assert [judged.rule.id for judged in in_order(firewall.rules)] == [
        rule.id for rule in sorted(firewall.rules, key=lambda rule: -rule.priority)
    ]


# --- ports ---------------------------------------------------------------------------------------------------------------------

PORT = st.integers(0, 65535)


@settings(max_examples=200, deadline=None)
@given(PORT, PORT)
@example(0, 65535)
@example(0, 0)
@example(1, 65535)
@example(65535, 65535)
def test_port_masks_match_the_range_and_nothing_else(one: int, other: int) -> None:
    first_port, last = min(one, other), max(one, other)
    masks = list(port_masks(first_port, last))
    covered = []
    for value, mask in masks:
        size = (mask ^ 0xFFFF) + 1
        assert size & (size - 1) == 0 and value % size == 0, "a mask is a prefix"
        covered += [value, value + size]
    # One begins where the one before ended: nothing twice, nothing left out.
    assert covered[0] == first_port and covered[-1] == last + 1
    assert covered[1:-1:2] == covered[2::2]


@cache
def fewest(first_port: int, last: int) -> int:
    """How many aligned blocks of ports a range needs at least: the largest that fits at its start, or one that ends inside."""
    if first_port > last:
        return 0
    sizes = [1 << bit for bit in range(17) if first_port % (1 << bit) == 0 and first_port + (1 << bit) - 1 <= last]
    return 1 + min(fewest(first_port + size, last) for size in sizes)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 200))
def test_port_masks_are_as_few_as_prefixes_can_be(first_port: int, length: int) -> None:
    assert len(list(port_masks(first_port, first_port + length))) == fewest(first_port, first_port + length)


# --- schedules -----------------------------------------------------------------------------------------------------------------


def minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def applies(schedule: Schedule, local: datetime) -> bool:
    """Minute by minute: does a span that began on a day of the schedule still last?"""
    length = (minutes(schedule.end) - minutes(schedule.start)) % (24 * 60)
    for began in (local.date(), local.date() - timedelta(days=1)):
        if schedule.days and WEEK[began.weekday()] not in schedule.days:
            continue
        since = (local.date() - began).days * 24 * 60 + local.hour * 60 + local.minute - minutes(schedule.start)
        if 0 <= since < length:
            return True
    return False


times_of_day = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))


@settings(max_examples=200, deadline=None)
@given(
    times_of_day,
    times_of_day,
    st.lists(st.sampled_from(WEEK), unique=True),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
)
def test_schedules_follow_the_wall_clock_of_their_zone(
    start: str, end: str, days: list[str], zone: str, when: datetime
) -> None:
    if start == end:
        return
    schedule = Schedule.model_validate({"start": start, "end": end, "days": days, "timezone": zone})
    now = when.replace(tzinfo=UTC).timestamp()
    local = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(zone))
    assert is_active(schedule, now) == applies(schedule, local)
