"""What one switch shall have, from what is known: the sum of what every function wants of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from controller import admission, balance, gateway, isolation, mirror, routes, tracking, volumes, zone_rules
from controller.balance import Service
from controller.elephants import Pin
from controller.flows import FlowEntry, GroupEntry, MeterEntry
from controller.locality import Shares
from controller.mirror import Pinned
from controller.parts import Content, Parts, Planned, part_of
from controller.paths import Paths
from controller.pipeline import METER_RATES, Meter, Table
from controller.quarantine import Quarantine
from controller.reconcile import Slot, Wanted
from controller.rulebook import Rulebook
from controller.services import Hairpin, Probed
from controller.subnets import Subnets
from controller.topology import Endpoint, Host, Topology
from controller.zoning import Zoning

OfMember = TypeVar("OfMember", Probed, Hairpin)
METERS = tuple(MeterEntry(meter, *rate) for meter, rate in METER_RATES.items() if meter is not Meter.SAMPLE)
"""The sample's is divided among the edge switches (`volumes.py`)."""


@dataclass(frozen=True)
class Plan:
    """One moment's view of the fabric and the services, asked for switch by switch."""

    topology: Topology
    paths: Paths
    services: list[Service]
    pairs: list[Pinned]
    probed: list[Probed]
    hairpins: list[Hairpin]
    cut: list[int]
    """Numbers of members whose open connections are being ended."""
    now: float
    settle_s: float
    """How long a port that came up is nobody's yet."""
    quarantine: Quarantine
    rulebook: Rulebook
    shares: Shares
    subnets: Subnets
    zoning: Zoning
    tracked: bool
    """Whether a function of the chain needs to know connections."""
    sampled: frozenset[Endpoint] = frozenset()
    """Ports where a link ends whose packets are sampled."""
    pins: tuple[Pin, ...] = ()
    known: Parts = field(default_factory=Parts)
    """Parts that were computed before."""
    _asked: dict[int, Service] = field(default_factory=dict)

    def for_switch(self, dpid: int) -> Wanted:
        """Everything the switch shall have."""
        return Planned(self.parts(dpid)).together()

    def parts(self, dpid: int) -> dict[Slot, Wanted]:
        """Everything the switch shall have, part by part."""
        ways = self._ways(dpid)
        settled = self.topology.host_ports(dpid, self.now, self.settle_s)
        parts = self.beginning()
        for port_no in self.topology.fabric_ports(dpid):
            slot = "fabric port", port_no
            parts[slot] = self.known.of(slot, admission.fabric_port, port_no, self.vip_addresses)
            if (dpid, port_no) in self.sampled:
                zone = self.topology.switches[dpid].zone if settled else None
                parts["sampled", port_no] = self.known.of(("sampled", dpid, port_no), admission.sampled, port_no, zone)
        for port_no in settled:
            parts["host port", port_no] = self.known.of(("host port", port_no), admission.host_port, port_no)
        parts |= self._pinned(dpid, ways)
        for edge, way in ways.items():
            parts["way", edge] = routes.towards(way)
        if settled:
            parts |= self._edge(dpid, settled)
            parts |= ((("remote", edge), self._remotes[edge]) for edge in ways)
            parts |= self.moving(dpid, self.services)
        return parts

    def beginning(self) -> dict[Slot, Wanted]:
        """What every switch has from the first moment on."""
        return {("always",): self.known.of(("always",), _always)}

    def moving(self, dpid: int, services: Iterable[Service]) -> dict[Slot, Wanted]:
        """What follows from how the members of these VIPs do: it changes within milliseconds of a reset."""
        if not self.tracked:
            return {}
        zone, of = self.topology.switches[dpid].zone, self.known.of
        parts: dict[Slot, Wanted] = {("cut",): of(("cut",), tracking.end_connections, self.cut)}
        for service in services:
            number = service.number
            parts["vip", number] = of(("vip", number, dpid), balance.to_vip, zone, self._asked_for(service))
            parts["group", number] = of(("group", number, dpid), balance.groups, zone, self.shares.at(dpid, service))
        return parts

    def _asked_for(self, service: Service) -> Service:
        """The same object for every switch."""
        if service.number not in self._asked:
            self._asked[service.number] = service.as_asked_for
        return self._asked[service.number]

    def _pinned(self, dpid: int, ways: dict[int, routes.Ways]) -> dict[Slot, Wanted]:
        """Flows that are too large to be left to a hash."""
        content: list[FlowEntry | GroupEntry] = []
        for pin in self.pins:
            if all(near[0] != dpid for near in pin.path) or pin.target not in ways:
                continue
            way, sender = ways[pin.target], self.topology.hosts.get(pin.flow.src)
            entered = sender.port_no if sender is not None and sender.dpid == dpid else None
            content += routes.pinned(dpid, way.zone, pin, entered, way.shortest)
        return {("pinned",): self.known.same(("pinned", dpid), part_of(content))} if content else {}

    # --- what parts follow from ------------------------------------------------------------------------------------------------

    @cached_property
    def vip_addresses(self) -> tuple[int, ...]:
        """Every address a VIP has, once."""
        return tuple(sorted({service.address for service in self.services}))

    def _ways(self, dpid: int) -> dict[int, routes.Ways]:
        known_by = self.topology.version, self.topology.edges(), self.paths.weights
        return self.known.value(("ways", dpid), lambda *_: routes.ways(self.paths, dpid), *known_by)

    @cached_property
    def _remotes(self) -> dict[int, Wanted]:
        """The way to the hosts of each edge, from all others."""
        zones = {edge: self.topology.switches[edge].zone for edge in self.topology.edges()}
        return {
            edge: self.known.of(("remote", edge), routes.remote, zone, self.topology.hosts_at(edge))
            for edge, zone in zones.items()
        }

    @cached_property
    def _neighbours(self) -> dict[Slot, Wanted]:
        """Answers to ARP and neighbour discovery, by where the hosts are."""
        ours = sorted({*self.vip_addresses, *self.subnets.gateways, *(one.source for one in self.probed)})
        answers: dict[Slot, Wanted] = {("ours",): self.known.of(("ours",), admission.neighbours, ours, ())}
        taken = frozenset(self.vip_addresses)
        for edge in self.topology.edges():
            others = [host for host in self.topology.hosts_at(edge) if host.ip not in taken]
            slot = "neighbours", edge
            answers[slot] = self.known.of(slot, admission.neighbours, (), others)
        return answers

    @cached_property
    def _probed_by_member(self) -> dict[int, list[Probed]]:
        return _by_member(self.probed)

    @cached_property
    def _hairpins_by_member(self) -> dict[int, list[Hairpin]]:
        return _by_member(self.hairpins)

    @cached_property
    def _zoned_hosts(self) -> list[Host]:
        """Who is at a port, or has a tag, that a zone names."""
        return [
            host for edge in self.topology.edges() for host in self.topology.hosts_at(edge) if self.zoning.of_host(host)
        ]

    @property
    def _first_table(self) -> Table:
        """Where packets go on behind the tracker."""
        return Table.ZONE_FROM if self.zoning else self.rulebook.onward

    # --- parts -----------------------------------------------------------------------------------------------------------------

    def _edge(self, dpid: int, settled: list[int]) -> dict[Slot, Wanted]:
        zone, of = self.topology.switches[dpid].zone, self.known.of
        onward, first = self.rulebook.onward, self._first_table
        limit = self.rulebook.firewall.port_connections_per_s
        local = self.topology.hosts_at(dpid)
        ports = self.topology.fabric_ports(dpid)
        probed = [one for host in local for one in self._probed_by_member.get(host.ip, ())]
        hairpins = [one for host in local for one in self._hairpins_by_member.get(host.ip, ())]
        quarantined = part_of(isolation.content(self.quarantine, local))
        parts = {
            **self._neighbours,
            ("attached",): of(("attached", dpid), _attached, zone, ports, local, bool(self.subnets)),
            ("quarantine",): self.known.same(("quarantine", dpid), quarantined),
            ("routed",): of(("routed",), _routed, self.subnets, self.vip_addresses),
        }
        if not self.tracked:
            return parts | {("untracked",): of(("untracked",), tracking.untracked)}
        return parts | {
            ("zones",): of(("zones",), Zoning.entries, self.zoning, self._zoned_hosts, onward),
            ("zone rules",): of(("zone rules",), zone_rules.entries, self.zoning, self.rulebook.firewall),
            ("judged",): of(("judged", dpid), _judged, zone, self.vip_addresses, first),
            ("rules",): self.rulebook.part,
            ("port limits",): of(("port limits", dpid), tracking.port_limits, zone, first, settled, limit),
            ("watched",): of(("watched", dpid), mirror.watch, zone, self.pairs),
            ("volumes",): of(("volumes",), volumes.entries, self.pairs, len(self.topology.edges())),
            ("members",): of(("members", dpid), _members, zone, local, probed, hairpins),
            ("balance",): of(("balance", dpid), balance.otherwise, zone, self.vip_addresses),
        }


