"""The virtual firewall: its rules in order, its default, its log."""

from collections.abc import Mapping
from http import HTTPStatus

from flask import Response, jsonify

from controller.api import documents
from controller.api.changes import edited
from controller.api.context import bring_into_force, check_if_match, context, part_of_policy
from controller.api.models import DefaultBody, IdPath, PageQuery, RuleBody
from controller.api.paging import page
from controller.api.problem import RefusedError, not_found
from controller.api.resources.subject import subject
from controller.api.service import ConflictError, JsonObject
from controller.policy import Firewall, Policy, Rule
from controller.policy.model import MAX_RULES

api = subject("firewall", "/firewall")


@api.get("/rules", responses={200: documents.Page[documents.RuleDocument]})
def list_rules(query: PageQuery) -> Response:
    """The rules in the order they are tried: higher priority first, then as written."""
    rules = sorted(context().service.policy().firewall.rules, key=lambda rule: -rule.priority)
    found, hits = page(rules, query), context().service.rule_hits()
    return jsonify({**found, "items": [_document(rule, hits) for rule in found["items"]]})


@api.post("/rules", responses={201: documents.RuleDocument})
def create_rule(body: RuleBody) -> Response:
    """Add a rule, behind those of the same priority."""
    check_if_match()
    policy = context().service.policy()
    rule = body.rule()
    if any(known.id == rule.id for known in policy.firewall.rules):
        raise ConflictError(f"id: there is already a rule {rule.id}")
    _set_rules(policy, (*policy.firewall.rules, rule))
    return part_of_policy(_document(rule, _hits()), HTTPStatus.CREATED, f"/v1/firewall/rules/{rule.id}")


@api.get("/rules/<id>", responses={200: documents.RuleDocument})
def get_rule(path: IdPath) -> Response:
    """One rule."""
    return part_of_policy(_document(_rule(context().service.policy(), path.id), _hits()))


@api.put("/rules/<id>", responses={200: documents.RuleDocument})
def replace_rule(path: IdPath, body: RuleBody) -> Response:
    """Replace a rule; it keeps its id and its place among those of its priority."""
    check_if_match()
    policy = context().service.policy()
    old = _rule(policy, path.id)
    if "id" in body.model_fields_set and body.id != path.id:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"id: {body.id} is not {path.id}; a rule keeps its id")
    rule = body.rule(path.id)
    _set_rules(policy, tuple(rule if known is old else known for known in policy.firewall.rules))
    return part_of_policy(_document(rule, _hits()))


@api.delete("/rules/<id>", responses={204: None})
def delete_rule(path: IdPath) -> tuple[str, HTTPStatus]:
    """Remove a rule."""
    check_if_match()
    policy = context().service.policy()
    old = _rule(policy, path.id)
    _set_rules(policy, tuple(rule for rule in policy.firewall.rules if rule is not old))
    return "", HTTPStatus.NO_CONTENT


@api.get("/default", responses={200: documents.DefaultDocument})
def get_default() -> Response:
    """What happens to traffic that no rule matches."""
    return part_of_policy({"default": context().service.policy().firewall.default})


@api.put("/default", responses={200: documents.DefaultDocument})
def set_default(body: DefaultBody) -> Response:
    """Change what happens to traffic that no rule matches."""
    check_if_match()
    policy = context().service.policy()
    bring_into_force(edited(policy, firewall=Firewall(**{**dict(policy.firewall), "default": body.default})))
    return part_of_policy({"default": body.default})


@api.get("/log", responses={200: documents.Page[documents.FirewallVerdict]})
def get_log(query: PageQuery) -> Response:
    """Logged verdicts, newest first."""
    try:
        found = context().service.firewall_log(query.limit, query.cursor)
    except ValueError:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: is not one that this list gave") from None
    return jsonify({"items": list(found.items), "next": found.next})


@api.get("/dry-run", responses={200: documents.Page[documents.WouldRefuse]})
def tried_out(query: PageQuery) -> Response:
    """What the rules with ``dry_run`` would have refused in the last hour, latest first."""
    return jsonify(page(context().service.would_have_refused(None), query))


@api.post("/dry-run", responses={200: documents.Page[documents.WouldRefuse]})
def try_out(query: PageQuery, body: Firewall) -> Response:
    """What another firewall would have refused of what was seen in the last hour, latest first; nothing is changed.

    New connections are seen where a rule has ``dry_run``, ``log`` or ``inspect``, and all of them with ``observe``.
    """
    return jsonify(page(context().service.would_have_refused(body), query))


def _rule(policy: Policy, rule_id: str) -> Rule:
    for rule in policy.firewall.rules:
        if rule.id == rule_id:
            return rule
    raise not_found(f"firewall rule {rule_id}")


def _set_rules(policy: Policy, rules: tuple[Rule, ...]) -> None:
    if len(rules) > MAX_RULES:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"rules: there are {MAX_RULES} already")
    bring_into_force(edited(policy, firewall=Firewall(**{**dict(policy.firewall), "rules": rules})))


def _hits() -> Mapping[str, tuple[int, int]]:
    return context().service.rule_hits()


def _document(rule: Rule, hits: Mapping[str, tuple[int, int]]) -> JsonObject:
    packets, octets = hits.get(rule.id, (0, 0))
    return {**rule.model_dump(mode="json"), "hits": packets, "bytes": octets}
