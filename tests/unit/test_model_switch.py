"""The switch does what it is told, refuses what Open vSwitch refuses, and says what its author should look at."""

from collections import Counter

import pytest
from model_traffic import CLIENT, MEMBER, OTHER, VIP, VIP_PORT, ip_packet

from controller.decisions import (
    Barrier,
    FlushConnection,
    InstallFlow,
    RemoveFlow,
    RemoveGroup,
    RequestCounters,
    SendPacket,
    SetGroup,
    SetMeter,
)
from controller.flows import (
    IN_PORT,
    PURPOSE_SHIFT,
    Action,
    Bucket,
    Connection,
    Ct,
    FlowEntry,
    GroupEntry,
    Learn,
    Match,
    MeterEntry,
    Nat,
    Output,
    Punt,
    Purpose,
    Resubmit,
    SetField,
    ToGroup,
    match,
)
from topologies.model.acceptance import OFPP_CONTROLLER, OFPP_TABLE
from topologies.model.effects import (
    REASON_ACTION,
    REASON_NO_MATCH,
    BarrierReply,
    ErrorReply,
    FlowCounters,
    PacketIn,
    Transmit,
)
from topologies.model.groups import Selection, in_order
from topologies.model.headers import ACK, RST, SYN, Tcp, Udp
from topologies.model.packet import CT_NEW, CT_TRK, Packet
from topologies.model.switch import FakeSwitch

IP = {"eth_type": 0x0800}
TCP = {**IP, "ip_proto": 6}
UDP = {**IP, "ip_proto": 17}
DATAGRAM = ip_packet(CLIENT, VIP, Udp(1000, 53), b"question").to_bytes()


def entry(
    table: int, priority: int, matched: Match, *actions: Action, purpose: Purpose = Purpose.ROUTE, **more: int
) -> FlowEntry:
    return FlowEntry(table, priority, matched, purpose, actions, **more)


def switch_with(*entries: FlowEntry, groups: tuple[GroupEntry, ...] = (), **options: object) -> FakeSwitch:
    switch = FakeSwitch(1, (1, 2, 3, 4), **options)
    for group in groups:
        assert switch.handle(SetGroup(1, group, exists=False), 0) == []
    for each in entries:
        assert switch.handle(InstallFlow(1, each), 0) == []
    return switch


def ports(switch: FakeSwitch, frame: bytes = DATAGRAM, in_port: int = 1, now: float = 0) -> list[int]:
    return [effect.port for effect in switch.receive(frame, in_port, now) if isinstance(effect, Transmit)]


def packet_ins(switch: FakeSwitch, frame: bytes = DATAGRAM, now: float = 0) -> list[PacketIn]:
    return [effect for effect in switch.receive(frame, 1, now) if isinstance(effect, PacketIn)]


def error_of(switch: FakeSwitch, decision: object) -> str:
    (answer,) = switch.handle(decision, 0)
    assert isinstance(answer, ErrorReply)
    return answer.error.name


def count(switch: FakeSwitch, table: int = 0, now: float = 0) -> list[int]:
    (counters,) = switch.handle(RequestCounters(1, table), now)
    assert isinstance(counters, FlowCounters)
    return sorted(counters.packets.values())


def test_the_highest_priority_that_fits_decides() -> None:
    switch = switch_with(
        entry(0, 1, match(), Output(2)),
        entry(0, 3, match(**UDP, udp_dst=54), Output(4)),
        entry(0, 2, match(**IP, ipv4_dst=(0x0A000000, 0xFFFFFF00)), Output(3)),
    )
    assert ports(switch) == [3]
    assert ports(switch, ip_packet(CLIENT, MEMBER, Udp(1000, 53)).to_bytes()) == [2]
    assert ports(switch, ip_packet(CLIENT, VIP, Udp(1000, 54)).to_bytes()) == [4]


def test_a_packet_that_nothing_fits_is_dropped() -> None:
    assert ports(switch_with(entry(0, 1, match(eth_type=0x0806), Output(2)))) == []
    assert ports(FakeSwitch(1, (1, 2))) == []


