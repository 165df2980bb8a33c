"""First packets: judged once, kept as the widest verdict, within bounds; what was decided and seen is remembered, within bounds."""

import random

import pytest

from controller import addresses, inspection_gate
from controller.addresses import FAMILIES
from controller.classifier import FirstPacket, read_first_packet
from controller.core import Core
from controller.decisions import Announce, InstallFlow, RemoveFlow, RemoveMeter, SendPacket, SetMeter
from controller.events import FlowCounted, PacketSeen, PolicyChanged
from controller.firewall_log import BURST, KEPT, FirewallLog
from controller.flows import TO_TABLE, Output, Purpose, Resubmit, SetField
from controller.frames import Tcp, tcp
from controller.inspection import BUDGET_S, MAX_VERDICTS, PRIORITY
from controller.observation import KEPT_S, MAX_SEEN, Observations
from controller.parts import Planned
from controller.pipeline import HAD_VERDICT, SYN, MeterRange, Table
from controller.policy import Firewall, parse_policy
from controller.virtual_firewall import VirtualFirewall
from topologies.model.headers import PROTO_TCP, Ipv6
from topologies.model.headers import Tcp as TcpHeader
from topologies.model.packet import Packet

CLIENT, OTHER, SERVER = 0x0A000101, 0x0A000102, 0x0A000201
JUDGED = {"id": "judged", "action": "allow", "protocol": "tcp", "inspect": "first-packet"}


def virtual_firewall(*rules: dict[str, object], **settings: object) -> VirtualFirewall:
    made = VirtualFirewall(lambda event, rule, now: [])
    made.apply(Firewall.model_validate({"rules": rules, **settings}), 0.0)
    return made


def shown(src: int = CLIENT, dst: int = SERVER, port: int = 80, src_port: int = 40_000, dpid: int = 1) -> PacketSeen:
    frame = tcp(Tcp(src, src_port, dst, port, SYN, 1, 0), 2, 1)
    return PacketSeen(dpid, Purpose.WAITING, {"in_port": 3}, frame)


def test_a_frame_says_who_begins_to_talk_to_whom() -> None:
    frame = shown().frame
    assert read_first_packet(frame) == FirstPacket(CLIENT, SERVER, 6, 40_000, 80)
    assert [read_first_packet(frame[:length]) for length in (0, 14, 33)] == [None] * 3
    cut = read_first_packet(frame[:35])
    assert cut is not None and (cut.src_port, cut.dst_port) == (0, 0)


@pytest.mark.parametrize(
    "ends", [("::10.0.0.1", "fd00::64"), ("fd00::1", "::10.0.0.100"), ("::ffff:10.0.0.1", "fd00::64")]
)
def test_an_ipv4_address_in_disguise_begins_nothing(ends: tuple[str, str]) -> None:
    packet = Packet(1, 2, 0x86DD)
    packet.ip, packet.tcp = Ipv6(*map(addresses.number, ends), PROTO_TCP), TcpHeader(40_000, 80, 1, 0, SYN)
    assert read_first_packet(packet.to_bytes()) is None


def test_a_verdict_is_for_one_address_family() -> None:
    firewall = virtual_firewall({**JUDGED, "action": "drop"})
    ways = ((CLIENT, SERVER), (0xFD << 120 | 1, 0xFD << 120 | 2))
    decisions = [one for src, dst in ways for one in firewall.on_inspected(shown(src, dst), 0.0)]
    entries = [decision.entry for decision in decisions if isinstance(decision, InstallFlow)]
    assert [entry.match.get("eth_type") for entry in entries] == [0x0800, 0x86DD]


def test_the_verdict_is_for_everybody_and_the_packet_goes_on() -> None:
    firewall = virtual_firewall(JUDGED)
    verdict, let_in = firewall.on_inspected(shown(), 0.0)
    assert isinstance(verdict, InstallFlow) and isinstance(let_in, SendPacket)
    entry = verdict.entry
    assert (entry.priority, entry.goto, entry.purpose, entry.counts) == (
        PRIORITY,
        Table.BALANCE,
        Purpose.VERDICT,
        ("rule", "judged"),
    )
    assert [entry.match.get(name) for name in ("ipv4_src", "ipv4_dst", "tcp_dst")] == [None] * 3
    (again,) = firewall.on_inspected(shown(OTHER, port=443), 0.1)
    assert isinstance(again, SendPacket), "the same verdict is kept once"


