"""Whatever a file holds, its analysis ends with records or a CaptureError; and how it was cut does not matter."""

import io
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.pcap import CaptureError, analyse

MAGICS = st.sampled_from(
    tuple(bytes.fromhex(magic) for magic in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "34cdb2a1", "0a0d0d0a"))
)
LINKS = st.sampled_from((0, 1, 9, 10, 101, 104, 105, 108, 113, 229, 239, 276, 4711))
FLAGS = st.sampled_from((0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14))


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """An IPv4 TCP packet between few hosts, ports and sequence numbers, so that connections meet."""
    ends = [(bytes((10, 0, 0, draw(st.integers(1, 3)))), draw(st.sampled_from((80, 40000, 40001)))) for _ in range(2)]
    near = st.sampled_from((0, 1, 2, 1000, 2**31, 2**32 - 1))
    tcp = struct.pack("!HHIIBBHHH", ends[0][1], ends[1][1], draw(near), draw(near), 5 << 4, draw(FLAGS), 0, 0, 0)
    body = tcp + draw(st.sampled_from((b"", b"x", b"GET / HTTP/1.1", b"\x16\x03\x01")))
    ttl = draw(st.sampled_from((0, 64, 128, 255)))
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, ttl, 6, 0, ends[0][0], ends[1][0]) + body


def record(packet: bytes, order: str, time: int) -> bytes:
    return struct.pack(order + "IIII", time, 0, len(packet), len(packet)) + packet


def classic(found: list[bytes], link: int = 101, order: str = "<") -> bytes:
    header = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return header + b"".join(record(packet, order, time) for time, packet in enumerate(found))


def block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def pcapng(found: list[bytes], link: int = 101) -> bytes:
    capture = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(1, struct.pack("<HHI", link, 0, 0))
    for time, packet in enumerate(found):
        capture += block(6, struct.pack("<IIIII", 0, 0, time * 1_000_000, len(packet), len(packet)) + packet)
    return capture


@st.composite
def mutated_captures(draw: st.DrawFn) -> bytes:
    """A valid capture with a few bytes changed, perhaps cut."""
    write = draw(st.sampled_from((classic, pcapng)))
    capture = bytearray(write(draw(st.lists(packets(), max_size=6)), draw(LINKS)))
    for _ in range(draw(st.integers(0, 5))):
        capture[draw(st.integers(0, len(capture) - 1))] = draw(st.integers(0, 255))
    return bytes(capture[: draw(st.integers(0, len(capture)))])


def records_of(stream: Any) -> list[dict[str, Any]]:
    return [found.as_json() for found in analyse(stream)]


def survive(capture: bytes) -> None:
    analysis = analyse(io.BytesIO(capture))
    try:
        for found in analysis:
            assert 0 <= found.confidence <= 1
            assert found.bytes_client >= 0
            assert found.bytes_server >= 0
    except CaptureError as error:
        assert 0 <= error.offset <= len(capture)
    assert all(analysis.notes)
    assert analysis.resets == sum(server.resets for server in analysis.servers)


@given(st.binary(max_size=300))
def test_arbitrary_bytes(capture: bytes) -> None:
    survive(capture)


@given(MAGICS, st.binary(max_size=300))
def test_arbitrary_bytes_behind_a_magic(magic: bytes, rest: bytes) -> None:
    survive(magic + rest)


@given(LINKS, st.lists(st.binary(max_size=120), max_size=5))
def test_arbitrary_packets_on_any_link(link: int, found: list[bytes]) -> None:
    survive(classic(found, link))
    survive(pcapng(found, link))


@given(mutated_captures())
def test_mutated_captures(capture: bytes) -> None:
    survive(capture)


@given(st.lists(packets(), max_size=12))
def test_any_conversation_is_told_alike_in_every_format(found: list[bytes]) -> None:
    expected = records_of(io.BytesIO(classic(found)))
    assert records_of(io.BytesIO(classic(found, order=">"))) == expected
    assert records_of(io.BytesIO(pcapng(found))) == expected
    assert records_of(io.BytesIO(classic([bytes(12) + b"\x08\x00" + packet for packet in found], link=1))) == expected


class Pieces(io.RawIOBase):
    """A stream that gives its content in pieces of given sizes."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._rest = content
        self._sizes = sizes

    def read(self, size: int = -1) -> bytes:
        length = self._sizes.pop() if self._sizes else len(self._rest)
        part, self._rest = self._rest[:length], self._rest[length:]
        return part


@given(st.lists(packets(), max_size=12), st.lists(st.integers(1, 60), max_size=40), st.sampled_from((classic, pcapng)))
def test_pieces_in_which_a_stream_comes_do_not_matter(found: list[bytes], sizes: list[int], write: Any) -> None:
    capture = write(found)
    assert records_of(Pieces(capture, sizes)) == records_of(io.BytesIO(capture))


@given(st.lists(packets(), max_size=12), st.integers(0, 600))
def test_cut_file_tells_what_its_whole_packets_tell(found: list[bytes], length: int) -> None:
    capture = classic(found)
    cut = capture[: max(24, min(length, len(capture)))]
    whole, size = 0, 24
    while whole < len(found) and size + 16 + len(found[whole]) <= len(cut):
        size += 16 + len(found[whole])
        whole += 1
    assert records_of(io.BytesIO(cut)) == records_of(io.BytesIO(classic(found[:whole])))


@given(st.lists(packets(), max_size=12))
def test_each_connection_between_two_syns_is_reported_at_most_once(found: list[bytes]) -> None:
    resets = sum(packet[33] & 0x04 != 0 for packet in found)
    assert len(records_of(io.BytesIO(classic(found)))) <= resets
