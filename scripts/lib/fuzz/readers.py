"""Everything that reads octets nobody vouches for, by name: each takes one input and must come back."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable

from apps import about, codec
from apps.fast_lane import FastLane
from apps.openflow import framework_parser
from apps.wellformed import NEEDED, describes_ports, fault_of
from controller import agent_check, icmp, neighbours
from controller.core import Core
from controller.decisions import Announce, Persist, ReadSwitch
from controller.events import FlowCounted, MeterCounted, PacketSeen, PortCounted, QueueCounted, SwitchRefused, Tick
from controller.flows import purpose_of
from controller.frames import prohibited, read_addresses, read_arp, read_lldp
from controller.pcap import CaptureError, analyse
from controller.probe_frames import read_probe
from controller.segments import is_reset, read_ip_segment, read_segment
from fuzz.corpus import Corpus

Reader = Callable[[bytes], object]
_KEY = bytes(32)
STEP_S = 0.0002
"""How much later each message of a switch comes: as a flood, so that resets are added up too."""
PACKET_IN_BYTES = 24
"""Shorter ones end their connection before anybody reads them (`apps.wellformed`)."""


def readers(corpus: Corpus) -> dict[str, tuple[float, list[bytes], Reader]]:
    """By name: how large a share of all inputs, what they are made from, and who reads them."""
    switch = Switch(corpus.core, corpus.now)
    return {
        "frames": (0.35, corpus.frames, frame),
        "packet-ins": (0.30, corpus.packet_ins, switch.packet_in),
        "statistics": (0.15, corpus.replies, switch.statistics),
        "handshakes": (0.10, corpus.handshakes, handshake),
        "agents": (0.08, corpus.agents, agent),
        "captures": (0.02, corpus.captures, capture),
    }


def frame(octets: bytes) -> None:
    """As a host sent it."""
    read_segment(octets)
    read_ip_segment(octets)
    is_reset(octets)
    read_arp(octets)
    neighbours.read(octets)
    assert read_lldp(_KEY, octets) is None
    assert read_probe(_KEY, octets) is None
    read_addresses(octets)
    prohibited(octets, 1)
    icmp.protocol(octets)


def handshake(octets: bytes) -> None:
    """As a peer sent it: judged, and what passes gets through the framework's parser without an error."""
    if len(octets) < 8:
        return
    octets = octets[:2] + len(octets).to_bytes(2, "big") + octets[4:]
    if fault_of(octets) is None and (octets[1] in NEEDED or describes_ports(octets)):
        framework_parser(octets)


def agent(octets: bytes) -> None:
    """As a member's agent said it."""
    agent_check.parse(octets, agent_check.NEVER_SPOKE)


def capture(octets: bytes) -> None:
    """As a file that somebody was sent."""
    try:
        for _ in analyse(io.BytesIO(octets)):
            pass
    except CaptureError:
        pass


class Switch:
    """A switch that says anything to a core that knows it."""

    def __init__(self, core: Core, now: float) -> None:
        self._core = core
        self._now = now
        self._dpids = sorted(core.topology.switches)
        self._lane = FastLane(core.bulk, lambda: self._now)
        self._turn = 0
        self.decided: Counter[str] = Counter()

    def packet_in(self, octets: bytes) -> None:
        """A packet-in, first to who adds up what comes in bulk."""
        if len(octets) < PACKET_IN_BYTES:
            return
        self._lane.look_at_clock()
        if self._lane.takes(self._dpid(), bytearray(octets), 0, len(octets)):
            return
        read = codec.decode_packet_in(octets)
        purpose = purpose_of(read[1]) if read else None
        if read and purpose is not None:
            self._tell(PacketSeen(self._dpid(), purpose, read[2], read[3], read[1]))

    def statistics(self, octets: bytes) -> None:
        """A reply, taken for each of those that it may be."""
        body, dpid = octets[16:], self._dpid()
        flows = list(codec.decode_flow_counters(body))
        self._tell(
            FlowCounted(
                dpid,
                flows[0][0] if flows else 0,
                {flow[1]: flow[2] for flow in flows},
                {flow[1]: flow[3] for flow in flows},
            )
        )
        self._tell(PortCounted(dpid, dict(codec.decode_port_counters(body))))
        self._tell(QueueCounted(dpid, dict(codec.decode_queue_drops(body))))
        self._tell(MeterCounted(dpid, dict(codec.decode_meter_drops(body))))
        list(codec.decode_groups(body))
        list(codec.decode_meters(body))
        for xid in about.XIDS:
            about.About().take(xid, octets)
        if len(octets) >= 12:
            self._tell(SwitchRefused(dpid, int.from_bytes(octets[8:10]), int.from_bytes(octets[10:12]), octets[12:]))

    def _dpid(self) -> int:
        self._turn += 1
        self._now += STEP_S
        return self._dpids[self._turn % len(self._dpids)]

    def _tell(self, event: object) -> None:
        decisions = self._core.handle(event, self._now)  # type: ignore[arg-type]
        if (deadline := self._core.next_deadline(self._now)) is not None and deadline <= self._now:
            decisions = decisions + self._core.handle(Tick(), self._now)
        for decision in decisions:
            if not isinstance(decision, Announce | Persist | ReadSwitch):
                codec.encode(decision)
