"""Between a controller core and the switches: what the core looks like, and what it is told of what a switch says."""

from __future__ import annotations

from typing import Protocol

from controller.decisions import Decision
from controller.events import BarrierReplied, Event, FlowCounted, MeterCounted, PacketSeen, SwitchRefused
from controller.flows import purpose_of
from topologies.model.effects import BarrierReply, Effect, ErrorReply, FlowCounters, MeterCounters, PacketIn

CHANNEL_DELAY_S = 0.5e-3


class Core(Protocol):
    """What decides."""

    def handle(self, event: Event, now: float) -> list[Decision]:
        """Takes an event in and says what to do."""
        ...

    def next_deadline(self, now: float) -> float | None:
        """When it wants a `Tick`; None: never."""
        ...


def as_event(dpid: int, effect: Effect) -> Event | None:
    """What the controller's adapter makes of a message of a switch; None for one it passes over."""
    match effect:
        case PacketIn():
            purpose = purpose_of(effect.cookie)
            return None if purpose is None else PacketSeen(dpid, purpose, effect.fields, effect.frame)
        case BarrierReply():
            return BarrierReplied(dpid, effect.token)
        case FlowCounters():
            return FlowCounted(dpid, effect.table_id, effect.packets, effect.octets)
        case MeterCounters():
            return MeterCounted(dpid, effect.dropped)
        case ErrorReply():
            error = effect.error
            return SwitchRefused(dpid, error.type, error.code, error.detail.encode())
        case _:
            return None
