"""Mirrored resets to records: who sent it, when in the connection's life, what it was; and the recent ones for operators."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from controller.balance import connection_of
from controller.flows import Connection, Purpose
from controller.pipeline import (
    CLIENT_DATA_SEEN,
    FIN_SEEN,
    INV,
    MEMBER_DATA_SEEN,
    MEMBER_MASK,
    RPL,
    SYN_ACK_SEEN,
    VIP_MASK,
    VIP_SHIFT,
)  # fmt: skip
from controller.segments import Kind, Segment, Sender, Stage, Style, facts_of, kind_of
from controller.topology import Endpoint

KEPT = 10_000
SAME_CONNECTION_S = 2.0
"""At least so long, and at most twice that, a connection is remembered to have been reset, unless a flood displaces it."""


@dataclass(frozen=True, slots=True)
class ResetRecord:
    """One mirrored reset. Addresses are integers; `vip` and `member` are numbers (0: none), `entry` is where it entered."""

    serial: int
    time: float
    dpid: int
    connection: Connection
    vip: int
    member: int
    sender: Sender
    stage: Stage
    kind: Kind
    entry: Endpoint | None
    segment: Segment
    mark: int
    repeated: bool
    """A further reset of a connection that was reset just before: one abort can produce several."""

    @property
    def member_sent_data(self) -> bool:
        """Whether the member had answered anything."""
        return bool(self.mark & MEMBER_DATA_SEEN)


def stage_of(mark: int) -> Stage:
    """The stage that a connection's mark proves."""
    if mark & FIN_SEEN:
        return Stage.AFTER_FIN
    if mark & (CLIENT_DATA_SEEN | MEMBER_DATA_SEEN):
        return Stage.POST_DATA
    return Stage.POST_HANDSHAKE if mark & SYN_ACK_SEEN else Stage.POST_SYN


class Said(NamedTuple):
    """Who sent a reset, when in the connection's life, and what it did."""

    sender: Sender
    stage: Stage
    kind: Kind
    style: Style


@lru_cache(maxsize=1 << 14)
def said_by(purpose: Purpose, state: int, mark: int, passive: bool) -> Said:
    """What resets say that were added up (`events.ResetSum`): in the window, or false by where they entered."""
    sender = Sender.MEMBER if state & RPL else Sender.CLIENT
    if purpose is Purpose.INJECTED:
        sender = Sender.INJECTED
    stage, style = stage_of(mark), Style.PASSIVE if passive else Style.ACTIVE
    return Said(sender, stage, kind_of(style, sender, stage, member_answered=bool(mark & SYN_ACK_SEEN)), style)


class Recent:
    """Connections that were reset of late: two generations of hashes, the older is forgotten when the younger is full or old."""

    def __init__(self) -> None:
        self._younger: set[int] = set()
        self._older: set[int] = set()
        self._began = 0.0

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._younger) + len(self._older)

    def seen(self, src: int, src_port: int, dst: int, dst_port: int, now: float) -> bool:
        """Whether this connection is among them, either way round (what is out of window does not say who opened it). From now on it is."""
        here, there = src << 16 | src_port, dst << 16 | dst_port
        key = hash((here, there) if here < there else (there, here))
        if now - self._began > SAME_CONNECTION_S or len(self._younger) >= KEPT:
            self._older = self._younger if now - self._began <= 2 * SAME_CONNECTION_S else set()
            self._younger, self._began = set(), now
        if key in self._younger:
            return True
        self._younger.add(key)
        return key in self._older


class Resets:
    """The newest `KEPT` records, and which connections they were of."""

    def __init__(self) -> None:
        self.records: deque[ResetRecord] = deque(maxlen=KEPT)
        self.unsettled: deque[ResetRecord] = deque(maxlen=KEPT)
        """What `tally.py` has not counted by cause yet."""
        self._serial = 0
        self.recent = Recent()

    def take(
        self, purpose: Purpose, dpid: int, fields: dict[str, int], segment: Segment, entry: Endpoint | None, now: float,
        opened: Connection | None = None, only_itself: bool = False,
    ) -> ResetRecord:  # fmt: skip
        """Record a mirrored reset; `fields` are the packet-in's, `entry` is where the sender's address lives or it was caught.

        `opened`: its connection as the client opened it, where that is known. `only_itself`: nobody but the host whose address it
        carries lives at the port it came in by, so whatever its number is, nobody else wrote it.
        """
        mark = fields.get("ct_mark", 0)
        connection = opened or _connection(fields, segment)
        in_window = not fields.get("ct_state", 0) & INV
        repeated = self.recent.seen(*connection[:4], now)
        sender = self._sender(purpose, fields, in_window, repeated)
        if only_itself and not in_window:
            sender = Sender.CLIENT if int.from_bytes(segment.src) == connection.src else Sender.MEMBER
        stage = stage_of(mark)
        # That it was forged is proved by where it entered, and only guessed from its number.
        known = sender if in_window else Sender.UNKNOWN
        kind = kind_of(
            facts_of(segment).style, known, stage, in_window=in_window, member_answered=bool(mark & SYN_ACK_SEEN)
        )
        self._serial += 1
        vip, member = (mark & VIP_MASK) >> VIP_SHIFT, mark & MEMBER_MASK
        record = ResetRecord(
            self._serial, now, dpid, connection, vip, member, sender, stage, kind, entry, segment, mark, repeated
        )
        self.records.append(record)
        self.unsettled.append(record)
        return record

    def _sender(self, purpose: Purpose, fields: dict[str, int], in_window: bool, repeated: bool) -> Sender:
        if purpose is Purpose.INJECTED:
            return Sender.INJECTED
        if not in_window:
            # What follows a connection's own reset is its echo; what comes out of the blue is forged (RFC 5961 §1).
            return Sender.UNKNOWN if repeated else Sender.INJECTED
        return Sender.MEMBER if fields.get("ct_state", 0) & RPL else Sender.CLIENT

    def newest(self) -> Iterator[ResetRecord]:
        """Newest first."""
        return reversed(self.records)


def _connection(fields: dict[str, int], segment: Segment) -> Connection:
    """The original tuple if the tracker knew it, else the segment's own."""
    return connection_of(fields) or tuple_of(segment)


def tuple_of(segment: Segment) -> Connection:
    """From whom to whom it says it goes."""
    word = int.from_bytes
    return Connection(word(segment.src), segment.src_port, word(segment.dst), segment.dst_port)
