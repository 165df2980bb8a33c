"""Whether a switch accepts a flow entry: the checks Open vSwitch 3.1 makes of actions against the match (OpenFlow 1.3.5 §6.4)."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

from controller.flows import (
    Action,
    Ct,
    DecTtl,
    FlowEntry,
    Learn,
    Move,
    Output,
    Punt,
    Resubmit,
    SetField,
    ToGroup,
)
from topologies.model.errors import OpenFlowError
from topologies.model.fields import FIELDS, Field, masked_match, meets
from topologies.model.packet import CT_INV

LAST_TABLE = 254
LAST_PORT = 0xFF00
OFPP_IN_PORT, OFPP_TABLE, OFPP_FLOOD, OFPP_ALL, OFPP_CONTROLLER = (
    0xFFFFFFF8,
    0xFFFFFFF9,
    0xFFFFFFFB,
    0xFFFFFFFC,
    0xFFFFFFFD,
)
OFPP_LOCAL, OFPP_ANY = 0xFFFFFFFE, 0xFFFFFFFF
_OUTPUTS = {OFPP_IN_PORT, OFPP_TABLE, OFPP_FLOOD, OFPP_ALL, OFPP_LOCAL}


@dataclass(frozen=True, slots=True)
class Present:
    """What a switch has that entries may refer to."""

    groups: Container[int]
    meters: Container[int]


def check_entry(entry: FlowEntry, present: Present) -> list[str]:
    """Warnings about an entry that a switch accepts.

    Raises:
        OpenFlowError: the switch would answer with this error.
    """
    if not 0 <= entry.table_id <= LAST_TABLE:
        raise OpenFlowError("OFPFMFC_BAD_TABLE_ID", str(entry.table_id))
    match = masked_match(entry.match)
    if entry.meter_id is not None and entry.meter_id not in present.meters:
        raise OpenFlowError("OFPMMFC_INVALID_METER", f"meter {entry.meter_id} does not exist")
    if entry.goto is not None and not entry.table_id < entry.goto <= LAST_TABLE:
        raise OpenFlowError("OFPBIC_BAD_TABLE_ID", f"goto from {entry.table_id} to {entry.goto}")
    warnings = check_actions(entry.actions, match, present)
    return [f"table {entry.table_id} priority {entry.priority}: {warning}" for warning in warnings]


def check_actions(actions: tuple[Action, ...], match: Mapping[str, tuple[int, int]], present: Present) -> list[str]:
    """Warnings about actions on packets that fit `match`.

    Raises:
        OpenFlowError: the switch would answer with this error.
    """
    warnings: list[str] = []
    for action in actions:
        check = _CHECKS.get(type(action))
        if check is not None:
            check(action, match)
        if isinstance(action, ToGroup) and action.group_id not in present.groups:
            raise OpenFlowError("OFPBAC_BAD_OUT_GROUP", f"group {action.group_id} does not exist")
        if isinstance(action, Punt) and action.meter_id not in present.meters:
            warnings.append(f"meter {action.meter_id} of a punt does not exist: the punt is not limited")
    return warnings


def _check_output(action: Output, _: Mapping[str, tuple[int, int]]) -> None:
    if action.port > LAST_PORT and action.port not in _OUTPUTS:
        raise OpenFlowError("OFPBAC_BAD_OUT_PORT", f"{action.port:#x}")


def _writable(name: str) -> Field:
    field = FIELDS.get(name)
    if field is None:
        raise OpenFlowError("OFPBAC_BAD_SET_TYPE", name)
    if field.writes is None:
        raise OpenFlowError("OFPBAC_BAD_SET_ARGUMENT", f"{name} is read-only")
    return field


def _readable(name: str, match: Mapping[str, tuple[int, int]]) -> Field:
    field = FIELDS.get(name)
    if field is None:
        raise OpenFlowError("OFPBAC_BAD_SET_TYPE", name)
    if not meets(field.prerequisite, match):
        raise OpenFlowError("OFPBAC_MATCH_INCONSISTENT", f"{name} is not sure to be in the packet")
    return field


def _check_set_field(action: SetField, match: Mapping[str, tuple[int, int]]) -> None:
    if action.value > _writable(action.name).full:
        raise OpenFlowError("OFPBAC_BAD_SET_ARGUMENT", f"{action.value:#x} does not fit {action.name}")
    _readable(action.name, match)


def _check_move(action: Move, match: Mapping[str, tuple[int, int]]) -> None:
    _writable(action.target)
    narrowest = min(_readable(name, match).bits for name in (action.source, action.target))
    if not 0 < action.bits <= narrowest:
        raise OpenFlowError("OFPBAC_BAD_ARGUMENT", f"{action.bits} bits do not fit {action.source} and {action.target}")


def _check_ct(action: Ct, match: Mapping[str, tuple[int, int]]) -> None:
    if not meets("ip", match) or (action.commit and match.get("ct_state", (0, 0))[0] & CT_INV):
        raise OpenFlowError("OFPBAC_MATCH_INCONSISTENT", "ct on what may not be IP, or a commit of +inv")
    sets_up = action.mark is not None or (action.nat is not None and action.nat.kind != "known")
    if sets_up and not action.commit:
        raise OpenFlowError("OFPBAC_BAD_ARGUMENT", "a mark, or nat with an address, needs commit")
    if action.table is not None and action.table > LAST_TABLE:
        raise OpenFlowError("OFPBAC_BAD_ARGUMENT", f"ct into table {action.table}")


def _check_dec_ttl(_: DecTtl, match: Mapping[str, tuple[int, int]]) -> None:
    if not meets("ip", match):
        raise OpenFlowError("OFPBAC_MATCH_INCONSISTENT", "no TTL in what may not be IP")


def _check_resubmit(action: Resubmit, _: Mapping[str, tuple[int, int]]) -> None:
    if action.table > LAST_TABLE:
        raise OpenFlowError("OFPBRC_BAD_TABLE_ID", f"resubmit to table {action.table}")


def _check_learn(action: Learn, match: Mapping[str, tuple[int, int]]) -> None:
    # Prerequisites hold twice: for reading the fields from this packet, and for the match of the entry that is learned.
    learned = {name: (value, FIELDS[name].full) for name, value in action.constants if name in FIELDS}
    if not 0 <= action.table <= LAST_TABLE:
        raise OpenFlowError("OFPBAC_BAD_ARGUMENT", f"learn into table {action.table}")
    for name in action.fields:
        _readable(name, match)
    for name in (*action.fields, *(name for name, _ in action.constants)):
        _readable(name, learned)
    _writable(action.load[0])
    _readable(action.load[0], learned)


_CHECKS: dict[type[Action], Callable[..., None]] = {
    Output: _check_output,
    SetField: _check_set_field,
    Move: _check_move,
    Ct: _check_ct,
    DecTtl: _check_dec_ttl,
    Resubmit: _check_resubmit,
    Learn: _check_learn,
}
