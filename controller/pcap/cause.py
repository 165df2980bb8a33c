"""Why a connection was reset: the table of what speaks for which cause.

A capture shows segments, not queues, rule hits or load, so this is a judgement by likelihood. Each row of `EVIDENCE`
belongs to a situation and says when it holds, how strongly it speaks for or against causes, and what it says in words;
those of `IN_ANY_SITUATION` hold beside them. Weights are natural
logarithms of likelihood ratios against the other causes (1 speaks weakly, 2 clearly, 4 nearly decides); how they add
up is in `controller.pcap.judgement`. Weights are judged, not learned: no public capture carries causes. What stacks do
is in `controller.segments.facts_of`.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from controller.causes import Cause
from controller.pcap.case import Case, Situation

CONGESTION, POLICY, OVERLOAD = Cause.CONGESTION, Cause.POLICY, Cause.OVERLOAD
MISCONFIGURATION, VIOLATION, HOSTILE, BENIGN = (
    Cause.MISCONFIGURATION, Cause.PROTOCOL_VIOLATION, Cause.HOSTILE, Cause.BENIGN,
)  # fmt: skip

# 65 % of the reset connections in a sample of 594 from public traces were nobody's fault.
PRIORS: Final[Mapping[Cause, float]] = {
    BENIGN: 1.0,
    CONGESTION: 0.0,
    POLICY: 0.0,
    OVERLOAD: 0.0,
    MISCONFIGURATION: 0.0,
    VIOLATION: -0.5,
    HOSTILE: -0.5,
}


class Evidence(NamedTuple):
    """One row: when it holds, what it weighs for each cause, what it says."""

    holds: Callable[[Case], bool]
    weights: Mapping[Cause, float]
    says: str | Callable[[Case], str]

    def text(self, case: Case) -> str:
        """What it says of this case."""
        return self.says if isinstance(self.says, str) else self.says(case)


def _always(_case: Case) -> bool:
    return True


# --- Rows of several situations ---------------------------------------------------------------------------------------
_DELIVERED = Evidence(
    lambda c: c.reset.acknowledged and c.client_bytes + c.server_bytes > 0,
    {BENIGN: 1.0},
    "everything sent had been delivered",
)
_IDLE = Evidence(
    lambda c: c.quiet_s >= 10 and c.reset.acknowledged,
    {BENIGN: 3.0, POLICY: 1.0},
    lambda c: f"it had been idle for {c.quiet_s:.0f} s with everything delivered: an idle time-out",
)
_SYN_ACK_REPEATED = Evidence(
    lambda c: c.connection.syn_acks_late > 0,
    {OVERLOAD: 2.5},
    "it repeated its SYN-ACK after the client's acknowledgement: it had no room for the connection",
)
_WRONG_PROTOCOL = (
    Evidence(
        lambda c: c.mismatch is not None,
        {VIOLATION: 4.0},
        lambda c: str(c.mismatch),
    ),
    Evidence(
        lambda c: c.mismatch is not None and len(c.endpoint.mismatched_clients) > 1 and not c.endpoint.served,
        {MISCONFIGURATION: 5.0, VIOLATION: -1.0},
        lambda c: f"all {c.endpoint.mismatched_clients} clients do so: the wrong service is behind this port",
    ),
)
_CUT_UNSERVED = (
    Evidence(
        lambda c: len(c.endpoint.cut_clients) > 1 and not c.endpoint.served and not c.passive,
        {MISCONFIGURATION: 3.0, VIOLATION: -1.5},
        lambda c: f"every connection ended so, from {c.endpoint.cut_clients} clients",
    ),
    Evidence(
        lambda c: c.served_else and not c.passive,
        {OVERLOAD: 2.5},
        "the same client is served in other connections: it depends on the moment",
    ),
    Evidence(
        lambda c: c.others_served and not c.served_else and len(c.endpoint.cut_clients) == 1,
        {VIOLATION: 2.0, POLICY: 1.0},
        "other clients are served, only this one is cut",
    ),
    Evidence(
        lambda c: c.others_served and len(c.endpoint.cut_clients) > 1,
        {OVERLOAD: 2.5},
        lambda c: f"some connections are served and others cut, from {c.endpoint.cut_clients} clients",
    ),
)

EVIDENCE: Final[Mapping[Situation, tuple[Evidence, ...]]] = {
    Situation.REFUSED: (
        Evidence(
            # Closed ports are by far the commonest reason, and a REJECT on the server itself looks the same.
            _always,
            {MISCONFIGURATION: 3.0, POLICY: 1.0, OVERLOAD: 0.5, BENIGN: -1.5},
            lambda c: f"the SYN was refused: nothing listens on port {c.server.port}, or a rule rejects in its name",
        ),
        Evidence(
            lambda c: not c.endpoint.accepted_clients and len(c.endpoint.refused_clients) > 1,
            {MISCONFIGURATION: 1.5},
            lambda c: f"{c.endpoint.refused_clients} clients were refused and none accepted",
        ),
        Evidence(
            lambda c: c.others_accepted and not c.client_was_accepted and c.accepted_since,
            {POLICY: 3.0, MISCONFIGURATION: -1.5},
            "the server goes on accepting other clients, never this one",
        ),
        Evidence(
            lambda c: c.intermittent,
            {OVERLOAD: 3.5, MISCONFIGURATION: -1.0},
            lambda c: f"the server accepts and refuses by turns ({c.endpoint.alternations} changes)",
        ),
        Evidence(
            lambda c: bool(c.endpoint.accepted_clients) and not c.accepted_since and not c.intermittent,
            {MISCONFIGURATION: 1.0},
            "the server accepted before and has not since: the service stopped",
        ),
        Evidence(
            lambda c: c.unlike_hops,
            {POLICY: 4.0},
            lambda c: f"the refusal came from {c.hops} hops away, the server's own segments from {c.usual_hops}",
        ),
        Evidence(
            lambda c: c.connection.syns > 1 and c.quiet_s > 0.5,
            {CONGESTION: 1.0, OVERLOAD: 1.0},
            lambda c: f"refused only after {c.connection.syns} SYNs",
        ),
    ),
    Situation.GAVE_UP: (
        Evidence(
            lambda c: c.connection.challenged,
            {BENIGN: 2.5},
            "the server answered the SYN for an older connection on these ports, which the client then cleared",
        ),
        Evidence(
            lambda c: not c.connection.challenged and c.connection.syns > 1,
            {CONGESTION: 2.0, OVERLOAD: 2.0},
            lambda c: f"the client gave up after {c.connection.syns} SYNs without an answer",
        ),
        Evidence(
            lambda c: not c.connection.challenged and c.connection.syns <= 1,
            {HOSTILE: 2.5},
            "the client reset its own SYN before any answer could tell it to",
        ),
    ),
    Situation.HALF_OPEN: (
        Evidence(
            lambda c: c.passive,
            {HOSTILE: 3.5, BENIGN: -1.0},
            "half-open: the client's stack disowned the SYN-ACK, so the SYN was not sent by its sockets",
        ),
        Evidence(
            lambda c: not c.passive,
            {BENIGN: 2.5, HOSTILE: 0.5},
            "a live socket of the client reset instead of completing the handshake, as health checkers do",
        ),
        Evidence(
            lambda c: len(c.endpoint.untaken_clients) >= 8,
            {HOSTILE: 2.0},
            lambda c: f"{c.endpoint.untaken_clients} clients left this server's SYN-ACKs: a SYN flood's echo",
        ),
    ),
    Situation.LEFT_AT_ONCE: (
        Evidence(
            _always,
            {BENIGN: 2.5},
            "the client connected and left without a byte, as health checkers do",
        ),
    ),
    Situation.LEFT: (
        Evidence(
            lambda c: c.unanswered_s < 1,
            {BENIGN: 2.0},
            "the client ended a connection that had carried payload",
        ),
        Evidence(
            lambda c: 1 <= c.unanswered_s < 3 and not c.reset.repeats,
            {BENIGN: 1.0, OVERLOAD: 1.0},
            lambda c: f"the client left {c.unanswered_s:.1f} s after a request that had no answer yet",
        ),
        Evidence(
            lambda c: c.unanswered_s >= 3 and not c.reset.repeats,
            {OVERLOAD: 3.5},
            lambda c: (
                f"the client waited {c.unanswered_s:.1f} s for an answer to a request that had arrived, then gave up"
            ),
        ),
        _DELIVERED,
        Evidence(
            lambda c: c.mismatch is not None,
            {VIOLATION: 3.0},
            lambda c: str(c.mismatch),
        ),
    ),
    Situation.NOT_TAKEN: (
        Evidence(
            lambda c: c.passive,
            {OVERLOAD: 3.0, POLICY: 1.5, BENIGN: -1.0},
            "it answered the SYN, then disowned the connection: the accept queue is full, or a rule cuts",
        ),
        Evidence(
            lambda c: c.passive and c.endpoint.disowned >= 3,
            {OVERLOAD: 1.5},
            lambda c: f"{c.endpoint.disowned} connections to this server ended so",
        ),
        Evidence(
            lambda c: not c.passive,
            {MISCONFIGURATION: 2.0, OVERLOAD: 1.5, BENIGN: -0.5},
            "the server accepted the connection and closed it at once",
        ),
        Evidence(
            lambda c: not c.passive and c.endpoint.cut > 2 and not c.endpoint.served,
            {MISCONFIGURATION: 2.0},
            lambda c: f"{c.endpoint.cut} connections ended so and none got an answer",
        ),
        _SYN_ACK_REPEATED,
        *_CUT_UNSERVED,
    ),
    Situation.CUT_AT_REQUEST: (
        Evidence(
            # An application that cannot parse says so at once; one that is killed or gives up does so at any time.
            lambda c: not c.passive and c.payload_ago_s < 0.2,
            {VIOLATION: 2.5, MISCONFIGURATION: 1.0, BENIGN: -1.5},
            lambda c: f"the server aborted {_ms(c.payload_ago_s)} after the client's bytes, without a byte of its own",
        ),
        Evidence(
            lambda c: not c.passive and c.payload_ago_s >= 0.2 and c.quiet_s < 10,
            {OVERLOAD: 1.5, MISCONFIGURATION: 1.5, BENIGN: -0.5},
            lambda c: f"the server aborted {c.payload_ago_s:.1f} s after the client's bytes, without a byte of its own",
        ),
        Evidence(
            lambda c: c.passive,
            {POLICY: 2.0, MISCONFIGURATION: 0.5, OVERLOAD: 0.5, BENIGN: -1.0},
            "the client's bytes met no connection, as where a rule rejects them or the state was lost",
        ),
        _SYN_ACK_REPEATED,
        *_WRONG_PROTOCOL,
        *_CUT_UNSERVED,
        _IDLE,
    ),
    Situation.CUT_WHILE_SERVED: (
        Evidence(
            lambda c: not c.passive and c.payload_ago_s < 1 and c.server.payloads > 2,
            {VIOLATION: 1.0, OVERLOAD: 0.5},
            lambda c: (
                f"the server aborted {_ms(c.payload_ago_s)} after bytes of the client, having answered earlier ones"
            ),
        ),
        Evidence(
            lambda c: not c.passive and c.payload_ago_s < 1 and c.server.payloads <= 2,
            {VIOLATION: 2.5, OVERLOAD: 0.5},
            lambda c: f"the server aborted {_ms(c.payload_ago_s)} after bytes of the client that it did not want",
        ),
        Evidence(
            lambda c: not c.passive and c.payload_ago_s >= 1 and c.quiet_s < 10,
            {OVERLOAD: 1.5, MISCONFIGURATION: 0.5},
            "the server aborted in the middle, not at anything the client sent",
        ),
        Evidence(
            lambda c: c.passive,
            {POLICY: 1.5, MISCONFIGURATION: 1.5},
            "the connection's state was lost: the service restarted, or something on the path forgot it",
        ),
        *_WRONG_PROTOCOL,
        _IDLE,
    ),
    Situation.AFTER_FIN: (
        Evidence(
            _always,
            {BENIGN: 5.0},
            lambda c: f"{_who_was_done(c)} had already said that no more would follow (FIN)",
        ),
        _DELIVERED,
        Evidence(
            lambda c: c.reset.repeats >= 2,
            {CONGESTION: 1.5},
            lambda c: (
                f"the last bytes were sent {c.reset.repeats + 1} times without an acknowledgement before the reset"
            ),
        ),
    ),
    Situation.STRAY: (
        Evidence(
            _always,
            {BENIGN: 0.5},
            "the capture holds only the reset of this connection: the stage is the least it can have reached",
        ),
    ),
    Situation.GUESSED: (
        Evidence(
            lambda c: c.sender_went_on,
            {POLICY: 2.5, HOSTILE: 2.5, BENIGN: -1.5},
            "its supposed sender went on sending: somebody else reset the connection",
        ),
        Evidence(
            lambda c: not c.reset.in_window,
            {HOSTILE: 4.0, BENIGN: -1.0},
            "its sequence number is outside the window: a blind guess",
        ),
        Evidence(
            lambda c: c.reset.seqs >= 8,
            {HOSTILE: 3.0},
            lambda c: f"{c.reset.seqs} resets with different sequence numbers: a spray",
        ),
    ),
}

IN_ANY_SITUATION: Final[tuple[Evidence, ...]] = (
    Evidence(
        lambda c: c.scanning and not c.after_fin,
        {HOSTILE: 6.0},
        lambda c: (
            f"a scan: the client tried {c.client.host.tried} servers"
            f" and got payload in {c.client.host.served} of {c.client.host.attempts} connections"
        ),
    ),
    Evidence(
        lambda c: c.reset.in_window and c.unlike_hops and not c.refused and not c.after_fin,
        {POLICY: 3.5, HOSTILE: 1.5},
        lambda c: f"the reset came from {c.hops} hops away, its supposed sender's segments from {c.usual_hops}",
    ),
    Evidence(
        lambda c: c.reset.repeats >= 2 and not c.after_fin,
        {CONGESTION: 5.0},
        lambda c: f"the last bytes were sent {c.reset.repeats + 1} times without an acknowledgement before the reset",
    ),
    Evidence(
        lambda c: c.reset.probes >= 3 and not c.after_fin,
        {CONGESTION: 4.0},
        lambda c: f"{c.reset.probes} keepalives had gone unanswered: the path or the peer was gone",
    ),
    Evidence(
        lambda c: c.resent >= 3 and c.resent_share > 0.2 and not c.after_fin,
        {CONGESTION: 3.5},
        lambda c: f"{c.resent_share:.0%} of the segments with payload were sent again",
    ),
    Evidence(
        lambda c: c.resent >= 3 and 0.05 < c.resent_share <= 0.2 and not c.after_fin,
        {CONGESTION: 1.5},
        lambda c: f"{c.resent_share:.0%} of the segments with payload were sent again",
    ),
)


def _who_was_done(case: Case) -> str:
    if case.client.fin and case.server.fin:
        return "both sides"
    return "the client" if case.client.fin else "the server"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
