"""What we write, as others read it: the parsers of Ryu and os-ken, and `ovs-ofctl`. What switches say, as we read it."""

import importlib
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from apps import codec
from controller import addresses
from controller import decisions as do
from controller import flows as fl
from controller.addresses import V6
from controller.events import PortCounters
from controller.flows import Bucket, Connection, FlowEntry, GroupEntry, MeterEntry, Purpose, match
from controller.pipeline import ACK, EST, KNOWN, NEW, RPL, SYN, Meter, Table

SWITCH = 0x11
V6_VIP, V6_MEMBER = addresses.number("fd00::64"), addresses.number("fd00::11")


@pytest.fixture(scope="module", params=["ryu", "os_ken"])
def reference(request: pytest.FixtureRequest) -> ModuleType:
    """The parser of a framework. Nothing of its WSGI is loaded, so nothing has to be patched first."""
    pytest.importorskip(request.param)
    return importlib.import_module(f"{request.param}.ofproto.ofproto_v1_3_parser")


def parsed_action(reference: ModuleType, action: fl.Action) -> Any:
    raw = codec.encode_actions([action])
    read = reference.OFPAction.parser(raw, 0)
    assert read.len == len(raw) and len(raw) % 8 == 0
    return read


def test_plain_actions(reference: ModuleType) -> None:
    assert parsed_action(reference, fl.Output(3)).port == 3
    assert parsed_action(reference, fl.Output(fl.IN_PORT)).port == 0xFFFFFFF8
    assert parsed_action(reference, fl.ToGroup(0x10000001)).group_id == 0x10000001
    assert parsed_action(reference, fl.DecTtl()).type == 24
    assert parsed_action(reference, fl.Resubmit(Table.ROUTE)).table_id == 5


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("eth_dst", 0x0E5200000001, "0e:52:00:00:00:01"), ("ipv4_src", 0x0A000001, "10.0.0.1"), ("tcp_dst", 80, 80),
     ("reg1", 7, 7), ("icmpv4_type", 0, 0), ("arp_op", 2, 2), ("arp_spa", 0x0A000001, "10.0.0.1")],
)  # fmt: skip
def test_set_field(reference: ModuleType, name: str, value: int, shown: object) -> None:
    read = parsed_action(reference, fl.SetField(name, value))
    assert (read.key, read.value) == (name, shown)


def test_move(reference: ModuleType) -> None:
    read = parsed_action(reference, fl.Move("arp_sha", "arp_tha", 48))
    assert (read.src_field, read.dst_field, read.n_bits, read.src_ofs, read.dst_ofs) == ("arp_sha", "arp_tha", 48, 0, 0)


def test_tracking_without_a_commit_recirculates_and_replays_the_translation(reference: ModuleType) -> None:
    read = parsed_action(reference, fl.Ct(7, Table.FIREWALL, nat=fl.Nat()))
    assert (read.flags, read.recirc_table, read.zone_src, read.zone_ofs_nbits) == (0, 2, "", 7)
    (nat,) = read.actions
    assert (nat.flags, nat.range_ipv4_min, nat.range_proto_min) == (0, "", None)


def test_a_commit_translates_and_marks(reference: ModuleType) -> None:
    action = fl.Ct(0x8007, Table.ROUTE, True, fl.Nat("dst", 0x0A000001, (8080, 8081)), (0x80000001, 0xC000FFFF))
    read = parsed_action(reference, action)
    assert (read.flags, read.recirc_table, read.zone_ofs_nbits) == (1, 5, 0x8007)
    nat, load = read.actions
    assert (nat.flags, nat.range_ipv4_min, nat.range_proto_min, nat.range_proto_max) == (2, "10.0.0.1", 8080, 8081)
    assert (load.dst, load.value, load.mask) == ("ct_mark", 0x80000001, 0xC000FFFF)


def test_a_commit_that_does_not_recirculate(reference: ModuleType) -> None:
    assert parsed_action(reference, fl.Ct(7, commit=True, mark=(KNOWN, KNOWN))).recirc_table == 0xFF


