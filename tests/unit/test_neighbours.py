"""Neighbour discovery: what a message says, who answers it, and what a station that only tries an address may not bring about."""

import random

import pytest
from model_frames import advertisement, solicitation
from model_world import KEY

from controller import addresses, frames, neighbours
from controller.admission import attached, host_port
from controller.admission import neighbours as answers
from controller.core import Core
from controller.decisions import Announce, InstallFlow, SendPacket, SetMeter
from controller.events import PacketSeen, PolicyChanged, Port, SwitchConnected, Tick
from controller.flows import MeterEntry, Purpose
from controller.neighbours import CONTROLLER_IPV6, Message
from controller.pipeline import METER_RATES, Table
from controller.policy import parse_policy
from controller.topology import SETTLE_S, Host
from topologies.model.effects import PacketIn, Transmit
from topologies.model.headers import ND_ADVERTISEMENT, PROTO_TCP, RST, Ipv6, Tcp
from topologies.model.packet import Packet
from topologies.model.switch import FakeSwitch

ALICE, BOB, VIP = (addresses.number(text) for text in ("fd00::1:1", "fd00::1:2", "fd00::64"))
LINK_LOCAL = addresses.number("fe80::1")
ALICES_MAC, BOBS_MAC = 0x020000000101, 0x020000000102
SETTLED = 1000.0 + 2 * SETTLE_S


@pytest.fixture
def core() -> Core:
    """One switch with three host ports, and a VIP."""
    core = Core(lldp_key=KEY, rng=random.Random(1))
    member = {"name": "m", "address": "fd00::9", "port": 80}
    policy = {"version": 1, "pools": {"p": {"members": [member]}},
              "vips": {"v": {"address": addresses.text(VIP), "port": 80, "pool": "p"}}}  # fmt: skip
    core.handle(PolicyChanged(parse_policy(policy)), 1000.0)
    ports = tuple(Port(number, f"p{number}", number, up=True) for number in (1, 2, 3))
    core.handle(SwitchConnected(1, ports), 1000.0)
    core.handle(Tick(), SETTLED)
    return core


def hears(core: Core, port: int, frame: bytes, now: float = SETTLED) -> list:
    return core.handle(PacketSeen(1, Purpose.ND, {"in_port": port}, frame), now)


def sent(decisions: list) -> list[tuple[int, Message | None]]:
    """(port or table, message) of every frame of neighbour discovery that goes out."""
    return [(output.port, neighbours.read(decision.frame)) for decision in decisions if isinstance(decision, SendPacket)
            for output in decision.actions]  # fmt: skip


def test_a_solicitation_says_who_asks_for_whom() -> None:
    for option in (True, False):
        assert neighbours.read(solicitation(ALICE, ALICES_MAC, BOB, option)) == Message(True, ALICE, ALICES_MAC, BOB)


def test_an_advertisement_says_who_is_where() -> None:
    assert neighbours.read(advertisement(BOB, BOBS_MAC, ALICE, ALICES_MAC)) == Message(False, BOB, BOBS_MAC, BOB)


def test_a_trial_has_no_sender() -> None:
    assert neighbours.read(solicitation(0, ALICES_MAC, ALICE)) == Message(True, 0, ALICES_MAC, ALICE)


@pytest.mark.parametrize("disguised", ["::10.0.0.1", "::ffff:10.0.0.1", "ff02::1", "::"])
def test_nobody_asks_for_or_from_an_address_that_is_no_hosts(disguised: str) -> None:
    address = addresses.number(disguised)
    assert neighbours.read(solicitation(ALICE, ALICES_MAC, address)) is None
    assert not address or neighbours.read(solicitation(address, ALICES_MAC, BOB)) is None


def test_a_message_that_crossed_a_router_is_none() -> None:
    packet = Packet.from_bytes(solicitation(ALICE, ALICES_MAC, BOB))
    packet.ip = packet.ip._replace(ttl=254)
    assert neighbours.read(packet.to_bytes()) is None


def test_an_unknown_station_that_asks_is_learnt_and_its_question_let_in_again(core: Core) -> None:
    decisions = hears(core, 1, solicitation(ALICE, ALICES_MAC, VIP))
    assert core.topology.hosts[ALICE] == Host(ALICE, ALICES_MAC, 1, 1)
    assert isinstance(decisions[-1], SendPacket) and decisions[-1].in_port == 1


def test_link_local_addresses_are_learnt_like_any_other(core: Core) -> None:
    hears(core, 1, solicitation(LINK_LOCAL, ALICES_MAC, VIP))
    assert core.topology.hosts[LINK_LOCAL].port_no == 1


def test_whoever_asks_for_an_unknown_host_is_answered_when_it_shows_itself(core: Core) -> None:
    hears(core, 1, solicitation(ALICE, ALICES_MAC, VIP))
    asked = sent(hears(core, 1, solicitation(ALICE, ALICES_MAC, BOB)))
    question = Message(True, CONTROLLER_IPV6, frames.CONTROLLER_MAC, BOB)
    assert asked == [(1, question), (2, question), (3, question)]
    answered = sent(hears(core, 2, advertisement(BOB, BOBS_MAC, CONTROLLER_IPV6, frames.CONTROLLER_MAC)))
    assert (1, Message(False, BOB, BOBS_MAC, BOB)) in answered


