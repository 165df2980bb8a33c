"""State of the controller and the fabric it sees."""

from http import HTTPStatus

from flask import Response, jsonify

from controller.api import documents
from controller.api.context import context
from controller.api.models import PageQuery
from controller.api.paging import page
from controller.api.resources.subject import subject

api = subject("fabric")


@api.get("/health", responses={200: documents.HealthAnswer})
def get_health() -> Response:
    """Whether the controller works as it should; always 200, it is about the process that answers."""
    service = context().service
    report = service.health()
    status = "ok" if report.reason is None else "degraded"
    return jsonify({"status": status, "switches": report.switches, "version": service.version, "reason": report.reason})


@api.get("/status", responses={200: documents.StatusAnswer})
def get_status() -> Response:
    """What `/health` says, and the other controllers of this fabric; `cluster` is null when this one is alone."""
    service = context().service
    report = service.health()
    return jsonify(
        {
            "status": "ok" if report.reason is None else "degraded",
            "switches": report.switches,
            "version": service.version,
            "reason": report.reason,
            "cluster": service.cluster(),
        }
    )


@api.get("/ready", responses={200: documents.ReadyAnswer, 503: documents.ReadyAnswer})
def get_ready() -> tuple[Response, HTTPStatus]:
    """200 once a switch is connected and reconciled."""
    ready = context().service.ready()
    return jsonify({"ready": ready}), HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE


@api.get("/switches", responses={200: documents.Page[documents.Switch]})
def list_switches(query: PageQuery) -> Response:
    """Connected switches."""
    return jsonify(page(context().service.switches(), query))


@api.get("/links", responses={200: documents.Page[documents.Link]})
def list_links(query: PageQuery) -> Response:
    """Directed links with what is measured on them."""
    return jsonify(page(context().service.links(), query))


@api.get("/hosts", responses={200: documents.Page[documents.Host]})
def list_hosts(query: PageQuery) -> Response:
    """Hosts and where they attach."""
    return jsonify(page(context().service.hosts(), query))


@api.get("/topology", responses={200: documents.Topology})
def get_topology() -> Response:
    """The whole fabric at one moment."""
    service = context().service
    return jsonify(
        {"switches": list(service.switches()), "links": list(service.links()), "hosts": list(service.hosts())}
    )
