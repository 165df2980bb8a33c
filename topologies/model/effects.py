"""What comes out of a switch: frames on ports, messages to the controller."""

from __future__ import annotations

from dataclasses import dataclass

from topologies.model.errors import OpenFlowError

REASON_NO_MATCH, REASON_ACTION = 0, 1


@dataclass(frozen=True, slots=True)
class Transmit:
    """A frame leaves by a port."""

    port: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A packet-in. `frame` is cut to what the action asked for, `size` is its whole length; `fields` are those of its match."""

    table_id: int
    cookie: int
    in_port: int
    reason: int
    frame: bytes
    size: int
    fields: dict[str, int]


@dataclass(frozen=True, slots=True)
class BarrierReply:
    """Everything before the barrier is done."""

    token: int


@dataclass(frozen=True, slots=True)
class FlowCounters:
    """Packets and bytes by cookie of one table."""

    table_id: int
    packets: dict[int, int]
    octets: dict[int, int]


@dataclass(frozen=True, slots=True)
class MeterCounters:
    """Packets dropped by meter id."""

    dropped: dict[int, int]


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A decision was refused; nothing of it is in force."""

    error: OpenFlowError
    decision: object


Effect = Transmit | PacketIn | BarrierReply | FlowCounters | MeterCounters | ErrorReply
