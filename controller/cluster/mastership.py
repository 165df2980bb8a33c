"""Who may write to which switch: claims that hang on a lease, and a generation that tells an old claim from a new one.

Two things keep two controllers from writing to one switch. The lease: a controller stops by its own clock before anybody else can
hold what it held, for it counts the lease from when it *asked* for it, and etcd from when it *was asked* (Gray and Cheriton,
"Leases", 1989; only the rates of the clocks matter). And the switch: every claim has a generation that only grows, and a switch
refuses who comes with an older one than it has seen (OpenFlow 1.3.5 §6.3.6). The second holds when the first does not.

One controller gathers all switches that it reaches, so that whoever judges a pool sees all of its edges; another one has a switch
only while the first does not reach it (docs/adr/0015).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

DRIFT = 0.1
"""The share of a lease that we do not use: clocks run at rates that differ, by far less than this."""
TURN_S = 0.5
"""A free switch is claimed by who should have it, by the next one so much later, and so on: one that cannot must not hold up all."""
UNREACHED_S = 1.0
"""A switch that its master has not reached for so long is given to one that does."""
GATHERED_AFTER_S = 5.0
"""A switch is given to who has most of them, once that one has reached it for so long."""


class Node(NamedTuple):
    """A controller of the cluster. `born` is the revision its record was made at; `reaches` are dpids of switches connected to it."""

    name: str
    born: int
    reaches: frozenset[int]
    version: str = ""
    api: str = ""


class Claim(NamedTuple):
    """Who is master of a switch, and since which revision of the store."""

    node: str
    generation: int


@dataclass(slots=True)
class Lease:
    """Until when we may believe that nobody else holds what is ours. Times are of our own steady clock (s)."""

    until: float = float("-inf")

    def renewed(self, asked: float, ttl_s: float) -> None:
        """The store granted `ttl_s` to what we asked at `asked`."""
        self.until = max(self.until, asked + ttl_s * (1 - DRIFT))

    def lost(self) -> None:
        """The store does not know it any more."""
        self.until = float("-inf")

    def holds(self, now: float) -> bool:
        """Whether it is still ours."""
        return now < self.until


@dataclass(slots=True)
class Mastership:
    """One controller's view of the cluster, as the store told it; `me` is its own name."""

    me: str
    lease: Lease = field(default_factory=Lease)
    nodes: dict[str, Node] = field(default_factory=dict)
    claims: dict[int, Claim] = field(default_factory=dict)
    _mine: set[int] = field(default_factory=set)
    _free_since: dict[int, float] = field(default_factory=dict)
    _unfit_since: dict[int, tuple[str, float]] = field(default_factory=dict)
    """(why, since when) switches of ours should be another's."""

    # --- what the store says ---------------------------------------------------------------------------------------------------

    def on_node(self, name: str, node: Node | None) -> None:
        """A controller came, changed or went."""
        if node is None:
            self.nodes.pop(name, None)
        else:
            self.nodes[name] = node

    def on_claim(self, dpid: int, claim: Claim | None, now: float) -> None:
        """A switch has a master, or has none any more."""
        if claim is None:
            self.claims.pop(dpid, None)
            self._mine.discard(dpid)
            self._free_since[dpid] = now
        elif claim.generation > self.generation(dpid):
            self.claims[dpid] = claim
            self._free_since.pop(dpid, None)
            (self._mine.add if claim.node == self.me else self._mine.discard)(dpid)

    def lose(self, now: float) -> None:
        """Our lease is over: whatever the store still says, nothing is ours."""
        self.lease.lost()
        for dpid in self.mine():
            self.on_claim(dpid, None, now)

    def raise_generations(self, by: int) -> None:
        """All claims are so much newer than they were thought to be."""
        self.claims = {dpid: Claim(node, generation + by) for dpid, (node, generation) in self.claims.items()}

    # --- what follows ----------------------------------------------------------------------------------------------------------

    def generation(self, dpid: int) -> int:
        """That of the switch's claim, 0 without one."""
        claim = self.claims.get(dpid)
        return claim.generation if claim else 0

    def mine(self) -> list[int]:
        """Switches that are ours as far as the store has said."""
        return sorted(self._mine)

    def acts(self, now: float) -> bool:
        """Whether any switch is ours."""
        return bool(self._mine) and self.lease.holds(now)

    def others(self) -> bool:
        """Whether another controller is master of any switch."""
        return len(self.claims) > len(self._mine)

    def may_write(self, dpid: int, now: float) -> bool:
        """Whether a message may go to the switch at this moment."""
        return dpid in self._mine and self.lease.holds(now)

    def order(self, dpid: int) -> list[str]:
        """Who should be the switch's master, best first: who has most switches, reaches most, is there longest."""
        held = Counter(claim.node for claim in self.claims.values())
        fit = [node for node in self.nodes.values() if dpid in node.reaches]
        return [node.name for node in sorted(fit, key=lambda n: (-held[n.name], -len(n.reaches), n.born, n.name))]

    def to_take(self, now: float) -> list[int]:
        """Free switches whose turn it is to be claimed by us."""
        own = self.nodes.get(self.me)
        if own is None or not self.lease.holds(now):
            return []
        free = [dpid for dpid in sorted(own.reaches) if dpid not in self.claims]
        due = []
        for dpid in free:
            since = self._free_since.setdefault(dpid, now)
            if now >= since + TURN_S * self.order(dpid).index(self.me):
                due.append(dpid)
        return due

    def to_yield(self, now: float) -> list[int]:
        """Switches of ours that another one should have."""
        due = []
        for dpid in self.mine():
            order = self.order(dpid)
            reason = "" if not order or order[0] == self.me else "gathered" if self.me in order else "unreached"
            known, since = self._unfit_since.get(dpid, ("", now))
            if reason != known:
                since = now
            self._unfit_since[dpid] = reason, since
            if reason and now - since >= (GATHERED_AFTER_S if reason == "gathered" else UNREACHED_S):
                due.append(dpid)
        self._unfit_since = {dpid: unfit for dpid, unfit in self._unfit_since.items() if dpid in self.claims}
        return due
