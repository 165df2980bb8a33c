"""The frames that measure links: signed, numbered and carrying the time they were sent, so that little must be remembered of them."""

from __future__ import annotations

import hashlib
import hmac
import struct
from enum import IntEnum
from typing import NamedTuple

from controller.frames import CONTROLLER_MAC, LLDP_MULTICAST, ethernet
from controller.pipeline import LINK_PROBE_TYPE

_LAYOUT = struct.Struct("!BQIQd")
_SIGNATURE_BYTES = 16
_END = 14 + _LAYOUT.size + _SIGNATURE_BYTES


class ProbeKind(IntEnum):
    """What a probe is for."""

    CHANNEL = 0
    """Goes to the switch and straight back: measures the control channel."""
    TIMED = 1
    """Crosses a link; counted, and its time of flight is a sample of the delay."""
    COUNTED = 2
    """Crosses a link behind others of the same moment: counted only, as it waited for them."""


class Probe(NamedTuple):
    """A probe that leaves switch `dpid` by `port_no` (CHANNEL: that enters as if by it) at `sent`, seconds on the core's clock."""

    kind: ProbeKind
    dpid: int
    port_no: int
    seq: int
    sent: float


def _signature(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, b"probe" + content, hashlib.sha256)[:_SIGNATURE_BYTES]


def write_probe(key: bytes, probe: Probe) -> bytes:
    """The frame of a probe. Its destination is one that no bridge forwards, so it measures this link and nothing behind it."""
    content = _LAYOUT.pack(*probe)
    return ethernet(LLDP_MULTICAST, CONTROLLER_MAC, LINK_PROBE_TYPE, content + _signature(key, content))


def read_probe(key: bytes, frame: bytes) -> Probe | None:
    """The probe in a frame; None when it is none, or not signed by us."""
    if len(frame) < _END or int.from_bytes(frame[12:14]) != LINK_PROBE_TYPE:
        return None
    content = frame[14 : 14 + _LAYOUT.size]
    if not hmac.compare_digest(frame[14 + _LAYOUT.size : _END], _signature(key, content)):
        return None
    kind, *rest = _LAYOUT.unpack(content)
    return Probe(ProbeKind(kind), *rest)
