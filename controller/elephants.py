"""Large flows on a pressed link: found in a sample of its packets, and pinned to a way while they last (docs/adr/0012).

A way is chosen by hash, so a change of weights may move the very flow that fills a link, and the others meet it again on the next one. A
pinned flow stays where it is put: on another way, where there is room for it, else where it is, while weights move the others.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from controller import addresses
from controller.decisions import Announce, Decision
from controller.diagnosis.windows import Heavy
from controller.events import PacketSeen
from controller.hosts import place_name
from controller.pipeline import TCP, UDP
from controller.telemetry import LinkState
from controller.topology import Endpoint, Topology

WATCHED_LINKS, PINS = 8, 16
"""At most: watching costs a meter's worth of packet-ins, a pin two flow entries."""
LARGE_BYTES = 512
"""Only packets of at least this size are counted: then shares of packets are about shares of bytes."""
FEWEST_SAMPLES = 40
ELEPHANT_SHARE = 0.3
ENDED_SHARE = 0.1
WATCH_S, GONE_S = 15.0, 10.0
ROOM = 0.7
"""A flow is moved where it would use no more than this share of what is free."""


class Flow(NamedTuple):
    """One direction of a TCP or UDP flow as it crosses the fabric, addresses translated."""

    protocol: int
    src: int
    src_port: int
    dst: int
    dst_port: int


class Pin(NamedTuple):
    """A flow's way: the ports it is sent out by, from the switch of its sender on."""

    flow: Flow
    target: int
    path: tuple[Endpoint, ...]


def flow_of(frame: bytes) -> tuple[Flow, int] | None:
    """The flow of a frame and the size of its packet; None for what is not TCP or UDP right behind the IP header, or a later fragment."""
    if frame[12:14] == b"\x08\x00" and len(frame) >= 34 and frame[14] >> 4 == 4:
        size, fragment = struct.unpack_from("!H2xH", frame, 16)
        protocol, packed, ports = frame[23], (frame[26:30], frame[30:34]), 14 + max(20, (frame[14] & 0x0F) * 4)
    elif frame[12:14] == b"\x86\xdd" and len(frame) >= 54:
        size, fragment = struct.unpack_from("!H", frame, 18)[0] + 40, 0
        protocol, packed, ports = frame[20], (frame[22:38], frame[38:54]), 54
    else:
        return None
    src, dst = addresses.read(packed[0]), addresses.read(packed[1])
    if protocol not in (TCP, UDP) or fragment & 0x1FFF or src is None or dst is None or len(frame) < ports + 4:
        return None
    src_port, dst_port = struct.unpack_from("!HH", frame, ports)
    return Flow(protocol, src, src_port, dst, dst_port), size


@dataclass(slots=True)
class _Watch:
    """The sample of one link; times are the core's clock (s)."""

    until: float
    samples: int = 0
    flows: Heavy[Flow] = field(default_factory=Heavy)


