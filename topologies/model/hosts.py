"""A host: ARP or neighbour discovery, ICMP, UDP and TCP on one interface, in virtual time (RFC 826, 4861, 792, 4443, 9293).

Answers are as Linux gives them. The family is that of the host's address.
"""

from __future__ import annotations

import heapq
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from controller.addresses import V4, V6, family_of
from topologies.model.application import Application, End
from topologies.model.headers import (
    ACK,
    FIN,
    ICMP_UNREACHABLE,
    PROTO_TCP,
    PROTO_UDP,
    RST,
    SYN,
    Icmp,
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
    ip_header,
)
from topologies.model.neighbours import ARP_RETRY_S, BROADCAST, Neighbours, Resolution, solicited_node
from topologies.model.packet import Packet
from topologies.model.servers import Behaviour, Silent, application, settle
from topologies.model.tcp_endpoint import Endpoint, State
from topologies.model.tcp_tracking import MASK

EPHEMERAL_PORTS = range(32768, 61000)
QUOTED_OCTETS = 548
"""How much of a packet Linux quotes in an ICMP error."""
PORT_UNREACHABLE = {V4: Icmp(ICMP_UNREACHABLE, 3), V6: Icmp(1, 4)}
"""RFC 792 and RFC 4443 §3.1."""


@dataclass(eq=False, slots=True)
class Attempt:
    """What a client saw of one connection; times in seconds. `end` None: it has not ended."""

    dst: int
    dst_port: int
    started: float
    endpoint: Endpoint
    connected: float | None = None
    ended: float | None = None
    end: End | None = None

    @property
    def received(self) -> int:
        """Octets of data that came."""
        return self.endpoint.received

    @property
    def syns_sent(self) -> int:
        """How often the SYN was sent."""
        return self.endpoint.syns_sent


@dataclass(eq=False, slots=True)
class Ping:
    """One echo request and when its reply came."""

    dst: int
    sent: float
    answered: float | None = None


