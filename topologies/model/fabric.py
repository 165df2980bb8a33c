"""A whole fabric in virtual time: switches, hosts and links as discrete events, and a controller core on a channel with delay."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable

from controller.decisions import Announce, Decision, Persist, ReadSwitch, SwitchDecision
from controller.events import (
    Event,
    Port,
    PortChanged,
    Restored,
    SwitchConnected,
    SwitchDisconnected,
    SwitchRead,
    Tick,
)
from topologies.model.channel import CHANNEL_DELAY_S, Core, as_event
from topologies.model.effects import Effect, ErrorReply, Transmit
from topologies.model.hosts import Host
from topologies.model.links import Direction
from topologies.model.switch import FakeSwitch
from topologies.model.wiring import LinkPlace, SwitchPort, Wiring

MAX_TICKS_AT_ONCE = 1000


class FakeFabric:
    """A fabric at time `now`. Nothing happens but in `run`; `at` arranges for something to happen in it.

    `errors` are the decisions switches refused, `announcements` and `stored` what the core wanted said and kept. Events reach the
    core and decisions the switches `channel_delay_s` later, in order; both are lost while the controller is away.
    """

    def __init__(
        self,
        wiring: Wiring,
        core: Core | None = None,
        *,
        channel_delay_s: float = CHANNEL_DELAY_S,
        seed: int = 0,
        make_switch: Callable[[int, Iterable[int]], FakeSwitch] = FakeSwitch,
    ) -> None:
        self.now = 0.0
        self.core = core
        self.errors: list[ErrorReply] = []
        self.announcements: list[tuple[float, Announce]] = []
        self.on_announcement: Callable[[Announce], object] = lambda _: None
        self.stored: dict[str, dict[str, object]] = {}
        self.switches = {dpid: make_switch(dpid, sorted(ports)) for dpid, ports in wiring.ports().items()}
        self.hosts = {
            place.name: Host(place.mac, place.address, seed, place.prefix_length, place.gateway)
            for place in wiring.hosts
        }
        self.links = wiring.links
        self._delay_s = channel_delay_s
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = self._session = 0
        self._sessions = dict.fromkeys(self.switches, 0)
        self._alarms: dict[str, float] = {}
        self._tick: float | None = None
        self._ticked, self._ticks = -1.0, 0
        self._wire(wiring, random.Random(seed))

    def _wire(self, wiring: Wiring, chance: random.Random) -> None:
        """Lines from switch ports: the direction, and who receives at its end; and each host's line to its switch."""
        self._lines: dict[SwitchPort, tuple[Direction, Callable[[bytes], None]]] = {}
        self._uplinks: dict[str, tuple[Direction, Callable[[bytes], None]]] = {}
        for link in wiring.links:
            for here, there in ((link.a, link.b), (link.b, link.a)):
                self._lines[here] = Direction(link.speed, chance), self._switch_receiver(there)
        for place in wiring.hosts:
            self._lines[place.at] = Direction(place.speed, chance), self._host_receiver(place.name)
            self._uplinks[place.name] = Direction(place.speed, chance), self._switch_receiver(place.at)

    def _switch_receiver(self, at: SwitchPort) -> Callable[[bytes], None]:
        return lambda frame: self._effects(at.dpid, self.switches[at.dpid].receive(frame, at.port, self.now))

    def _host_receiver(self, name: str) -> Callable[[bytes], None]:
        def receive(frame: bytes) -> None:
            self.hosts[name].receive(frame, self.now)
            self.settle(name)

        return receive

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

    def start(self, *first: Event) -> None:
        """Tells the core what it has to know first, then connects every switch."""
        for event in first:
            self.tell(event)
        for dpid in self.switches:
            self._connect(dpid)

    def tell(self, event: Event) -> None:
        """Hands the core an event now, as its own process does: without the channel."""
        if self.core is not None:
            self._decide(self.core.handle(event, self.now))

    def _decide(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Announce):
                self.announcements.append((self.now, decision))
                self.on_announcement(decision)
            elif isinstance(decision, Persist):
                self._store(decision)
            else:
                self._send(decision)
        self._arrange_tick()

    def _store(self, decision: Persist) -> None:
        namespace = self.stored.setdefault(decision.namespace, {})
        if decision.value is None:
            namespace.pop(decision.key, None)
        else:
            namespace[decision.key] = decision.value

    def _arrange_tick(self) -> None:
        deadline = self.core.next_deadline(self.now) if self.core is not None else None
        if deadline is not None and (self._tick is None or deadline < self._tick):
            self._tick = max(deadline, self.now)
            session = self._session
            self.at(self._tick, lambda: self._on_tick(session))

    def _on_tick(self, session: int) -> None:
        if session != self._session:
            return
        self._tick = None
        deadline = self.core.next_deadline(self.now) if self.core is not None else None
        if deadline is not None and deadline <= self.now:
            self._ticks = self._ticks + 1 if self._ticked == self.now else 1
            self._ticked = self.now
            if self._ticks > MAX_TICKS_AT_ONCE:
                raise RuntimeError(f"the core is never done at {self.now} s: its deadline stays in the past")
            self.tell(Tick())
        else:
            self._arrange_tick()

    def _send(self, decision: SwitchDecision) -> None:
        sessions = self._session, self._sessions.get(decision.dpid)

        def arrive() -> None:
            if sessions != (self._session, self._sessions.get(decision.dpid)) or decision.dpid not in self.switches:
                return
            if isinstance(decision, ReadSwitch):
                self._report(decision.dpid, SwitchRead(decision.dpid, *self._has(decision.dpid)))
            else:
                self._effects(decision.dpid, self.switches[decision.dpid].handle(decision, self.now))

        self.at(self.now + self._delay_s, arrive)

    def _report(self, dpid: int, event: Event) -> None:
        """Sends the core an event of a switch, through the channel."""
        sessions = self._session, self._sessions[dpid]

        def arrive() -> None:
            if sessions == (self._session, self._sessions[dpid]):
                self.tell(event)

        self.at(self.now + self._delay_s, arrive)

    def _effects(self, dpid: int, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Transmit):
                self._carry(self._lines.get(SwitchPort(dpid, effect.port)), effect.frame)
                continue
            if isinstance(effect, ErrorReply):
                self.errors.append(effect)
            event = as_event(dpid, effect)
            if event is not None:
                self._report(dpid, event)

    def _carry(self, line: tuple[Direction, Callable[[bytes], None]] | None, frame: bytes) -> None:
        if line is None:
            return
        direction, receive = line
        arrival = direction.carry(len(frame), self.now)
        if arrival is not None:
            self.at(arrival, lambda: receive(frame) if direction.up else None)

    def settle(self, name: str) -> None:
        """Call after doing something with a host: sends what it wants to send, and wakes it when it wants that."""
        host = self.hosts[name]
        frames, host.frames = host.frames, []
        for frame in frames:
            self._carry(self._uplinks[name], frame)
        deadline = host.next_deadline()
        if deadline is not None and deadline < self._alarms.get(name, float("inf")):
            self._alarms[name] = deadline
            self.at(deadline, lambda: self._wake(name))

    def _wake(self, name: str) -> None:
        self._alarms.pop(name, None)
        self.hosts[name].wake(self.now)
        self.settle(name)

    def _connect(self, dpid: int) -> None:
        ports = tuple(self._port(dpid, port) for port in self.switches[dpid].ports)
        self._report(dpid, SwitchConnected(dpid, ports, *self._has(dpid)))

    def _has(self, dpid: int) -> tuple[frozenset[tuple[int, int]], frozenset[int], frozenset[int]]:
        switch = self.switches[dpid]
        flows = frozenset((entry.table_id, entry.cookie) for entry in switch.installed(self.now))
        return flows, switch.group_ids, frozenset(switch.meters)

    def _port(self, dpid: int, port: int) -> Port:
        line = self._lines.get(SwitchPort(dpid, port))
        speed = int(line[0].speed.rate_bps) if line else 0
        mac = 0x02 << 40 | (dpid & 0xFFFFFF) << 16 | port
        return Port(port, f"s{dpid:x}-eth{port}", mac, self.switches[dpid].ports[port], speed)

    def restart_switch(self, dpid: int, downtime_s: float = 0.0) -> None:
        """A switch loses entries, groups, meters and connections, forwards nothing for a while, and connects again."""
        self._report(dpid, SwitchDisconnected(dpid))
        self.switches[dpid].restart()
        ports = dict(self.switches[dpid].ports)
        for port in ports:
            self.switches[dpid].set_port(port, False)

        def back() -> None:
            for port, up in ports.items():
                self.switches[dpid].set_port(port, up)
            self._sessions[dpid] += 1
            self._connect(dpid)

        self.at(self.now + max(downtime_s, self._delay_s), back)

    def controller_leaves(self) -> None:
        """The controller dies: nothing reaches it, nothing comes from it, what was under way is lost."""
        self._session += 1
        self.core = None
        self._tick = None

    def controller_returns(self, core: Core, *first: Event) -> None:
        """A controller starts, with what was stored; the switches connect to it."""
        self._session += 1
        self.core, self._tick = core, None
        self.start(Restored({name: dict(values) for name, values in self.stored.items()}), *first)

    def link_between(self, a: int, b: int) -> LinkPlace:
        """The first link between two switches.

        Raises:
            KeyError: there is none.
        """
        for link in self.links:
            if {link.a.dpid, link.b.dpid} == {a, b}:
                return link
        raise KeyError((a, b))

    def set_link(self, link: LinkPlace, up: bool) -> None:
        """Cuts or mends a link: both switches see it at once and tell the controller."""
        for end in (link.a, link.b):
            self._lines[end][0].up = up
            self.switches[end.dpid].set_port(end.port, up)
            self._report(end.dpid, PortChanged(end.dpid, self._port(end.dpid, end.port)))

    def directions(self, link: LinkPlace) -> tuple[Direction, Direction]:
        """Both directions of a link, from its `a` end first: their `loss` may be set, their counts read."""
        return self._lines[link.a][0], self._lines[link.b][0]

    @property
    def warnings(self) -> list[str]:
        """What the switches and their trackers found odd."""
        switches = self.switches.values()
        return [warning for switch in switches for warning in (*switch.warnings, *switch.tracker.warnings)]
