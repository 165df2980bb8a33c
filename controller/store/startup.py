"""Which policy a controller starts with: the file's when it is new, else the last one stored (or rolled back to)."""

from dataclasses import dataclass
from pathlib import Path

from controller.policy import Change, Policy, content_hash, diff, parse_policy_text
from controller.policy.file import read_policy_file
from controller.store.database import StoreError
from controller.store.store import Provenance, Store


@dataclass(frozen=True, slots=True)
class StartingPolicy:
    """The policy to start with, and what it changes to the one that was in force before.

    Attributes:
        policy: the policy, stored as the current one.
        taken_from_file: whether the file had new content.
        changes: what that changed; for the log.
    """

    policy: Policy
    taken_from_file: bool
    changes: list[Change]


def policy_at_start(store: Store, path: Path | None, now: float) -> StartingPolicy:
    """Choose, and make durable, the policy to start with.

    A file is taken when its content differs from the content last taken from a file: so a restart does not undo what
    was changed by REST since.

    Args:
        store: the controller's store.
        path: the policy file, None for none.
        now: seconds since the epoch.

    Raises:
        PolicyError: the file is not a policy.
        OSError: it cannot be read.
        StoreError: the store cannot be used.
    """
    stored = store.current_policy()
    if path is not None:
        content = read_policy_file(path)
        file_hash = content_hash(content)
        policy = parse_policy_text(content)  # also when it is known: a broken file is said at once
        if stored is None or file_hash != store.file_hash():
            _store(store, policy, Provenance("file", str(path), now, f"policy file {path}", file_hash))
            return StartingPolicy(policy, True, diff(stored or Policy(), policy))
    if stored is None:
        stored = Policy()
        _store(store, stored, Provenance("start", "controller", now, "nothing was configured"))
    return StartingPolicy(stored, False, [])


def roll_back(store: Store, revision: int | None, actor: str, now: float) -> Policy:
    """Make an earlier policy the one to start with; for a controller that does not run.

    Args:
        store: the controller's store, claimed.
        revision: the revision to bring back, None for the one before the current.
        actor: who does it.
        now: seconds since the epoch.

    Raises:
        StoreError: there is no such revision, or the store cannot be used.
    """
    wanted = revision if revision is not None else store.previous_revision()
    policy = None if wanted is None else store.policy_at(wanted)
    if policy is None:
        raise StoreError("there is no earlier policy" if wanted is None else f"there is no policy revision {wanted}")
    _store(store, policy, Provenance("rollback", actor, now, f"back to revision {wanted}"))
    return policy


def _store(store: Store, policy: Policy, provenance: Provenance) -> None:
    with store.policy_change(policy, provenance):
        store.record(
            now=provenance.time, actor=provenance.actor, action=f"policy from {provenance.origin}", target="policy"
        )
