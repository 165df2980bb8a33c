"""Feeds the core and carries out what it decides: events in, messages and records out. Everything runs on one hub."""

from __future__ import annotations

import logging
import os
import pickle  # nosec B403 # written, never read here
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eventlet
from eventlet import tpool

from apps import about, codec
from apps.codec import OUR_XID
from apps.courier import Courier
from apps.instruments import Instruments
from apps.openflow import TYPE_BARRIER_REPLY, TYPE_ERROR, TYPE_PACKET_IN, hub
from controller import decisions as do
from controller.api.stream import EventRing
from controller.api.times import rfc3339
from controller.core import Core
from controller.diagnosis.acts import incident_of
from controller.diagnosis.report import document as incident_document
from controller.events import (
    BarrierReplied,
    Event,
    FlowCounted,
    MeterCounted,
    PacketSeen,
    PortCounted,
    QueueCounted,
    ResetsSummed,
    SwitchRefused,
    Tick,
)
from controller.flows import purpose_of
from controller.notices import TOLD, Notice
from controller.store import Store, StoreError

if TYPE_CHECKING:
    from apps.cluster import Cluster
    from apps.cluster_news import ClusterNews

log = logging.getLogger("resetlb")

SHORTEST_SLEEP_S = 0.002
WRITE_AGAIN_S = 5.0
LAST_WRITE_S = 1.0
WOKEN_AT_ONCE = 20
SUMMED_EVERY_S, SUMS_AT_ONCE = 0.1, 64
_COUNT_XID = OUR_XID | 0x00C00000
_PORTS_XID, _QUEUES_XID = OUR_XID | 0x00D00000, OUR_XID | 0x00D10000

_METERS_XID = OUR_XID | 0x00D20000
_OPTIONAL = {_PORTS_XID, _QUEUES_XID, _METERS_XID, *about.XIDS}
"""Requests that a switch may refuse."""

_REQUESTS: dict[type, Callable[[Any], bytes]] = {
    do.RequestCounters: lambda decision: codec.request_flows(decision.table_id, _COUNT_XID | decision.table_id),
    do.RequestPortCounters: lambda _: codec.request_port_counters(_PORTS_XID),
    do.RequestQueueCounters: lambda _: codec.request_queue_counters(_QUEUES_XID),
    do.RequestMeterCounters: lambda _: codec.request_meter_counters(_METERS_XID),
}
"""Questions carry the xid that their answer is known by."""


