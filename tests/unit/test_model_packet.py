"""Frames are read and written as the RFCs lay them out, and only fields that a packet has can be matched."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_traffic import CLIENT, MEMBER, VIP, ip_packet

from controller.flows import match
from topologies.model.errors import OpenFlowError
from topologies.model.fields import masked_match, write
from topologies.model.headers import ACK, ETH_ARP, ETH_LLDP, RST, SYN, Arp, Icmp, Tcp, Udp, checksum
from topologies.model.packet import Packet
from topologies.model.tcp_options import syn_options, timestamps, window_scale

# A TCP SYN to port 80 as a Linux host sent it (10.0.0.2 to 10.0.0.1), checksums included.
SYN_ON_THE_WIRE = bytes.fromhex(
    "020000000001020000000002080045000034abcd400040067af60a0000020a000001"
    "c350005012345678000000008002faf000000000020405b40103030704020000"
)


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2  # The example of RFC 1071 §3.
    assert checksum(b"") == checksum(bytes(20)) == 0xFFFF
    assert checksum(b"\xff\xff") == 0
    assert checksum(b"\x01") == 0xFEFF


def test_a_syn_is_read_field_by_field() -> None:
    flow = Packet.from_bytes(SYN_ON_THE_WIRE, in_port=3).flow()
    assert {name: flow[name] for name in ("in_port", "eth_type", "ip_proto", "tcp_src", "tcp_dst", "tcp_flags")} == {
        "in_port": 3,
        "eth_type": 0x0800,
        "ip_proto": 6,
        "tcp_src": 50000,
        "tcp_dst": 80,
        "tcp_flags": SYN,
    }
    assert (flow["ipv4_src"], flow["ipv4_dst"]) == (0x0A000002, 0x0A000001)
    assert "udp_src" not in flow and "arp_op" not in flow and "icmpv4_type" not in flow


def test_written_headers_have_right_lengths_and_checksums() -> None:
    frame = ip_packet(CLIENT, VIP, Tcp(1, 2, 3, 4, ACK, 5), b"odd").to_bytes()
    assert struct.unpack_from("!H", frame, 16)[0] == len(frame) - 14
    assert checksum(frame[14:34]) == 0
    pseudo = frame[26:34] + struct.pack("!BBH", 0, 6, len(frame) - 34)
    assert checksum(pseudo + frame[34:]) == 0


def test_a_damaged_segment_stays_damaged() -> None:
    frame = bytearray(ip_packet(CLIENT, VIP, Tcp(1, 2, 3, 4, ACK, 5), b"data").to_bytes())
    frame[-1] ^= 1
    packet = Packet.from_bytes(bytes(frame))
    assert packet.damaged
    write(packet, "ipv4_dst", MEMBER)
    assert Packet.from_bytes(packet.to_bytes()).damaged


def test_a_udp_datagram_without_checksum_is_not_damaged() -> None:
    frame = ip_packet(CLIENT, VIP, Udp(1, 2, unsummed=True), b"data").to_bytes()
    assert frame[40:42] == b"\0\0"
    assert not Packet.from_bytes(frame).damaged


def test_arp_goes_there_and_back() -> None:
    packet = Packet(0xFFFFFFFFFFFF, 0x020000000001, ETH_ARP)
    packet.arp = Arp(1, 0x020000000001, CLIENT, 0, VIP)
    again = Packet.from_bytes(packet.to_bytes())
    assert again.arp == packet.arp
    assert again.flow()["arp_tpa"] == VIP


def test_what_is_not_understood_is_carried_unchanged() -> None:
    lldp = Packet(0x0180C200000E, 1, ETH_LLDP, b"\x02\x07\x04whatever").to_bytes()
    padded = ip_packet(CLIENT, VIP, Icmp(8, 0, 1)).to_bytes() + bytes(18)
    for frame in (lldp, padded, SYN_ON_THE_WIRE[:40]):
        assert Packet.from_bytes(frame).to_bytes() == frame


def test_a_later_fragment_has_no_ports() -> None:
    packet = ip_packet(CLIENT, VIP, Udp(1, 2), b"data")
    packet.ip = packet.ip and packet.ip._replace(fragment=185)
    flow = Packet.from_bytes(packet.to_bytes()).flow()
    assert flow["ip_proto"] == 17 and "udp_src" not in flow


@given(st.binary(min_size=14, max_size=120), st.sampled_from([b"\x08\x00", b"\x08\x06", b"\x88\xcc", b""]))
def test_any_frame_is_read_without_an_error(octets: bytes, eth_type: bytes) -> None:
    frame = octets[:12] + eth_type + octets[12:]
    Packet.from_bytes(frame).flow()


def test_a_frame_without_ethernet_header_is_an_error() -> None:
    with pytest.raises(ValueError, match="no Ethernet header"):
        Packet.from_bytes(bytes(13))


def test_a_field_is_written_where_the_packet_has_it() -> None:
    packet = ip_packet(CLIENT, VIP, Udp(1, 2))
    for name, value in (("ipv4_dst", MEMBER), ("udp_dst", 53), ("eth_dst", 7), ("reg3", 9), ("tcp_dst", 80)):
        write(packet, name, value)
    flow = packet.flow()
    assert (flow["ipv4_dst"], flow["udp_dst"], flow["eth_dst"], flow["reg3"]) == (MEMBER, 53, 7, 9)
    assert "tcp_dst" not in flow


def test_a_copy_is_independent() -> None:
    packet = ip_packet(CLIENT, VIP, Udp(1, 2))
    other = packet.copy()
    write(other, "ipv4_dst", MEMBER)
    write(other, "reg0", 1)
    assert packet.flow()["ipv4_dst"] == VIP and packet.flow()["reg0"] == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"tcp_dst": 80}, "OFPBMC_BAD_PREREQ"),
        ({"eth_type": 0x0800, "tcp_dst": 80}, "OFPBMC_BAD_PREREQ"),
        ({"ip_proto": 6, "tcp_dst": 80}, "OFPBMC_BAD_PREREQ"),
        ({"eth_type": 0x0800, "ip_proto": 17, "tcp_dst": 80}, "OFPBMC_BAD_PREREQ"),
        ({"ipv4_src": 1}, "OFPBMC_BAD_PREREQ"),
        ({"eth_type": 0x0806, "ipv4_src": 1}, "OFPBMC_BAD_PREREQ"),
        ({"arp_op": 1}, "OFPBMC_BAD_PREREQ"),
        ({"icmpv4_type": 8, "eth_type": 0x0800}, "OFPBMC_BAD_PREREQ"),
        ({"ct_nw_src": 1, "eth_type": 0x0800}, "OFPBMC_BAD_PREREQ"),
        ({"ct_nw_src": 1, "ct_state": (0x30, 0x30)}, "OFPBMC_BAD_PREREQ"),
        ({"no_such": 1}, "OFPBMC_BAD_FIELD"),
        ({"in_port": (1, 1)}, "OFPBMC_BAD_MASK"),
        ({"eth_type": 0x10000}, "OFPBMC_BAD_VALUE"),
        ({"ct_mark": (3, 1)}, "OFPBMC_BAD_WILDCARDS"),
    ],
)
def test_a_match_that_a_switch_refuses(fields: dict[str, int], error: str) -> None:
    with pytest.raises(OpenFlowError) as refused:
        masked_match(match(**fields))
    assert refused.value.name == error


def test_a_mask_of_nothing_is_no_match() -> None:
    assert masked_match(match(tcp_dst=(0, 0), ct_state=(0x20, 0x20))) == {"ct_state": (0x20, 0x20)}


def test_the_options_of_a_syn_are_those_that_are_read() -> None:
    options = syn_options((77, 88), scaling=True)
    assert len(options) % 4 == 0
    assert (window_scale(options), timestamps(options)) == (7, (77, 88))
    bare = syn_options(None, scaling=False)
    assert (bare, window_scale(bare), timestamps(bare)) == (b"\x02\x04\x05\xb4", None, None)


def test_a_reset_of_a_closed_port_has_nothing_but_its_header() -> None:
    frame = ip_packet(MEMBER, CLIENT, Tcp(8080, 40000, 0, 1001, RST | ACK)).to_bytes()
    assert len(frame) == 14 + 20 + 20
