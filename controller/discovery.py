"""Learning the fabric: links from signed LLDP, hosts from ARP, neighbour discovery and IP, members by asking for them.

A port is *settling* for `SETTLE_S` after it came up: it is neither a host's nor the fabric's until LLDP had time to cross it, so no
host is learnt at a port that leads to a switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from controller import addresses, frames, neighbours
from controller.addresses import is_ipv6, is_plain_ipv6
from controller.beacons import Beacons
from controller.decisions import Announce, Decision, Persist, SendPacket
from controller.events import Port, PortChanged, SwitchConnected
from controller.flows import TO_TABLE, Output
from controller.hosts import place_name
from controller.schedule import Schedule
from controller.subnets import Subnets
from controller.topology import MAX_HOSTS_PER_PORT, Endpoint, Host, Switch, Topology

SETTLE_S = 0.6
LONGEST_WAIT_S = 5.0
QUESTION_INTERVAL_S = 1.0
MAX_QUESTIONS = 1024
MOVE_ANSWER_S = 1.0
LEARN_BURST, LEARN_PER_S = 32, 8.0
"""Addresses that one port may teach at once, and per second from then on: every new one is planned for on all switches."""
MAKE_ROOM_INTERVAL_S = 10.0
"""How often a full port may exchange an address for a new one."""


@dataclass(slots=True)
class _Move:
    """An address that appeared elsewhere: it moves unless the old place still answers for it."""

    host: Host
    deadline: float


@dataclass(slots=True)
class Discovery:
    """Keeps `topology` true. Every method returns what to send or record; `topology_changed` and `hosts_changed` say what is stale."""

    topology: Topology
    lldp_key: bytes
    topology_changed: bool = False
    hosts_changed: bool = False
    reserved: frozenset[int] = frozenset()
    """Addresses that no host may have: those of VIPs and gateways, and the one that own probes come from."""
    subnets: Subnets = field(default_factory=Subnets)
    answers: list[Decision] = field(default_factory=list)
    """What may go out once the flows to the hosts just learnt are in force."""
    beacons: Beacons = field(init=False)
    _settling: Schedule[Endpoint] = field(default_factory=Schedule)
    _asked: dict[int, float] = field(default_factory=dict)
    _waiting: dict[int, dict[int, Host]] = field(default_factory=dict)
    _moves: dict[int, _Move] = field(default_factory=dict)
    _allowances: dict[Endpoint, tuple[float, float]] = field(default_factory=dict)
    """(addresses a port may teach now, as of when); a port that taught nothing lately may teach a burst."""
    _made_room: dict[Endpoint, float] = field(default_factory=dict)
    _silence_judged: tuple[set[Endpoint], int] = field(default_factory=lambda: (set(), 0))
    """Which directions were silent, and in which version of the topology, when that was last looked at."""

    def __post_init__(self) -> None:
        self.beacons = Beacons(self.topology, self.lldp_key)

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
        self._forget_hosts(host for host in gone if host is not None)
        new = {name: zone for name, zone in zones.items() if int(name, 16) not in known}
        there = {name: far for name, far in links.items() if far is not None}
        self.hosts_changed |= any(place is not None for place in hosts.values())
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
        self._forget_hosts(host for host in self.topology.hosts.values() if host.endpoint in (source, here))
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

    # --- hosts -----------------------------------------------------------------------------------------------------------------

    def learn(self, host: Host, now: float) -> list[Decision]:
        """An address was seen at a host port. A known one moves only when the old place no longer answers for it."""
        if not self._may_have_hosts(host.endpoint, now) or not _is_host_address(host):
            return []
        if host.ip in self.reserved or not self.subnets.may_hold(host.ip):
            return self._refuse(host, now)
        known = self.topology.hosts.get(host.ip)
        if known == host:
            return []
        if known is None or not self.topology.port_is_up(known.endpoint):
            return self._bind(host, now)
        if host.ip in self._moves:
            return []
        self._moves[host.ip] = _Move(host, now + MOVE_ANSWER_S)
        return [SendPacket(known.dpid, neighbours.question(host.ip), (Output(known.port_no),))]

    def _refuse(self, host: Host, now: float) -> list[Decision]:
        if host.ip in self.reserved:
            return [_claim(host, "the controller's own")]
        # Its answers could never be routed back to it: a false source, or a host with a wrong address.
        return [_claim(host, "which is in no subnet")] if self._may_teach(host.endpoint, now) else []

    def _may_have_hosts(self, endpoint: Endpoint, now: float) -> bool:
        switch = self.topology.switches.get(endpoint[0])
        if switch is None or self.topology.is_fabric_port(endpoint):
            return False
        return now >= switch.up_since.get(endpoint[1], now) + SETTLE_S

    def _may_teach(self, endpoint: Endpoint, now: float) -> bool:
        allowed, since = self._allowances.get(endpoint, (float(LEARN_BURST), now))
        allowed = min(float(LEARN_BURST), allowed + (now - since) * LEARN_PER_S)
        self._allowances[endpoint] = (allowed - 1, now) if allowed >= 1 else (allowed, now)
        return allowed >= 1

    def _bind(self, host: Host, now: float) -> list[Decision]:
        at_port = self.topology.hosts.count_at(host.endpoint)
        outdated = self._outdated(host, now) if at_port >= MAX_HOSTS_PER_PORT else None
        if at_port >= MAX_HOSTS_PER_PORT and outdated is None:
            text = f"port {place_name(host.endpoint)} already has {at_port} addresses"
            return [Announce("host-refused", text, {})]
        if not self._may_teach(host.endpoint, now):
            return []
        forgotten = self._replace(outdated, now) if outdated else []
        before = self.topology.hosts.get(host.ip)
        self.topology.hosts[host.ip] = host
        self.hosts_changed = True
        record = Persist("hosts", f"{host.ip:08x}", [host.mac, host.dpid, host.port_no])
        fields: dict[str, object] = {
            "address": addresses.text(host.ip),
            "dpid": f"{host.dpid:016x}",
            "port_no": host.port_no,
        }
        kind = "host-learned" if before is None else "host-moved"
        self.answers += [_answer(host.ip, host.mac, asker) for asker in self._waiting.pop(host.ip, {}).values()]
        return [*forgotten, record, Announce(kind, f"{kind} at {place_name(host.endpoint)}", fields)]

    def _outdated(self, host: Host, now: float) -> Host | None:
        """The address that makes room for a station's new one at a full port: its own oldest of IPv6, now and then.

        IPv6 hosts take new addresses every day and give up the old ones in silence (RFC 8981).
        """
        rested = now - self._made_room.get(host.endpoint, -MAKE_ROOM_INTERVAL_S) >= MAKE_ROOM_INTERVAL_S
        if not is_ipv6(host.ip) or not rested:
            return None
        own = (
            other for other in self.topology.hosts.values() if (other.endpoint, other.mac) == (host.endpoint, host.mac)
        )
        return next((other for other in own if is_ipv6(other.ip)), None)

    def _replace(self, outdated: Host, now: float) -> list[Decision]:
        self._made_room[outdated.endpoint] = now
        del self.topology.hosts[outdated.ip]
        return [Persist("hosts", f"{outdated.ip:08x}", None)]

    def reserve(self, addresses: frozenset[int], subnets: Subnets) -> None:
        """No host may have these, nor an address outside the subnets; one that had is forgotten."""
        self.reserved, self.subnets = addresses | subnets.reserved, subnets
        self._forget_hosts(
            host for host in self.topology.hosts.values() if host.ip in self.reserved or not subnets.may_hold(host.ip)
        )

    def _forget_hosts(self, hosts: Iterable[Host]) -> None:
        for host in list(hosts):
            del self.topology.hosts[host.ip]
            self.hosts_changed = True

    def confirm(self, ip: int, endpoint: Endpoint) -> list[Decision]:
        """The old place answered for an address that was about to move: the claim was false."""
        move = self._moves.get(ip)
        known = self.topology.hosts.get(ip)
        if move is None or known is None or known.endpoint != endpoint:
            return []
        del self._moves[ip]
        return [_claim(move.host, f"that of {place_name(known.endpoint)}")]

    def _finish_moves(self, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        for ip, move in list(self._moves.items()):
            if now >= move.deadline:
                del self._moves[ip]
                if self._may_have_hosts(move.host.endpoint, now):
                    decisions += self._bind(move.host, now)
        return decisions

    # --- questions -------------------------------------------------------------------------------------------------------------

    def on_neighbour(self, dpid: int, in_port: int, frame: bytes, now: float) -> list[Decision]:
        """A question or an answer that no flow dealt with: learn its sender, answer for whom we know, ask for whom we do not."""
        message = neighbours.read(frame)
        if message is None:
            return []
        sender = Host(message.ip, message.mac, dpid, in_port)
        if is_ipv6(message.target) and not message.ip:
            return self._on_trial(sender, message.target)
        decisions = self.confirm(sender.ip, sender.endpoint) + self.learn(sender, now)
        if not message.asks:
            return decisions
        if self.hosts_changed:
            # A new station: once its own flows are in force its question is answered like anybody's.
            self.answers.append(SendPacket(dpid, frame, (Output(TO_TABLE),), in_port))
            return decisions
        target = self.topology.hosts.get(message.target)
        if target is not None:
            elsewhere = target.endpoint != sender.endpoint
            return decisions + ([_answer(target.ip, target.mac, sender)] if elsewhere else [])
        if self.topology.hosts.get(sender.ip) == sender:
            self._waiting.setdefault(message.target, {})[sender.ip] = sender
            if len(self._waiting) > MAX_QUESTIONS:
                del self._waiting[next(iter(self._waiting))]
        return decisions + self.ask([message.target], now)

    def _on_trial(self, sender: Host, address: int) -> list[Decision]:
        """A station tries whether an address is free (RFC 4862 §5.4). It has none yet, so nothing is learnt.

        Only what no host may have is defended: an address that lives elsewhere may have moved here, and a station that is told of
        a duplicate gives up for good. If it has not moved, the source check keeps its second owner silent.
        """
        if address not in self.reserved:
            return []
        return [
            _answer(address, frames.vip_mac(address), sender),
            _claim(replace(sender, ip=address), "the controller's own"),
        ]

    def ask(self, addresses: Iterable[int], now: float) -> list[Decision]:
        """Ask for addresses at every host port, each at most once a second: the fabric's own links carry none of it."""
        due = [
            address
            for address in addresses
            if now - self._asked.get(address, -QUESTION_INTERVAL_S) >= QUESTION_INTERVAL_S
        ]
        if len(self._asked) > MAX_QUESTIONS:
            self._asked = {ip: when for ip, when in self._asked.items() if now - when < QUESTION_INTERVAL_S}
        ports = {
            switch.dpid: tuple(Output(port) for port in self.topology.host_ports(switch.dpid, now, SETTLE_S))
            for switch in self.topology.switches.values()
            if switch.connected
        }
        if not any(ports.values()):
            return []
        asked: list[Decision] = []
        for address in due[:MAX_QUESTIONS]:
            self._asked[address] = now
            frame = neighbours.question(address)
            asked += [SendPacket(dpid, frame, outputs) for dpid, outputs in ports.items() if outputs]
        return asked

    # --- time ------------------------------------------------------------------------------------------------------------------

    def on_tick(self, now: float) -> list[Decision]:
        """What is due: LLDP, links that went silent, moves that nobody disputed."""
        if self._settling.pop_due(now):
            self.topology_changed = True
        silent = [gone for near in self.beacons.silent(now) for gone in self._forget_link(near)]
        return self.beacons.on_tick(now) + silent + self._finish_moves(now)

    def next_deadline(self, now: float) -> float:
        """When `on_tick` has something to do next."""
        due = [now + LONGEST_WAIT_S, self.beacons.next_deadline(), self._settling.next()]
        return max(now, min([*due, *(move.deadline for move in self._moves.values())]))