@dataclass(slots=True)
class Elephants:
    """Which links are sampled, and which flows are pinned."""

    topology: Topology
    changed: bool = False
    pins: dict[Flow, Pin] = field(default_factory=dict)
    _watches: dict[Endpoint, _Watch] = field(default_factory=dict)
    _seen: dict[Flow, float] = field(default_factory=dict)

    @property
    def watched(self) -> frozenset[Endpoint]:
        """The ports where sampled links end."""
        links = self.topology.links
        return frozenset(links[near] for near in self._watches if near in links)

    def on_packet(self, event: PacketSeen, now: float) -> list[Decision]:
        """A packet of the sample, seen where a link ends."""
        near = self.topology.links.get((event.dpid, event.fields.get("in_port", 0)))
        watch = self._watches.get(near) if near else None
        found = flow_of(event.frame)
        if watch is not None and found is not None and found[1] >= LARGE_BYTES:
            watch.samples += 1
            watch.flows.add(found[0], now)
            if found[0] in self.pins and watch.flows.share(found[0], now) >= ENDED_SHARE:
                self._seen[found[0]] = now
        return []

    def on_tick(self, pressed: set[Endpoint], measured: Callable[[Endpoint], LinkState], now: float) -> list[Decision]:
        """Watch what is pressed, pin what is large, let go of what is over."""
        before = self.watched
        carrying = {near for pin in self.pins.values() for near in pin.path}
        for near in sorted(pressed | carrying):
            if near in self._watches or len(self._watches) < WATCHED_LINKS:
                self._watches.setdefault(near, _Watch(now)).until = now + WATCH_S
        for near in [near for near, watch in self._watches.items() if now >= watch.until]:
            del self._watches[near]
        self.changed |= self.watched != before
        said: list[Decision] = []
        for near in sorted(pressed & self._watches.keys()):
            said += self._pin_elephants(near, pressed, measured, now)
        return said + self._let_go(now)

    def _pin_elephants(
        self, near: Endpoint, pressed: set[Endpoint], measured: Callable[[Endpoint], LinkState], now: float
    ) -> list[Decision]:
        watch, said = self._watches[near], list[Decision]()
        if watch.samples < FEWEST_SAMPLES:
            return said
        state = measured(near)
        for flow, share in watch.flows.shares(now).items():
            if share < ELEPHANT_SHARE or flow in self.pins or len(self.pins) >= PINS:
                continue
            pin = self._place(flow, near, share * (state.throughput_bps or 0.0), pressed, measured)
            if pin is not None:
                self.pins[flow], self._seen[flow], self.changed = pin, now, True
                said.append(_announce(pin, near, share))
        return said

    def _place(
        self,
        flow: Flow,
        near: Endpoint,
        rate_bps: float,
        pressed: set[Endpoint],
        measured: Callable[[Endpoint], LinkState],
    ) -> Pin | None:
        """Another way that has room for it, else the one it is on."""
        sender, receiver = self.topology.hosts.get(flow.src), self.topology.hosts.get(flow.dst)
        if sender is None or receiver is None or sender.dpid == receiver.dpid:
            return None
        here = self._path(sender.dpid, receiver.dpid, lambda _: True, through=near)
        if here is None:
            return None

        def has_room(link: Endpoint) -> bool:
            state = measured(link)
            free_bps = state.capacity_bps - (state.throughput_bps or 0.0)
            return link not in pressed and rate_bps <= ROOM * free_bps

        elsewhere = self._path(sender.dpid, receiver.dpid, has_room)
        return Pin(flow, receiver.dpid, elsewhere or here)

    def _path(
        self, source: int, target: int, allowed: Callable[[Endpoint], bool], through: Endpoint | None = None
    ) -> tuple[Endpoint, ...] | None:
        """A shortest way over allowed links, and over `through` if that is given; None when there is none."""
        if source == target:
            return () if through is None else None
        for port_no in self.topology.next_hops(source, target):
            link = source, port_no
            if not allowed(link):
                continue
            rest = self._path(self.topology.links[link][0], target, allowed, None if link == through else through)
            if rest is not None:
                return (link, *rest)
        return None

    def _let_go(self, now: float) -> list[Decision]:
        said: list[Decision] = []
        for pin in list(self.pins.values()):
            whole = all(near in self.topology.links for near in pin.path)
            if whole and now - self._seen.get(pin.flow, now) < GONE_S:
                continue
            del self.pins[pin.flow]
            self.changed = True
            said.append(
                Announce("elephant", f"flow {_text(pin.flow)} is over: no longer pinned", {"flow": _text(pin.flow)})
            )
        self._seen = {flow: seen for flow, seen in self._seen.items() if flow in self.pins}
        return said


def _text(flow: Flow) -> str:
    ends = ((flow.src, flow.src_port), (flow.dst, flow.dst_port))
    return " to ".join(f"{addresses.text(address)} port {port}" for address, port in ends)


def _announce(pin: Pin, near: Endpoint, share: float) -> Announce:
    held = near in pin.path
    where = "stays there while others make room" if held else "moves to another way"
    name = place_name(near)
    text = f"flow {_text(pin.flow)} is {share:.0%} of link {name}: it {where}"
    return Announce("elephant", text, {"flow": _text(pin.flow), "link": name, "share": share, "moved": not held})
