"""Bytes of a frame to a TCP segment, and what one reset says by itself.

Hot path: the reset mirror hands over every mirrored frame, the capture analyser every packet of a file. So there is
nothing here but `struct`, no object per header and no loop that is not bounded by the bytes left. Ryu's and os-ken's
packet libraries loop or raise on hostile frames; this reader gives `None`.

Sources: RFC 791 and 8200 (IP), RFC 9293 (TCP), RFC 7323 (timestamps), IEEE 802.1Q (tags), RFC 5961 (blind resets).
"""

import ipaddress
from collections.abc import Callable
from enum import IntFlag, StrEnum
from struct import Struct
from typing import Any, NamedTuple

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

IPV4, IPV6 = 0x0800, 0x86DD
VLAN_TAGS = frozenset((0x8100, 0x88A8, 0x9100))
TCP = 6

_ETHERNET_BYTES = 14
_BARE_TCP_BYTES = 20
_SEQUENCES = 1 << 32

# version+IHL, total length, identification, flags+fragment offset, TTL, protocol, source, destination
_IPV4_HEADER = Struct("!BxHHHBBxx4s4s")
# version+class+flow label, payload length, next header, hop limit, source, destination
_IPV6_HEADER = Struct("!IHBB16s16s")
# ports, sequence, acknowledgement, header length, flags, window
_TCP_HEADER = Struct("!HHIIBBH")
_TWO_WORDS = Struct("!II")

# RFC 8200 §4.1 and RFC 7045 §4: next header -> (unit, added) so that a header takes (length + added) * unit bytes.
_EXTENSIONS = {0: (8, 1), 43: (8, 1), 60: (8, 1), 135: (8, 1), 139: (8, 1), 140: (8, 1), 51: (4, 2)}
_FRAGMENT = 44
# RFC 8200 §4.1: each header at most once, destination options twice. More is an attempt to keep us busy.
_MAX_EXTENSIONS = 8

_OPTION_END, _OPTION_NOP, _OPTION_TIMESTAMPS = 0, 1, 8
# NOP, NOP, timestamps: what every current stack puts into a 32-byte header.
_USUAL_OPTIONS = b"\x01\x01\x08\x0a"


class Fault(IntFlag):
    """What is wrong with a segment that could still be read (`Segment.faults`)."""

    TRUNCATED = 1
    """The frame ends before the length in the IP header: a capture's snap length, or a lie."""
    LENGTH_ABSENT = 2
    """The IP length is 0 (segmentation offload at the capturing host): payload counted from the frame."""
    OPTIONS = 4
    """TCP options run over their header or have an impossible length; those before the fault are read."""
    FIRST_FRAGMENT = 8
    """More fragments follow: the payload count is this fragment's."""


# Arithmetic on an IntFlag costs ten times that on its value.
_TRUNCATED, _LENGTH_ABSENT = Fault.TRUNCATED.value, Fault.LENGTH_ABSENT.value
_OPTIONS, _FIRST_FRAGMENT = Fault.OPTIONS.value, Fault.FIRST_FRAGMENT.value


class Segment(NamedTuple):
    """One TCP segment. A tuple because that is the fastest record to build (see `docs/pcap.md`).

    `src` and `dst` are packed addresses (4 or 16 bytes), `eth_src` is empty where there is no Ethernet header,
    `vlan` the outermost VLAN id (the one OpenFlow's `vlan_vid` matches), `ip_id` is None on IPv6.
    """

    src: bytes
    dst: bytes
    src_port: int
    dst_port: int
    seq: int
    ack: int
    flags: int
    window: int
    ttl: int
    ip_id: int | None
    tcp_header_bytes: int
    payload_bytes: int
    payload_offset: int
    timestamps: tuple[int, int] | None
    eth_src: bytes
    vlan: int | None
    faults: int

    @property
    def is_reset(self) -> bool:
        """Whether the RST bit is set."""
        return self.flags & RST != 0

    @property
    def src_text(self) -> str:
        """Source address as text."""
        return address_text(self.src)

    @property
    def dst_text(self) -> str:
        """Destination address as text."""
        return address_text(self.dst)


