"""Links and hosts are found, questions are asked and answered, and nobody is believed too easily."""

from itertools import pairwise

import pytest

from controller import frames
from controller.beacons import INTERVAL_S, LINK_TIMEOUT_S
from controller.decisions import Announce, Persist, SendPacket
from controller.discovery import Discovery
from controller.events import Port, PortChanged, SwitchConnected
from controller.flows import TO_TABLE, Output
from controller.frames import ARP_REPLY, ARP_REQUEST, Arp, arp
from controller.host_learning import (
    LEARN_BURST,
    LEARN_PER_S,
    MAKE_ROOM_INTERVAL_S,
    MAX_QUESTIONS,
    MOVE_ANSWER_S,
    QUESTION_INTERVAL_S,
)
from controller.subnets import Subnets
from controller.topology import MAX_HOSTS_PER_PORT, SETTLE_S, Host, Topology

KEY = b"key"
LEFT, RIGHT = 1, 2
SETTLED = 10.0
ALICE = Host(0x0A000101, 0x020000000101, LEFT, 1)
BOB = Host(0x0A000201, 0x020000000201, RIGHT, 1)


def port(number: int, up: bool = True) -> Port:
    return Port(number, f"p{number}", number, up)


@pytest.fixture
def discovery() -> Discovery:
    """Two switches with two ports each, connected long ago; nothing is known of what is behind them."""
    found = Discovery(Topology(), KEY)
    for zone, dpid in enumerate((LEFT, RIGHT), 1):
        found.on_connected(SwitchConnected(dpid, (port(1), port(2))), zone, 0.0)
    found.on_tick(SETTLED)
    return found


def link(discovery: Discovery, now: float = SETTLED) -> None:
    """Port 2 of one leads to port 2 of the other."""
    discovery.on_lldp(RIGHT, 2, frames.lldp(KEY, LEFT, 2), now)
    discovery.on_lldp(LEFT, 2, frames.lldp(KEY, RIGHT, 2), now)


def says(discovery: Discovery, host: Host, target: int, now: float, op: int = ARP_REQUEST) -> list:
    message = Arp(op, host.mac, host.ip, 0, target)
    return discovery.hosts.on_neighbour(host.dpid, host.port_no, arp(message, frames.BROADCAST), now)


def sent_to(decisions: list, dpid: int) -> list[SendPacket]:
    return [decision for decision in decisions if isinstance(decision, SendPacket) and decision.dpid == dpid]


def test_a_port_that_comes_up_is_asked_often_at_first_and_seldom_later() -> None:
    discovery, now, sent = Discovery(Topology(), KEY), 0.0, []
    discovery.on_connected(SwitchConnected(LEFT, (port(1),)), 1, now)
    sent.append(now)
    while now < 12:
        now = discovery.next_deadline(now)
        if sent_to(discovery.on_tick(now), LEFT):
            sent.append(now)
    gaps = [round(later - earlier, 3) for earlier, later in pairwise(sent)]
    assert gaps[:3] == [0.2] * 3 and gaps[-1] == INTERVAL_S


def test_a_link_is_used_when_both_directions_were_seen(discovery: Discovery) -> None:
    decisions = discovery.on_lldp(RIGHT, 2, frames.lldp(KEY, LEFT, 2), SETTLED)
    assert sent_to(decisions, RIGHT), "it asks for the other direction at once"
    assert list(discovery.topology.usable_links()) == []
    discovery.on_lldp(LEFT, 2, frames.lldp(KEY, RIGHT, 2), SETTLED)
    assert set(discovery.topology.usable_links()) == {((1, 2), (2, 2)), ((2, 2), (1, 2))}
    assert discovery.topology.distance(LEFT, RIGHT) == 1


def test_a_forged_or_foreign_link_frame_says_nothing(discovery: Discovery) -> None:
    for frame in (frames.lldp(b"another key", LEFT, 2), frames.lldp(KEY, 99, 2), frames.lldp(KEY, RIGHT, 2)[:40], b""):
        assert discovery.on_lldp(RIGHT, 2, frame, SETTLED) == []
    assert discovery.on_lldp(RIGHT, 2, frames.lldp(KEY, RIGHT, 2), SETTLED) == [], "its own, come back"
    assert discovery.topology.links == {}


