"""A controller's place in its cluster: its record, on a lease that it renews."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

import eventlet

from apps.etcd import EtcdError, is_created, put
from apps.openflow import hub
from apps.shared_records import SharedRecords
from controller.cluster import records
from controller.cluster.mastership import Mastership

log = logging.getLogger("resetlb.cluster")

TTL_S = 2
"""Of the lease; etcd grants no less than one and a half of its election timeouts."""
RENEW_S = 0.4
AGAIN_S = 0.3
NAME_TAKEN_S = 5.0
"""A lease of a former run is over before: so long a name may be taken without a word."""
LAST_S = 1.0
"""How long giving up the lease may hold up the end."""


class Membership:
    """Joins, renews, and says what becomes of it: `joined` when there is a lease, `left` when there is none any more."""

    def __init__(
        self,
        shared: SharedRecords,
        mastership: Mastership,
        api: str,
        reaches: Callable[[], frozenset[int]],
        joined: Callable[[], None],
        left: Callable[[], None],
    ) -> None:
        """Make it. `api`: where our API is, for people; `reaches` returns the switches that are connected to us."""
        self._shared = shared
        self._etcd = shared.etcd
        self._mastership = mastership
        self._me = shared.me
        self._api = api
        self._reaches = reaches
        self._joined, self._left = joined, left
        self.lease = 0
        """etcd's id of it, 0 without one."""
        self._former = 0
        """The lease of the membership before, while nobody may have been told that it is over."""
        self._said: frozenset[int] | None = None
        self._waiting_for_name: float | None = None
        self._trouble: str | None = "the cluster has not been joined yet"
        self._ending = False

    @property
    def key(self) -> str:
        """Where our own record stands."""
        return f"{self._shared.prefix}{records.NODES}{self._me}"

    @property
    def cut_off(self) -> str | None:
        """Why the cluster cannot be reached, None when it can."""
        over = None if self._mastership.lease.holds(time.monotonic()) else "the lease is over"
        return self._trouble or over

    def end(self) -> None:
        """Give the lease up, and with it all that hangs on it, so that nobody has to wait for its end."""
        self._ending = True
        if lease := self.lease or self._former:
            with contextlib.suppress(EtcdError), eventlet.Timeout(LAST_S, False):
                self._etcd.revoke(lease)

    def renew(self) -> None:
        """Join, or wait and renew: to be called again and again. Raises EtcdError."""
        if not self.lease:
            self._join()
            return
        hub.sleep(RENEW_S)
        asked = time.monotonic()
        try:
            ttl_s = self._etcd.keep_alive(self.lease)
        except EtcdError as error:
            if not self._mastership.lease.holds(time.monotonic()):
                self._leave(f"{error}; the lease is over")
            raise
        if self._ending:
            return
        if ttl_s:
            self._mastership.lease.renewed(asked, ttl_s)
        else:
            self._leave("the lease is over")

    def _join(self) -> None:
        if self._former:
            # A new leader of etcd lengthens the leases it finds, and we would wait for our own name.
            with contextlib.suppress(EtcdError):
                self._etcd.revoke(self._former)
        asked, (lease, ttl_s) = time.monotonic(), self._etcd.grant(TTL_S)
        reaches = self._reaches()
        record, where = records.node_value(self._shared.version, self._api, reaches), self.key
        born = self._etcd.transact([is_created(where, 0)], [put(where, record, lease)])
        if born is None:
            self._etcd.revoke(lease)
            self._wait_for_name()
            return
        self.lease, self._shared.born, self._said, self._waiting_for_name = lease, born, reaches, None
        self._former = 0
        self._mastership.lease.renewed(asked, ttl_s)
        self._mastership.on_node(self._me, records.read_node(self._me, record, born))
        log.info("joined the cluster as %s; its lease is %d s", self._me, ttl_s)
        self._trouble = None
        self._joined()

    def _wait_for_name(self) -> None:
        """A former run of ours may still have its lease; anybody else is a mistake."""
        now = time.monotonic()
        if self._waiting_for_name is None:
            self._waiting_for_name = now
        elif now > self._waiting_for_name + NAME_TAKEN_S:
            self._waiting_for_name = now + 60.0
            log.error("another controller of this cluster is called %s: give this one another --cluster-node", self._me)
        hub.sleep(AGAIN_S)

    def _leave(self, why: str) -> None:
        self._former, self.lease, self._shared.born = self.lease, 0, 0
        self.note_trouble(why)
        self._left()

    def note_trouble(self, why: str) -> None:
        """Say why, once, when it costs the lease."""
        if self._trouble is None and not self._mastership.lease.holds(time.monotonic()):
            self._trouble = why
            log.error("cut off from the cluster, so no switch is ours: %s", why)

    def say_reach(self) -> None:
        """Have the others know which switches are connected to us. Raises EtcdError."""
        reaches = self._reaches()
        if reaches == self._said or not self._shared.born:
            return
        record = records.node_value(self._shared.version, self._api, reaches)
        mine = [is_created(self.key, self._shared.born)]
        if self._etcd.transact(mine, [put(self.key, record, self.lease)]) is not None:
            self._said = reaches
            self._mastership.on_node(self._me, records.read_node(self._me, record, self._shared.born))
