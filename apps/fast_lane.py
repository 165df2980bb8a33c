"""Mirrored resets from the receive buffer to sums, without an object per message.

A switch lays out the packet-ins of one kind alike: same fields in the same places, and of resets that say the same all octets of the match
are the same but the client's address and port. So what is fixed is one key, by which the sum is found; only a key that was never met is
read field by field. What has another layout, IPv6, and frames with tags or IP options are read that way each time.

Sources: OpenFlow 1.3.5 §7.4.1 (packet-in) and §7.2.3 (OXM), `ovs-fields(7)`, RFC 791, RFC 9293 §3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from apps import codec
from controller.balance import connection_of
from controller.bulk import SUMMED, Bulk, Kind, Reading
from controller.flows import PURPOSE_SHIFT
from controller.pipeline import ACK, RST, TCP
from controller.segments import Style, facts_of, read_segment

_PURPOSE, _MATCH, _FIELDS = 16, 24, 28
"""Where a packet-in has the first octet of its cookie, its match, and the match's fields."""
# Ethertype with version and length of the IP header, total length, fragment, protocol; sequence number, header length, flags, window.
_FRAME = "12x3sxH2xHxB10x4xI4xBBH"
_USUAL = b"\x08\x00\x45"
_MAX_KEYS = 16_384


class FastLane:
    """Decides for each packet-in whether it is looked at by itself, and adds up those that are not."""

    def __init__(self, bulk: Bulk, clock: Callable[[], float]) -> None:
        """`clock` is the core's, seconds."""
        self._bulk = bulk
        self._clock = clock
        self._layouts: dict[int, Struct] = {}
        self._kinds: dict[tuple[bytes, bytes, bytes, bool, int], Kind] = {}
        self._generation = bulk.generation

    def use(self, bulk: Bulk) -> None:
        """Add up in another place from now on: the core is another one."""
        self._bulk, self._generation = bulk, bulk.generation
        self._kinds.clear()

    def look_at_clock(self) -> None:
        """To be called every few hundred messages."""
        self._bulk.renew(self._clock())
        if self._generation != self._bulk.generation or len(self._kinds) > _MAX_KEYS:
            self._generation = self._bulk.generation
            self._kinds.clear()

    def takes(self, dpid: int, buffer: bytearray, start: int, length: int) -> bool:  # noqa: PLR0911 - a call more per message costs too much
        """Whether the packet-in at `start` is dealt with. False: it wants to be looked at by itself."""
        if length < _FIELDS or buffer[start + _PURPOSE] not in SUMMED or self._bulk.may_be_looked_at():
            return False
        layout = self._layouts.get(buffer[start + _MATCH + 2] << 8 | buffer[start + _MATCH + 3])
        if layout is None or layout.size > length:
            return self._learn(dpid, bytes(buffer[start : start + length]))
        (
            said, src, target, src_port, target_port, frame, total, fragment, protocol, seq, words, flags, window,
        ) = layout.unpack_from(buffer, start)  # fmt: skip
        if (
            frame != _USUAL or protocol != TCP or fragment & 0x3FFF or not flags & RST
            or words < 0x50 or total < 20 + (words >> 2 & 0x3C)
        ):  # fmt: skip
            return self._look_closely(dpid, bytes(buffer[start : start + length]))
        passive = not window and words < 0x60 and (not flags & ACK or not seq)
        key = said, target, target_port, passive, dpid
        kind = self._kinds.get(key)
        if kind is not None:
            return self._bulk.add(kind, src, src_port)
        reading = _read(bytes(buffer[start : start + length]))
        if reading is None or (reading.src, reading.src_port, reading.passive) != (src, src_port, passive):
            return self._learn(dpid, bytes(buffer[start : start + length]))
        kind = self._bulk.kind_of(dpid, reading)
        if kind is None:
            return self._leave_out()
        self._kinds[key] = kind
        return self._bulk.add(kind, src, src_port)

    def _look_closely(self, dpid: int, message: bytes) -> bool:
        reading = _read(message)
        kind = self._bulk.kind_of(dpid, reading) if reading else None
        if reading is None or kind is None:
            return self._leave_out()
        return self._bulk.add(kind, reading.src, reading.src_port)

    def _leave_out(self) -> bool:
        self._bulk.left_out += 1
        return True

    def _learn(self, dpid: int, message: bytes) -> bool:
        """Remember the layout for the next message whose match is as long."""
        layout = _layout(message)
        if layout is not None and layout.size <= len(message):
            self._layouts[int.from_bytes(message[_MATCH + 2 : _MATCH + 4])] = layout
        return self._look_closely(dpid, message)


def _layout(message: bytes) -> Struct | None:
    """Where the client's address and port are in a packet-in of IPv4, and everything between them; None when it has none."""
    end = _MATCH + int.from_bytes(message[_MATCH + 2 : _MATCH + 4])
    places, offset = {}, _FIELDS
    while offset + 4 <= end:
        header = int.from_bytes(message[offset : offset + 4])
        places[codec.name_of(header)] = offset + 4
        offset += 4 + (header & 0xFF)
    src, port, last = (places.get(name) for name in ("ct_nw_src", "ct_tp_src", "ct_tp_dst"))
    if src is None or port is None or last != port + 6 or not src < port:
        return None
    padding = -(end - _MATCH) % 8 + 2
    return Struct(f"!{_PURPOSE}x{src - _PURPOSE}sI{port - src - 4}sH6s{end - last - 2 + padding}x{_FRAME}")


def _read(message: bytes) -> Reading | None:
    """What any packet-in says, None when it holds no TCP segment."""
    packet_in = codec.decode_packet_in(message)
    segment = read_segment(packet_in[3]) if packet_in else None
    if packet_in is None or segment is None:
        return None
    fields, word = packet_in[2], int.from_bytes
    opened = connection_of(fields)
    ends = opened[:4] if opened else (word(segment.src), segment.src_port, word(segment.dst), segment.dst_port)
    in_port, state, mark = (fields.get(name, 0) for name in ("in_port", "ct_state", "ct_mark"))
    passive = facts_of(segment).style is Style.PASSIVE
    return Reading(packet_in[1] >> PURPOSE_SHIFT, in_port, state, mark, *ends, passive)