def test_learning(reference: ModuleType) -> None:
    constants = (("eth_type", 0x0800), ("ip_proto", 6), ("ipv4_dst", 0x0A000064), ("tcp_dst", 80))
    read = parsed_action(reference, fl.Learn(8, 10, 0xF0 << 56 | 3, 30, ("ipv4_src",), constants, ("reg1", 2)))
    assert (read.table_id, read.priority, read.cookie, read.idle_timeout) == (8, 10, 0xF0 << 56 | 3, 30)
    *constant, copied, loaded = read.specs
    assert [(spec.dst[0], spec.src) for spec in constant] == list(constants)
    assert copied.src == copied.dst == ("ipv4_src", 0)
    assert (loaded.dst, loaded.src, loaded.n_bits) == (("reg1", 0), 2, 32)


def test_learning_an_ipv6_client(reference: ModuleType) -> None:
    constants = (("eth_type", 0x86DD), ("ip_proto", 6), ("ipv6_dst", V6_VIP), ("tcp_dst", 80))
    read = parsed_action(reference, fl.Learn(8, 10, 0xF0 << 56 | 3, 30, ("ipv6_src",), constants, ("reg1", 2)))
    *constant, copied, _ = read.specs
    assert [(spec.dst[0], spec.src) for spec in constant] == list(constants)
    assert (copied.src, copied.dst, copied.n_bits) == (("ipv6_src", 0), ("ipv6_src", 0), 128)


def test_a_commit_translates_to_an_ipv6_member(reference: ModuleType) -> None:
    read = parsed_action(reference, fl.Ct(7, Table.ROUTE, True, fl.Nat("dst", V6_MEMBER, (8080, 8080))))
    (nat,) = read.actions
    assert (nat.flags, nat.range_ipv6_min, nat.range_ipv4_min, nat.range_proto_min) == (2, "fd00::11", "", 8080)


def test_a_punt_names_its_own_meter() -> None:
    # nicira-ext.h, nx_action_controller2: both frameworks fail on property 5, NXAC2PT_METER_ID.
    raw = codec.encode_actions([fl.Punt(Meter.MIRROR, 128)])
    assert struct.unpack_from("!HHIH", raw) == (0xFFFF, len(raw), 0x2320, 37)
    assert struct.unpack_from("!HHH", raw, 16) == (0, 6, 128)
    assert struct.unpack_from("!HHI", raw, 24) == (5, 8, Meter.MIRROR)


def test_a_match_names_prerequisites_first(reference: ModuleType) -> None:
    fields = match(tcp_flags=(SYN, SYN | ACK), ct_state=(NEW, NEW), ct_mark=(KNOWN, KNOWN), reg0=1, ip_proto=6, eth_type=0x0800,
                   ipv4_dst=(0x0A000000, 0xFF000000), tcp_dst=80, in_port=3, eth_src=0x020000000001)  # fmt: skip
    read = dict(reference.OFPMatch.parser(codec.encode_match(fields), 0).items())
    assert list(read) == ["in_port", "eth_src", "eth_type", "ip_proto", "ipv4_dst", "tcp_dst", "tcp_flags_nxm",
                          "ct_state", "ct_mark", "reg0"]  # fmt: skip
    assert read == {"in_port": 3, "eth_src": "02:00:00:00:00:01", "eth_type": 0x0800, "ip_proto": 6,
                    "ipv4_dst": ("10.0.0.0", "255.0.0.0"), "tcp_dst": 80, "tcp_flags_nxm": (SYN, SYN | ACK),
                    "ct_state": (NEW, NEW), "ct_mark": (KNOWN, KNOWN), "reg0": 1}  # fmt: skip


def test_a_flow_entry(reference: ModuleType) -> None:
    fields = match(eth_type=0x0800, ct_state=(EST | RPL, EST | RPL))
    entry = FlowEntry(
        Table.FIREWALL, 97, fields, Purpose.FIREWALL, (fl.DecTtl(),), Table.RESETS, 1000, hard_timeout_s=2
    )
    raw = codec.encode(do.InstallFlow(SWITCH, entry))
    assert raw[:2] == bytes((4, 14)) and int.from_bytes(raw[2:4]) == len(raw)
    cookie, mask, table, command, idle, hard, priority, buffer, port, group, flags = struct.unpack_from(
        "!QQBBHHHIIIH", raw, 8
    )
    assert (cookie, mask, table, command, idle, hard, priority) == (entry.cookie, 0, 2, 0, 0, 2, 97)
    assert (buffer, port, group, flags) == (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 4)
    read = reference.OFPMatch.parser(raw, 48)
    at, instructions = 48 + (read.length + 7) // 8 * 8, []
    while at < len(raw):
        instructions.append(reference.OFPInstruction.parser(raw, at))
        at += instructions[-1].len
    meter, apply, goto = instructions
    assert (meter.meter_id, [action.type for action in apply.actions], goto.table_id) == (1000, [24], 3)


