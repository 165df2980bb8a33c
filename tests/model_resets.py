"""Reset records of every kind, as `Resets` would have made them."""

import itertools
from typing import Any

from model_frames import ABORT, ANSWER_TO_ACK, ANSWER_TO_SYN, segment_frame

from controller.flows import Purpose
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
from controller.resets import ResetRecord, Resets
from controller.segments import Segment, read_segment

VIP = 0x0A000064
ASKED = KNOWN | SYN_ACK_SEEN | CLIENT_DATA_SEEN
ANSWERED = ASKED | MEMBER_DATA_SEEN


class Maker:
    """Makes records through the real `Resets`, each of a connection of its own."""

    def __init__(self) -> None:
        self._resets = Resets()
        self._ports = itertools.cycle(range(1024, 65536))
        self._segments: dict[tuple[int, int], Segment] = {}

    def _segment(self, src: int, style: int, **changes: Any) -> Segment:
        read = self._segments.get((0, style))
        if read is None:
            read = self._segments[0, style] = read_segment(segment_frame(1, 80, 2, 80, style))  # type: ignore[assignment]
        assert read is not None
        return read._replace(src=src.to_bytes(4, "big"), **changes)

    def record(
        self, style: int, state: int, mark: int, member: int, client: int, now: float = 0.0, vip: int = 1,
        target: tuple[int, int] = (VIP, 80), **changes: Any,
    ) -> ResetRecord:  # fmt: skip
        port = next(self._ports)
        fields = {"ct_nw_src": client, "ct_tp_src": port, "ct_nw_dst": target[0], "ct_tp_dst": target[1],
                  "ct_state": state, "ct_mark": mark | vip << VIP_SHIFT | member}  # fmt: skip
        sender = target[0] if state & RPL else client
        return self._resets.take(Purpose.RESET, 1, fields, self._segment(sender, style, **changes), (1, 1), now)

    def refused(self, member: int, client: int, now: float = 0.0, **more: Any) -> ResetRecord:
        return self.record(ANSWER_TO_SYN, EST | RPL, KNOWN, member, client, now, **more)

    def not_accepted(self, member: int, client: int, now: float = 0.0, **more: Any) -> ResetRecord:
        return self.record(ANSWER_TO_ACK, EST | RPL, KNOWN | SYN_ACK_SEEN, member, client, now, **more)

    def aborted_early(self, member: int, client: int, now: float = 0.0, **more: Any) -> ResetRecord:
        return self.record(ABORT, EST | RPL, ASKED, member, client, now, **more)

    def lost(self, member: int, client: int, now: float = 0.0, **more: Any) -> ResetRecord:
        return self.record(ANSWER_TO_ACK, EST | RPL, ANSWERED, member, client, now, **more)

    def aborted_by_client(self, member: int, client: int, now: float = 0.0, **more: Any) -> ResetRecord:
        """In the middle of an answer, as browsers do."""
        return self.record(ABORT, EST, ANSWERED, member, client, now, **more)

    def gave_up(self, member: int, client: int, now: float = 0.0, **more: Any) -> ResetRecord:
        """It asked, waited, and left without an answer."""
        return self.record(ABORT, EST, ASKED, member, client, now, **more)

    def after_fin(self, member: int, client: int, now: float = 0.0, **more: Any) -> ResetRecord:
        return self.record(ABORT, EST, ANSWERED | FIN_SEEN, member, client, now, **more)

    def injected(self, claimed: int, entry: tuple[int, int], now: float = 0.0) -> ResetRecord:
        segment = self._segment(claimed, ABORT, dst_port=next(self._ports))
        return self._resets.take(Purpose.INJECTED, entry[0], {"in_port": entry[1]}, segment, entry, now)

    def out_of_window(self, sender: int, entry: tuple[int, int], now: float = 0.0) -> ResetRecord:
        segment = self._segment(sender, ANSWER_TO_ACK, dst_port=next(self._ports))
        return self._resets.take(Purpose.RESET, entry[0], {"ct_state": INV, "ct_mark": KNOWN}, segment, entry, now)
