"""Lists in parts: ``{"items": […], "next": cursor or null}``."""

from collections.abc import Sequence
from typing import Any

from controller.api.models import PageQuery
from controller.api.service import JsonObject


def page(items: Sequence[Any], query: PageQuery) -> JsonObject:
    """Cut a list that is at hand as a whole. Its cursor is a position: a list that changes meanwhile may shift."""
    start = cursor_number(query) or 0
    end = start + query.limit
    return {"items": list(items[start:end]), "next": str(end) if end < len(items) else None}


def cursor_number(query: PageQuery) -> int | None:
    """Return the cursor as the number it is."""
    return None if query.cursor is None else int(query.cursor)
