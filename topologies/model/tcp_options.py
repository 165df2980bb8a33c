"""The TCP options that matter here: maximum segment size, window scale, timestamps (RFC 9293 §3.2, RFC 7323)."""

from __future__ import annotations

import struct

MSS = 1460
SCALE, MAX_SCALE = 7, 14
_END, _NOTHING, _MSS, _SCALE, _SACK, _TIMESTAMPS = 0, 1, 2, 3, 4, 8
_TIMESTAMPS_SIZE = 10


def window_scale(options: bytes) -> int | None:
    """The shift count of the window scale option (RFC 7323 §2.2), at most 14; None without one."""
    while len(options) >= 3 and options[0] != _END:
        if options[0] == _NOTHING:
            options = options[1:]
            continue
        if options[0] == _SCALE:
            return min(options[2], MAX_SCALE)
        options = options[max(options[1], 2) :]
    return None


def timestamps(options: bytes) -> tuple[int, int] | None:
    """Value and echo of the timestamps option (RFC 7323 §3.2); None without one."""
    while len(options) >= 2 and options[0] != _END:
        if options[0] == _NOTHING:
            options = options[1:]
            continue
        if options[0] == _TIMESTAMPS and len(options) >= _TIMESTAMPS_SIZE:
            value, echo = struct.unpack_from("!II", options, 2)
            return value, echo
        options = options[max(options[1], 2) :]
    return None


def stamp_options(value: int, echo: int) -> bytes:
    """The options of a segment after the handshake, as Linux lays them out."""
    return bytes((_NOTHING, _NOTHING)) + _stamps(value, echo)


def syn_options(stamps: tuple[int, int] | None, scaling: bool) -> bytes:
    """The options of a SYN or SYN-ACK; `stamps` are value and echo."""
    options = struct.pack("!BBH", _MSS, 4, MSS)
    if stamps is not None:
        options += bytes((_SACK, 2)) + _stamps(*stamps)
    if scaling:
        options += bytes((_NOTHING, _SCALE, 3, SCALE))
    return options + bytes(-len(options) % 4)


def _stamps(value: int, echo: int) -> bytes:
    return struct.pack("!BBII", _TIMESTAMPS, _TIMESTAMPS_SIZE, value, echo)
