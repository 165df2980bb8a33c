"""Connections that a switch's tracker no longer knows: every member is asked, the one that answers gets it, within bounds."""

from controller.decisions import InstallFlow, SendPacket
from controller.events import PacketSeen
from controller.flows import TO_TABLE, Ct, Output, Purpose, Resubmit, SetField
from controller.frames import Tcp, tcp
from controller.pickup import ANSWERED_S, ASKED_AGAIN_S, COPIES_PER_S, MAX_ASKED, Pickup, Way
from controller.pipeline import ACK, KNOWN, MEMBER_MASK, PSH, SYN_ACK_SEEN, VIP_MASK, VIP_SHIFT, Table
from controller.reconcile import Installed
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
    made.begin(1, ways or WAYS, Installed())
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


def answered(made: Pickup, now: float, member: int = TWO, seq: int = 5000, ack: int = 1003) -> list[SendPacket]:
    return show(made, Tcp(member, 8080, CLIENT, 40_000, ACK | PSH, seq, ack, 500, payload=b"200"), UPLINK, now)


def commits(decisions: list[SendPacket]) -> bool:
    return any(isinstance(one.actions[0], Ct) for one in decisions)


def test_both_ends_of_what_is_unknown_are_shown_for_a_while() -> None:
    made = Pickup(begun().topology)
    flows = [one.entry for one in made.begin(1, WAYS, Installed()) if isinstance(one, InstallFlow)]
    assert [entry.match.get("ipv4_dst") for entry in flows if entry.priority == 76] == [VIP], "each VIP once"
    places = [(entry.match.get("ipv4_src"), entry.match.get("reg0")) for entry in flows if entry.priority == 78]
    assert places == [(ONE, 0), (ONE, 1), (TWO, 0), (TWO, 1)]
    assert {(entry.purpose, entry.goto, entry.hard_timeout_s) for entry in flows} == {(Purpose.PICKED_UP, None, 60)}
    assert made.begin(2, WAYS, Installed()) == [], "nobody is attached: no connection begins there"


def test_every_member_is_asked_once_by_a_segment_one_number_too_old() -> None:
    made = begun()
    questions = asked(made, 0.0)
    assert {(one.actions, one.in_port) for one in questions} == {((Resubmit(Table.ROUTE),), PORT)}
    segments = [read_segment(one.frame) for one in questions]
    assert [(one.dst_text, one.dst_port, one.flags, one.seq, one.ack) for one in segments if one] == [
        ("10.0.2.2", 8080, ACK, 999, 5000),
        ("10.0.3.2", 8080, ACK, 999, 5000),
    ]
    assert asked(made, ASKED_AGAIN_S / 2) == []
    assert len(asked(made, ASKED_AGAIN_S * 2)) == 2, "sent again: the answer was lost"


def test_the_clients_own_segment_commits_it_to_the_member_that_answers() -> None:
    made = begun()
    asked(made, 0.0)
    opened, again = answered(made, 0.001)
    (commit,) = opened.actions
    assert isinstance(commit, Ct) and commit.commit and commit.zone == ZONE and commit.mark and commit.nat
    value, _ = commit.mark
    assert value & KNOWN and value & SYN_ACK_SEEN
    assert (value & MEMBER_MASK, (value & VIP_MASK) >> VIP_SHIFT) == (12, 3)
    assert (commit.nat.kind, commit.nat.address, commit.nat.ports) == ("dst", TWO, (8080, 8080))
    segment = read_segment(opened.frame)
    assert segment is not None and (segment.dst_text, segment.seq, segment.payload_bytes) == ("10.0.0.100", 1000, 3)
    assert opened.in_port == PORT
    assert (again.actions, again.in_port) == ((Output(TO_TABLE),), UPLINK)


def test_what_a_member_sends_first_is_shown_to_the_client_as_its_vips() -> None:
    """Not committed: to the member a connection to its own address looks the same."""
    made = begun(*WAYS, Way(OTHER_VIP, 80, TWO, 8080, 4, 12))
    shown = answered(made, 0.0)
    to_client = (SetField("eth_dst", 0x020000000001), Output(PORT))
    assert [one.actions for one in shown] == [
        (SetField("ipv4_src", vip), SetField("tcp_src", 80), *to_client) for vip in (VIP, OTHER_VIP)
    ]


def test_a_connection_to_a_members_own_address_leads_to_no_vip() -> None:
    made = begun()
    (opened,) = show(made, Tcp(CLIENT, 40_000, TWO, 8080, ACK, 1000, 5000, 500), PORT, 0.0)
    (commit,) = opened.actions
    assert isinstance(commit, Ct) and commit.commit and commit.nat is None and commit.mark
    assert commit.mark[0] & KNOWN and not commit.mark[0] & (VIP_MASK | MEMBER_MASK)


def test_an_answer_is_for_the_vip_that_was_asked_and_in_time() -> None:
    made = begun(*WAYS, Way(OTHER_VIP, 80, TWO, 8080, 4, 12))
    assert len(asked(made, 1.0, vip=OTHER_VIP)) == 1
    opened, _ = answered(made, 1.1)
    assert isinstance(opened.actions[0], Ct)
    asked(made, 2.0)
    assert not commits(answered(made, 2.0 + 2 * ANSWERED_S))


def test_a_member_in_time_wait_is_not_taken_for_the_one_that_has_it() -> None:
    """It acknowledges the question too, with the numbers of the connection that is over (RFC 9293 §3.10.7.4)."""
    made = begun()
    asked(made, 0.0)
    assert not commits(answered(made, 0.1, ONE, ack=999))
    assert not commits(answered(made, 0.1, ONE, ack=1000 + (1 << 24)))
    assert not commits(answered(made, 0.1, ONE, seq=4999))
    assert commits(answered(made, 0.2, TWO, ack=1000)), "the one that has it has not had the segment yet"


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
    for second in range(3, 9):
        for port in range(1024, 1024 + COPIES_PER_S):
            asked(made, second, port, VIP)
    assert len(made.asked) <= MAX_ASKED