def _by_member(those: Iterable[OfMember]) -> dict[int, list[OfMember]]:
    by_member: dict[int, list[OfMember]] = {}
    for one in those:
        by_member.setdefault(one.member, []).append(one)
    return by_member


def _always() -> Content:
    return [*METERS, *admission.always()]


def _attached(zone: int, fabric_ports: Iterable[int], local: Iterable[Host], routed: bool) -> Iterator[FlowEntry]:
    for port_no in fabric_ports:
        yield from admission.arriving(zone, port_no)
    for host in local:
        yield from admission.attached(host, Table.LEAVE if routed else Table.TRACK)
        yield from routes.local(host)


def _routed(subnets: Subnets, vips: tuple[int, ...]) -> Iterator[FlowEntry]:
    if subnets:
        yield from gateway.leaving(subnets)
        yield from gateway.addressed(subnets)
        yield from gateway.nowhere_to_go(subnets, vips)


def _judged(zone: int, vips: tuple[int, ...], onward: Table) -> Content:
    yield from tracking.track(zone, onward)
    yield from tracking.admit(zone, vips)


def _members(
    zone: int, local: Iterable[Host], probed: Iterable[Probed], hairpins: Iterable[Hairpin]
) -> Iterator[FlowEntry]:
    hosts = {host.ip: host for host in local}
    for one in probed:
        yield admission.probe_answers(hosts[one.member], one.port, one.source)
    for way in hairpins:
        yield from routes.hairpin(zone, hosts[way.member], way.port, way.vip_address, way.vip)
