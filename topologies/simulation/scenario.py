"""One run: a fat tree comes up, is idle, is loaded, and things fail in it one after the other."""

from __future__ import annotations

import ipaddress
import random
import resource
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from controller import frames
from controller.core import Core
from controller.events import PolicyChanged, SwitchDisconnected
from controller.policy import Policy, parse_policy
from topologies.model.servers import ResetOnAccept, Serve, Silent
from topologies.model.wiring import HostPlace, LinkPlace, SwitchPort
from topologies.simulation.fabric import FlowFabric
from topologies.simulation.fat_tree import fat_tree
from topologies.simulation.loads import Loads
from topologies.simulation.measured import MeasuredCore
from topologies.simulation.traffic import Outcomes, Traffic, Vip

CONNECTING_S, ANNOUNCING_S, UP_S = 1.0, 1.0, 4.5
QUIET_S, LOADED_S, AFTER_FAULT_S, MENDED_S = 10.0, 10.0, 8.0, 5.0
LOADS_EVERY_S = 1.0
WAVE_EVERY_S = 0.05
VIP_PORT, MEMBER_PORT = 80, 8080
MOST_PER_POOL = 8
CHECK = {"type": "tcp", "interval_s": 2.0, "timeout_s": 1.0, "fall": 2}
SLOW_START_S = 1


@dataclass(frozen=True)
class Size:
    """What to simulate: a fat tree of k, one host in `hosts_per_member` being a member, new connections per second."""

    k: int
    hosts_per_member: int = 4
    rate: float = 1e5
    seed: int = 1
    hosts_per_edge: int | None = None
    """None: as many as the tree has ports for."""


@dataclass
class Cost:
    """What a while cost: virtual time, CPU time in the core, events and decisions of it."""

    name: str
    seconds: float
    cpu_s: float
    events: int
    decisions: int

    @property
    def cpu_share(self) -> float:
        """Of one core of this machine, had it been real time."""
        return self.cpu_s / self.seconds


@dataclass
class Recovery:
    """A fault, and when the last rule was changed because of it: in virtual time, and the CPU time in the core until then.

    `noticed_s`: when the core announced it, None if it never did; `failed` are the clients' connections that failed meanwhile.
    """

    fault: str
    converged_s: float
    cpu_ms: float
    rules: int
    noticed_s: float | None
    failed: int
    offered: int


@dataclass
class Report:
    """What a run came to."""

    k: int
    switches: int
    hosts: int
    links: int
    members: int
    rate: float
    up_s: float = 0.0
    entries: int = 0
    different_entries: int = 0
    groups: int = 0
    memory_mb: float = 0.0
    costs: list[Cost] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    reactions_ms: list[float] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)


