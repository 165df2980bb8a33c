"""Own probes of members: TCP and HTTP connections spoken by packet-out at the member's own port.

A probe is evidence nobody else can forge or suppress: it goes straight to the member's port and its answers are taken there,
before anything is tracked. A TCP probe completes the handshake and lingers, since a server that resets what it accepts looks well to
a half-open check. A member's agent is asked in the same way: it is the one that speaks first.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from controller import addresses
from controller.addresses import is_ipv6
from controller.agent_check import LINE_CAP
from controller.decisions import Decision, SendPacket
from controller.flows import Output
from controller.frames import Tcp, mss, tcp, vip_mac
from controller.pipeline import ACK, FIN, PROBE_PORT_COUNT, PROBE_PORT_FIRST, PSH, RST, SYN
from controller.policy import HealthCheck
from controller.segments import Segment
from controller.topology import Host

LINGER_S = 0.03
HELD_UP_S, GRACE_S = 0.1, 0.1
"""A controller that looks so late was held up: answers may have come and wait to be read, for which they have so long."""
_SEQUENCES = 1 << 32


class Outcome(StrEnum):
    """How a probe ended."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    RESET = "reset"
    TIMED_OUT = "timed-out"
    WRONG_ANSWER = "wrong-answer"


MemberKey = tuple[str, str]
"""(pool, member) by name."""


class ProbeResult(NamedTuple):
    """What a probe found, and how long the handshake took (ms, None when there was none).

    `ttl` is that of the member's SYN-ACK: a probe that never got one does not know the member's. `started` is when it was sent.
    """

    member: MemberKey
    outcome: Outcome
    handshake_ms: float | None
    text: str
    ttl: int | None = None
    started: float = 0.0


class AgentQuestion(NamedTuple):
    """Connecting is the question; one line is the answer (`agent_check.py`)."""

    timeout_s: float
    type: Literal["agent"] = "agent"


class Target(NamedTuple):
    """Whom to probe, where it is attached, and from which address (as integer, of the host's family)."""

    member: MemberKey
    host: Host
    port: int
    source: int


@dataclass(slots=True)
class _Probe:
    target: Target
    check: HealthCheck | AgentQuestion
    source_port: int
    next_seq: int
    started: float
    deadline: float
    established: float | None = None
    ttl: int | None = None
    acknowledged: int = 0
    heard: bytes = b""


