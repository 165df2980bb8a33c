"""ICMPv6 errors about connections by a VIP: each end is told about the packet that it sent itself."""

import pytest
from model_frames import ABORT, segment_frame

from controller import addresses, frames
from controller.flows import Output
from controller.frames import icmpv6
from controller.related import translate
from controller.topology import Host, Topology
from topologies.model.packet import Packet

CLIENT, VIP, MEMBER, ROUTER = (addresses.number(f"fd00::{place}") for place in ("1:1", "64", "2:1", "1:fe"))
CLIENTS_MAC, MEMBERS_MAC = 0x020000000101, 0x020000000201
FROM, TO_VIP, TO_MEMBER = (CLIENT, 40_000), (VIP, 80), (MEMBER, 8080)
TOO_BIG = bytes([2, 0, 0, 0]) + (1400).to_bytes(4)


@pytest.fixture
def topology() -> Topology:
    known = Topology()
    for host in (Host(CLIENT, CLIENTS_MAC, 1, 3), Host(MEMBER, MEMBERS_MAC, 2, 4)):
        known.hosts[host.ip] = host
    return known


def segment(sender: tuple[int, int], receiver: tuple[int, int]) -> bytes:
    return segment_frame(*sender, *receiver, ABORT)[14:]


def error(source: int, to: int, quoted: bytes) -> bytes:
    return frames.ethernet(1, 2, 0x86DD, icmpv6(TOO_BIG + quoted, source, to))


@pytest.mark.parametrize(("source", "shown"), [(MEMBER, VIP), (ROUTER, ROUTER)])
def test_a_client_hears_of_its_own_packet_to_the_vip(topology: Topology, source: int, shown: int) -> None:
    (sent,) = translate(error(source, CLIENT, segment(FROM, TO_MEMBER)), TO_VIP, TO_MEMBER, topology)
    packet = Packet.from_bytes(sent.frame)
    assert not packet.damaged and (packet.ip.src, packet.ip.dst, packet.eth_dst) == (shown, CLIENT, CLIENTS_MAC)
    assert (packet.icmp.type, packet.icmp.rest) == (2, 1400)
    assert packet.payload == segment(FROM, TO_VIP), "its checksum too"
    assert (sent.dpid, sent.actions) == (1, (Output(3),))


def test_a_member_hears_of_its_own_packet_to_the_client(topology: Topology) -> None:
    (sent,) = translate(error(ROUTER, VIP, segment(TO_VIP, FROM)), TO_VIP, TO_MEMBER, topology)
    packet = Packet.from_bytes(sent.frame)
    assert not packet.damaged and (packet.ip.src, packet.ip.dst, packet.eth_dst) == (ROUTER, MEMBER, MEMBERS_MAC)
    assert packet.payload == segment(TO_MEMBER, FROM)
    assert (sent.dpid, sent.actions) == (2, (Output(4),))


def test_a_quotation_too_short_for_its_checksum_is_translated_as_far_as_it_goes(topology: Topology) -> None:
    (sent,) = translate(error(MEMBER, CLIENT, segment(FROM, TO_MEMBER)[:48]), TO_VIP, TO_MEMBER, topology)
    assert Packet.from_bytes(sent.frame).payload == segment(FROM, TO_VIP)[:48]


@pytest.mark.parametrize(
    ("to", "quoted"),
    [
        (CLIENT, segment(FROM, TO_MEMBER)[:47]),
        (CLIENT, b""),
        (CLIENT, segment((CLIENT, 1), (MEMBER, 9))),
        (MEMBER, segment(FROM, TO_MEMBER)),
        (VIP, segment((VIP, 443), FROM)),
    ],
    ids=["cut", "nothing", "another port", "not to its sender", "another service"],
)
def test_what_is_not_about_the_connection_goes_nowhere(topology: Topology, to: int, quoted: bytes) -> None:
    assert translate(error(ROUTER, to, quoted), TO_VIP, TO_MEMBER, topology) == []


def test_any_error_is_read_without_harm(topology: Topology) -> None:
    frame = error(MEMBER, CLIENT, segment(FROM, TO_MEMBER))
    for end in range(len(frame)):
        assert translate(frame[:end], TO_VIP, TO_MEMBER, topology) == []
