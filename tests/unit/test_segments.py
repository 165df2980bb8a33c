"""Frames to segments, and what one reset says by itself."""

import struct

import pytest

from controller.segments import (
    ACK,
    RST,
    SYN,
    Fault,
    Kind,
    ResetFacts,
    Segment,
    Sender,
    Stage,
    Style,
    facts_of,
    is_reset,
    kind_of,
    read_ip_segment,
    read_segment,
)

MACS = bytes.fromhex("020000000002 020000000001")
CLIENT, MEMBER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
CLIENT6, MEMBER6 = bytes(15) + b"\x01", bytes(15) + b"\x02"
TIMESTAMPS = bytes.fromhex("0101080a 00000007 00000009")
SYN_OPTIONS = bytes.fromhex("020405b4 0402080a 00000007 00000000 01030307")


def tcp(
    flags: int = ACK, seq: int = 100, ack: int = 200, window: int = 500, options: bytes = b"", payload: bytes = b""
) -> bytes:
    length = (20 + len(options)) // 4
    return struct.pack("!HHIIBBHHH", 40000, 80, seq, ack, length << 4, flags, window, 0, 0) + options + payload


def ipv4(body: bytes, *, total: int | None = None, options: bytes = b"", fragment: int = 0, protocol: int = 6) -> bytes:
    header = 20 + len(options)
    total = header + len(body) if total is None else total
    first = 0x40 | header // 4
    return struct.pack("!BBHHHBBH4s4s", first, 0, total, 7, fragment, 63, protocol, 0, CLIENT, MEMBER) + options + body


def ipv6(body: bytes, *, first_header: int = 6, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return struct.pack("!IHBB16s16s", 6 << 28, length, first_header, 63, CLIENT6, MEMBER6) + body


def ethernet(packet: bytes, ethertype: int = 0x0800, tags: bytes = b"") -> bytes:
    return MACS + tags + struct.pack("!H", ethertype) + packet


def read(packet: bytes, ethertype: int = 0x0800) -> Segment:
    segment = read_segment(ethernet(packet, ethertype))
    assert segment is not None
    return segment


def test_every_field_is_read() -> None:
    segment = read(ipv4(tcp(RST | ACK, options=TIMESTAMPS, payload=b"hello")))
    assert segment == Segment(
        src=CLIENT,
        dst=MEMBER,
        src_port=40000,
        dst_port=80,
        seq=100,
        ack=200,
        flags=RST | ACK,
        window=500,
        ttl=63,
        ip_id=7,
        tcp_header_bytes=32,
        payload_bytes=5,
        payload_offset=14 + 20 + 32,
        timestamps=(7, 9),
        eth_src=MACS[6:],
        vlan=None,
        faults=0,
    )
    assert segment.is_reset
    assert (segment.src_text, segment.dst_text) == ("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_frame_is_read(kind: type) -> None:
    frame = ethernet(ipv4(tcp(RST)))
    assert read_segment(kind(frame)) == read_segment(frame)
    assert is_reset(kind(frame))


def test_timestamps_are_found_among_other_options() -> None:
    assert read(ipv4(tcp(SYN, options=SYN_OPTIONS))).timestamps == (7, 0)


def test_ethernet_padding_is_no_payload() -> None:
    frame = ethernet(ipv4(tcp(RST))) + bytes(6)
    segment = read_segment(frame)
    assert segment is not None
    assert segment.payload_bytes == 0


@pytest.mark.parametrize(
    ("tags", "vlan"),
    [
        (struct.pack("!HH", 0x8100, 0xE00A), 10),
        (struct.pack("!HHHH", 0x88A8, 300, 0x8100, 10), 300),
        (struct.pack("!HH", 0x8100, 5) * 6, 5),
    ],
)
def test_vlan_tags_are_passed_and_the_outermost_is_kept(tags: bytes, vlan: int) -> None:
    segment = read_segment(ethernet(ipv4(tcp(RST)), tags=tags))
    assert segment is not None
    assert segment.vlan == vlan
    assert segment.src == CLIENT


def test_ipv4_options_are_passed() -> None:
    assert read(ipv4(tcp(RST, seq=42), options=bytes(12))).seq == 42


def test_ipv6_is_read() -> None:
    segment = read(ipv6(tcp(RST, payload=b"abc")), 0x86DD)
    assert (segment.src, segment.dst, segment.ttl, segment.ip_id) == (CLIENT6, MEMBER6, 63, None)
    assert segment.payload_bytes == 3
    assert segment.src_text == "::1"


@pytest.mark.parametrize(
    ("first_header", "extensions"),
    [
        (0, bytes.fromhex("0600000000000000")),  # hop by hop
        (43, bytes.fromhex("0601") + bytes(14)),  # routing, 16 bytes
        (51, bytes.fromhex("0604") + bytes(22)),  # authentication: counts words, less two
        (44, bytes.fromhex("0600000000000001")),  # fragment at offset 0, the only one
        (0, bytes.fromhex("3c00000000000000 0600000000000000")),  # then destination options
    ],
)
def test_ipv6_extension_headers_are_passed(first_header: int, extensions: bytes) -> None:
    segment = read(ipv6(extensions + tcp(RST, payload=b"abc"), first_header=first_header), 0x86DD)
    assert (segment.src_port, segment.payload_bytes, segment.faults) == (40000, 3, 0)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(ipv4(tcp())[:39], id="TCP header cut"),
        pytest.param(ipv4(tcp(), protocol=17), id="UDP"),
        pytest.param(b"\x44" + ipv4(tcp())[1:], id="IHL below 5"),
        pytest.param(b"\x65" + ipv4(tcp())[1:], id="version 6 in IPv4"),
        pytest.param(ipv4(tcp(), fragment=1), id="later fragment"),
        pytest.param(ipv4(tcp(), total=39), id="total length ends within the TCP header"),
        pytest.param(ipv4(struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 4 << 4, RST, 0, 0, 0)), id="data offset below 5"),
        pytest.param(ipv4(struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 15 << 4, RST, 0, 0, 0)), id="data offset past the end"),
    ],
)
def test_what_is_no_tcp_segment_gives_none(packet: bytes) -> None:
    assert read_segment(ethernet(packet)) is None
    assert read_ip_segment(packet) is None


