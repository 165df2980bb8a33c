"""What stands in the store of a cluster: keys, values, and the schema that says whether they can be understood.

`nodes/NAME` and `masters/DPID` hang on a controller's lease and go with it. `policy` and `records/NAMESPACE/KEY` are durable: the
records are what a single controller keeps in its own store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from controller.cluster.mastership import Node

SCHEMA = 1
"""Of everything below. One that is newer is not understood: see `check_schema`."""
SCHEMA_KEY, POLICY_KEY, GENERATIONS_KEY = "schema", "policy", "generations"
NODES, MASTERS, RECORDS, EVIDENCE = "nodes/", "masters/", "records/", "evidence/"

Values = dict[str, dict[str, Any]]
"""By namespace and key, as `Restored` has them."""


class ClusterSchemaError(Exception):
    """The store was written by a newer ResetLB."""


def prefix(cluster: str) -> str:
    """Where a cluster's keys begin."""
    return f"/resetlb/{cluster}/"


def check_schema(document: Any, who: str) -> None:
    """Refuse what a newer version wrote; `who` says where it stands. Raises ClusterSchemaError."""
    found = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(found, int):
        raise ClusterSchemaError(f"{who} says no schema: it is not ResetLB's")
    if found > SCHEMA:
        version = document.get("version", "a newer version")
        raise ClusterSchemaError(
            f"{who} has schema {found}, of ResetLB {version}; this one knows {SCHEMA}: update it, or use another cluster name"
        )


def parsed(value: str, who: str) -> Any:
    """Read JSON; `who` says where it stands. Raises ClusterSchemaError."""
    try:
        return json.loads(value)
    except ValueError:
        raise ClusterSchemaError(f"{who} is not JSON: it is not ResetLB's") from None


def node_value(version: str, api: str, reaches: frozenset[int]) -> str:
    """A controller's own record."""
    dpids = [f"{dpid:016x}" for dpid in sorted(reaches)]
    return json.dumps({"schema": SCHEMA, "version": version, "api": api, "reaches": dpids})


def read_node(name: str, value: str, born: int) -> Node:
    """Read a controller's record. Raises ClusterSchemaError."""
    who = f"the controller {name} of this cluster"
    document = parsed(value, who)
    check_schema(document, who)
    try:
        reaches = frozenset(int(dpid, 16) for dpid in document["reaches"])
        return Node(name, born, reaches, str(document["version"]), str(document["api"]))
    except (ValueError, KeyError, TypeError):
        raise ClusterSchemaError(f"{who} has a record that is not ResetLB's") from None


def master_key(dpid: int) -> str:
    """Where a switch's claim stands."""
    return f"{MASTERS}{dpid:016x}"


def claimed(key: str) -> int | None:
    """The switch that a key claims, None when it is no such key."""
    found = re.fullmatch(f"{MASTERS}([0-9a-f]{{16}})", key)
    return int(found[1], 16) if found else None


def record_key(namespace: str, key: str) -> str:
    """Where a record stands."""
    return f"{RECORDS}{namespace}/{key}"


def split_record_key(key: str) -> tuple[str, str]:
    """(namespace, key) of a record."""
    namespace, _, name = key.removeprefix(RECORDS).partition("/")
    return namespace, name


@dataclass(slots=True)
class Mirror:
    """The records as they are in the store, with what of ours is on its way there."""

    me: str
    values: Values

    def write(self, namespace: str, key: str, value: object | None) -> str | None:
        """Note a value of ours; what stands in the store for it, None for nothing."""
        self._set(namespace, key, value)
        return None if value is None else json.dumps({"by": self.me, "value": value}, separators=(",", ":"))

    def read(self, namespace: str, key: str, text: str | None) -> tuple[bool, Any]:
        """Take what the store says: whether that is news to us, and the value (None: deleted)."""
        if text is None:
            return self._set(namespace, key, None), None
        author, value = _read(text)
        if author == self.me or value is None:
            return False, value
        return self._set(namespace, key, value), value

    def replace(self, found: Mapping[tuple[str, str], str], newer: Set[tuple[str, str]] = frozenset()) -> Values:
        """Take everything the store has at one moment; returns what that changes, deleted ones as None.

        `newer`: what we have written since that moment, so we know better.
        """
        changed: Values = {}
        kept = found.keys() | newer
        gone = [(ns, key) for ns, known in self.values.items() for key in known if (ns, key) not in kept]
        for namespace, key in gone:
            self._set(namespace, key, None)
            changed.setdefault(namespace, {})[key] = None
        for (namespace, key), text in found.items():
            value = _read(text)[1]
            if value is not None and (namespace, key) not in newer and self._set(namespace, key, value):
                changed.setdefault(namespace, {})[key] = value
        return changed

    def _set(self, namespace: str, key: str, value: Any) -> bool:
        known = self.values.setdefault(namespace, {})
        if value is None:
            return known.pop(key, None) is not None
        if known.get(key) == value:
            return False
        known[key] = value
        return True


def _read(text: str) -> tuple[Any, Any]:
    """(author, value) of a record; a value of None is none of ours, whoever wrote it there."""
    try:
        document = json.loads(text)
        return document["by"], document["value"]
    except (ValueError, KeyError, TypeError):
        return None, None
