"""Clients of VIPs, as numbers: connections arrive at random, the groups that the core installed say to whom they go.

Only a connection that fails becomes a packet: its reset is mirrored to the core, through the meter that bounds it.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from controller import frames
from controller.balance import VIP_GROUP
from controller.decisions import SendPacket
from controller.events import PacketSeen
from controller.flows import Ct, GroupEntry, Purpose
from controller.pipeline import (
    ACK,
    CLIENT_DATA_SEEN,
    EST,
    KNOWN,
    MEMBER_MASK,
    RPL,
    RST,
    SYN_ACK_SEEN,
    TCP,
    VIP_MASK,
    VIP_SHIFT,
    Meter,
)
from topologies.model.servers import ResetOnAccept, Silent
from topologies.simulation.fabric import FlowFabric
from topologies.simulation.switch import FlowSwitch

STEP_S = 0.02
OCTETS_PER_CONNECTION = 20_000
FIRST_PORT, PORTS = 1024, 50_000


class Vip(NamedTuple):
    """An address and port of a VIP, and its number in the mark."""

    number: int
    address: int
    port: int


class Choices(NamedTuple):
    """A VIP group's buckets: cumulated weights, and what each writes into the mark and as the destination."""

    until: list[int]
    marks: list[int]
    members: list[tuple[int, int]]


@dataclass
class Outcomes:
    """What clients saw."""

    offered: int = 0
    served: int = 0
    refused: int = 0
    reset: int = 0
    timed_out: int = 0
    redispatched: int = 0
    """Refused by one member and served by another, which the client does not notice."""


class Client(NamedTuple):
    """One connection of a client that did not simply work."""

    dpid: int
    address: int
    src_port: int
    vip: Vip
    isn: int


