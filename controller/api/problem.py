"""Errors on the wire: RFC 9457 ``application/problem+json``, ``detail`` naming the field."""

import json
import logging
from http import HTTPStatus

from flask import Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from controller.api import models
from controller.api.service import ConflictError
from controller.policy import PolicyError, Problem
from controller.policy.parse import problems_of
from controller.policy.problems import format_path
from controller.store import StoreError

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """A request that is answered with a problem."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        """Say what is wrong, and name the field."""
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def not_found(what: str) -> RefusedError:
    """Make the answer for something that does not exist."""
    return RefusedError(HTTPStatus.NOT_FOUND, f"there is no {what}")


def document(status: HTTPStatus, detail: str, problems: list[dict[str, str]] | None = None) -> str:
    """Write a problem document; ``problems`` lists each place when there are several."""
    said: dict[str, object] = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    if problems:
        said["problems"] = problems
    return json.dumps(said, ensure_ascii=False)


def problem(status: HTTPStatus, detail: str, problems: list[dict[str, str]] | None = None) -> Response:
    """Answer with a problem document."""
    return Response(document(status, detail, problems), status, content_type=MEDIA_TYPE)


def of_validation(error: ValidationError) -> Response:
    """Answer a body or query that does not fit its model."""
    root = "policy" if error.title == "Policy" else "request"
    return _invalid(problems_of(error, models.BY_NAME[error.title]), root)


def of_policy(error: PolicyError) -> Response:
    """Answer a policy that contradicts itself."""
    return _invalid(error.problems, "policy")


def _invalid(problems: list[Problem], root: str) -> Response:
    listed = [{"path": format_path(found.location, root), "message": found.message} for found in problems]
    detail = "; ".join(f"{found['path']}: {found['message']}" for found in listed[:20])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, listed[:100])


def of_refusal(error: RefusedError) -> Response:
    """Answer what a handler refused."""
    response = problem(error.status, error.detail)
    response.headers.update(error.headers)
    return response


def of_conflict(error: ConflictError) -> Response:
    """Answer what contradicts the state of things."""
    return problem(HTTPStatus.CONFLICT, str(error))


def of_store(error: StoreError) -> Response:
    """Answer a change that could not be made durable, and so was not made."""
    _log.error("state cannot be stored: %s", error)
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the change was not made: {error}")


def of_http(error: HTTPException) -> Response:
    """Give Flask's own errors (no such route, method not allowed, …) the same form."""
    response = error.get_response()
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return Response(response.get_data(), response.status, response.headers)
    answer = problem(HTTPStatus(error.code), error.description or "")
    for name in ("Allow", "Retry-After"):
        if name in response.headers:
            answer.headers[name] = response.headers[name]
    return answer


def of_defect(error: Exception) -> Response:
    """Answer a defect of ours: the log has the particulars, the client gets none."""
    _log.error("request failed", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the controller failed to answer this request; its log says why")
