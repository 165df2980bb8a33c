"""The store's contents: policy revisions, the audit log and runtime values. Times are seconds since the epoch."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Self

from controller.policy import Policy, PolicyError, etag, parse_policy
from controller.store.database import Database, StoreError
from controller.store.tokens import Tokens

KEPT_REVISIONS = 200
KEPT_AUDIT_ENTRIES = 10_000
_FILE_HASH = "policy-file-hash"
_REVISION_COLUMNS = "id, etag, origin, actor, time, comment"


@dataclass(frozen=True, slots=True)
class Revision:
    """One state the policy was in; ``origin`` is ``file``, ``rest``, ``rollback`` or ``start``."""

    id: int
    etag: str
    origin: str
    actor: str
    time: float
    comment: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a policy change comes from.

    Attributes:
        origin: ``file``, ``rest``, ``rollback`` or ``start``.
        actor: who changed it.
        time: seconds since the epoch.
        comment: why.
        file_hash: ``policy.content_hash`` of the file it was read from.
    """

    origin: str
    actor: str
    time: float
    comment: str = ""
    file_hash: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change somebody made: who did what to what, with particulars as JSON."""

    id: int
    time: float
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


class Store:
    """Durable state of one controller. Every method raises StoreError when the file cannot be used."""

    def __init__(self, state_dir: Path, *, read_only: bool = False, must_exist: bool = False) -> None:
        """Open the store in a directory; it is created there unless it is ``read_only`` or ``must_exist``."""
        self._database = Database(state_dir, read_only=read_only, must_exist=must_exist or read_only)
        self.tokens = Tokens(self._database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give up a claim."""
        self._database.close()

    def claim(self) -> None:
        """Own the state directory until closed or dead: one controller, one directory. Raises StoreBusyError."""
        self._database.claim()

    # -- policy -----------------------------------------------------------------------------------------------------

    @contextmanager
    def policy_change(self, policy: Policy, provenance: Provenance) -> Iterator[None]:
        """Make ``policy`` the current one when the body succeeds; leave everything as it was when it raises.

        Put the hand-over to the core in the body, without switching greenlets. On StoreError at the end of the block
        the core has the new policy and the store does not: give the core the old one back.
        """
        origin, actor, now, comment, file_hash = astuple(provenance)
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO policy_revision (etag, document, origin, actor, time, comment) VALUES (?, ?, ?, ?, ?, ?)",
                (etag(policy), json.dumps(policy.document()), origin, actor, now, comment),
            )
            self._database.execute(
                "DELETE FROM policy_revision WHERE id <= (SELECT max(id) FROM policy_revision) - ?", (KEPT_REVISIONS,)
            )
            if file_hash is not None:
                self.remember_file(file_hash)
            yield

    def current_policy(self) -> Policy | None:
        """Return the policy in force, or None when there never was one."""
        rows = self._database.execute("SELECT max(id) FROM policy_revision")
        return None if rows[0][0] is None else self.policy_at(rows[0][0])

    def policy_at(self, revision_id: int) -> Policy | None:
        """Return the policy of a revision, or None when it is not (or no longer) there."""
        rows = self._database.execute("SELECT document FROM policy_revision WHERE id = ?", (revision_id,))
        if not rows:
            return None
        try:
            return parse_policy(json.loads(rows[0][0]))
        except (PolicyError, ValueError) as error:
            raise StoreError(f"stored policy revision {revision_id} is not valid: {error}") from None

    def revisions(self, *, limit: int, before: int | None = None) -> list[Revision]:
        """List revisions, newest first, those with an id below ``before``."""
        select = f"SELECT {_REVISION_COLUMNS} FROM policy_revision"  # noqa: S608  # nosec B608 # a constant
        rows = self._database.execute(
            f"{select} WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?", (before, before, limit)
        )
        return [Revision(*row) for row in rows]

    def previous_revision(self) -> int | None:
        """Return the newest revision whose content differs from the current policy, None when there is none."""
        rows = self._database.execute(
            "SELECT max(id) FROM policy_revision"
            " WHERE etag <> (SELECT etag FROM policy_revision ORDER BY id DESC LIMIT 1)"
        )
        return None if rows[0][0] is None else int(rows[0][0])

    def remember_file(self, file_hash: str) -> None:
        """Note the content of the policy file that was last taken in."""
        self._database.execute(
            "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (_FILE_HASH, file_hash),
        )

    def file_hash(self) -> str | None:
        """Return the hash of the content last taken from a file."""
        rows = self._database.execute("SELECT value FROM setting WHERE key = ?", (_FILE_HASH,))
        return str(rows[0][0]) if rows else None

    # -- audit ------------------------------------------------------------------------------------------------------

    def record(self, *, now: float, actor: str, action: str, target: str, detail: dict[str, Any] | None = None) -> None:
        """Add an entry to the audit log, dropping the oldest beyond the limit."""
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO audit (time, actor, action, target, detail) VALUES (?, ?, ?, ?, ?)",
                (now, actor, action, target, json.dumps(detail or {})),
            )
            self._database.execute(
                "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?", (KEPT_AUDIT_ENTRIES,)
            )

    def audit(self, *, limit: int, before: int | None = None) -> list[AuditEntry]:
        """List audit entries, newest first, those with an id below ``before``."""
        rows = self._database.execute(
            "SELECT id, time, actor, action, target, detail FROM audit WHERE ? IS NULL OR id < ?"
            " ORDER BY id DESC LIMIT ?",
            (before, before, limit),
        )
        return [AuditEntry(row[0], row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows]

    # -- runtime values ---------------------------------------------------------------------------------------------

    def write(self, values: Iterable[tuple[str, str, object | None]]) -> None:
        """Store (namespace, key, JSON value) entries, all or none; the value None deletes."""
        with self._database.transaction():
            for namespace, key, value in values:
                if value is None:
                    self.delete(namespace, key)
                else:
                    self.put(namespace, key, value)

    def put(self, namespace: str, key: str, value: object) -> None:
        """Store one JSON value."""
        self._database.execute(
            "INSERT INTO runtime (namespace, key, value) VALUES (?, ?, ?)"
            " ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value",
            (namespace, key, json.dumps(value, separators=(",", ":"))),
        )

    def delete(self, namespace: str, key: str) -> None:
        """Delete one value; nothing happens when it is not there."""
        self._database.execute("DELETE FROM runtime WHERE namespace = ? AND key = ?", (namespace, key))

    def list(self, namespace: str) -> dict[str, Any]:
        """Return the values of a namespace by key."""
        rows = self._database.execute("SELECT key, value FROM runtime WHERE namespace = ? ORDER BY key", (namespace,))
        return {key: json.loads(value) for key, value in rows}

    def everything(self) -> dict[str, dict[str, Any]]:
        """Return all runtime values by namespace and key, as the core is given them at start."""
        values: dict[str, dict[str, Any]] = {}
        for namespace, key, value in self._database.execute("SELECT namespace, key, value FROM runtime"):
            values.setdefault(namespace, {})[key] = json.loads(value)
        return values
