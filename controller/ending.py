"""Connections that the policy ends: of a drain that took too long, of a dead member whose pool does not wait for it.

Whichever end speaks next, both get a RST with the number they expect, and the tracker forgets the connection. An end that only waits has
nothing to send: it is told when the other's answer comes.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller import frames
from controller.decisions import Decision, FlushConnection, SendPacket
from controller.events import PacketSeen
from controller.flows import Connection, Output
from controller.pipeline import RPL, RST
from controller.segments import Segment
from controller.topology import Host, Topology


def end(
    event: PacketSeen, segment: Segment, opened: Connection, member: tuple[int, int], zone: int, topology: Topology
) -> Iterator[Decision]:
    """End the connection a segment belongs to: `opened` as its client opened it, pinned to `member` (address, port).

    The segment itself goes no further, so its receiver still expects its number, and its sender the number it acknowledges.
    """
    from_member = bool(event.fields.get("ct_state", 0) & RPL)
    expected_by_client, expected_by_member = segment.seq, segment.ack
    if not from_member:
        expected_by_client, expected_by_member = expected_by_member, expected_by_client
    client, vip = (opened.src, opened.src_port), (opened.dst, opened.dst_port)
    ends = (
        (from_member, client, frames.Tcp(*vip, *client, RST, expected_by_client), frames.vip_mac(opened.dst)),
        (not from_member, member, frames.Tcp(*client, *member, RST, expected_by_member), frames.CONTROLLER_MAC),
    )
    for is_receiver, (address, _), reset, source in ends:
        host = topology.hosts.get(address)
        # A reset is not answered (RFC 9293 §3.10.7.1), only handed on.
        if host is not None and (is_receiver or not segment.is_reset):
            yield _deliver(reset, host, source)
    yield FlushConnection(event.dpid, zone, opened)


def _deliver(reset: frames.Tcp, host: Host, source: int) -> Decision:
    return SendPacket(host.dpid, frames.tcp(reset, host.mac, source), (Output(host.port_no),))