def test_nothing_comes_in_at_a_port_that_is_down() -> None:
    switch = switch_with(entry(0, 1, match(), Output(2)))
    switch.set_port(1, False)
    assert ports(switch) == []


def test_entries_that_contradict_each_other_are_pointed_out() -> None:
    switch = switch_with(entry(0, 5, match(**IP), Output(2)), entry(0, 5, match(in_port=1), Output(3)))
    ports(switch)
    ports(switch)
    assert len(switch.warnings) == 1 and "fit one packet" in switch.warnings[0]
    agreeing = switch_with(entry(0, 5, match(**IP), Output(2)), entry(0, 5, match(in_port=1), Output(2)))
    ports(agreeing)
    assert agreeing.warnings == []


def test_an_entry_is_counted_and_keeps_its_count_when_it_is_added_again() -> None:
    switch = switch_with(entry(0, 1, match(), Output(2)))
    for _ in range(3):
        ports(switch)
    switch.handle(InstallFlow(1, entry(0, 1, match(), Output(3))), 0)
    assert ports(switch) == [3]
    assert count(switch) == [4]


def test_an_entry_with_a_hard_timeout_ends_unless_it_is_added_again() -> None:
    held = entry(0, 1, match(), Output(2), hard_timeout_s=2)
    switch = switch_with(held)
    assert ports(switch, now=2.0) == [2]
    switch.handle(InstallFlow(1, held), 1.5)
    assert ports(switch, now=3.5) == [2]
    assert ports(switch, now=3.6) == []
    assert count(switch, now=3.6) == []


def test_an_entry_with_an_idle_timeout_ends_when_nothing_meets_it() -> None:
    switch = switch_with(entry(0, 1, match(), Output(2), idle_timeout_s=5))
    assert [ports(switch, now=now) for now in (4.0, 8.0, 13.0, 18.1)] == [[2], [2], [2], []]


def test_entries_are_removed_by_cookie_under_a_mask() -> None:
    kinds = (Purpose.LEARN, Purpose.ROUTE, Purpose.ROUTE)
    entries = [entry(0, 1 + index, match(), purpose=kind) for index, kind in enumerate(kinds)]
    switch = switch_with(*entries, entry(1, 1, match()))
    switch.handle(RemoveFlow(1, entries[1].cookie, table_id=0), 0)
    assert {each.cookie for each in switch.installed(0) if each.table_id == 0} == {entries[0].cookie, entries[2].cookie}
    whole_purpose = Purpose.ROUTE << PURPOSE_SHIFT
    switch.handle(RemoveFlow(1, whole_purpose, 0xFF << PURPOSE_SHIFT), 0)
    assert [each.cookie for each in switch.installed(0)] == [entries[0].cookie]


def test_goto_leads_on_and_only_forward() -> None:
    switch = switch_with(entry(0, 1, match(), SetField("reg0", 1), goto=5), entry(5, 1, match(reg0=1), Output(2)))
    assert ports(switch) == [2]
    assert error_of(switch, InstallFlow(1, entry(5, 1, match(), goto=4))) == "OFPBIC_BAD_TABLE_ID"


def test_a_refused_entry_changes_nothing() -> None:
    switch = switch_with(entry(0, 1, match(), Output(2)))
    assert error_of(switch, InstallFlow(1, entry(0, 1, match(tcp_dst=80), Output(3)))) == "OFPBMC_BAD_PREREQ"
    assert error_of(switch, InstallFlow(1, entry(0, 1, match(), ToGroup(1)))) == "OFPBAC_BAD_OUT_GROUP"
    assert error_of(switch, InstallFlow(1, entry(0, 1, match(), meter_id=1))) == "OFPMMFC_INVALID_METER"
    assert ports(switch) == [2]


def test_flooding_spares_the_port_of_entry() -> None:
    assert ports(switch_with(entry(0, 1, match(), Output(0xFFFFFFFB)))) == [2, 3, 4]


def test_the_way_back_needs_in_port() -> None:
    assert ports(switch_with(entry(0, 1, match(), Output(1)))) == []
    assert ports(switch_with(entry(0, 1, match(), Output(IN_PORT)))) == [1]


