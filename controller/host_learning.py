"""Learning where hosts are: from ARP, neighbour discovery and IP, and by asking for them.

An address that appears elsewhere moves there only when its old place no longer answers for it, and what one port may teach is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from controller import addresses, frames, neighbours
from controller.addresses import is_ipv6, is_plain_ipv6
from controller.decisions import Announce, Decision, Persist, SendPacket
from controller.flows import TO_TABLE, Output
from controller.hosts import place_name
from controller.subnets import Subnets
from controller.topology import MAX_HOSTS_PER_PORT, SETTLE_S, Endpoint, Host, Topology

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
class HostLearning:
    """Keeps `topology.hosts` true; `changed` says that it became another."""

    topology: Topology
    changed: bool = False
    reserved: frozenset[int] = frozenset()
    """Addresses that no host may have: those of VIPs and gateways, and the one that own probes come from."""
    subnets: Subnets = field(default_factory=Subnets)
    answers: list[Decision] = field(default_factory=list)
    """What may go out once the flows to the hosts just learnt are in force."""
    _asked: dict[int, float] = field(default_factory=dict)
    _waiting: dict[int, dict[int, Host]] = field(default_factory=dict)
    _moves: dict[int, _Move] = field(default_factory=dict)
    _allowances: dict[Endpoint, tuple[float, float]] = field(default_factory=dict)
    """(addresses a port may teach now, as of when); a port that taught nothing lately may teach a burst."""
    _made_room: dict[Endpoint, float] = field(default_factory=dict)

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
        self.changed = True
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
        self.forget(
            host for host in self.topology.hosts.values() if host.ip in self.reserved or not subnets.may_hold(host.ip)
        )

    def forget(self, hosts: Iterable[Host]) -> None:
        """They are nowhere until they are seen again."""
        for host in list(hosts):
            del self.topology.hosts[host.ip]
            self.changed = True

    def confirm(self, ip: int, endpoint: Endpoint) -> list[Decision]:
        """The old place answered for an address that was about to move: the claim was false."""
        move = self._moves.get(ip)
        known = self.topology.hosts.get(ip)
        if move is None or known is None or known.endpoint != endpoint:
            return []
        del self._moves[ip]
        return [_claim(move.host, f"that of {place_name(known.endpoint)}")]

    def on_tick(self, now: float) -> list[Decision]:
        """Moves that nobody disputed."""
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
        if self.changed:
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

    def next_deadline(self) -> float | None:
        """When a move is due; None: there is none."""
        return min((move.deadline for move in self._moves.values()), default=None)


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
