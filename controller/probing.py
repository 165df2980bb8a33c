"""Loss and one-way delay of every direction of every link, by probes through the link's own queue (docs/telemetry.md).

Idle directions share `IDLE_PROBES_PER_S`, suspected ones `FAST_PROBES_PER_S`: the cost does not grow with the fabric. What is kept per
direction is a few counts: its number and the time it was sent travel in the probe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from controller.channels import ANSWER_S, Channels, midmean
from controller.decisions import Decision, SendPacket
from controller.flows import Output
from controller.loss import Loss, LossWindow
from controller.probe_frames import Probe, ProbeKind, read_probe, write_probe
from controller.schedule import Schedule
from controller.silence import HEARD_SHARE, Unanswered
from controller.topology import Endpoint, Topology

IDLE_PROBES_PER_S = 100.0
IDLE_INTERVAL_S = 0.25
FAST_PROBES_PER_S = 300.0
FAST_RATE = 100.0
"""Probes per second on one suspected direction: after 20 s the standard error of a loss of 20 % is below 1 point."""
FAST_S = 15.0
"""How long a direction stays suspected when nothing more happens: a loss of 0.5 % shows in that time."""
CAPACITY_SHARE = 0.01
PROBE_BITS = 84 * 8
"""A probe with preamble, gap and FCS (IEEE 802.3)."""
SHORTEST_GRAIN_S, LONGEST_GRAIN_S = 0.02, 0.05
GRAIN_PER_DIRECTION_S = 25e-6
"""Probes go out in bursts so far apart: a turn of the whole core costs more the larger the fabric is, and a full queue that has room for
one probe of a burst only would seem to lose more than it does, so bursts are as short as can be afforded."""
FIRST_AFTER_S = 1.0
"""A new link is not probed before the far switch had time to take the entry that punts probes."""
ROUND_S = 1.0
SAMPLES = 32
LEAST_SAMPLES = 3
SAMPLE_AGE_S = 10.0


@dataclass(slots=True)
class _Round:
    """Probes sent within `ROUND_S`; bit n of `arrived` is the one with number `first` + n."""

    first: int
    started: float
    ended: float
    sent: int = 0
    arrived: int = 0


@dataclass(slots=True)
class _Direction:
    """What is kept of one direction. `samples` are (arrival, time of flight with half of both channels in it)."""

    far: Endpoint
    next_send: float
    seq: int = 0
    suspected_until: float = float("-inf")
    rounds: deque[_Round] = field(default_factory=deque)
    loss: LossWindow = field(default_factory=LossWindow)
    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    unanswered: Unanswered = field(default_factory=Unanswered)


class Prober:
    """Probes the links of `topology` that are up, each direction for itself.

    `settled` names those whose loss is known anew, `silent` those that nothing crosses any more.
    """

    def __init__(self, topology: Topology, key: bytes, capacity_bps: Callable[[Endpoint], int]) -> None:
        self.topology = topology
        self.channels = Channels(key)
        self.settled: set[Endpoint] = set()
        self.silent: set[Endpoint] = set()
        self._key = key
        self._capacity_bps = capacity_bps
        self._directions: dict[Endpoint, _Direction] = {}
        self._turns: Schedule[Endpoint] = Schedule()
        self._fast: set[Endpoint] = set()
        self._last_turn = float("-inf")

    # --- which links -----------------------------------------------------------------------------------------------------------

    def follow_topology(self, now: float) -> None:
        """Take up new links, forget old ones. The first probes are spread over one interval."""
        links = dict(self.topology.links_that_are_up())
        self.silent.intersection_update(links)
        for near in [near for near, known in self._directions.items() if links.get(near) != known.far]:
            del self._directions[near]
            self._turns.discard(near)
            self._fast.discard(near)
        missing = [near for near in links if near not in self._directions]
        for place, near in enumerate(missing):
            first = now + FIRST_AFTER_S + self.idle_interval_s * place / len(missing)
            self._directions[near] = _Direction(links[near], first)
            self._turns.set(near, first)

    @property
    def idle_interval_s(self) -> float:
        """Between two probes of a direction that nothing is suspected of."""
        return max(IDLE_INTERVAL_S, len(self._directions) / IDLE_PROBES_PER_S)

    @property
    def _grain_s(self) -> float:
        return min(LONGEST_GRAIN_S, max(SHORTEST_GRAIN_S, GRAIN_PER_DIRECTION_S * len(self._directions)))

    def suspect(self, near: Endpoint, now: float) -> None:
        """Probe this direction fast for a while."""
        direction = self._directions.get(near)
        if direction is None:
            return
        direction.suspected_until = now + FAST_S
        if near not in self._fast:
            self._fast.add(near)
            direction.next_send = min(direction.next_send, now + self._grain_s)
            self._turns.set(near, direction.next_send)

    # --- out and in ------------------------------------------------------------------------------------------------------------

    def on_tick(self, now: float) -> list[Decision]:
        """Count what should have arrived by now, and send the probes that are due."""
        self._last_turn = now
        sent: list[Decision] = []
        # Many that are due at once (a whole fabric under suspicion) take their turns over the next moments.
        at_most = ceil((IDLE_PROBES_PER_S + FAST_PROBES_PER_S) * self._grain_s)
        for near in self._turns.pop_due(now, at_most):
            direction = self._directions[near]
            self._settle(near, direction, now)
            self._listen(near, direction, now)
            if now >= direction.next_send:
                sent += self._send(near, direction, now)
            wait = direction.next_send - now
            # Well before the next probe it is known whether this one was lost.
            self._turns.set(near, now + (1.1 * ANSWER_S if direction.rounds and wait > 2 * ANSWER_S else wait))
        return sent

    def next_deadline(self) -> float:
        """When `on_tick` has something to do next."""
        return max(self._turns.next(), self._last_turn + self._grain_s)

    def _rate(self, near: Endpoint, direction: _Direction, now: float) -> float:
        if near in self._fast and now >= direction.suspected_until:
            self._fast.discard(near)
        if near not in self._fast:
            return 1 / self.idle_interval_s
        affordable = CAPACITY_SHARE * self._capacity_bps(near) / PROBE_BITS
        return max(1 / self.idle_interval_s, min(FAST_RATE, FAST_PROBES_PER_S / len(self._fast), affordable))

    def _send(self, near: Endpoint, direction: _Direction, now: float) -> list[SendPacket]:
        rate = self._rate(near, direction, now)
        count = max(1, round(rate * self._grain_s))
        direction.next_send = max(direction.next_send, now - self._grain_s) + count / rate
        if not self._connected(near, direction):
            direction.rounds.clear()
            direction.unanswered = Unanswered()
            return []
        if not direction.rounds or now - direction.rounds[-1].started >= ROUND_S:
            direction.rounds.append(_Round(direction.seq, now, now))
        around = direction.rounds[-1]
        around.sent, around.ended = around.sent + count, now
        kinds = [ProbeKind.TIMED] + [ProbeKind.COUNTED] * (count - 1)
        probes = [Probe(kind, *near, direction.seq + place, now) for place, kind in enumerate(kinds)]
        direction.seq += count
        direction.unanswered.sent(count, now)
        out = (Output(near[1]),)
        frames = [SendPacket(near[0], write_probe(self._key, probe), out) for probe in probes]
        return self.channels.send(*near, now) + self.channels.send(*direction.far, now) + frames

    def _connected(self, near: Endpoint, direction: _Direction) -> bool:
        return all(self.topology.switches[dpid].connected for dpid in (near[0], direction.far[0]))

    def on_probe(self, dpid: int, in_port: int, frame: bytes, now: float) -> None:
        """A probe came in. One that is not ours, was seen before or came another way than it should says nothing."""
        probe = read_probe(self._key, frame)
        if probe is None:
            return
        if probe.kind is ProbeKind.CHANNEL:
            if probe.dpid == dpid:
                self.channels.on_probe(probe, now)
            return
        direction = self._directions.get((probe.dpid, probe.port_no))
        if direction is None or direction.far != (dpid, in_port):
            return
        # A link so congested that it loses LLDP is a link all the same.
        self.topology.crossed[probe.dpid, probe.port_no] = now
        for around in direction.rounds:
            bit = 1 << max(0, probe.seq - around.first)
            if around.first <= probe.seq < around.first + around.sent and not around.arrived & bit:
                around.arrived |= bit
                direction.unanswered.arrived(direction.seq - probe.seq - 1, now)
                if probe.kind is ProbeKind.TIMED:
                    direction.samples.append((now, now - probe.sent))

    # --- what follows ----------------------------------------------------------------------------------------------------------

    def _settle(self, near: Endpoint, direction: _Direction, now: float) -> None:
        """Close the rounds of which nothing more can come."""
        while direction.rounds:
            around = direction.rounds[0]
            if now - around.started < ROUND_S or now - around.ended < ANSWER_S:
                return
            direction.rounds.popleft()
            if self._blind(near, direction, around, now):
                continue
            lost = around.sent - around.arrived.bit_count()
            direction.loss.add(around.sent, lost, now)
            if around.sent - lost >= HEARD_SHARE * around.sent:
                self.silent.discard(near)
            self.settled.add(near)
            if lost:
                self.suspect(near, now)

    def _listen(self, near: Endpoint, direction: _Direction, now: float) -> None:
        """Whether probes should have come by now; those of a switch that does not answer either say nothing."""
        unanswered = direction.unanswered
        if unanswered.is_overdue(now):
            self.suspect(near, now)
        ends = near[0], direction.far[0]
        if unanswered.is_silence(now) and all(self.channels.answered_since(dpid, unanswered.since) for dpid in ends):
            self.silent.add(near)

    def _blind(self, near: Endpoint, direction: _Direction, around: _Round, now: float) -> bool:
        """Whether a control channel lost something around the time of the round, or the controller was held up and has not read it yet.

        Then nobody can say where the round's probes went.
        """
        since = around.started - ROUND_S
        return any(self.channels.lost_since(dpid, since, now) for dpid in (near[0], direction.far[0]))

    def loss(self, near: Endpoint, now: float) -> Loss | None:
        """The loss of late; None when it was not measured lately."""
        direction = self._directions.get(near)
        if direction is None or now - direction.loss.last > 3 * self.idle_interval_s + ANSWER_S:
            return None
        return direction.loss.estimate()

    def delay_ms(self, near: Endpoint, now: float) -> float | None:
        """One-way delay of late, never negative: time of flight less half of both switches' round trips; None when not measured."""
        direction = self._directions.get(near)
        if direction is None:
            return None
        age = max(SAMPLE_AGE_S, 4 * self.idle_interval_s)
        flights = [seconds for arrival, seconds in direction.samples if now - arrival < age]
        trips = [self.channels.round_trip_s(dpid, now) for dpid in (near[0], direction.far[0])]
        if len(flights) < LEAST_SAMPLES or None in trips:
            return None
        return 1000 * max(0.0, midmean(flights) - sum(trip for trip in trips if trip is not None) / 2)
