"""Quarantine: clients that are dropped, limited or isolated for a while."""

from http import HTTPStatus

from flask import Response, jsonify

from controller.api import documents
from controller.api.context import audit, context
from controller.api.models import IdPath, PageQuery, QuarantineBody
from controller.api.paging import page
from controller.api.problem import RefusedError, not_found
from controller.api.resources.subject import subject
from controller.api.service import QuarantineEntry

api = subject("quarantine", "/quarantine")


@api.get("", responses={200: documents.Page[documents.Quarantined]})
def list_quarantine(query: PageQuery) -> Response:
    """Who is in quarantine."""
    return jsonify(page(context().service.quarantine(), query))


@api.post("", responses={201: documents.Quarantined})
def add_quarantine(body: QuarantineBody) -> Response:
    """Put a client in quarantine; it ends by itself after ``ttl_s``."""
    service = context().service
    if body.vip is not None and body.vip not in service.policy().vips:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"vip: there is no VIP {body.vip}")
    entry = service.add_quarantine(QuarantineEntry(**body.model_dump()))
    audit("quarantine add", body.client, body.model_dump(mode="json"))
    response = jsonify(entry)
    response.status_code = HTTPStatus.CREATED
    response.headers["Location"] = f"/v1/quarantine/{entry['id']}"
    return response


@api.delete("/<id>", responses={204: None})
def remove_quarantine(path: IdPath) -> tuple[str, HTTPStatus]:
    """End a quarantine now."""
    if not context().service.remove_quarantine(path.id):
        raise not_found(f"quarantine entry {path.id}")
    audit("quarantine remove", path.id)
    return "", HTTPStatus.NO_CONTENT