def test_groups(reference: ModuleType) -> None:
    select = GroupEntry(0x10000001, "select", (Bucket((fl.Ct(7, 5, True, mark=(1, 0xFFFF)),), 100), Bucket((), 3)))
    raw = codec.encode(do.SetGroup(SWITCH, select, exists=False))
    assert struct.unpack_from("!BBHIHBBI", raw) == (4, 15, len(raw), 0, 0, 1, 0, 0x10000001)
    first = reference.OFPBucket.parser(raw, 16)
    second = reference.OFPBucket.parser(raw, 16 + first.len)
    assert [(bucket.weight, bucket.watch_port, len(bucket.actions)) for bucket in (first, second)] == [
        (100, 0xFFFFFFFF, 1), (3, 0xFFFFFFFF, 0)]  # fmt: skip
    failover = GroupEntry(2, "fast-failover", (Bucket((fl.Output(3),), watch_port=3),))
    raw = codec.encode(do.SetGroup(SWITCH, failover, exists=True))
    assert struct.unpack_from("!HB", raw, 8) == (1, 3)
    assert reference.OFPBucket.parser(raw, 16).watch_port == 3


def one_of_each() -> list[do.SwitchDecision]:
    nat = fl.Nat("dst", 0x0A000001, (80, 80))
    actions = (fl.Punt(5, 256), fl.SetField("eth_dst", 0x0A0B0C0D0E0F), fl.Move("eth_src", "eth_dst", 48),
               fl.Ct(7, 5, commit=True, nat=nat, mark=(0x80000001, 0xFFFFFFFF)), fl.Resubmit(5))  # fmt: skip
    fields = match(eth_type=0x0800, ip_proto=6, tcp_flags=(SYN, SYN | ACK), ct_state=(NEW, NEW), reg0=1)
    return [
        do.InstallFlow(SWITCH, FlowEntry(2, 97, fields, Purpose.FIREWALL, actions, goto=5, meter_id=1000)),
        do.RemoveFlow(SWITCH, 5, table_id=3),
        do.SetGroup(SWITCH, GroupEntry(7, "fast-failover", (Bucket((fl.DecTtl(), fl.Output(fl.IN_PORT)), watch_port=4),)), True),
        do.RemoveGroup(SWITCH, 7),
        do.SetMeter(SWITCH, MeterEntry(5, 2000, 500), exists=False),
        do.RemoveMeter(SWITCH, 5),
        do.FlushConnection(SWITCH, 7, Connection(0x0A000001, 1234, 0x0A000064, 80)),
        do.SendPacket(SWITCH, bytes(60), (fl.Output(fl.TO_TABLE),), 3),
        do.Barrier(SWITCH, 9),
        do.RequestCounters(SWITCH, 3),
        do.RequestPortCounters(SWITCH),
        do.RequestQueueCounters(SWITCH),
        do.RequestMeterCounters(SWITCH),
    ]  # fmt: skip


def read_by_openvswitch(messages: Iterable[bytes], tmp_path: Path) -> list[str]:
    """Every message in Open vSwitch's own words; it needs no switch for this."""
    if shutil.which("ovs-ofctl") is None:
        pytest.skip("no ovs-ofctl here")
    stream = tmp_path / "stream"
    stream.write_bytes(b"".join(messages))
    done = subprocess.run(["ovs-ofctl", "ofp-parse", str(stream)], capture_output=True, text=True, check=True)
    assert "decode error" not in done.stdout + done.stderr
    return [line for line in done.stdout.replace("\n ", " ").splitlines() if line.startswith(("OFP", "NXT"))]


