"""What one switch shall have, from what is known: the sum of what every function wants of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from controller import admission, balance, firewall, mirror, tracking
from controller.balance import Service
from controller.flows import MeterEntry
from controller.mirror import Pinned
from controller.paths import Paths
from controller.pipeline import METER_RATES
from controller.policy import Firewall, Rule
from controller.quarantine import Quarantine
from controller.reconcile import Wanted
from controller.routes import Routes
from controller.services import Hairpin, Probed
from controller.topology import Host, Topology

METERS = tuple(MeterEntry(meter, *rate) for meter, rate in METER_RATES.items())


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
    settled_ports: dict[int, list[int]]
    """Host ports by switch."""
    quarantine: Quarantine
    firewall: Firewall
    rules: tuple[Rule, ...]
    """The rules whose schedule lets them apply."""

    @cached_property
    def vip_addresses(self) -> list[int]:
        """Every address a VIP has, once."""
        return sorted({service.address for service in self.services})

    def for_switch(self, dpid: int) -> Wanted:
        """Everything the switch shall have."""
        return self.fixed(dpid).with_also(self.moving(dpid))

    def fixed(self, dpid: int) -> Wanted:
        """What follows from the fabric and the policy: dear to compute, and seldom anew."""
        wanted = Wanted()
        wanted.meters = {meter.meter_id: meter for meter in METERS}
        self._admission(wanted, dpid)
        routes = Routes(self.paths, dpid)
        wanted.add(routes.entries())
        wanted.add_groups(routes.groups())
        if self.settled_ports[dpid]:
            self._edge(wanted, dpid, routes)
        return wanted

    def moving(self, dpid: int) -> Wanted:
        """What follows from how the members do: it changes within milliseconds of a reset."""
        wanted = Wanted()
        if self.settled_ports[dpid]:
            zone = self.topology.switches[dpid].zone
            wanted.add(tracking.end_connections(self.cut))
            wanted.add(balance.entries(zone, self.services))
            wanted.add_groups(balance.group(zone, service) for service in self.services if service.choices)
        return wanted

    def _admission(self, wanted: Wanted, dpid: int) -> None:
        wanted.add(admission.always())
        for port_no in self.topology.fabric_ports(dpid):
            wanted.add(admission.fabric_port(port_no, self.vip_addresses))
        for port_no in self.settled_ports[dpid]:
            wanted.add(admission.host_port(port_no))

    def _edge(self, wanted: Wanted, dpid: int, routes: Routes) -> None:
        switch = self.topology.switches[dpid]
        local = self.topology.hosts_at(dpid)
        wanted.add(admission.arriving(switch, port_no) for port_no in self.topology.fabric_ports(dpid))
        for host in local:
            wanted.add(admission.attached(host))
        wanted.add(self.quarantine.flows(local))
        ours = sorted({*self.vip_addresses, *(one.source for one in self.probed)})
        wanted.add(admission.neighbours(ours, self._others(self.topology.hosts.values())))
        wanted.add([tracking.track(switch.zone)])
        wanted.add(tracking.admit(switch.zone, self.vip_addresses))
        wanted.add(firewall.entries(self.firewall, self.rules))
        wanted.meters |= {meter.meter_id: meter for meter in firewall.meters(self.rules)}
        wanted.add(mirror.watch(switch.zone, self.pairs))
        self._members(wanted, {host.ip: host for host in local}, routes)

    def _others(self, hosts: Iterable[Host]) -> list[Host]:
        return [host for host in hosts if host.ip not in self.vip_addresses]

    def _members(self, wanted: Wanted, local: dict[int, Host], routes: Routes) -> None:
        wanted.add(
            admission.probe_answers(local[one.member], one.port, one.source) for one in self.probed if one.member in local
        )
        for way in self.hairpins:
            if way.member in local:
                wanted.add(routes.hairpin(local[way.member], way.port, way.vip_address, way.vip))
