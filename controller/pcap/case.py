"""One reset with everything around it that a cause is judged by, each fact under a name that reads as English."""

from enum import Enum, auto

from controller.pcap.connection import Connection, Reset, Side
from controller.pcap.hosts import hops_of
from controller.pcap.protocols import mismatch
from controller.segments import Kind, Sender, Stage, Style, kind_of

_NS_PER_S = 1e9
# A scan tries this many servers; a page's connections go to fewer, or get something from most.
_SCAN_SERVERS = 8
# Distances differ by a hop or two between load-balanced paths.
_CERTAIN_HOPS = 3


class Situation(Enum):
    """What a reset interrupted; each has one."""

    REFUSED = auto()
    """The server answered a SYN with it."""
    GAVE_UP = auto()
    """The client sent it before its SYN was accepted."""
    HALF_OPEN = auto()
    """The client sent it instead of acknowledging the SYN-ACK."""
    NOT_TAKEN = auto()
    """The server sent it after its SYN-ACK, before a byte either way."""
    LEFT_AT_ONCE = auto()
    """The client sent it after the handshake, before a byte either way."""
    CUT_AT_REQUEST = auto()
    """The server sent it after bytes of the client, before any of its own."""
    CUT_WHILE_SERVED = auto()
    """The server sent it after bytes of its own."""
    LEFT = auto()
    """The client sent it after bytes of either side."""
    AFTER_FIN = auto()
    """One side had said that no more would follow."""
    GUESSED = auto()
    """Its sender did not know the connection's sequence numbers, or went on: nobody's decision to reset."""
    STRAY = auto()
    """The capture holds nothing of the connection before it."""


# (from the server, the SYN was answered)
_BEFORE_THE_HANDSHAKE = {
    (True, True): Situation.NOT_TAKEN,
    (True, False): Situation.REFUSED,
    (False, True): Situation.HALF_OPEN,
    (False, False): Situation.GAVE_UP,
}
# (from the server, payload was seen)
_SINCE_THE_HANDSHAKE = {
    (True, True): Situation.CUT_AT_REQUEST,
    (True, False): Situation.NOT_TAKEN,
    (False, True): Situation.LEFT,
    (False, False): Situation.LEFT_AT_ONCE,
}


