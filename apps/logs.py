"""Log lines as text for people or as JSON for collectors: one line a decision, with its particulars."""

from __future__ import annotations

import json
import logging

from controller.api.times import rfc3339


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, and what a decision says beside."""
        document = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if hasattr(record, "kind"):
            document["kind"] = record.kind
            for name, value in getattr(record, "fields", {}).items():
                # What a decision says of itself must not take the place of when and how bad.
                document[name if name not in document else f"{name}_"] = value
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class TextLines(logging.Formatter):
    """A line for people; the incident it belongs to behind it, when the text does not name it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a traceback."""
        line = super().formatMessage(record)
        incident = getattr(record, "fields", {}).get("incident")
        return line if incident is None or f"incident {incident}" in line else f"{line} (incident {incident})"


def formatter(name: str) -> logging.Formatter:
    """The formatter called `text` or `json`."""
    if name == "json":
        return JsonLines()
    return TextLines("%(asctime)s %(levelname)-7s %(message)s")