# `Segment(...)` goes through a Python-level __new__; tuple's own does not.
_new: Callable[[type[Segment], tuple[Any, ...]], Segment] = tuple.__new__


def address_text(packed: bytes) -> str:
    """Text of a packed IPv4 (4 bytes) or IPv6 (16 bytes) address."""
    return str(ipaddress.ip_address(packed))


def read_segment(frame: bytes | bytearray | memoryview) -> Segment | None:
    """Read the TCP segment in an Ethernet frame, or None if there is none that can be read.

    None stands for: not IP, not TCP, a fragment without the TCP header, or headers that contradict themselves.
    """
    octets = frame if type(frame) is bytes else bytes(frame)
    end = len(octets)
    if end < _ETHERNET_BYTES + 2 * _BARE_TCP_BYTES:
        return None
    ethertype = octets[12] << 8 | octets[13]
    start = _ETHERNET_BYTES
    vlan = None
    while ethertype in VLAN_TAGS:
        if start + 4 > end:
            return None
        if vlan is None:
            vlan = (octets[start] & 0x0F) << 8 | octets[start + 1]
        ethertype = octets[start + 2] << 8 | octets[start + 3]
        start += 4
    if ethertype == IPV4:
        return _read_ipv4(octets, start, end, octets[6:12], vlan)
    if ethertype == IPV6:
        return _read_ipv6(octets, start, end, octets[6:12], vlan)
    return None


def read_ip_segment(packet: bytes, start: int = 0, eth_src: bytes = b"", vlan: int | None = None) -> Segment | None:
    """Read the TCP segment in an IP packet that begins at `start`; the version is the packet's first nibble."""
    end = len(packet)
    if start >= end:
        return None
    version = packet[start] >> 4
    if version == 4:
        return _read_ipv4(packet, start, end, eth_src, vlan)
    if version == 6:
        return _read_ipv6(packet, start, end, eth_src, vlan)
    return None


def is_reset(frame: bytes | bytearray | memoryview) -> bool:
    """Cheap pre-check: False only where `read_segment` would not give a reset.

    True may still be followed by None from `read_segment` (lengths are not checked here).
    """
    try:
        if frame[12] == 0x08 and frame[13] == 0x00:
            return frame[23] == TCP and frame[14 + (frame[14] & 0x0F) * 4 + 13] & RST != 0
    except IndexError:
        return False
    segment = read_segment(frame)
    return segment is not None and segment.flags & RST != 0


def _read_ipv4(packet: bytes, start: int, end: int, eth_src: bytes, vlan: int | None) -> Segment | None:
    if end - start < 2 * _BARE_TCP_BYTES:
        return None
    first, total, ip_id, fragment, ttl, protocol, src, dst = _IPV4_HEADER.unpack_from(packet, start)
    tcp = start + (first & 0x0F) * 4
    if protocol != TCP or first < 0x45 or first > 0x4F or fragment & 0x1FFF:
        return None
    faults = _FIRST_FRAGMENT if fragment & 0x2000 else 0
    stop = start + total
    if total == 0:
        stop = end
        faults |= _LENGTH_ABSENT
    elif stop > end:
        faults |= _TRUNCATED
    return _read_tcp(packet, tcp, stop, end, (src, dst, ttl, ip_id, eth_src, vlan, faults))


def _read_ipv6(packet: bytes, start: int, end: int, eth_src: bytes, vlan: int | None) -> Segment | None:
    if end - start < 40 + _BARE_TCP_BYTES:
        return None
    first, length, header, ttl, src, dst = _IPV6_HEADER.unpack_from(packet, start)
    if first >> 28 != 6:
        return None
    faults = 0
    stop = start + 40 + length
    if length == 0:
        stop = end
        faults = _LENGTH_ABSENT
    elif stop > end:
        faults = _TRUNCATED
    tcp = start + 40
    if header != TCP:
        reached = _skip_extensions(packet, header, tcp, end)
        if reached is None:
            return None
        tcp, fault = reached
        faults |= fault
    return _read_tcp(packet, tcp, stop, end, (src, dst, ttl, None, eth_src, vlan, faults))


