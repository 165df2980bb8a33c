"""The tracker tells new, established, related and invalid as Open vSwitch 3.1 does in its userspace datapath.

What is asserted here was seen there; `test_model_against_openvswitch` compares both on whatever traffic.
"""

import pytest
from model_traffic import CLIENT, MEMBER, MEMBER_PORT, OTHER, SCALED, VIP, VIP_PORT, ip_packet

from controller.flows import Connection, Ct, MaskedValue, Nat
from topologies.model.headers import ACK, FIN, PSH, RST, SYN, Icmp, Ipv4, Tcp, Udp
from topologies.model.packet import (
    CT_DNAT,
    CT_EST,
    CT_INV,
    CT_NEW,
    CT_REL,
    CT_RPL,
    CT_SNAT,
    CT_TRK,
    Packet,
    Tracking,
)
from topologies.model.tracker import Tracker

ZONE = 7
TO_MEMBER = Nat("dst", MEMBER, (MEMBER_PORT, MEMBER_PORT))
NATTED = CT_SNAT | CT_DNAT


class Wire:
    """Sends packets through a tracker as a pipeline does: look up with `nat`, then commit what is new."""

    def __init__(self, **options: float) -> None:
        self.tracker = Tracker(**options)
        self.now = 0.0

    def look_up(self, packet: Packet, zone: int = ZONE) -> Packet:
        packet = Packet.from_bytes(packet.to_bytes())
        self.tracker.track(packet, Ct(zone, nat=Nat()), self.now)
        return packet

    def commit(self, packet: Packet, nat: Nat | None = None, mark: MaskedValue | None = None) -> Packet:
        packet = self.look_up(packet)
        self.tracker.track(packet, Ct(ZONE, commit=True, nat=nat, mark=mark), self.now)
        return packet

    def state(self, packet: Packet) -> int:
        return self.look_up(packet).tracking.state & ~NATTED


def from_client(flags: int, seq: int = 1001, ack: int = 0, payload: bytes = b"", port: int = 40000) -> Packet:
    options = SCALED if flags & SYN else b""
    return ip_packet(CLIENT, VIP, Tcp(port, VIP_PORT, seq, ack, flags, 64240 if options else 502, options), payload)


def from_member(flags: int, seq: int = 5001, ack: int = 1001, payload: bytes = b"", port: int = 40000) -> Packet:
    options = SCALED if flags & SYN else b""
    return ip_packet(
        MEMBER, CLIENT, Tcp(MEMBER_PORT, port, seq, ack, flags, 64240 if options else 502, options), payload
    )


def established(**options: float) -> Wire:
    wire = Wire(**options)
    wire.commit(from_client(SYN, 1000), TO_MEMBER, (3, 0xFFFFFFFF))
    wire.look_up(from_member(SYN | ACK, 5000))
    wire.look_up(from_client(ACK, 1001, 5001))
    return wire


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        (SYN, CT_NEW),
        (ACK | PSH, CT_NEW),
        (FIN | ACK, CT_NEW),
        (RST, CT_NEW),
        (RST | ACK, CT_NEW),
        (SYN | ACK, CT_INV),
        (SYN | FIN, CT_INV),
        (SYN | RST, CT_INV),
        (FIN, CT_INV),
        (0, CT_INV),
        (PSH, CT_INV),
    ],
)
def test_a_segment_without_a_connection(flags: int, state: int) -> None:
    assert Wire().state(from_client(flags)) == state | CT_TRK


def test_a_connection_exists_once_it_is_committed() -> None:
    wire = Wire()
    wire.look_up(from_client(SYN, 1000))
    assert wire.state(from_member(SYN | ACK, 5000)) == CT_INV | CT_TRK
    assert list(wire.tracker.connections(0)) == []


