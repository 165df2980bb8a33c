"""What the core wants done: imperatives for one switch, the store or the operator. Nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass

from controller.flows import Action, Connection, FlowEntry, GroupEntry, MeterEntry


@dataclass(frozen=True, slots=True)
class InstallFlow:
    """Add the entry, or replace the one with the same table, priority and match."""

    dpid: int
    entry: FlowEntry


@dataclass(frozen=True, slots=True)
class RemoveFlow:
    """Delete every entry of the table whose cookie, under the mask, is this one."""

    dpid: int
    cookie: int
    cookie_mask: int = (1 << 64) - 1
    table_id: int = 0xFF


@dataclass(frozen=True, slots=True)
class SetGroup:
    """Create or change a group; `exists` says which of the two the switch expects."""

    dpid: int
    entry: GroupEntry
    exists: bool


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """Delete a group and the entries that refer to it."""

    dpid: int
    group_id: int


@dataclass(frozen=True, slots=True)
class SetMeter:
    """Create or change a meter."""

    dpid: int
    entry: MeterEntry
    exists: bool


@dataclass(frozen=True, slots=True)
class RemoveMeter:
    """Delete a meter and the entries that refer to it."""

    dpid: int
    meter_id: int


@dataclass(frozen=True, slots=True)
class FlushConnection:
    """Forget one tracked connection in one zone (NXT_CT_FLUSH)."""

    dpid: int
    zone: int
    connection: Connection


@dataclass(frozen=True, slots=True)
class SendPacket:
    """Packet-out: run `frame` through `actions`, as if it had come in at `in_port`."""

    dpid: int
    frame: bytes
    actions: tuple[Action, ...]
    in_port: int = 0xFFFFFFFD


@dataclass(frozen=True, slots=True)
class Barrier:
    """Everything before is done when the switch answers; the answer comes back as `BarrierReplied(token)`."""

    dpid: int
    token: int


@dataclass(frozen=True, slots=True)
class ReadSwitch:
    """Ask the switch what it has; the answer comes as `SwitchRead`."""

    dpid: int


@dataclass(frozen=True, slots=True)
class RequestCounters:
    """Ask for the packet counts of the entries of one table."""

    dpid: int
    table_id: int


@dataclass(frozen=True, slots=True)
class RequestPortCounters:
    """Ask for the counters of every port."""

    dpid: int


@dataclass(frozen=True, slots=True)
class RequestQueueCounters:
    """Ask for the counters of every queue of every port."""

    dpid: int


@dataclass(frozen=True, slots=True)
class RequestMeterCounters:
    """Ask for the counters of every meter."""

    dpid: int


@dataclass(frozen=True, slots=True)
class Persist:
    """Write to the durable store; value None deletes."""

    namespace: str
    key: str
    value: object | None


@dataclass(frozen=True, slots=True)
class Announce:
    """One line of the event stream and the log: something an operator may want to see."""

    kind: str
    text: str
    fields: dict[str, object]


SwitchDecision = (
    InstallFlow
    | RemoveFlow
    | SetGroup
    | RemoveGroup
    | SetMeter
    | RemoveMeter
    | FlushConnection
    | SendPacket
    | Barrier
    | ReadSwitch
    | RequestCounters
    | RequestPortCounters
    | RequestQueueCounters
    | RequestMeterCounters
)
Decision = SwitchDecision | Persist | Announce