@pytest.mark.parametrize(
    ("first_header", "extensions"),
    [
        pytest.param(44, bytes.fromhex("0600000800000001"), id="later fragment"),
        pytest.param(50, bytes(16), id="encrypted"),
        pytest.param(59, bytes(16), id="no next header"),
        pytest.param(60, bytes.fromhex("3c00000000000000") * 9, id="extension headers without end"),
        pytest.param(60, bytes.fromhex("06ff000000000000"), id="extension header past the end"),
    ],
)
def test_ipv6_that_leads_to_no_tcp_header_gives_none(first_header: int, extensions: bytes) -> None:
    assert read_segment(ethernet(ipv6(extensions + tcp(), first_header=first_header), 0x86DD)) is None


def test_every_truncation_is_survived_and_marked() -> None:
    whole = ethernet(ipv4(tcp(RST, options=SYN_OPTIONS, payload=b"hello")))
    for length in range(len(whole)):
        segment = read_segment(whole[:length])
        if length < 14 + 20 + 20:
            assert segment is None
        else:
            assert segment is not None
            assert segment.faults & Fault.TRUNCATED
            assert segment.payload_bytes == 5


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(bytes.fromhex("08000000"), id="length 0"),
        pytest.param(bytes.fromhex("08010000"), id="length 1"),
        pytest.param(bytes.fromhex("01080a00"), id="past the header"),
        pytest.param(bytes.fromhex("010101fe"), id="kind without length"),
    ],
)
def test_impossible_options_end_the_options_only(options: bytes) -> None:
    segment = read(ipv4(tcp(RST, options=options)))
    assert segment.faults == Fault.OPTIONS
    assert segment.timestamps is None
    assert segment.is_reset


def test_options_after_the_end_mark_are_not_read() -> None:
    assert read(ipv4(tcp(RST, options=bytes.fromhex("00ff00ff")))).faults == 0


def test_length_zero_of_an_offloaded_packet_is_counted_from_the_frame() -> None:
    segment = read(ipv4(tcp(payload=bytes(9000)), total=0))
    assert (segment.payload_bytes, segment.faults) == (9000, Fault.LENGTH_ABSENT)
    segment = read(ipv6(tcp(payload=bytes(70000)), length=0), 0x86DD)
    assert (segment.payload_bytes, segment.faults) == (70000, Fault.LENGTH_ABSENT)


def test_first_fragment_is_read_and_marked() -> None:
    assert read(ipv4(tcp(RST), fragment=0x2000)).faults == Fault.FIRST_FRAGMENT