class Runtime:
    """One core, its switches, its store and its clock."""

    def __init__(self, core: Core, records: Store, ring: EventRing) -> None:
        """Make a runtime. `records` is a connection to the store of its own: a thread writes on it."""
        self.core = core
        self.cluster: Cluster | None = None
        """Other controllers of the same fabric; None: there are none."""
        self.news: ClusterNews | None = None
        """What is told to them and heard of them."""
        self.begun: Callable[[Core], None] = lambda _: None
        """Told of a core that follows another one."""
        self.datapaths: dict[int, Any] = {}
        """Connections of the switches that are ours."""
        self.ring = ring
        self.instruments = Instruments()
        self.couriers: list[Courier] = []
        """Whom incidents and actions are told."""
        self._records = records
        # The wall clock at the start, then steady: a clock that is set back must not stretch a deadline.
        self._epoch = time.time() - time.monotonic()
        self._asleep = eventlet.event.Event()
        self._unwritten: list[tuple[str, str, object | None]] = []
        self.unsaved: str | None = None
        """Why records wait to be written, None when all is well."""
        self._to_write = eventlet.event.Event()
        self._announced = eventlet.event.Event()
        self._readers: dict[Any, None] = {}
        """Those who wait for the next announcement, in the order they came."""
        self._counting: dict[int, FlowCounted] = {}
        self._counting_ports: dict[int, PortCounted] = {}
        self._counting_queues: dict[int, QueueCounted] = {}
        self._counting_meters: dict[int, MeterCounted] = {}
        path = os.environ.get("RESETLB_RECORD")
        # The flight recorder: every event with its time, so a run can be decided again offline (`scripts/fit`).
        self._recorder = Path(path).open("wb") if path else None  # noqa: SIM115 - open as long as the process

    def now(self) -> float:
        """Seconds since the epoch on a clock that never steps."""
        return self._epoch + time.monotonic()

    def begin(self, core: Core) -> None:
        """Go on with another core: what the one before knew is void. No switch is ours at this moment."""
        self.core = core
        self.begun(core)
        for counting in (self._counting, self._counting_ports, self._counting_queues, self._counting_meters):
            counting.clear()
        _signal(self._asleep)

    def forget_unwritten(self) -> None:
        """What waits to be recorded is no longer ours to say."""
        self._unwritten.clear()

    def start(self) -> None:
        """Start the timer and the writer."""
        hub.spawn(self._tick_forever)
        hub.spawn(self._write_forever)
        hub.spawn(self._wake_readers_forever)
        hub.spawn(self._hand_over_sums_forever)
        for courier in self.couriers:
            courier.start()

    # --- events in -------------------------------------------------------------------------------------------------------------

    def submit(self, event: Event, asked: bool = False) -> None:
        """Hand a fact to the core and carry out what follows; `asked`: an operator's. Does not yield."""
        now = self.now()
        if self._recorder is not None:
            pickle.dump((now, event), self._recorder)
        began = time.perf_counter()
        decisions = self.core.handle(event, now)
        self.instruments.handled_in(type(event), time.perf_counter() - began)
        if decisions:
            self._apply(decisions, asked)
            _signal(self._asleep)

    def carry_out(self, decisions: list[do.Decision]) -> None:
        """Carry out what an operator's command led to, and bring the switches up to date."""
        self._apply(decisions, asked=True)
        self.submit(Tick())

    def on_message(self, datapath: Any, kind: int, xid: int, message: bytes) -> None:
        """A message of ours, as bytes."""
        dpid = datapath.id
        if self.cluster is not None and not self.cluster.takes(datapath, xid, message):
            return
        if kind == TYPE_PACKET_IN:
            packet_in = codec.decode_packet_in(message)
            purpose = purpose_of(packet_in[1]) if packet_in else None
            if packet_in and purpose is not None:
                self.instruments.packet_ins[purpose] += 1
                seen = PacketSeen(dpid, purpose, packet_in[2], packet_in[3], packet_in[1])
                if self.news is not None:
                    self.news.note(seen)
                self.submit(seen)
        elif kind == TYPE_BARRIER_REPLY:
            self.submit(BarrierReplied(dpid, xid & 0xFFFFFF))
        elif kind == TYPE_ERROR and xid in _OPTIONAL:
            log.debug("switch %016x does not answer request %08x", dpid, xid)
        elif kind == TYPE_ERROR:
            self.submit(
                SwitchRefused(dpid, int.from_bytes(message[8:10]), int.from_bytes(message[10:12]), message[12:])
            )
        elif xid & 0xFFFF0000 == _COUNT_XID:
            self._counted(dpid, xid & 0xFF, message)
        elif xid == _PORTS_XID:
            self._counted_ports(dpid, message)
        elif xid == _QUEUES_XID:
            self._counted_queues(dpid, message)
        elif xid == _METERS_XID:
            self._counted_meters(dpid, message)
        else:
            datapath.handshake.on_reply(message)

    def _counted(self, dpid: int, table_id: int, message: bytes) -> None:
        """Parts of a statistics reply add up until the one without the MORE flag."""
        counted = self._counting.setdefault(dpid << 8 | table_id, FlowCounted(dpid, table_id, {}))
        for _, cookie, packets, octets in codec.decode_flow_counters(message[16:]):
            counted.packets[cookie] = counted.packets.get(cookie, 0) + packets
            counted.octets[cookie] = counted.octets.get(cookie, 0) + octets
        if not codec.more_follows(message):
            del self._counting[dpid << 8 | table_id]
            self.submit(counted)

    def _counted_ports(self, dpid: int, message: bytes) -> None:
        counted = self._counting_ports.setdefault(dpid, PortCounted(dpid, {}))
        counted.ports.update(codec.decode_port_counters(message[16:]))
        if not codec.more_follows(message):
            self.submit(self._counting_ports.pop(dpid))

    def _counted_queues(self, dpid: int, message: bytes) -> None:
        counted = self._counting_queues.setdefault(dpid, QueueCounted(dpid, {}))
        for port_no, dropped in codec.decode_queue_drops(message[16:]):
            counted.dropped[port_no] = counted.dropped.get(port_no, 0) + dropped
        if not codec.more_follows(message):
            self.submit(self._counting_queues.pop(dpid))

    def _counted_meters(self, dpid: int, message: bytes) -> None:
        counted = self._counting_meters.setdefault(dpid, MeterCounted(dpid, {}))
        counted.dropped.update(codec.decode_meter_drops(message[16:]))
        if not codec.more_follows(message):
            self.submit(self._counting_meters.pop(dpid))

    def forget_replies(self, dpid: int) -> None:
        """The switch is gone: parts of replies that it had begun must not add up with those that it begins anew."""
        for counting in (self._counting_ports, self._counting_queues, self._counting_meters):
            counting.pop(dpid, None)
        for key in [key for key in self._counting if key >> 8 == dpid]:
            del self._counting[key]

    def _tick_forever(self) -> None:
        """Sleep until the core's next deadline, or until something was decided: then it may be nearer."""
        while True:
            self._asleep = eventlet.event.Event()
            with eventlet.Timeout(max(SHORTEST_SLEEP_S, self.core.next_deadline(self.now()) - self.now()), False):
                self._asleep.wait()
            hub.sleep(SHORTEST_SLEEP_S)
            if self.core.next_deadline(self.now()) > self.now():
                continue
            try:
                self.submit(Tick())
            except Exception:
                log.exception("the core failed on a tick")
                hub.sleep(1)

    def _hand_over_sums_forever(self) -> None:
        """Resets that were added up, in bites: a reaction must not wait for thousands of sums."""
        while True:
            hub.sleep(SUMMED_EVERY_S)
            sums = self.core.bulk.collect()
            if self.news is not None:
                self.news.note_sums(sums)
            for start in range(0, len(sums), SUMS_AT_ONCE):
                some = sums[start : start + SUMS_AT_ONCE]
                for added in some:
                    self.instruments.packet_ins[added.purpose] += added.connections + added.repeated
                try:
                    self.submit(ResetsSummed(tuple(some)))
                except Exception:
                    log.exception("the core failed on resets that were added up")
                hub.sleep(0)

    # --- decisions out ---------------------------------------------------------------------------------------------------------

    def _apply(self, decisions: list[do.Decision], asked: bool = False) -> None:
        # Whoever acts on the fabric keeps the records; what is decided for nobody is nobody's.
        recorded = asked or self.cluster is None or self.cluster.acts
        outgoing: dict[int, list[bytes]] = {}
        # Switches share entries: ten thousand rules are written once for all of them.
        written: dict[int, bytes] = {}
        for decision in decisions:
            if isinstance(decision, do.Persist):
                if recorded:
                    self._unwritten.append((decision.namespace, decision.key, decision.value))
            elif isinstance(decision, do.Announce):
                self.announce(decision)
            elif isinstance(decision, do.ReadSwitch):
                self._read(decision.dpid)
            elif type(decision) in _REQUESTS:
                outgoing.setdefault(decision.dpid, []).append(_REQUESTS[type(decision)](decision))
            elif isinstance(decision, do.Barrier):
                outgoing.setdefault(decision.dpid, []).append(
                    codec.encode(do.Barrier(decision.dpid, OUR_XID | decision.token))
                )
            else:
                outgoing.setdefault(decision.dpid, []).append(_written(decision, written))
        for dpid, messages in outgoing.items():
            datapath = self.datapaths.get(dpid)
            if datapath is not None and self.cluster is None:
                datapath.send(b"".join(messages))
            elif datapath is not None and self.cluster is not None:
                datapath.send(b"".join(messages), permitted=partial(self.cluster.lets_write, dpid))
        if self._unwritten:
            _signal(self._to_write)

    def _read(self, dpid: int) -> None:
        datapath = self.datapaths.get(dpid)
        if datapath is not None:
            datapath.handshake.read()

    def announce(self, announcement: do.Announce) -> None:
        """One line of the log, one event of the stream and, where it is worth it, a notice, all with the incident it belongs to."""
        now, fields = self.now(), dict(announcement.fields)
        name = incident_of(announcement, self.core.investigation.incidents)
        if name is not None:
            fields["incident"] = name
        log.info("%s", announcement.text, extra={"kind": announcement.kind, "fields": fields})
        event = self.ring.announce(announcement.kind, {"time": rfc3339(now), "text": announcement.text, **fields})
        _signal(self._announced)
        # Of several controllers the one that acts tells.
        tells = self.cluster is None or self.cluster.acts
        if self.couriers and tells and announcement.kind in TOLD:
            incident = self.core.investigation.incidents.all.get(name) if name else None
            about = None if incident is None else incident_document(incident)
            notice = Notice(event.id, now, announcement.kind, announcement.text, fields, about)
            for courier in self.couriers:
                courier.tell(notice)

    def wait_for_announcement(self, timeout_s: float) -> None:
        """Block the calling greenlet until something is announced, or so long."""
        reader = eventlet.event.Event()
        self._readers[reader] = None
        with eventlet.Timeout(timeout_s, False):
            reader.wait()
        self._readers.pop(reader, None)

    def _wake_readers_forever(self) -> None:
        """A few at a time: a thousand readers of one event must not hold up what a switch says meanwhile."""
        while True:
            self._announced.wait()
            self._announced = eventlet.event.Event()
            readers, self._readers = self._readers, {}
            for number, reader in enumerate(readers, 1):
                _signal(reader)
                if number % WOKEN_AT_ONCE == 0:
                    hub.sleep(0)

    # --- the store -------------------------------------------------------------------------------------------------------------

    def _write_forever(self) -> None:
        """Records are written in batches by a thread: the disk never delays a flow rule."""
        while True:
            self._to_write.wait()
            self._to_write = eventlet.event.Event()
            batch, self._unwritten = self._unwritten, []
            try:
                if self.cluster is not None:
                    self.cluster.publish(batch)
                tpool.execute(self._records.write, batch)
            except StoreError as error:
                self.instruments.lost_writes += 1
                self._keep(batch, str(error))
                hub.sleep(WRITE_AGAIN_S)
                _signal(self._to_write)
            else:
                if self.unsaved is not None:
                    log.info("state is saved again")
                self.unsaved = None

    def _keep(self, batch: list[tuple[str, str, object | None]], reason: str) -> None:
        """Of each record only the latest is kept for the next try: what waits is no more than what the store holds."""
        if self.unsaved is None:
            log.error(
                "state cannot be saved and would be lost by a restart; tried again every %d s: %s",
                WRITE_AGAIN_S,
                reason,
            )
        self.unsaved = reason
        latest = {(namespace, key): value for namespace, key, value in [*batch, *self._unwritten]}
        self._unwritten = [(namespace, key, value) for (namespace, key), value in latest.items()]

    def close(self) -> None:
        """Write what is left; flows stay on the switches."""
        try:
            with self._records:
                if self._unwritten and self.cluster is not None:
                    with eventlet.Timeout(LAST_WRITE_S, StoreError("the cluster's store does not answer")):
                        self.cluster.publish(self._unwritten)
                if self._unwritten:
                    self._records.write(self._unwritten)
        except StoreError as error:
            log.error("the latest state is lost: %s", error)


def _written(decision: do.SwitchDecision, known: dict[int, bytes]) -> bytes:
    """The message of a decision; `known` holds those of entries, by identity, that were written for another switch."""
    if not isinstance(decision, do.InstallFlow):
        return codec.encode(decision)
    entry = id(decision.entry)
    return known.get(entry) or known.setdefault(entry, codec.encode(decision))


def _signal(event: Any) -> None:
    if not event.ready():
        event.send()
