"""Whatever a switch sends, reading it ends and does not raise; whatever is sent can be read again."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from apps import codec
from controller import flows as fl
from controller import neighbours
from controller.flows import Purpose, match
from controller.frames import CONTROLLER_MAC, Tcp, arp_question, lldp, prohibited, read_arp, read_lldp, tcp
from controller.neighbours import Message
from controller.probe_frames import read_probe
from controller.segments import read_segment
from topologies.model.packet import Packet

FEW = settings(max_examples=150, deadline=None)
WORD = st.integers(0, 2**32 - 1)
SHORT = st.integers(0, 2**16 - 1)
IPV6 = st.integers(1 << 48, (0xFF << 120) - 1)
"""Neither IPv4 in disguise nor multicast."""
WAYS = st.one_of(st.tuples(WORD, WORD), st.tuples(IPV6, IPV6))
KEY = b"key"


@st.composite
def packet_ins(draw: st.DrawFn) -> bytes:
    """A packet-in with some fields, some unknown ones, any frame."""
    names = draw(st.lists(st.sampled_from(sorted(codec.FIELDS)), unique=True, max_size=8))
    fields = {name: draw(st.integers(0, 2 ** (8 * codec.FIELDS[name][2]) - 1)) for name in names}
    oxm = codec.encode_match(match(**fields))
    frame = draw(st.binary(max_size=80))
    body = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 1, draw(st.integers(0, 9)), draw(st.integers(0, 2**64 - 1)))
    message = body + oxm + bytes(2) + frame
    return struct.pack("!BBHI", 4, 10, 8 + len(message), 0) + message


@FEW
@given(st.binary(max_size=200))
def test_arbitrary_bytes(raw: bytes) -> None:
    codec.decode_fields(raw)
    codec.decode_packet_in(raw)
    for decode in (codec.decode_flow_counters, codec.decode_port_counters, codec.decode_queue_drops, codec.decode_groups,
                   codec.decode_meters):  # fmt: skip
        assert len(list(decode(raw))) <= len(raw)


@FEW
@given(st.binary(max_size=400), SHORT)
def test_records_of_any_length(rest: bytes, length: int) -> None:
    raw = length.to_bytes(2, "big") + rest
    for decode in (codec.decode_flow_counters, codec.decode_groups, codec.decode_meters):
        assert len(list(decode(raw))) <= len(raw)


@FEW
@given(packet_ins(), st.data())
def test_a_cut_or_changed_packet_in(message: bytes, data: st.DataObject) -> None:
    whole = codec.decode_packet_in(message)
    assert whole is not None
    codec.decode_packet_in(message[: data.draw(st.integers(0, len(message)))])
    changed = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    codec.decode_packet_in(bytes(changed))


@FEW
@given(st.data())
def test_fields_come_back_as_they_were_written(data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(sorted(codec.FIELDS))))
    fields = {name: data.draw(st.integers(0, 2 ** (8 * codec.FIELDS[name][2]) - 1)) for name in names}
    raw = codec.encode_match(fl.match(**fields))
    assert len(raw) % 8 == 0
    assert codec.decode_fields(raw[4 : int.from_bytes(raw[2:4])]) == fields


@FEW
@given(st.binary(max_size=120))
def test_frames_that_hosts_send(frame: bytes) -> None:
    for head in (
        b"",
        bytes(12) + b"\x08\x06",
        bytes(12) + b"\x08\x00",
        bytes(12) + b"\x88\xcc",
        bytes(12) + b"\x88\xb5",
        bytes(12) + b"\x86\xdd" + bytes(4),
        bytes(12) + b"\x86\xdd\x60" + bytes(4) + b"\x20\x3a\xff",
    ):
        neighbours.read(head + frame)
        read_arp(head + frame)
        assert read_lldp(KEY, head + frame) is None
        assert read_probe(KEY, head + frame) is None
        prohibited(head + frame, 1)


@FEW
@given(st.integers(0, 2**64 - 1), WORD, st.data())
def test_signed_lldp_is_read_and_nothing_else(dpid: int, port_no: int, data: st.DataObject) -> None:
    frame = lldp(KEY, dpid, port_no)
    assert read_lldp(KEY, frame) == (dpid, port_no)
    assert read_lldp(b"another", frame) is None
    changed = bytearray(frame)
    # Any octet of the values; padding and the addresses are not signed.
    at = data.draw(st.integers(16, 16 + 17))
    changed[at] ^= data.draw(st.integers(1, 255))
    assert read_lldp(KEY, bytes(changed)) in (None, (dpid, port_no))
    assert read_lldp(KEY, frame[: data.draw(st.integers(0, 40))]) is None


@FEW
@given(WAYS, SHORT, SHORT, st.integers(0, 63), WORD, WORD, SHORT, st.binary(max_size=20))
def test_segments_we_write_are_read_as_they_are(
    way: tuple[int, int], src_port: int, dst_port: int, flags: int, seq: int, ack: int, window: int, payload: bytes
) -> None:
    src, dst = way
    written = Tcp(src, src_port, dst, dst_port, flags, seq, ack, window, b"\x02\x04\x05\xb4", payload)
    read = read_segment(tcp(written, 1, 2))
    assert read is not None and not Packet.from_bytes(tcp(written, 1, 2)).damaged
    assert (int.from_bytes(read.src), read.src_port, int.from_bytes(read.dst), read.dst_port) == (
        src,
        src_port,
        dst,
        dst_port,
    )
    assert (read.flags, read.seq, read.ack, read.window, read.payload_bytes) == (flags, seq, ack, window, len(payload))


@FEW
@given(WORD)
def test_a_question_for_an_address_binds_nobody(address: int) -> None:
    asked = read_arp(arp_question(address))
    assert asked is not None and (asked.op, asked.spa, asked.tpa) == (1, 0, address)


@FEW
@given(IPV6, IPV6, st.integers(0, 2**48 - 1))
def test_questions_and_answers_of_neighbour_discovery_are_read_as_they_are(ip: int, asker: int, mac: int) -> None:
    asked = neighbours.read(neighbours.question(ip))
    assert asked == Message(True, neighbours.CONTROLLER_IPV6, CONTROLLER_MAC, ip)
    for to in (asker, 0):
        frame = neighbours.answer(ip, mac, to, 1)
        assert neighbours.read(frame) == Message(False, ip, mac, ip)
        assert not Packet.from_bytes(frame).damaged


@FEW
@given(st.data())
def test_a_message_of_neighbour_discovery_that_was_changed_is_none(data: st.DataObject) -> None:
    frame = bytearray(neighbours.answer(0xFD << 120 | 1, 2, 0xFD << 120 | 3, 4))
    # Anything the checksum covers, and the hop limit.
    frame[data.draw(st.sampled_from([20, 21, *range(22, 86)]))] ^= data.draw(st.integers(1, 255))
    assert neighbours.read(bytes(frame)) is None


def test_every_purpose_is_told_from_its_cookie() -> None:
    for purpose in Purpose:
        entry = fl.FlowEntry(0, 1, match(eth_type=0x0800), purpose)
        assert fl.purpose_of(entry.cookie) is purpose
    assert fl.purpose_of(0) is None and fl.purpose_of((1 << 64) - 1) is None
