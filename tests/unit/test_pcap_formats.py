"""Every file format and link type gives the same packet; damage is named with its offset, a cut end is noted."""

import io
import struct
from collections import Counter

import pytest

from controller.pcap import CaptureError, analyse
from controller.pcap.formats import MAX_PACKET_BYTES, read_packets
from controller.pcap.source import Source

SYN, REFUSAL = 0x02, 0x14
TIME_NS = 1_700_000_000_123_456_000
RAW, ETHERNET = 101, 1


def packet(flags: int, seq: int, ack: int, *, answer: bool = False) -> bytes:
    """An IPv4 packet between 10.0.0.1:40000 and 10.0.0.2:80."""
    ends = [(b"\x0a\0\0\1", 40000), (b"\x0a\0\0\2", 80)]
    (src, src_port), (dst, dst_port) = reversed(ends) if answer else ends
    tcp = struct.pack("!HHIIBBHHH", src_port, dst_port, seq, ack, 5 << 4, flags, 0, 0, 0)
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, src, dst) + tcp


PACKETS = [packet(SYN, 1000, 0), packet(REFUSAL, 0, 1001, answer=True)]


def ipv6(ip_packet: bytes) -> bytes:
    src, dst = (b"\xfd" + bytes(11) + ip_packet[at : at + 4] for at in (12, 16))
    return struct.pack("!IHBB16s16s", 6 << 28, 20, 6, 64, src, dst) + ip_packet[20:]


def classic(frames: list[bytes], *, link: int = RAW, order: str = "<", ns: bool = False) -> bytes:
    magic, unit = (0xA1B23C4D, 1) if ns else (0xA1B2C3D4, 1000)
    capture = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for frame in frames:
        seconds, fraction = divmod(TIME_NS, 10**9)
        capture += struct.pack(order + "IIII", seconds, fraction // unit, len(frame), len(frame)) + frame
    return capture


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = RAW, order: str = "<", options: bytes = b"", snap: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(frame: bytes, *, ticks: int = TIME_NS // 1000, order: str = "<", number: int = 0) -> bytes:
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + frame, order)


def read(capture: bytes) -> tuple[list[tuple[int, int, bytes]], Counter[str]]:
    notes: Counter[str] = Counter()
    return list(read_packets(Source(io.BytesIO(capture), "x.pcap"), notes)), notes


def check_refusal(capture: bytes) -> None:
    """The capture holds one connection, refused."""
    (record,) = analyse(io.BytesIO(capture))
    assert (record.client_port, record.server_port) == (40000, 80)
    assert (record.sender, record.stage, record.kind) == ("server", "post-syn", "refused")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ns", [False, True])
def test_classic_format_of_both_byte_orders_and_resolutions(order: str, ns: bool) -> None:
    assert read(classic(PACKETS, order=order, ns=ns)) == ([(TIME_NS, RAW, frame) for frame in PACKETS], Counter())


@pytest.mark.parametrize("order", ["<", ">"])
def test_patched_classic_format_has_longer_record_headers(order: str) -> None:
    capture = struct.pack(order + "IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, RAW)
    for frame in PACKETS:
        capture += struct.pack(order + "IIIIIHBB", 1, 2, len(frame), len(frame), 3, 0x800, 0, 0) + frame
    assert [found for _, _, found in read(capture)[0]] == PACKETS


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_both_byte_orders(order: str) -> None:
    capture = section(order) + interface(order=order) + b"".join(enhanced(frame, order=order) for frame in PACKETS)
    assert read(capture) == ([(TIME_NS, RAW, frame) for frame in PACKETS], Counter())


def test_pcapng_sections_may_differ_in_byte_order_and_interfaces() -> None:
    capture = section("<") + interface(RAW) + enhanced(PACKETS[0])
    capture += section(">") + interface(ETHERNET, ">") + enhanced(bytes(14), order=">")
    assert [(link, len(frame)) for _, link, frame in read(capture)[0]] == [(RAW, 40), (ETHERNET, 14)]


@pytest.mark.parametrize(
    ("options", "ticks", "expected_ns"),
    [
        pytest.param(struct.pack("<HHB3x", 9, 1, 9), TIME_NS, TIME_NS, id="nanoseconds"),
        pytest.param(struct.pack("<HHB3x", 9, 1, 0x80 | 10), 1024 * 5 + 512, 5_500_000_000, id="powers of two"),
        pytest.param(struct.pack("<HHB3x", 9, 1, 0), 7, 7_000_000_000, id="seconds"),
        pytest.param(struct.pack("<HHq", 14, 8, 100), 2_000_000, 102_000_000_000, id="offset"),
        pytest.param(struct.pack("<HH4sHHB3x", 2, 4, b"eth0", 9, 1, 3), 1500, 1_500_000_000, id="after a name"),
        pytest.param(struct.pack("<HHHHB3x", 0, 0, 9, 1, 9), 1, 1000, id="after the end of options"),
    ],
)
def test_pcapng_times_follow_their_interface(options: bytes, ticks: int, expected_ns: int) -> None:
    capture = section() + interface(options=options) + enhanced(PACKETS[0], ticks=ticks)
    assert read(capture)[0][0][0] == expected_ns


def test_pcapng_simple_and_obsolete_packet_blocks_are_read() -> None:
    simple = block(3, struct.pack("<I", 40) + PACKETS[0])
    obsolete = block(2, struct.pack("<HHIIII", 0, 0, 0, 5_000_000, 40, 40) + PACKETS[1])
    packets, _ = read(section() + interface() + obsolete + simple)
    # A simple packet has no time: that of the packet before is the best there is.
    assert packets == [(5_000_000_000, RAW, PACKETS[1]), (5_000_000_000, RAW, PACKETS[0])]


def test_pcapng_simple_packet_is_cut_at_the_snap_length() -> None:
    simple = block(3, struct.pack("<I", 1000) + PACKETS[0])
    assert read(section() + interface(snap=20) + simple)[0][0][2] == PACKETS[0][:20]


def test_pcapng_blocks_of_other_kinds_are_passed() -> None:
    capture = (
        section() + block(4, b"names") + interface() + block(5, bytes(40)) + block(0xBAD, b"") + enhanced(PACKETS[0])
    )
    assert len(read(capture)[0]) == 1


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(enhanced(PACKETS[0], number=1), id="unknown interface"),
        pytest.param(block(6, struct.pack("<IIIII", 0, 0, 0, 400, 400) + PACKETS[0]), id="longer than its block"),
        pytest.param(block(6, bytes(8)), id="too short"),
    ],
)
def test_pcapng_packet_that_contradicts_its_file_is_left_out_and_counted(damaged: bytes) -> None:
    packets, notes = read(section() + interface() + damaged + enhanced(PACKETS[0]))
    assert len(packets) == 1
    assert notes == {"packet blocks left out: length or interface contradicts the file": 1}


