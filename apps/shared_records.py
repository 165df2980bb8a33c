"""What the controllers of a cluster share through etcd: the policy, and the records that a single controller keeps on its disk.

Each controller's own store is a copy of it: a controller that leaves the cluster goes on from there.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apps.etcd import Change, Document, Etcd, EtcdError, KeyValue, is_created, is_modified, put
from apps.etcd import delete as drop
from controller.api.service import ConflictError
from controller.cluster.records import (
    NODES,
    POLICY_KEY,
    RECORDS,
    SCHEMA,
    SCHEMA_KEY,
    Mirror,
    Values,
    check_schema,
    parsed,
    read_node,
    record_key,
    split_record_key,
)
from controller.policy import Policy, PolicyError, etag, parse_policy
from controller.store import Provenance, Store, StoreError

log = logging.getLogger("resetlb.cluster")

AT_ONCE = 100
BYTES_AT_ONCE = 400_000
"""Records in one transaction: etcd takes 128 operations, and 1.5 MiB with what stands around them."""
LONGEST_POLICY = 1 << 26
Batch = list[tuple[str, str, object | None]]


class SharedRecords:
    """The policy and the records of one cluster, as one of its controllers has them."""

    def __init__(self, etcd: Etcd, prefix: str, me: str, version: str) -> None:
        self.etcd = etcd
        self.prefix = prefix
        self.version = version
        self.mirror = Mirror(f"{me} {secrets.token_hex(4)}", {})
        self.policy_revision = 0
        """The store's, of the policy in force here."""
        self.born = 0
        """The revision of our own record: while it stands, what we write counts."""
        self.me = me
        self._in_flight: str | None = None
        self._written: dict[tuple[str, str], int | None] = {}
        """At which revision we wrote what lately; None: it is on its way."""

    # --- the start -------------------------------------------------------------------------------------------------------------

    def found(self, store: ClusterStore, lldp_key: str) -> Values:
        """The cluster's records, and its policy put into our own store; a cluster that is new gets what our store has.

        Args:
            store: our own.
            lldp_key: what a new cluster signs its LLDP with (hex).

        Raises:
            ClusterSchemaError: a newer version wrote them.
            EtcdError, StoreError: it cannot be read, or not be kept.
        """
        # The key that signs our LLDP comes with the schema: no controller may ever find the one without the other.
        key = self.mirror.write("secrets", "lldp", lldp_key) or ""
        founding = [
            put(self.prefix + SCHEMA_KEY, json.dumps({"schema": SCHEMA, "version": self.version})),
            put(self.prefix + record_key("secrets", "lldp"), key),
        ]
        if self.etcd.transact([is_created(self.prefix + SCHEMA_KEY, 0)], founding) is not None:
            self._seed(store)
        revision, keys = self.etcd.read(self.prefix)
        known = {kv.key.removeprefix(self.prefix): kv for kv in keys}
        who = f"the cluster at {self.prefix}"
        check_schema(parsed(known[SCHEMA_KEY].value, who), who)
        for key, kv in known.items():
            if key.startswith(NODES):
                read_node(key.removeprefix(NODES), kv.value, kv.created)
        self.take_all(known, revision)
        self._copy_into(store)
        current = store.current_policy()
        if POLICY_KEY in known:
            self._adopt(known[POLICY_KEY], store)
        elif current is not None:
            why = Provenance("start", "controller", time.time(), "the cluster had no policy", store.file_hash())
            self._write_policy(current, why)
        return self.mirror.values

    def _seed(self, store: Store) -> None:
        everything = store.everything()
        batch = [(ns, key, value) for ns, known in everything.items() for key, value in known.items()]
        self._put(batch, [])
        log.info("a new cluster: it begins with the %d records of this controller", len(batch))

    def _copy_into(self, store: Store) -> None:
        mine, theirs = store.everything(), self.mirror.values
        gone = [(ns, key, None) for ns, known in mine.items() for key in known if key not in theirs.get(ns, {})]
        store.write([*gone, *((ns, key, value) for ns, known in theirs.items() for key, value in known.items())])

    def _adopt(self, kv: KeyValue, store: ClusterStore) -> None:
        policy, provenance, _ = self.read_policy(kv)
        current = store.current_policy()
        if current is None or etag(current) != etag(policy) or provenance.file_hash != store.file_hash():
            with store.policy_copied(policy, provenance):
                pass
        self.policy_revision = kv.modified

    # --- records ---------------------------------------------------------------------------------------------------------------

    def publish(self, batch: Batch) -> None:
        """Put records of ours into the cluster's store, as long as we belong to it. Raises StoreError."""
        if not self.born:
            raise StoreError("the cluster's store cannot be reached")
        try:
            self._put(batch, [is_created(f"{self.prefix}{NODES}{self.me}", self.born)])
        except EtcdError as error:
            raise StoreError(str(error)) from None

    def _put(self, batch: Batch, conditions: list[dict[str, Any]]) -> None:
        latest = {(ns, key): value for ns, key, value in batch}
        operations = []
        for (ns, key), value in latest.items():
            text, where = self.mirror.write(ns, key, value), self.prefix + record_key(ns, key)
            operations.append(drop(where) if text is None else put(where, text))
        self._written |= dict.fromkeys(latest)
        names = iter(latest)
        for part in _parts(operations):
            revision = self.etcd.transact(conditions, part)
            if revision is None:
                log.warning("records that were decided before this controller lost its lease are dropped")
                return
            self._written |= dict.fromkeys(itertools.islice(names, len(part)), revision)

    def take_all(self, known: dict[str, KeyValue], revision: int) -> Values:
        """Everything there was at a revision; what differs from what we had, but for what we wrote since then."""
        found = {split_record_key(key): kv.value for key, kv in known.items() if key.startswith(RECORDS)}
        self._written = {key: at for key, at in self._written.items() if at is None or at > revision}
        return self.mirror.replace(found, self._written.keys())

    def take(self, changes: list[Change]) -> Values:
        """What others changed."""
        changed: Values = {}
        for change in changes:
            key = change.key.removeprefix(self.prefix)
            if not key.startswith(RECORDS):
                continue
            namespace, name = split_record_key(key)
            is_news, value = self.mirror.read(namespace, name, change.now.value if change.now else None)
            if is_news:
                changed.setdefault(namespace, {})[name] = value
        return changed

    # --- policy ----------------------------------------------------------------------------------------------------------------

    def read_policy(self, kv: KeyValue) -> tuple[Policy, Provenance, str]:
        """The policy that stands there, where it comes from, and which writing it was. Raises StoreError."""
        try:
            document = json.loads(kv.value)
            policy, provenance = parse_policy(_unpacked(document["policy"])), Provenance(**document["provenance"])
            return policy, provenance, str(document["writing"])
        except (PolicyError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"the cluster's policy cannot be read: {error}") from None

    def is_in_flight(self, writing: str) -> bool:
        """Whether a policy is the one that we are putting into force at this moment."""
        return writing == self._in_flight

    @contextmanager
    def policy_published(self, policy: Policy, provenance: Provenance, former: Policy | None) -> Iterator[None]:
        """Have the cluster take a policy before the body does here; when the body raises, the cluster gets the former one back.

        Raises:
            ConflictError: another controller has changed the policy meanwhile.
            StoreError: the store cannot be reached.
        """
        self._write_policy(policy, provenance)
        try:
            yield
        except BaseException:
            if former is not None:
                self._write_policy(former, provenance)
            raise
        finally:
            self._in_flight = None

    def _write_policy(self, policy: Policy, provenance: Provenance) -> None:
        writing = self._in_flight = secrets.token_hex(8)
        said = {name: getattr(provenance, name) for name in ("origin", "actor", "time", "comment", "file_hash")}
        text = json.dumps({"policy": _packed(policy), "provenance": said, "writing": writing})
        where = self.prefix + POLICY_KEY
        try:
            revision = self.etcd.transact([is_modified(where, self.policy_revision)], [put(where, text)])
        except EtcdError as error:
            self._in_flight = None
            self.etcd.stop_watching()  # whether it was taken is unknown: all is read again
            raise StoreError(f"the policy was not changed: {error}") from None
        if revision is None:
            self._in_flight = None
            raise ConflictError("the policy was changed at another controller of the cluster meanwhile: read it again")
        self.policy_revision = revision


