"""Mirrored resets to records: who sent it, when, what it was. The frames are what a model of Linux sends, the marks what tables set."""

import pytest
from model_frames import ABORT, ANSWER_TO_ACK, ANSWER_TO_SYN, segment_frame

from controller.diagnosis.patterns import Pattern, pattern_of
from controller.flows import Connection, Purpose
from controller.pipeline import (
    CLIENT_DATA_SEEN,
    EST,
    FIN_SEEN,
    INV,
    KNOWN,
    MEMBER_DATA_SEEN,
    RPL,
    SYN_ACK_SEEN,
    VIP_SHIFT,
)
from controller.resets import KEPT, SAME_CONNECTION_S, Recent, ResetRecord, Resets, stage_of
from controller.segments import Kind, Sender, Stage, read_segment

CLIENT, VIP, MEMBER = 0x0A000101, 0x0A000064, 0x0A000202
TRACKED = {"ct_nw_src": CLIENT, "ct_tp_src": 40000, "ct_nw_dst": VIP, "ct_tp_dst": 80}
PINNED = KNOWN | 3 << VIP_SHIFT | 7
OPEN = PINNED | SYN_ACK_SEEN
ASKED = OPEN | CLIENT_DATA_SEEN
ANSWERED = ASKED | MEMBER_DATA_SEEN


def taken(
    resets: Resets,
    style: int,
    state: int,
    mark: int,
    now: float = 0.0,
    port: int = 40000,
    purpose: Purpose = Purpose.RESET,
) -> ResetRecord:
    from_member = state & RPL
    ends = ((VIP, 80), (CLIENT, port)) if from_member else ((CLIENT, port), (MEMBER, 8080))
    segment = read_segment(segment_frame(*ends[0], *ends[1], style))
    assert segment is not None
    fields = {**TRACKED, "ct_tp_src": port, "ct_state": state, "ct_mark": mark}
    if state & INV:
        fields = {"ct_state": state, "ct_mark": mark}
    return resets.take(purpose, 1, fields, segment, (1, 2), now)


@pytest.mark.parametrize(
    ("style", "state", "mark", "sender", "stage", "kind", "pattern"),
    [
        (ANSWER_TO_SYN, EST | RPL, PINNED, Sender.MEMBER, Stage.POST_SYN, Kind.REFUSED, Pattern.REFUSED),
        (ANSWER_TO_ACK, EST | RPL, OPEN, Sender.MEMBER, Stage.POST_HANDSHAKE, Kind.NOT_ACCEPTED, Pattern.NOT_ACCEPTED),
        (ABORT, EST | RPL, OPEN, Sender.MEMBER, Stage.POST_HANDSHAKE, Kind.ABORTED_BY_MEMBER, Pattern.MEMBER_EARLY),
        (ABORT, EST | RPL, ASKED, Sender.MEMBER, Stage.POST_DATA, Kind.ABORTED_BY_MEMBER, Pattern.MEMBER_EARLY),
        (ABORT, EST | RPL, ANSWERED, Sender.MEMBER, Stage.POST_DATA, Kind.ABORTED_BY_MEMBER, Pattern.MEMBER_LATE),
        (ANSWER_TO_ACK, EST | RPL, ANSWERED, Sender.MEMBER, Stage.POST_DATA, Kind.UNKNOWN_CONNECTION, Pattern.MEMBER_LOST),
        (ABORT, EST, OPEN, Sender.CLIENT, Stage.POST_HANDSHAKE, Kind.ABORTED_BY_CLIENT, Pattern.CLIENT_NO_DATA),
        (ANSWER_TO_ACK, EST, OPEN, Sender.CLIENT, Stage.POST_HANDSHAKE, Kind.UNKNOWN_CONNECTION, Pattern.HALF_OPEN),
        (ABORT, EST, ASKED, Sender.CLIENT, Stage.POST_DATA, Kind.ABORTED_BY_CLIENT, Pattern.CLIENT_EARLY),
        (ABORT, EST, ANSWERED, Sender.CLIENT, Stage.POST_DATA, Kind.ABORTED_BY_CLIENT, Pattern.CLIENT_LATE),
        (ABORT, EST, ANSWERED | FIN_SEEN, Sender.CLIENT, Stage.AFTER_FIN, Kind.AFTER_FIN, Pattern.AFTER_FIN),
        (ABORT, EST | RPL, ANSWERED | FIN_SEEN, Sender.MEMBER, Stage.AFTER_FIN, Kind.AFTER_FIN, Pattern.AFTER_FIN),
        (ABORT, INV, ANSWERED, Sender.INJECTED, Stage.POST_DATA, Kind.OUT_OF_WINDOW, Pattern.OUT_OF_WINDOW),
    ],
)  # fmt: skip
def test_a_mark_and_a_frame_say_what_happened(
    style: int, state: int, mark: int, sender: Sender, stage: Stage, kind: Kind, pattern: Pattern
) -> None:
    record = taken(Resets(), style, state, mark)
    assert (record.sender, record.stage, record.kind) == (sender, stage, kind)
    assert (record.vip, record.member, record.repeated) == (3, 7, False)
    assert pattern_of(record) is pattern
    if not state & INV:
        assert record.connection == Connection(CLIENT, 40000, VIP, 80)


