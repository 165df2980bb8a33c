"""Packets of a capture file, whichever format it has.

Sources: draft-ietf-opsawg-pcap (classic format), pcapng in `controller/pcap/pcapng.py`, pcap-savefile(5).
"""

from collections import Counter
from collections.abc import Iterator
from struct import Struct

from controller.pcap.pcapng import SECTION_HEADER, read_pcapng
from controller.pcap.source import Source

Packet = tuple[int, int, bytes]
"""(time in ns since the epoch, link type, captured bytes)"""

_NANOSECONDS, _MICROSECONDS = 1, 1000
_RECORD_BYTES = 16
# Kuznetzov's patched libpcap of the 1990s: interface, protocol and packet type follow the usual record header.
_PATCHED_RECORD_BYTES = 24

# magic -> (byte order, ns per unit of the fraction, record header bytes)
_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", _MICROSECONDS, _RECORD_BYTES),
    b"\xa1\xb2\xc3\xd4": (">", _MICROSECONDS, _RECORD_BYTES),
    b"\x4d\x3c\xb2\xa1": ("<", _NANOSECONDS, _RECORD_BYTES),
    b"\xa1\xb2\x3c\x4d": (">", _NANOSECONDS, _RECORD_BYTES),
    b"\x34\xcd\xb2\xa1": ("<", _MICROSECONDS, _PATCHED_RECORD_BYTES),
    b"\xa1\xb2\xcd\x34": (">", _MICROSECONDS, _PATCHED_RECORD_BYTES),
}
_OTHER_FILES = {
    b"\x1f\x8b": "gzip-compressed: unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd-compressed: unpack it first",
    b"\xfd7zX": "xz-compressed: unpack it first",
    b"BZh": "bzip2-compressed: unpack it first",
    b"snoop": "a snoop capture, not pcap or pcapng",
}

# Link-layer headers aside, a packet with segmentation offload is 64 KiB, with BIG TCP 512 KiB. More is no packet but
# a length field that lies, and would have the reader take the rest of the file into memory.
MAX_PACKET_BYTES = 1 << 20


def read_packets(source: Source, notes: Counter[str]) -> Iterator[Packet]:
    """Packets in file order; what was left out is counted in `notes`.

    Raises:
        CaptureError: not a capture, or damaged (after the packets before the damage).
    """
    if not source.fill(4):
        raise source.error("not a capture: the file is empty" if not source.remaining() else "not a capture: too short")
    magic = source.buffer[:4]
    if magic == SECTION_HEADER:
        return read_pcapng(source, notes)
    if magic in _MAGICS:
        return _read_classic(source, notes, *_MAGICS[magic])
    source.fill(8)
    for prefix, problem in _OTHER_FILES.items():
        if source.buffer.startswith(prefix):
            raise source.error(f"not a capture: {problem}")
    raise source.error(f"not a capture: begins with {magic.hex(' ')}, neither pcap nor pcapng")


def _read_classic(source: Source, notes: Counter[str], order: str, unit_ns: int, header: int) -> Iterator[Packet]:
    if not source.fill(24):
        raise source.error("not a capture: the file header is cut short")
    # The upper bits may hold the length of a frame check sequence; the link type is the lower half.
    link = Struct(order + "I").unpack_from(source.buffer, 20)[0] & 0xFFFF
    unpack = Struct(order + "III").unpack_from
    at = source.at = 24
    buffer = source.buffer
    size = len(buffer)
    while True:
        body = at + header
        if body > size:
            source.at = at
            if not source.fill(header):
                break
            buffer, at, size, body = source.buffer, source.at, len(source.buffer), source.at + header
        seconds, fraction, captured = unpack(buffer, at)
        end = body + captured
        if end > size:
            source.at = at
            if captured > MAX_PACKET_BYTES:
                raise source.error(f"damaged: a packet of {captured} bytes")
            if not source.fill(header + captured):
                break
            buffer, at, size = source.buffer, source.at, len(source.buffer)
            body = at + header
            end = body + captured
        yield seconds * 1_000_000_000 + fraction * unit_ns, link, buffer[body:end]
        at = end
    if source.remaining():
        notes[f"the file ends within a packet (byte {source.offset}): that packet was left out"] += 1