def test_a_link_that_falls_silent_is_forgotten_unless_a_switch_is_away(discovery: Discovery) -> None:
    link(discovery)
    discovery.topology.switches[RIGHT].connected = False
    discovery.on_tick(SETTLED + 10 * LINK_TIMEOUT_S)
    assert len(discovery.topology.links) == 2, "nobody could have asked"
    discovery.topology.switches[RIGHT].connected = True
    decisions = discovery.on_tick(SETTLED + 11 * LINK_TIMEOUT_S + 0.1)
    assert discovery.topology.links == {}
    assert Persist("links", f"{LEFT:016x}:2", None) in decisions


def test_a_port_that_goes_down_takes_its_link_out_of_use_at_once(discovery: Discovery) -> None:
    link(discovery)
    discovery.topology_changed = False
    discovery.on_port(PortChanged(LEFT, port(2, up=False)), SETTLED + 1)
    assert list(discovery.topology.usable_links()) == [] and discovery.topology_changed
    discovery.on_port(PortChanged(LEFT, port(2)), SETTLED + 2)
    assert len(list(discovery.topology.usable_links())) == 2
    removed = discovery.on_port(PortChanged(LEFT, port(2), removed=True), SETTLED + 3)
    assert (LEFT, 2) not in discovery.topology.links and removed


def test_hosts_are_learnt_at_ports_that_had_time_to_show_a_switch(discovery: Discovery) -> None:
    discovery.on_port(PortChanged(LEFT, port(3)), SETTLED)
    fresh = Host(ALICE.ip, ALICE.mac, LEFT, 3)
    assert discovery.hosts.learn(fresh, SETTLED + SETTLE_S - 0.01) == []
    assert discovery.hosts.learn(fresh, SETTLED + SETTLE_S) != []
    link(discovery)
    assert discovery.hosts.learn(Host(BOB.ip, BOB.mac, RIGHT, 2), SETTLED) == [], "behind that port is a switch"


def test_a_host_behind_a_port_that_turns_out_to_lead_to_a_switch_is_forgotten(discovery: Discovery) -> None:
    discovery.hosts.learn(Host(BOB.ip, BOB.mac, RIGHT, 2), SETTLED)
    link(discovery)
    assert discovery.topology.hosts == {}


@pytest.mark.parametrize("ip", [0, 0x7F000001, 0xE0000001, 0xFFFFFFFF])
def test_what_is_no_hosts_address_is_not_learnt(discovery: Discovery, ip: int) -> None:
    assert discovery.hosts.learn(Host(ip, ALICE.mac, LEFT, 1), SETTLED) == []


@pytest.mark.parametrize("mac", [0, frames.BROADCAST, 0x010000000001, frames.CONTROLLER_MAC, frames.edge_mac(3)])
def test_what_is_no_stations_mac_is_not_learnt(discovery: Discovery, mac: int) -> None:
    assert discovery.hosts.learn(Host(ALICE.ip, mac, LEFT, 1), SETTLED) == []


def test_an_address_of_the_controllers_own_is_nobodys(discovery: Discovery) -> None:
    discovery.hosts.learn(ALICE, SETTLED)
    discovery.hosts.changed = False
    discovery.hosts.reserve(frozenset({ALICE.ip}), Subnets())
    assert discovery.topology.hosts == {} and discovery.hosts.changed
    assert [decision.kind for decision in discovery.hosts.learn(ALICE, SETTLED)] == ["spoof"]
    assert discovery.topology.hosts == {}


def test_a_port_has_room_for_so_many_addresses(discovery: Discovery) -> None:
    for number in range(MAX_HOSTS_PER_PORT + 5):
        decisions = discovery.hosts.learn(Host(0x0A010000 + number, 0x020000000000 + number, LEFT, 1), SETTLED + number)
    assert len(discovery.topology.hosts) == MAX_HOSTS_PER_PORT
    assert [decision.kind for decision in decisions] == ["host-refused"]


