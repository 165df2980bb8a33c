"""What a connection tracker knows of one TCP connection: states and windows of both sides.

The rules are those of the userspace tracker of Open vSwitch 3.1 (`ovs-fields(7)`, ct_state; the tracker descends from pf's, so the
window rules are Guido van Rooij's, "Real Stateful TCP Packet Filtering in IP Filter", 2000, with pf's allowances).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from topologies.model.headers import ACK, FIN, PSH, RST, SYN, URG, Tcp
from topologies.model.tcp_options import MAX_SCALE, window_scale

MASK = 0xFFFFFFFF
ACK_SLACK = 0xFFFF + 1500
"""How far an acknowledgment may lie behind, and a loosely checked segment outside, the known window."""

FIRST_PACKET_S, OPENING_S, ESTABLISHED_S, CLOSING_S, FIN_WAIT_S, CLOSED_S = 30, 30, 24 * 3600, 900, 45, 30
"""Seconds an entry lives after its last packet, by what that packet made of it (default timeout policy of OVS 3.1)."""


class Verdict(Enum):
    """What a packet is to a connection that is known."""

    VALID = "established"
    STILL_NEW = "of a connection whose other side has not answered"
    STARTS_ANEW = "the first of a new connection in the place of one that ended"
    INVALID = "not of this connection's present window or state"


class Side(IntEnum):
    """State of one side; the order matters, it is how far the side has come."""

    CLOSED = 0
    SYN_SENT = 2
    ESTABLISHED = 4
    CLOSING = 7
    FIN_WAIT_2 = 9
    TIME_WAIT = 10


@dataclass(slots=True)
class Peer:
    """One side: `seq_low` is the highest sequence number it sent, `seq_high` the highest it may send.

    `scale` None: it did not offer window scaling; `picked_up`: its handshake was not seen, so its scale is not known.
    """

    state: Side = Side.CLOSED
    seq_low: int = 0
    seq_high: int = 1
    max_window: int = 1
    scale: int | None = None
    picked_up: bool = False


def at_or_after(a: int, b: int) -> bool:
    """Whether sequence number `a` is at or after `b`, modulo 2**32 (RFC 9293 §3.4)."""
    return (a - b) & MASK < 1 << 31


def illegal(flags: int) -> bool:
    """Whether no stack sends these flags together: SYN with RST or FIN; neither SYN, ACK nor RST; FIN, PSH or URG without ACK."""
    if flags & SYN:
        if flags & (RST | FIN):
            return True
    elif not flags & (ACK | RST):
        return True
    return not flags & ACK and bool(flags & (FIN | PSH | URG))


def may_begin(flags: int) -> bool:
    """Whether a segment of an unknown connection may create an entry: any legal one but a SYN-ACK."""
    return not illegal(flags) and flags & (SYN | ACK) != SYN | ACK


@dataclass(slots=True)
class _Segment:
    """A segment being judged: `seq` to `end` in sequence numbers, and the scales that apply to the two windows."""

    tcp: Tcp
    seq: int
    end: int
    ack: int
    window: int
    source_scale: int = 0
    target_scale: int = 0
    check_skew: bool = True


class TcpConversation:
    """Both sides of one connection, the initiator first. `lifetime_s`: how long the entry lives from the last `update` on."""

    def __init__(self, tcp: Tcp, payload_size: int) -> None:
        """Begins with the first segment seen, which need not be a SYN."""
        source, target = Peer(Side.SYN_SENT), Peer()
        source.seq_low = tcp.seq
        source.seq_high = (tcp.seq + payload_size + 1 + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)) & MASK
        source.max_window = max(tcp.window, 1)
        if tcp.flags & SYN:
            source.scale = window_scale(tcp.options)
            if source.scale:
                source.max_window = _unscaled(source.max_window, source.scale)
        else:
            source.picked_up = target.picked_up = True
        self.peers = (source, target)
        self.lifetime_s: float = FIRST_PACKET_S

    def update(self, tcp: Tcp, payload_size: int, reply: bool) -> tuple[Verdict, bool]:
        """Judges a segment and takes it in; returns the verdict, and whether the entry's lifetime starts again."""
        source, target = (self.peers[1], self.peers[0]) if reply else self.peers
        if illegal(tcp.flags):
            return Verdict.INVALID, False
        if tcp.flags & (SYN | ACK) == SYN:
            if min(source.state, target.state) >= Side.FIN_WAIT_2:
                source.state = target.state = Side.CLOSED
                return Verdict.STARTS_ANEW, False
            if source.state <= Side.SYN_SENT:
                source.state = Side.SYN_SENT
                self.lifetime_s = FIRST_PACKET_S
                return Verdict.STILL_NEW, True
        segment = _prepare(tcp, payload_size, source, target)
        if _in_window(segment, source, target):
            _synchronise(segment, source, target)
            self._advance(segment, source, target)
            return Verdict.VALID, True
        if _tolerated(segment, source, target):
            _synchronise(segment, source, target)
            if tcp.flags & FIN:
                source.state = max(source.state, Side.CLOSING)
            if tcp.flags & RST:
                source.state = target.state = Side.TIME_WAIT
            return Verdict.VALID, False
        return Verdict.INVALID, False

    def _advance(self, segment: _Segment, source: Peer, target: Peer) -> None:
        flags = segment.tcp.flags
        if flags & FIN:
            source.state = max(source.state, Side.CLOSING)
        if flags & ACK and target.state == Side.SYN_SENT:
            target.state = Side.ESTABLISHED
        elif flags & ACK and target.state == Side.CLOSING:
            target.state = Side.FIN_WAIT_2
        if flags & RST:
            source.state = target.state = Side.TIME_WAIT
        self.lifetime_s = _lifetime_s(min(source.state, target.state), max(source.state, target.state))


