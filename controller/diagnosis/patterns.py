"""What a reset looks like from outside: who, how, and how far the connection had come. The first column of all evidence."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from controller.flows import Purpose
from controller.pipeline import CLIENT_DATA_SEEN, MEMBER_DATA_SEEN
from controller.resets import ResetRecord, said_by
from controller.segments import Kind, Sender, Stage, Style, facts_of


class Pattern(StrEnum):
    """Resets that speak of the same things."""

    REFUSED = "refused"
    NOT_ACCEPTED = "not-accepted"
    MEMBER_EARLY = "member-early"
    """A live socket of the member aborted before the member had sent anything."""
    MEMBER_LATE = "member-late"
    """It aborted after it had sent data."""
    MEMBER_DISOWNED = "member-disowned"
    """An answer without a socket to what the client asked first: the handshake was never accepted, or somebody on the way cuts in."""
    MEMBER_LOST = "member-lost"
    """An answer without a socket in a connection that had served: state lost, or somebody on the way."""
    HALF_OPEN = "half-open"
    """The client's stack knew nothing of the SYN-ACK it got: a SYN scan, or a spoofed SYN."""
    CLIENT_NO_DATA = "client-no-data"
    """The client connected and left, as health checkers and connect scans do."""
    CLIENT_EARLY = "client-early"
    """The client had asked and gave up before any answer."""
    CLIENT_LATE = "client-late"
    """The client left in the middle of an answer."""
    AFTER_FIN = "after-fin"
    OUT_OF_WINDOW = "out-of-window"
    INJECTED = "injected"


HARMLESS = frozenset({Pattern.AFTER_FIN})
OF_MEMBER = frozenset(
    {
        Pattern.REFUSED,
        Pattern.NOT_ACCEPTED,
        Pattern.MEMBER_EARLY,
        Pattern.MEMBER_LATE,
        Pattern.MEMBER_DISOWNED,
        Pattern.MEMBER_LOST,
    }
)
ABORTS = frozenset({Pattern.MEMBER_EARLY, Pattern.MEMBER_LATE})
"""A live socket of the member does it on purpose."""
GAVE_UP = frozenset({Pattern.CLIENT_EARLY, Pattern.HALF_OPEN})
"""A client that waited for the SYN-ACK or the answer no longer: what came too late met no socket."""
ALL_THE_TIME = frozenset({Pattern.CLIENT_LATE, Pattern.CLIENT_NO_DATA})
"""What clients do without any fault: some leave in the middle of an answer, checkers connect and leave."""
FORGED = frozenset({Pattern.OUT_OF_WINDOW, Pattern.INJECTED})


def pattern_of(record: ResetRecord) -> Pattern:
    """The pattern of a mirrored reset."""
    return _pattern(record.sender, record.kind, record.stage, record.mark, facts_of(record.segment).style)


@lru_cache(maxsize=1 << 14)
def pattern_of_sum(purpose: Purpose, state: int, mark: int, passive: bool) -> Pattern:
    """The pattern of resets that were added up (`events.ResetSum`)."""
    said = said_by(purpose, state, mark, passive)
    return _pattern(said.sender, said.kind, said.stage, mark, said.style)


def _pattern(sender: Sender, kind: Kind, stage: Stage, mark: int, style: Style) -> Pattern:
    if sender is Sender.INJECTED:
        return Pattern.OUT_OF_WINDOW if kind is Kind.OUT_OF_WINDOW else Pattern.INJECTED
    never_open = kind is Kind.OUT_OF_WINDOW and stage is Stage.POST_SYN
    if never_open or stage is Stage.AFTER_FIN or sender is Sender.UNKNOWN:
        return Pattern.AFTER_FIN
    passive = style is Style.PASSIVE
    if sender is Sender.MEMBER:
        return _of_member(kind, mark, passive)
    if mark & MEMBER_DATA_SEEN:
        return Pattern.CLIENT_LATE
    if mark & CLIENT_DATA_SEEN:
        return Pattern.CLIENT_EARLY
    return Pattern.HALF_OPEN if passive else Pattern.CLIENT_NO_DATA


def _of_member(kind: Kind, mark: int, passive: bool) -> Pattern:
    if kind is Kind.REFUSED:
        return Pattern.REFUSED
    if kind is Kind.NOT_ACCEPTED:
        return Pattern.NOT_ACCEPTED
    if passive:
        return Pattern.MEMBER_LOST if mark & MEMBER_DATA_SEEN else Pattern.MEMBER_DISOWNED
    return Pattern.MEMBER_LATE if mark & MEMBER_DATA_SEEN else Pattern.MEMBER_EARLY
