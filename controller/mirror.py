"""Tables 3 and 7: every reset counted and shown to the controller, refusals held, and the stage of each connection kept in its mark.

Stage bits are set by the segment that proves them, once per connection: the member's SYN-ACK, the first pushed data of each side,
the first FIN. So a reset's own packet-in says how far its connection had come, and nothing is kept in the controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from controller.addresses import FAMILIES, Family, family_of
from controller.flows import Ct, FlowEntry, Punt, Purpose, Resubmit
from controller.pipeline import (
    ACK,
    CLIENT_DATA_SEEN,
    FIN,
    FIN_SEEN,
    MEMBER_DATA_SEEN,
    PINNED_MASK,
    PSH,
    REDISPATCH,
    RPL,
    RST,
    SYN,
    SYN_ACK_SEEN,
    TCP,
    VIP_SHIFT,
    Meter,
    Table,
)  # fmt: skip

_FORWARD, _REPLY = (0, RPL), (RPL, RPL)
_COUNT = Resubmit(Table.COUNT)
"""First of all (`volumes.py`): a packet that set a stage bit has no mark any more."""
HOLD_S = 2
"""How long refusals stay held after the controller fell silent: afterwards they pass as if it were not there."""
HOLD_RENEWAL_S = 0.5


class Pinned(NamedTuple):
    """A (VIP, member) pair whose resets are counted apart: numbers as in `ct_mark`, names as in the policy."""

    vip: int
    member: int
    vip_name: str
    member_name: str
    vip_address: int


def _mark(bits: int, mask: int, pinned: int | None) -> tuple[int, int]:
    return (bits, mask) if pinned is None else (bits | pinned, mask | PINNED_MASK)


@lru_cache(maxsize=1 << 14)
def _resets(family: Family, priority: int, pinned: int | None, names: tuple[str, ...]) -> tuple[FlowEntry, ...]:
    """The reset entries for one pair, or for all other connections of a family (`pinned` None): the same ones on every switch."""
    return tuple(_reset_entries(family, priority, pinned, names))


def _reset_entries(family: Family, priority: int, pinned: int | None, names: tuple[str, ...]) -> Iterator[FlowEntry]:
    a_reset, mirror = (RST, RST), (_COUNT, Punt(Meter.MIRROR))
    kinds = (
        ("refused", _REPLY, 0),
        ("aborted-by-member", _REPLY, SYN_ACK_SEEN),
    )
    for kind, direction, stage in kinds:
        mark = _mark(stage, SYN_ACK_SEEN, pinned)
        fields = family.match(ip_proto=TCP, tcp_flags=a_reset, ct_state=direction, ct_mark=mark)
        actions = (_COUNT,) if kind == "refused" else mirror
        goto = Table.HOLD if kind == "refused" else Table.ROUTE
        yield FlowEntry(Table.RESETS, priority, fields, Purpose.RESET, actions, goto, counts=("reset", *names, kind))
    pair = {} if pinned is None else {"ct_mark": (pinned, PINNED_MASK)}
    fields = family.match(ip_proto=TCP, tcp_flags=a_reset, ct_state=_FORWARD, **pair)
    yield FlowEntry(
        Table.RESETS,
        priority,
        fields,
        Purpose.RESET,
        mirror,
        Table.ROUTE,
        counts=("reset", *names, "aborted-by-client"),
    )


def _stages(
    family: Family, zone: int, priority: int, pinned: int | None, names: tuple[str, ...]
) -> Iterator[FlowEntry]:
    """What notes that a connection was answered, and that it closes."""
    unseen = _mark(0, SYN_ACK_SEEN, pinned)
    handshake = family.match(ip_proto=TCP, tcp_flags=(SYN | ACK, SYN | ACK | RST), ct_state=_REPLY, ct_mark=unseen)
    shown = (_COUNT, Resubmit(Table.SAMPLE), _seen(zone, SYN_ACK_SEEN))
    yield FlowEntry(Table.RESETS, priority, handshake, Purpose.STAGE, shown, Table.ROUTE, counts=("handshake", *names))
    closing = family.match(ip_proto=TCP, tcp_flags=(FIN, FIN), ct_mark=_mark(0, FIN_SEEN, pinned))
    yield FlowEntry(
        Table.RESETS,
        priority - 2,
        closing,
        Purpose.STAGE,
        (_COUNT, _seen(zone, FIN_SEEN)),
        Table.ROUTE,
        counts=("closed", *names),
    )


def _seen(zone: int, bit: int) -> Ct:
    """Set a stage bit of the connection; the packet itself goes on as it is."""
    return Ct(zone, commit=True, mark=(bit, bit))


def watch(zone: int, pairs: Iterable[Pinned]) -> Iterator[FlowEntry]:
    """Table 3, and what table 7 does while nothing is held."""
    for pair in pairs:
        names = pair.vip_name, pair.member_name
        pinned = pair.vip << VIP_SHIFT | pair.member
        yield from _resets(family_of(pair.vip_address), 90, pinned, names)
        yield from _stages(family_of(pair.vip_address), zone, 90, pinned, names)
    for family in FAMILIES:
        yield from _resets(family, 50, None, ())
        yield from _stages(family, zone, 50, None, ())
        for direction, bit in ((_FORWARD, CLIENT_DATA_SEEN), (_REPLY, MEMBER_DATA_SEEN)):
            data = family.match(ip_proto=TCP, tcp_flags=(PSH, PSH), ct_state=direction, ct_mark=(0, bit))
            yield FlowEntry(Table.RESETS, 40, data, Purpose.STAGE, (_COUNT, _seen(zone, bit)), Table.ROUTE)
        yield FlowEntry(Table.RESETS, 0, family.match(), Purpose.RESET, (_COUNT,), goto=Table.ROUTE)
        yield FlowEntry(Table.HOLD, 0, family.match(), Purpose.RESET, (Punt(Meter.MIRROR), Resubmit(Table.ROUTE)))


@cache
def hold() -> tuple[FlowEntry, ...]:
    """Refusals of connections that may be redispatched stay here until the controller has an answer, or is gone for `HOLD_S`."""
    marked = (REDISPATCH, REDISPATCH)
    return tuple(
        FlowEntry(
            Table.HOLD,
            10,
            family.match(ip_proto=TCP, ct_mark=marked),
            Purpose.HELD,
            (Punt(Meter.HELD),),
            hard_timeout_s=HOLD_S,
        )
        for family in FAMILIES
    )
