"""What survives ``kill -9``: policy history, audit log, runtime values and access tokens, in one SQLite file."""

from controller.store.backup import Copy, back_up, restore
from controller.store.database import StoreBusyError, StoreError
from controller.store.startup import StartingPolicy, policy_at_start, roll_back
from controller.store.store import AuditEntry, Provenance, Revision, Store
from controller.store.tokens import Role, Token, Tokens

__all__ = [
    "AuditEntry",
    "Copy",
    "Provenance",
    "Revision",
    "Role",
    "StartingPolicy",
    "Store",
    "StoreBusyError",
    "StoreError",
    "Token",
    "Tokens",
    "back_up",
    "policy_at_start",
    "restore",
    "roll_back",
]
