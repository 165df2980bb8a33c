"""Lists in parts: ``{"items": […], "next": cursor or null}``."""

from collections.abc import Sequence
from http import HTTPStatus

from controller.api.models import PageQuery
from controller.api.problem import RefusedError
from controller.api.service import JsonObject


def page(items: Sequence[JsonObject], query: PageQuery) -> JsonObject:
    """Cut a list that is at hand as a whole. Its cursor is a position: a list that changes meanwhile may shift."""
    start = cursor_number(query) or 0
    end = start + query.limit
    return {"items": list(items[start:end]), "next": str(end) if end < len(items) else None}


def cursor_number(query: PageQuery) -> int | None:
    """Return a numeric cursor; raises RefusedError for another one."""
    if query.cursor is None:
        return None
    if not (query.cursor.isascii() and query.cursor.isdigit() and len(query.cursor) < 19):  # SQLite's integers
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: is not one that this list gave")
    return int(query.cursor)
