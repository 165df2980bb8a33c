"""The real core on a modelled fabric in virtual time: fabrics by shape, policies in a few words, and what clients saw."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import networkx as nx

from controller import addresses
from controller.core import Core
from controller.events import Event, PolicyChanged, Restored
from controller.flows import GroupEntry, Purpose, purpose_of
from controller.policy import Policy, parse_policy
from controller.pools import MemberState
from topologies.model.application import End
from topologies.model.fabric import FakeFabric
from topologies.model.hosts import Attempt
from topologies.model.servers import Behaviour, Serve
from topologies.model.wiring import HostPlace, LinkPlace, Speed, SwitchPort, Wiring

KEY = b"a key that only the controller has"
VIP, VIP_PORT, MEMBER_PORT = 0x0A000064, 80, 8080
IPV6_VIP = 0xFD << 120 | 0x64
SETTLED_S = 2.0
UNSHAPED = Speed()
LIVE = frozenset({Purpose.AFFINITY, Purpose.HELD})
"""Entries that come and go by themselves."""


def address(edge: int, place: int) -> int:
    """10.0.`edge`.`place`, as in `topologies/addressing.py`."""
    return 0x0A000000 | edge << 8 | place


def ipv6_address(edge: int, place: int) -> int:
    """fd00::`edge`:`place`, as in `topologies/addressing.py`."""
    return 0xFD00 << 112 | edge << 16 | place


text = addresses.text


def wiring_of(graph: nx.Graph, hosts: dict[int, int], speed: Speed = UNSHAPED) -> Wiring:
    """A fabric of the graph's nodes (their numbers are dpids): hosts at ports 1 on, links behind them, hosts named `h<dpid>-<port>`."""
    ports = {node: hosts.get(node, 0) for node in graph}

    def port(node: int) -> SwitchPort:
        ports[node] += 1
        return SwitchPort(node, ports[node])

    places = [
        HostPlace(f"h{node}-{place}", 0x02_00_0A_00_00_00 | node << 8 | place, address(node, place), SwitchPort(node, place))
        for node, count in sorted(hosts.items())
        for place in range(1, count + 1)
    ]  # fmt: skip
    links = [LinkPlace(port(a), port(b), speed) for a, b in sorted(tuple(sorted(edge)) for edge in graph.edges)]
    return Wiring(tuple(places), tuple(links), {node: frozenset() for node in graph})


def in_ipv6(wiring: Wiring, every: int = 1) -> Wiring:
    """The same fabric, every so many of its hosts with an IPv6 address."""
    hosts = [
        replace(host, address=ipv6_address(host.address >> 8 & 0xFF, host.address & 0xFF))
        if number % every == 0
        else host
        for number, host in enumerate(wiring.hosts)
    ]
    return replace(wiring, hosts=tuple(hosts))


def single(hosts: int = 6) -> Wiring:
    graph: nx.Graph = nx.Graph()
    graph.add_node(1)
    return wiring_of(graph, {1: hosts})


def ring(switches: int = 4, hosts: int = 2) -> Wiring:
    graph = nx.relabel_nodes(nx.cycle_graph(switches), {node: node + 1 for node in range(switches)})
    return wiring_of(graph, dict.fromkeys(graph, hosts))


def tree(hosts: int = 2) -> Wiring:
    """A root, two switches below it, two leaves below each: the leaves (4 to 7) have the hosts."""
    graph: nx.Graph = nx.Graph([(1, 2), (1, 3), (2, 4), (2, 5), (3, 6), (3, 7)])
    return wiring_of(graph, dict.fromkeys((4, 5, 6, 7), hosts))


def leaf_spine(leaves: int = 3, spines: int = 2, hosts: int = 2, speed: Speed = UNSHAPED) -> Wiring:
    """Leaves 1 on with hosts, spines behind them."""
    graph: nx.Graph = nx.Graph(
        (leaf, leaves + spine) for leaf in range(1, leaves + 1) for spine in range(1, spines + 1)
    )
    return wiring_of(graph, dict.fromkeys(range(1, leaves + 1), hosts), speed)


SHAPES: dict[str, Callable[[], Wiring]] = {
    "single": single,
    "ring": ring,
    "tree": tree,
    "leaf-spine": leaf_spine,
    "leaf-spine of IPv6": lambda: in_ipv6(leaf_spine()),
}


def policy_of(members: Iterable[str], *, vip: dict[str, object] | None = None, **parts: object) -> Policy:
    """One pool `web` of these addresses, `web-1` on, behind one VIP; `pool=` and other parts of the policy as given."""
    pool, members = dict(parts.pop("pool", {})), list(members)  # type: ignore[call-overload]
    named = [
        {"name": f"web-{number}", "address": member, "port": MEMBER_PORT} for number, member in enumerate(members, 1)
    ]
    for number, more in pool.pop("each", {}).items():
        named[number - 1] |= more
    address = text(IPV6_VIP if any(":" in member for member in members) else VIP)
    vips = {"web": {"address": address, "port": VIP_PORT, "pool": "web", **(vip or {})}}
    return parse_policy({"version": 1, "pools": {"web": {"members": named, **pool}}, "vips": vips, **parts})