def test_what_is_refused_is_kept_out_by_the_switch_and_not_let_in() -> None:
    firewall = virtual_firewall({**JUDGED, "action": "drop"})
    (verdict,) = firewall.on_inspected(shown(), 0.0)
    assert isinstance(verdict, InstallFlow) and (verdict.entry.goto, verdict.entry.actions) == (None, ())


def test_a_packet_that_was_let_in_comes_up_no_third_time() -> None:
    """A switch whose tables are full has no entry that lets it pass: it must not go round for ever."""
    firewall = virtual_firewall(JUDGED)
    _, let_in = firewall.on_inspected(shown(), 0.0)
    assert isinstance(let_in, SendPacket)
    (mark, to_table) = let_in.actions
    assert mark == SetField("reg6", HAD_VERDICT) and to_table == Output(TO_TABLE)
    marked = shown()
    marked.fields["reg6"] = HAD_VERDICT
    assert firewall.on_inspected(marked, 0.001) == []
    (again,) = firewall.on_inspected(shown(), 0.002)
    assert isinstance(again, SendPacket), "without the mark it is another, or the same sent again"


def test_what_was_let_in_goes_on_past_the_gate() -> None:
    firewall = virtual_firewall(JUDGED, fail_mode="closed")
    here = [entry for entry in firewall.rulebook.part.flows.values() if entry.table_id == Table.INSPECT]
    passing = [entry for entry in here if entry.actions == (Resubmit(Table.BALANCE),)]
    assert [entry.match.get("reg6") for entry in passing] == [HAD_VERDICT] * len(FAMILIES)
    assert min(entry.priority for entry in passing) > max(entry.priority for entry in inspection_gate.gate())


def test_a_budget_is_one_sources_and_ends() -> None:
    firewall = virtual_firewall({**JUDGED, "per_source_connections_per_s": 20, "per_source_pps": 500})
    decisions = firewall.on_inspected(shown(), 0.0) + firewall.on_inspected(shown(OTHER), 0.0)
    meters = [one.entry for one in decisions if isinstance(one, SetMeter)]
    entries = [one.entry for one in decisions if isinstance(one, InstallFlow)]
    assert [meter.rate_pps for meter in meters] == [20, 500, 20, 500]
    assert (
        len({meter.meter_id for meter in meters}) == 4 and min(meter.meter_id for meter in meters) >= MeterRange.SOURCE
    )
    begun, opened = entries[:2]
    assert begun.match.get("ipv4_src") == (CLIENT, 0xFFFFFFFF) == opened.match.get("ct_nw_src")
    assert (begun.meter_id, opened.meter_id, begun.goto, opened.goto) == (
        meters[0].meter_id, meters[1].meter_id, Table.BALANCE, Table.RESETS,
    )  # fmt: skip
    assert firewall.on_tick([], BUDGET_S - 1) == [*firewall.open_gates([])]
    over = firewall.inspector.on_tick(BUDGET_S)
    assert {one.meter_id for one in over if isinstance(one, RemoveMeter)} == {meter.meter_id for meter in meters}


def test_a_source_over_its_budget_is_named_once_a_minute() -> None:
    firewall = virtual_firewall({**JUDGED, "per_source_connections_per_s": 20})
    cookie = next(one.entry.cookie for one in firewall.on_inspected(shown(), 0.0) if isinstance(one, InstallFlow))
    said = []
    for second in range(1, 30):
        said += firewall.on_counted(FlowCounted(1, Table.FIREWALL, {cookie: 100 * second}), float(second))
    assert [one.text for one in said if isinstance(one, Announce)] == [
        "10.0.1.1 is over its budget: 100/s where rule judged allows 20/s"
    ]


def test_a_verdict_that_the_switch_no_longer_has_is_forgotten() -> None:
    firewall = virtual_firewall(JUDGED)
    firewall.on_inspected(shown(), 0.0)
    assert firewall.on_counted(FlowCounted(1, Table.FIREWALL, {}), 1.0) == [], (
        "the count lags: it may be too new to be there"
    )
    assert [type(one) for one in firewall.on_counted(FlowCounted(1, Table.FIREWALL, {}), 10.0)] == [RemoveFlow]
    assert not firewall.inspector.verdicts[1]


