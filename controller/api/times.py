"""Times on the wire: RFC 3339 in UTC."""

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Write seconds since the epoch as ``2026-01-31T12:00:00.250Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
