"""A client opens a connection from a port whose old one nobody has ended: a crash, a NAT that forgot, a cable.

The tracker takes the SYN for a segment outside the window. The old connection is forgotten and the SYN let in again. A member that still
has the old one answers with an ACK, and the client's stack answers that with a RST, which ends it there (RFC 9293 §3.5.1). What the tracker
made of that ACK would keep the new SYN-ACK out: it is forgotten too, and the SYN let in once more, or the client would wait a second.

The member may know an old one that the tracker does not: the client's own by another VIP, in TIME-WAIT. That goes the same way, with the
client's second SYN.
"""

from __future__ import annotations

from collections import OrderedDict

from controller.addresses import family_of
from controller.decisions import Decision, FlushConnection, SendPacket
from controller.events import PacketSeen
from controller.flows import TO_TABLE, Action, Connection, Output, SetField
from controller.pipeline import RST
from controller.resets import tuple_of
from controller.segments import Segment
from controller.services import Services

REMEMBERED_S = 2.0
MAX_REMEMBERED = 4096
"""A SYN has about 80 bytes, so this is under 1 MB."""


class Reopening:
    """SYNs let in again of late, oldest first; bounded, as a flood of them is only the oldest's second."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._again: OrderedDict[Connection, tuple[float, SendPacket]] = OrderedDict()

    def on_segment(self, event: PacketSeen, segment: Segment, zone: int, now: float) -> list[Decision]:
        """The SYN that was out of window, or the RST by which its client ended the old connection at the member."""
        seen = tuple_of(segment)
        connection = self.services.as_opened(seen, event.fields.get("ct_mark", 0))
        actions: tuple[Action, ...] = (Output(TO_TABLE),)
        if connection != seen:
            # Translated already: as it was sent, it goes in again.
            actions = (
                SetField(family_of(connection.dst).dst, connection.dst),
                SetField("tcp_dst", connection.dst_port),
                *actions,
            )
        flush = FlushConnection(event.dpid, zone, connection)
        if segment.flags & RST:
            since, known = self._again.pop(connection, (0.0, None))
            return [flush, known] if known is not None and now - since < REMEMBERED_S else [flush]
        again = SendPacket(event.dpid, event.frame, actions, event.fields.get("in_port", 0))
        self._again[connection] = now, again
        if len(self._again) > MAX_REMEMBERED:
            self._again.popitem(last=False)
        return [flush, again]