def test_at_a_full_port_a_stations_oldest_ipv6_address_makes_room_for_its_newest(discovery: Discovery) -> None:
    daily = [Host(0xFD << 120 | number, ALICE.mac, LEFT, 1) for number in range(MAX_HOSTS_PER_PORT + 2)]
    for number, host in enumerate(daily[:-1]):
        decisions = discovery.hosts.learn(host, SETTLED + number * MAKE_ROOM_INTERVAL_S)
    assert daily[0].ip not in discovery.topology.hosts and daily[-2].ip in discovery.topology.hosts
    assert Persist("hosts", f"{daily[0].ip:08x}", None) in decisions, "nor does it come back with a restart"
    now = SETTLED + len(daily[:-2]) * MAKE_ROOM_INTERVAL_S
    stranger = Host(0xFD << 120 | 0xFFFF, BOB.mac, LEFT, 1)
    for host, when in ((stranger, now + MAKE_ROOM_INTERVAL_S), (daily[-1], now + MAKE_ROOM_INTERVAL_S / 2)):
        assert [decision.kind for decision in discovery.hosts.learn(host, when)] == ["host-refused"]
    assert len(discovery.topology.hosts) == MAX_HOSTS_PER_PORT


def test_a_port_teaches_a_burst_at_once_and_then_a_few_per_second(discovery: Discovery) -> None:
    def learnt(now: float) -> int:
        for number in range(200):
            discovery.hosts.learn(Host(0x0A010000 + int(now) * 256 + number, 0x020000000001, LEFT, 1), now)
        return len(discovery.topology.hosts)

    assert learnt(SETTLED) == LEARN_BURST
    assert learnt(SETTLED + 1) == LEARN_BURST + LEARN_PER_S
    assert discovery.hosts.learn(BOB, SETTLED) != [], "other ports have allowances of their own"


def test_an_address_moves_when_its_old_place_is_silent(discovery: Discovery) -> None:
    discovery.hosts.learn(ALICE, SETTLED)
    moved = Host(ALICE.ip, 0x0200000001FF, RIGHT, 1)
    (question,) = discovery.hosts.learn(moved, SETTLED + 1)
    assert (question.dpid, question.actions) == (LEFT, (Output(1),))
    assert discovery.hosts.learn(moved, SETTLED + 1.1) == [], "asked already"
    assert discovery.next_deadline(SETTLED + 1.1) <= SETTLED + 1 + MOVE_ANSWER_S
    discovery.on_tick(SETTLED + 1 + MOVE_ANSWER_S)
    assert discovery.topology.hosts[ALICE.ip] == moved


def test_an_address_stays_where_it_answers(discovery: Discovery) -> None:
    discovery.hosts.learn(ALICE, SETTLED)
    discovery.hosts.learn(Host(ALICE.ip, 0x0200000001FF, RIGHT, 1), SETTLED + 1)
    decisions = says(discovery, ALICE, 0, SETTLED + 1.2, ARP_REPLY)
    assert [decision.kind for decision in decisions if isinstance(decision, Announce)] == ["spoof"]
    discovery.on_tick(SETTLED + 3)
    assert discovery.topology.hosts[ALICE.ip] == ALICE


def test_an_address_does_not_move_to_a_port_that_meanwhile_leads_to_a_switch(discovery: Discovery) -> None:
    discovery.hosts.learn(ALICE, SETTLED)
    discovery.hosts.learn(Host(ALICE.ip, ALICE.mac, RIGHT, 2), SETTLED + 1)
    link(discovery, SETTLED + 1.5)
    discovery.on_tick(SETTLED + 3)
    assert discovery.topology.hosts[ALICE.ip] == ALICE


def test_an_address_whose_port_is_down_moves_at_once(discovery: Discovery) -> None:
    discovery.hosts.learn(ALICE, SETTLED)
    discovery.on_port(PortChanged(LEFT, port(1, up=False)), SETTLED + 1)
    moved = Host(ALICE.ip, ALICE.mac, RIGHT, 1)
    discovery.hosts.learn(moved, SETTLED + 2)
    assert discovery.topology.hosts[ALICE.ip] == moved


