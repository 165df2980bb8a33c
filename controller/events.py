"""What has happened: past facts for `Core.handle`. Nothing here decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from controller.flows import Purpose

if TYPE_CHECKING:
    from controller.policy import Policy


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a switch. `speed_bps` 0: not known."""

    port_no: int
    name: str
    mac: int
    up: bool
    speed_bps: int = 0


@dataclass(frozen=True, slots=True)
class SwitchConnected:
    """A switch finished its handshake and said what it has. `flows` holds (table_id, cookie) of every installed entry."""

    dpid: int
    ports: tuple[Port, ...]
    flows: frozenset[tuple[int, int]] = frozenset()
    groups: frozenset[int] = frozenset()
    meters: frozenset[int] = frozenset()
    settled: bool = False
    """Whether it has been watched for a while, by another controller of the cluster: what is around it is known already."""


@dataclass(frozen=True, slots=True)
class SwitchRead:
    """A connected switch said again what it has, as in `SwitchConnected`."""

    dpid: int
    flows: frozenset[tuple[int, int]]
    groups: frozenset[int]
    meters: frozenset[int]


@dataclass(frozen=True, slots=True)
class SwitchDisconnected:
    """The control channel to a switch is gone; the switch keeps forwarding."""

    dpid: int


@dataclass(frozen=True, slots=True)
class PortChanged:
    """A port came up, went down, appeared or (`removed`) disappeared."""

    dpid: int
    port: Port
    removed: bool = False


@dataclass(frozen=True, slots=True)
class PacketSeen:
    """A packet-in from an entry of ours. `fields` are the OXM/NXM fields of its match by name."""

    dpid: int
    purpose: Purpose
    fields: dict[str, int]
    frame: bytes
    cookie: int = 0


class ResetSum(NamedTuple):
    """Mirrored resets that say the same. `source` is (dpid, in_port) where they were caught, for false ones; of all others it is (0, 0).

    `target` is (address, port) of whom the connection was opened to, `passive` as in `bulk.Reading`. `connections` were reset for the
    first time of late, `repeated` not; `clients` opened the last of the former (of false ones: were claimed to send them).
    """

    purpose: Purpose
    source: tuple[int, int]
    state: int
    mark: int
    target: tuple[int, int]
    passive: bool
    connections: int
    repeated: int
    clients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResetsSummed:
    """Mirrored resets that came faster than they can be looked at one by one."""

    sums: tuple[ResetSum, ...]


@dataclass(frozen=True, slots=True)
class BarrierReplied:
    """Everything sent before the barrier with this token is in force."""

    dpid: int
    token: int


@dataclass(frozen=True, slots=True)
class FlowCounted:
    """Packet and byte counts by cookie of one table, as the switch reports them (they lag about a second)."""

    dpid: int
    table_id: int
    packets: dict[int, int]
    octets: dict[int, int] = field(default_factory=dict)


class PortCounters(NamedTuple):
    """One port's counters since it appeared (OpenFlow 1.3.5 §7.3.5.6); None: the switch does not count that."""

    rx_bytes: int | None
    tx_bytes: int | None
    rx_packets: int | None
    tx_packets: int | None
    tx_dropped: int | None
    duration_s: float | None
    """The port's age on the switch's clock, when the switch tells."""


@dataclass(frozen=True, slots=True)
class PortCounted:
    """What every port of a switch has counted, by port number."""

    dpid: int
    ports: dict[int, PortCounters]


@dataclass(frozen=True, slots=True)
class QueueCounted:
    """Packets dropped over all queues of each port that has any, by port number."""

    dpid: int
    dropped: dict[int, int]


@dataclass(frozen=True, slots=True)
class MeterCounted:
    """Packets that each meter of a switch has dropped, by meter id."""

    dpid: int
    dropped: dict[int, int]


@dataclass(frozen=True, slots=True)
class SwitchRefused:
    """A switch answered one of our messages with an error: what it has is no longer known to be what we want."""

    dpid: int
    error_type: int
    code: int
    message: bytes


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """The policy in force is now this one."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class LoadReported:
    """A member's agent said how loaded it is: 0 idle, 1 full; `state` is up, drain or down."""

    pool: str
    member: str
    load: float
    state: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What the durable store held at start, by namespace and key."""

    values: dict[str, dict[str, object]] = field(default_factory=dict)
    others_act: bool = False
    """Whether other controllers are at work on the same fabric: what was open is still watched."""


@dataclass(frozen=True, slots=True)
class RecordsChanged:
    """Another controller of the cluster wrote these, by namespace and key; None: deleted."""

    values: dict[str, dict[str, object | None]]


@dataclass(frozen=True, slots=True)
class PeerCounted:
    """Another controller of the cluster has counted so much by now, by name (`Counters.totals`), at switches that are its own."""

    peer: str
    totals: dict[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; something may be due."""


Event = (
    SwitchConnected
    | SwitchRead
    | SwitchDisconnected
    | PortChanged
    | PacketSeen
    | ResetsSummed
    | BarrierReplied
    | FlowCounted
    | PortCounted
    | QueueCounted
    | MeterCounted
    | SwitchRefused
    | PolicyChanged
    | LoadReported
    | Restored
    | RecordsChanged
    | PeerCounted
    | Tick
)