def test_a_table_resubmitted_to_itself_for_ever_drops_the_packet() -> None:
    switch = switch_with(entry(0, 1, match(), Output(2), Resubmit(0)))
    assert ports(switch) == []
    assert "too deep" in switch.warnings[0]


def test_a_table_may_be_looked_up_from_64_levels_down() -> None:
    levels = [entry(level, 1, match(), Resubmit(level - 1)) for level in range(1, 66)]
    switch = switch_with(entry(0, 1, match(), Output(2)), *levels, entry(100, 1, match(), Resubmit(64)))
    frames = [SendPacket(1, DATAGRAM, (Resubmit(level),), in_port=1) for level in (64, 65)]
    assert [len(switch.handle(frame, 0)) for frame in frames] == [1, 0]


# Punts


def test_a_punt_carries_what_the_pipeline_knows() -> None:
    switch = switch_with(
        entry(0, 1, match(**UDP), SetField("reg0", 1), Ct(9, table=2)),
        entry(2, 1, match(ct_state=(0x21, 0x21)), Punt(1, max_len=50), purpose=Purpose.FIREWALL),
    )
    (seen,) = packet_ins(switch)
    assert (seen.table_id, seen.cookie >> PURPOSE_SHIFT, seen.in_port, seen.reason) == (
        *(2, Purpose.FIREWALL, 1, REASON_ACTION),
    )
    assert (seen.frame, seen.size) == (DATAGRAM[:50], len(DATAGRAM))
    original = {"ct_nw_src": CLIENT, "ct_nw_dst": VIP, "ct_nw_proto": 17, "ct_tp_src": 1000, "ct_tp_dst": 53}
    assert seen.fields == {
        **original,
        "in_port": 1,
        "reg0": 1,
        "eth_type": 0x0800,
        "ct_zone": 9,
        "ct_state": CT_NEW | CT_TRK,
    }
    assert "meter 1 of a punt does not exist" in switch.warnings[0]


def test_the_table_miss_entry_says_so() -> None:
    (seen,) = packet_ins(switch_with(entry(0, 0, match(), Punt(1))))
    assert (seen.reason, seen.fields) == (REASON_NO_MATCH, {"in_port": 1})


def test_a_meter_limits_punts_and_not_the_packets() -> None:
    switch = FakeSwitch(1, (1, 2))
    switch.handle(SetMeter(1, MeterEntry(1, 10, 3), exists=False), 0)
    switch.handle(InstallFlow(1, entry(0, 1, match(), Punt(1), Output(2))), 0)
    effects = [effect for _ in range(5) for effect in switch.receive(DATAGRAM, 1, 0)]
    assert Counter(type(effect) for effect in effects) == {PacketIn: 3, Transmit: 5}
    assert [len(packet_ins(switch, now=now)) for now in (0.1, 0.15, 0.2, 10, 10, 10, 10)] == [1, 0, 1, 1, 1, 1, 0]


def test_a_meter_instruction_polices_the_packets() -> None:
    switch = FakeSwitch(1, (1, 2))
    switch.handle(SetMeter(1, MeterEntry(1, 10, 2), exists=False), 0)
    switch.handle(InstallFlow(1, entry(0, 1, match(), Output(2), meter_id=1)), 0)
    assert [ports(switch) for _ in range(3)] == [[2], [2], []]


def test_a_meter_is_made_once_and_changed_when_it_exists() -> None:
    switch = FakeSwitch(1, (1, 2))
    meter = MeterEntry(1, 10, 2)
    assert error_of(switch, SetMeter(1, meter, exists=True)) == "OFPMMFC_UNKNOWN_METER"
    assert switch.handle(SetMeter(1, meter, exists=False), 0) == []
    assert error_of(switch, SetMeter(1, meter, exists=False)) == "OFPMMFC_METER_EXISTS"
    assert switch.handle(SetMeter(1, meter, exists=True), 0) == []


# Groups


