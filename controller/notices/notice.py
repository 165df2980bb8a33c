"""One thing worth telling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOLD = frozenset(
    {"incident", "eject", "readmit", "cut-weight", "quarantine", "paths", "revert", "would-eject", "would-act"}
)
"""Announcements that are told: incidents that open, change their cause or close, and what is done about them."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An announcement for others. `id` is that of the event stream; `time` in seconds since the epoch.

    `incident` is the document of the incident it is about (docs/api.md), None when it is about none.
    """

    id: str
    time: float
    kind: str
    text: str
    fields: Mapping[str, object] = field(default_factory=dict)
    incident: Mapping[str, Any] | None = None
