"""The whole policy, its history, and the audit log."""

from http import HTTPStatus

from flask import Response, jsonify

from controller.api import documents
from controller.api.context import bring_into_force, check_if_match, context, part_of_policy
from controller.api.models import PageQuery, PolicyQuery, RollbackBody
from controller.api.paging import cursor_number
from controller.api.problem import RefusedError, not_found
from controller.api.resources.subject import subject
from controller.api.service import JsonObject
from controller.api.times import rfc3339
from controller.policy import Policy, diff, etag
from controller.rule_review import review

api = subject("policy")


@api.get("/policy", responses={200: Policy})
def get_policy() -> Response:
    """The policy in force, with every default written out."""
    return part_of_policy(context().service.policy().document())


@api.put("/policy", responses={200: documents.PolicyOrPlan})
def put_policy(query: PolicyQuery, body: Policy) -> Response:
    """Replace the policy, as a whole or not at all; with ``dry_run=true`` only say what would change."""
    check_if_match()
    if query.dry_run == "true":
        return _plan(body)
    bring_into_force(body)
    return part_of_policy(context().service.policy().document())


def _plan(policy: Policy) -> Response:
    service = context().service
    plan: JsonObject = {
        "dry_run": True,
        "etag": etag(policy),
        "changes": [change.document() for change in diff(service.policy(), policy)],
        "flows": list(service.plan_policy(policy)),
        "warnings": [str(finding) for finding in review(policy.firewall.rules)],
    }
    return jsonify(plan)


@api.get("/policy/history", responses={200: documents.Page[documents.RevisionDocument]})
def get_history(query: PageQuery) -> Response:
    """The states the policy was in, newest first."""
    found = context().store.revisions(limit=query.limit + 1, before=cursor_number(query))
    items = [
        {
            "revision": revision.id,
            "etag": revision.etag,
            "origin": revision.origin,
            "actor": revision.actor,
            "time": rfc3339(revision.time),
            "comment": revision.comment,
        }
        for revision in found[: query.limit]
    ]
    return jsonify({"items": items, "next": str(found[query.limit - 1].id) if len(found) > query.limit else None})


@api.post("/policy/rollback", responses={200: Policy})
def rollback(body: RollbackBody) -> Response:
    """Bring an earlier policy back; this makes a new revision."""
    check_if_match()
    store = context().store
    wanted = body.revision if body.revision is not None else store.previous_revision()
    if wanted is None:
        raise RefusedError(HTTPStatus.CONFLICT, "there is no earlier policy")
    policy = store.policy_at(wanted)
    if policy is None:
        raise not_found(f"policy revision {wanted}")
    bring_into_force(policy, origin="rollback")
    return part_of_policy(context().service.policy().document())


@api.get("/audit", responses={200: documents.Page[documents.AuditDocument]})
def get_audit(query: PageQuery) -> Response:
    """Who changed what, newest first."""
    found = context().store.audit(limit=query.limit + 1, before=cursor_number(query))
    items = [
        {
            "id": entry.id,
            "time": rfc3339(entry.time),
            "actor": entry.actor,
            "action": entry.action,
            "target": entry.target,
            "detail": entry.detail,
        }
        for entry in found[: query.limit]
    ]
    return jsonify({"items": items, "next": str(found[query.limit - 1].id) if len(found) > query.limit else None})