def _skip_extensions(packet: bytes, header: int, at: int, end: int) -> tuple[int, int] | None:
    """(offset of the TCP header, faults), or None if the extension headers do not lead to one."""
    faults = 0
    for _ in range(_MAX_EXTENSIONS):
        if header == TCP:
            return at, faults
        if at + 8 > end:
            return None
        if header == _FRAGMENT:
            if (packet[at + 2] << 8 | packet[at + 3]) & 0xFFF8:
                return None
            if packet[at + 3] & 1:
                faults |= _FIRST_FRAGMENT
            size = 8
        elif header in _EXTENSIONS:
            unit, added = _EXTENSIONS[header]
            size = (packet[at + 1] + added) * unit
        else:
            return None
        header = packet[at]
        at += size
    return (at, faults) if header == TCP else None


def _read_tcp(
    packet: bytes, tcp: int, stop: int, end: int, ip: tuple[bytes, bytes, int, int | None, bytes, int | None, int]
) -> Segment | None:
    """`stop` is where the IP header says the packet ends, `end` where the bytes do."""
    if tcp + _BARE_TCP_BYTES > end:
        return None
    src_port, dst_port, seq, ack, length, flags, window = _TCP_HEADER.unpack_from(packet, tcp)
    length = (length >> 4) * 4
    payload = tcp + length
    if length < _BARE_TCP_BYTES or payload > stop:
        return None
    src, dst, ttl, ip_id, eth_src, vlan, faults = ip
    timestamps = None
    if length == 32 and payload <= end and packet[tcp + 20 : tcp + 24] == _USUAL_OPTIONS:
        timestamps = _TWO_WORDS.unpack_from(packet, tcp + 24)
    elif length > _BARE_TCP_BYTES:
        timestamps, fault = _read_timestamps(packet, tcp + 20, min(payload, end))
        faults |= fault
    return _new(
        Segment,
        (
            src, dst, src_port, dst_port, seq, ack, flags, window, ttl, ip_id,
            length, stop - payload, payload, timestamps, eth_src, vlan, faults,
        ),
    )  # fmt: skip


def _read_timestamps(packet: bytes, at: int, stop: int) -> tuple[tuple[int, int] | None, int]:
    """(timestamps or None, faults); RFC 9293 §3.1: an option is one byte, or kind, length, value."""
    found: tuple[int, int] | None = None
    while at < stop:
        kind = packet[at]
        if kind == _OPTION_END:
            break
        if kind == _OPTION_NOP:
            at += 1
            continue
        size = packet[at + 1] if at + 1 < stop else 0
        if size < 2 or at + size > stop:
            return found, _OPTIONS
        if kind == _OPTION_TIMESTAMPS and size == 10:
            tsval, tsecr = _TWO_WORDS.unpack_from(packet, at + 2)
            found = (tsval, tsecr)
        at += size
    return found, 0


class Sender(StrEnum):
    """Who sent a reset."""

    CLIENT = "client"
    MEMBER = "member"
    INJECTED = "injected"
    UNKNOWN = "unknown"


class Stage(StrEnum):
    """How far a connection had come when it was reset.

    A client's reset after a SYN-ACK that it never acknowledged counts as post-syn: the handshake was not completed.
    """

    POST_SYN = "post-syn"
    POST_HANDSHAKE = "post-handshake"
    POST_DATA = "post-data"
    AFTER_FIN = "after-fin"


class Kind(StrEnum):
    """What a reset did."""

    REFUSED = "refused"
    """The answer to a SYN: no listener, or a REJECT in its name."""
    NOT_ACCEPTED = "not-accepted"
    """The member answered the SYN, then disowned the connection before it sent a byte (accept queue full)."""
    ABORTED_BY_MEMBER = "aborted-by-member"
    ABORTED_BY_CLIENT = "aborted-by-client"
    UNKNOWN_CONNECTION = "unknown-connection"
    """The answer to a segment of a connection its sender knows nothing about (any more)."""
    OUT_OF_WINDOW = "out-of-window"
    """A sequence number the receiver does not accept (RFC 5961 §3.2)."""
    INJECTED = "injected"
    """Not sent by the host whose address it carries."""
    AFTER_FIN = "after-fin"
    """One side had already said it was done: harmless."""