class Host:
    """One interface with one address. `frames` is what it sends; the caller takes them out, and calls `wake` when due."""

    def __init__(self, mac: int, address: int, seed: int = 0, prefix_length: int = 0, gateway: int = 0) -> None:
        self.mac, self.address = mac, address
        self.family = family_of(address)
        self._mask = (1 << self.family.bits) - (1 << self.family.bits - prefix_length)
        self._gateway = gateway
        self.frames: list[bytes] = []
        self.listening: dict[int, Behaviour] = {}
        self.datagrams: list[tuple[int, int, int, bytes]] = []
        """UDP received on an open port: (source, its port, own port, payload)."""
        self.unreachable: list[Packet] = []
        """ICMP errors received."""
        self.udp_echo: set[int] = set()
        """UDP ports that send back what comes."""
        self._chance = random.Random(seed << 32 | address)
        self._secret = self._chance.randrange(1 << 32)
        self._clock_offset_ms = self._chance.randrange(1 << 31)
        self._neighbours = Neighbours(mac, address)
        self._endpoints: dict[tuple[int, int, int], Endpoint] = {}
        self._pings: dict[int, Ping] = {}
        self._later: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = 0

    def listen(self, port: int, behaviour: Behaviour) -> None:
        """Opens a TCP port."""
        self.listening[port] = behaviour

    def refuse(self, port: int) -> None:
        """Closes a TCP port: a SYN is answered with a RST. Connections that are open stay."""
        self.listening.pop(port, None)

    def kill(self, port: int, now: float) -> None:
        """The process behind a port dies: the port is closed, and the connections it had are reset."""
        self.refuse(port)
        for (own, peer, _), endpoint in list(self._endpoints.items()):
            if own == port:
                endpoint.abort(now)
                self._flush(peer, endpoint, now)

    def connect(self, dst: int, dst_port: int, now: float, request: bytes = b"GET /", src_port: int = 0) -> Attempt:
        """Opens a connection, sends `request` on it when it is open, and closes when the peer does."""
        port = src_port or self._free_port(dst, dst_port)
        endpoint = self._endpoint(port, dst, dst_port, now)
        attempt = Attempt(dst, dst_port, now, endpoint)

        def on_open(opened: Endpoint, then: float) -> None:
            attempt.connected = then
            if request:
                opened.send(request, then)

        def on_end(_: Endpoint, end: End, then: float) -> None:
            attempt.end, attempt.ended = end, then

        endpoint.application = Application(on_open=on_open, on_end=on_end)
        self._endpoints[port, dst, dst_port] = endpoint
        endpoint.open(now)
        self._flush(dst, endpoint, now)
        return attempt

    def act(self, attempt: Attempt, action: Callable[[Endpoint], None], now: float) -> None:
        """Does something on an open connection: `host.act(attempt, lambda endpoint: endpoint.abort(now), now)`."""
        action(attempt.endpoint)
        self._flush(attempt.dst, attempt.endpoint, now)

    def ping(self, dst: int, now: float, ttl: int = 64) -> Ping:
        """Sends an echo request."""
        ident = self._chance.randrange(1 << 32)
        self._pings[ident] = Ping(dst, now)
        self._send(dst, Icmp(self.family.echo_request, 0, ident), bytes(48), now, ttl=ttl)
        return self._pings[ident]

    def send_udp(self, dst: int, src_port: int, dst_port: int, payload: bytes, now: float, ttl: int = 64) -> None:
        """Sends a datagram."""
        self._send(dst, Udp(src_port, dst_port), payload, now, ttl=ttl)

    def next_deadline(self) -> float | None:
        """When `wake` wants to be called."""
        return self._later[0][0] if self._later else None

    def wake(self, now: float) -> None:
        """Does what is due."""
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2](now)

    def _wake_endpoint(self, peer: int, endpoint: Endpoint, now: float) -> None:
        endpoint.alarm = None
        endpoint.wake(now)
        self._flush(peer, endpoint, now)

    def receive(self, frame: bytes, now: float) -> None:
        """A frame comes in."""
        packet = Packet.from_bytes(frame)
        if packet.eth_dst not in {self.mac, BROADCAST, solicited_node(self.address)[1]}:
            return
        if packet.arp is not None or packet.nd is not None:
            self.frames += self._neighbours.receive(packet)
        elif packet.ip is not None and packet.ip.dst == self.address and not packet.damaged:
            self._receive_ip(packet, packet.ip, now)

    def _receive_ip(self, packet: Packet, ip: Ipv4 | Ipv6, now: float) -> None:
        if packet.tcp is not None:
            self._receive_tcp(ip.src, packet.tcp, packet.payload, now)
        elif packet.udp is not None:
            self._receive_udp(packet, ip, packet.udp, now)
        elif packet.icmp is not None and packet.icmp.type == self.family.echo_request:
            self._send(ip.src, packet.icmp._replace(type=self.family.echo_reply), packet.payload, now)
        elif packet.icmp is not None and packet.icmp.type == self.family.echo_reply:
            ping = self._pings.get(packet.icmp.rest)
            if ping is not None and ping.dst == ip.src:
                ping.answered = now
        elif packet.icmp is not None:
            self.unreachable.append(packet)

    def _receive_udp(self, packet: Packet, ip: Ipv4 | Ipv6, udp: Udp, now: float) -> None:
        if udp.dst in self.udp_echo:
            self.send_udp(ip.src, udp.dst, udp.src, packet.payload, now)
        elif udp.dst in EPHEMERAL_PORTS:
            self.datagrams.append((ip.src, udp.src, udp.dst, packet.payload))
        else:
            quoted = packet.to_bytes()[14 : 14 + QUOTED_OCTETS]
            self._send(ip.src, PORT_UNREACHABLE[self.family], quoted, now)

    def _receive_tcp(self, peer: int, tcp: Tcp, payload: bytes, now: float) -> None:
        key = tcp.dst, peer, tcp.src
        endpoint = self._endpoints.get(key)
        if endpoint is not None and tcp.flags & (SYN | ACK | RST) == SYN and endpoint.gives_way_to(tcp):
            endpoint = None
        if endpoint is None:
            self._receive_unknown(peer, tcp, payload, now)
        else:
            endpoint.receive(tcp, payload, now)
            self._flush(peer, endpoint, now)

    def _receive_unknown(self, peer: int, tcp: Tcp, payload: bytes, now: float) -> None:
        if tcp.flags & RST:
            return
        behaviour = self.listening.get(tcp.dst)
        if behaviour is None or tcp.flags & (SYN | ACK) != SYN:
            self._send(peer, _answer_of_closed_port(tcp, len(payload)), b"", now)
            return
        settled = settle(behaviour, self._chance)
        if isinstance(settled, Silent):
            return

        def later(when: float, action: Callable[[float], None]) -> None:
            def act(then: float) -> None:
                action(then)
                self._flush(peer, endpoint, then)

            self._at(when, act)

        endpoint = self._endpoint(tcp.dst, peer, tcp.src, now)
        endpoint.application = application(settled, later)
        self._endpoints[tcp.dst, peer, tcp.src] = endpoint
        endpoint.accept(tcp, now)
        self._flush(peer, endpoint, now)

    def _endpoint(self, port: int, peer: int, peer_port: int, now: float) -> Endpoint:
        # RFC 6528: a number that only this host can tell, and a clock of 4 µs ticks or faster (Linux: 64 ns), so that a
        # connection in the place of a former one begins behind it.
        secret = zlib.crc32(f"{port} {peer} {peer_port}".encode(), self._secret)
        iss = (secret + int(now * 1e9 / 64)) & MASK
        return Endpoint(port, peer_port, iss, Application(), self._clock_offset_ms)

    def _free_port(self, dst: int, dst_port: int) -> int:
        port = self._chance.choice(EPHEMERAL_PORTS)
        while (port, dst, dst_port) in self._endpoints:
            port = self._chance.choice(EPHEMERAL_PORTS)
        return port

    def _flush(self, peer: int, endpoint: Endpoint, now: float) -> None:
        segments, endpoint.outbox = endpoint.outbox, []
        for tcp, payload in segments:
            # Linux numbers packets of an open socket; a SYN-ACK and what no socket sends have 0.
            ident = 0 if tcp.flags & (SYN | ACK) == SYN | ACK else self._chance.randrange(1, 1 << 16)
            self._send(peer, tcp, payload, now, ident)
        deadline = endpoint.next_deadline
        if deadline is not None and (endpoint.alarm is None or deadline < endpoint.alarm):
            endpoint.alarm = deadline
            self._at(deadline, lambda then: self._wake_endpoint(peer, endpoint, then))
        if (
            endpoint.state is State.CLOSED
            and self._endpoints.get((endpoint.port, peer, endpoint.peer_port)) is endpoint
        ):
            del self._endpoints[endpoint.port, peer, endpoint.peer_port]

    def _next_hop(self, dst: int) -> int:
        on_link = not self._gateway or (dst ^ self.address) & self._mask == 0
        return dst if on_link else self._gateway

    def _send(
        self, dst: int, transport: Tcp | Udp | Icmp, payload: bytes, now: float, ident: int = 0, ttl: int = 64
    ) -> None:
        packet = Packet(0, self.mac, self.family.eth_type, payload)
        match transport:
            case Tcp():
                proto, packet.tcp = PROTO_TCP, transport
            case Udp():
                proto, packet.udp = PROTO_UDP, transport
            case Icmp():
                proto, packet.icmp = self.family.icmp, transport
        packet.ip = ip_header(self.address, dst, proto, ident)._replace(ttl=ttl)
        hop = self._next_hop(dst)
        ready, asked = self._neighbours.address(packet, hop)
        self.frames += ready
        if asked:
            self._at(now + ARP_RETRY_S, lambda then: self._ask_again(hop, then))

    def _ask_again(self, hop: int, now: float) -> None:
        state = self._neighbours.retry(hop)
        if isinstance(state, bytes):
            self.frames.append(state)
            self._at(now + ARP_RETRY_S, lambda then: self._ask_again(hop, then))
        elif state is Resolution.FAILED:
            for (_, peer, _), endpoint in list(self._endpoints.items()):
                if self._next_hop(peer) == hop:
                    endpoint.give_up(End.UNREACHABLE, now)
                    self._flush(peer, endpoint, now)

    def _at(self, when: float, action: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._later, (when, self._order, action))


def _answer_of_closed_port(tcp: Tcp, payload_size: int) -> Tcp:
    """The RST of RFC 9293 §3.10.7.1: no options, no window."""
    if tcp.flags & ACK:
        return Tcp(tcp.dst, tcp.src, tcp.ack, 0, RST)
    size = payload_size + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)
    return Tcp(tcp.dst, tcp.src, 0, (tcp.seq + size) & MASK, RST | ACK)