@pytest.mark.parametrize("captured", [classic(PACKETS), section() + interface() + b"".join(map(enhanced, PACKETS))])
def test_file_cut_within_its_last_packet_is_noted(captured: bytes) -> None:
    for cut in range(1, 40):
        packets, notes = read(captured[:-cut])
        assert [frame for _, _, frame in packets] == PACKETS[:1]
        (note,) = notes
        assert note.startswith("the file ends within")


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        (b"", "x.pcap: byte 0: not a capture: the file is empty"),
        (b"\xd4\xc3", "x.pcap: byte 0: not a capture: too short"),
        (classic([])[:20], "x.pcap: byte 0: not a capture: the file header is cut short"),
        (b"GET / HTTP/1.1", "x.pcap: byte 0: not a capture: begins with 47 45 54 20, neither pcap nor pcapng"),
        (b"\x1f\x8b\x08\x00....", "x.pcap: byte 0: not a capture: gzip-compressed: unpack it first"),
        (section()[:10], "x.pcap: byte 0: not a capture: the section header is cut short"),
        (section()[:8] + bytes(20), "x.pcap: byte 0: damaged: a section header without byte-order mark"),
    ],
)
def test_what_is_no_capture_is_refused_by_name_and_offset(capture: bytes, message: str) -> None:
    with pytest.raises(CaptureError) as caught:
        read(capture)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("capture", "offset", "problem"),
    [
        (
            classic(PACKETS) + struct.pack("<IIII", 0, 0, MAX_PACKET_BYTES + 1, 60),
            24 + 2 * 56,
            "a packet of 1048577 bytes",
        ),
        (section() + interface() + struct.pack("<III", 6, 8, 8), 28 + 20, "a block of 8 bytes"),
        (section() + interface() + struct.pack("<III", 6, 1 << 31, 0), 28 + 20, "a block of 2147483648 bytes"),
        (section() + interface() + struct.pack("<III", 6, 12, 16), 28 + 20, "a block's two lengths differ"),
        (section() + block(1, bytes(4)), 28, "an interface description is cut short"),
    ],
)
def test_damage_is_named_with_its_offset(capture: bytes, offset: int, problem: str) -> None:
    with pytest.raises(CaptureError) as caught:
        read(capture)
    assert caught.value.offset == offset
    assert caught.value.problem == f"damaged: {problem}"