class Style(StrEnum):
    """How the sender's stack came to send a reset."""

    PASSIVE = "passive"
    """No socket: built from the offending segment alone, so window 0 and a bare header."""
    ACTIVE = "active"
    """A live socket was aborted: its window, its options, its sequence number."""


class ResetFacts(NamedTuple):
    """What one reset proves without any knowledge of its connection (`facts_of`)."""

    style: Style
    answers_syn: bool
    """`<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>`: the segment it answers had no ACK, so it was a SYN."""
    answers_unknown: bool
    """`<SEQ=SEG.ACK><CTL=RST>`: the segment it answers had an ACK, and met no connection."""
    syn_seq: int | None
    """Sequence number of the refused SYN (if it carried no data), from which the SYN can be rebuilt."""


def facts_of(reset: Segment) -> ResetFacts:
    """Read what a single reset says about the stack that sent it.

    RFC 9293 §3.10.7.1 (CLOSED): "If the ACK bit is off, sequence number zero is used,
    <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>." Both are written
    without a socket, so nothing is there to fill window or options. An abort (RFC 9293 §3.10.5) comes from one:
    `<SEQ=SND.NXT><CTL=RST>`, which stacks send with ACK.

    Measured on Linux 6.x (sequence numbers relative to the ISN):
    - closed port, REJECT on a host: RA 0/1, window 0, 20 bytes, IP id 0;
    - REJECT on a router on data, data after close, state lost: R SEG.ACK/0, the rest as above;
    - accept queue full (`tcp_abort_on_overflow`): R 1/0 after the SYN-ACK, the rest as above;
    - close() with unread data, SO_LINGER 0, keepalive exhausted: RA SND.NXT/RCV.NXT, window > 0, IP id not 0, 32 bytes.
    Windows aborts with window 0 and 20 bytes, but its sequence number is not 0: an answer with ACK has 0, so this is
    an abort too.
    """
    acknowledges = reset.flags & ACK != 0
    bare = reset.window == 0 and reset.tcp_header_bytes == _BARE_TCP_BYTES
    answers_syn = acknowledges and bare and reset.seq == 0
    answers_unknown = not acknowledges and bare
    return ResetFacts(
        style=Style.PASSIVE if answers_syn or answers_unknown else Style.ACTIVE,
        answers_syn=answers_syn,
        answers_unknown=answers_unknown,
        syn_seq=(reset.ack - 1) % _SEQUENCES if answers_syn else None,
    )


def kind_of(
    style: Style, sender: Sender, stage: Stage, *, in_window: bool = True, member_answered: bool | None = None
) -> Kind:
    """Name what a reset did, from its own facts and what the connection's tracker knows.

    Args:
        style: how it was written (`facts_of`).
        sender: `INJECTED` only on proof (it entered at another port than the host whose address it carries).
        stage: how far the connection had come.
        in_window: False where the tracker or the sequence numbers say that the receiver will not accept it. RFC 5961
            §3.2: outside the window it is dropped; inside but not at RCV.NXT it draws a challenge ACK.
        member_answered: whether the member's SYN-ACK was seen; default: every stage but post-syn implies it.
    """
    if sender is Sender.INJECTED:
        return Kind.INJECTED
    if not in_window:
        return Kind.OUT_OF_WINDOW
    if stage is Stage.AFTER_FIN:
        return Kind.AFTER_FIN
    passive = style is Style.PASSIVE
    if sender is Sender.MEMBER:
        answered = stage is not Stage.POST_SYN if member_answered is None else member_answered
        return _of_member(passive, stage, answered)
    return Kind.UNKNOWN_CONNECTION if passive or sender is Sender.UNKNOWN else Kind.ABORTED_BY_CLIENT


def _of_member(passive: bool, stage: Stage, answered: bool) -> Kind:
    if not answered:
        return Kind.REFUSED
    if not passive:
        return Kind.ABORTED_BY_MEMBER
    return Kind.UNKNOWN_CONNECTION if stage is Stage.POST_DATA else Kind.NOT_ACCEPTED
