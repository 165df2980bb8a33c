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
            document |= {"kind": record.kind, **getattr(record, "fields", {})}
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def formatter(name: str) -> logging.Formatter:
    """The formatter called `text` or `json`."""
    if name == "json":
        return JsonLines()
    return logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
