"""A change of the policy: whole, durable and in force, or not made at all."""

from collections.abc import Mapping
from typing import Any, TypeVar

from controller.api.service import ConflictError, Service
from controller.policy import Change, Policy, PolicyError, diff
from controller.store import Provenance, Store, StoreError

T = TypeVar("T")


def edited(policy: Policy, **parts: Any) -> Policy:
    """Return the policy with some of its parts (``pools=…``) replaced.

    Raises:
        ConflictError: the new part claims what another one has.
        PolicyError: it refers to what does not exist.
    """
    try:
        return Policy(**{**dict(policy), **parts})
    except PolicyError as error:
        if all(found.collision for found in error.problems):
            raise ConflictError(str(error)) from None
        raise


def without(mapping: Mapping[str, T], name: str) -> dict[str, T]:
    """Return the mapping without one entry."""
    return {key: value for key, value in mapping.items() if key != name}


def change_policy(service: Service, store: Store, policy: Policy, provenance: Provenance, action: str) -> list[Change]:
    """Bring a policy into force and make it durable; returns what changed.

    The core takes it inside the store's transaction: refused by the core, it is not stored; refused by the disk, the
    core gets the old one back; killed in between, the restart finds the old one, and the client has no answer yet.

    Args:
        service: the running controller.
        store: where it becomes durable.
        policy: the new policy.
        provenance: who, when, from where.
        action: what the audit log calls it.

    Raises:
        PolicyError, ConflictError: the core refuses it.
        StoreError: it cannot be stored.
    """
    before = service.policy()
    changes = diff(before, policy)
    if not changes:
        if provenance.file_hash is not None:
            store.remember_file(provenance.file_hash)
        return []
    try:
        with store.policy_change(policy, provenance):
            store.record(
                now=provenance.time,
                actor=provenance.actor,
                action=action,
                target="policy",
                detail={"changes": [str(change) for change in changes[:100]], "count": len(changes)},
            )
            service.apply_policy(policy)
    except StoreError:
        if service.policy() != before:
            service.apply_policy(before)
        raise
    return changes
