"""Pools and their members: what the policy says of them, and what is observed."""

from http import HTTPStatus

from flask import Response, jsonify

from controller.api import documents
from controller.api.changes import edited, without
from controller.api.context import bring_into_force, check_if_match, context, part_of_policy
from controller.api.models import LoadBody, MemberBody, MemberPatch, MemberPath, NewPool, PageQuery, PoolBody, PoolPath
from controller.api.paging import page
from controller.api.problem import RefusedError, not_found
from controller.api.resources.subject import subject
from controller.api.service import ConflictError, JsonObject
from controller.api.times import rfc3339
from controller.policy import Member, Policy, Pool

api = subject("pools", "/pools")


@api.get("", responses={200: documents.Page[documents.PoolDocument]})
def list_pools(query: PageQuery) -> Response:
    """All pools."""
    pools = context().service.policy().pools
    return jsonify(page([_pool_document(name, pools[name]) for name in sorted(pools)], query))


@api.post("", responses={201: documents.PoolDocument})
def create_pool(body: NewPool) -> Response:
    """Add a pool."""
    check_if_match()
    policy = context().service.policy()
    if body.name in policy.pools:
        raise ConflictError(f"name: there is already a pool {body.name}")
    pool = body.pool()
    bring_into_force(edited(policy, pools={**policy.pools, body.name: pool}))
    return part_of_policy(_pool_document(body.name, pool), HTTPStatus.CREATED, f"/v1/pools/{body.name}")


@api.get("/<pool>", responses={200: documents.PoolDocument})
def get_pool(path: PoolPath) -> Response:
    """One pool."""
    return part_of_policy(_pool_document(path.pool, _pool(context().service.policy(), path.pool)))


@api.put("/<pool>", responses={200: documents.PoolDocument})
def replace_pool(path: PoolPath, body: PoolBody) -> Response:
    """Replace a pool with all its members; what is left out gets its default."""
    check_if_match()
    policy = context().service.policy()
    _pool(policy, path.pool)
    if body.name not in (None, path.pool):
        raise RefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"name: {body.name} is not {path.pool}; a pool keeps its name"
        )
    pool = body.pool()
    bring_into_force(edited(policy, pools={**policy.pools, path.pool: pool}))
    return part_of_policy(_pool_document(path.pool, pool))


@api.delete("/<pool>", responses={204: None})
def delete_pool(path: PoolPath) -> tuple[str, HTTPStatus]:
    """Remove a pool that no VIP uses."""
    check_if_match()
    policy = context().service.policy()
    _pool(policy, path.pool)
    users = [name for name, vip in policy.vips.items() if vip.pool == path.pool]
    if users:
        raise ConflictError(f"pool {path.pool} is used by vips.{users[0]}")
    bring_into_force(edited(policy, pools=without(policy.pools, path.pool)))
    return "", HTTPStatus.NO_CONTENT


@api.get("/<pool>/members", responses={200: documents.Page[documents.MemberDocument]})
def list_members(path: PoolPath, query: PageQuery) -> Response:
    """The members of a pool, in its order."""
    pool = _pool(context().service.policy(), path.pool)
    return jsonify(page([_member_document(path.pool, member) for member in pool.members], query))


@api.post("/<pool>/members", responses={201: documents.MemberDocument})
def add_member(path: PoolPath, body: MemberBody) -> Response:
    """Add a member to a pool."""
    check_if_match()
    pool = _pool(context().service.policy(), path.pool)
    if pool.member(body.name):
        raise ConflictError(f"name: there is already a member {body.name} in pool {path.pool}")
    member = body.member()
    _set_members(path.pool, (*pool.members, member))
    location = f"/v1/pools/{path.pool}/members/{member.name}"
    return part_of_policy(_member_document(path.pool, member), HTTPStatus.CREATED, location)


@api.get("/<pool>/members/<member>", responses={200: documents.MemberDocument})
def get_member(path: MemberPath) -> Response:
    """One member and what is observed of it."""
    return part_of_policy(_member_document(path.pool, _member(path)))


@api.patch("/<pool>/members/<member>", responses={200: documents.MemberDocument})
def change_member(path: MemberPath, body: MemberPatch) -> Response:
    """Change some fields of a member: its weight, its administrative state, where it is."""
    check_if_match()
    old = _member(path)
    new = Member(**{**dict(old), **body.model_dump(exclude_unset=True)})
    members = _pool(context().service.policy(), path.pool).members
    _set_members(path.pool, tuple(new if member is old else member for member in members))
    return part_of_policy(_member_document(path.pool, new))


@api.delete("/<pool>/members/<member>", responses={204: None})
def remove_member(path: MemberPath) -> tuple[str, HTTPStatus]:
    """Remove a member at once; to let its connections end first, set it to draining."""
    check_if_match()
    old = _member(path)
    members = _pool(context().service.policy(), path.pool).members
    _set_members(path.pool, tuple(member for member in members if member is not old))
    return "", HTTPStatus.NO_CONTENT


@api.put("/<pool>/members/<member>/load", responses={204: None})
def report_load(path: MemberPath, body: LoadBody) -> tuple[str, HTTPStatus]:
    """An agent's report. It is a measurement: neither the policy nor the audit log has it."""
    _member(path)
    context().service.report_load(path.pool, path.member, body.load, body.state)
    return "", HTTPStatus.NO_CONTENT


def _pool(policy: Policy, name: str) -> Pool:
    pool = policy.pools.get(name)
    if pool is None:
        raise not_found(f"pool {name}")
    return pool


def _member(path: MemberPath) -> Member:
    member = _pool(context().service.policy(), path.pool).member(path.member)
    if member is None:
        raise not_found(f"member {path.member} in pool {path.pool}")
    return member


def _set_members(pool_name: str, members: tuple[Member, ...]) -> None:
    policy = context().service.policy()
    pool = Pool(**{**dict(policy.pools[pool_name]), "members": members})
    bring_into_force(edited(policy, pools={**policy.pools, pool_name: pool}))


def _pool_document(name: str, pool: Pool) -> JsonObject:
    members = [_member_document(name, member) for member in pool.members]
    return {"name": name, **pool.model_dump(mode="json"), "members": members}


def _member_document(pool: str, member: Member) -> JsonObject:
    status = context().service.member_status(pool, member.name)
    return {
        **member.model_dump(mode="json"),
        "health": status.health,
        "effective_weight": status.effective_weight,
        "ejected_until": None if status.ejected_until is None else rfc3339(status.ejected_until),
        "connections_active": status.connections_active,
        "connections_per_s": status.connections_per_s,
        "resets_per_s": dict(status.resets_per_s),
        "handshake_ms": status.handshake_ms,
        "handshake_ratio": None if status.handshake_ratio is None else round(status.handshake_ratio, 4),
        "bytes_to": status.bytes_to,
        "bytes_from": status.bytes_from,
        "load": status.load,
        "agent": status.agent,
    }
