"""Zones on a switch: two registers say which zone a connection comes from and which it goes to, and the firewall matches them.

They are looked up behind the tracker, by the addresses that its initiator wrote: the same for all packets of a connection, both ways and
however they are translated. A port's and a tag's zone is found through the hosts that are meant (their source was checked), a
prefix's as it stands. Only when the policy has zones.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from controller.addresses import Family, family_of
from controller.flows import FlowEntry, MaskedValue, Match, Purpose, Resubmit, SetField, match
from controller.pipeline import INV, PRESENT, TRK, Table
from controller.policy import Function, Policy, Rule, Tag, Zone, parse_mac, parse_switch_port, zone_number
from controller.topology import Endpoint, Host

FROM, TO, CONTROLLER = "reg3", "reg4", "reg5"
PRESENCE_S, PRESENCE_RENEWAL_S = 2, 0.5
"""After so long without a word the controller counts as away; how often it says one."""
_HOST_PRIORITY, _PREFIX_PRIORITY = 300, 100


class Area(NamedTuple):
    """A prefix of a zone: addresses `first` to `last`."""

    first: int
    last: int
    prefix: MaskedValue
    length: int
    zone: int


def _area(text: str, zone: int) -> Area:
    network = ipaddress.ip_network(text)
    first = int(network.network_address)
    return Area(first, int(network.broadcast_address), (first, int(network.netmask)), network.prefixlen, zone)


class _Place(NamedTuple):
    """An address or prefix of a zone as an entry matches it."""

    priority: int
    family: Family
    address: int | MaskedValue
    zone: int

    def fields(self, name: str) -> Match:
        """A match on one end of the tuple that the tracker keeps; it has one for every packet that is not invalid."""
        return self.family.match(**{name: self.address, "ct_state": (TRK, TRK | INV)})


@dataclass(frozen=True)
class Zoning:
    """The zones of a policy, by number; 0 is no zone."""

    zones: tuple[Zone, ...] = ()
    tags: tuple[Tag, ...] = ()

    @classmethod
    def of(cls, policy: Policy) -> Zoning:
        """As a policy divides the fabric."""
        return cls(policy.zones, policy.tags)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.zones)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers by name."""
        return {zone.name: zone_number(zone.name) for zone in self.zones}

    @cached_property
    def by_number(self) -> dict[int, Zone]:
        """The zones by number."""
        return {self.numbers[zone.name]: zone for zone in self.zones}

    @cached_property
    def _ports(self) -> dict[Endpoint, int]:
        return {parse_switch_port(port): self.numbers[zone.name] for zone in self.zones for port in zone.ports}

    @cached_property
    def _macs(self) -> dict[int, int]:
        hosts = {tag.name: tag.hosts for tag in self.tags}
        return {
            parse_mac(mac): self.numbers[zone.name] for zone in self.zones for tag in zone.tags for mac in hosts[tag]
        }

    @cached_property
    def _areas(self) -> list[Area]:
        """Longest prefix first."""
        areas = [_area(prefix, self.numbers[zone.name]) for zone in self.zones for prefix in zone.prefixes]
        return sorted(areas, key=lambda area: -area.length)

    def of_address(self, address: int, host: Host | None = None) -> int:
        """The zone of an address; `host` is who has it, when that is known."""
        of_host = self.of_host(host) if host is not None else 0
        return of_host or next((area.zone for area in self._areas if area.first <= address <= area.last), 0)

    def of_host(self, host: Host) -> int:
        """The zone that names a host by its port, else by a tag, whatever its address."""
        return self._ports.get(host.endpoint) or self._macs.get(host.mac, 0)

    def named(self, number: int) -> str | None:
        """A zone's name."""
        zone = self.by_number.get(number)
        return zone.name if zone is not None else None

    def concerning(self, rules: Iterable[Rule], source: int, target: int) -> list[Rule]:
        """The rules that are about connections from one zone to another."""
        names = (None, self.named(source)), (None, self.named(target))
        return [rule for rule in rules if rule.from_zone in names[0] and rule.to_zone in names[1]]

    # --- entries ---------------------------------------------------------------------------------------------------------------

    def entries(self, hosts: Iterable[Host], onward: Table) -> Iterator[FlowEntry]:
        """Tables 17 and 18, then on to table `onward`; nothing without zones."""
        if not self.zones:
            return
        places = [
            _Place(_HOST_PRIORITY, family_of(host.ip), host.ip, zone) for host in hosts if (zone := self.of_host(host))
        ]
        places += [
            _Place(_PREFIX_PRIORITY + area.length, family_of(area.last), area.prefix, area.zone) for area in self._areas
        ]
        present = (Resubmit(Table.PRESENCE),) if self.closed else ()
        after = (*present, Resubmit(onward))
        for place in places:
            source, destination = place.fields("ct_src"), place.fields("ct_dst")
            comes, goes = SetField(FROM, place.zone), SetField(TO, place.zone)
            yield FlowEntry(Table.ZONE_FROM, place.priority, source, Purpose.ZONE, (comes,), Table.ZONE_TO)
            yield FlowEntry(Table.ZONE_TO, place.priority, destination, Purpose.ZONE, (goes, *after))
        yield FlowEntry(Table.ZONE_FROM, 0, match(), Purpose.ZONE, goto=Table.ZONE_TO)
        yield FlowEntry(Table.ZONE_TO, 0, match(), Purpose.ZONE, after)

    def presence(self) -> FlowEntry:
        """Table 19: the controller is there. It says so again and again, and without that the switch knows better."""
        actions = (SetField(CONTROLLER, PRESENT),)
        return FlowEntry(Table.PRESENCE, 10, match(), Purpose.PRESENT, actions, hard_timeout_s=PRESENCE_S)

    @cached_property
    def closed(self) -> list[int]:
        """Zones that nothing begins in or towards while the controller is away."""
        return [self.numbers[zone.name] for zone in self.zones if zone.fail_mode == "closed"]

    @cached_property
    def unfiltered(self) -> list[int]:
        """Zones whose hosts the firewall lets begin what they like."""
        off = (zone for zone in self.zones if zone.chain is not None and Function.FIREWALL not in zone.chain)
        return [self.numbers[zone.name] for zone in off]
