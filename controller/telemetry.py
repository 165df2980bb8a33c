"""What is known of every link and every host's port, and which of them are congested (docs/telemetry.md).

Counters come from `polling.py`, loss and delay from `probing.py`. Unknown is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.congestion import Congestion
from controller.decisions import Announce, Decision
from controller.events import PacketSeen, PortCounted, QueueCounted
from controller.hosts import endpoint_of, place_name
from controller.policy import Links, Policy
from controller.polling import Poller, PortReading, Rate
from controller.probing import Prober
from controller.topology import Endpoint, Topology

_BUILT_IN_BPS = Links().default_capacity_bps
BUSY_UTILISATION = 0.5
SUSPECT_UTILISATION = 0.8
SLOW_QUEUE_MS = 2.0
LOWEST_LEARNING = 1e-4
"""Per look: a delay that only rises is believed to be the usual one after hours."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """One direction of a link, or (`far` None) a host's port with both: `near` is the port that sends.

    Utilisation and loss are shares (0 to 1), None where nobody measured; `drops` is a total, `since` on the core's clock.
    """

    near: Endpoint
    far: Endpoint | None
    capacity_bps: int
    throughput_bps: float | None = None
    received_bps: float | None = None
    utilisation: float | None = None
    received_utilisation: float | None = None
    sent_bytes: int | None = None
    received_bytes: int | None = None
    drops: int | None = None
    drops_per_s: float | None = None
    drops_newest_per_s: float | None = None
    """Between the last two readings, where `drops_per_s` is of late."""
    loss: float | None = None
    loss_at_least: float | None = None
    delay_ms: float | None = None
    queue_ms: float | None = None
    """What the delay is above the lowest it has been: what waits in queues."""
    congested: bool = False
    reasons: tuple[str, ...] = ()
    since: float | None = None


class Telemetry:
    """Measures the fabric and says what is congested."""

    def __init__(self, topology: Topology, key: bytes) -> None:
        self.topology = topology
        self.poller = Poller(topology)
        self.prober = Prober(topology, key, self.capacity_bps)
        self._congestion = Congestion()
        self._changed = True
        self._lowest_ms: dict[Endpoint, float] = {}
        self._may_be_pressed: set[Endpoint] = set()
        self.apply(Policy())

    # --- questions -------------------------------------------------------------------------------------------------------------

    def link(self, near: Endpoint, now: float) -> LinkState:
        """One direction of a link, named by the port that sends; where no switch is behind it, as `port`."""
        return self._state(near, self.topology.links.get(near), now)

    def port(self, endpoint: Endpoint, now: float) -> LinkState:
        """A host's port: what the switch sends there, and (`received_…`) what the host sends."""
        return self._state(endpoint, None, now)

    def congested(self) -> list[Endpoint]:
        """The ports that send into congestion (a host's port: in either direction), in order."""
        return self._congestion.congested()

    def may_be_pressed(self) -> set[Endpoint]:
        """The links that were rather full, slow or lossy when last heard of, by the port that sends."""
        return self._may_be_pressed

    def suspect(self, near: Endpoint, now: float) -> None:
        """Look closely at this direction for a while: something else speaks against it."""
        self.prober.suspect(near, now)
        self.poller.busy(near[0], now)

    def channel_ms(self, dpid: int, now: float) -> float | None:
        """The round trip between the controller and a switch; None when not measured."""
        seconds = self.prober.channels.round_trip_s(dpid, now)
        return None if seconds is None else 1000 * seconds

    def capacity_bps(self, near: Endpoint) -> int:
        """What the policy says of this link, else its stated default, else the port's speed.

        A default other than the built-in one is the operator's word, which counts more than the speed of a virtual port.
        """
        stated = self._capacities.get((near, self.topology.links.get(near)))
        if stated is not None:
            return stated
        switch = self.topology.switches.get(near[0])
        port = switch.ports.get(near[1]) if switch else None
        if self._default_bps != _BUILT_IN_BPS or port is None or not port.speed_bps:
            return self._default_bps
        return port.speed_bps

    # --- facts -----------------------------------------------------------------------------------------------------------------

    def apply(self, policy: Policy) -> None:
        """Take over the capacities the policy states."""
        self._default_bps = policy.links.default_capacity_bps
        self._capacities: dict[tuple[Endpoint, Endpoint | None], int] = {
            (endpoint_of(link.src), endpoint_of(link.dst)): link.capacity_bps for link in policy.links.capacities
        }

    def topology_changed(self) -> None:
        """Switches, ports or links came or went."""
        self._changed = True

    def on_ports(self, event: PortCounted, now: float) -> list[Decision]:
        """A switch's port statistics."""
        self.poller.on_ports(event, now)
        return self._judge([(event.dpid, number) for number in event.ports], now)

    def on_queues(self, event: QueueCounted, now: float) -> list[Decision]:
        """A switch's queue statistics."""
        self.poller.on_queues(event, now)
        return self._judge([(event.dpid, number) for number in event.dropped], now)

    def on_probe(self, event: PacketSeen, now: float) -> list[Decision]:
        """A probe of ours came in somewhere."""
        self.prober.on_probe(event.dpid, event.fields.get("in_port", 0), event.frame, now)
        return []

    def on_tick(self, now: float) -> list[Decision]:
        """Questions and probes that are due, and what lost probes tell."""
        if self._changed:
            self._changed = False
            self.poller.follow_topology(now)
            self.prober.follow_topology(now)
            self._congestion.keep_only(self._ports())
            self._may_be_pressed.intersection_update(self.topology.links)
            self._lowest_ms = {near: lowest for near, lowest in self._lowest_ms.items() if near in self.topology.links}
        decisions = self.poller.on_tick(now) + self.prober.on_tick(now)
        settled, self.prober.settled = self.prober.settled, set()
        decisions += [_announce(self.link(near, now)) for near in self._congestion.forget_unknown(now)]
        return decisions + self._judge(sorted(settled), now)

    def next_deadline(self, now: float) -> float:
        """When `on_tick` has something to do next."""
        return now if self._changed else min(self.poller.next_deadline(), self.prober.next_deadline())

    def _ports(self) -> set[Endpoint]:
        return {(dpid, number) for dpid, switch in self.topology.switches.items() for number in switch.ports}

    # --- judgement -------------------------------------------------------------------------------------------------------------

    def _judge(self, endpoints: list[Endpoint], now: float) -> list[Decision]:
        decisions: list[Decision] = []
        for near in endpoints:
            state = self.link(near, now)
            used = [share for share in (state.utilisation, state.received_utilisation) if share is not None]
            if max(used, default=0.0) >= BUSY_UTILISATION or state.drops_per_s or state.congested:
                self.poller.busy(near[0], now)
            if state.far and ((state.utilisation or 0.0) >= SUSPECT_UTILISATION or (state.drops_per_s or 0.0) >= 1):
                self.prober.suspect(near, now)
            if state.far:
                self._note_pressure(near, state)
            if self._congestion.judge(state, now):
                decisions.append(_announce(self.link(near, now)))
        return decisions

    def _note_pressure(self, near: Endpoint, state: LinkState) -> None:
        slow = state.queue_ms is not None and state.queue_ms >= SLOW_QUEUE_MS
        full = (state.utilisation or 0.0) >= BUSY_UTILISATION
        if full or slow or state.drops_per_s or (state.loss or 0.0) > 0:
            self._may_be_pressed.add(near)
        else:
            self._may_be_pressed.discard(near)
        if state.delay_ms is not None:
            lowest = self._lowest_ms.get(near, state.delay_ms)
            # A way that became longer for good is the usual one some day.
            self._lowest_ms[near] = min(state.delay_ms, lowest + LOWEST_LEARNING * (state.delay_ms - lowest))

    def _queue_ms(self, near: Endpoint, delay_ms: float | None) -> float | None:
        lowest = self._lowest_ms.get(near)
        return None if delay_ms is None or lowest is None else max(0.0, delay_ms - lowest)

    def _state(self, near: Endpoint, far: Endpoint | None, now: float) -> LinkState:
        capacity = self.capacity_bps(near)
        reading = self.poller.reading(near, now) or PortReading()
        drops = self.poller.drops(near, now)
        loss = self.prober.loss(near, now)
        verdict = self._congestion.verdict(near)
        sent, received = _per_s(reading.sent), _per_s(reading.received)
        delay_ms = self.prober.delay_ms(near, now)
        return LinkState(
            near, far, capacity,
            throughput_bps=_bits(sent), received_bps=_bits(received),
            utilisation=_share(sent, capacity), received_utilisation=_share(received, capacity),
            sent_bytes=_total(reading.sent), received_bytes=_total(reading.received),
            drops=_total(drops), drops_per_s=_per_s(drops),
            drops_newest_per_s=drops.newest_per_s if drops else None,
            loss=loss.share if loss else None, loss_at_least=loss.at_least if loss else None,
            delay_ms=delay_ms, queue_ms=self._queue_ms(near, delay_ms),
            congested=verdict.congested, reasons=verdict.reasons, since=verdict.since,
        )  # fmt: skip


def _total(rate: Rate | None) -> int | None:
    return rate.total if rate else None


def _per_s(rate: Rate | None) -> float | None:
    return rate.per_s if rate else None


def _bits(bytes_per_s: float | None) -> float | None:
    return None if bytes_per_s is None else 8 * bytes_per_s


def _share(bytes_per_s: float | None, capacity_bps: int) -> float | None:
    return None if bytes_per_s is None else 8 * bytes_per_s / capacity_bps


def _announce(state: LinkState) -> Announce:
    near = place_name(state.near)
    far = place_name(state.far) if state.far else "its hosts"
    said = f"is congested: {', '.join(state.reasons)}" if state.congested else "is no longer congested"
    fields: dict[str, object] = {"src": near, "dst": far, "congested": state.congested, "reasons": list(state.reasons)}
    return Announce("link", f"link {near} to {far} {said}", fields)
