"""The causes of resets: the API's names (`cause`), the same everywhere."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Why connections are reset."""

    CONGESTION = "congestion"
    POLICY = "policy"
    OVERLOAD = "overload"
    MISCONFIGURATION = "misconfiguration"
    PROTOCOL_VIOLATION = "protocol-violation"
    HOSTILE = "hostile"
    BENIGN = "benign"
