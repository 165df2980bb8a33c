"""What a controller hears from its cluster, and what it tells: watched in etcd, handed to whoever it is about."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from eventlet import tpool

from apps.cluster import Cluster
from apps.cluster_membership import AGAIN_S
from apps.etcd import Change, KeyValue, is_created, put
from apps.openflow import hub
from apps.runtime import Runtime
from apps.shared_records import ClusterStore
from controller.cluster import records
from controller.cluster.evidence import INTERVAL_S, Telling, heard
from controller.events import PacketSeen, PeerCounted, RecordsChanged, ResetsSummed, ResetSum
from controller.policy import Policy
from controller.store import Store, StoreError

log = logging.getLogger("resetlb.cluster")

READ_AGAIN_S = 60.0
"""A change that was missed is found so much later."""


class ClusterNews:
    """Follows what the others write; writes what our switches see while others have switches too."""

    def __init__(
        self,
        cluster: Cluster,
        runtime: Runtime,
        store: ClusterStore,
        copies: Store,
        apply_policy: Callable[[Policy], None],
    ) -> None:
        """Make it. `copies` is a connection of its own to the local store: a thread writes on it."""
        self._cluster = cluster
        self._state = cluster.mastership
        self._shared = cluster.shared
        self._etcd = cluster.shared.etcd
        self._runtime = runtime
        self._store = store
        self._copies = copies
        self._apply_policy = apply_policy
        self._telling = Telling()
        self._heard: dict[str, int] = {}
        """The revision of what each of the others told last."""

    def start(self) -> None:
        """Listen and tell from now on."""
        for loop in (self._follow, self._tell, self._read_again):
            self._cluster.spawn(loop)

    # --- what the store says ---------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        revision, keys = self._etcd.read(self._shared.prefix)
        self._take_everything({kv.key.removeprefix(self._shared.prefix): kv for kv in keys}, revision)
        for changes in self._etcd.watch(self._shared.prefix, revision + 1):
            self._take_changes(changes)
        hub.sleep(AGAIN_S)

    def _read_again(self) -> None:
        hub.sleep(READ_AGAIN_S)
        self._etcd.stop_watching()

    def _take_everything(self, known: dict[str, KeyValue], revision: int) -> None:
        self._take_key(records.GENERATIONS_KEY, known.get(records.GENERATIONS_KEY))
        for name in self._state.nodes.keys() - {key.removeprefix(records.NODES) for key in known}:
            self._take_node(name, None)
        there = {records.claimed(key) for key in known}
        for dpid in self._state.claims.keys() - there:
            self._state.on_claim(dpid, None, time.monotonic())
        for key, kv in known.items():
            self._take_key(key, kv)
        self._take_records(self._shared.take_all(known, revision))
        self._cluster.wake()

    def _take_changes(self, changes: list[Change]) -> None:
        for change in changes:
            self._take_key(change.key.removeprefix(self._shared.prefix), change.now)
        self._take_records(self._shared.take(changes))
        self._cluster.wake()

    def _take_key(self, key: str, kv: KeyValue | None) -> None:
        dpid = records.claimed(key)
        if dpid is not None and kv is None:
            self._state.on_claim(dpid, None, time.monotonic())
        elif dpid is not None and kv is not None:
            self._cluster.on_claim(dpid, kv.value, kv.created)
        elif key.startswith(records.NODES):
            self._take_node(key.removeprefix(records.NODES), kv)
        elif kv is None:
            return
        elif key.startswith(records.EVIDENCE) and self._cluster.acts:
            self._take_evidence(key.removeprefix(records.EVIDENCE), kv)
        elif key == records.POLICY_KEY:
            self._take_policy(kv)
        elif key == records.GENERATIONS_KEY and kv.value.isdecimal():
            self._cluster.on_base(int(kv.value))

    def _take_node(self, name: str, kv: KeyValue | None) -> None:
        known = name in self._state.nodes
        try:
            self._state.on_node(name, records.read_node(name, kv.value, kv.created) if kv else None)
        except records.ClusterSchemaError as error:
            log.error("%s; it is left out of account", error)
            return
        if known != (kv is not None) and name != self._state.me:
            log.info("controller %s %s the cluster", name, "joined" if kv else "left")

    def _take_policy(self, kv: KeyValue) -> None:
        if kv.modified <= self._shared.policy_revision:
            return
        try:
            policy, provenance, writing = self._shared.read_policy(kv)
            if self._shared.is_in_flight(writing):
                return
            with self._store.policy_copied(policy, provenance):
                self._apply_policy(policy)
        except StoreError as error:
            log.error("%s", error)
            return
        self._shared.policy_revision = kv.modified

    def _take_records(self, changed: records.Values) -> None:
        if not changed:
            return
        self._runtime.submit(RecordsChanged(changed))
        batch = [(ns, key, value) for ns, known in changed.items() for key, value in known.items()]
        try:
            tpool.execute(self._copies.write, batch)
        except StoreError as error:
            log.warning("the copy of the cluster's records is behind: %s", error)

    # --- evidence --------------------------------------------------------------------------------------------------------------

    def note(self, event: PacketSeen) -> None:
        """A packet-in of a switch of ours: while the fabric is divided, the others shall judge it too."""
        if self._state.others():
            self._telling.note(event)

    def note_sums(self, sums: Sequence[ResetSum]) -> None:
        """Resets of switches of ours that came too fast to be looked at one by one: likewise."""
        if self._state.others():
            self._telling.note_sums(sums)

    def _tell(self) -> None:
        hub.sleep(INTERVAL_S)
        if not self._cluster.acts or not self._state.others():
            return
        message = self._telling.message(self._runtime.core.counters.totals(), time.monotonic())
        if message is not None:
            where = f"{self._shared.prefix}{records.EVIDENCE}{self._state.me}"
            mine = [is_created(self._cluster.membership.key, self._shared.born)]
            self._etcd.transact(mine, [put(where, message, self._cluster.membership.lease)])

    def _take_evidence(self, name: str, kv: KeyValue) -> None:
        # Everything is read again now and then: what was heard before must not count once more.
        if name == self._state.me or self._heard.get(name) == kv.modified:
            return
        self._heard[name] = kv.modified
        try:
            packets, sums, totals = heard(kv.value)
        except ValueError as error:
            log.warning("evidence of controller %s cannot be read: %s", name, error)
            return
        for packet in packets:
            if packet.dpid not in self._runtime.datapaths:
                self._runtime.submit(packet)
        if sums:
            self._runtime.submit(ResetsSummed(tuple(sums)))
        if totals:
            self._runtime.submit(PeerCounted(name, totals))
