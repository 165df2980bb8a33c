"""Resets, incidents and what the controller does about them."""

from http import HTTPStatus

from flask import Response, jsonify

from controller.api import documents
from controller.api.changes import edited
from controller.api.context import audit, bring_into_force, check_if_match, context, part_of_policy
from controller.api.models import EmptyBody, ExplainQuery, IdPath, IncidentQuery, LabelBody, ResetQuery, TimelineQuery
from controller.api.paging import page
from controller.api.problem import RefusedError, not_found
from controller.api.resources.subject import subject
from controller.api.service import JsonObject, ResetSelection
from controller.api.times import rfc3339
from controller.policy import Automation

api = subject("diagnosis")


@api.get("/resets", responses={200: documents.Page[documents.Reset]})
def list_resets(query: ResetQuery) -> Response:
    """Sampled reset segments, newest first."""
    selection = ResetSelection(
        since=query.since,
        vip=query.vip,
        member=query.member,
        client=query.client,
        cause=query.cause,
    )
    try:
        found = context().service.resets(selection, query.limit, query.cursor)
    except ValueError:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: is not one that this list gave") from None
    return jsonify({"items": list(found.items), "next": found.next})


@api.get("/resets/timeline", responses={200: documents.Timeline})
def get_timeline(query: TimelineQuery) -> Response:
    """How many connections were reset when, and why: sampled resets, counted by span and cause."""
    here = context()
    last = int(here.clock()) // query.bin_s * query.bin_s
    starts = range(last - (query.bins - 1) * query.bin_s, last + 1, query.bin_s)
    counts = here.service.reset_counts(starts[0], query.bin_s)
    spans = [{"time": rfc3339(start), "counts": dict(counts.get(start, {}))} for start in starts]
    return jsonify({"bin_s": query.bin_s, "spans": spans})


@api.get("/incidents", responses={200: documents.Page[documents.Incident]})
def list_incidents(query: IncidentQuery) -> Response:
    """Incidents, newest first."""
    return jsonify(page(context().service.incidents(query.state), query))


@api.get("/incidents/<id>", responses={200: documents.Incident})
def get_incident(path: IdPath) -> Response:
    """One incident: cause, evidence, actions."""
    return jsonify(_incident(path.id))


@api.post("/incidents/<id>/label", responses={200: documents.Incident})
def label_incident(path: IdPath, body: LabelBody) -> Response:
    """Say what the cause was; the diagnosis learns from it."""
    _incident(path.id)
    incident = context().service.label_incident(path.id, body.cause)
    audit("incident label", path.id, {"cause": body.cause})
    return jsonify(incident)


@api.post("/incidents/<id>/revert", responses={200: documents.Incident})
def revert_incident(path: IdPath, body: EmptyBody) -> Response:  # noqa: ARG001 (checked to be empty)
    """Undo the actions of an incident."""
    _incident(path.id)
    incident = context().service.revert_incident(path.id)
    audit("incident revert", path.id)
    return jsonify(incident)


@api.get("/automation", responses={200: documents.AutomationDocument})
def get_automation() -> Response:
    """How far the controller acts by itself."""
    return part_of_policy(context().service.policy().automation.model_dump(mode="json"))


@api.put("/automation", responses={200: documents.AutomationDocument})
def set_automation(body: Automation) -> Response:
    """Enforce, dry-run or freeze; what is left out stays as it is. A part of the policy, so it outlives restarts."""
    check_if_match()
    policy = context().service.policy()
    automation = Automation(**{**dict(policy.automation), **body.model_dump(exclude_unset=True)})
    bring_into_force(edited(policy, automation=automation))
    return part_of_policy(automation.model_dump(mode="json"))


@api.get("/explain", responses={200: documents.Explanation})
def explain(query: ExplainQuery) -> Response:
    """Where this connection would go and why."""
    return jsonify(context().service.explain(query.src, query.dst, query.src_port, query.dst_port))


def _incident(incident_id: str) -> JsonObject:
    incident = context().service.incident(incident_id)
    if incident is None:
        raise not_found(f"incident {incident_id}")
    return incident
