"""What is kept of one connection: a fixed number of fields, whatever its length."""

from typing import Final

from controller.pcap.hosts import Endpoint, Host
from controller.pcap.protocols import protocol_of
from controller.segments import ACK, FIN, ResetFacts, Segment, Stage, facts_of

_LAST: Final = (1 << 32) - 1
_HALF: Final = 1 << 31
# RFC 7323 §2.3: no window is larger, so what is further ahead belongs to another connection or to a forger.
_LARGEST_WINDOW: Final = 1 << 30
# What the capture can have missed between two segments: a window of a fast, long path.
_LARGEST_GAP: Final = 1 << 24
# How far behind an honest reset can be: it answers a segment of a window ago.
_STALE_BYTES: Final = 1 << 20


class Side:
    """One direction of a connection: what its sender sent."""

    __slots__ = (
        "acked", "acked_first", "addr", "connection", "data_at", "fin", "host", "isn", "last_ip_id", "next_seq",
        "packets", "payloads", "peer", "port", "probes", "protocol", "repeats", "resent", "sent", "ttl_high", "ttl_low",
    )  # fmt: skip

    connection: "Connection"
    peer: "Side"

    def __init__(self, addr: bytes, port: int, host: Host) -> None:
        self.addr = addr
        self.port = port
        self.host = host
        self.isn: int | None = None
        self.next_seq: int | None = None
        """Highest sequence number sent, plus one."""
        self.sent = 0
        """Payload bytes by sequence number: gaps in the capture count, retransmissions do not."""
        self.acked: int | None = None
        self.acked_first: int | None = None
        self.fin = False
        self.packets = 0
        """Segments other than resets."""
        self.payloads = 0
        """Segments with new payload."""
        self.resent = 0
        """Segments with payload sent again."""
        self.repeats = 0
        """The same, since the peer last acknowledged anything new."""
        self.probes = 0
        """Keepalives since the peer last sent anything."""
        self.data_at = 0
        """Time of the last new payload, ns; 0 before it."""
        self.last_ip_id: int | None = None
        self.ttl_low = 256
        self.ttl_high = 0
        self.protocol: str | None = None
        """What the first payload looks like; None before it."""

    @property
    def bytes_sent(self) -> int:
        """Payload bytes; by the peer's acknowledgements where this direction was not captured."""
        acked, first = self.peer.acked, self.peer.acked_first
        if self.packets or acked is None or first is None:
            return self.sent
        return (acked - first) & _LAST

    @property
    def is_acknowledged(self) -> bool:
        """Whether the peer has acknowledged everything this side sent."""
        acked = self.peer.acked
        return self.next_seq is None or (acked is not None and (acked - self.next_seq) & _LAST < _HALF)

    def accepts_as_next(self, seq: int) -> bool:
        """Whether a reset of this side with this sequence number can be in its peer's window."""
        if seq == self.peer.acked:
            # <SEQ=SEG.ACK>: what its peer asked for, even where that was about an older connection (challenge ACK).
            return True
        expected = self.peer.acked if self.next_seq is None else self.next_seq
        return expected is None or (seq - expected + _STALE_BYTES) & _LAST <= _STALE_BYTES + _LARGEST_GAP


class Reset:
    """The first reset of a connection, and how things stood when it came."""

    __slots__ = (
        "acknowledged", "continued", "facts", "in_window", "later", "payload_ago_ns", "probes", "quiet_ns", "repeats",
        "seq", "seqs", "side", "stage", "stray", "time_ns", "ttl",
    )  # fmt: skip

    def __init__(self, side: Side, segment: Segment, now: int) -> None:
        connection, peer = side.connection, side.peer
        self.time_ns = now
        self.side = side
        self.facts: ResetFacts = facts_of(segment)
        self.stage = connection.stage(self.facts)
        # The answer to a SYN has sequence number 0; SYN-SENT checks its acknowledgement instead (RFC 9293 §3.10.7.3).
        self.in_window = self.facts.answers_syn or side.accepts_as_next(segment.seq)
        self.ttl = segment.ttl
        self.stray = not side.packets and not peer.packets
        """The capture holds nothing of the connection before it."""
        self.quiet_ns = now - connection.seen_at
        """Since the connection's last segment."""
        self.payload_ago_ns = now - peer.data_at if peer.data_at else None
        """Since the receiver of the reset last sent new payload; None if it never did."""
        self.acknowledged = side.is_acknowledged and peer.is_acknowledged
        """Everything that either side sent had been acknowledged."""
        self.repeats = max(side.repeats, peer.repeats)
        """How often the last unacknowledged bytes had been sent again."""
        self.probes = side.probes
        """Keepalives of its sender that nothing had answered."""
        self.seq = segment.seq
        self.later = 0
        """Further resets of the connection."""
        self.seqs = 1
        """Different sequence numbers one after the other among all of them."""
        self.continued = False
        """Its supposed sender went on to send new payload: so it was somebody else."""


