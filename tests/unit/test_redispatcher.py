"""A refused SYN is made again for another member, until nobody is left or too much time has passed."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balance import Choice, Service, pin
from controller.decisions import FlushConnection, SendPacket
from controller.flows import Connection, Ct, Output
from controller.frames import vip_mac
from controller.redispatch import BUDGET_S, FORGOTTEN_AFTER_S, MAX_ATTEMPTS_KEPT, Redispatcher, Refused, refuse
from controller.topology import Host
from topologies.model.headers import ACK, RST, SYN
from topologies.model.packet import Packet

ZONE, EDGE = 7, 1
CLIENT = Host(0x0A000101, 0x020000000101, EDGE, 3)
CONNECTION = Connection(CLIENT.ip, 40000, 0x0A000064, 80)
CHOICES = tuple(Choice(number, 0x0A000200 + number, 8080, 100) for number in (1, 2, 3))
SERVICE = Service(4, 0x0A000064, 80, CHOICES, redispatch=True)
ISN = 0xFFFFFFFF


def refused_by(member: int, isn: int = ISN, connection: Connection = CONNECTION) -> Refused:
    return Refused(EDGE, ZONE, connection, member, isn, CLIENT)


def test_the_syn_is_opened_on_another_member_straight_in_the_tracker() -> None:
    decisions, choice = Redispatcher().on_refused(refused_by(1), SERVICE, set(), 0.0)
    flush, opened = decisions
    assert flush == FlushConnection(EDGE, ZONE, CONNECTION)
    assert choice in CHOICES[1:]
    assert isinstance(opened, SendPacket) and opened.actions == (pin(ZONE, SERVICE, choice),)
    assert isinstance(opened.actions[0], Ct) and opened.in_port == CLIENT.port_no
    syn = Packet.from_bytes(opened.frame)
    assert not syn.damaged and syn.tcp.flags == SYN and syn.tcp.seq == ISN
    assert (syn.ip.src, syn.tcp.src, syn.ip.dst, syn.tcp.dst) == CONNECTION[:4]
    assert (syn.eth_src, syn.eth_dst) == (CLIENT.mac, vip_mac(CONNECTION.dst))
    assert syn.tcp.options == b"\x02\x04\x05\xb4", "an MSS and no invented timestamp (RFC 7323 §5, PAWS)"


def test_when_every_member_has_refused_the_client_gets_its_refusal() -> None:
    redispatcher, tried = Redispatcher(), [1]
    for now in (0.0, 0.001):
        _, choice = redispatcher.on_refused(refused_by(tried[-1]), SERVICE, set(), now)
        tried.append(choice.number)
    assert sorted(tried) == [1, 2, 3]
    (flush, refusal), choice = redispatcher.on_refused(refused_by(tried[-1]), SERVICE, set(), 0.002)
    assert choice is None and isinstance(flush, FlushConnection)
    reset = Packet.from_bytes(refusal.frame)
    assert reset.tcp.flags == RST | ACK and (reset.tcp.seq, reset.tcp.ack) == (0, (ISN + 1) & 0xFFFFFFFF)
    assert (reset.ip.src, reset.tcp.src, reset.ip.dst, reset.tcp.dst) == (
        CONNECTION.dst, CONNECTION.dst_port, CONNECTION.src, CONNECTION.src_port)  # fmt: skip
    assert refusal.actions == (Output(CLIENT.port_no),)


def test_a_client_does_not_wait_longer_than_the_budget() -> None:
    redispatcher = Redispatcher()
    redispatcher.on_refused(refused_by(1), SERVICE, set(), 0.0)
    _, choice = redispatcher.on_refused(refused_by(2), SERVICE, set(), BUDGET_S)
    assert choice is None


def test_a_new_connection_from_the_same_port_begins_anew() -> None:
    redispatcher = Redispatcher()
    redispatcher.on_refused(refused_by(1, isn=1), SERVICE, set(), 0.0)
    _, choice = redispatcher.on_refused(refused_by(1, isn=2), SERVICE, set(), BUDGET_S)
    assert choice is not None


def test_members_under_suspicion_come_last() -> None:
    for isn in range(50):
        _, choice = Redispatcher().on_refused(refused_by(1, isn), SERVICE, {1, 2}, 0.0)
        assert choice.number == 3
    _, choice = Redispatcher().on_refused(refused_by(1), SERVICE, {1, 2, 3}, 0.0)
    assert choice is not None, "better a suspect than nobody"


def test_shares_follow_weights() -> None:
    heavy = (CHOICES[0], Choice(2, 2, 8080, 30), Choice(3, 3, 8080, 10))
    service = Service(4, SERVICE.address, 80, heavy, redispatch=True)
    counted = Counter(
        Redispatcher().on_refused(refused_by(1, isn), service, set(), 0.0)[1].number for isn in range(0, 40_000, 7)
    )
    assert 2.8 < counted[2] / counted[3] < 3.2


def test_a_pool_of_one_has_nobody_else() -> None:
    alone = Service(4, SERVICE.address, 80, CHOICES[:1], redispatch=True)
    assert Redispatcher().on_refused(refused_by(1), alone, set(), 0.0)[1] is None
    empty = Service(4, SERVICE.address, 80, (), redispatch=True)
    assert Redispatcher().on_refused(refused_by(1), empty, set(), 0.0)[1] is None


def test_a_flood_of_refusals_costs_bounded_memory() -> None:
    redispatcher = Redispatcher()
    for number in range(MAX_ATTEMPTS_KEPT + 500):
        connection = Connection(CLIENT.ip, number & 0xFFFF, CONNECTION.dst, 80)
        redispatcher.on_refused(refused_by(1, number, connection), SERVICE, set(), 0.0)
    assert len(redispatcher._attempts) <= MAX_ATTEMPTS_KEPT
    redispatcher.on_refused(refused_by(1), SERVICE, set(), FORGOTTEN_AFTER_S)
    assert len(redispatcher._attempts) == 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3]), st.floats(0, 0.05)), max_size=40))
def test_each_connection_ends_somewhere(refusals: list[tuple[int, int, float]]) -> None:
    """No member is tried twice for one connection, and every refusal is answered by another SYN or by the refusal itself."""
    redispatcher, now = Redispatcher(), 0.0
    tried: dict[int, set[int]] = {}
    for port, member, gap in refusals:
        now += gap
        connection = Connection(CLIENT.ip, port, CONNECTION.dst, 80)
        decisions, choice = redispatcher.on_refused(refused_by(member, port, connection), SERVICE, set(), now)
        assert [type(decision) for decision in decisions] == [FlushConnection, SendPacket]
        before = tried.setdefault(port, set()) | {member}
        if choice is None:
            tried.pop(port)
        else:
            assert choice.number not in before
            tried[port] = before


def test_a_refusal_in_a_vips_name() -> None:
    packet = Packet.from_bytes(refuse(CONNECTION, 5, CLIENT, EDGE).frame)
    assert not packet.damaged and packet.tcp.ack == 6 and packet.eth_src == vip_mac(CONNECTION.dst)