def test_whoever_asks_for_an_unknown_host_is_answered_when_it_shows_itself(discovery: Discovery) -> None:
    says(discovery, ALICE, BOB.ip, SETTLED)
    assert discovery.hosts.answers[-1].actions == (Output(TO_TABLE),), "a new station's question is let in again"
    discovery.hosts.changed, discovery.hosts.answers = False, []
    asked = says(discovery, ALICE, BOB.ip, SETTLED)
    assert [packet.dpid for packet in asked] == [LEFT, RIGHT]
    assert all(frames.read_arp(packet.frame).tpa == BOB.ip for packet in asked)
    assert says(discovery, ALICE, BOB.ip, SETTLED + QUESTION_INTERVAL_S / 2) == []
    says(discovery, BOB, 0, SETTLED + 0.7, ARP_REPLY)
    (answer,) = discovery.hosts.answers
    read = frames.read_arp(answer.frame)
    assert (answer.dpid, answer.actions, read.op, read.spa, read.sha) == (
        LEFT,
        (Output(1),),
        ARP_REPLY,
        BOB.ip,
        BOB.mac,
    )


def test_a_question_between_known_hosts_is_answered_in_the_others_name(discovery: Discovery) -> None:
    for host in (ALICE, BOB):
        discovery.hosts.learn(host, SETTLED)
    discovery.hosts.changed = False
    (answer,) = says(discovery, ALICE, BOB.ip, SETTLED)
    assert frames.read_arp(answer.frame).sha == BOB.mac


def test_a_scan_for_absent_hosts_does_not_use_up_the_memory_nor_the_waiting_room(discovery: Discovery) -> None:
    discovery.hosts.learn(ALICE, SETTLED)
    discovery.hosts.changed = False
    for number in range(3 * MAX_QUESTIONS):
        says(discovery, ALICE, 0x0A020000 + number, SETTLED + number / 100)
    assert len(discovery.hosts._waiting) <= MAX_QUESTIONS and len(discovery.hosts._asked) <= MAX_QUESTIONS + 1
    now = SETTLED + 100
    says(discovery, ALICE, BOB.ip, now)
    says(discovery, BOB, 0, now, ARP_REPLY)
    assert [answer.dpid for answer in discovery.hosts.answers] == [LEFT], "a late question is still answered"


def test_askers_under_invented_addresses_are_not_remembered(discovery: Discovery) -> None:
    for number in range(MAX_HOSTS_PER_PORT + 300):
        for _ in range(2):
            says(discovery, Host(0x0A010000 + number, ALICE.mac, LEFT, 1), BOB.ip, SETTLED + number)
            discovery.hosts.changed, discovery.hosts.answers = False, []
    assert sum(len(waiting) for waiting in discovery.hosts._waiting.values()) <= MAX_HOSTS_PER_PORT


def test_what_the_last_run_knew_is_believed_until_it_shows_otherwise(discovery: Discovery) -> None:
    later = Discovery(Topology(), KEY)
    hosts = {f"{ALICE.ip:08x}": [ALICE.mac, LEFT, 1], "zz": "nonsense", f"{BOB.ip:08x}": [BOB.mac, 99, 1]}
    links = {f"{LEFT:016x}:2": [RIGHT, 2], f"{RIGHT:016x}:2": [LEFT, 2], f"{99:016x}:2": [LEFT, 2]}
    later.restore(hosts, links, {f"{LEFT:016x}": 1, f"{RIGHT:016x}": 2, f"{3:016x}": "x"}, 0.0)
    assert later.topology.hosts == {ALICE.ip: ALICE}
    assert len(list(later.topology.usable_links())) == 2, "nobody has connected yet, and all of it forwards"
    later.on_connected(SwitchConnected(LEFT, (port(1), port(2, up=False))), 1, 5.0)
    assert list(later.topology.usable_links()) == [], "one end says that it is down"


def test_a_port_that_is_gone_when_a_switch_comes_back_is_gone(discovery: Discovery) -> None:
    link(discovery)
    discovery.on_connected(SwitchConnected(LEFT, (port(1),)), 1, SETTLED)
    assert (LEFT, 2) not in discovery.topology.links
    assert 2 not in discovery.topology.switches[LEFT].ports
