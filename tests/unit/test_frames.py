"""The frames the controller writes itself, read by an independent model of the headers."""

import pytest
from model_frames import ABORT, segment_frame

from controller import frames
from controller.frames import Arp, Tcp, answer_to, arp, prohibited, rebuilt_syn, refusal, tcp
from topologies.model.headers import ACK, FIN, PSH, RST, SYN, Icmp, Udp, ip_header
from topologies.model.packet import Packet

CLIENT, VIP = (0x0A000001, 40000), (0x0A000064, 80)
V6_CLIENT, V6_VIP = (0xFD << 120 | 1, 40000), (0xFD << 120 | 0x64, 80)
WAYS = pytest.mark.parametrize(("client", "vip"), [(CLIENT, VIP), (V6_CLIENT, V6_VIP)], ids=["ipv4", "ipv6"])
MAC, OTHER_MAC = 0x020000000001, 0x020000000002


def read(frame: bytes) -> Packet:
    packet = Packet.from_bytes(frame)
    assert not packet.damaged, "its checksums are right"
    return packet


def test_a_frame_is_never_shorter_than_ethernet_allows() -> None:
    assert len(frames.ethernet(1, 2, 0x0800, b"x")) == 60
    assert len(tcp(Tcp(*CLIENT, *VIP, SYN, 1), MAC, OTHER_MAC)) == 60


def test_arp_messages() -> None:
    message = Arp(frames.ARP_REPLY, MAC, VIP[0], OTHER_MAC, CLIENT[0])
    packet = read(arp(message, OTHER_MAC))
    assert (packet.eth_dst, packet.eth_src) == (OTHER_MAC, MAC)
    assert tuple(packet.arp) == tuple(message)
    assert frames.read_arp(arp(message, OTHER_MAC)) == message


@WAYS
def test_a_segment_with_options_and_payload(client: tuple[int, int], vip: tuple[int, int]) -> None:
    packet = read(tcp(Tcp(*client, *vip, PSH | ACK, 2**32 - 1, 7, 500, b"\x01\x01\x01\x00", b"hello"), MAC, OTHER_MAC))
    assert (packet.tcp.seq, packet.tcp.ack, packet.tcp.window, packet.payload) == (2**32 - 1, 7, 500, b"hello")
    assert (packet.ip.src, packet.ip.dst, packet.ip.ttl) == (client[0], vip[0], 64)


@pytest.mark.parametrize(("client", "vip", "mss"), [(CLIENT, VIP, 1460), (V6_CLIENT, V6_VIP, 1440)])
def test_a_syn_made_again_offers_an_mss_and_nothing_invented(
    client: tuple[int, int], vip: tuple[int, int], mss: int
) -> None:
    packet = read(tcp(rebuilt_syn(client, vip, 99), MAC, OTHER_MAC))
    assert (packet.tcp.flags, packet.tcp.seq, packet.tcp.options) == (SYN, 99, b"\x02\x04" + mss.to_bytes(2))


def test_the_refusal_of_a_syn_is_what_a_host_without_a_listener_sends() -> None:
    packet = read(tcp(refusal(VIP, CLIENT, 2**32 - 1), MAC, OTHER_MAC))
    assert (packet.tcp.flags, packet.tcp.seq, packet.tcp.ack, packet.tcp.window) == (RST | ACK, 0, 0, 0)


@pytest.mark.parametrize(
    ("met", "length", "flags", "seq", "ack"),
    [
        (Tcp(*CLIENT, *VIP, SYN, 100), 1, RST | ACK, 0, 101),
        (Tcp(*CLIENT, *VIP, FIN, 100), 1, RST | ACK, 0, 101),
        (Tcp(*CLIENT, *VIP, PSH | ACK, 100, 555), 20, RST, 555, 0),
        (Tcp(*CLIENT, *VIP, SYN | ACK, 100, 555), 1, RST, 555, 0),
    ],
)
def test_a_reset_answers_as_rfc_9293_says(met: Tcp, length: int, flags: int, seq: int, ack: int) -> None:
    answer = answer_to(met, length)
    assert (answer.flags, answer.seq, answer.ack) == (flags, seq, ack)
    assert (answer.src, answer.src_port, answer.dst, answer.dst_port) == (*VIP, *CLIENT)


def test_a_prohibition_quotes_what_it_prohibits() -> None:
    met = Packet(MAC, OTHER_MAC, 0x0800, b"question")
    met.ip = read(segment_frame(*CLIENT, *VIP, ABORT)).ip._replace(proto=17)
    met.udp = Udp(5353, 53)
    raw = met.to_bytes()
    packet = read(prohibited(raw, OTHER_MAC))
    assert (packet.icmp.type, packet.icmp.code) == (3, 13)
    assert (packet.ip.src, packet.ip.dst, packet.eth_dst) == (VIP[0], CLIENT[0], OTHER_MAC)
    assert packet.payload == raw[14 : 14 + 28]


def test_a_prohibition_of_ipv6_quotes_what_fits_the_least_mtu() -> None:
    met = Packet(MAC, OTHER_MAC, 0x86DD, bytes(1400))
    met.ip, met.udp = ip_header(V6_CLIENT[0], V6_VIP[0], 17), Udp(5353, 53)
    raw = met.to_bytes()
    answered = prohibited(raw, OTHER_MAC)
    packet = read(answered)
    assert (packet.icmp.type, packet.icmp.code) == (1, 1)
    assert (packet.ip.src, packet.ip.dst, packet.eth_dst) == (V6_VIP[0], V6_CLIENT[0], OTHER_MAC)
    assert len(answered) == 14 + 1280 and raw[14:].startswith(packet.payload)


def test_an_error_is_not_answered_with_an_error() -> None:
    error = Packet(MAC, OTHER_MAC, 0x86DD, bytes(60))
    error.ip, error.icmp = ip_header(V6_CLIENT[0], V6_VIP[0], 58), Icmp(1, 4)
    assert prohibited(error.to_bytes(), OTHER_MAC) is None
    error.icmp = Icmp(128, 0)
    assert prohibited(error.to_bytes(), OTHER_MAC) is not None


@pytest.mark.parametrize("frame", [b"", bytes(33), bytes(14) + b"\x45" + bytes(19), bytes(14) + b"\x40" + bytes(60)])
def test_what_is_too_short_to_quote_is_not_answered(frame: bytes) -> None:
    assert prohibited(frame, MAC) is None


def test_every_address_of_the_fabrics_own_is_told_from_a_hosts() -> None:
    own = [frames.CONTROLLER_MAC, *(frames.edge_mac(zone, way) for zone in (1, 0x7FFF) for way in (0, 1, 2))]
    assert len(set(own)) == len(own) and all(frames.is_ours(mac) for mac in own)
    assert not any(mac >> 40 & 1 for mac in own), "unicast"
    assert not any(frames.is_ours(frames.vip_mac(0xFD << 120 | number)) for number in range(1000))
    assert not any(frames.is_ours(frames.vip_mac(octet << 24 | 0x400001)) for octet in range(256)), "nor a VIP's"
    masked = {frames.edge_mac(5, way) & frames.EDGE_MASK for way in (0, 1, 2)}
    assert masked == {frames.edge_mac(5)} and frames.edge_mac(6) & frames.EDGE_MASK not in masked
