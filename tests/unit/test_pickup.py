"""Connections that a switch's tracker no longer knows: shown to every member, committed for the one that answers, within bounds."""

from controller import pickup
from controller.decisions import InstallFlow, SendPacket
from controller.events import PacketSeen
from controller.flows import TO_TABLE, Connection, Ct, Output, Purpose, SetField
from controller.frames import Tcp, tcp
from controller.pickup import ASKED_AGAIN_S, COPIES_PER_S, MAX_ASKED, Pickup, Way
from controller.pipeline import ACK, KNOWN, MEMBER_MASK, PSH, SYN_ACK_SEEN, VIP_MASK, VIP_SHIFT
from controller.segments import read_segment
from controller.topology import Host, Switch, Topology

VIP, OTHER_VIP, CLIENT = 0x0A000064, 0x0A000065, 0x0A000101
ONE, TWO = 0x0A000202, 0x0A000302
WAYS = [Way(VIP, 80, ONE, 8080, 3, 11), Way(VIP, 80, TWO, 8080, 3, 12)]
ZONE, PORT, UPLINK = 5, 7, 9


def begun(*ways: Way) -> Pickup:
    topology = Topology()
    topology.switches[1] = Switch(1, ZONE)
    topology.hosts[CLIENT] = Host(CLIENT, 0x020000000001, 1, PORT)
    made = Pickup(topology)
    made.begin(1, ways or WAYS)
    return made


def show(made: Pickup, segment: Tcp, in_port: int, now: float) -> list[SendPacket]:
    frame = tcp(segment, 2, 1)
    read = read_segment(frame)
    assert read is not None
    decisions = made.on_segment(PacketSeen(1, Purpose.PICKED_UP, {"in_port": in_port}, frame), read, ZONE, now)
    assert all(isinstance(one, SendPacket) for one in decisions)
    return [one for one in decisions if isinstance(one, SendPacket)]


def asked(made: Pickup, now: float, port: int = 40_000, vip: int = VIP) -> list[SendPacket]:
    return show(made, Tcp(CLIENT, port, vip, 80, ACK | PSH, 1000, 5000, 500, payload=b"GET"), PORT, now)


def answered(made: Pickup, now: float, member: int = TWO, port: int = 40_000) -> list[SendPacket]:
    return show(made, Tcp(member, 8080, CLIENT, port, ACK | PSH, 5000, 1003, 500, payload=b"200"), UPLINK, now)


def test_both_ends_of_what_is_unknown_are_shown_for_a_while() -> None:
    made = Pickup(begun().topology)
    flows = [one.entry for one in made.begin(1, WAYS) if isinstance(one, InstallFlow)]
    assert [entry.match.get("ipv4_dst") for entry in flows if entry.priority == 76] == [VIP], "each VIP once"
    places = [(entry.match.get("ipv4_src"), entry.match.get("reg0")) for entry in flows if entry.priority == 78]
    assert places == [(ONE, 0), (ONE, 1), (TWO, 0), (TWO, 1)]
    assert {(entry.purpose, entry.goto, entry.hard_timeout_s) for entry in flows} == {(Purpose.PICKED_UP, None, 60)}
    assert made.begin(2, WAYS) == [], "nobody is attached: no connection begins there"


def test_a_clients_segment_is_shown_to_every_member_and_to_each_once() -> None:
    made = begun()
    copies = asked(made, 0.0)
    assert [copy.actions for copy in copies] == [
        (SetField("ipv4_dst", member), SetField("tcp_dst", 8080), Output(TO_TABLE)) for member in (ONE, TWO)
    ]
    assert {copy.in_port for copy in copies} == {PORT}
    assert asked(made, ASKED_AGAIN_S / 2) == []
    assert len(asked(made, ASKED_AGAIN_S * 2)) == 2, "sent again: the answer was lost"


def test_the_member_that_answers_has_it_as_its_client_opened_it() -> None:
    made = begun()
    asked(made, 0.0)
    old, again = answered(made, 0.001)
    (commit,) = old.actions
    assert isinstance(commit, Ct) and commit.commit and commit.zone == ZONE and commit.mark and commit.nat
    value, _ = commit.mark
    assert value & KNOWN and value & SYN_ACK_SEEN
    assert (value & MEMBER_MASK, (value & VIP_MASK) >> VIP_SHIFT) == (12, 3)
    assert (commit.nat.kind, commit.nat.address, commit.nat.ports) == ("dst", TWO, (8080, 8080))
    segment = read_segment(old.frame)
    assert segment is not None and (segment.src_text, segment.dst_text) == ("10.0.1.1", "10.0.0.100")
    # One number too old, and it acknowledges nothing that the client may not have.
    assert (segment.flags, segment.seq, segment.ack, old.in_port) == (ACK, 1002, 5000, PORT)
    assert (again.actions, again.in_port) == ((Output(TO_TABLE),), UPLINK)


def test_a_member_that_speaks_first_is_taken_up_too() -> None:
    assert len(answered(begun(), 0.0)) == 2


def test_an_answer_that_may_be_for_either_of_two_vips_is_for_the_one_that_was_asked() -> None:
    made = begun(*WAYS, Way(OTHER_VIP, 80, TWO, 8080, 4, 12))
    assert answered(made, 0.0) == []
    assert len(asked(made, 1.0, vip=OTHER_VIP)) == 1
    old, _ = answered(made, 1.1)
    segment = read_segment(old.frame)
    assert segment is not None and segment.dst_text == "10.0.0.101"
    assert answered(made, 60.0) == []


def test_a_client_elsewhere_is_none_of_this_switchs() -> None:
    made = begun()
    made.topology.hosts[CLIENT] = Host(CLIENT, 0x020000000001, 2, PORT)
    assert answered(made, 0.0) == []
    del made.topology.hosts[CLIENT]
    assert answered(made, 0.0) == []


def test_a_flood_of_stray_segments_is_not_made_larger_and_not_remembered() -> None:
    made = begun()
    copies = sum(len(asked(made, 0.5, port)) for port in range(1024, 1024 + COPIES_PER_S))
    assert copies == COPIES_PER_S
    assert len(asked(made, 2.0, 60_000)) == 2, "a second later there is room again"
    assert len(made._asked) <= MAX_ASKED
    assert pickup.ANSWERED_S > ASKED_AGAIN_S
    assert Connection(CLIENT, 60_000, VIP, 80) in made._asked
