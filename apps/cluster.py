"""One controller among several: its lease, the switches it claims, and what it takes from the others (docs/cluster.md).

Every controller is connected to every switch, and slave of those that are not its own. What decides who is master is
`controller.cluster.mastership`; here its answers become transactions and role requests.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import eventlet

from apps.cluster_membership import AGAIN_S, Membership
from apps.cluster_report import cluster_document, cluster_measurements
from apps.etcd import EtcdError, delete, is_created, put
from apps.fabric import Handshake
from apps.openflow import hub
from apps.roles import Role, SwitchRole, is_answer
from apps.runtime import Runtime
from apps.shared_records import Batch, SharedRecords
from controller.api.service import JsonObject, Measurement
from controller.cluster import records
from controller.cluster.mastership import Claim, Mastership
from controller.core import Core
from controller.events import PolicyChanged, Restored, SwitchDisconnected
from controller.topology import SETTLE_S

log = logging.getLogger("resetlb.cluster")

TURN_S = 0.1
"""How often it is looked whether something is due."""
AT_ONCE = 16


class Cluster:
    """This controller's part in a cluster."""

    def __init__(
        self,
        shared: SharedRecords,
        runtime: Runtime,
        new_core: Callable[[], Core],
        api: str,
    ) -> None:
        """Make it. `api`: where our API is, for people."""
        self.shared = shared
        self.me = shared.me
        self._etcd = shared.etcd
        self._runtime = runtime
        self._new_core = new_core
        self.mastership = Mastership(self.me)
        self.membership = Membership(shared, self.mastership, api, self._reaches, self.wake, self._left)
        self.takeovers = 0
        self._roles: dict[int, SwitchRole] = {}
        self._created: dict[int, int] = {}
        """The store's revision of each claim of ours."""
        self._withheld: set[int] = set()
        self._base = 0
        """Below every generation (`records.GENERATIONS_KEY`)."""
        self._wake = eventlet.event.Event()
        self._ending = False
        self._acting = False
        """Whether the core is one that began when we took over."""

    def start(self) -> None:
        """Join, and take part from now on."""
        for loop in (self.membership.renew, self._act):
            self.spawn(loop)

    def spawn(self, loop: Callable[[], None]) -> None:
        """Run something again and again, whatever becomes of it."""
        hub.spawn(self._forever, loop)

    def _forever(self, loop: Callable[[], None]) -> None:
        while not self._ending:
            try:
                loop()
            except EtcdError as error:
                self.membership.note_trouble(str(error))
                hub.sleep(AGAIN_S)
            except Exception:
                log.exception("the cluster: %s failed", loop.__name__)
                hub.sleep(1)

    def end(self) -> None:
        """Give up everything at once, so that nobody has to wait for the lease to end."""
        self._ending = True
        for role in self._roles.values():
            self._release(role)
        self.mastership.lose(time.monotonic())
        self.membership.end()

    # --- what the others ask of it ---------------------------------------------------------------------------------------------

    def may_write(self, dpid: int) -> bool:
        """Whether a message may go to a switch at this moment."""
        return self.mastership.may_write(dpid, time.monotonic())

    def lets_write(self, dpid: int) -> bool:
        """As `may_write`; a switch that something was withheld from is read again before it is ours again."""
        allowed = self.may_write(dpid)
        if not allowed:
            self._withheld.add(dpid)
        return allowed

    @property
    def acts(self) -> bool:
        """Whether any switch is ours."""
        return self.mastership.acts(time.monotonic())

    @property
    def cut_off(self) -> str | None:
        """Why the cluster cannot be reached, None when it can."""
        return self.membership.cut_off

    @property
    def reached(self) -> bool:
        """Whether any switch is connected to us."""
        return bool(self._roles)

    @property
    def stands_by(self) -> bool:
        """Whether we are ready to take over: every switch connected to us has a master, and it is another one."""
        claims = self.mastership.claims
        return not self.cut_off and bool(self._roles) and all(dpid in claims for dpid in self._roles)

    @property
    def trouble(self) -> str | None:
        """What is wrong, None when all is well."""
        if self.cut_off:
            return f"the cluster cannot be reached: {self.cut_off}"
        return None if self._roles else "no switch is connected"

    def master(self, dpid: int) -> str | None:
        """The name of a switch's master."""
        claim = self.mastership.claims.get(dpid)
        return claim.node if claim else None

    def publish(self, batch: Batch) -> None:
        """Put records into the cluster's store. Raises StoreError."""
        self.shared.publish(batch)

    def document(self) -> JsonObject:
        """As the API shows it."""
        return cluster_document(self.mastership, self._etcd.endpoint, self.cut_off, time.monotonic())

    def measurements(self) -> Iterator[Measurement]:
        """For `/metrics`."""
        yield from cluster_measurements(self.mastership, self.takeovers, time.monotonic())

    # --- switches --------------------------------------------------------------------------------------------------------------

    def on_connected(self, datapath: Any) -> None:
        """A switch finished its handshake: we are its slave until more is known."""
        datapath.handshake = None
        datapath.role = self._roles[datapath.id] = SwitchRole(datapath, time.monotonic(), self._on_role)
        self.wake()

    def on_disconnected(self, datapath: Any) -> None:
        """A connection ended, maybe before its handshake did."""
        role = getattr(datapath, "role", None)
        if role is not None and self._roles.get(datapath.id) is role:
            del self._roles[datapath.id]
            self.wake()

    def takes(self, datapath: Any, xid: int, message: bytes) -> bool:
        """Whether a message is for the core: not one about roles, nor of a switch that is not ours."""
        if is_answer(xid, message):
            datapath.role.on_answer(message)
            return False
        return datapath.handshake is not None

    def _on_role(self, role: SwitchRole) -> None:
        if role.asked is None:
            # The switch has said which generation it has seen: with that one nobody is refused.
            role.become(Role.SLAVE, max(role.generation, self.mastership.generation(role.dpid)))
        elif role.stale and role.asked[0] is Role.SLAVE:
            role.ask()  # another one became master in between
        elif role.stale:
            self.wake()
        elif role.present is Role.MASTER and role.asked[0] is Role.MASTER and self.may_write(role.dpid):
            settled = time.monotonic() - role.connected_at >= SETTLE_S
            role.datapath.handshake = Handshake(role.datapath, self._runtime, settled)

    def _release(self, role: SwitchRole) -> None:
        """Become a switch's slave; the core hears that it is away."""
        if role.asked is None or role.asked[0] is not Role.MASTER:
            return
        role.ask()  # and then be slave of the generation that it has seen by now (`_on_role`)
        role.datapath.handshake = None
        if self._runtime.datapaths.get(role.dpid) is role.datapath:
            del self._runtime.datapaths[role.dpid]
            self._runtime.submit(SwitchDisconnected(role.dpid))

    # --- claims ----------------------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        with eventlet.Timeout(TURN_S, False):
            self._wake.wait()
        self._wake = eventlet.event.Event()
        now = time.monotonic()
        if not self.mastership.lease.holds(now):
            # It may still be renewed: what the core knows is kept until it is known to be lost (`_left`).
            for role in self._roles.values():
                self._release(role)
            return
        self.membership.say_reach()
        self._yield(self.mastership.to_yield(now))
        self._take(self.mastership.to_take(now))
        self._follow_claims()

    def _yield(self, dpids: Iterable[int]) -> None:
        for dpid in dpids:
            log.info("switch %016x is given to another controller", dpid)
            role, created = self._roles.get(dpid), self._created[dpid]
            self.mastership.on_claim(dpid, None, time.monotonic())
            if role is not None:
                self._release(role)
            where = self.shared.prefix + records.master_key(dpid)
            try:
                self._etcd.transact([is_created(where, created)], [delete(where)])
            except EtcdError:
                self._etcd.stop_watching()  # whether it is given up is unknown: all is read again
                raise

    def _take(self, dpids: list[int]) -> None:
        pool = eventlet.GreenPool(AT_ONCE)
        for _ in pool.imap(self._claim, dpids):
            pass

    def _claim(self, dpid: int) -> None:
        where, lease = self.shared.prefix + records.master_key(dpid), self.membership.lease
        with contextlib.suppress(EtcdError):  # what was done all the same is seen by watching
            created = self._etcd.transact([is_created(where, 0)], [put(where, self.me, lease)])
            if created is not None and lease == self.membership.lease:
                self.on_claim(dpid, self.me, created)

    def on_claim(self, dpid: int, node: str, created: int) -> None:
        """The store has this claim, made at that revision."""
        if node == self.me:
            if not self.shared.born or created < self.shared.born:
                return  # it hangs on a former lease of ours, which nobody renews any more
            self._created[dpid] = created
        self.mastership.on_claim(dpid, Claim(node, self._base + created), time.monotonic())

    def _follow_claims(self) -> None:
        """Be master where the store says so, and nowhere else."""
        if self.acts and not self._acting:
            self._begin_anew()
        for dpid, role in list(self._roles.items()):
            if role.asked is None:
                continue
            if not self.may_write(dpid) or dpid in self._withheld:
                self._withheld.discard(dpid)
                self._release(role)
            elif role.stale:
                self._raise_generations(role, role.asked[1])
            else:
                role.become(Role.MASTER, self.mastership.generation(dpid))
        if not self.mastership.mine():
            self._step_down()

    def _raise_generations(self, role: SwitchRole, asked: int) -> None:
        """The switch has seen a newer generation than the store gives: the store was restored, or is another one. Begin above it."""
        generation = self.mastership.generation(role.dpid)
        if generation > max(role.generation, asked):
            role.become(Role.MASTER, generation)
        elif role.generation < asked:
            # Which one it has seen is asked once more; the answer comes to `_on_role`.
            role.ask()
        else:
            log.warning(
                "switch %016x has seen generation %d: the cluster's begin above that now", role.dpid, role.generation
            )
            mine = [is_created(self.shared.prefix + records.master_key(role.dpid), self._created[role.dpid])]
            where = self.shared.prefix + records.GENERATIONS_KEY
            if self._etcd.transact(mine, [put(where, str(role.generation))]) is not None:
                self.on_base(role.generation)

    def on_base(self, base: int) -> None:
        """Generations begin above this."""
        if base > self._base:
            self.mastership.raise_generations(base - self._base)
            self._base = base

    def _reaches(self) -> frozenset[int]:
        return frozenset(self._roles)

    # --- the core --------------------------------------------------------------------------------------------------------------

    def _left(self) -> None:
        """The lease is over, or may be: nothing is ours any more."""
        self._runtime.forget_unwritten()
        self.mastership.lose(time.monotonic())
        self._step_down()

    def _step_down(self) -> None:
        for role in self._roles.values():
            self._release(role)
        if self._acting:
            self._acting = False
            self._restore()

    def _begin_anew(self) -> None:
        """A fabric that was another's, or nobody's, is ours: begin with what is on record, as after a restart."""
        self.takeovers += 1
        self._acting = True
        self._restore()
        count = len(self.mastership.mine())
        log.info("acting for %s now", "1 switch" if count == 1 else f"{count} switches")

    def _restore(self) -> None:
        policy = self._runtime.core.policy
        self._runtime.begin(self._new_core())
        values = json.loads(json.dumps(self.shared.mirror.values))
        self._runtime.submit(Restored(values, others_act=self.mastership.others()))
        self._runtime.submit(PolicyChanged(policy))

    def wake(self) -> None:
        """Something changed: look what is due."""
        if not self._wake.ready():
            self._wake.send()
