"""Answers to what a firewall rule rejects: a RST for TCP, an ICMP error for the rest, to whoever sent it."""

from __future__ import annotations

from controller import frames
from controller.addresses import family_of
from controller.decisions import Decision, SendPacket
from controller.events import PacketSeen
from controller.flows import Output
from controller.pipeline import FIN, SYN
from controller.segments import Segment, read_segment
from controller.topology import Host, Topology


def reject(event: PacketSeen, topology: Topology) -> tuple[list[Decision], Host | None]:
    """(the answer, its addressee); nothing for a sender that is not known, or the far side of an established connection.

    A packet of an established connection was translated already: the answer comes from where the sender thinks it is talking to.
    """
    way = frames.read_addresses(event.frame)
    if way is None:
        return [], None
    segment, (source, _) = read_segment(event.frame), way
    sender = topology.hosts.get(source)
    family = family_of(source)
    if sender is None or sender.dpid != event.dpid or event.fields.get(family.ct_src, source) != source:
        return [], None
    frame = frames.prohibited(event.frame, sender.mac) if segment is None else _reset(segment, event.fields, sender)
    return ([SendPacket(event.dpid, frame, (Output(sender.port_no),))] if frame else []), sender


def _reset(segment: Segment, fields: dict[str, int], sender: Host) -> bytes:
    word = int.from_bytes
    destination = fields.get(family_of(sender.ip).ct_dst, word(segment.dst)), fields.get("ct_tp_dst", segment.dst_port)
    met = frames.Tcp(word(segment.src), segment.src_port, *destination, segment.flags, segment.seq, segment.ack)
    length = segment.payload_bytes + bool(segment.flags & SYN) + bool(segment.flags & FIN)
    return frames.tcp(frames.answer_to(met, length), sender.mac, frames.CONTROLLER_MAC)