def select(*weights: int, watched: bool = False) -> GroupEntry:
    buckets = (
        Bucket((Output(2 + index),), weight, 2 + index if watched else None) for index, weight in enumerate(weights)
    )
    return GroupEntry(1, "select", tuple(buckets))


def shares(switch: FakeSwitch, connections: int = 3000) -> Counter[int]:
    frames = (
        ip_packet(CLIENT, VIP, Tcp(port, VIP_PORT, 1, 0, SYN)).to_bytes() for port in range(10000, 10000 + connections)
    )
    return Counter(port for frame in frames for port in ports(switch, frame))


def test_a_group_spreads_connections_by_weight() -> None:
    spread = shares(switch_with(entry(0, 1, match(), ToGroup(1)), groups=(select(100, 50, 50),)))
    assert spread[2] == pytest.approx(1500, rel=0.1)
    assert spread[3] == pytest.approx(750, rel=0.15)


def test_hash_selection_is_fair_only_among_equal_weights() -> None:
    def by_hash(*weights: int) -> Counter[int]:
        return shares(switch_with(entry(0, 1, match(), ToGroup(1)), groups=(select(*weights),), selection="hash"))

    assert all(share == pytest.approx(1000, rel=0.15) for share in by_hash(1, 1, 1).values())
    # The highest of hash × weight wins: half the weight is a quarter of the connections.
    assert by_hash(100, 50)[3] == pytest.approx(750, rel=0.15)


@pytest.mark.parametrize("selection", ["dp_hash", "hash"])
def test_a_connection_always_gets_the_same_bucket(selection: Selection) -> None:
    switch = switch_with(entry(0, 1, match(), ToGroup(1)), groups=(select(1, 1, 1),), selection=selection)
    assert len({tuple(ports(switch)) for _ in range(10)}) == 1


@pytest.mark.parametrize("selection", ["dp_hash", "hash"])
def test_a_bucket_without_weight_or_with_a_dead_port_is_not_chosen(selection: Selection) -> None:
    group = select(10, 0, 10, watched=True)
    switch = switch_with(entry(0, 1, match(), ToGroup(1)), groups=(group,), selection=selection)
    assert set(shares(switch, 200)) == {2, 4}
    switch.set_port(4, False)
    assert set(shares(switch, 200)) == {2}
    switch.set_port(2, False)
    assert shares(switch, 200) == {}


def test_fast_failover_takes_the_first_that_lives() -> None:
    group = GroupEntry(
        1, "fast-failover", (Bucket((Output(2),), watch_port=2), Bucket((Output(IN_PORT),), watch_port=3))
    )
    switch = switch_with(entry(0, 1, match(), ToGroup(1)), groups=(group,))
    assert ports(switch) == [2]
    switch.set_port(2, False)
    assert ports(switch) == [1]


def test_fast_failover_needs_ports_to_watch() -> None:
    for bucket in (Bucket((Output(2),)), Bucket((Output(2),), weight=1, watch_port=2)):
        group = GroupEntry(1, "fast-failover", (bucket,))
        assert error_of(FakeSwitch(1, (1, 2)), SetGroup(1, group, exists=False)) == "OFPGMFC_INVALID_GROUP"


def test_a_group_is_made_once_and_changed_when_it_exists() -> None:
    switch = FakeSwitch(1, (1, 2))
    assert error_of(switch, SetGroup(1, select(1), exists=True)) == "OFPGMFC_UNKNOWN_GROUP"
    assert switch.handle(SetGroup(1, select(1), exists=False), 0) == []
    assert error_of(switch, SetGroup(1, select(1), exists=False)) == "OFPGMFC_GROUP_EXISTS"


def test_a_removed_group_takes_its_entries_along() -> None:
    switch = switch_with(entry(0, 2, match(**IP), ToGroup(1)), entry(0, 1, match(), Output(4)), groups=(select(1),))
    switch.handle(RemoveGroup(1, 1), 0)
    assert ports(switch) == [4]


def test_a_changed_group_takes_a_while_to_reach_the_packets() -> None:
    switch = switch_with(entry(0, 1, match(), ToGroup(1)), groups=(select(1),), group_lag_s=0.005)
    switch.handle(SetGroup(1, select(0, 1), exists=True), 1.0)
    assert [ports(switch, now=now) for now in (1.0, 1.004, 1.005)] == [[2], [2], [3]]