@dataclass
class Traffic:
    """An open load on every VIP: `rate` new connections per second from hosts drawn evenly."""

    fabric: FlowFabric
    vips: list[Vip]
    clients: list[int]
    rate: float
    chance: random.Random
    outcomes: Outcomes = field(default_factory=Outcomes)
    octets: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Between edge switches (from, to) since somebody took them."""

    def __post_init__(self) -> None:
        self._choices: dict[int, tuple[GroupEntry, Choices]] = {}
        self._held: dict[tuple[int, int], Client] = {}
        self._ports = 0
        self._edge_of = {address: place.dpid for address, place in self.fabric.places.items()}
        self.fabric.on_opened = self._on_opened
        self.fabric.on_delivered = self._on_delivered

    def start(self) -> None:
        """From now on connections arrive."""
        self.fabric.at(self.fabric.now + STEP_S, self._step)

    # --- connections -----------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        mean = self.rate * STEP_S
        # The normal approximation of Poisson's distribution, which is fair from some tens on.
        count = max(0, round(self.chance.gauss(mean, mean**0.5)))
        clients, vips = self.chance.choices(self.clients, k=count), self.chance.choices(self.vips, k=count)
        served: Counter[tuple[int, int, tuple[int, int]]] = Counter()
        for client, vip in zip(clients, vips, strict=True):
            self._connect(client, vip, served)
        self.outcomes.offered += count
        self._count(served)
        self.fabric.at(self.fabric.now + STEP_S, self._step)

    def _connect(self, client: int, vip: Vip, served: Counter[tuple[int, int, tuple[int, int]]]) -> None:
        dpid = self._edge_of[client]
        choice = self._choose(self.fabric.switches[dpid], vip)
        if choice is None:
            self.outcomes.refused += 1
        elif self._serves(choice[1]):
            served[dpid, choice[0], choice[1]] += 1
        else:
            # Sometime within the step: by then the group may be another one.
            when = self.fabric.now + self.chance.random() * STEP_S
            self.fabric.at(when, lambda: self._try(self._client(dpid, client, vip)))

    def _client(self, dpid: int, address: int, vip: Vip) -> Client:
        self._ports = (self._ports + 1) % PORTS
        return Client(dpid, address, FIRST_PORT + self._ports, vip, self.chance.getrandbits(32))

    def _choose(self, switch: FlowSwitch, vip: Vip) -> tuple[int, tuple[int, int]] | None:
        group = switch.groups.get(VIP_GROUP | vip.number)
        if group is None or switch.dpid in self.fabric.away:
            return None
        known = self._choices.get(id(group))
        if known is None or known[0] is not group:
            known = self._choices[id(group)] = group, _choices(group)
        until, marks, members = known[1]
        bucket = bisect(until, self.chance.random() * until[-1])
        return marks[bucket], members[bucket]

    def _serves(self, member: tuple[int, int]) -> bool:
        behaviour = self.fabric.hosts[member[0]].listening.get(member[1])
        return behaviour is not None and not isinstance(behaviour, Silent | ResetOnAccept)

    def _try(self, client: Client) -> None:
        choice = self._choose(self.fabric.switches[client.dpid], client.vip)
        if choice is None:
            self.outcomes.refused += 1
        else:
            self._meet(client, *choice)

    def _meet(self, client: Client, mark: int, member: tuple[int, int]) -> bool:
        """A connection gets to a member; whether it is served."""
        behaviour = self.fabric.hosts[member[0]].listening.get(member[1])
        switch = self.fabric.switches[client.dpid]
        if behaviour is None:
            self._refused(client, switch, mark)
        elif isinstance(behaviour, Silent):
            self.outcomes.timed_out += 1
        elif isinstance(behaviour, ResetOnAccept):
            self._reset(client, switch, mark)
        else:
            self._count(Counter({(client.dpid, mark, member): 1}))
            return True
        return False

    def _count(self, served: Counter[tuple[int, int, tuple[int, int]]]) -> None:
        """Connections that were opened, answered and closed."""
        for (dpid, mark, member), count in served.items():
            switch, names = self.fabric.switches[dpid], self.fabric.switches[dpid].names(mark)
            switch.count("connection", str((mark & VIP_MASK) >> VIP_SHIFT), packets=count)
            switch.count("handshake", *names, packets=count)
            switch.count("closed", *names, packets=count)
            self.outcomes.served += count
            self.octets[self._edge_of[member[0]], dpid] += count * OCTETS_PER_CONNECTION

    # --- resets ----------------------------------------------------------------------------------------------------------------

    def _refused(self, client: Client, switch: FlowSwitch, mark: int) -> None:
        switch.count("reset", *switch.names(mark), "refused")
        now = self.fabric.now
        held = now < switch.held_until
        segment = frames.refusal((client.vip.address, client.vip.port), (client.address, client.src_port), client.isn)
        if switch.passes(Meter.HELD if held else Meter.MIRROR, now):
            self._show(switch, Purpose.HELD if held else Purpose.RESET, client, mark, segment)
        if not held:
            self.outcomes.refused += 1
        else:
            self._held[client.address, client.src_port] = client

    def _reset(self, client: Client, switch: FlowSwitch, mark: int) -> None:
        names = switch.names(mark)
        switch.count("connection", str(client.vip.number))
        switch.count("handshake", *names)
        switch.count("reset", *names, "aborted-by-member")
        self.outcomes.reset += 1
        segment = frames.Tcp(
            client.vip.address, client.vip.port, client.address, client.src_port, RST | ACK, 1, client.isn + 1, 509
        )
        if switch.passes(Meter.MIRROR, self.fabric.now):
            self._show(switch, Purpose.RESET, client, mark | SYN_ACK_SEEN | CLIENT_DATA_SEEN, segment)

    def _show(self, switch: FlowSwitch, purpose: Purpose, client: Client, mark: int, segment: frames.Tcp) -> None:
        fields = {
            "in_port": next(iter(switch.up)), "ct_state": EST | RPL, "ct_mark": mark | KNOWN,
            "ct_nw_src": client.address, "ct_nw_dst": client.vip.address, "ct_nw_proto": TCP,
            "ct_tp_src": client.src_port, "ct_tp_dst": client.vip.port,
        }  # fmt: skip
        host = self.fabric.hosts[client.address]
        frame = frames.tcp(segment, host.mac, frames.vip_mac(client.vip.address))
        self.fabric.report(PacketSeen(switch.dpid, purpose, fields, frame))

    def _on_opened(self, decision: SendPacket) -> None:
        """The core opened a refused connection on another member."""
        frame = decision.frame
        client = self._held.pop((int.from_bytes(frame[26:30]), int.from_bytes(frame[34:36])), None)
        given = next(
            (action for action in decision.actions if isinstance(action, Ct) and action.nat and action.mark), None
        )
        if client is None or given is None or given.nat is None or given.mark is None or given.nat.ports is None:
            return
        self.outcomes.redispatched += self._meet(client, given.mark[0], (given.nat.address, given.nat.ports[0]))

    def _on_delivered(self, frame: bytes) -> None:
        """The core let a client have its refusal."""
        if frame[12:14] == b"\x08\x00" and frame[47] & RST:
            client = self._held.pop((int.from_bytes(frame[30:34]), int.from_bytes(frame[36:38])), None)
            self.outcomes.refused += client is not None


def _choices(group: GroupEntry) -> Choices:
    given = [action for bucket in group.buckets for action in bucket.actions if isinstance(action, Ct)]
    members = [(ct.nat.address, ct.nat.ports[0]) for ct in given if ct.nat and ct.nat.ports]
    marks = [ct.mark[0] & (VIP_MASK | MEMBER_MASK) for ct in given if ct.mark]
    return Choices(list(accumulate(bucket.weight for bucket in group.buckets)), marks, members)
