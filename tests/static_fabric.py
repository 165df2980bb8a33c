"""A fabric whose switches hold what the core planned and whose controller is gone: packets are walked through it one by one."""

import random
from collections.abc import Iterator

import networkx as nx
from model_world import KEY

from controller.addresses import family_of
from controller.core import Core
from controller.events import PolicyChanged, Port
from controller.policy import Policy
from controller.reconcile import Installed, Wanted, reconcile
from controller.topology import Host, Switch
from topologies.model.effects import Effect, Transmit
from topologies.model.headers import PROTO_UDP, Udp, ip_header
from topologies.model.packet import Packet
from topologies.model.switch import FakeSwitch
from topologies.model.wiring import HostPlace, LinkPlace, SwitchPort, Wiring

STATION_ASKED = 0x020000001111
"""What a host writes as the destination: the first switch looks at addresses only."""
TTL = 64


def core_that_knows(wiring: Wiring, policy: Policy | None = None) -> Core:
    """A core to which all of a fabric was told, as if everything had been discovered long ago."""
    core = Core(lldp_key=KEY, rng=random.Random(0))
    topology = core.topology
    for zone, (dpid, numbers) in enumerate(sorted(wiring.ports().items()), 1):
        ports = {
            number: Port(number, f"s{dpid}-eth{number}", dpid << 8 | number, up=True) for number in sorted(numbers)
        }
        topology.switches[dpid] = Switch(dpid, zone, ports, dict.fromkeys(ports, -10.0), connected=True)
    for link in wiring.links:
        topology.links[tuple(link.a)], topology.links[tuple(link.b)] = tuple(link.b), tuple(link.a)
    for host in wiring.hosts:
        topology.hosts[host.address] = Host(host.address, host.mac, host.at.dpid, host.at.port)
    topology.changed()
    core.handle(PolicyChanged(policy or Policy()), 0.0)
    return core


def plans(wiring: Wiring, policy: Policy | None = None) -> dict[int, Wanted]:
    """What every switch of a fabric shall have."""
    plan = core_that_knows(wiring, policy).plan(0.0)
    return {dpid: plan.for_switch(dpid) for dpid in wiring.ports()}


class StaticFabric:
    """Switches with their plan in force, and links that can be cut."""

    def __init__(self, wiring: Wiring, policy: Policy | None = None) -> None:
        self.wiring = wiring
        self.switches = {dpid: FakeSwitch(dpid, sorted(ports)) for dpid, ports in wiring.ports().items()}
        for dpid, wanted in plans(wiring, policy).items():
            for decision in reconcile(dpid, Installed(), wanted):
                assert self.switches[dpid].handle(decision, 0.0) == []
        self._far = {a: b for link in wiring.links for a, b in ((link.a, link.b), (link.b, link.a))}
        self._graph: nx.MultiGraph = nx.MultiGraph()
        self._graph.add_nodes_from(self.switches)
        for link in wiring.links:
            self._graph.add_edge(link.a.dpid, link.b.dpid, link)

    def cut(self, *links: LinkPlace) -> None:
        """Both ends of each link go down; all others are up."""
        for link in self.wiring.links:
            for end in (link.a, link.b):
                self.switches[end.dpid].set_port(end.port, link not in links)
        self._whole = self._graph.copy()
        self._whole.remove_edges_from((link.a.dpid, link.b.dpid, link) for link in links)

    def connected(self) -> Iterator[tuple[HostPlace, HostPlace]]:
        """Ordered pairs of hosts between which there is still a path."""
        for source in self.wiring.hosts:
            reached = nx.node_connected_component(self._whole, source.at.dpid)
            for target in self.wiring.hosts:
                if target is not source and target.at.dpid in reached:
                    yield source, target

    def walk(self, source: HostPlace, target: HostPlace, src_port: int = 1000) -> tuple[bool, list[int]]:
        """Whether a datagram arrives, and the switches it met; the source port is what path groups choose by."""
        packet = Packet(STATION_ASKED, source.mac, family_of(source.address).eth_type, b"question")
        packet.ip, packet.udp = ip_header(source.address, target.address, PROTO_UDP, ttl=TTL), Udp(src_port, 53)
        at, frame, met = source.at, packet.to_bytes(), []
        while True:
            met.append(at.dpid)
            sent = transmitted(self.switches[at.dpid].receive(frame, at.port, 0.0))
            if not sent:
                return False, met
            (out,) = sent
            left_by = SwitchPort(at.dpid, out.port)
            if left_by not in self._far:
                return left_by == target.at, met
            at, frame = self._far[left_by], out.frame


def transmitted(effects: list[Effect]) -> list[Transmit]:
    return [effect for effect in effects if isinstance(effect, Transmit)]
