"""What the analysis of a capture hands out."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from controller.pcap.case import Case
from controller.pcap.hosts import Endpoint
from controller.pcap.judgement import judge
from controller.segments import Sender, address_text

# In a capture there are servers; members are for those who know the pool.
_SENDERS = {Sender.CLIENT: "client", Sender.MEMBER: "server"}
_NS_PER_S = 1_000_000_000
# RFC 3339 has four digits for the year; a damaged or exotic capture can name any.
_LAST_SECOND = 253_402_300_799


class ResetRecord(NamedTuple):
    """One connection that was reset.

    `time` is the first reset's (RFC 3339, UTC), `sender` one of `client`, `server`, `unknown`, `stage`, `kind` and
    `cause` values of the enums of these names, `confidence` from 0 to 1; bytes are of payload, retransmissions apart.
    """

    time: str
    client: str
    client_port: int
    server: str
    server_port: int
    sender: str
    stage: str
    kind: str
    cause: str
    confidence: float
    reasons: tuple[str, ...]
    bytes_client: int
    bytes_server: int

    def as_json(self) -> dict[str, Any]:
        """The record as JSON's types."""
        return {**self._asdict(), "reasons": list(self.reasons)}


class ServerSummary(NamedTuple):
    """One server's share of a capture: connections, those that were reset, and by whom and why."""

    server: str
    port: int
    connections: int
    resets: int
    senders: dict[str, int]
    causes: dict[str, int]


def record_of(case: Case) -> ResetRecord:
    """Judge a reset, and put it down with its server too."""
    judgement = judge(case)
    endpoint = case.endpoint
    # A guess at the roles says nothing of who of the two it was.
    is_guess = case.connection.role_source == "none"
    sender = "unknown" if is_guess else _SENDERS[case.sender]
    endpoint.resets += 1
    endpoint.senders[sender] = endpoint.senders.get(sender, 0) + 1
    endpoint.causes[judgement.cause] = endpoint.causes.get(judgement.cause, 0) + 1
    return ResetRecord(
        time=time_text(case.reset.time_ns),
        client=address_text(case.client.addr),
        client_port=case.client.port,
        server=address_text(case.server.addr),
        server_port=case.server.port,
        sender=sender,
        stage=case.stage.value,
        kind=case.kind.value,
        cause=judgement.cause.value,
        confidence=judgement.confidence,
        reasons=judgement.reasons,
        bytes_client=case.client_bytes,
        bytes_server=case.server_bytes,
    )


def summary_of(endpoint: Endpoint) -> ServerSummary:
    """What is known of a server by now."""
    return ServerSummary(
        server=address_text(endpoint.addr),
        port=endpoint.port,
        connections=endpoint.connections,
        resets=endpoint.resets,
        senders=_by_count(endpoint.senders),
        causes=_by_count(endpoint.causes),
    )


def _by_count(counts: dict[str, int]) -> dict[str, int]:
    return {str(name): counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}


def time_text(time_ns: int) -> str:
    """RFC 3339 in UTC with as many digits as the capture has (6, or 9 where there are nanoseconds)."""
    seconds, ns = divmod(time_ns, _NS_PER_S)
    seconds = min(max(seconds, 0), _LAST_SECOND)
    fraction = f"{ns:09d}" if ns % 1000 else f"{ns // 1000:06d}"
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{fraction}Z"
