"""A switch: Open vSwitch 3.1 with its userspace datapath, as far as the decisions of the controller can tell it apart."""

from __future__ import annotations

from collections.abc import Iterable

from controller.decisions import (
    Barrier,
    FlushConnection,
    InstallFlow,
    RemoveFlow,
    RemoveGroup,
    RemoveMeter,
    RequestCounters,
    RequestMeterCounters,
    SendPacket,
    SetGroup,
    SetMeter,
    SwitchDecision,
)
from controller.flows import ToGroup
from topologies.model.acceptance import (
    LAST_PORT,
    OFPP_ANY,
    OFPP_CONTROLLER,
    OFPP_LOCAL,
    Present,
    check_actions,
    check_entry,
)
from topologies.model.effects import BarrierReply, Effect, ErrorReply, FlowCounters, MeterCounters
from topologies.model.errors import OpenFlowError
from topologies.model.execution import Pass
from topologies.model.fields import FIELDS
from topologies.model.flow_table import FlowTable, Installed
from topologies.model.groups import Group, Selection, check_group
from topologies.model.meters import Meter
from topologies.model.packet import Packet
from topologies.model.tracker import Tracker

ALL_TABLES = 0xFF


class FakeSwitch:
    """Tables, groups, meters and a connection tracker of its own.

    `warnings`: what a switch accepts although its author can hardly have meant it. `group_lag_s`: how long packets still meet
    the former state of a group that was changed (Open vSwitch revalidates its datapath flows for some milliseconds).
    """

    def __init__(
        self, dpid: int, ports: Iterable[int], *, selection: Selection = "dp_hash", group_lag_s: float = 0.0
    ) -> None:
        self.dpid = dpid
        self.ports = dict.fromkeys(ports, True)
        """Port number to whether its link is up."""
        self.warnings: list[str] = []
        self._selection, self._group_lag_s = selection, group_lag_s
        self.restart()

    def restart(self) -> None:
        """Loses everything that the process holds: entries, groups, meters, connections. Ports stay."""
        self.tables: dict[int, FlowTable] = {}
        self.meters: dict[int, Meter] = {}
        self.tracker = Tracker()
        self._groups: dict[int, Group] = {}
        self._former_groups: dict[int, tuple[float, Group | None]] = {}
        self._forget_live_ports()

    def set_port(self, port: int, up: bool) -> None:
        """Says that the link at a port came up or went down."""
        self.ports[port] = up
        self._forget_live_ports()

    def _forget_live_ports(self) -> None:
        self.live_ports = frozenset(port for port, up in self.ports.items() if up)

    def warn(self, text: str) -> None:
        """Notes something for the author of the entries, once."""
        text = f"switch {self.dpid:#x}: {text}"
        if text not in self.warnings:
            self.warnings.append(text)

    def receive(self, frame: bytes, in_port: int, now: float) -> list[Effect]:
        """A frame comes in at a port."""
        effects: list[Effect] = []
        if in_port in self.live_ports:
            Pass(self, now, effects).run(Packet.from_bytes(frame, in_port), 0)
        return effects

    def handle(self, decision: SwitchDecision, now: float) -> list[Effect]:
        """Does what the controller says; a refusal is an `ErrorReply`."""
        try:
            return self._do(decision, now)
        except OpenFlowError as error:
            return [ErrorReply(error, decision)]

    def _do(self, decision: SwitchDecision, now: float) -> list[Effect]:
        match decision:
            case InstallFlow():
                self._install(decision, now)
            case RemoveFlow():
                self._remove_flows(decision)
            case SetGroup():
                self._set_group(decision, now)
            case RemoveGroup():
                self._remove_group(decision.group_id)
            case SetMeter():
                self._set_meter(decision, now)
            case RemoveMeter():
                self._remove_meter(decision.meter_id)
            case FlushConnection():
                self.tracker.flush(decision.zone, decision.connection, now)
            case SendPacket():
                return self._send(decision, now)
            case Barrier():
                return [BarrierReply(decision.token)]
            case RequestCounters():
                return [self._counters(decision.table_id, now)]
            case RequestMeterCounters():
                return [MeterCounters({meter_id: meter.dropped for meter_id, meter in self.meters.items()})]
        return []

    @property
    def _present(self) -> Present:
        return Present(self._groups, self.meters)

    def _install(self, decision: InstallFlow, now: float) -> None:
        for warning in check_entry(decision.entry, self._present):
            self.warn(warning)
        self.tables.setdefault(decision.entry.table_id, FlowTable()).add(Installed.of(decision.entry, now))

    def _remove_flows(self, decision: RemoveFlow) -> None:
        for table_id, table in self.tables.items():
            if decision.table_id in {table_id, ALL_TABLES}:
                table.remove(lambda entry: not (entry.cookie ^ decision.cookie) & decision.cookie_mask)

    def _set_group(self, decision: SetGroup, now: float) -> None:
        group_id = decision.entry.group_id
        if decision.exists != (group_id in self._groups):
            name = "OFPGMFC_UNKNOWN_GROUP" if decision.exists else "OFPGMFC_GROUP_EXISTS"
            raise OpenFlowError(name, f"group {group_id}")
        for warning in check_group(decision.entry):
            self.warn(warning)
        if self._group_lag_s and decision.exists:
            self._former_groups[group_id] = now + self._group_lag_s, self.group(group_id, now)
        self._groups[group_id] = Group(decision.entry, self._selection)

    def _remove_group(self, group_id: int) -> None:
        self._groups.pop(group_id, None)
        self._former_groups.pop(group_id, None)
        for table in self.tables.values():
            table.remove(lambda entry: ToGroup(group_id) in entry.actions)

    def _set_meter(self, decision: SetMeter, now: float) -> None:
        meter = decision.entry
        if decision.exists != (meter.meter_id in self.meters):
            name = "OFPMMFC_UNKNOWN_METER" if decision.exists else "OFPMMFC_METER_EXISTS"
            raise OpenFlowError(name, f"meter {meter.meter_id}")
        if meter.rate_pps <= 0:
            raise OpenFlowError("OFPMMFC_BAD_RATE", f"meter {meter.meter_id}")
        self.meters[meter.meter_id] = Meter(meter, now)

    def _remove_meter(self, meter_id: int) -> None:
        self.meters.pop(meter_id, None)
        for table in self.tables.values():
            table.remove(lambda entry: entry.meter_id == meter_id)

    def _send(self, decision: SendPacket, now: float) -> list[Effect]:
        if decision.in_port > LAST_PORT and decision.in_port not in {OFPP_CONTROLLER, OFPP_LOCAL, OFPP_ANY}:
            raise OpenFlowError("OFPBRC_BAD_PORT", f"packet-out from port {decision.in_port:#x}")
        packet = Packet.from_bytes(decision.frame, decision.in_port)
        exact = {name: (value, FIELDS[name].full) for name, value in packet.flow().items()}
        for warning in check_actions(decision.actions, exact, self._present):
            self.warn(f"packet-out: {warning}")
        effects: list[Effect] = []
        Pass(self, now, effects).run_actions(packet, decision.actions)
        return effects

    def _counters(self, table_id: int, now: float) -> FlowCounters:
        table = self.tables.get(table_id, FlowTable())
        table.remove(lambda entry: entry.expired(now))
        packets: dict[int, int] = {}
        octets: dict[int, int] = {}
        for entry in table:
            packets[entry.cookie] = packets.get(entry.cookie, 0) + entry.packets
            octets[entry.cookie] = octets.get(entry.cookie, 0) + entry.octets
        return FlowCounters(table_id, packets, octets)

    def installed(self, now: float) -> list[Installed]:
        """Every live entry of every table."""
        return [entry for table in self.tables.values() for entry in table if not entry.expired(now)]

    @property
    def group_ids(self) -> frozenset[int]:
        """The groups there are."""
        return frozenset(self._groups)

    def group(self, group_id: int, now: float) -> Group | None:
        """The group as packets meet it."""
        until, former = self._former_groups.get(group_id, (now, None))
        return former if now < until else self._groups.get(group_id)

    def look_up(self, table_id: int, packet: Packet, now: float) -> Installed | None:
        """The entry that fits a packet best, counted; None on a table miss, which drops (OpenFlow 1.3.5 §5.4)."""
        table = self.tables.get(table_id)
        found = table.look_up(packet.flow(), now) if table else []
        if not found:
            return None
        for other in found[1:]:
            if not found[0].does_the_same(other):
                self.warn(
                    f"table {table_id} priority {other.priority}: both {found[0].match} and {other.match} fit one packet"
                )
        found[0].packets += 1
        found[0].octets += len(packet.payload) + 14
        found[0].used = now
        return found[0]

    def learn(self, entry: Installed) -> None:
        """Adds what an action learned, or takes note that it was learned again (as OFPFC_MODIFY_STRICT)."""
        table = self.tables.setdefault(entry.table_id, FlowTable())
        old = table.same(entry)
        if old is None or not (old.does_the_same(entry) and old.cookie == entry.cookie):
            table.add(entry)
        old = table.same(entry)
        if old is not None:
            old.modified = entry.modified
