"""The WSGI application: routes, what every request passes, and what every answer carries."""

import time
from collections.abc import Callable

from flask import Flask, Response, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from controller.api import documents, metrics, problem
from controller.api.access import check_access
from controller.api.context import EXTENSION, Context
from controller.api.intake import READ_BYTES, AnswerJson, StrictRequest, check_request
from controller.api.rate import RateLimit
from controller.api.resources import dashboard, diagnosis, events, fabric, firewall, policy, pools, quarantine, vips
from controller.api.service import ConflictError, Service
from controller.policy import PolicyError
from controller.store import Store, StoreError

# No page may frame ours, and ours loads nothing from elsewhere. Swagger UI carries a script and styles inline.
_PAGE_CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"
_SWAGGER_CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; img-src 'self' data:"
)
_FENCE = "; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def create_app(
    service: Service,
    store: Store,
    *,
    require_tokens: bool = False,
    clock: Callable[[], float] = time.time,
    limit: RateLimit | None = None,
) -> Flask:
    """Make the API of a controller.

    Args:
        service: the running controller.
        store: where policy, audit log and tokens are.
        require_tokens: ask for a token even while the store has none (a listener beyond the loopback).
        clock: seconds since the epoch.
        limit: how many requests a caller may make; without one only wrong tokens are limited.
    """
    app = OpenAPI(
        "controller.api",
        info=Info(title="ResetLB", version="v1", description="The reset-aware load balancer for OpenFlow fabrics."),
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
        validation_error_model=documents.Problem,
        validation_error_callback=_refuse_invalid,
        openapi_extensions={"security": [{"token": []}, {}]},
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = READ_BYTES
    app.request_class = StrictRequest
    app.json = AnswerJson(app)
    app.extensions[EXTENSION] = Context(service, store, clock, require_tokens, limit or RateLimit())
    app.before_request(check_access)
    app.before_request(check_request)
    app.after_request(_secure)
    _answer_errors(app)
    for module in (policy, pools, vips, firewall, quarantine, diagnosis, fabric, events):
        app.register_api(module.api)
    for blueprint in (metrics.api, dashboard.api):
        app.register_blueprint(blueprint)
    return app


def _refuse_invalid(error: ValidationError) -> Response:
    return problem.of_validation(error)


def _answer_errors(app: Flask) -> None:
    app.register_error_handler(problem.RefusedError, problem.of_refusal)
    app.register_error_handler(ConflictError, problem.of_conflict)
    app.register_error_handler(PolicyError, problem.of_policy)
    app.register_error_handler(StoreError, problem.of_store)
    app.register_error_handler(HTTPException, problem.of_http)
    app.register_error_handler(Exception, problem.of_defect)


def _secure(response: Response) -> Response:
    csp = _SWAGGER_CSP if request.path.startswith("/openapi/") else _PAGE_CSP
    response.headers["Content-Security-Policy"] = csp + _FENCE
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"  # RFC 6797
    return response