def _parts(operations: list[Document]) -> Iterator[list[Document]]:
    """Transactions that etcd takes."""
    part: list[Document] = []
    size = 0
    for operation in operations:
        length = len(str(operation))
        if part and (len(part) == AT_ONCE or size + length > BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(operation)
        size += length
    if part:
        yield part


def _packed(policy: Policy) -> str:
    """A policy as text: ten thousand rules are more than etcd takes as they are."""
    return base64.b64encode(zlib.compress(json.dumps(policy.document()).encode())).decode()


def _unpacked(text: str) -> Any:
    """What `_packed` made; longer than any policy may be is none. Raises ValueError."""
    unpacker = zlib.decompressobj()
    try:
        document = unpacker.decompress(base64.b64decode(text), LONGEST_POLICY)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError("it is not whole, or too long")
    return json.loads(document)


class ClusterStore(Store):
    """A controller's own store, whose policy is the cluster's."""

    shared: SharedRecords

    @contextmanager
    def policy_change(self, policy: Policy, provenance: Provenance) -> Iterator[None]:
        """Make a policy the cluster's, then ours; see `Store.policy_change`. Raises ConflictError too."""
        with (
            self.shared.policy_published(policy, provenance, self.current_policy()),
            self.policy_copied(policy, provenance),
        ):
            yield

    @contextmanager
    def policy_copied(self, policy: Policy, provenance: Provenance) -> Iterator[None]:
        """Take a policy that is the cluster's already."""
        with super().policy_change(policy, provenance):
            yield