def test_records_before_the_damage_are_handed_out() -> None:
    damaged = classic(PACKETS) + struct.pack("<IIII", 0, 0, MAX_PACKET_BYTES + 1, 60)
    analysis = analyse(io.BytesIO(damaged))
    assert next(analysis).kind == "refused"
    with pytest.raises(CaptureError):
        next(analysis)


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def read(self, size: int = -1) -> bytes:
        part, self._rest = self._rest[:7], self._rest[7:]
        return part


@pytest.mark.parametrize("capture", [classic(PACKETS), section() + interface() + b"".join(map(enhanced, PACKETS))])
def test_short_reads_of_a_pipe_are_put_together(capture: bytes) -> None:
    progress: list[int] = []
    (record,) = analyse(Trickle(capture), progress.append)  # type: ignore[arg-type]
    assert record.kind == "refused"
    assert progress[-1] == len(capture)
    assert progress == sorted(progress)


def ether(ethertype: int) -> bytes:
    return bytes(12) + struct.pack("!H", ethertype)


@pytest.mark.parametrize(
    ("link", "header"),
    [
        pytest.param(1, ether(0x0800), id="Ethernet"),
        pytest.param(1, ether(0x8100) + b"\x00\x05\x08\x00", id="VLAN"),
        pytest.param(1, ether(0x88A8) + b"\x00\x05\x81\x00\x00\x06\x08\x00", id="two VLANs"),
        pytest.param(1, ether(0x8864) + b"\x11\x00\x00\x01\x00\x2a\x00\x21", id="PPPoE"),
        pytest.param(1, ether(0x8847) + b"\x00\x01\x00\x40\x00\x02\x01\x40", id="two MPLS labels"),
        pytest.param(1, ether(0x8100) + b"\x00\x05\x88\x47\x00\x02\x01\x40", id="MPLS in a VLAN"),
        pytest.param(113, bytes(14) + b"\x08\x00", id="Linux cooked"),
        pytest.param(113, bytes(14) + b"\x81\x00\x00\x05\x08\x00", id="Linux cooked, VLAN"),
        pytest.param(276, b"\x08\x00" + bytes(18), id="Linux cooked v2"),
        pytest.param(276, b"\x81\x00" + bytes(18) + b"\x00\x05\x08\x00", id="Linux cooked v2, VLAN"),
        pytest.param(0, b"\x02\x00\x00\x00", id="NULL, little-endian"),
        pytest.param(0, b"\x00\x00\x00\x02", id="NULL, big-endian"),
        pytest.param(108, b"\x00\x00\x00\x02", id="LOOP"),
        pytest.param(101, b"", id="raw"),
        pytest.param(12, b"", id="raw, as BSD numbers it"),
        pytest.param(228, b"", id="raw IPv4"),
        pytest.param(9, b"\xff\x03\x00\x21", id="PPP"),
        pytest.param(9, b"\x00\x21", id="PPP without address and control"),
        pytest.param(104, b"\x0f\x00\x08\x00", id="Cisco HDLC"),
        pytest.param(1, ether(48) + b"\xaa\xaa\x03\0\0\0\x08\x00", id="802.3 with SNAP"),
        pytest.param(10, bytes(13) + b"\xaa\xaa\x03\0\0\0\x08\x00", id="FDDI"),
        pytest.param(239, b"\x02\0\0\0\x05\0\x0a\0a\0\0\0\x2c\0\x09\0", id="netfilter log"),
        pytest.param(239, b"\x02\0\0\0\0\x05\0\x0aa\0\0\0\0\x2c\0\x09", id="netfilter log, big-endian"),
    ],
)
def test_every_link_type_leads_to_the_same_connection(link: int, header: bytes) -> None:
    frames = [header + each for each in PACKETS]
    check_refusal(classic(frames, link=link))
    check_refusal(section() + interface(link) + b"".join(map(enhanced, frames)))


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (1, ether(0x86DD)),
        (113, bytes(14) + b"\x86\xdd"),
        (276, b"\x86\xdd" + bytes(18)),
        (0, b"\x1e\x00\x00\x00"),
        (108, b"\x00\x00\x00\x18"),
        (101, b""),
        (229, b""),
        (9, b"\x00\x57"),
    ],
)
def test_ipv6_on_every_kind_of_link(link: int, header: bytes) -> None:
    check_refusal(classic([header + ipv6(each) for each in PACKETS], link=link))