def test_a_reset_that_entered_at_a_wrong_port_is_injected_whatever_it_looks_like() -> None:
    for style in (ANSWER_TO_SYN, ANSWER_TO_ACK, ABORT):
        segment = read_segment(segment_frame(MEMBER, 8080, CLIENT, 40000, style))
        record = Resets().take(Purpose.INJECTED, 1, {"in_port": 3}, segment, (1, 3), 0.0)
        assert (record.sender, record.kind) == (Sender.INJECTED, Kind.INJECTED)
        assert pattern_of(record) is Pattern.INJECTED
        assert record.connection == Connection(MEMBER, 8080, CLIENT, 40000), "nobody tracked it: its own addresses"


def test_an_abort_can_produce_several_segments_and_is_one_connection() -> None:
    resets = Resets()
    first = taken(resets, ABORT, EST | RPL, ASKED, 0.0)
    second = taken(resets, ANSWER_TO_ACK, EST | RPL, ASKED, 0.1)
    other = taken(resets, ABORT, EST | RPL, ASKED, 0.1, port=40001)
    later = taken(resets, ABORT, EST | RPL, ASKED, 0.2 + 2 * SAME_CONNECTION_S)
    assert [record.repeated for record in (first, second, other, later)] == [False, True, False, False]


@pytest.mark.parametrize("displaced", [KEPT - 1, 2 * KEPT])
def test_a_flood_shortens_what_is_remembered_but_not_by_much(displaced: int) -> None:
    recent = Recent()
    assert not recent.seen(CLIENT, 40000, VIP, 80, 0.0)
    for number in range(displaced):
        assert not recent.seen(CLIENT + 1 + number, 40000, VIP, 80, 0.0)
    assert recent.seen(VIP, 80, CLIENT, 40000, SAME_CONNECTION_S) is (displaced < KEPT)


def test_what_echoes_a_reset_just_seen_is_harmless_even_out_of_window() -> None:
    resets = Resets()
    segment = read_segment(segment_frame(CLIENT, 40000, MEMBER, 8080, ABORT))
    for now, state in ((0.0, EST), (0.1, INV)):
        record = resets.take(Purpose.RESET, 1, {"ct_state": state, "ct_mark": ASKED}, segment, None, now)
    assert (record.sender, record.repeated, pattern_of(record)) == (Sender.UNKNOWN, True, Pattern.AFTER_FIN)


@pytest.mark.parametrize(
    ("mark", "stage"),
    [(0, Stage.POST_SYN), (SYN_ACK_SEEN, Stage.POST_HANDSHAKE), (SYN_ACK_SEEN | MEMBER_DATA_SEEN, Stage.POST_DATA),
     (0xFFFFFFFF, Stage.AFTER_FIN)],
)  # fmt: skip
def test_a_stage_is_the_furthest_bit(mark: int, stage: Stage) -> None:
    assert stage_of(mark) is stage


def test_the_newest_are_kept_and_the_flood_that_pushes_the_others_out_costs_no_memory() -> None:
    resets = Resets()
    for number in range(KEPT + 100):
        taken(resets, ABORT, EST | RPL, ASKED, 0.0, port=number & 0xFFFF)
    assert len(resets.records) == KEPT and len(resets.recent) <= 2 * KEPT
    newest = next(iter(resets.newest()))
    assert newest.serial == KEPT + 100
