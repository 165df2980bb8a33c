"""One thing worth telling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EXHAUSTED = frozenset({"tracker-full", "table-full", "syn-flood"})
"""A switch has no room left, or somebody is about to take it."""
TOLD = EXHAUSTED | {
    "incident", "eject", "readmit", "cut-weight", "quarantine", "paths", "revert", "would-eject", "would-act",
    "tracker-full-over", "syn-flood-over",
}  # fmt: skip
"""Announcements that are told: incidents that open, change their cause or close, what is done about them, and what runs out."""


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