def test_a_reply_makes_the_connection_established() -> None:
    wire = Wire()
    committed = wire.commit(from_client(SYN, 1000), TO_MEMBER)
    assert committed.tracking.state == CT_NEW | CT_DNAT | CT_TRK
    assert wire.state(from_client(SYN, 1000)) == CT_NEW | CT_TRK, "a retransmitted SYN is still new"
    assert wire.state(from_member(SYN | ACK, 5000)) == CT_EST | CT_RPL | CT_TRK
    assert wire.state(from_client(ACK, 1001, 5001)) == CT_EST | CT_TRK


def test_both_directions_are_translated() -> None:
    wire = established()
    there = wire.look_up(from_client(ACK | PSH, 1001, 5001, b"GET"))
    assert there.ip and there.tcp and (there.ip.dst, there.tcp.dst) == (MEMBER, MEMBER_PORT)
    back = wire.look_up(from_member(ACK, 5001, 1004))
    assert back.ip and back.tcp and (back.ip.src, back.tcp.src) == (VIP, VIP_PORT)
    assert back.ip.dst == CLIENT and not Packet.from_bytes(back.to_bytes()).damaged


def test_source_translation_is_undone_for_replies() -> None:
    wire = Wire()
    out = wire.commit(ip_packet(OTHER, MEMBER, Udp(1000, 53)), Nat("src", VIP, (6000, 6000)))
    assert out.ip and out.udp and (out.ip.src, out.udp.src) == (VIP, 6000)
    back = wire.look_up(ip_packet(MEMBER, VIP, Udp(53, 6000)))
    assert back.ip and back.udp and (back.ip.dst, back.udp.dst) == (OTHER, 1000)


def test_the_original_tuple_is_what_the_client_sent() -> None:
    reply = established().look_up(from_member(RST | ACK, 5001, 1001))
    reply.tracked = True
    reply.changed()
    flow = reply.flow()
    assert [flow[f"ct_{name}"] for name in ("nw_src", "nw_dst", "nw_proto", "tp_src", "tp_dst")] == [
        *(CLIENT, VIP, 6, 40000, VIP_PORT)
    ]


def test_zones_do_not_see_each_other() -> None:
    assert established().look_up(from_member(ACK), ZONE + 1).tracking.state == CT_NEW | CT_TRK


def test_the_mark_is_set_by_a_commit_and_again_by_a_later_one() -> None:
    wire = established()
    assert wire.look_up(from_client(ACK, 1001, 5001)).tracking.mark == 3
    again = wire.commit(from_member(ACK, 5001, 1001), mark=(1 << 31, 1 << 31))
    assert again.tracking.mark == 1 << 31 | 3
    assert wire.look_up(from_client(ACK, 1001, 5001)).tracking.mark == 1 << 31 | 3


def test_a_segment_outside_the_window_is_invalid_and_keeps_the_mark() -> None:
    wire = established()
    for packet in (from_member(RST, 900_000_000, 0), from_member(ACK | PSH, 900_000_000, 1001, b"x")):
        tracking = wire.look_up(packet).tracking
        assert tracking.state & CT_INV and not tracking.state & CT_EST
        assert tracking.mark == 3
    assert wire.state(from_client(ACK, 1001, 5001)) == CT_EST | CT_TRK


def test_an_invalid_packet_shows_no_original_tuple() -> None:
    packet = established().look_up(from_member(RST, 900_000_000, 0))
    packet.tracked = True
    packet.changed()
    assert "ct_nw_src" not in packet.flow()


