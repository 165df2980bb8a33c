"""One packet's way through the tables of a switch: actions, groups, recirculation (OpenFlow 1.3.5 §5, `ovs-actions(7)`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from controller.flows import Action, Ct, DecTtl, Learn, Match, Move, Output, Punt, Resubmit, SetField, ToGroup
from topologies.model.acceptance import OFPP_ALL, OFPP_FLOOD, OFPP_IN_PORT, OFPP_TABLE
from topologies.model.effects import REASON_ACTION, REASON_NO_MATCH, Effect, PacketIn, Transmit
from topologies.model.fields import FIELDS, write
from topologies.model.flow_table import Installed
from topologies.model.groups import in_order
from topologies.model.packet import REGISTERS, Packet

if TYPE_CHECKING:
    from topologies.model.switch import FakeSwitch

MAX_DEPTH = 64
"""How deep a resubmit may lead back to the same or an earlier table."""
MAX_LOOKUPS = MAX_DEPTH * MAX_DEPTH
MAX_RECIRCULATIONS = 6
"""How often the userspace datapath recirculates one packet before it drops it."""
NO_COOKIE = 0xFFFFFFFFFFFFFFFF


class _OverrunError(Exception):
    """The translation of one pass went over a limit: nothing of the pass takes place."""


class Pass:
    """The way of one packet from a look-up in the first table to the end, or to a recirculation, which is a pass of its own."""

    def __init__(self, switch: FakeSwitch, now: float, effects: list[Effect], recirculations: int = 0) -> None:
        self._switch, self._now, self._effects = switch, now, effects
        self._recirculations = recirculations
        self._depth = self._lookups = 0
        self._rule: Installed | None = None
        self._table_id = 0

    def run(self, packet: Packet, table_id: int) -> None:
        """Runs a packet from a table on."""
        self._guard(lambda: self._enter(packet, table_id))

    def run_actions(self, packet: Packet, actions: tuple[Action, ...]) -> None:
        """Runs a packet through actions that are in no table: a packet-out."""
        self._guard(lambda: self._apply(packet, actions))

    def _guard(self, translate: Callable[[], object]) -> None:
        before = len(self._effects)
        try:
            translate()
        except _OverrunError as overrun:
            del self._effects[before:]
            self._switch.warn(f"packet dropped: {overrun}")

    def _enter(self, packet: Packet, table_id: int) -> None:
        came_from, came_by = self._table_id, self._rule
        deepens = self._lookups > 0 and table_id <= came_from
        self._depth += deepens
        next_table: int | None = table_id
        while next_table is not None:
            next_table = self._one_table(packet, next_table)
        self._depth -= deepens
        self._table_id, self._rule = came_from, came_by

    def _one_table(self, packet: Packet, table_id: int) -> int | None:
        if self._depth > MAX_DEPTH or self._lookups >= MAX_LOOKUPS:
            raise _OverrunError(f"resubmitted too deep or too often, last to table {table_id}")
        self._lookups += 1
        self._table_id, self._rule = table_id, None
        rule = self._switch.look_up(table_id, packet, self._now)
        if rule is None:
            return None
        self._rule = rule
        if rule.meter_id is not None and not self._switch.meters[rule.meter_id].passes(self._now):
            return None
        return rule.goto if self._apply(packet, rule.actions) else None

    def _apply(self, packet: Packet, actions: tuple[Action, ...]) -> bool:
        """Applies actions in order; False when one of them ends the processing in this table."""
        return all(self._HANDLERS[type(action)](self, packet, action) is not False for action in actions)

    def _output(self, packet: Packet, action: Output) -> None:
        port = action.port
        if port == OFPP_TABLE:
            self._enter(packet, 0)
        elif port in {OFPP_FLOOD, OFPP_ALL}:
            for each in self._switch.live_ports:
                self._transmit(packet, each, packet.in_port)
        elif port == OFPP_IN_PORT:
            self._transmit(packet, packet.in_port, None)
        else:
            self._transmit(packet, port, packet.in_port)

    def _transmit(self, packet: Packet, port: int, suppressed: int | None) -> None:
        # A packet never goes back where it came from, except by IN_PORT (OpenFlow 1.3.5 §7.2.5).
        if port != suppressed and port in self._switch.live_ports:
            self._effects.append(Transmit(port, packet.to_bytes()))

    def _punt(self, packet: Packet, action: Punt) -> None:
        meter = self._switch.meters.get(action.meter_id)
        if meter is not None and not meter.passes(self._now):
            return
        rule = self._rule
        frame = packet.to_bytes()
        self._effects.append(
            PacketIn(
                table_id=self._table_id,
                cookie=rule.cookie if rule else NO_COOKIE,
                in_port=packet.in_port,
                reason=REASON_NO_MATCH if rule and rule.is_table_miss else REASON_ACTION,
                frame=frame[: action.max_len],
                size=len(frame),
                fields=_metadata(packet),
            )
        )

    def _set_field(self, packet: Packet, action: SetField) -> None:
        write(packet, action.name, action.value)

    def _move(self, packet: Packet, action: Move) -> None:
        flow = packet.flow()
        if action.source in flow and action.target in flow:
            mask = (1 << action.bits) - 1
            write(packet, action.target, flow[action.target] & ~mask | flow[action.source] & mask)

    def _dec_ttl(self, packet: Packet, _: DecTtl) -> bool:
        if packet.ip is None:
            return True
        if packet.ip.ttl <= 1:
            return False
        packet.ip = packet.ip._replace(ttl=packet.ip.ttl - 1)
        packet.changed()
        return True

    def _ct(self, packet: Packet, action: Ct) -> None:
        """Tracks the packet; behind it the fields of the tracker are gone, only the fork into a table has them.

        Translation changes the packet itself. But the tables go on with the fields read before, until it recirculates, so an
        author who translates without a table and then matches addresses does not get what this model shows: a warning.
        """
        self._switch.tracker.track(packet, action, self._now)
        if action.table is not None:
            fork = packet.copy()
            fork.tracked = True
            fork.changed()
            self._recirculate(lambda fresh: fresh.run(fork, action.table or 0))
        elif action.nat is not None:
            self._switch.warn(
                f"table {self._table_id}: ct(nat) without a table: later tables match the untranslated addresses"
            )
        packet.tracked = False
        packet.changed()

    def _recirculate(self, proceed: Callable[[Pass], None]) -> None:
        if self._recirculations >= MAX_RECIRCULATIONS:
            self._switch.warn(f"packet dropped: more than {MAX_RECIRCULATIONS} recirculations")
            return
        fresh = Pass(self._switch, self._now, self._effects, self._recirculations + 1)
        fresh._table_id, fresh._rule = self._table_id, self._rule
        proceed(fresh)

    def _to_group(self, packet: Packet, action: ToGroup) -> bool:
        group = self._switch.group(action.group_id, self._now)
        if group is None:
            self._switch.warn(f"table {self._table_id}: group {action.group_id} does not exist")
            return False
        bucket = group.choose(packet, self._switch.live_ports.__contains__)
        if bucket is None:
            return True
        clone, actions = packet.copy(), in_order(bucket.actions)  # What a bucket changes is undone behind it.
        if group.recirculates:
            self._recirculate(lambda fresh: fresh.run_actions(clone, actions))
        else:
            self._apply(clone, actions)
        return True

    def _resubmit(self, packet: Packet, action: Resubmit) -> None:
        self._enter(packet, action.table)

    def _learn(self, packet: Packet, action: Learn) -> None:
        flow = packet.flow()
        values = {name: flow.get(name, 0) for name in action.fields} | dict(action.constants)
        self._switch.learn(
            Installed(
                action.table,
                action.priority,
                Match(tuple(sorted(values.items()))),
                action.cookie,
                (SetField(*action.load),),
                modified=self._now,
                used=self._now,
                idle_timeout_s=action.idle_timeout_s,
                masked={name: (value, FIELDS[name].full) for name, value in values.items()},
            )
        )

    _HANDLERS: ClassVar[dict[type[Action], Callable[..., bool | None]]] = {
        Output: _output,
        Punt: _punt,
        SetField: _set_field,
        Move: _move,
        DecTtl: _dec_ttl,
        Ct: _ct,
        ToGroup: _to_group,
        Resubmit: _resubmit,
        Learn: _learn,
    }


def _metadata(packet: Packet) -> dict[str, int]:
    """The match of a packet-in: the metadata that is not zero; addresses and ports are in the frame (`ovs-fields(7)`)."""
    flow = packet.flow()
    fields = {"in_port": packet.in_port}
    fields.update((name, flow[name]) for name in (*REGISTERS, "ct_zone", "ct_mark") if flow[name])
    if flow["ct_state"]:
        fields["eth_type"] = packet.eth_type
        original = ("ct_nw_src", "ct_nw_dst", "ct_nw_proto", "ct_tp_src", "ct_tp_dst")
        fields.update((name, flow[name]) for name in ("ct_state", *original) if name in flow)
    return fields