class Case:
    """A reset, its connection, its client's and its server's other connections. Times are in seconds."""

    def __init__(self, connection: Connection, reset: Reset) -> None:
        self.connection = connection
        self.reset = reset
        self.client = connection.client
        self.server = connection.server
        self.endpoint = connection.endpoint
        self.stage = reset.stage
        self.sender = Sender.MEMBER if reset.side is self.server else Sender.CLIENT
        self.passive = reset.facts.style is Style.PASSIVE
        self.situation = self._situation()

    def _situation(self) -> Situation:
        if self.stage is Stage.AFTER_FIN:
            return Situation.AFTER_FIN
        from_server = self.sender is Sender.MEMBER
        if self.stage is Stage.POST_SYN:
            return _BEFORE_THE_HANDSHAKE[from_server, self.connection.is_answered]
        if self.reset.stray:
            return Situation.STRAY
        if not self.reset.in_window or self.sender_went_on:
            return Situation.GUESSED
        if from_server and self.server_bytes:
            return Situation.CUT_WHILE_SERVED
        return _SINCE_THE_HANDSHAKE[from_server, self.stage is Stage.POST_DATA]

    @property
    def kind(self) -> Kind:
        """What the reset did."""
        connection = self.connection
        began_in_sight = connection.syns > 0 or connection.is_answered
        kind = kind_of(
            self.reset.facts.style,
            Sender.INJECTED if self.forged and not self.after_fin else self.sender,
            self.stage,
            in_window=self.reset.in_window,
            member_answered=connection.is_answered if began_in_sight else None,
        )
        # Without its beginning, an idle connection looks like one that was never taken.
        return Kind.UNKNOWN_CONNECTION if kind is Kind.NOT_ACCEPTED and not began_in_sight else kind

    @property
    def refused(self) -> bool:
        """The answer to a SYN."""
        return self.situation is Situation.REFUSED

    @property
    def after_fin(self) -> bool:
        """One side had said it was done."""
        return self.stage is Stage.AFTER_FIN

    # The connection.

    @property
    def client_bytes(self) -> int:
        """Payload bytes from the client."""
        return self.client.bytes_sent

    @property
    def server_bytes(self) -> int:
        """Payload bytes from the server."""
        return self.server.bytes_sent

    @property
    def quiet_s(self) -> float:
        """Since the connection's last segment."""
        return max(0, self.reset.quiet_ns) / _NS_PER_S

    @property
    def payload_ago_s(self) -> float:
        """Since the receiver of the reset last sent new payload; infinite if it never did."""
        ago = self.reset.payload_ago_ns
        return float("inf") if ago is None else max(0, ago) / _NS_PER_S

    @property
    def unanswered_s(self) -> float:
        """For a client that left: how long its request had been without any payload in return; else 0."""
        client, server = self.client, self.server
        if not client.data_at or server.data_at >= client.data_at:
            return 0.0
        return max(0, self.reset.time_ns - client.data_at) / _NS_PER_S

    @property
    def resent_share(self) -> float:
        """Retransmissions among the segments with payload, both ways."""
        resent = self.resent
        return resent / (resent + self.client.payloads + self.server.payloads) if resent else 0.0

    @property
    def resent(self) -> int:
        """Retransmissions, both ways."""
        return self.client.resent + self.server.resent

    @property
    def mismatch(self) -> str | None:
        """What the client speaks against what the server does."""
        return mismatch(self.client.protocol, self.server.protocol, self.server.port)

    # Where the reset came from.

    @property
    def usual_hops(self) -> int | None:
        """Distance of the supposed sender by its other segments; None if there are none or they disagree."""
        side: Side = self.reset.side
        if side.packets:
            low, high = hops_of(side.ttl_high), hops_of(side.ttl_low)
        else:
            low, high = side.host.hops_low, side.host.hops_high
        return low if low == high else None

    @property
    def hops(self) -> int:
        """Distance of the reset's sender by its TTL."""
        return hops_of(self.reset.ttl)

    @property
    def unlike_hops(self) -> bool:
        """The reset came from another distance than the host whose address it carries."""
        return self.usual_hops is not None and self.hops != self.usual_hops

    @property
    def forged(self) -> bool:
        """Hardly sent by the host whose address it carries (a REJECT in its name aside)."""
        if self.refused:
            return False
        far = self.usual_hops is not None and abs(self.hops - self.usual_hops) >= _CERTAIN_HOPS
        return far or self.sender_went_on

    @property
    def sender_went_on(self) -> bool:
        """The supposed sender sent new payload after the reset.

        A scanner with a TCP of its own does so too, after its kernel has disowned the SYN-ACK.
        """
        return self.reset.continued and self.stage is not Stage.POST_SYN

    # The client's and the server's other connections.

    @property
    def scanning(self) -> bool:
        """The client tries many servers and gets something from hardly any."""
        host = self.client.host
        if len(host.tried) < _SCAN_SERVERS or host.served * 6 >= host.attempts:
            return False
        # A health checker gets no payload from many servers either, but it comes back to them and they answer.
        return host.answered * 2 < host.attempts or host.returns * 2 < host.attempts

    @property
    def client_was_accepted(self) -> bool:
        """The server accepts, or accepted, this client."""
        return self.client.addr in self.endpoint.accepted_clients

    @property
    def others_accepted(self) -> bool:
        """The server accepts, or accepted, other clients."""
        return len(self.endpoint.accepted_clients) > self.client_was_accepted

    @property
    def others_served(self) -> bool:
        """The server sends payload to other clients."""
        return len(self.endpoint.served_clients) > (self.client.addr in self.endpoint.served_clients)

    @property
    def intermittent(self) -> bool:
        """The server refuses and accepts by turns."""
        return self.endpoint.alternations >= 3

    @property
    def accepted_since(self) -> bool:
        """The server accepted a connection after this reset."""
        return self.endpoint.accepted_at > self.reset.time_ns

    @property
    def served_else(self) -> bool:
        """The server sends payload to this client in other connections."""
        return not self.server_bytes and self.client.addr in self.endpoint.served_clients
