"""What differs between two policies, named by what an operator would call it, not by list positions."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from controller.policy.model import Policy
from controller.policy.problems import format_path

# The field that names an entry of each list of entries.
_LISTS_BY_KEY = {
    "members": ("name",),
    "rules": ("id",),
    "capacities": ("src", "dst"),
    "subnets": ("name",),
    "tags": ("name",),
    "zones": ("name",),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; ``old`` is None for what was added, ``new`` is None for what was removed."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        """The change on one line."""
        if self.old is None and isinstance(self.new, dict):
            return f"{self.path}: added"
        if self.new is None and isinstance(self.old, dict):
            return f"{self.path}: removed"
        return f"{self.path}: {json.dumps(self.old)} → {json.dumps(self.new)}"

    def document(self) -> dict[str, Any]:
        """The change as JSON."""
        return {"path": self.path, "old": self.old, "new": self.new}


def etag(policy: Policy) -> str:
    """Return a short digest of the policy's content, the same for the same content."""
    canonical = json.dumps(policy.document(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]


def diff(old: Policy, new: Policy) -> list[Change]:
    """List what must change to get from one policy to the other; empty when their content is the same."""
    return list(_differences("", old.document(), new.document()))


def _differences(path: str, old: Any, new: Any) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(_below(path, key), old.get(key), new.get(key))
    elif _have_keys(path, old, new):
        yield from _entries(path, old, new)
    elif old != new:
        yield Change(path, old, new)


def _have_keys(path: str, old: Any, new: Any) -> bool:
    """Whether these are lists of things that have names; a zone's `tags` are only names."""
    if path.rpartition(".")[2] not in _LISTS_BY_KEY or not isinstance(old, list) or not isinstance(new, list):
        return False
    return all(isinstance(entry, dict) for entry in (*old, *new))


def _entries(path: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[Change]:
    fields = _LISTS_BY_KEY[path.rpartition(".")[2]]
    old_by_key, new_by_key = (
        {"→".join(entry[field] for field in fields): entry for entry in entries} for entries in (old, new)
    )
    for key in [*old_by_key, *(key for key in new_by_key if key not in old_by_key)]:
        yield from _differences(f"{path}[{key}]", old_by_key.get(key), new_by_key.get(key))
    stay = [key for key in old_by_key if key in new_by_key]
    now = [key for key in new_by_key if key in old_by_key]
    if stay != now:  # the order of rules and members is part of the policy
        yield Change(path, stay, now)


def _below(path: str, key: str) -> str:
    name = format_path((key,))
    return name if not path else path + name if name.startswith("[") else f"{path}.{name}"
