"""Packets of a pcapng file (draft-ietf-opsawg-pcapng): sections, several interfaces, both byte orders."""

from collections import Counter
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from controller.pcap.source import Source

SECTION_HEADER = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_TIMESTAMP_RESOLUTION, _TIMESTAMP_OFFSET = 9, 14

# type, length, …, length
_BLOCK_OVERHEAD = 12
# Name tables and decryption secrets can be long, but a block this long is a length field that lies.
_MAX_BLOCK_BYTES = 16 << 20
# Interfaces are kept until the section ends, so their number is what bounds memory.
_MAX_INTERFACES = 65_536

_NS_PER_S = 1_000_000_000


class _Interface(NamedTuple):
    """Time in ns is `ticks * multiplier // divisor + offset_ns`."""

    link: int
    snap_bytes: int
    multiplier: int
    divisor: int
    offset_ns: int


class _Section:
    """One section: its byte order and the interfaces described so far."""

    def __init__(self, order: str) -> None:
        self.head = Struct(order + "II").unpack_from
        self.interfaces: list[_Interface] = []
        self._interface = Struct(order + "HxxI").unpack_from
        self._option = Struct(order + "HH").unpack_from
        self._offset = Struct(order + "q").unpack_from
        self._word = Struct(order + "I").unpack_from
        self._enhanced = Struct(order + "IIII").unpack_from
        # The obsolete packet block differs in a shorter interface id, beside a count of drops.
        self._old = Struct(order + "HxxIII").unpack_from

    def describe_interface(self, buffer: bytes, body: int, stop: int) -> None:
        """Take an interface description block; a field that is cut short ends its options."""
        link, snap_bytes = self._interface(buffer, body)
        resolution, offset_s = 6, 0
        at = body + 8
        while at + 4 <= stop:
            code, size = self._option(buffer, at)
            at += 4
            if code == 0 or at + size > stop:
                break
            if code == _TIMESTAMP_RESOLUTION and size >= 1:
                resolution = buffer[at]
            elif code == _TIMESTAMP_OFFSET and size >= 8:
                offset_s = self._offset(buffer, at)[0]
            at += size + -size % 4
        # The highest bit says whether a tick is a negative power of 2 or of 10 of a second.
        ticks_per_s = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        self.interfaces.append(_Interface(link, snap_bytes, _NS_PER_S, ticks_per_s, offset_s * _NS_PER_S))

    def packet(self, kind: int, buffer: bytes, body: int, stop: int) -> tuple[int | None, int, bytes] | None:
        """(ns or None if the block has no time, link type, bytes); None if the block contradicts itself."""
        if kind == _SIMPLE_PACKET:
            if stop - body < 4 or not self.interfaces:
                return None
            snap = self.interfaces[0].snap_bytes or stop - body
            captured = min(self._word(buffer, body)[0], snap, stop - body - 4)
            return None, self.interfaces[0].link, buffer[body + 4 : body + 4 + captured]
        if stop - body < 20:
            return None
        number, high, low, captured = (self._enhanced if kind == _ENHANCED_PACKET else self._old)(buffer, body)
        start = body + 20
        if number >= len(self.interfaces) or start + captured > stop:
            return None
        link, _, multiplier, divisor, offset_ns = self.interfaces[number]
        return (high << 32 | low) * multiplier // divisor + offset_ns, link, buffer[start : start + captured]


def read_pcapng(source: Source, notes: Counter[str]) -> Iterator[tuple[int, int, bytes]]:
    """(time in ns since the epoch, link type, captured bytes) of every packet, in file order.

    Raises:
        CaptureError: a block that contradicts itself so that the next one cannot be found.
    """
    section = _open_section(source)
    time_ns = 0
    while source.fill(_BLOCK_OVERHEAD):
        if source.buffer[source.at : source.at + 4] == SECTION_HEADER:
            section = _open_section(source)
        kind, length = section.head(source.buffer, source.at)
        if length < _BLOCK_OVERHEAD or length % 4 or length > _MAX_BLOCK_BYTES:
            raise source.error(f"damaged: a block of {length} bytes")
        if not source.fill(length):
            break
        buffer, at = source.buffer, source.at
        body, stop = at + 8, at + length - 4
        if buffer[stop : stop + 4] != buffer[at + 4 : body]:
            raise source.error("damaged: a block's two lengths differ")
        if kind == _INTERFACE:
            _describe(source, section, body, stop)
        elif kind in (_ENHANCED_PACKET, _SIMPLE_PACKET, _OLD_PACKET):
            found = section.packet(kind, buffer, body, stop)
            if found is None:
                notes["packet blocks left out: length or interface contradicts the file"] += 1
            else:
                if found[0] is not None:
                    time_ns = found[0]
                yield time_ns, found[1], found[2]
        source.at = at + length
    if source.remaining():
        notes[f"the file ends within a block (byte {source.offset}): that block was left out"] += 1


def _open_section(source: Source) -> _Section:
    if not source.fill(_BLOCK_OVERHEAD):
        raise source.error("not a capture: the section header is cut short")
    order = _BYTE_ORDERS.get(source.buffer[source.at + 8 : source.at + 12])
    if order is None:
        raise source.error("damaged: a section header without byte-order mark")
    return _Section(order)


def _describe(source: Source, section: _Section, body: int, stop: int) -> None:
    if stop - body < 8:
        raise source.error("damaged: an interface description is cut short")
    if len(section.interfaces) >= _MAX_INTERFACES:
        raise source.error(f"more than {_MAX_INTERFACES} interfaces in a section")
    section.describe_interface(source.buffer, body, stop)
