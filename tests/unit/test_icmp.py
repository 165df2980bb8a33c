"""ICMP errors as RFC 1812 §4.3 wants them: their content, and the packets that get none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import icmp
from topologies.model.headers import ETH_IPV4, PROTO_ICMP, PROTO_UDP, Icmp, Ipv4, Udp, checksum
from topologies.model.packet import Packet

SENDER, TARGET, GATEWAY = 0x0A000001, 0x0A010001, 0x0A0000FE
MAC, GATEWAY_MAC = 0x020000000001, 0x0E520A0000FE


def datagram(payload: bytes = b"question", **header: int) -> Packet:
    packet = Packet(GATEWAY_MAC, MAC, ETH_IPV4, payload)
    packet.ip, packet.udp = Ipv4(**{"src": SENDER, "dst": TARGET, "proto": PROTO_UDP, **header}), Udp(1000, 53)  # type: ignore[arg-type]
    return packet


def error_about(frame: bytes) -> Packet:
    return Packet.from_bytes(icmp.error(icmp.TIME_EXCEEDED, frame, GATEWAY, MAC, GATEWAY_MAC))


def test_an_error_is_well_formed_and_comes_from_the_gateway() -> None:
    frame = datagram(ttl=1).to_bytes()
    said = error_about(frame)
    assert said.icmp and (said.icmp.type, said.icmp.code, said.damaged) == (11, 0, False)
    assert said.ip and (said.ip.src, said.ip.dst, said.ip.tos) == (GATEWAY, SENDER, 0xC0)
    assert (said.eth_src, said.eth_dst) == (GATEWAY_MAC, MAC)
    assert checksum(said.to_bytes()[14:34]) == 0
    assert said.payload == frame[14:]


def test_it_quotes_as_much_as_fits_and_no_padding() -> None:
    assert len(error_about(datagram(bytes(1400)).to_bytes()).to_bytes()) == 14 + icmp.MAX_BYTES
    short = datagram(b"").to_bytes().ljust(60, b"\0")
    assert len(error_about(short).payload) == 28


def about_icmp(kind: int) -> bytes:
    packet = Packet(GATEWAY_MAC, MAC, ETH_IPV4, bytes(28))
    packet.ip, packet.icmp = Ipv4(SENDER, TARGET, PROTO_ICMP), Icmp(kind, 0)
    return packet.to_bytes()


@pytest.mark.parametrize("kind", range(20))
def test_nothing_is_said_about_icmp_errors_and_something_about_questions(kind: int) -> None:
    assert icmp.may_answer(about_icmp(kind)) == (kind not in (3, 4, 5, 11, 12))


@pytest.mark.parametrize(
    "header",
    [
        {"fragment": 1},
        {"fragment": 0x2001},
        {"dst": 0xE0000001},
        {"dst": 0xFFFFFFFF},
        {"src": 0},
        {"src": 0x7F000001},
        {"src": 0xE0000001},
        {"src": 0xFFFFFFFF},
    ],
)
def test_nothing_is_said_about(header: dict[str, int]) -> None:
    frame = datagram(**header).to_bytes()
    assert not icmp.may_answer(frame)
    with pytest.raises(ValueError, match="nothing is said"):
        icmp.error(icmp.TIME_EXCEEDED, frame, GATEWAY, MAC, GATEWAY_MAC)


def test_nothing_is_said_about_frames_to_everybody() -> None:
    packet = datagram()
    packet.eth_dst = 0xFFFFFFFFFFFF
    assert not icmp.may_answer(packet.to_bytes())
    packet.eth_dst = GATEWAY_MAC
    assert icmp.may_answer(packet.to_bytes())
    assert icmp.may_answer(datagram(fragment=0x2000).to_bytes()), "the first fragment"


@given(st.binary(max_size=80), st.integers(0, 80))
def test_any_frame_is_answered_well_or_not_at_all(noise: bytes, cut: int) -> None:
    for frame in (noise, (datagram().to_bytes() + noise)[:cut], datagram().to_bytes()[:12] + b"\x08\x00" + noise):
        if icmp.may_answer(frame):
            said = error_about(frame)
            assert said.icmp and not said.damaged and len(said.to_bytes()) <= 14 + icmp.MAX_BYTES


@given(st.integers(1, 255))
def test_a_packet_gets_back_what_it_lost(ttl: int) -> None:
    sent = datagram(ttl=ttl, ident=7)
    lost = datagram(ttl=ttl - 1, ident=7)
    assert icmp.as_sent(lost.to_bytes()) == sent.to_bytes()
