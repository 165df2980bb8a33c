"""A fabric in virtual time around a core: every decision reaches its switch, every fact the core, a channel's delay later."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable

from controller import frames
from controller.decisions import (
    Announce,
    Barrier,
    Decision,
    InstallFlow,
    Persist,
    RemoveFlow,
    RemoveGroup,
    RequestCounters,
    RequestPortCounters,
    SendPacket,
    SetGroup,
    SetMeter,
)
from controller.events import (
    BarrierReplied,
    Event,
    FlowCounted,
    PacketSeen,
    PortChanged,
    PortCounted,
    SwitchConnected,
    Tick,
)
from controller.flows import TO_TABLE, Output
from topologies.model.channel import CHANNEL_DELAY_S, Core
from topologies.model.hosts import Host
from topologies.model.wiring import SwitchPort, Wiring
from topologies.simulation.switch import FlowSwitch

LINK_DELAY_S = 20e-6
SHORTEST_SLEEP_S = 0.002


class FlowFabric:
    """Switches, links and hosts. Nothing happens but in `run`; `at` arranges for something to happen in it.

    `loss` and `delay_s` are of the directions of links by sending port, where they are not 0 and `LINK_DELAY_S`.
    """

    def __init__(self, wiring: Wiring, core: Core, seed: int = 0) -> None:
        self.now = 0.0
        self.core = core
        self.wiring = wiring
        self.chance = random.Random(seed)
        self.switches = {dpid: FlowSwitch(dpid, ports) for dpid, ports in wiring.ports().items()}
        self.hosts = {place.address: Host(place.mac, place.address, seed) for place in wiring.hosts}
        self.places = {place.address: place.at for place in wiring.hosts}
        self.at_port = {place.at: place.address for place in wiring.hosts}
        self.far = {a: b for link in wiring.links for a, b in ((link.a, link.b), (link.b, link.a))}
        self.loss: dict[SwitchPort, float] = {}
        self.delay_s: dict[SwitchPort, float] = {}
        self.away: set[int] = set()
        """Switches that are dead."""
        self.announcements: list[tuple[float, Announce]] = []
        self.on_opened: Callable[[SendPacket], None] = lambda _: None
        """Told of packets that the core sends into a tracker: connections opened on another member."""
        self.on_delivered: Callable[[bytes], None] = lambda _: None
        """Told of frames that the core sends to a host itself."""
        self._alarms: dict[int, float] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._tick: float | None = None
        self._speeds = {place.at: int(place.speed.rate_bps) for place in wiring.hosts}
        self._speeds |= {end: int(link.speed.rate_bps) for link in wiring.links for end in (link.a, link.b)}
        for switch in self.switches.values():
            self._set_speeds(switch)
        self._deeds: dict[type, Callable[..., None]] = {
            InstallFlow: lambda switch, decision: switch.install(decision, self.now),
            RemoveFlow: lambda switch, decision: switch.remove(decision),
            SetGroup: lambda switch, decision: switch.set_group(decision),
            RemoveGroup: lambda switch, decision: switch.remove_group(decision),
            SetMeter: lambda switch, decision: switch.set_meter(decision, self.now),
            SendPacket: self._send_packet,
            Barrier: lambda switch, decision: self.report(BarrierReplied(switch.dpid, decision.token)),
            RequestCounters: self._count_flows,
            RequestPortCounters: lambda switch, _: self.report(
                PortCounted(switch.dpid, switch.port_counters(self.now))
            ),
        }

    def _set_speeds(self, switch: FlowSwitch) -> None:
        switch.speed_bps = {number: self._speeds[SwitchPort(switch.dpid, number)] for number in switch.up}

    # --- time ------------------------------------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Arranges for something to happen; what falls on the same time happens in the order it was arranged."""
        self._order += 1
        heapq.heappush(self._queue, (max(when, self.now), self._order, action))

    def run(self, until: float) -> None:
        """Lets time pass."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = max(self.now, until)

    # --- the core --------------------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Hands the core an event now."""
        batches: dict[int, list[Decision]] = {}
        for decision in self.core.handle(event, self.now):
            if isinstance(decision, Announce):
                self.announcements.append((self.now, decision))
            elif not isinstance(decision, Persist):
                batches.setdefault(decision.dpid, []).append(decision)
        for dpid, decisions in batches.items():
            self.at(self.now + CHANNEL_DELAY_S, lambda dpid=dpid, decisions=decisions: self._carry_out(dpid, decisions))
        self._arrange_tick()

    def report(self, event: Event) -> None:
        """Sends the core an event of a switch, through the channel."""
        self.at(self.now + CHANNEL_DELAY_S, lambda: self.tell(event))

    def _arrange_tick(self) -> None:
        deadline = self.core.next_deadline(self.now)
        if deadline is not None and (self._tick is None or deadline < self._tick):
            # The controller rounds up as well: it sleeps at least so long between two ticks.
            self._tick = max(deadline, self.now + SHORTEST_SLEEP_S)
            self.at(self._tick, self._on_tick)

    def _on_tick(self) -> None:
        if self._tick is None or self.now < self._tick:
            return
        self._tick = None
        deadline = self.core.next_deadline(self.now)
        if deadline is not None and deadline <= self.now:
            self.tell(Tick())
        else:
            self._arrange_tick()

    # --- switches --------------------------------------------------------------------------------------------------------------

    def connect(self, dpid: int) -> None:
        """A switch finishes its handshake, as empty as it is."""
        switch = self.switches[dpid]
        self.report(SwitchConnected(dpid, tuple(switch.port(number) for number in switch.up)))

    def start_anew(self, dpid: int) -> None:
        """A switch that lost everything it had connects again."""
        switch = self.switches[dpid] = FlowSwitch(dpid, self.switches[dpid].up)
        self._set_speeds(switch)
        self.connect(dpid)

    def _carry_out(self, dpid: int, decisions: Iterable[Decision]) -> None:
        switch = self.switches[dpid]
        if dpid in self.away:
            return
        for decision in decisions:
            deed = self._deeds.get(type(decision))
            if deed is not None:
                deed(switch, decision)

    def _count_flows(self, switch: FlowSwitch, decision: RequestCounters) -> None:
        self.report(FlowCounted(switch.dpid, decision.table_id, dict(switch.packets[decision.table_id])))

    def set_port(self, end: SwitchPort, up: bool) -> None:
        """A port goes up or down, and its switch says so."""
        switch = self.switches[end.dpid]
        switch.up[end.port] = up
        if end.dpid not in self.away:
            self.report(PortChanged(end.dpid, switch.port(end.port)))

    # --- frames ----------------------------------------------------------------------------------------------------------------

    def _send_packet(self, switch: FlowSwitch, decision: SendPacket) -> None:
        for action in decision.actions:
            if not isinstance(action, Output):
                self.on_opened(decision)
            elif action.port == TO_TABLE:
                self._receive(SwitchPort(switch.dpid, decision.in_port), decision.frame)
            elif switch.up.get(action.port):
                self._transmit(SwitchPort(switch.dpid, action.port), decision.frame)

    def _transmit(self, port: SwitchPort, frame: bytes) -> None:
        address = self.at_port.get(port)
        if address is not None:
            self.at(self.now + LINK_DELAY_S, lambda: self._to_host(address, frame))
            return
        far, loss = self.far[port], self.loss.get(port, 0.0)
        if self.switches[far.dpid].up[far.port] and not (loss and self.chance.random() < loss):
            self.at(self.now + self.delay_s.get(port, LINK_DELAY_S), lambda: self._receive(far, frame))

    def _to_host(self, address: int, frame: bytes) -> None:
        self.on_delivered(frame)
        host = self.hosts[address]
        host.receive(frame, self.now)
        self.settle(address)

    def settle(self, address: int) -> None:
        """What a host wants to send enters at its port."""
        host = self.hosts[address]
        sent, host.frames = host.frames, []
        for frame in sent:
            self._receive(self.places[address], frame)
        deadline = host.next_deadline()
        if deadline is not None and deadline < self._alarms.get(address, float("inf")):
            self._alarms[address] = deadline
            self.at(deadline, lambda: self._wake(address))

    def _wake(self, address: int) -> None:
        self._alarms.pop(address, None)
        self.hosts[address].wake(self.now)
        self.settle(address)

    def _receive(self, at: SwitchPort, frame: bytes) -> None:
        """A frame that only the controller can judge is shown to it; all others are nobody's here."""
        if at.dpid in self.away:
            return
        switch = self.switches[at.dpid]
        question = frames.read_arp(frame)
        mac = switch.answer(question) if question else None
        if question is not None and mac is not None:
            reply = frames.Arp(frames.ARP_REPLY, mac, question.tpa, question.sha, question.spa)
            self._transmit(at, frames.arp(reply, question.sha))
            return
        purpose = switch.shows(at.port, frame)
        if purpose is not None:
            self.report(PacketSeen(at.dpid, purpose, {"in_port": at.port}, frame))
