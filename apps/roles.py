"""OFPT_ROLE_REQUEST: master or slave of a switch, with the generation that fences a former master (OpenFlow 1.3.5 §6.3.6, §7.3.9).

A slave may read and hears of ports; the switch refuses whatever else it sends (OFPBRC_IS_SLAVE) and shows it no packets. Whoever asks
for a role with an older generation than the switch has seen is refused (OFPRRFC_STALE), and a new master makes the former one a slave.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from apps.codec import OFP_VERSION, OUR_XID

TYPE_ERROR, TYPE_ROLE_REQUEST, TYPE_ROLE_REPLY = 1, 24, 25
_ROLE_REQUEST_FAILED, _STALE = 11, 0
_LAYOUT = struct.Struct("!I4xQ")
UNDEFINED = (1 << 64) - 1
"""The generation of a switch that nobody ever asked for a role."""
_XID = OUR_XID | 0x00B00000


class Role(IntEnum):
    """ofp_controller_role."""

    NOCHANGE = 0
    EQUAL = 1
    MASTER = 2
    SLAVE = 3


XIDS = frozenset(_XID | role for role in Role)
"""Of our role requests: the answer is known by it."""


def is_answer(xid: int, message: bytes) -> bool:
    """Whether a message answers a role request of ours."""
    return xid in XIDS and message[1] in (TYPE_ERROR, TYPE_ROLE_REPLY)


def request(role: Role, generation: int = 0) -> bytes:
    """Ask for a role; NOCHANGE only asks for the present one and the switch's generation."""
    body = _LAYOUT.pack(role, generation)
    return struct.pack("!BBHI", OFP_VERSION, TYPE_ROLE_REQUEST, 8 + len(body), _XID | role) + body


class SwitchRole:
    """What one switch's connection is to us; `changed` is called with every answer of the switch."""

    def __init__(self, datapath: Any, now: float, changed: Callable[[SwitchRole], None]) -> None:
        self.datapath = datapath
        self.connected_at = now
        self.present = Role.EQUAL
        self.asked: tuple[Role, int] | None = None
        """The role asked for last, and its generation; None while the switch's own is being asked for."""
        self.generation = 0
        """The newest that the switch is known to have seen."""
        self.stale = False
        """Whether the switch refused the last generation as too old."""
        self._changed = changed
        self.ask()

    @property
    def dpid(self) -> int:
        """The switch's."""
        return int(self.datapath.id)

    def ask(self) -> None:
        """Have the switch say which generation it has seen."""
        self.asked, self.stale = None, False
        self.datapath.send(request(Role.NOCHANGE))

    def become(self, role: Role, generation: int) -> None:
        """Ask for a role, once."""
        if self.asked != (role, generation):
            self.asked, self.stale = (role, generation), False
            self.datapath.send(request(role, generation))

    def on_answer(self, message: bytes) -> None:
        """The switch's reply, or its error."""
        if message[1] == TYPE_ROLE_REPLY and len(message) >= 8 + _LAYOUT.size:
            present, generation = _LAYOUT.unpack_from(message, 8)
            self.present = Role(present)
            self.generation = 0 if generation == UNDEFINED else generation
        else:
            self.stale = struct.unpack_from("!HH", message, 8) == (_ROLE_REQUEST_FAILED, _STALE)
        self._changed(self)