def test_open_vswitch_reads_every_kind_of_decision(tmp_path: Path) -> None:
    texts = read_by_openvswitch((codec.encode(decision) for decision in one_of_each()), tmp_path)
    parts = [
        ("ADD table:2 priority=97,ct_state=+new,tcp,reg0=0x1,tcp_flags=+syn-ack", "reset_counts", "meter:1000",
         "controller(max_len=256,meter_id=5)", "ct(commit,table=5,zone=7,nat(dst=10.0.0.1:80),exec(set_field:0x80000001->ct_mark))",
         "resubmit(,5),goto_table:5"),
        ("DEL table:3", "cookie:0x5/0xffffffffffffffff"),
        ("MOD group_id=7,type=ff", "watch_port:4,actions=dec_ttl,IN_PORT"),
        ("DEL group_id=7",),
        ("ADD meter=5 pktps burst",),
        ("DEL meter=5",),
        ("CT_FLUSH", "zone=7", "ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.100,ct_tp_src=1234,ct_tp_dst=80,ct_nw_proto=6"),
        ("PACKET_OUT", "in_port=3 actions=TABLE data_len=60"),
        ("BARRIER_REQUEST", "xid=0x9"),
        ("FLOW request", "table=3"), ("PORT request", "ANY"), ("QUEUE request", "queue=ALL"), ("METER request", "meter=all"),
    ]  # fmt: skip
    assert len(texts) == len(parts)
    for text, wanted in zip(texts, parts, strict=True):
        assert [part for part in wanted if part not in text] == [], text


def test_open_vswitch_reads_what_is_said_of_ipv6(tmp_path: Path) -> None:
    answer = (fl.SetField("ipv6_src", V6_VIP), fl.SetField("icmpv6_type", 136), fl.SetField("nd_reserved", 0x60000000),
              fl.SetField("nd_options_type", 2))  # fmt: skip
    asked = V6.match(ip_proto=58, icmp_type=135, ipv6_nd_target=V6_VIP)
    answered = V6.match(ip_proto=58, icmp_type=136)
    tracked = V6.match(ct_state=(EST, EST), ct_src=V6_MEMBER, ct_dst=(0xFD << 120, 0xFF << 120), ct_nw_proto=6)
    commit = fl.Ct(7, 5, commit=True, nat=fl.Nat("dst", V6_MEMBER, (80, 80)))
    entries = [
        FlowEntry(6, 10, asked, Purpose.ARP, answer, goto=9),
        FlowEntry(6, 9, answered, Purpose.ARP, (fl.Move("eth_src", "ipv6_nd_tll", 48), fl.Output(fl.IN_PORT))),
        FlowEntry(2, 9, tracked, Purpose.FIREWALL, (commit,)),
    ]
    messages = [codec.encode(do.InstallFlow(SWITCH, entry)) for entry in entries]
    messages.append(codec.encode(do.FlushConnection(SWITCH, 7, Connection(V6_MEMBER, 1234, V6_VIP, 80))))
    parts = [
        ("icmp6,icmp_type=135,nd_target=fd00::64", "set_field:fd00::64->ipv6_src,set_field:136->icmpv6_type",
         "set_field:1610612736->nd_reserved,set_field:2->nd_options_type,goto_table:9"),
        ("icmp6,icmp_type=136", "move:NXM_OF_ETH_SRC[]->NXM_NX_ND_TLL[],IN_PORT"),
        ("ct_state=+est,ct_ipv6_src=fd00::11,ct_ipv6_dst=fd00::/8,ct_nw_proto=6,ipv6", "nat(dst=[fd00::11]:80)"),
        ("CT_FLUSH", "zone=7", "ct_ipv6_src=fd00::11,ct_ipv6_dst=fd00::64,ct_tp_src=1234,ct_tp_dst=80,ct_nw_proto=6"),
    ]  # fmt: skip
    texts = read_by_openvswitch(messages, tmp_path)
    assert len(texts) == len(parts)
    for text, wanted in zip(texts, parts, strict=True):
        assert [part for part in wanted if part not in text] == [], text


def test_a_packet_in_names_what_the_tracker_knew(reference: ModuleType) -> None:
    fields = {"in_port": 3, "ct_state": (NEW | 0x20, 0xFFFFFFFF), "ct_zone": 7, "ct_mark": KNOWN | 5}
    read = reference.OFPMatch(**fields)
    body = bytearray()
    read.serialize(body, 0)
    # The original tuple: fields 119 to 125 of class 1, which the frameworks do not know by name.
    original = b"".join(
        struct.pack("!HBB", 1, number << 1, size) + value.to_bytes(size, "big")
        for number, size, value in ((120, 4, 0x0A000001), (121, 4, 0x0A000064), (124, 2, 40000), (125, 2, 80))
    )
    oxm = bytes(body[4 : int.from_bytes(body[2:4])]) + original
    oxm_match = struct.pack("!HH", 1, 4 + len(oxm)) + oxm
    oxm_match += bytes(-len(oxm_match) % 8)
    cookie = Purpose.RESET << 56 | 99
    raw = struct.pack("!BBHIIHBBQ", 4, 10, 0, 0, 0xFFFFFFFF, 60, 1, 3, cookie) + oxm_match + bytes(2) + b"frame"
    seen = codec.decode_packet_in(raw)
    assert seen is not None
    table, seen_cookie, decoded, frame = seen
    assert (table, seen_cookie, frame) == (3, cookie, b"frame")
    assert decoded == {"in_port": 3, "ct_state": NEW | 0x20, "ct_zone": 7, "ct_mark": KNOWN | 5, "ct_nw_src": 0x0A000001,
                       "ct_nw_dst": 0x0A000064, "ct_tp_src": 40000, "ct_tp_dst": 80}  # fmt: skip


