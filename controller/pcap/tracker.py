"""The bounded table of connections: who is client, when one begins and ends, which was reset."""

from collections import OrderedDict, deque
from typing import Final

from controller.pcap.connection import Connection, Reset, Side, take_segment, take_syn
from controller.pcap.hosts import Endpoint, Host, Recent
from controller.pcap.protocols import mismatch
from controller.segments import ACK, FIN, RST, SYN, Segment, Stage, Style, facts_of

MAX_CONNECTIONS: Final = 32_768
_MAX_HOSTS: Final = 8_192
_MAX_ENDPOINTS: Final = 8_192

# Closed connections wait only for stragglers, so they get a part of the table.
_MAX_CLOSED: Final = 8_192
# RFC 9293 §3.4.2: a closed connection's segments can come for 2 MSL; Linux's TIME-WAIT is 60 s. A reset waits as long
# to be judged, so that what its server did next speaks too.
LINGER_NS: Final = 60_000_000_000

_WELL_KNOWN_END: Final = 1024
# The bottom of Linux's range of ephemeral ports (ip(7), ip_local_port_range); others begin at 49152 or, long ago, 1024.
_EPHEMERAL_START: Final = 32_768
# Registered ports that servers do listen on; old stacks' ephemeral ports are in the same range.
_SERVICES: Final = frozenset(
    (1433, 1521, 1723, 1883, 1935, 2049, 3128, 3260, 3268, 3306, 3389, 5000, 5060, 5222, 5269, 5432, 5672, 5900, 5901,
     5985, 6379, 6443, 6667, 8000, 8008, 8080, 8081, 8443, 8883, 8888, 9000, 9090, 9092, 9200, 9418, 11211, 27017)
)  # fmt: skip

Key = tuple[bytes, int, bytes, int]


class Tracker:
    """Feeds segments to their connections and hands over those whose reset can be judged (`ended`)."""

    def __init__(self, max_connections: int = MAX_CONNECTIONS) -> None:
        self.ended: deque[Connection] = deque()
        """Reset connections to be judged, by time of the reset; whoever takes one lets it go by `release`."""
        self.evicted = 0
        """Open connections forgotten because the table was full."""
        self.endpoints: Recent[tuple[bytes, int], Endpoint] = Recent(_MAX_ENDPOINTS, Endpoint)
        self._hosts: Recent[bytes, Host] = Recent(_MAX_HOSTS, Host)
        self._max_connections = max_connections
        self._sides: dict[Key, Side] = {}
        self._connections: OrderedDict[Connection, None] = OrderedDict()
        self._closed: deque[tuple[int, Connection]] = deque()
        self._now = 0

    def take(self, segment: Segment, frame: bytes, time_ns: int) -> None:
        """Account for one segment of the capture, in capture order."""
        # Captures merged from several sources step back in time; durations must not. (max() would cost a call a packet.)
        now = self._now = time_ns if time_ns > self._now else self._now
        flags = segment.flags
        side = self._sides.get((segment.src, segment.src_port, segment.dst, segment.dst_port))
        if not flags & (SYN | RST):
            if side is None:
                side = self._open_in_midstream(segment, now)
            take_segment(side, segment, frame, now)
            if flags & FIN and side.peer.fin:
                self._close(side.connection, now)
        elif flags & RST:
            self._take_reset(side or self._open_in_midstream(segment, now), segment, now)
        else:
            self._take_syn(side, segment, now)
        if self._closed and self._closed[0][0] <= now:
            self._forget_closed(now)

    def release(self, connection: Connection) -> None:
        """A connection taken from `ended` was judged."""
        connection.is_judged = True
        if connection not in self._connections:
            connection.dissolve()

    def finish(self) -> None:
        """The capture is over: everything that was reset can be judged."""
        self._forget_closed(None)

    def _take_syn(self, side: Side | None, segment: Segment, now: int) -> None:
        if side is None or _begins_anew(side, segment):
            side = self._open_by_syn(segment, now)
        take_syn(side, segment, now)

    def _take_reset(self, side: Side, segment: Segment, now: int) -> None:
        connection = side.connection
        reset = connection.reset
        if reset is None:
            connection.reset = Reset(side, segment, now)
            _note_reset(connection, connection.reset)
            self._close(connection, now)
            return
        reset.later += 1
        if segment.seq != reset.seq:
            reset.seq = segment.seq
            reset.seqs += 1

    def _open_by_syn(self, segment: Segment, now: int) -> Side:
        sender, receiver = self._sides_of(segment)
        if segment.flags & ACK:
            connection = self._open(receiver, sender, "synack", now)
            receiver.isn = (segment.ack - 1) & 0xFFFFFFFF
            receiver.next_seq = segment.ack
        else:
            connection = self._open(sender, receiver, "syn", now)
        connection.client.host.note_attempt((connection.server.addr, connection.server.port))
        return sender

    def _open_in_midstream(self, segment: Segment, now: int) -> Side:
        """Begin a connection whose handshake was not captured, by the best sign of who is the server."""
        sender, receiver = self._sides_of(segment)
        known = [self.endpoints.get((side.addr, side.port)) is not None for side in (sender, receiver)]
        ranks = _rank(sender.port), _rank(receiver.port)
        if segment.flags & RST and facts_of(segment).answers_syn:
            sender_serves, source = True, "reset"
        elif known[0] is not known[1]:
            sender_serves, source = known[0], "known-server"
        elif ranks[0] != ranks[1]:
            sender_serves, source = ranks[0] < ranks[1], "port"
        else:
            sender_serves, source = sender.port < receiver.port, "none"
        client, server = (receiver, sender) if sender_serves else (sender, receiver)
        self._open(client, server, source, now)
        return sender

    def _sides_of(self, segment: Segment) -> tuple[Side, Side]:
        return (
            Side(segment.src, segment.src_port, self._hosts[segment.src]),
            Side(segment.dst, segment.dst_port, self._hosts[segment.dst]),
        )

    def _open(self, client: Side, server: Side, role_source: str, now: int) -> Connection:
        before = self._sides.get((client.addr, client.port, server.addr, server.port))
        if before is not None:
            self._remove(before.connection)
        endpoint = self.endpoints[server.addr, server.port]
        endpoint.connections += 1
        connection = Connection(client, server, endpoint, role_source, now)
        self._sides[client.addr, client.port, server.addr, server.port] = client
        self._sides[server.addr, server.port, client.addr, client.port] = server
        self._connections[connection] = None
        while len(self._connections) > self._max_connections:
            self._make_room()
        return connection

    def _make_room(self) -> None:
        """Forget a closed connection, else the open one that has been silent for longest (second chance)."""
        if self._closed:
            self._forget_first_closed()
            return
        oldest = next(iter(self._connections))
        if oldest.seen_at > oldest.queued_at:
            oldest.queued_at = oldest.seen_at
            self._connections.move_to_end(oldest)
            return
        self._remove(oldest)
        self.evicted += 1

    def _close(self, connection: Connection, now: int) -> None:
        connection.closed_until = now + LINGER_NS
        self._closed.append((connection.closed_until, connection))
        if len(self._closed) > _MAX_CLOSED:
            self._forget_first_closed()

    def _forget_closed(self, now: int | None) -> None:
        while self._closed and (now is None or self._closed[0][0] <= now):
            self._forget_first_closed()

    def _forget_first_closed(self) -> None:
        until, connection = self._closed.popleft()
        if connection.closed_until != until:
            # Closed by both FINs, then reset: one of its two entries counts.
            return
        connection.closed_until = 0
        reset = connection.reset
        if reset is not None and not connection.is_judged:
            self.ended.append(connection)
        # One that lives on, because the reset was forged or ignored, stays: its rest would look like another connection.
        lives_on = connection.seen_at > until - LINGER_NS // 2 or (reset is not None and reset.continued)
        if not lives_on:
            self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        del self._connections[connection]
        for side in (connection.client, connection.server):
            key = (side.addr, side.port, side.peer.addr, side.peer.port)
            if self._sides.get(key) is side:
                del self._sides[key]
        if connection.reset is None or connection.is_judged:
            connection.dissolve()