def test_a_switch_keeps_so_many_verdicts_and_the_oldest_make_room() -> None:
    deny = [{"id": f"no-{n}", "action": "drop", "priority": 200, "dst": f"10.1.{n}.0/24"} for n in range(200)]
    firewall = virtual_firewall(*deny, {**JUDGED, "per_source_pps": 5})
    for number in range(MAX_VERDICTS + 50):
        firewall.on_inspected(shown(CLIENT + number), float(number) / 1000)
    assert len(firewall.inspector.verdicts[1]) == MAX_VERDICTS
    removed = firewall.inspector.evict(1, 3)
    assert [type(one) for one in removed] == [RemoveFlow, RemoveFlow, RemoveMeter] * 3


def test_a_changed_rule_takes_all_verdicts_back_and_an_unchanged_policy_none() -> None:
    firewall = virtual_firewall(JUDGED)
    firewall.on_inspected(shown(), 0.0)
    assert firewall.apply(Firewall.model_validate({"rules": [JUDGED]}), 1.0) == []
    taken_back = firewall.apply(Firewall.model_validate({"rules": [{**JUDGED, "action": "drop"}]}), 1.0)
    assert [type(one) for one in taken_back] == [RemoveFlow]


def test_hits_and_bytes_are_those_of_the_rule() -> None:
    core = Core(lldp_key=bytes(32), rng=random.Random(1))
    core.handle(
        PolicyChanged(parse_policy({"version": 1, "firewall": {"rules": [{"id": "web", "action": "drop"}]}})), 0.0
    )
    core.wanted[1] = Planned({("rules",): core.firewall.rulebook.part})
    cookies = [flow.cookie for flow in core.firewall.rulebook.part.flows.values() if flow.counts == ("rule", "web")]
    counted = FlowCounted(1, Table.FIREWALL, dict.fromkeys(cookies, 5), dict.fromkeys(cookies, 600))
    core.handle(counted, 1.0)
    assert core.counters.total("rule", "web") == 5 * len(cookies)
    assert core.counters.total("octets", "rule", "web") == 600 * len(cookies)


def test_the_log_is_bounded_in_rate_and_length_and_says_what_is_missing() -> None:
    log, packet = FirewallLog(), FirstPacket(CLIENT, SERVER, 6, 40_000, 80)
    for _ in range(1000):
        log.add(0.0, 1, 3, packet, "r", "drop")
    log.add(10.0, 1, 3, packet, "r", "drop")
    newest = next(log.newest())
    assert (newest.serial, newest.suppressed) == (BURST + 1, 1000 - BURST)
    for second in range(100):
        for _ in range(100):
            log.add(20.0 + second, 1, 3, packet, "r", "drop")
    assert len(list(log.newest())) == KEPT


def test_what_was_seen_is_forgotten_after_an_hour_and_by_number() -> None:
    seen = Observations()
    for number in range(MAX_SEEN + 10):
        seen.add(FirstPacket(CLIENT + number, SERVER, 6, 40_000, 80), number / 1000)
    assert len(seen) == MAX_SEEN
    seen.add(FirstPacket(CLIENT, SERVER, 6, 40_000, 80), 20 + KEPT_S)
    assert len(seen) == 1


@pytest.mark.parametrize(("trial", "found"), [("drop", ["trial"]), ("reject", ["trial"]), ("allow", [])])
def test_a_trial_is_held_against_what_is_in_force(trial: str, found: list[str]) -> None:
    denied = {"id": "denied", "action": "drop", "dst": "10.0.9.0/24", "priority": 200}
    firewall = virtual_firewall(denied, {"id": "trial", "action": trial, "dry_run": True})
    firewall.on_observed(shown(), 1.0)
    firewall.on_observed(shown(dst=0x0A000901), 1.0)
    assert [one.rule for one in firewall.would_have_refused(2.0)] == found, (
        "what is refused already would not be by the trial"
    )
    other = Firewall.model_validate({"default": "drop"})
    assert [(one.rule, one.seen.dst) for one in firewall.would_have_refused(2.0, other)] == [(None, SERVER)]
