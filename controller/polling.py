"""Port and queue counters to rates: what each port carries and what its queues drop.

A switch is asked for all its ports at once: often while something happens on one of them, seldom otherwise, and never faster than
`PORTS_PER_S` over the whole fabric. Totals never go down: a counter that restarts adds what it has counted since.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

from controller.decisions import Decision, RequestPortCounters, RequestQueueCounters
from controller.events import PortCounted, PortCounters, QueueCounted
from controller.schedule import Schedule
from controller.topology import Endpoint, Topology

IDLE_INTERVAL_S = 2.0
FAST_INTERVAL_S = 0.5
PORTS_PER_S = 1000.0
"""Ports reported per second, by idle switches and by busy ones each."""
BUSY_S = 5.0
ANSWER_S = 5.0
RATE_WINDOW_S = 1.5
"""Time constant of the decayed rates: a link that fills is seen as 90 % full after 3.5 s."""


@dataclass(slots=True)
class Rate:
    """A counter's total, its decayed rate and its rate between the last two readings (1/s); None before there are two."""

    total: int
    last: int
    per_s: float | None = None
    newest_per_s: float | None = None

    def take(self, count: int, elapsed_s: float) -> None:
        """The counter's next reading, so long after the last."""
        gained = count - self.last if count >= self.last else count
        self.last = count
        self.total += gained
        self.newest_per_s = gained / elapsed_s
        if self.per_s is None:
            self.per_s = self.newest_per_s
        else:
            self.per_s += (1 - exp(-elapsed_s / RATE_WINDOW_S)) * (self.newest_per_s - self.per_s)


def _take(rate: Rate | None, count: int | None, elapsed_s: float | None) -> Rate | None:
    """The rate with a reading taken in; None for a counter the switch does not have."""
    if count is None:
        return None
    if rate is None:
        return Rate(count, count)
    if elapsed_s is None:
        return Rate(rate.total + count, count)
    rate.take(count, elapsed_s)
    return rate


@dataclass(slots=True)
class PortReading:
    """What is known of one port. `queue_drops` is None while the port has no queue, then `drops` counts."""

    counted_at: float = float("-inf")
    duration_s: float | None = None
    sent: Rate | None = None
    received: Rate | None = None
    drops: Rate | None = None
    queue_drops: Rate | None = None
    queues_counted_at: float = float("-inf")

    def take(self, counters: PortCounters, now: float) -> None:
        """Port statistics. Time is the switch's own where it tells, so the way to the controller does not blur a rate."""
        both = counters.duration_s is not None and self.duration_s is not None
        gap = counters.duration_s - self.duration_s if both else now - self.counted_at  # type: ignore[operator]
        # Not positive: the switch restarted, or the port is a new one of the same number.
        elapsed = gap if gap > 0 else None
        self.sent = _take(self.sent, counters.tx_bytes, elapsed)
        self.received = _take(self.received, counters.rx_bytes, elapsed)
        self.drops = _take(self.drops, counters.tx_dropped, elapsed)
        self.counted_at, self.duration_s = now, counters.duration_s

    def take_queues(self, dropped: int | None, now: float) -> None:
        """Queue statistics: dropped packets over all queues of the port, None without any."""
        self.queue_drops = _take(self.queue_drops, dropped, max(now - self.queues_counted_at, 1e-3))
        self.queues_counted_at = now


@dataclass(slots=True)
class _Polled:
    ports: dict[int, PortReading] = field(default_factory=dict)
    asked_at: float = float("-inf")
    answered: bool = True
    busy_until: float = float("-inf")


class Poller:
    """Asks switches for counters and keeps what they say."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._switches: dict[int, _Polled] = {}
        self._turns: Schedule[int] = Schedule()
        self._port_count = 0

    def follow_topology(self, now: float) -> None:
        """Take up new switches; forget ports that are gone."""
        for dpid, switch in self.topology.switches.items():
            polled = self._switches.setdefault(dpid, _Polled())
            for number in [number for number in polled.ports if number not in switch.ports]:
                del polled.ports[number]
            if dpid not in self._turns:
                self._turns.set(dpid, now)
        self._port_count = sum(len(switch.ports) for switch in self.topology.switches.values())

    def on_tick(self, now: float) -> list[Decision]:
        """Ask the switches whose turn it is."""
        due = self._turns.pop_due(now)
        return [decision for dpid in due for decision in self._ask(dpid, now)]

    def next_deadline(self) -> float:
        """When `on_tick` has something to do next."""
        return self._turns.next()

    def _ask(self, dpid: int, now: float) -> list[Decision]:
        polled = self._switches[dpid]
        self._turns.set(dpid, now + self._interval_s(polled, now))
        unanswered = not polled.answered and now - polled.asked_at < ANSWER_S
        if unanswered or not self.topology.switches[dpid].connected:
            return []
        polled.asked_at, polled.answered = now, False
        return [RequestPortCounters(dpid), RequestQueueCounters(dpid)]

    def _interval_s(self, polled: _Polled, now: float) -> float:
        if now >= polled.busy_until:
            return self.idle_interval_s
        busy = sum(len(other.ports) for other in self._switches.values() if now < other.busy_until)
        return max(FAST_INTERVAL_S, busy / PORTS_PER_S)

    @property
    def idle_interval_s(self) -> float:
        """Between two questions to a switch where nothing happens."""
        return max(IDLE_INTERVAL_S, self._port_count / PORTS_PER_S)

    def busy(self, dpid: int, now: float) -> None:
        """Something happens at this switch: ask it often for a while."""
        polled = self._switches.get(dpid)
        if polled is None:
            return
        if now >= polled.busy_until and dpid in self._turns:
            self._turns.set(dpid, now + FAST_INTERVAL_S)
        polled.busy_until = now + BUSY_S

    def on_ports(self, event: PortCounted, now: float) -> None:
        """A switch's port statistics."""
        polled = self._switches.get(event.dpid)
        if polled is None:
            return
        polled.answered = True
        known = self.topology.switches[event.dpid].ports
        for number, counters in event.ports.items():
            if number in known:
                polled.ports.setdefault(number, PortReading()).take(counters, now)

    def on_queues(self, event: QueueCounted, now: float) -> None:
        """A switch's queue statistics: a port that is not named has no queue."""
        polled = self._switches.get(event.dpid)
        if polled is not None:
            for number, reading in polled.ports.items():
                reading.take_queues(event.dropped.get(number), now)

    def drops(self, endpoint: Endpoint, now: float) -> Rate | None:
        """Packets dropped for want of room: by the port's queues, or by the port where it has none; None when not heard of lately."""
        reading = self.reading(endpoint, now)
        if reading is None or reading.queue_drops is None:
            return reading.drops if reading else None
        return reading.queue_drops if now - reading.queues_counted_at <= 3 * self.idle_interval_s else None

    def reading(self, endpoint: Endpoint, now: float) -> PortReading | None:
        """What is known of a port; None when nothing was heard of it lately."""
        polled = self._switches.get(endpoint[0])
        reading = polled.ports.get(endpoint[1]) if polled else None
        stale = reading is None or now - reading.counted_at > 3 * self.idle_interval_s
        return None if stale else reading