def _rank(port: int) -> int:
    """How likely a port is a client's: 0 hardly, 3 very."""
    if port < _WELL_KNOWN_END:
        return 0
    if port in _SERVICES:
        return 1
    return 2 if port < _EPHEMERAL_START else 3


def _begins_anew(side: Side, segment: Segment) -> bool:
    """Whether a SYN or SYN-ACK on known ports is a new connection's rather than this one's (sent again)."""
    connection = side.connection
    began_in_sight = connection.syns or connection.is_answered
    if segment.flags & ACK:
        # Where SYNs are not captured, what it acknowledges tells whose SYN it answers.
        return not connection.syns and side.peer.isn != (segment.ack - 1) & 0xFFFFFFFF
    if side.isn is None:
        # Both sides sending a SYN is one connection (RFC 9293 §3.5, simultaneous open).
        return not began_in_sight or side.packets > 0
    return side.isn != segment.seq


def _note_reset(connection: Connection, reset: Reset) -> None:
    """Leave what a reset says about its client and server with them, for other connections' judgement."""
    client, server, endpoint = connection.client, connection.server, connection.endpoint
    unserved = not server.bytes_sent
    if reset.side is server and reset.stage is Stage.POST_SYN and not connection.is_answered:
        endpoint.note_refused(client.addr, reset.time_ns)
    elif reset.side is server and unserved and reset.stage is not Stage.AFTER_FIN:
        endpoint.cut_clients.add(client.addr)
        endpoint.cut += 1
        endpoint.disowned += reset.facts.style is Style.PASSIVE and not client.bytes_sent
    elif reset.side is client and unserved and not client.bytes_sent and connection.is_answered:
        endpoint.untaken_clients.add(client.addr)
    if mismatch(client.protocol, server.protocol, server.port) is not None:
        endpoint.mismatched_clients.add(client.addr)
