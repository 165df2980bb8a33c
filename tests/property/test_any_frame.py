"""Whatever a frame holds, reading it ends, and does not raise."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from controller.segments import (
    RST,
    Kind,
    Segment,
    Sender,
    Stage,
    facts_of,
    is_reset,
    kind_of,
    read_ip_segment,
    read_segment,
)

ETHERTYPES = st.sampled_from((0x0800, 0x86DD, 0x8100, 0x88A8, 0x0806))


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A valid TCP frame: IPv4 or IPv6, tags, IP and TCP options, payload."""
    word = st.integers(0, 2**32 - 1)
    short = st.integers(0, 2**16 - 1)
    options = draw(st.binary(max_size=40))
    options += bytes(-len(options) % 4)
    payload = draw(st.binary(max_size=30))
    ports_and_numbers = struct.pack("!HHII", draw(short), draw(short), draw(word), draw(word))
    rest = struct.pack("!BBHHH", (5 + len(options) // 4) << 4, draw(st.integers(0, 255)), draw(short), 0, 0)
    segment = ports_and_numbers + rest + options + payload
    tags = draw(st.lists(st.sampled_from((b"\x81\x00\x00\x05", b"\x88\xa8\x00\x07")), max_size=3))
    if draw(st.booleans()):
        ip_options = bytes(4 * draw(st.integers(0, 10)))
        total = 20 + len(ip_options) + len(segment)
        first = 0x45 + len(ip_options) // 4
        ip = struct.pack("!BBHHHBBH4s4s", first, 0, total, draw(short), 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
        return bytes(12) + b"".join(tags) + b"\x08\x00" + ip + ip_options + segment
    extensions = draw(st.integers(0, 3))
    body = b"".join(bytes((60 if left else 6, 0, 1, 4, 0, 0, 0, 0)) for left in reversed(range(extensions))) + segment
    ip = struct.pack("!IHBB16s16s", 6 << 28, len(body), 60 if extensions else 6, 64, bytes(16), b"\x01" * 16)
    return bytes(12) + b"".join(tags) + b"\x86\xdd" + ip + body


@st.composite
def mutated_frames(draw: st.DrawFn) -> bytes:
    """A valid frame with a few bytes changed, and perhaps cut or prolonged."""
    frame = bytearray(draw(frames()))
    for _ in range(draw(st.integers(0, 5))):
        frame[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
    return bytes(frame[: draw(st.integers(0, len(frame)))]) + draw(st.binary(max_size=8))


def check(segment: Segment | None) -> None:
    """What holds for any segment that was read."""
    if segment is None:
        return
    assert len(segment.src) == len(segment.dst) in (4, 16)
    assert (segment.ip_id is None) is (len(segment.src) == 16)
    assert 20 <= segment.tcp_header_bytes <= 60
    assert segment.payload_bytes >= 0
    facts = facts_of(segment)
    assert not (facts.answers_syn and facts.answers_unknown)
    for sender in Sender:
        for stage in Stage:
            assert kind_of(facts.style, sender, stage) in Kind


@given(st.binary(max_size=200))
def test_arbitrary_bytes(frame: bytes) -> None:
    check(read_segment(frame))
    check(read_ip_segment(frame))
    is_reset(frame)


@given(ETHERTYPES, st.binary(max_size=200))
def test_arbitrary_bytes_behind_an_ethertype(ethertype: int, rest: bytes) -> None:
    check(read_segment(bytes(12) + ethertype.to_bytes(2, "big") + rest))


@given(mutated_frames())
def test_mutated_frames(frame: bytes) -> None:
    segment = read_segment(frame)
    check(segment)
    if segment is not None and segment.flags & RST:
        assert is_reset(frame)


@given(frames())
def test_valid_frames_are_read(frame: bytes) -> None:
    segment = read_segment(frame)
    assert segment is not None
    check(segment)
    assert segment.payload_offset + segment.payload_bytes == len(frame)
    assert is_reset(frame) is bool(segment.flags & RST)


@given(frames(), st.binary(max_size=50))
def test_trailing_bytes_change_nothing(frame: bytes, trailer: bytes) -> None:
    assert read_segment(frame + trailer) == read_segment(frame)


@given(frames(), st.integers(0, 200))
def test_cut_frame_never_reads_another_sequence_number(frame: bytes, length: int) -> None:
    whole, cut = read_segment(frame), read_segment(frame[:length])
    assert whole is not None
    if cut is not None:
        assert (cut.src, cut.seq, cut.flags, cut.payload_bytes) == (
            whole.src,
            whole.seq,
            whole.flags,
            whole.payload_bytes,
        )