class Run:
    """A fabric, its core and its clients, and the account of it."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.wiring = fat_tree(size.k, size.hosts_per_edge)
        self.core = Core(lldp_key=secrets.token_bytes(16), rng=random.Random(size.seed))
        self.measured = MeasuredCore(self.core)
        self.fabric = FlowFabric(self.wiring, self.measured, size.seed)
        self.members = list(self.wiring.hosts[:: size.hosts_per_member])
        self.policy = _policy(self.members)
        self.loads = Loads(self.fabric)
        links = len(self.wiring.links) + len(self.wiring.hosts)
        self.report = Report(
            size.k, len(self.fabric.switches), len(self.wiring.hosts), links, len(self.members), size.rate
        )
        self._mark()

    # --- phases ----------------------------------------------------------------------------------------------------------------

    def bring_up(self) -> None:
        """Switches connect to a controller that knows nothing, hosts say that they are there."""
        fabric = self.fabric
        for member in self.members:
            fabric.hosts[member.address].listen(MEMBER_PORT, Serve())
        fabric.tell(PolicyChanged(self.policy))
        for place, dpid in enumerate(fabric.switches):
            fabric.at(CONNECTING_S * place / len(fabric.switches), lambda dpid=dpid: fabric.connect(dpid))
        silent = [host for host in self.wiring.hosts if host not in set(self.members)]
        for place, host in enumerate(silent):
            when = UP_S - 2 * ANNOUNCING_S + ANNOUNCING_S * place / len(silent)
            fabric.at(when, lambda host=host: self._announce(host))
        self._spend("bring-up", UP_S)
        self.report.up_s = self.measured.changed_at
        planned = [planned.together() for planned in self.core.wanted.values()]
        self.report.entries = sum(len(wanted.flows) for wanted in planned)
        self.report.different_entries = len({cookie for wanted in planned for cookie in wanted.flows})
        self.report.groups = sum(len(wanted.groups) for wanted in planned)

    def _announce(self, host: HostPlace) -> None:
        """As any host does before its first connection: it asks who has the address."""
        station = self.fabric.hosts[host.address]
        question = frames.Arp(frames.ARP_REQUEST, host.mac, host.address, 0, _address("10.0.0.1"))
        station.frames.append(frames.arp(question, frames.BROADCAST))
        self.fabric.settle(host.address)

    def work(self) -> None:
        """Idle, then loaded."""
        self._spend("idle", QUIET_S)
        members = {member.address for member in self.members}
        # Where every host is a member they are each other's clients.
        clients = [host.address for host in self.wiring.hosts if host.address not in members] or list(members)
        vips = [
            Vip(self.core.services.vip_number(name), _address(str(vip.address)), vip.port)
            for name, vip in self.policy.vips.items()
        ]
        self.traffic = Traffic(self.fabric, vips, clients, self.size.rate, random.Random(self.size.seed))
        self.report.outcomes = self.traffic.outcomes
        self.traffic.start()
        self._carry()
        self._spend("loaded", LOADED_S)

    def _carry(self) -> None:
        octets, self.traffic.octets = self.traffic.octets, type(self.traffic.octets)()
        zones = {dpid: switch.zone for dpid, switch in self.core.topology.switches.items()}
        self.loads.carry(octets, zones, LOADS_EVERY_S)
        self.fabric.at(self.fabric.now + LOADS_EVERY_S, self._carry)

    def fail(self) -> None:
        """One thing after the other fails, and is mended before the next."""
        self.measured.reactions_ms.clear()
        for name, kind, fault, mended in self._faults():
            self._fault(name, kind, fault)
            mended()
            self._spend(f"after: {name}", MENDED_S)
        self.many_fail()
        self.report.reactions_ms = sorted(self.measured.reactions_ms)
        self.report.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def many_fail(self) -> None:
        """One member of each pool closes its port, one pool after the other: many reactions to measure."""
        size = _per_pool(self.members)
        for place, member in enumerate(self.members[::size]):
            fault, _ = self._behaves(member, None)
            self.fabric.at(self.fabric.now + WAVE_EVERY_S * place, fault)
        self._spend("many members fail", AFTER_FAULT_S)

    # --- faults ----------------------------------------------------------------------------------------------------------------

    def _faults(self) -> Iterator[tuple[str, str, Callable[[], None], Callable[[], None]]]:
        """(what fails, the announcement by which the core shows that it noticed, how it fails, how it is mended)."""
        pool = _per_pool(self.members)
        one, other, third = self.members[0], self.members[pool], self.members[2 * pool % len(self.members)]
        yield "a member's port is closed", "eject", *self._behaves(one, None)
        yield "a member resets what it accepted", "eject", *self._behaves(other, ResetOnAccept())
        yield "a member's machine is dead", "eject", *self._behaves(third, Silent())
        edge_link, core_link = self.wiring.links[0], self.wiring.links[-1]
        yield "a link is cut at an edge", "", *self._cut(edge_link)
        yield "a link is cut at the core", "", *self._cut(core_link)
        yield "an aggregation switch dies", "switch", *self._dies(edge_link.b.dpid)
        yield "a link is overloaded", "link", *self._overloaded(core_link.b)

    def _behaves(
        self, member: HostPlace, behaviour: ResetOnAccept | Silent | None
    ) -> tuple[Callable[[], None], Callable[[], None]]:
        host = self.fabric.hosts[member.address]
        fault = (
            (lambda: host.refuse(MEMBER_PORT)) if behaviour is None else (lambda: host.listen(MEMBER_PORT, behaviour))
        )
        return fault, lambda: host.listen(MEMBER_PORT, Serve())

    def _cut(self, *links: LinkPlace) -> tuple[Callable[[], None], Callable[[], None]]:
        def set_all(up: bool) -> None:
            for link in links:
                for end in (link.a, link.b):
                    self.fabric.set_port(end, up)

        return lambda: set_all(False), lambda: set_all(True)

    def _dies(self, dpid: int) -> tuple[Callable[[], None], Callable[[], None]]:
        its = [link for link in self.wiring.links if dpid in (link.a.dpid, link.b.dpid)]
        cut, mend = self._cut(*its)

        def die() -> None:
            self.fabric.away.add(dpid)
            self.fabric.tell(SwitchDisconnected(dpid))
            cut()

        def live() -> None:
            self.fabric.away.discard(dpid)
            self.fabric.start_anew(dpid)
            mend()

        return die, live

    def _overloaded(self, port: SwitchPort) -> tuple[Callable[[], None], Callable[[], None]]:
        speed = self.fabric.switches[port.dpid].speed_bps[port.port]
        return (lambda: self.loads.background.update({port: 1.2 * speed})), self.loads.background.clear

    def _fault(self, name: str, kind: str, fault: Callable[[], None]) -> None:
        began, cpu_s, rules = self.fabric.now, self.measured.cpu_s, self.measured.rules_changed
        failed, offered = self._failed(), self.traffic.outcomes.offered
        said = len(self.fabric.announcements)
        fault()
        self._spend(f"fault: {name}", AFTER_FAULT_S)
        changed = self.measured.rules_changed > rules
        noticed = [when - began for when, what in self.fabric.announcements[said:] if what.kind == kind]
        self.report.recoveries.append(
            Recovery(
                name,
                self.measured.changed_at - began if changed else 0.0,
                1000 * (self.measured.cpu_at_change_s - cpu_s) if changed else 0.0,
                self.measured.rules_changed - rules,
                noticed[0] if noticed else None,
                self._failed() - failed,
                self.traffic.outcomes.offered - offered,
            )
        )

    def _failed(self) -> int:
        seen = self.traffic.outcomes
        return seen.refused + seen.reset + seen.timed_out

    # --- the account -----------------------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        measured = self.measured
        self._before = measured.cpu_s, measured.events.total(), measured.decisions.total()

    def _spend(self, name: str, seconds: float) -> None:
        """Lets time pass, and notes what it cost."""
        self._mark()
        self.fabric.run(self.fabric.now + seconds)
        cpu_s, events, decisions = self._before
        measured = self.measured
        self.report.costs.append(
            Cost(
                name,
                seconds,
                measured.cpu_s - cpu_s,
                measured.events.total() - events,
                measured.decisions.total() - decisions,
            )
        )


def simulate(size: Size, tell: Callable[[str], object] = lambda _: None) -> Report:
    """The whole run; `tell` hears what begins."""
    run = Run(size)
    tell(f"k={size.k}: {run.report.switches} switches, {run.report.hosts} hosts, {run.report.links} links come up")
    run.bring_up()
    tell(f"k={size.k}: idle, then {size.rate:,.0f} new connections/s")
    run.work()
    tell(f"k={size.k}: faults")
    run.fail()
    return run.report


def _per_pool(members: list[HostPlace]) -> int:
    return min(MOST_PER_POOL, max(2, len(members) // 4))


def _policy(members: list[HostPlace]) -> Policy:
    size = _per_pool(members)
    pools = {
        f"pool-{first // size}": {
            "health_check": CHECK,
            "slow_start_s": SLOW_START_S,
            "members": [
                {"name": member.name, "address": str(ipaddress.IPv4Address(member.address)), "port": MEMBER_PORT}
                for member in members[first : first + size]
            ],
        }
        for first in range(0, len(members), size)
    }
    vips = {
        name: {"address": f"10.0.0.{number}", "port": VIP_PORT, "pool": name} for number, name in enumerate(pools, 1)
    }
    return parse_policy({"version": 1, "pools": pools, "vips": vips})


def _address(text: str) -> int:
    return int(ipaddress.IPv4Address(text))
