"""Resets as Linux sends them: from a closed port, from no socket, from a live one."""

from topologies.model.headers import ACK, ETH_IPV4, PROTO_TCP, RST, Ipv4, Tcp
from topologies.model.packet import Packet
from topologies.model.tcp_options import stamp_options

ANSWER_TO_SYN, ANSWER_TO_ACK, ABORT = range(3)


def segment_frame(src: int, src_port: int, dst: int, dst_port: int, style: int) -> bytes:
    """An Ethernet frame with a reset of that style."""
    segments = {
        ANSWER_TO_SYN: Tcp(src_port, dst_port, 0, 1001, RST | ACK),
        ANSWER_TO_ACK: Tcp(src_port, dst_port, 5001, 0, RST),
        ABORT: Tcp(src_port, dst_port, 5001, 1001, RST | ACK, 502, stamp_options(7, 9)),
    }
    packet = Packet(0x020000000002, 0x020000000001, ETH_IPV4)
    packet.ipv4 = Ipv4(src, dst, PROTO_TCP, ident=0 if style != ABORT else 77)
    packet.tcp = segments[style]
    return packet.to_bytes()