class Prober:
    """The probes in flight, by (member's address, member's port, own port)."""

    def __init__(
        self, rng: random.Random, ports: range = range(PROBE_PORT_FIRST, PROBE_PORT_FIRST + PROBE_PORT_COUNT)
    ) -> None:
        self._rng = rng
        self._ports = ports
        self._probes: dict[tuple[int, int, int], _Probe] = {}
        self._next_port = 0

    def in_flight(self, member: MemberKey) -> int:
        """How many probes of this member are under way."""
        return sum(1 for probe in self._probes.values() if probe.target.member == member)

    def start(self, target: Target, check: HealthCheck | AgentQuestion, now: float) -> list[Decision]:
        """Open a connection to the member."""
        for _ in self._ports:
            self._next_port = (self._next_port + 1) % len(self._ports)
            source_port = self._ports[self._next_port]
            key = target.host.ip, target.port, source_port
            if key not in self._probes:
                break
        else:
            return []
        isn = self._rng.getrandbits(32)
        probe = _Probe(target, check, source_port, (isn + 1) % _SEQUENCES, now, now + check.timeout_s)
        self._probes[key] = probe
        return [self._send(probe, SYN, isn, options=mss(target.source))]

    def _send(self, probe: _Probe, flags: int, seq: int, payload: bytes = b"", options: bytes = b"") -> Decision:
        target = probe.target
        segment = Tcp(
            target.source,
            probe.source_port,
            target.host.ip,
            target.port,
            flags,
            seq,
            probe.acknowledged,
            64240,
            options,
            payload,
        )
        frame = tcp(segment, target.host.mac, vip_mac(target.source))
        return SendPacket(target.host.dpid, frame, (Output(target.host.port_no),))

    def on_segment(self, segment: Segment, frame: bytes, now: float) -> tuple[list[Decision], list[ProbeResult]]:
        """A member's answer to a probe."""
        key = int.from_bytes(segment.src), segment.src_port, segment.dst_port
        probe = self._probes.get(key)
        if probe is None:
            return [], []
        if segment.flags & RST:
            outcome = Outcome.RESET if probe.established else Outcome.REFUSED
            return [], [self._finish(key, outcome, now)]
        if segment.flags & SYN and segment.flags & ACK and not probe.established:
            return self._complete_handshake(probe, segment, now), []
        if not probe.established or not (segment.payload_bytes or segment.flags & FIN):
            return [], []
        if isinstance(probe.check, AgentQuestion):
            return self._listen(key, probe, segment, frame, now)
        probe.acknowledged = (segment.seq + segment.payload_bytes + (segment.flags & FIN)) % _SEQUENCES
        outcome, text = self._judge(probe, segment, frame)
        return [self._send(probe, RST | ACK, probe.next_seq)], [self._finish(key, outcome, now, text)]

    def _listen(
        self, key: tuple[int, int, int], probe: _Probe, segment: Segment, frame: bytes, now: float
    ) -> tuple[list[Decision], list[ProbeResult]]:
        """An agent's words, in whatever pieces they come; what is too long, or lies, costs it its turn."""
        if segment.seq != probe.acknowledged:
            return [self._send(probe, ACK, probe.next_seq)], []
        start = segment.payload_offset
        probe.heard += frame[start : start + segment.payload_bytes]
        probe.acknowledged = (segment.seq + segment.payload_bytes + (segment.flags & FIN)) % _SEQUENCES
        line = probe.heard[:LINE_CAP]
        whole = b"\n" in line or b"\r" in line
        if not whole and not segment.flags & FIN and len(probe.heard) <= LINE_CAP:
            return [self._send(probe, ACK, probe.next_seq)], []
        outcome = Outcome.SUCCEEDED if whole else Outcome.WRONG_ANSWER
        text = line.decode("latin-1") if whole else f"no end of a line within {LINE_CAP} bytes"
        return [self._send(probe, RST | ACK, probe.next_seq)], [self._finish(key, outcome, now, text)]

    def _complete_handshake(self, probe: _Probe, segment: Segment, now: float) -> list[Decision]:
        probe.established, probe.ttl = now, segment.ttl
        probe.acknowledged = (segment.seq + 1) % _SEQUENCES
        if isinstance(probe.check, AgentQuestion):
            return [self._send(probe, ACK, probe.next_seq)]
        if probe.check.type == "tcp":
            probe.deadline = now + LINGER_S
            return [self._send(probe, ACK, probe.next_seq)]
        source = probe.target.source
        host = f"[{addresses.text(source)}]" if is_ipv6(source) else addresses.text(source)
        request = f"GET {probe.check.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: resetlb-probe\r\nConnection: close\r\n\r\n".encode()
        sent = self._send(probe, PSH | ACK, probe.next_seq, request)
        probe.next_seq = (probe.next_seq + len(request)) % _SEQUENCES
        return [sent]

    def _judge(self, probe: _Probe, segment: Segment, frame: bytes) -> tuple[Outcome, str]:
        if not isinstance(probe.check, HealthCheck) or probe.check.type == "tcp":
            return Outcome.SUCCEEDED, ""
        start = frame.find(b"HTTP/1.") if segment.payload_bytes else -1
        status = frame[start + 9 : start + 12].decode("ascii", "replace") if start >= 0 else "no HTTP"
        if status == str(probe.check.expect_status):
            return Outcome.SUCCEEDED, status
        return Outcome.WRONG_ANSWER, status

    def _finish(self, key: tuple[int, int, int], outcome: Outcome, now: float, text: str = "") -> ProbeResult:
        probe = self._probes.pop(key)
        answered = probe.established or (now if outcome is Outcome.REFUSED else None)
        handshake_ms = None if answered is None else (answered - probe.started) * 1000
        return ProbeResult(probe.target.member, outcome, handshake_ms, text, probe.ttl, probe.started)

    def on_tick(self, now: float) -> tuple[list[Decision], list[ProbeResult]]:
        """Probes whose time is over: a TCP probe that lingered without a reset succeeded, every other one timed out."""
        sent: list[Decision] = []
        results: list[ProbeResult] = []
        for key, probe in [item for item in self._probes.items() if now >= item[1].deadline]:
            if now - probe.deadline > HELD_UP_S:
                probe.deadline = now + GRACE_S
                continue
            lingered = probe.established is not None and probe.check.type == "tcp"
            if probe.established:
                sent.append(self._send(probe, RST | ACK, probe.next_seq))
            results.append(self._finish(key, Outcome.SUCCEEDED if lingered else Outcome.TIMED_OUT, now))
        return sent, results

    def next_deadline(self) -> float | None:
        """When the next probe runs out of time."""
        return min((probe.deadline for probe in self._probes.values()), default=None)