def test_a_bucket_is_an_action_set() -> None:
    commit = Ct(1, commit=True, table=5)
    assert in_order((SetField("reg0", 1), commit, SetField("reg1", 2))) == (
        *(SetField("reg0", 1), SetField("reg1", 2), commit),
    )
    assert in_order((commit, Output(2), Resubmit(5))) == (Output(2),)
    assert in_order((Output(2), Output(3))) == (Output(3),)
    assert in_order((SetField("reg0", 1),)) == ()


def test_actions_that_a_bucket_never_executes_are_pointed_out() -> None:
    group = GroupEntry(1, "select", (Bucket((Output(2), Output(3)), 1),))
    assert "1 actions of a bucket are never executed" in switch_with(groups=(group,)).warnings[0]


def test_a_punt_in_a_bucket_is_refused() -> None:
    group = GroupEntry(1, "select", (Bucket((Punt(1), Output(2)), 1),))
    assert error_of(FakeSwitch(1, (1, 2)), SetGroup(1, group, exists=False)) == "OFPGMFC_BAD_BUCKET"


def test_a_bucket_that_names_an_unknown_group_is_found_out_by_a_packet() -> None:
    group = GroupEntry(1, "select", (Bucket((ToGroup(2),), 1),))
    switch = switch_with(entry(0, 1, match(), ToGroup(1), Output(3)), groups=(group,))
    assert ports(switch) == [3]
    assert "group 2 does not exist" in switch.warnings[0]


# The tracker in the pipeline


def test_only_the_fork_into_a_table_is_tracked() -> None:
    switch = switch_with(
        entry(0, 1, match(**IP), Ct(1, table=2), Resubmit(3)),
        entry(2, 1, match(ct_state=(0x20, 0x20)), Output(2)),
        entry(3, 2, match(ct_state=(0x20, 0x20)), Output(4)),
        entry(3, 1, match(ct_state=(0, 0x20)), Output(3)),
    )
    assert ports(switch) == [2, 3]


def test_translation_without_a_table_is_pointed_out() -> None:
    switch = switch_with(entry(0, 1, match(**IP), Ct(1, commit=True, nat=Nat("dst", MEMBER)), goto=2))
    ports(switch)
    assert "later tables match the untranslated addresses" in switch.warnings[0]


def test_a_commit_with_a_bare_nat_is_pointed_out() -> None:
    switch = switch_with(entry(0, 1, match(**IP), Ct(1, commit=True, nat=Nat(), table=2)))
    ports(switch)
    assert "replies of new connections are not known" in switch.tracker.warnings[0]


def test_a_packet_recirculates_six_times_and_no_more() -> None:
    def chain(length: int) -> FakeSwitch:
        steps = [entry(table, 1, match(**IP), Ct(1, table=table + 1)) for table in range(length)]
        return switch_with(*steps, entry(length, 1, match(), Output(2)))

    assert ports(chain(6)) == [2]
    assert ports(chain(7)) == []


def test_a_flushed_connection_begins_anew_on_another_member() -> None:
    """The heart of redispatch: flush, change the group, send the SYN again."""
    to = [Ct(1, commit=True, nat=Nat("dst", address), table=5) for address in (MEMBER, OTHER)]
    groups = [
        GroupEntry(1, "select", (Bucket((to[0],), first), Bucket((to[1],), second)))
        for first, second in ((1, 0), (0, 1))
    ]
    switch = switch_with(
        entry(0, 1, match(**TCP), Ct(1, nat=Nat(), table=2)),
        entry(2, 2, match(**TCP, ct_state=(0x01, 0x01), ipv4_dst=VIP), ToGroup(1)),
        entry(2, 1, match(**IP), goto=5),
        entry(5, 2, match(**IP, ipv4_dst=MEMBER), Output(2)),
        entry(5, 1, match(**IP, ipv4_dst=OTHER), Output(3)),
        groups=(groups[0],),
    )
    syn = ip_packet(CLIENT, VIP, Tcp(40000, VIP_PORT, 1000, 0, SYN)).to_bytes()
    assert ports(switch, syn) == [2]
    switch.handle(SetGroup(1, groups[1], exists=True), 0)
    assert ports(switch, syn) == [2], "the entry pins it"
    switch.handle(FlushConnection(1, 1, Connection(CLIENT, 40000, VIP, VIP_PORT)), 0)
    again = switch.handle(SendPacket(1, syn, (Output(OFPP_TABLE),), in_port=1), 0)
    assert [effect.port for effect in again if isinstance(effect, Transmit)] == [3]


