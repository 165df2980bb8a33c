"""Mirrored resets in bulk: nothing is lost between what is looked at and what is added up, whatever way a packet-in is laid out."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_frames import ABORT, ANSWER_TO_ACK, ANSWER_TO_SYN, segment_frame

from apps import codec
from apps.fast_lane import FastLane
from controller.bulk import BURST, CLIENTS_KEPT, LOOKED_AT_PER_S, MAX_KINDS, PROMPT, Bulk
from controller.events import ResetSum
from controller.flows import Purpose, match
from controller.pipeline import CLIENT_DATA_SEEN, EST, INV, KNOWN, MEMBER_DATA_SEEN, RPL, SYN_ACK_SEEN, VIP_SHIFT
from controller.resets import Recent

VIP, CLIENT = 0x0A000064, 0x0B000000
VIP6, CLIENT6 = 0xFD00 << 112 | 0x64, 0xFD00 << 112 | 0x0B00
OPEN = KNOWN | SYN_ACK_SEEN | CLIENT_DATA_SEEN | 1 << VIP_SHIFT
SERVED = OPEN | MEMBER_DATA_SEEN


def packet_in(
    number: int, mark: int = SERVED | 1, state: int = EST, style: int = ABORT, purpose: Purpose = Purpose.RESET,
    in_port: int = 1, vip: int = VIP, tag: bool = False,
) -> bytes:  # fmt: skip
    """As a switch sends it: of its own client, by `number`; `tag` puts a VLAN tag on the frame."""
    client = (CLIENT6 if vip == VIP6 else CLIENT) + number, 1024 + number % 60_000
    ends = ((vip, 80), client) if state & RPL else (client, (vip, 80))
    frame = segment_frame(*ends[0], *ends[1], style)
    frame = frame[:12] + b"\x81\x00\x00\x05" + frame[12:] if tag else frame
    fields = {"in_port": in_port}
    if purpose is Purpose.RESET:
        names = ("ct_ipv6_src", "ct_ipv6_dst") if vip == VIP6 else ("ct_nw_src", "ct_nw_dst")
        ends_in_match = {names[0]: client[0], names[1]: vip, "ct_tp_src": client[1], "ct_tp_dst": 80}
        fields |= {"ct_state": state, "ct_mark": mark} | ({} if state & INV else ends_in_match)
    oxm = codec.encode_match(match(**fields))
    body = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 1, 3, purpose << 56 | mark) + oxm + bytes(2) + frame
    return struct.pack("!BBHI", 4, 10, 8 + len(body), 0) + body


class Bed:
    """A lane whose budget is used up, unless time passes."""

    def __init__(self, budget: int = 0) -> None:
        self.now = 100.0
        self.bulk = Bulk(Recent())
        self.lane = FastLane(self.bulk, lambda: self.now)
        self.lane.look_at_clock()
        for _ in range(BURST - budget):
            assert self.bulk.may_be_looked_at()

    def take(self, *messages: bytes, dpid: int = 1) -> list[bool]:
        """Whether the lane dealt with each; they follow each other in one buffer."""
        buffer, start, taken = bytearray(b"".join(messages)), 0, []
        for message in messages:
            taken.append(self.lane.takes(dpid, buffer, start, len(message)))
            start += len(message)
        return taken

    def only_sum(self) -> ResetSum:
        (added,) = self.bulk.collect()
        return added


def test_within_the_budget_each_reset_is_looked_at() -> None:
    bed = Bed(budget=BURST)
    assert bed.take(*map(packet_in, range(BURST + 3))) == [False] * BURST + [True] * 3
    bed.now += 5.5 / LOOKED_AT_PER_S
    bed.lane.look_at_clock()
    assert bed.take(*map(packet_in, range(100, 110))) == [False] * 5 + [True] * 5
    assert bed.only_sum().connections == 8


@pytest.mark.parametrize("style", [ABORT, ANSWER_TO_ACK])
@pytest.mark.parametrize(("vip", "tag"), [(VIP, False), (VIP, True), (VIP6, False)])
def test_resets_that_say_the_same_are_one_sum(vip: int, tag: bool, style: int) -> None:
    bed = Bed()
    messages = [packet_in(number, style=style, vip=vip, tag=tag) for number in range(200)]
    assert all(bed.take(*messages))
    assert all(bed.take(*messages[:50]))
    added = bed.only_sum()
    first = CLIENT6 if vip == VIP6 else CLIENT
    assert (added.purpose, added.source, added.state, added.mark) == (Purpose.RESET, (0, 0), EST, SERVED | 1)
    assert (added.target, added.passive) == ((vip, 80), style == ANSWER_TO_ACK)
    assert (added.connections, added.repeated) == (200, 50)
    assert added.clients == tuple(first + number for number in range(200 - CLIENTS_KEPT, 200))
    assert bed.bulk.collect() == []
    assert bed.bulk.left_out == 0


def test_what_may_decide_is_looked_at_a_few_times_of_each_kind() -> None:
    bed = Bed()
    refused = [packet_in(number, KNOWN | 1 << VIP_SHIFT | 1, EST | RPL, ANSWER_TO_SYN) for number in range(PROMPT + 4)]
    assert bed.take(*refused) == [False] * PROMPT + [True] * 4
    other = packet_in(0, OPEN | 2, EST | RPL)
    assert bed.take(other) == [False]
    assert bed.only_sum().connections == 4
    assert bed.take(*refused[:1]) == [False], "again after a collection"


def test_false_resets_are_summed_by_where_they_entered() -> None:
    bed = Bed()
    forged = [packet_in(number, in_port=5, purpose=Purpose.INJECTED) for number in range(10)]
    assert all(bed.take(*forged, dpid=7))
    added = bed.only_sum()
    assert (added.purpose, added.source, added.connections) == (Purpose.INJECTED, (7, 5), 10)
    assert set(added.clients) == {CLIENT + number for number in range(10)}


def test_held_refusals_and_everything_else_are_never_added_up() -> None:
    bed = Bed()
    assert bed.take(packet_in(1, purpose=Purpose.HELD), packet_in(1, purpose=Purpose.ARP)) == [False, False]
    assert bed.bulk.collect() == []


def test_what_is_out_of_window_is_left_out_and_said_to_be() -> None:
    bed = Bed()
    assert bed.take(packet_in(1, state=EST | INV)) == [True]
    assert (bed.bulk.collect(), bed.bulk.left_out) == ([], 1)


def test_kinds_are_bounded_but_not_those_that_may_decide() -> None:
    bed = Bed()
    for number in range(MAX_KINDS + 10):
        assert bed.take(packet_in(number, vip=VIP + number)) == [True]
    assert bed.bulk.left_out == 10
    assert bed.take(packet_in(0, OPEN | 9, EST | RPL)) == [False]
    assert len(bed.bulk.collect()) == MAX_KINDS
    bed.lane.look_at_clock()
    assert bed.take(packet_in(0, vip=VIP + MAX_KINDS + 1)) == [True]
    assert bed.only_sum().connections == 1


MESSAGES = st.lists(
    st.builds(
        packet_in,
        number=st.integers(0, 40),
        mark=st.sampled_from([KNOWN, OPEN | 1, OPEN | 2, SERVED | 1, SERVED | 2]),
        state=st.sampled_from([EST, EST | RPL, EST | INV]),
        style=st.sampled_from([ABORT, ANSWER_TO_ACK, ANSWER_TO_SYN]),
        purpose=st.sampled_from([Purpose.RESET, Purpose.INJECTED]),
        in_port=st.integers(1, 3),
        vip=st.sampled_from([VIP, VIP6]),
        tag=st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(MESSAGES)
def test_every_reset_is_looked_at_or_added_up_or_said_to_be_left_out(messages: list[bytes]) -> None:
    bed = Bed()
    taken = bed.take(*messages)
    added = sum(one.connections + one.repeated for one in bed.bulk.collect())
    assert taken.count(False) + added + bed.bulk.left_out == len(messages)


@settings(max_examples=80, deadline=None)
@given(MESSAGES, st.data())
def test_what_was_seen_before_changes_no_reading(messages: list[bytes], data: st.DataObject) -> None:
    """A layout or a key that was learnt from other messages must not be believed of one that differs."""
    alone, after = Bed(), Bed()
    message = packet_in(data.draw(st.integers(0, 40)), data.draw(st.sampled_from([SERVED | 1, SERVED | 3])))
    after.take(*messages)
    after.bulk.collect()
    alone.take(message)
    before = after.bulk.left_out
    after.take(message)
    found, known = alone.only_sum(), after.only_sum()
    assert found._replace(connections=0, repeated=0, clients=()) == known._replace(
        connections=0, repeated=0, clients=()
    )
    assert (known.connections + known.repeated, after.bulk.left_out) == (1, before)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mangled_messages_neither_raise_nor_are_miscounted(data: st.DataObject) -> None:
    bed = Bed()
    bed.take(packet_in(0))
    message = bytearray(packet_in(data.draw(st.integers(1, 9))))
    for _ in range(data.draw(st.integers(1, 6))):
        message[data.draw(st.integers(16, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(8, len(message)))])
    (taken,) = bed.take(cut)
    added = sum(one.connections + one.repeated for one in bed.bulk.collect())
    assert added + bed.bulk.left_out + (not taken) == 2
