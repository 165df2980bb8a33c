"""What a switch says of itself: who made it, and what it can (OpenFlow 1.3.5 §7.3.5.1, §7.3.5.9, §7.3.5.13). Nothing is decided by it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from apps.codec import OUR_XID, multipart

_DESCRIPTION, _GROUPS, _METERS = (OUR_XID | 0x00E00000 | number for number in range(3))
XIDS = frozenset({_DESCRIPTION, _GROUPS, _METERS})
_MULTIPART_DESCRIPTION, _MULTIPART_GROUP_FEATURES, _MULTIPART_METER_FEATURES = 0, 8, 11
_GROUP_SELECT, _GROUP_FAST_FAILOVER = 1 << 1, 1 << 3
_BODY = 16
"""Where the body of a multipart reply begins."""


@dataclass(slots=True)
class About:
    """None: the switch has not said, or does not say."""

    manufacturer: str | None = None
    hardware: str | None = None
    software: str | None = None
    select_groups: bool | None = None
    failover_groups: bool | None = None
    max_meters: int | None = None

    def take(self, xid: int, message: bytes) -> None:
        """Read a reply; one that is too short says nothing."""
        body = message[_BODY:]
        if xid == _DESCRIPTION and len(body) >= 768:
            self.manufacturer, self.hardware, self.software = (_text(body[at : at + 256]) for at in (0, 256, 512))
        elif xid == _GROUPS and len(body) >= 4:
            types = int.from_bytes(body[:4])
            self.select_groups, self.failover_groups = bool(types & _GROUP_SELECT), bool(types & _GROUP_FAST_FAILOVER)
        elif xid == _METERS and len(body) >= 4:
            (self.max_meters,) = struct.unpack_from("!I", body)


def request() -> bytes:
    """Ask for all of it; a switch that does not know a request answers with an error of the same xid."""
    return (
        multipart(_MULTIPART_DESCRIPTION, b"", _DESCRIPTION)
        + multipart(_MULTIPART_GROUP_FEATURES, b"", _GROUPS)
        + multipart(_MULTIPART_METER_FEATURES, b"", _METERS)
    )


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