def test_flow_statistics(reference: ModuleType) -> None:
    body = bytearray()
    for number in (1, 2):
        goto = reference.OFPInstructionGotoTable(5)
        entry = reference.OFPFlowStats(table_id=3, duration_sec=1, duration_nsec=0, priority=9, idle_timeout=0, hard_timeout=0, flags=0,
                                       cookie=number << 56, packet_count=10 * number, byte_count=600 * number,
                                       match=reference.OFPMatch(eth_type=0x0800), instructions=[goto], length=0)  # fmt: skip
        raw = bytearray(struct.pack("!HBxIIHHHH4xQQQ", 0, 3, 1, 0, 9, 0, 0, 0, number << 56, 10 * number, 600 * number))
        entry.match.serialize(raw, len(raw))
        goto.serialize(raw, len(raw))
        raw[0:2] = len(raw).to_bytes(2, "big")
        assert reference.OFPFlowStats.parser(raw, 0).packet_count == 10 * number
        body += raw
    assert list(codec.decode_flow_counters(body)) == [(3, 1 << 56, 10, 600), (3, 2 << 56, 20, 1200)]


def test_port_statistics_and_what_a_switch_does_not_count(reference: ModuleType) -> None:
    nothing = 0xFFFFFFFFFFFFFFFF
    raw = struct.pack("!I4x12QII", 7, 1, 2, 3, 4, nothing, 6, *range(6), 9, 500_000_000)
    read = reference.OFPPortStats.parser(raw, 0)
    assert (read.rx_packets, read.tx_bytes, read.tx_dropped) == (1, 4, 6)
    ((port, counted),) = codec.decode_port_counters(raw)
    assert (port, counted) == (7, PortCounters(3, 4, 1, 2, 6, 9.5))
    silent = struct.pack("!I4x12QII", 7, *[nothing] * 12, 0xFFFFFFFF, 0xFFFFFFFF)
    assert list(codec.decode_port_counters(silent)) == [(7, PortCounters(None, None, None, None, None, None))]


def test_queue_statistics(reference: ModuleType) -> None:
    raw = struct.pack("!IIQQQII", 7, 1, 100, 10, 3, 0, 0) + struct.pack("!IIQQQII", 8, 1, 0, 0, (1 << 64) - 1, 0, 0)
    assert reference.OFPQueueStats.parser(raw, 0).tx_errors == 3
    assert list(codec.decode_queue_drops(raw)) == [(7, 3)]


def test_groups_and_meters_that_a_switch_has(reference: ModuleType) -> None:
    entry = GroupEntry(0x10000001, "select", (Bucket((fl.Output(1),), 5), Bucket((fl.Output(2),), 6)))
    buckets = codec.encode_buckets(entry)
    raw = struct.pack("!HBxI", 8 + len(buckets), 1, entry.group_id) + buckets
    assert len(reference.OFPGroupDescStats.parser(raw, 0).buckets) == 2
    assert list(codec.decode_groups(raw * 2)) == [(entry.group_id, 1, buckets)] * 2
    meter = codec.encode(do.SetMeter(SWITCH, MeterEntry(5, 2000, 500), exists=False))[12:]
    described = struct.pack("!HHI", 8 + len(meter) - 4, 6, 5) + meter[4:]
    assert reference.OFPMeterConfigStats.parser(described, 0).meter_id == 5
    assert list(codec.decode_meters(described * 3)) == [5, 5, 5]


def test_more_parts_follow() -> None:
    assert codec.more_follows(struct.pack("!BBHIHH4x", 4, 19, 16, 0, 1, 1))
    assert not codec.more_follows(struct.pack("!BBHIHH4x", 4, 19, 16, 0, 1, 0))