def test_a_stray_reset_is_new_and_an_unknown_syn_ack_invalid() -> None:
    switch = switch_with(
        entry(0, 1, match(**TCP), Ct(1, table=2)),
        entry(2, 2, match(**TCP, ct_state=(0x01, 0x01)), Output(2)),
        entry(2, 2, match(**TCP, ct_state=(0x10, 0x10)), Output(3)),
    )
    frames = [ip_packet(CLIENT, VIP, Tcp(1, 2, 3, 0, flags)).to_bytes() for flags in (RST, SYN | ACK)]
    assert [ports(switch, frame) for frame in frames] == [[2], [3]]
    assert switch.warnings == []


# Learning


def test_what_is_learned_applies_idles_out_and_is_learned_again() -> None:
    constants = (("eth_type", 0x0800), ("ip_proto", 17))
    learn = Learn(8, 10, Purpose.AFFINITY << PURPOSE_SHIFT, 5, ("ipv4_src",), constants, ("reg1", 2))
    switch = switch_with(
        entry(0, 1, match(**UDP), Resubmit(8), goto=1),
        entry(1, 2, match(**UDP, reg1=2), Output(2)),
        entry(1, 1, match(**UDP), learn, Output(3)),
    )
    assert [ports(switch, now=now) for now in (0, 1, 6, 11.1)] == [[3], [2], [2], [3]]
    (learned,) = [each for each in switch.installed(11.1) if each.table_id == 8]
    assert learned.match == match(**UDP, ipv4_src=CLIENT)


# Packet-outs, barriers, restarts


def test_a_packet_out_runs_its_actions_as_if_it_had_come_in() -> None:
    switch = switch_with(
        entry(0, 1, match(in_port=3), Output(2)), entry(0, 1, match(in_port=OFPP_CONTROLLER), Output(4))
    )
    for in_port, action, expected in (
        (3, OFPP_TABLE, [2]),
        (OFPP_CONTROLLER, OFPP_TABLE, [4]),
        (3, 3, []),
        (3, 1, [1]),
    ):
        effects = switch.handle(SendPacket(1, DATAGRAM, (Output(action),), in_port), 0)
        assert [effect.port for effect in effects if isinstance(effect, Transmit)] == expected


def test_a_packet_out_is_refused_like_an_entry() -> None:
    switch = FakeSwitch(1, (1, 2))
    lldp = Packet(0x0180C200000E, 1, 0x88CC, b"x").to_bytes()
    assert error_of(switch, SendPacket(1, lldp, (Ct(1, table=0),))) == "OFPBAC_MATCH_INCONSISTENT"
    assert error_of(switch, SendPacket(1, lldp, (Output(2),), in_port=0xFFFFFF77)) == "OFPBRC_BAD_PORT"


def test_a_barrier_is_answered_with_its_token() -> None:
    assert FakeSwitch(1, ()).handle(Barrier(1, 42), 0) == [BarrierReply(42)]


def test_a_restart_loses_everything_but_the_ports() -> None:
    switch = switch_with(entry(0, 1, match(**IP), Ct(1, commit=True), ToGroup(1)), groups=(select(1),))
    assert ports(switch) == [2]
    switch.restart()
    assert (ports(switch), switch.installed(0), switch.group_ids, switch.meters) == ([], [], frozenset(), {})
    assert list(switch.tracker.connections(0)) == []
    assert set(switch.ports) == {1, 2, 3, 4}