def test_frame_check_sequence_bits_of_the_link_type_are_ignored() -> None:
    frames = [ether(0x0800) + each + b"\xde\xad\xbe\xef" for each in PACKETS]
    check_refusal(classic(frames, link=0x5000_0000 | ETHERNET))


def test_one_connection_over_two_interfaces_of_different_link_types() -> None:
    capture = section() + interface(RAW) + interface(ETHERNET)
    check_refusal(capture + enhanced(PACKETS[0]) + enhanced(ether(0x0800) + PACKETS[1], number=1))


def test_packets_cut_by_the_snap_length_keep_their_place_in_the_stream() -> None:
    data = packet(0x18, 1001, 5001)
    data = data[:2] + struct.pack("!H", 40 + 1400) + data[4:]
    reset = packet(REFUSAL, 5001, 1001 + 1400, answer=True)
    opening = [packet(SYN, 1000, 0), packet(0x12, 5000, 1001, answer=True), packet(0x10, 1001, 5001)]
    (record,) = analyse(io.BytesIO(classic([*opening, data, reset])))
    assert (record.stage, record.bytes_client) == ("post-data", 1400)


@pytest.mark.parametrize(
    ("link", "frame", "note"),
    [
        (105, bytes(60), "packets left out: 802.11 frames (link type 105) are not read (2)"),
        (127, bytes(60), "packets left out: 802.11 frames (link type 127) are not read (2)"),
        (220, bytes(60), "packets left out: link type 220 is not read (2)"),
        (RAW, PACKETS[0][:9] + b"\x2f" + PACKETS[0][10:], "packets left out: encapsulated in GRE (2)"),
        (
            RAW,
            PACKETS[0][:9] + b"\x11" + PACKETS[0][10:20] + struct.pack("!HHHH", 50000, 4789, 20, 0) + bytes(12),
            "packets left out: encapsulated in VXLAN (2)",
        ),
        (RAW, PACKETS[0][:6] + b"\x00\x03" + PACKETS[0][8:], "TCP fragments without a header left out (2)"),
        (RAW, PACKETS[0][:32] + b"\x10" + PACKETS[0][33:], "TCP segments left out: malformed (2)"),
        (RAW, ipv6(PACKETS[0])[:6] + b"\x2f" + ipv6(PACKETS[0])[7:], "packets left out: encapsulated in GRE (2)"),
    ],
)
def test_what_is_left_out_is_noted_and_counted(link: int, frame: bytes, note: str) -> None:
    analysis = analyse(io.BytesIO(classic([frame, frame], link=link)))
    assert list(analysis) == []
    assert analysis.notes == [note]
    assert (analysis.packets, analysis.segments) == (2, 0)


def test_other_traffic_is_no_reason_for_a_note() -> None:
    udp = PACKETS[0][:9] + b"\x11" + PACKETS[0][10:]
    arp = ether(0x0806) + bytes(40)
    for link, frame in ((RAW, udp), (ETHERNET, arp), (ETHERNET, b""), (RAW, b""), (0, b"\x09\0\0\0")):
        analysis = analyse(io.BytesIO(classic([frame], link=link)))
        assert list(analysis) == []
        assert analysis.notes == []
