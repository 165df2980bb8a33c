"""Access tokens: shown once when made, kept as a digest."""

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

from controller.store.database import Database

PREFIX = "rlb_"


class Role(StrEnum):
    """What a token allows: ``read`` looks, ``admin`` also changes."""

    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret; ``created`` is in seconds since the epoch."""

    id: str
    name: str
    role: Role
    created: float


class Tokens:
    """The tokens of a store."""

    def __init__(self, database: Database) -> None:
        """Keep them in ``database``."""
        self._database = database

    def create(self, name: str, role: Role, now: float) -> tuple[Token, str]:
        """Make a token; returns it and its secret, which cannot be had again."""
        secret = PREFIX + secrets.token_urlsafe(32)
        token = Token(secrets.token_hex(4), name, role, now)
        self._database.execute(
            "INSERT INTO token (id, name, role, digest, created) VALUES (?, ?, ?, ?, ?)",
            (token.id, token.name, token.role.value, _digest(secret), token.created),
        )
        return token, secret

    def revoke(self, token_id: str) -> bool:
        """Delete a token; False when there is none of that id."""
        return bool(self._database.execute("DELETE FROM token WHERE id = ? RETURNING id", (token_id,)))

    def all(self) -> list[Token]:
        """List the tokens, oldest first."""
        rows = self._database.execute("SELECT id, name, role, created FROM token ORDER BY created, id")
        return [Token(token_id, name, Role(role), created) for token_id, name, role, created in rows]

    def find(self, secret: str) -> Token | None:
        """Return the token of this secret.

        The look-up is by digest of a 256-bit random secret, so neither a slow hash nor a constant-time comparison
        would add anything.
        """
        rows = self._database.execute("SELECT id, name, role, created FROM token WHERE digest = ?", (_digest(secret),))
        return Token(rows[0][0], rows[0][1], Role(rows[0][2]), rows[0][3]) if rows else None

    def exist(self) -> bool:
        """Whether there is any token."""
        return bool(self._database.execute("SELECT 1 FROM token LIMIT 1"))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
