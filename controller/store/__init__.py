"""What survives ``kill -9``: policy history, audit log, runtime values and access tokens, in one SQLite file."""

from controller.store.database import StoreBusyError, StoreError
from controller.store.store import AuditEntry, Provenance, Revision, Store
from controller.store.tokens import Role, Token, Tokens

__all__ = ["AuditEntry", "Provenance", "Revision", "Role", "Store", "StoreBusyError", "StoreError", "Token", "Tokens"]
