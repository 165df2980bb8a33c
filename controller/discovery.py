"""Learning the fabric: switches and ports as they say, links from signed LLDP. Hosts: `host_learning.py`.

A port is *settling* for `SETTLE_S` after it came up: it is neither a host's nor the fabric's until LLDP had time to cross it, so no
host is learnt at a port that leads to a switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller import frames
from controller.beacons import Beacons
from controller.decisions import Announce, Decision, Persist
from controller.events import Port, PortChanged, SwitchConnected
from controller.host_learning import HostLearning
from controller.hosts import place_name
from controller.schedule import Schedule
from controller.topology import SETTLE_S, Endpoint, Host, Switch, Topology

LONGEST_WAIT_S = 5.0


@dataclass(slots=True)
class Discovery:
    """Keeps `topology` true. Every method returns what to send or record; `topology_changed` and `hosts.changed` say what is stale."""

    topology: Topology
    lldp_key: bytes
    topology_changed: bool = False
    hosts: HostLearning = field(init=False)
    beacons: Beacons = field(init=False)
    _settling: Schedule[Endpoint] = field(default_factory=Schedule)
    _silence_judged: tuple[set[Endpoint], int] = field(default_factory=lambda: (set(), 0))
    """Which directions were silent, and in which version of the topology, when that was last looked at."""

    def __post_init__(self) -> None:
        self.beacons = Beacons(self.topology, self.lldp_key)
        self.hosts = HostLearning(self.topology)

    def restore(self, hosts: dict[str, object], links: dict[str, object], zones: dict[str, object], now: float) -> None:
        """What the last run knew. Links must show themselves again within their timeout; hosts are believed until they move."""
        for name, zone in zones.items():
            if isinstance(zone, int):
                self.topology.switches[int(name, 16)] = Switch(int(name, 16), zone, heard_of=False)
        for name, far in links.items():
            dpid, _, port_no = name.partition(":")
            if (
                isinstance(far, list)
                and int(far[0]) in self.topology.switches
                and int(dpid, 16) in self.topology.switches
            ):
                near = int(dpid, 16), int(port_no)
                self.topology.links[near] = int(far[0]), int(far[1])
                self.beacons.watch(near, now)
        for name, place in hosts.items():
            if isinstance(place, list) and int(place[1]) in self.topology.switches:
                host = Host(int(name, 16), int(place[0]), int(place[1]), int(place[2]))
                self.topology.hosts[host.ip] = host
        self._changed_links()

    def follow(
        self, hosts: Mapping[str, object], links: Mapping[str, object], zones: Mapping[str, object], now: float
    ) -> None:
        """What another controller learnt, as `restore` has it; None: it forgot that. What we see ourselves comes in as events."""
        known = self.topology.switches
        for name, far in links.items():
            dpid, _, port_no = name.partition(":")
            if far is None:
                self._forget_link((int(dpid, 16), int(port_no)))
        gone = [self.topology.hosts.get(int(name, 16)) for name, place in hosts.items() if place is None]
        self.hosts.forget(host for host in gone if host is not None)
        new = {name: zone for name, zone in zones.items() if int(name, 16) not in known}
        there = {name: far for name, far in links.items() if far is not None}
        self.hosts.changed |= any(place is not None for place in hosts.values())
        if new or there or hosts:
            self.restore(dict(hosts), there, new, now)

    # --- switches and ports ----------------------------------------------------------------------------------------------------

    def on_connected(self, event: SwitchConnected, zone: int, now: float) -> list[Decision]:
        """Take a switch's ports; LLDP goes out of each at once."""
        switch = self.topology.switches.setdefault(event.dpid, Switch(event.dpid, zone))
        switch.connected = switch.heard_of = True
        known = set(switch.ports)
        for port in event.ports:
            self._set_port(switch, port, now)
            if event.settled:
                switch.up_since[port.port_no] = min(switch.up_since.get(port.port_no, now), now - SETTLE_S)
        gone = known - {port.port_no for port in event.ports}
        dropped = [decision for number in sorted(gone) for decision in self._drop_port(switch, number)]
        self._changed_links()
        self._believe_links_of(switch, now)
        return dropped + [sent for number in switch.ports for sent in self.beacons.at_once((switch.dpid, number), now)]

    def _believe_links_of(self, switch: Switch, now: float) -> None:
        """What nobody asked for while the switch was away could not come across."""
        for number in switch.ports:
            near = switch.dpid, number
            far = self.topology.links.get(near)
            if far is not None:
                self.topology.crossed[near] = self.topology.crossed[far] = now

    def on_port(self, event: PortChanged, now: float) -> list[Decision]:
        """A port changed: its links go down with it, and come back by LLDP."""
        switch = self.topology.switches.get(event.dpid)
        if switch is None:
            return []
        dropped: list[Decision] = []
        if event.removed:
            dropped = self._drop_port(switch, event.port.port_no)
        else:
            self._set_port(switch, event.port, now)
        self._changed_links()
        return dropped + self.beacons.on_tick(now)

    def _set_port(self, switch: Switch, port: Port, now: float) -> None:
        before = switch.ports.get(port.port_no)
        switch.ports[port.port_no] = port
        if port.up and (before is None or not before.up):
            switch.up_since[port.port_no] = now
            self._settling.set((switch.dpid, port.port_no), now + SETTLE_S)
            self.beacons.begin((switch.dpid, port.port_no), now)

    def _drop_port(self, switch: Switch, number: int) -> list[Decision]:
        switch.ports.pop(number, None)
        endpoint = switch.dpid, number
        self._settling.discard(endpoint)
        self.beacons.end(endpoint)
        return self._forget_link(endpoint)

    def _changed_links(self) -> None:
        self.topology.changed()
        self.topology_changed = True

    # --- links -----------------------------------------------------------------------------------------------------------------

    def on_lldp(self, dpid: int, in_port: int, frame: bytes, now: float) -> list[Decision]:
        """A link is where a frame of ours came back in. One that is not signed by us says nothing."""
        source = frames.read_lldp(self.lldp_key, frame)
        here = dpid, in_port
        if (
            source is None
            or source == here
            or source[0] not in self.topology.switches
            or dpid not in self.topology.switches
        ):
            return []
        self.topology.crossed[source] = now
        if self.topology.links.get(source) == here:
            return []
        self.topology.links[source] = here
        self.beacons.watch(source, now)
        self._changed_links()
        self.hosts.forget(host for host in self.topology.hosts.values() if host.endpoint in (source, here))
        decisions: list[Decision] = [_link_record(source, here)]
        if here not in self.topology.links:
            # Ask at once for the other direction: a link is used when both are known.
            decisions += self.beacons.at_once(here, now)
        return decisions

    def follow_silent(self, found: set[Endpoint]) -> list[Decision]:
        """Send nothing over links that nothing crosses, where there is another way; use them again when they are heard again."""
        if (found, self.topology.version) == self._silence_judged:
            return []
        silent = frozenset(near for near in found if self._has_way_round(near, found))
        self._silence_judged = set(found), self.topology.version
        if silent == self.topology.silent:
            return []
        fell, heard = silent - self.topology.silent, self.topology.silent - silent
        self.topology.silent = silent
        self._changed_links()
        self._silence_judged = set(found), self.topology.version
        return [_announce_silence(near, near in fell) for near in sorted(fell | heard & self.topology.links.keys())]

    def _has_way_round(self, near: Endpoint, silent: set[Endpoint]) -> bool:
        """Whether the switches at both ends reach each other without it and the other silent ones."""
        beyond: dict[int, set[int]] = {}
        for here, there in self.topology.links_that_are_up():
            if not silent & {here, there}:
                beyond.setdefault(here[0], set()).add(there[0])
        far = self.topology.links.get(near, near)[0]
        reached, waiting = {near[0]}, [near[0]]
        for dpid in waiting:
            new = beyond.get(dpid, set()) - reached
            reached |= new
            waiting += new
        return far in reached

    def _forget_link(self, endpoint: Endpoint) -> list[Decision]:
        far = self.topology.links.pop(endpoint, None)
        self.topology.crossed.pop(endpoint, None)
        if far is None:
            return []
        self._changed_links()
        return [_link_record(endpoint, None)]

    # --- time ------------------------------------------------------------------------------------------------------------------

    def on_tick(self, now: float) -> list[Decision]:
        """What is due: LLDP, links that went silent, moves that nobody disputed."""
        if self._settling.pop_due(now):
            self.topology_changed = True
        silent = [gone for near in self.beacons.silent(now) for gone in self._forget_link(near)]
        return self.beacons.on_tick(now) + silent + self.hosts.on_tick(now)

    def next_deadline(self, now: float) -> float:
        """When `on_tick` has something to do next."""
        move = self.hosts.next_deadline()
        due = [now + LONGEST_WAIT_S, self.beacons.next_deadline(), self._settling.next()]
        return max(now, min(due if move is None else [*due, move]))


def _announce_silence(near: Endpoint, silent: bool) -> Announce:
    name = f"{near[0]:016x}:{near[1]}"
    said = "carries nothing although it is up: traffic goes another way" if silent else "carries packets again"
    return Announce("link", f"link {name} {said}", {"src": name, "silent": silent})


def _link_record(near: Endpoint, far: Endpoint | None) -> Decision:
    return Persist("links", place_name(near), None if far is None else list(far))
