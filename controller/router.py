"""The router's part that needs judgement: ICMP errors, and hosts of a connected subnet that nobody has heard of.

Routing itself is flow entries (`gateway.py`, `routes.py`) and goes on without the controller. Everything here comes through one
meter, so nobody can have the controller write more errors or ask more questions than that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller import frames, icmp
from controller.decisions import Decision, SendPacket
from controller.discovery import Discovery
from controller.events import PacketSeen
from controller.flows import TO_TABLE, Output
from controller.host_learning import QUESTION_INTERVAL_S
from controller.pipeline import FIN, RST, SYN, TCP, UDP
from controller.segments import read_segment
from controller.subnets import Subnets
from controller.topology import Host

QUESTIONS = 3
"""How often an address is asked for, as often as a host asks by default (Linux: mcast_solicit, arp(7))."""
IN_FORCE_S = 0.05
"""How long after a host was heard of its flows are in force on every switch, those in their datapaths' caches included."""
MAX_WAITING = 3
"""Packets kept for one address meanwhile (RFC 1122 §2.3.2.2: at least the latest)."""
MAX_UNRESOLVED, MAX_OF_ONE_SENDER = 256, 32
"""Addresses asked for at the same time: at all, and for the sake of one sender, so that a scan leaves room for others."""


@dataclass(slots=True)
class _Question:
    """An address that is being asked for."""

    asker: int
    due: float
    asked: int = 1
    waiting: list[PacketSeen] = field(default_factory=list)


class Router:
    """Answers in the gateways' names."""

    def __init__(self, discovery: Discovery) -> None:
        self.discovery = discovery
        self.topology = discovery.topology
        self.subnets = Subnets()
        self._unresolved: dict[int, _Question] = {}

    def apply(self, subnets: Subnets) -> None:
        """Other subnets: questions for addresses that are in none of them are over."""
        self.subnets = subnets
        for address in [address for address in self._unresolved if subnets.at(address) is None]:
            del self._unresolved[address]

    # --- packets ---------------------------------------------------------------------------------------------------------------

    def on_expired(self, event: PacketSeen, _: float) -> list[Decision]:
        """A packet has no TTL left to leave its subnet with."""
        return self._tell(icmp.TIME_EXCEEDED, event, event.frame)

    def on_no_route(self, event: PacketSeen, _: float) -> list[Decision]:
        """A packet is for an address that is in no subnet."""
        return self._tell(icmp.NET_UNREACHABLE, event, event.frame)

    def on_addressed(self, event: PacketSeen, _: float) -> list[Decision]:
        """A packet is for a gateway, where nobody listens: a segment is answered with a RST, a datagram is unreachable."""
        protocol, way = icmp.protocol(event.frame), frames.read_addresses(event.frame)
        if protocol == UDP and way is not None:
            return self._tell(icmp.PORT_UNREACHABLE, event, event.frame, way[1])
        sender, segment = self._sender(event), read_segment(event.frame)
        if protocol != TCP or sender is None or segment is None or segment.flags & RST:
            return []
        there = int.from_bytes(segment.dst), segment.dst_port
        met = frames.Tcp(sender.ip, segment.src_port, *there, segment.flags, segment.seq, segment.ack)
        answer = frames.answer_to(met, segment.payload_bytes + bool(segment.flags & SYN) + bool(segment.flags & FIN))
        return [
            SendPacket(
                event.dpid, frames.tcp(answer, sender.mac, frames.vip_mac(answer.src)), (Output(sender.port_no),)
            )
        ]

    def on_unknown_host(self, event: PacketSeen, now: float) -> list[Decision]:
        """A packet for a host that nobody has heard of waits while it is asked for: an unknown neighbour is no reason to give up."""
        sender, way = self._sender(event), frames.read_addresses(event.frame)
        if sender is None or way is None or not icmp.header_bytes(event.frame):
            return []
        address = way[1]
        question = self._unresolved.get(address)
        if question is not None:
            question.waiting = [*question.waiting, event][-MAX_WAITING:]
            return []
        of_this_sender = sum(1 for other in self._unresolved.values() if other.asker == sender.ip)
        if len(self._unresolved) >= MAX_UNRESOLVED or of_this_sender >= MAX_OF_ONE_SENDER:
            return []
        known = address in self.topology.hosts
        due = now + (IN_FORCE_S if known else QUESTION_INTERVAL_S)
        self._unresolved[address] = _Question(sender.ip, due, waiting=[event])
        return [] if known else self.discovery.hosts.ask([address], now)

    def _sender(self, event: PacketSeen) -> Host | None:
        """Who sent a packet, if it entered where he lives."""
        way = frames.read_addresses(event.frame)
        host = self.topology.hosts.get(way[0]) if way is not None else None
        return host if host is not None and host.endpoint == (event.dpid, event.fields.get("in_port")) else None

    def _tell(
        self, problem: icmp.Problem, event: PacketSeen, frame: bytes, teller: int | None = None
    ) -> list[Decision]:
        """An error, in the name of `teller`, or of the sender's own gateway (RFC 1812 §4.3.2.4)."""
        sender = self._sender(event)
        subnet = self.subnets.at(sender.ip) if sender is not None else None
        if sender is None or subnet is None or not icmp.may_answer(frame):
            return []
        answer = icmp.error(problem, frame, teller or subnet.gateway, sender.mac, frames.vip_mac(subnet.gateway))
        return [SendPacket(event.dpid, answer, (Output(sender.port_no),))]

    # --- time ------------------------------------------------------------------------------------------------------------------

    def hosts_changed(self, now: float) -> None:
        """Hosts were heard of: what waited for one goes on as soon as the way there is in force."""
        for address, question in self._unresolved.items():
            if address in self.topology.hosts:
                question.due = min(question.due, now + IN_FORCE_S)

    def on_tick(self, now: float) -> list[Decision]:
        """Ask again; whoever has not answered by now is unreachable (RFC 1812 §3.3.2)."""
        decisions: list[Decision] = []
        for address, question in list(self._unresolved.items()):
            if now >= question.due:
                decisions += self._go_on(address, question, now)
        return decisions

    def _go_on(self, address: int, question: _Question, now: float) -> list[Decision]:
        if address in self.topology.hosts:
            del self._unresolved[address]
            return [_again(event) for event in question.waiting]
        if question.asked == QUESTIONS:
            del self._unresolved[address]
            errors = (self._tell(icmp.HOST_UNREACHABLE, event, icmp.as_sent(event.frame)) for event in question.waiting)
            return [decision for error in errors for decision in error]
        question.asked, question.due = question.asked + 1, now + QUESTION_INTERVAL_S
        return self.discovery.hosts.ask([address], now)

    def next_deadline(self, now: float) -> float:
        """When an address is asked for again, or given up."""
        return min((question.due for question in self._unresolved.values()), default=now + 60.0)


def _again(event: PacketSeen) -> SendPacket:
    """A packet enters anew: it meets the tracker, which knows its connection by now, and the route that has been found."""
    return SendPacket(event.dpid, icmp.as_sent(event.frame), (Output(TO_TABLE),), event.fields["in_port"])
