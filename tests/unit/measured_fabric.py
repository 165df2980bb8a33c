"""Switches in a row, wired in virtual time, with nothing on them but telemetry: wires that lose and delay, channels that take time."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.decisions import Announce, Decision, RequestPortCounters, RequestQueueCounters, SendPacket
from controller.events import PacketSeen, Port, PortCounted, PortCounters, QueueCounted
from controller.flows import TO_TABLE, Output, Purpose
from controller.telemetry import Telemetry
from controller.topology import Endpoint, Switch, Topology

KEY = b"the key of this run"
START = 1_000_000.0
TICK_S = 0.002
LEFT, RIGHT, HOST = 1, 2, 3
"""Ports of every switch: towards the one before, towards the one behind, to a host."""


@dataclass
class Wire:
    """One direction of a link, as it really is."""

    loss: float = 0.0
    delay_s: float = 0.0
    carried: int = 0
    lost: int = 0


@dataclass
class Channel:
    """The way to a switch and back; `answers` False: packet-ins are lost; `counts` False: it does not answer statistics."""

    out_s: float = 0.0005
    back_s: float = 0.0005
    answers: bool = True
    counts: bool = True


@dataclass
class Meter:
    """What a port counts: it sends and receives at a rate, and its queue drops at one; None where it has no queue."""

    tx_bps: float = 0.0
    rx_bps: float = 0.0
    drops_per_s: float | None = None
    drops_at_once: int = 0
    bytes_before: float = 0.0


@dataclass(order=True)
class _Arrival:
    time: float
    order: int
    act: Callable[[], None] = field(compare=False)


class MeasuredFabric:
    """`telemetry` of `switches` switches; `now` goes on only in `run`."""

    def __init__(self, switches: int = 2, seed: int = 1, speed_bps: int = 10_000_000) -> None:
        self.now = START
        self.topology = Topology()
        self.telemetry = Telemetry(self.topology, KEY)
        self.announced: list[Announce] = []
        self.sent: list[tuple[float, SendPacket]] = []
        self.asked: list[tuple[float, int]] = []
        self.chance = random.Random(seed)
        self.channels = {dpid: Channel() for dpid in range(1, switches + 1)}
        self.wires: dict[Endpoint, Wire] = {}
        self.meters: dict[Endpoint, Meter] = {}
        self._queue: list[_Arrival] = []
        self._order = 0
        for dpid in self.channels:
            ports = {number: Port(number, f"p{number}", number, True, speed_bps) for number in (LEFT, RIGHT, HOST)}
            self.topology.switches[dpid] = Switch(dpid, dpid, ports, connected=True)
            self.meters |= {(dpid, number): Meter() for number in ports}
        for dpid in range(1, switches):
            self.link((dpid, RIGHT), (dpid + 1, LEFT))

    def link(self, a: Endpoint, b: Endpoint) -> None:
        """Wires two ports, both ways."""
        self.topology.links[a], self.topology.links[b] = b, a
        self.wires.setdefault(a, Wire())
        self.wires.setdefault(b, Wire())
        self.telemetry.topology_changed()

    def run(self, seconds: float, stalled: bool = False) -> None:
        """Lets time pass; `stalled`: the controller is held up and handles what came meanwhile at the end, its timer first."""
        until = self.now + seconds
        while not stalled:
            tick = max(self.telemetry.next_deadline(self.now), self.now) + TICK_S
            arrival = self._queue[0].time if self._queue else until
            self.now = min(tick, arrival, until)
            if self.now >= until:
                break
            if tick <= arrival:
                self._carry_out(self.telemetry.on_tick(self.now))
            else:
                heapq.heappop(self._queue).act()
        self.now = until
        if stalled:
            self._carry_out(self.telemetry.on_tick(self.now))

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, _Arrival(self.now + delay_s, self._order, act))

    def _carry_out(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Announce():
                    self.announced.append(decision)
                case SendPacket():
                    self.sent.append((self.now, decision))
                    self._send(decision)
                case RequestPortCounters() if self.channels[decision.dpid].counts:
                    self.asked.append((self.now, decision.dpid))
                    self._later(0.001, lambda dpid=decision.dpid: self._count(dpid))
                case RequestQueueCounters() if self.channels[decision.dpid].counts:
                    self._later(0.001, lambda dpid=decision.dpid: self._count_queues(dpid))

    def _send(self, packet: SendPacket) -> None:
        (action,) = packet.actions
        assert isinstance(action, Output)
        out_s = self.channels[packet.dpid].out_s
        if action.port == TO_TABLE:
            self._arrive((packet.dpid, packet.in_port), packet.frame, out_s)
            return
        wire = self.wires[packet.dpid, action.port]
        wire.carried += 1
        if self.chance.random() < wire.loss:
            wire.lost += 1
            return
        self._arrive(self.topology.links[packet.dpid, action.port], packet.frame, out_s + wire.delay_s)

    def _arrive(self, at: Endpoint, frame: bytes, after_s: float) -> None:
        channel = self.channels[at[0]]
        if channel.answers:
            self._later(after_s + channel.back_s, lambda: self.hear(at, frame))

    def hear(self, at: Endpoint, frame: bytes) -> None:
        """The switch punts a frame that came in at a port."""
        event = PacketSeen(at[0], Purpose.LINK_PROBE, {"in_port": at[1]}, frame)
        self._carry_out(self.telemetry.on_probe(event, self.now))

    def _count(self, dpid: int) -> None:
        age = self.now - START
        ports: dict[int, PortCounters] = {}
        for number in self.topology.switches[dpid].ports:
            meter = self.meters[dpid, number]
            sent, received = (int(meter.bytes_before + rate * age / 8) for rate in (meter.tx_bps, meter.rx_bps))
            ports[number] = PortCounters(received, sent, received // 1000, sent // 1000, 0, age)
        self._carry_out(self.telemetry.on_ports(PortCounted(dpid, ports), self.now))

    def _count_queues(self, dpid: int) -> None:
        age = self.now - START
        dropped = {
            number: meter.drops_at_once + int(meter.drops_per_s * age)
            for (at, number), meter in self.meters.items()
            if at == dpid and meter.drops_per_s is not None
        }
        self._carry_out(self.telemetry.on_queues(QueueCounted(dpid, dropped), self.now))

    def load(self, endpoint: Endpoint, tx_bps: float, rx_bps: float = 0.0) -> None:
        """From now on a port sends and receives so much; its counters go on from where they are."""
        meter, age = self.meters[endpoint], self.now - START
        meter.bytes_before += (meter.tx_bps - tx_bps) * age / 8
        meter.tx_bps, meter.rx_bps = tx_bps, rx_bps

    def probes_sent(self, near: Endpoint, since: float = START) -> int:
        """How many probes left by this port."""
        actions = (Output(near[1]),)
        return sum(1 for time, sent in self.sent if (sent.dpid, sent.actions) == (near[0], actions) and time >= since)