def _announce_silence(near: Endpoint, silent: bool) -> Announce:
    name = f"{near[0]:016x}:{near[1]}"
    said = "carries nothing although it is up: traffic goes another way" if silent else "carries packets again"
    return Announce("link", f"link {name} {said}", {"src": name, "silent": silent})


def _is_host_address(host: Host) -> bool:
    """Unicast, not unspecified or loopback, no IPv4 address in disguise; a MAC that is one station's."""
    if is_ipv6(host.ip):
        proper = is_plain_ipv6(host.ip) and not neighbours.is_multicast(host.ip)
    else:
        proper = 0 < host.ip >> 24 < 224 and host.ip >> 24 != 127
    return proper and host.mac != 0 and not host.mac >> 40 & 1 and not frames.is_ours(host.mac)


def _claim(host: Host, whose: str) -> Announce:
    text = f"{place_name(host.endpoint)} claims an address, {whose}"
    return Announce(
        "spoof", text, {"address": addresses.text(host.ip), "dpid": f"{host.dpid:016x}", "port_no": host.port_no}
    )


def _answer(address: int, mac: int, asker: Host) -> Decision:
    frame = neighbours.answer(address, mac, asker.ip, asker.mac)
    return SendPacket(asker.dpid, frame, (Output(asker.port_no),))


def _link_record(near: Endpoint, far: Endpoint | None) -> Decision:
    return Persist("links", place_name(near), None if far is None else list(far))