class Connection:
    """Both sides of a connection and how far it has come."""

    __slots__ = (
        "challenged", "client", "closed_until", "endpoint", "handshake_at", "is_answered", "is_judged", "opened_at",
        "queued_at", "reset", "role_source", "seen_at", "server", "syn_acks_late", "syns",
    )  # fmt: skip

    def __init__(self, client: Side, server: Side, endpoint: Endpoint, role_source: str, now: int) -> None:
        self.client = client
        self.server = server
        client.connection = server.connection = self
        client.peer, server.peer = server, client
        self.endpoint = endpoint
        self.role_source = role_source
        """`syn`, `synack`, `reset`, `known-server`, `port`, or `none` when it is a guess."""
        self.opened_at = self.seen_at = self.queued_at = now
        self.closed_until = 0
        """When the rest of a closed connection is forgotten, ns; 0 while it is open."""
        self.syns = 0
        self.is_answered = False
        """A SYN-ACK was seen."""
        self.handshake_at = 0
        """Time of the acknowledgement of the SYN-ACK, ns; 0 before it."""
        self.syn_acks_late = 0
        """SYN-ACKs after that: the server has not taken the connection (its accept queue is full)."""
        self.challenged = False
        """The SYN was answered by a plain ACK: the server holds an older connection on these ports (RFC 5961 §4)."""
        self.reset: Reset | None = None
        self.is_judged = False
        """Its reset was reported; there is one report of a connection."""

    def stage(self, facts: ResetFacts) -> Stage:
        """How far the connection has come when a reset with these facts arrives."""
        client, server = self.client, self.server
        if client.fin or server.fin:
            return Stage.AFTER_FIN
        if client.bytes_sent or server.bytes_sent:
            return Stage.POST_DATA
        if self.handshake_at:
            return Stage.POST_HANDSHAKE
        if self.syns or self.is_answered or facts.answers_syn:
            return Stage.POST_SYN
        # Nothing of the handshake was captured and the reset does not answer a SYN, so there was a handshake.
        return Stage.POST_HANDSHAKE

    def dissolve(self) -> None:
        """Undo the references in a circle, which would keep it until the garbage collector has found it."""
        for side in (self.client, self.server):
            del side.connection, side.peer


def take_syn(side: Side, segment: Segment, now: int) -> None:
    """Account for a SYN or SYN-ACK. Payload on a SYN (RFC 7413) is not counted: it may have to be sent again."""
    connection = side.connection
    connection.seen_at = now
    side.packets += 1
    _take_ttl(side, segment.ttl)
    if side.isn is None:
        side.isn = segment.seq
        side.next_seq = (segment.seq + 1) & _LAST
    if not segment.flags & ACK:
        connection.syns += 1
        return
    if side.acked is None:
        side.acked = side.acked_first = segment.ack
    if connection.handshake_at:
        connection.syn_acks_late += 1
    if not connection.is_answered:
        connection.is_answered = True
        connection.endpoint.note_accepted(connection.client.addr, now)
        connection.client.host.answered += 1


def take_segment(side: Side, segment: Segment, frame: bytes, now: int) -> None:
    """Account for a segment that is neither SYN nor reset (the hot path: most of a capture)."""
    _, _, _, _, seq, ack, flags, _, ttl, ip_id, _, payload, payload_at, _, _, _, _ = segment
    connection, peer = side.connection, side.peer
    connection.seen_at = now
    side.packets += 1
    peer.probes = 0
    if ttl != side.ttl_low:
        _take_ttl(side, ttl)
    if side.next_seq is None:
        side.next_seq = seq
    if flags & ACK:
        acked = side.acked
        if acked is None:
            side.acked = side.acked_first = ack
        elif ack != acked and (ack - acked) & _LAST < _LARGEST_WINDOW:
            side.acked = ack
            peer.repeats = 0
        if not connection.handshake_at:
            _take_handshake(side, seq, ack, payload, now)
    if payload:
        _take_payload(side, (seq + payload) & _LAST, payload, ip_id, now)
        if side.protocol is None:
            side.protocol = protocol_of(frame, payload_at)
    elif (side.next_seq - seq) & _LAST == 1 and not flags & FIN:
        # RFC 9293 §3.8.4: a keepalive has SEQ = SND.NXT - 1, so that it draws an acknowledgement.
        side.probes += 1
    if flags & FIN:
        side.fin = True
        if (seq + payload) & _LAST == side.next_seq:
            # The FIN occupies one sequence number.
            side.next_seq = (side.next_seq + 1) & _LAST


def _take_ttl(side: Side, ttl: int) -> None:
    side.ttl_low = min(side.ttl_low, ttl)
    side.ttl_high = max(side.ttl_high, ttl)
    side.host.note_ttl(ttl)


def _take_handshake(side: Side, seq: int, ack: int, payload: int, now: int) -> None:
    """Notice the acknowledgement of the SYN-ACK, or what proves it where one direction was not captured."""
    connection, peer = side.connection, side.peer
    if side is connection.client:
        if peer.isn is not None:
            completes = (ack - peer.isn - 1) & _LAST < _LARGEST_WINDOW
        else:
            completes = not peer.packets and side.isn is not None and (seq - side.isn - 1) & _LAST < _LARGEST_WINDOW
    else:
        completes = not peer.packets and connection.is_answered and payload > 0
        if not connection.is_answered and connection.syns:
            connection.challenged = True
    if completes:
        connection.handshake_at = now


def _take_payload(side: Side, end: int, payload: int, ip_id: int | None, now: int) -> None:
    next_seq = side.next_seq or 0
    ahead = (end - next_seq) & _LAST
    connection = side.connection
    if 0 < ahead < _LARGEST_WINDOW:
        if not side.payloads and side is connection.server:
            connection.endpoint.note_served(connection.client.addr)
            connection.client.host.served += 1
        side.sent += ahead if ahead < _LARGEST_GAP else payload
        side.next_seq = end
        side.data_at = now
        side.payloads += 1
        if connection.reset is not None and connection.reset.side is side:
            connection.reset.continued = True
    elif payload == 1 and ahead == 0:
        side.probes += 1
    elif (ahead == 0 or ahead >= _HALF) and (not ip_id or ip_id != side.last_ip_id):
        # The same IP id is the same packet, captured twice (on two interfaces of the capturing host, say).
        side.resent += 1
        side.repeats += 1
    side.last_ip_id = ip_id