def test_an_address_stays_where_it_answers(core: Core) -> None:
    hears(core, 1, solicitation(ALICE, ALICES_MAC, VIP))
    asked = hears(core, 3, solicitation(ALICE, BOBS_MAC, VIP))
    assert (1, Message(True, CONTROLLER_IPV6, frames.CONTROLLER_MAC, ALICE)) in sent(asked)
    hears(core, 1, advertisement(ALICE, ALICES_MAC, CONTROLLER_IPV6, frames.CONTROLLER_MAC), SETTLED + 0.1)
    core.handle(Tick(), SETTLED + 5)
    assert core.topology.hosts[ALICE].port_no == 1


def test_a_station_that_tries_an_address_teaches_nothing_and_asks_nobody(core: Core) -> None:
    assert hears(core, 1, solicitation(0, ALICES_MAC, ALICE)) == []
    assert core.topology.hosts == {}


def test_nor_does_it_hear_of_a_host_that_may_have_moved_to_it(core: Core) -> None:
    hears(core, 1, solicitation(ALICE, ALICES_MAC, VIP))
    assert hears(core, 3, solicitation(0, ALICES_MAC, ALICE)) == []
    assert core.topology.hosts[ALICE].port_no == 1


def test_a_vip_is_defended_against_whoever_tries_it(core: Core) -> None:
    decisions = hears(core, 2, solicitation(0, BOBS_MAC, VIP))
    assert sent(decisions) == [(2, Message(False, VIP, frames.vip_mac(VIP), VIP))]
    defended = next(Packet.from_bytes(decision.frame) for decision in decisions if isinstance(decision, SendPacket))
    assert defended.ip.dst == neighbours.ALL_NODES and not defended.icmp.rest & neighbours.SOLICITED
    assert [decision.kind for decision in decisions if isinstance(decision, Announce)] == ["spoof"]


@pytest.mark.parametrize("taken", [VIP, CONTROLLER_IPV6])
def test_no_host_may_have_what_is_the_fabrics_own(core: Core, taken: int) -> None:
    hears(core, 1, solicitation(taken, ALICES_MAC, BOB))
    hears(core, 1, advertisement(taken, ALICES_MAC, BOB, BOBS_MAC))
    assert taken not in core.topology.hosts


@pytest.mark.parametrize(("source", "recorded"), [("fd00::9", 1), ("::10.0.0.9", 0), ("::ffff:10.0.0.9", 0)])
def test_a_reset_of_an_ipv4_address_in_disguise_is_held_against_nobody(core: Core, source: str, recorded: int) -> None:
    packet = Packet(1, 2, 0x86DD)
    packet.ip, packet.tcp = Ipv6(addresses.number(source), ALICE, PROTO_TCP), Tcp(80, 40_000, 1, 0, RST)
    core.handle(PacketSeen(1, Purpose.INJECTED, {"in_port": 1}, packet.to_bytes()), SETTLED)
    assert len(list(core.resets.newest())) == recorded


def test_the_restart_of_the_controller_keeps_ipv6_hosts(core: Core) -> None:
    before = hears(core, 1, solicitation(ALICE, ALICES_MAC, VIP))
    (record,) = [decision for decision in before if getattr(decision, "namespace", "") == "hosts"]
    core.discovery.restore({record.key: record.value}, {}, {}, SETTLED)
    assert core.topology.hosts[ALICE] == Host(ALICE, ALICES_MAC, 1, 1)


# --- in the switch -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def switch() -> FakeSwitch:
    """Alice at port 1 and Bob at port 2 are known."""
    switch = FakeSwitch(1, [1, 2])
    for meter, rate in METER_RATES.items():
        assert switch.handle(SetMeter(1, MeterEntry(meter, *rate), exists=False), 0.0) == []
    hosts = [Host(ALICE, ALICES_MAC, 1, 1), Host(BOB, BOBS_MAC, 1, 2)]
    entries = [*host_port(1), *host_port(2), *answers([VIP], hosts)]
    for entry in [*entries, *(entry for host in hosts for entry in attached(host))]:
        assert switch.handle(InstallFlow(1, entry), 0.0) == []
    return switch


@pytest.mark.parametrize(("target", "mac"), [(VIP, frames.vip_mac(VIP)), (BOB, BOBS_MAC)])
def test_a_question_is_answered_by_the_switch_and_nobody_else_hears_it(
    switch: FakeSwitch, target: int, mac: int
) -> None:
    (effect,) = switch.receive(solicitation(ALICE, ALICES_MAC, target), 1, 0.0)
    assert isinstance(effect, Transmit) and effect.port == 1
    answer = Packet.from_bytes(effect.frame)
    assert not answer.damaged and answer.icmp.type == ND_ADVERTISEMENT and answer.ip.ttl == 255
    assert (answer.eth_src, answer.eth_dst, answer.ip.src, answer.ip.dst) == (mac, ALICES_MAC, target, ALICE)
    assert (answer.nd.target, answer.nd.option, answer.nd.mac, answer.icmp.rest) == (target, 2, mac, 0x60000000)


def test_a_question_in_anothers_name_is_shown_to_the_controller(switch: FakeSwitch) -> None:
    (effect,) = switch.receive(solicitation(ALICE, BOBS_MAC, VIP), 2, 0.0)
    assert isinstance(effect, PacketIn) and effect.table_id == Table.ADMISSION


@pytest.mark.parametrize("kind", [133, 134, 137, 143])
def test_routers_and_groups_are_nobodys_business(switch: FakeSwitch, kind: int) -> None:
    packet = Packet.from_bytes(solicitation(ALICE, ALICES_MAC, BOB))
    packet.icmp, packet.nd, packet.payload = packet.icmp._replace(type=kind), None, bytes(16)
    assert switch.receive(packet.to_bytes(), 1, 0.0) == []
