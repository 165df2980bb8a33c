"""What a request must be before a handler sees it: bounded, JSON where it changes something, nothing unknown in it."""

import inspect
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Request, current_app, g, request
from flask.json.provider import DefaultJSONProvider

from controller.api.models import EmptyBody
from controller.api.problem import RefusedError
from controller.policy.problems import format_path, show

MAX_BODY_BYTES = 8 << 20
READ_BYTES = MAX_BODY_BYTES + 1
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class StrictRequest(Request):
    """A request whose JSON is what ``check_request`` has read."""

    def __init__(self, environ: dict[str, Any], *arguments: Any, **named: Any) -> None:
        """Take a request of any WSGI server."""
        # Eventlet ends a chunked body where it ends; unless told so, Flask takes such a body for an empty one.
        if "eventlet.input" in environ:
            environ["wsgi.input_terminated"] = True
        super().__init__(environ, *arguments, **named)

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body, an object."""
        return g.document


class AnswerJson(DefaultJSONProvider):
    """JSON of answers: fields in the order they were made, and no NaN (it would not be JSON)."""

    sort_keys = False
    ensure_ascii = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Write an answer; raises ValueError for NaN, which is a defect of ours."""
        return super().dumps(obj, **{**kwargs, "allow_nan": False})


def read_json(raw: bytes) -> Any:
    """Parse JSON without what parsers disagree on (duplicate names, NaN, lone surrogates); raises ValueError."""
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    json.dumps(document, ensure_ascii=False).encode()  # UnicodeEncodeError, a ValueError, for a lone surrogate
    return document


def check_request() -> None:
    """Refuse what no handler should see; raises RefusedError."""
    if request.routing_exception is not None:
        return  # no handler will see it
    view = current_app.view_functions.get(request.endpoint or "")
    takes = {} if view is None else inspect.unwrap(view).__annotations__
    if view is not None:
        _check_query(takes)
    if request.method in _WITH_BODY:
        _check_body(takes)


def _check_query(takes: Mapping[str, object]) -> None:
    for name, values in request.args.lists():
        if "query" not in takes:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{format_path((name,))}: is not a known parameter")
        if len(values) > 1:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{format_path((name,))}: is there {len(values)} times")


def _check_body(takes: Mapping[str, object]) -> None:
    # A form of another site cannot send this type without asking first (CORS preflight), and we never allow it.
    if request.mimetype != "application/json":
        detail = "Content-Type: a change is sent as application/json"
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    raw = request.get_data()  # raises, or for a chunked body stops, at READ_BYTES
    if len(raw) > MAX_BODY_BYTES:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"request: is larger than {MAX_BODY_BYTES} bytes")
    try:
        # An empty body is a body that got lost, except where there is nothing to say.
        document = {} if not raw and takes.get("body") is EmptyBody else read_json(raw)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"request: not JSON: {error}") from None
    if not isinstance(document, dict):
        root = "policy" if request.path == "/v1/policy" else "request"
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{root}: {show(document)} is not a mapping")
    g.document = document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{show(twice)} is there twice")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