@pytest.mark.parametrize(("off", "valid"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_reset_has_to_hit_the_sequence_number_give_or_take_one(off: int, valid: bool) -> None:
    state = established().state(from_member(RST, 5001 + off, 0))
    assert bool(state & CT_EST) is valid
    assert bool(state & CT_INV) is not valid


def test_a_syn_within_an_established_connection_is_invalid() -> None:
    assert established().state(from_client(SYN, 70_000_000)) == CT_INV | CT_TRK


def test_a_syn_after_a_reset_begins_anew() -> None:
    wire = established()
    assert wire.state(from_member(RST | ACK, 5001, 1001)) == CT_EST | CT_RPL | CT_TRK
    fresh = wire.look_up(from_client(SYN, 70_000_000))
    assert (fresh.tracking.state, fresh.tracking.mark) == (CT_NEW | CT_TRK, 0)
    assert fresh.ip and fresh.ip.dst == VIP, "nothing is translated before it is committed again"


def test_a_syn_after_an_orderly_end_begins_anew() -> None:
    wire = established()
    wire.look_up(from_member(FIN | ACK, 5001, 1001))
    assert wire.state(from_client(SYN, 70_000_000)) == CT_INV | CT_TRK, "one side has not said FIN"
    wire.look_up(from_client(FIN | ACK, 1001, 5002))
    wire.look_up(from_member(ACK, 5002, 1002))
    assert wire.state(from_client(SYN, 70_000_000)) == CT_NEW | CT_TRK


def test_a_connection_picked_up_in_the_middle_goes_on() -> None:
    wire = Wire()
    wire.commit(from_client(ACK | PSH, 1001, 5001, b"GET"), TO_MEMBER)
    assert wire.state(from_member(ACK, 5001, 1004)) == CT_EST | CT_RPL | CT_TRK
    assert wire.state(from_client(ACK, 1004, 5001)) == CT_EST | CT_TRK


def test_a_flushed_connection_is_unknown() -> None:
    wire = established()
    connection = Connection(CLIENT, 40000, VIP, VIP_PORT)
    assert not wire.tracker.flush(ZONE + 1, connection, 0)
    assert wire.tracker.flush(ZONE, connection, 0)
    assert not wire.tracker.flush(ZONE, connection, 0)
    assert wire.state(from_member(ACK)) == CT_NEW | CT_TRK
    assert wire.state(from_client(SYN, 1000)) == CT_NEW | CT_TRK


@pytest.mark.parametrize(
    ("last", "lifetime_s"),
    [(None, 24 * 3600), ("fin", 900), ("both", 45), ("rst", 30)],
    ids=["established", "one-fin", "both-fins", "reset"],
)
def test_how_long_an_entry_lives_depends_on_its_last_packet(last: str | None, lifetime_s: float) -> None:
    wire = established()
    if last == "rst":
        wire.look_up(from_member(RST | ACK, 5001, 1001))
    elif last is not None:
        wire.look_up(from_member(FIN | ACK, 5001, 1001))
    if last == "both":
        wire.look_up(from_client(FIN | ACK, 1001, 5001))
    (entry,) = wire.tracker.connections(0)
    assert entry.expires == lifetime_s


def test_a_half_open_entry_lives_30_seconds() -> None:
    wire = Wire()
    wire.commit(from_client(SYN, 1000), TO_MEMBER)
    wire.now = 29.9
    assert len(list(wire.tracker.connections(wire.now))) == 1
    wire.now = 30.0
    assert list(wire.tracker.connections(wire.now)) == []
    assert wire.look_up(from_client(SYN, 1000)).tracking.mark == 0


def test_until_the_sweep_the_reply_key_of_an_ended_connection_stays_taken() -> None:
    wire = established()
    wire.now = 21.0
    wire.look_up(from_member(RST | ACK, 5001, 1001))
    wire.now = 22.0
    again = wire.commit(from_client(SYN, 70_000_000), TO_MEMBER)
    assert again.tcp and again.tcp.src == 40001, "the member sees the next port"
    assert wire.state(from_member(ACK, port=40000)) == CT_INV | CT_TRK


def test_newer_trackers_forget_an_ended_connection_at_once() -> None:
    wire = established(sweep_s=0)
    wire.look_up(from_member(RST | ACK, 5001, 1001))
    again = wire.commit(from_client(SYN, 70_000_000), TO_MEMBER)
    assert again.tcp and again.tcp.src == 40000


def test_two_connections_never_share_a_reply_key() -> None:
    wire = Wire()
    wire.commit(ip_packet(CLIENT, MEMBER, Tcp(40000, MEMBER_PORT, 1, 0, SYN)))
    by_vip = wire.commit(from_client(SYN, 1000), TO_MEMBER)
    assert by_vip.tcp and by_vip.tcp.src == 40001
    back = wire.look_up(from_member(SYN | ACK, 5000, port=40001))
    assert back.tcp and (back.tcp.src, back.tcp.dst) == (VIP_PORT, 40000)


def test_udp_is_new_until_it_is_answered() -> None:
    wire = Wire()
    question, answer = ip_packet(CLIENT, MEMBER, Udp(1000, 53)), ip_packet(MEMBER, CLIENT, Udp(53, 1000))
    wire.commit(question)
    assert wire.state(question) == CT_NEW | CT_TRK
    assert wire.state(answer) == CT_EST | CT_RPL | CT_TRK
    assert wire.state(question) == CT_EST | CT_TRK


def test_an_echo_reply_is_established_and_an_unasked_one_invalid() -> None:
    wire = Wire()
    request, reply = ip_packet(CLIENT, MEMBER, Icmp(8, 0, 1 << 16)), ip_packet(MEMBER, CLIENT, Icmp(0, 0, 1 << 16))
    assert wire.state(reply) == CT_INV | CT_TRK
    wire.commit(request)
    assert wire.state(reply) == CT_EST | CT_RPL | CT_TRK
    assert wire.state(ip_packet(MEMBER, CLIENT, Icmp(0, 0, 2 << 16))) == CT_INV | CT_TRK


def quoted(packet: Packet) -> bytes:
    return packet.to_bytes()[14:]


def test_an_icmp_error_is_related_and_translated_inside_and_out() -> None:
    wire = established()
    seen_by_member = wire.look_up(from_client(ACK | PSH, 1001, 5001, b"GET"))
    error = wire.look_up(ip_packet(MEMBER, CLIENT, Icmp(3, 1), quoted(seen_by_member)))
    assert error.tracking.state & ~NATTED == CT_REL | CT_RPL | CT_TRK
    assert error.tracking.mark == 3
    assert error.ip and error.ip.src == VIP
    inner = Packet.from_bytes(bytes(12) + b"\x08\x00" + error.payload)
    assert inner.ip and inner.tcp and not inner.damaged
    assert (inner.ip.src, inner.ip.dst, inner.tcp.dst) == (CLIENT, VIP, VIP_PORT)
    assert not Packet.from_bytes(error.to_bytes()).damaged


def test_an_icmp_error_of_no_connection_is_invalid() -> None:
    error = ip_packet(MEMBER, CLIENT, Icmp(3, 1), quoted(from_client(SYN, 1000)))
    assert Wire().state(error) == CT_INV | CT_TRK
    misdirected = ip_packet(MEMBER, OTHER, Icmp(3, 1), quoted(from_client(ACK, 1001, 5001)))
    assert established().state(misdirected) == CT_INV | CT_TRK


def test_what_no_connection_can_be_told_from_is_invalid() -> None:
    wire = Wire()
    damaged = bytearray(from_client(SYN, 1000).to_bytes())
    damaged[-1] ^= 1
    fragment = from_client(SYN, 1000)
    fragment.ip = Ipv4(CLIENT, VIP, 6, fragment=185)
    for frame in (bytes(damaged), fragment.to_bytes(), from_client(SYN, 1000, port=0).to_bytes()):
        packet = Packet.from_bytes(frame)
        wire.tracker.track(packet, Ct(ZONE), 0)
        assert packet.tracking == Tracking(CT_INV | CT_TRK, ZONE)


def test_a_full_tracker_takes_no_more_connections() -> None:
    wire = Wire(max_connections=1)
    wire.commit(from_client(SYN, 1000, port=1), TO_MEMBER)
    turned_away = wire.commit(from_client(SYN, 1000, port=2), TO_MEMBER)
    assert turned_away.tracking.state == CT_NEW | CT_TRK
    assert turned_away.ip and turned_away.ip.dst == VIP
    assert len(list(wire.tracker.connections(0))) == 1