@dataclass
class World:
    """A fabric, its controller and what the controller was told to want. Members serve from the start."""

    wiring: Wiring
    policy: Policy
    seed: int = 0
    options: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fabric = FakeFabric(self.wiring, self.new_core(), seed=self.seed, **self.options)  # type: ignore[arg-type]
        self.names = {host.address: name for name, host in self.fabric.hosts.items()}
        self.vip = next((addresses.number(vip.address) for vip in self.policy.vips.values()), VIP)
        for pool in self.policy.pools.values():
            for member in pool.members:
                self.serve(member.address, Serve(3000), member.port)
        self.fabric.start(PolicyChanged(self.policy))
        self.run(SETTLED_S)

    def new_core(self) -> Core:
        return Core(lldp_key=KEY, rng=random.Random(self.seed))

    @property
    def core(self) -> Core:
        assert isinstance(self.fabric.core, Core)
        return self.fabric.core

    @property
    def now(self) -> float:
        return self.fabric.now

    def run(self, seconds: float) -> None:
        self.fabric.run(self.fabric.now + seconds)

    def tell(self, event: Event) -> None:
        self.fabric.tell(event)

    def apply(self, policy: Policy) -> None:
        """The operator changes the policy."""
        self.policy = policy
        self.tell(PolicyChanged(policy))

    def serve(self, member: str, behaviour: Behaviour, port: int = MEMBER_PORT) -> None:
        self._host(member).listen(port, behaviour)

    def close_port(self, member: str, port: int = MEMBER_PORT) -> None:
        self._host(member).refuse(port)

    def _host(self, where: str):  # type: ignore[no-untyped-def]
        return self.fabric.hosts[self.names[addresses.number(where)]]

    def connect(self, client: str, dst: int | None = None, port: int = VIP_PORT, **options: object) -> Attempt:
        """One connection, to the VIP unless `dst` is given, begins now."""
        attempt = self.fabric.hosts[client].connect(dst or self.vip, port, self.now, **options)  # type: ignore[arg-type]
        self.fabric.settle(client)
        return attempt

    def connections(
        self, clients: Iterable[str], count: int, every_s: float = 0.01, **options: object
    ) -> list[Attempt]:
        """So many connections, one after the other from each client in turn; returns when the last one began."""
        clients = list(clients)
        attempts = []
        for number in range(count):
            attempts.append(self.connect(clients[number % len(clients)], **options))  # type: ignore[arg-type]
            self.run(every_s)
        return attempts

    def member(self, name: str) -> MemberState:
        return self.core.services.pools.members["web", name]

    def served_by(self, attempt: Attempt, client: str) -> str | None:
        """The member a connection is pinned to, by the mark in the tracker of its client's switch."""
        host = self.fabric.hosts[client]
        for switch in self.fabric.switches.values():
            for entry in switch.tracker.connections(self.now):
                if (entry.original.src, entry.original.tp_src) == (host.address, attempt.endpoint.port):
                    state = self.core.services.member(entry.mark & 0xFFFF)
                    return state.policy.name if state else None
        return None

    def leave(self) -> None:
        """The controller dies."""
        self.fabric.controller_leaves()

    def come_back(self) -> Core:
        """A controller starts on what the last one stored."""
        self.fabric.controller_returns(self.new_core(), PolicyChanged(self.policy))
        return self.core

    def come_back_as(self) -> Core:
        """A controller that starts on what was stored, and that no switch has connected to yet."""
        core = self.new_core()
        core.handle(Restored({name: dict(values) for name, values in self.fabric.stored.items()}), self.now)
        core.handle(PolicyChanged(self.policy), self.now)
        return core

    def installed(self) -> dict[int, frozenset[tuple[int, int]]]:
        """(table, cookie) of what stands on each switch for good."""
        return {
            dpid: frozenset(
                (entry.table_id, entry.cookie)
                for entry in switch.installed(self.now)
                if purpose_of(entry.cookie) not in LIVE and not entry.hard_timeout_s
            )
            for dpid, switch in self.fabric.switches.items()
        }

    def groups(self) -> dict[int, dict[int, GroupEntry]]:
        """The groups of each switch as they are."""
        return {
            dpid: {group_id: switch.group(group_id, self.now).entry for group_id in switch.group_ids}  # type: ignore[union-attr]
            for dpid, switch in self.fabric.switches.items()
        }

    def announced(self, kind: str) -> list[str]:
        return [announced.text for _, announced in self.fabric.announcements if announced.kind == kind]

    def faultless(self) -> bool:
        """Whether no switch refused anything nor found anything odd."""
        assert self.fabric.errors == []
        assert self.fabric.warnings == []
        return True


def ends(attempts: Iterable[Attempt]) -> dict[End | None, int]:
    """How the connections ended, counted; None: not yet."""
    counted: dict[End | None, int] = {}
    for attempt in attempts:
        counted[attempt.end] = counted.get(attempt.end, 0) + 1
    return counted


def failures(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Connections whose client saw anything but success."""
    return [attempt for attempt in attempts if attempt.end is not End.CLOSED]


def pairs_of_hosts(wiring: Wiring) -> Iterator[tuple[str, str]]:
    for one in wiring.hosts:
        for other in wiring.hosts:
            if one is not other:
                yield one.name, other.name


def stage(shape: str, **parts: object) -> tuple[World, list[str], list[str]]:
    """(world, clients by name, members by address) on a fabric of that shape: the last host of each switch is a member, at most three."""
    wiring = SHAPES[shape]()
    places = [host.at.dpid for host in wiring.hosts]
    # On a single switch the second half are members.
    members = wiring.hosts[3:] if shape == "single" else [host for host in wiring.hosts if host.at.port == 2][:3]
    clients = [host.name for host in wiring.hosts if host not in members][: len(set(places)) + 2]
    seed = int(parts.pop("seed", 0))  # type: ignore[call-overload]
    located = [text(member.address) for member in members]
    world = World(wiring, policy_of(located, **parts), seed)
    world.connections(clients, 6 * len(clients))
    world.run(0.5)
    return world, clients, located
