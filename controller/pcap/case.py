"""One reset with everything around it that a cause is judged by, each fact under a name that reads as English."""

from functools import cached_property

from controller.pcap.connection import Connection, Reset, Side
from controller.pcap.hosts import hops_of
from controller.pcap.protocols import mismatch
from controller.segments import Kind, Sender, Stage, Style, kind_of

_NS_PER_S = 1e9
# A scan tries this many servers; a page's connections go to fewer, or get something from most.
_SCAN_SERVERS = 8
# Distances differ by a hop or two between load-balanced paths.
_CERTAIN_HOPS = 3


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

    @cached_property
    def kind(self) -> Kind:
        """What the reset did."""
        connection = self.connection
        began_in_sight = connection.syns > 0 or connection.is_answered
        kind = kind_of(
            self.reset.facts,
            Sender.INJECTED if self.forged and not self.after_fin else self.sender,
            self.stage,
            in_window=self.reset.in_window,
            member_answered=connection.is_answered if began_in_sight else None,
        )
        # Without its beginning, an idle connection looks like one that was never taken.
        return Kind.UNKNOWN_CONNECTION if kind is Kind.NOT_ACCEPTED and not began_in_sight else kind

    # Who sent it, and when.

    @property
    def by_client(self) -> bool:
        """The client's reset (by its address)."""
        return self.sender is Sender.CLIENT

    @property
    def by_server(self) -> bool:
        """The server's reset (by its address)."""
        return self.sender is Sender.MEMBER

    @property
    def refused(self) -> bool:
        """The answer to a SYN."""
        return self.by_server and self.stage is Stage.POST_SYN and not self.connection.is_answered

    @property
    def after_fin(self) -> bool:
        """One side had said it was done."""
        return self.stage is Stage.AFTER_FIN

    @property
    def half_open(self) -> bool:
        """The client reset instead of acknowledging the SYN-ACK."""
        return self.by_client and self.stage is Stage.POST_SYN and self.connection.is_answered

    @property
    def gave_up(self) -> bool:
        """The client reset before any answer to its SYN."""
        return self.by_client and self.stage is Stage.POST_SYN and not self.connection.is_answered

    @property
    def untaken(self) -> bool:
        """The client completed the handshake and reset without a byte either way."""
        return self.by_client and self.stage is Stage.POST_HANDSHAKE and not self.reset.stray

    @property
    def cut_unserved(self) -> bool:
        """The server accepted the connection, then reset it before its first byte."""
        if not self.by_server or self.refused or self.after_fin or self.reset.stray:
            return False
        return not self.server_bytes

    @property
    def cut_while_served(self) -> bool:
        """The server reset a connection in which it had sent payload."""
        return self.by_server and self.stage is Stage.POST_DATA and self.server_bytes > 0

    @property
    def client_left(self) -> bool:
        """The client reset a connection that had carried payload."""
        return self.by_client and self.stage is Stage.POST_DATA

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

    @cached_property
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
    def everyone_cut(self) -> bool:
        """The server has cut several connections and served none."""
        return self.endpoint.cut > 1 and not self.endpoint.served
