"""One side of a TCP connection in virtual time, as a Linux host behaves on the wire (RFC 9293, RFC 7323, RFC 5961).

Left out: congestion control, selective acknowledgments, reordering (a segment out of order is dropped and acknowledged again).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from topologies.model.application import FIRST_RETRY_S, Application, End, Retry
from topologies.model.headers import ACK, FIN, PSH, RST, SYN, Tcp
from topologies.model.tcp_options import MSS, stamp_options, syn_options, timestamps, window_scale
from topologies.model.tcp_tracking import MASK, at_or_after

SYN_WINDOW, OPEN_WINDOW = 64240, 502
DATA_RETRY_S, TIME_WAIT_S = 0.2, 60.0
SYN_RETRIES, SYN_ACK_RETRIES, DATA_RETRIES = 6, 5, 15


class State(Enum):
    """Where a connection stands; who has said FIN is kept apart."""

    SYN_SENT = "syn-sent"
    SYN_RECEIVED = "syn-received"
    OPEN = "open"
    TIME_WAIT = "time-wait"
    CLOSED = "closed"


@dataclass(eq=False, slots=True)
class Endpoint:
    """One side of a connection. Segments to send gather in `outbox` as (header, payload); the host takes them from there.

    `iss`: its initial sequence number; `clock_offset_ms`: what its timestamp clock adds to the time.
    """

    port: int
    peer_port: int
    iss: int
    application: Application
    clock_offset_ms: int = 0
    state: State = State.CLOSED
    received: int = 0
    syns_sent: int = 0
    alarm: float | None = None
    """For the host: when it has arranged to wake this endpoint."""
    outbox: list[tuple[Tcp, bytes]] = field(default_factory=list)
    _unsent: bytes = b""
    _unacknowledged: bytes = b""
    _una: int = 0
    _nxt: int = 0
    _rcv: int = 0
    _peer_window: int = SYN_WINDOW
    _peer_scale: int | None = None
    _echo: int | None = None
    _fin_wanted: bool = False
    _fin_sent: bool = False
    _fin_received: bool = False
    _closed_first: bool = False
    _retry: Retry = field(default_factory=Retry)

    def open(self, now: float) -> None:
        """Begins the connection: sends the SYN."""
        self.state, self._una, self._nxt = State.SYN_SENT, self.iss, (self.iss + 1) & MASK
        self._echo = 0
        self._retry.start(now, FIRST_RETRY_S)
        self._send_syn(SYN, now)

    def accept(self, syn: Tcp, now: float) -> None:
        """Answers a SYN."""
        self.state, self._una, self._nxt = State.SYN_RECEIVED, self.iss, (self.iss + 1) & MASK
        self._rcv = (syn.seq + 1) & MASK
        self._take_options(syn)
        self._peer_window = syn.window
        self._retry.start(now, FIRST_RETRY_S)
        self._send_syn(SYN | ACK, now)

    def send(self, data: bytes, now: float) -> None:
        """Sends data, as far as the peer's window allows now."""
        self._unsent += data
        self._push(now)

    def close(self, now: float) -> None:
        """Says FIN behind everything that was sent."""
        self._fin_wanted = True
        self._push(now)

    def abort(self, now: float) -> None:
        """Ends the connection at once with a RST, as a program that closes with unread data or a zero linger time does."""
        if self.state not in {State.CLOSED, State.TIME_WAIT}:
            self._emit(RST | ACK, self._nxt, b"", now)
            self._end(End.ABORTED, now)

    def give_up(self, end: End, now: float) -> None:
        """Ends the connection without a word on the wire."""
        self._end(end, now)

    @property
    def next_deadline(self) -> float | None:
        """When `wake` wants to be called."""
        return self._retry.deadline

    def wake(self, now: float) -> None:
        """Sends again what was not acknowledged in time, or ends."""
        if self._retry.deadline is None or now < self._retry.deadline:
            return
        limits = {State.SYN_SENT: SYN_RETRIES, State.SYN_RECEIVED: SYN_ACK_RETRIES, State.OPEN: DATA_RETRIES}
        if self.state is State.TIME_WAIT:
            self.state, self._retry.deadline = State.CLOSED, None
        elif self._retry.retries >= limits.get(self.state, 0):
            self._end(End.TIMEOUT, now)
        else:
            self._retry.again(now)
            self._retransmit(now)

    def gives_way_to(self, syn: Tcp) -> bool:
        """Whether a new connection with the same addresses and ports may take the place of this one.

        From TIME-WAIT, when its SYN cannot be an old one: by sequence number or timestamp (RFC 9293 §3.6.1, RFC 6191).
        """
        if self.state is not State.TIME_WAIT:
            return self.state is State.CLOSED
        stamps = timestamps(syn.options)
        newer = stamps is not None and bool(self._echo) and stamps[0] > (self._echo or 0)
        return newer or (syn.seq != self._rcv and at_or_after(syn.seq, self._rcv))

    def receive(self, tcp: Tcp, payload: bytes, now: float) -> None:
        """Takes a segment in."""
        if self.state is State.SYN_SENT:
            self._receive_answer(tcp, now)
        elif self.state is State.TIME_WAIT:
            if tcp.flags & RST:
                self.state, self._retry.deadline = State.CLOSED, None
            else:
                self._acknowledge(now)
        elif tcp.flags & RST:
            self._receive_reset(tcp, now)
        elif tcp.flags & SYN:
            if self.state is State.SYN_RECEIVED and tcp.seq == (self._rcv - 1) & MASK:
                self._retransmit(now)
            else:
                self._acknowledge(now)  # A challenge, RFC 5961 §4.2.
        elif tcp.flags & ACK:
            self._receive_segment(tcp, payload, now)

    def _receive_answer(self, tcp: Tcp, now: float) -> None:
        """RFC 9293 §3.10.7.3."""
        ours = tcp.ack == self._nxt
        if tcp.flags & ACK and not ours:
            if not tcp.flags & RST:
                self.outbox.append((Tcp(self.port, self.peer_port, tcp.ack, 0, RST), b""))
            return
        if tcp.flags & RST:
            if tcp.flags & ACK:
                self._end(End.REFUSED, now)
            return
        if tcp.flags & (SYN | ACK) != SYN | ACK:
            return
        stamps = timestamps(tcp.options)
        if stamps is not None and not self._clock(now) - 127_000 <= stamps[1] <= self._clock(now):
            # An echo of a time this side never sent: an invented timestamp (RFC 7323 §3.2).
            self.outbox.append((Tcp(self.port, self.peer_port, tcp.ack, 0, RST), b""))
            return
        self._rcv, self._una = (tcp.seq + 1) & MASK, self._nxt
        self._take_options(tcp)
        self._peer_window = tcp.window
        self._acknowledge(now)
        self._opened(now)

    def _receive_reset(self, tcp: Tcp, now: float) -> None:
        """Only the exact sequence number resets; another one within the window is challenged (RFC 5961 §3.2)."""
        if tcp.seq == self._rcv:
            self._end(End.RESET, now)
        elif (tcp.seq - self._rcv) & MASK < SYN_WINDOW:
            self._acknowledge(now)

    def _receive_segment(self, tcp: Tcp, payload: bytes, now: float) -> None:
        # Unacceptable (RFC 9293 §3.10.7.4): what was not sent, or a keep-alive's number. What was had before is judged by `_take_data`.
        is_old = not payload and not tcp.flags & FIN and not at_or_after(tcp.seq, self._rcv)
        if is_old or not at_or_after(self._nxt, tcp.ack):
            self._acknowledge(now)
            return
        self._take_acknowledgment(tcp, now)
        if self.state is State.SYN_RECEIVED and tcp.ack == self._nxt:
            self._opened(now)
        if payload or tcp.flags & FIN:
            self._take_data(tcp, payload, now)
        if self.state is State.OPEN:
            self._push(now)
            self._maybe_done(now)

    def _take_acknowledgment(self, tcp: Tcp, now: float) -> None:
        self._peer_window = tcp.window << (self._peer_scale or 0)
        stamps = timestamps(tcp.options)
        if stamps is not None and self._echo is not None:
            self._echo = stamps[0]
        newly = (tcp.ack - self._una) & MASK
        if newly == 0 or not at_or_after(tcp.ack, self._una):
            return
        self._una = tcp.ack
        self._unacknowledged = self._unacknowledged[newly:]
        self._retry.start(now, DATA_RETRY_S)
        if self._una == self._nxt:
            self._retry.deadline = None

    def _take_data(self, tcp: Tcp, payload: bytes, now: float) -> None:
        if tcp.seq == self._rcv and not self._fin_received:
            self.received += len(payload)
            self._rcv = (self._rcv + len(payload) + bool(tcp.flags & FIN)) & MASK
            self._fin_received = bool(tcp.flags & FIN)
            before = len(self.outbox)
            if payload:
                self.application.on_data(self, now)
            if self._fin_received and self.state is State.OPEN:
                self.application.on_fin(self, now)
            if len(self.outbox) > before or self.state is State.CLOSED:
                return
        self._acknowledge(now)

    def _opened(self, now: float) -> None:
        self.state = State.OPEN
        self._retry.deadline = None
        self.application.on_open(self, now)

    def _maybe_done(self, now: float) -> None:
        if not (self._fin_sent and self._fin_received and self._una == self._nxt):
            return
        self._end(End.CLOSED, now)
        if self._closed_first:
            self.state = State.TIME_WAIT
            self._retry.start(now, TIME_WAIT_S)

    def _end(self, end: End, now: float) -> None:
        self.state, self._retry.deadline = State.CLOSED, None
        self.application.on_end(self, end, now)

    def _push(self, now: float) -> None:
        """Sends what the window has room for, and the FIN when nothing is left before it."""
        if self.state is not State.OPEN or self._fin_sent:
            return
        idle = self._retry.deadline is None
        while self._unsent and len(self._unacknowledged) < self._peer_window:
            chunk = self._unsent[: min(MSS, self._peer_window - len(self._unacknowledged))]
            self._unsent = self._unsent[len(chunk) :]
            self._emit(ACK | (0 if self._unsent else PSH), self._nxt, chunk, now)
            self._unacknowledged += chunk
            self._nxt = (self._nxt + len(chunk)) & MASK
        if self._fin_wanted and not self._unsent:
            self._emit(FIN | ACK, self._nxt, b"", now)
            self._nxt = (self._nxt + 1) & MASK
            self._fin_sent, self._closed_first = True, not self._fin_received
        if idle and self._nxt != self._una:
            self._retry.start(now, DATA_RETRY_S)

    def _retransmit(self, now: float) -> None:
        if self.state is State.SYN_SENT:
            self._send_syn(SYN, now)
        elif self.state is State.SYN_RECEIVED:
            self._send_syn(SYN | ACK, now)
        elif self._unacknowledged:
            self._emit(ACK | PSH, self._una, self._unacknowledged[:MSS], now)
        elif self._fin_sent and self._una != self._nxt:
            self._emit(FIN | ACK, (self._nxt - 1) & MASK, b"", now)

    def _take_options(self, syn: Tcp) -> None:
        self._peer_scale = window_scale(syn.options)
        stamps = timestamps(syn.options)
        self._echo = stamps[0] if stamps else None

    def _acknowledge(self, now: float) -> None:
        self._emit(ACK, self._nxt, b"", now)

    def _clock(self, now: float) -> int:
        return (int(now * 1000) + self.clock_offset_ms) & MASK

    def _emit(self, flags: int, seq: int, payload: bytes, now: float) -> None:
        options = b""
        if self._echo is not None:
            options = stamp_options(self._clock(now), self._echo)
        window = OPEN_WINDOW if self._peer_scale is not None else SYN_WINDOW
        self.outbox.append((Tcp(self.port, self.peer_port, seq, self._rcv, flags, window, options), payload))

    def _send_syn(self, flags: int, now: float) -> None:
        """A SYN offers everything; a SYN-ACK only what the SYN offered."""
        offered = flags == SYN
        stamps = (self._clock(now), self._echo or 0) if offered or self._echo is not None else None
        options = syn_options(stamps, scaling=offered or self._peer_scale is not None)
        self.syns_sent += 1
        ack = 0 if offered else self._rcv
        self.outbox.append((Tcp(self.port, self.peer_port, self.iss, ack, flags, SYN_WINDOW, options), b""))