def test_raw_ip_packets_are_read_by_their_version() -> None:
    for packet in (ipv4(tcp(RST)), ipv6(tcp(RST))):
        segment = read_ip_segment(b"....." + packet, 5)
        assert segment is not None
        assert (segment.src_port, segment.eth_src) == (40000, b"")
    assert read_ip_segment(b"\x00" + bytes(60)) is None


@pytest.mark.parametrize("frame", [ethernet(ipv4(tcp(ACK))), ethernet(ipv6(tcp(ACK)), 0x86DD), b"", bytes(60)])
def test_pre_check_passes_over_what_is_no_reset(frame: bytes) -> None:
    assert not is_reset(frame)


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(ipv4(tcp(RST))),
        ethernet(ipv4(tcp(RST), options=bytes(8))),
        ethernet(ipv6(tcp(RST)), 0x86DD),
        ethernet(ipv4(tcp(RST)), tags=struct.pack("!HH", 0x8100, 1)),
    ],
)
def test_pre_check_sees_resets(frame: bytes) -> None:
    assert is_reset(frame)


def reset(flags: int, seq: int, ack: int, window: int, options: bytes = b"") -> ResetFacts:
    return facts_of(read(ipv4(tcp(flags, seq, ack, window, options))))


def test_closed_port_answers_a_syn_and_names_it() -> None:
    facts = reset(RST | ACK, 0, 1001, 0)
    assert facts == ResetFacts(Style.PASSIVE, answers_syn=True, answers_unknown=False, syn_seq=1000)


def test_syn_number_wraps() -> None:
    assert reset(RST | ACK, 0, 0, 0).syn_seq == 0xFFFFFFFF


def test_data_without_a_socket_is_answered_with_its_own_acknowledgement() -> None:
    facts = reset(RST, 5000, 0, 0)
    assert facts == ResetFacts(Style.PASSIVE, answers_syn=False, answers_unknown=True, syn_seq=None)


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param(reset(RST | ACK, 5000, 6000, 502, TIMESTAMPS), id="Linux"),
        pytest.param(reset(RST | ACK, 5000, 6000, 0), id="Windows"),
        pytest.param(reset(RST, 5000, 0, 8192), id="with a window"),
    ],
)
def test_abort_of_a_live_socket_is_active(facts: ResetFacts) -> None:
    assert facts == ResetFacts(Style.ACTIVE, answers_syn=False, answers_unknown=False, syn_seq=None)


REFUSAL = reset(RST | ACK, 0, 1001, 0)
DISOWNED = reset(RST, 5000, 0, 0)
ABORT = reset(RST | ACK, 5000, 6000, 502, TIMESTAMPS)


@pytest.mark.parametrize(
    ("facts", "sender", "stage", "kind"),
    [
        (REFUSAL, Sender.MEMBER, Stage.POST_SYN, Kind.REFUSED),
        (DISOWNED, Sender.MEMBER, Stage.POST_HANDSHAKE, Kind.NOT_ACCEPTED),
        (DISOWNED, Sender.MEMBER, Stage.POST_DATA, Kind.UNKNOWN_CONNECTION),
        (ABORT, Sender.MEMBER, Stage.POST_HANDSHAKE, Kind.ABORTED_BY_MEMBER),
        (ABORT, Sender.MEMBER, Stage.POST_DATA, Kind.ABORTED_BY_MEMBER),
        (ABORT, Sender.CLIENT, Stage.POST_DATA, Kind.ABORTED_BY_CLIENT),
        (DISOWNED, Sender.CLIENT, Stage.POST_SYN, Kind.UNKNOWN_CONNECTION),
        (ABORT, Sender.UNKNOWN, Stage.POST_DATA, Kind.UNKNOWN_CONNECTION),
        (ABORT, Sender.CLIENT, Stage.AFTER_FIN, Kind.AFTER_FIN),
        (ABORT, Sender.INJECTED, Stage.AFTER_FIN, Kind.INJECTED),
    ],
)
def test_kind_of_a_reset(facts: ResetFacts, sender: Sender, stage: Stage, kind: Kind) -> None:
    assert kind_of(facts.style, sender, stage) is kind


def test_reset_outside_the_window_is_that_whatever_its_stage() -> None:
    for stage in Stage:
        assert kind_of(ABORT.style, Sender.MEMBER, stage, in_window=False) is Kind.OUT_OF_WINDOW


def test_member_that_answered_and_then_disowned_did_not_refuse() -> None:
    assert kind_of(DISOWNED.style, Sender.MEMBER, Stage.POST_SYN, member_answered=True) is Kind.NOT_ACCEPTED