def _lifetime_s(least: Side, most: Side) -> float:
    if least >= Side.FIN_WAIT_2:
        return CLOSED_S
    if least >= Side.CLOSING:
        return FIN_WAIT_S
    if least < Side.ESTABLISHED:
        return OPENING_S
    return CLOSING_S if most >= Side.CLOSING else ESTABLISHED_S


def _unscaled(window: int, scale: int) -> int:
    """The window of a SYN, which is never scaled, in units of the later ones; rounded up."""
    return -(-window // (1 << scale))


def _prepare(tcp: Tcp, payload_size: int, source: Peer, target: Peer) -> _Segment:
    end = (tcp.seq + payload_size + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)) & MASK
    segment = _Segment(tcp, tcp.seq, end, tcp.ack, tcp.window)
    if not tcp.flags & SYN:
        if source.scale is not None and target.scale is not None:
            segment.source_scale, segment.target_scale = source.scale, target.scale
        elif source.picked_up and target.picked_up:
            segment.source_scale = segment.target_scale = MAX_SCALE
    if source.state < Side.SYN_SENT:
        _first_of_side(segment, source, target)
    if not tcp.flags & ACK or (tcp.ack == 0 and tcp.flags & RST):
        segment.ack = target.seq_low  # Some stacks leave the acknowledgment of a RST out.
    if segment.seq == segment.end:
        segment.seq = segment.end = source.seq_low
    return segment


def _first_of_side(segment: _Segment, source: Peer, target: Peer) -> None:
    """The first segment from this side: its SYN-ACK, or whatever comes when the handshake was missed."""
    tcp = segment.tcp
    if tcp.flags & SYN and target.scale is not None:
        source.scale = window_scale(tcp.options)
        if source.scale is not None:
            segment.source_scale, segment.target_scale = source.scale, target.scale
            segment.window = _unscaled(segment.window, source.scale)
        else:
            target.max_window = target.max_window << target.scale & 0xFFFF
            target.scale = None
    source.seq_low = tcp.seq
    source.state = Side.SYN_SENT
    may_send = (segment.end + max(1, target.max_window << segment.target_scale)) & MASK
    if source.seq_high == 1 or at_or_after(may_send, source.seq_high):
        source.seq_high = may_send
        segment.check_skew = False
    source.max_window = max(source.max_window, segment.window)


def _in_window(segment: _Segment, source: Peer, target: Peer) -> bool:
    skew = (target.seq_low - segment.ack + (1 << 31) & MASK) - (1 << 31) if segment.check_skew else 0
    reset_offset = (segment.tcp.seq - source.seq_low) & MASK
    return (
        at_or_after(source.seq_high, segment.end)
        and at_or_after(segment.seq, source.seq_low - (target.max_window << segment.target_scale))
        and -ACK_SLACK <= skew <= ACK_SLACK << segment.source_scale
        # A RST has to hit the expected sequence number, give or take one: it is what an attacker would forge.
        and (not segment.tcp.flags & RST or reset_offset in (0, 1, MASK))
    )


def _tolerated(segment: _Segment, source: Peer, target: Peer) -> bool:
    """Around a beginning or an end the window is not known well: a segment near it passes, without a longer life."""
    awkward = target.state < Side.SYN_SENT or max(source.state, target.state) >= Side.FIN_WAIT_2
    return (
        awkward
        and at_or_after(source.seq_high + ACK_SLACK, segment.end)
        and at_or_after(segment.seq, source.seq_low - ACK_SLACK)
    )


def _synchronise(segment: _Segment, source: Peer, target: Peer) -> None:
    source.max_window = max(source.max_window, segment.window)
    if not at_or_after(source.seq_low, segment.end):
        source.seq_low = segment.end
    window = segment.window << segment.source_scale
    if at_or_after(segment.ack + window, target.seq_high):
        target.seq_high = (segment.ack + max(window, 1)) & MASK
