"""What the handlers of one request share: the controller, the store, the clock and who is asking."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from flask import Response, current_app, g, jsonify, request

from controller.api.changes import change_policy
from controller.api.problem import RefusedError
from controller.api.rate import RateLimit
from controller.api.service import JsonObject, Service
from controller.policy import Policy, etag
from controller.store import Provenance, Store

EXTENSION = "resetlb"


@dataclass(frozen=True, slots=True)
class Context:
    """What an application serves; ``clock`` gives seconds since the epoch."""

    service: Service
    store: Store
    clock: Callable[[], float]
    require_tokens: bool
    limit: RateLimit


def context() -> Context:
    """Return the context of the application that handles this request."""
    return cast(Context, current_app.extensions[EXTENSION])


def actor() -> str:
    """Name who is asking: the token, or the address when there are no tokens."""
    token = g.get("token")
    return f"token {token.name}" if token is not None else f"local {request.remote_addr or 'client'}"


def audit(action: str, target: str, detail: JsonObject | None = None) -> None:
    """Add a change to the audit log."""
    here = context()
    here.store.record(now=here.clock(), actor=actor(), action=action, target=target, detail=detail)


def bring_into_force(policy: Policy, origin: str = "rest") -> None:
    """Apply and store the policy that this request leads to."""
    here = context()
    action = f"{request.method} {request.path}"
    provenance = Provenance(origin, actor(), here.clock(), comment=action)
    change_policy(here.service, here.store, policy, provenance, action)


def check_if_match() -> None:
    """Refuse a change that was made to another version of the policy (``If-Match``, RFC 9110 §13.1.1)."""
    if "If-Match" not in request.headers:
        return
    current = etag(context().service.policy())
    if not request.if_match.contains(current):
        detail = f'If-Match: the policy is at version "{current}" now; read it again'
        raise RefusedError(HTTPStatus.PRECONDITION_FAILED, detail, {"ETag": f'"{current}"'})


def part_of_policy(document: JsonObject, status: HTTPStatus = HTTPStatus.OK, location: str | None = None) -> Response:
    """Answer with a part of the policy and the policy's ETag: any part changes with the whole."""
    response = jsonify(document)
    response.status_code = status
    response.set_etag(etag(context().service.policy()))
    if location is not None:
        response.headers["Location"] = location
    return response
