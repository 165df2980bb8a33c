"""VIPs: the addresses that clients connect to."""

from http import HTTPStatus

from flask import Response, jsonify

from controller.api import documents
from controller.api.changes import edited, without
from controller.api.context import bring_into_force, check_if_match, context, part_of_policy
from controller.api.models import NewVip, PageQuery, VipBody, VipPath
from controller.api.paging import page
from controller.api.problem import RefusedError, not_found
from controller.api.resources.subject import subject
from controller.api.service import ConflictError, JsonObject
from controller.policy import Policy, Vip

api = subject("vips", "/vips")


@api.get("", responses={200: documents.Page[documents.VipDocument]})
def list_vips(query: PageQuery) -> Response:
    """All VIPs."""
    vips = context().service.policy().vips
    return jsonify(page([_document(name, vips[name]) for name in sorted(vips)], query))


@api.post("", responses={201: documents.VipDocument})
def create_vip(body: NewVip) -> Response:
    """Add a VIP."""
    check_if_match()
    policy = context().service.policy()
    if body.name in policy.vips:
        raise ConflictError(f"name: there is already a VIP {body.name}")
    bring_into_force(edited(policy, vips={**policy.vips, body.name: body.vip()}))
    return part_of_policy(_document(body.name, body.vip()), HTTPStatus.CREATED, f"/v1/vips/{body.name}")


@api.get("/<vip>", responses={200: documents.VipDocument})
def get_vip(path: VipPath) -> Response:
    """One VIP."""
    return part_of_policy(_document(path.vip, _vip(context().service.policy(), path.vip)))


@api.put("/<vip>", responses={200: documents.VipDocument})
def replace_vip(path: VipPath, body: VipBody) -> Response:
    """Replace a VIP; what is left out gets its default."""
    check_if_match()
    policy = context().service.policy()
    _vip(policy, path.vip)
    if body.name not in (None, path.vip):
        raise RefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"name: {body.name} is not {path.vip}; a VIP keeps its name"
        )
    bring_into_force(edited(policy, vips={**policy.vips, path.vip: body.vip()}))
    return part_of_policy(_document(path.vip, body.vip()))


@api.delete("/<vip>", responses={204: None})
def delete_vip(path: VipPath) -> tuple[str, HTTPStatus]:
    """Remove a VIP."""
    check_if_match()
    policy = context().service.policy()
    _vip(policy, path.vip)
    bring_into_force(edited(policy, vips=without(policy.vips, path.vip)))
    return "", HTTPStatus.NO_CONTENT


def _vip(policy: Policy, name: str) -> Vip:
    vip = policy.vips.get(name)
    if vip is None:
        raise not_found(f"VIP {name}")
    return vip


def _document(name: str, vip: Vip) -> JsonObject:
    return {"name": name, **vip.model_dump(mode="json")}
