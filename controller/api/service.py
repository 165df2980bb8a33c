"""What the API needs of the running controller. The controller implements it; so does a small class in the tests.

Every method returns at once: handlers run on the hub, where blocking one stops packet-ins for all.
Objects given as ``JsonObject`` are sent as they are: JSON-able, times as RFC 3339 text (``times.rfc3339``), no NaN.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

from controller.policy import Firewall, Policy

T = TypeVar("T")
JsonObject = dict[str, Any]
Health = Literal["up", "degraded", "down", "unknown"]
LoadState = Literal["up", "drain", "down"]
Cause = Literal["congestion", "policy", "overload", "misconfiguration", "protocol-violation", "hostile", "benign"]


class ConflictError(Exception):
    """What was asked contradicts what exists now; the message names it. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """State of the controller; ``reason`` says why it is degraded, None when it is not."""

    switches: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """What is observed of one member.

    Attributes:
        health: what checks and traffic say.
        effective_weight: share of new connections it gets now; 0 while ejected, draining or disabled.
        ejected_until: seconds since the epoch, None when it is not ejected.
        connections_active: connections pinned to it; None while no switch has counted any.
        connections_per_s: new connections; None as above.
        resets_per_s: rate of each kind of reset that a switch has counted.
        handshake_ms: SYN to SYN-ACK; None before the first sample.
        handshake_ratio: share of its SYNs that it answers; None while there are none.
        bytes_to: bytes that clients sent it, by its connections; None before a switch has said.
        bytes_from: bytes that it sent them.
        load: what its agent reported, 0 to 1; None without a report.
        agent: what its agent makes of it (``documents.AgentDocument``); None when it never said anything and is not asked.
    """

    health: Health = "unknown"
    effective_weight: int = 0
    ejected_until: float | None = None
    connections_active: int | None = None
    connections_per_s: float | None = None
    resets_per_s: Mapping[str, float] = field(default_factory=dict)
    handshake_ms: float | None = None
    handshake_ratio: float | None = None
    bytes_to: int | None = None
    bytes_from: int | None = None
    load: float | None = None
    agent: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class ResetSelection:
    """Which sampled resets are asked for; None selects all. ``since`` is in seconds since the epoch."""

    since: float | None = None
    vip: str | None = None
    member: str | None = None
    client: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a long list, and the cursor of the next part: up to 18 digits, None at the end."""

    items: Sequence[JsonObject]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """What an operator wants quarantined: a client (address or prefix), towards one VIP, for one flow or everywhere."""

    client: str
    action: Literal["drop", "limit", "isolate"]
    vip: str | None = None
    ttl_s: int = 300
    reason: str = ""
    incident: str | None = None
    dst: str | None = None
    protocol: Literal["tcp", "udp"] | None = None
    dst_port: int | None = None
    place: str | None = None


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event; ``id`` is what ``Last-Event-ID`` resumes after."""

    id: str
    kind: str
    document: JsonObject

    @cached_property
    def on_the_wire(self) -> bytes:
        """As ``text/event-stream`` (HTML Living Standard §9.2), written once however many read it."""
        return f"id: {self.id}\nevent: {self.kind}\ndata: {json.dumps(self.document)}\n\n".encode()


@dataclass(frozen=True, slots=True)
class Measurement:
    """One sample for Prometheus; ``name`` without the ``resetlb_`` prefix, counters without ``_total``.

    Samples of a name have the same label names. ``additive``: the sum over several gauges means something.
    """

    name: str
    help: str
    kind: Literal["gauge", "counter"]
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    additive: bool = False


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram for Prometheus: ``buckets`` are (upper bound as text, how many up to it), the last one ``+Inf``."""

    name: str
    help: str
    buckets: Sequence[tuple[str, int]]
    sum: float
    labels: Mapping[str, str] = field(default_factory=dict)


class Service(Protocol):
    """The running controller, as the API sees it."""

    version: str

    def policy(self) -> Policy:
        """Return the policy in force."""

    def apply_policy(self, policy: Policy) -> None:
        """Take a policy in; on return the decisions that follow are queued.

        Must not switch greenlets: it runs inside a transaction of the store.

        Raises:
            PolicyError: it cannot be carried out (too many members for the switches' groups, say).
            ConflictError: it contradicts what exists now. In both cases nothing was changed.
        """

    def plan_policy(self, policy: Policy) -> Sequence[JsonObject]:
        """Return the flow rules that ``apply_policy`` would add, change and remove; changes nothing. Raises as it."""

    def health(self) -> HealthReport:
        """Return how many switches are connected, and what is wrong."""

    def cluster(self) -> JsonObject | None:
        """Return the controllers of this fabric (``documents.ClusterDocument``), None when this one is alone."""

    def ready(self) -> bool:
        """Whether a switch is connected and reconciled, or this controller stands by for another one."""

    def switches(self) -> Sequence[JsonObject]:
        """List switches (``documents.Switch``)."""

    def links(self) -> Sequence[JsonObject]:
        """List directed links (``documents.Link``)."""

    def hosts(self) -> Sequence[JsonObject]:
        """List hosts (``documents.Host``)."""

    def member_status(self, pool: str, member: str) -> MemberStatus:
        """Return what is observed of a member of the policy in force."""

    def report_load(self, pool: str, member: str, load: float, state: LoadState) -> None:
        """Take in the report of a member's agent."""

    def resets(self, selection: ResetSelection, limit: int, cursor: str | None) -> Page:
        """Return sampled resets, newest first (``documents.Reset``). Raises ValueError for a cursor it did not give."""

    def reset_counts(self, since: float, bin_s: int) -> Mapping[int, Mapping[str, int]]:
        """Count sampled resets after a moment, once a connection, by span and cause.

        A span is its start, seconds since the epoch, a multiple of ``bin_s``. The cause is the incident's, ``none`` without one.
        """

    def explain(self, src: str, dst: str, src_port: int | None, dst_port: int) -> JsonObject:
        """Say where a TCP connection would go and why (``documents.Explanation``)."""

    def incidents(self, state: Literal["open", "closed"] | None) -> Sequence[JsonObject]:
        """List incidents, newest first (``documents.Incident``)."""

    def incident(self, incident_id: str) -> JsonObject | None:
        """Return one incident, None when there is none of that id."""

    def label_incident(self, incident_id: str, cause: Cause) -> JsonObject:
        """Note the cause an operator gives to an existing incident; returns the incident."""

    def revert_incident(self, incident_id: str) -> JsonObject:
        """Undo the actions of an existing incident; returns it. Raises ConflictError when there is nothing to undo."""

    def quarantine(self) -> Sequence[JsonObject]:
        """List quarantine entries (``documents.Quarantined``)."""

    def add_quarantine(self, entry: QuarantineEntry) -> JsonObject:
        """Quarantine a client; returns the entry with its ``id``. Raises ConflictError when it already is."""

    def remove_quarantine(self, entry_id: str) -> bool:
        """End a quarantine; False when there is none of that id."""

    def rule_hits(self) -> Mapping[str, tuple[int, int]]:
        """Return (packets, bytes) matched by each firewall rule, by its id."""

    def would_have_refused(self, firewall: Firewall | None) -> Sequence[JsonObject]:
        """Return what passed in the last hour and would not have, latest first (``documents.WouldRefuse``).

        Had the rules that are tried out acted; or, when it is given, had another firewall been in force.
        """

    def firewall_log(self, limit: int, cursor: str | None) -> Page:
        """Return logged firewall verdicts, newest first (``documents.FirewallVerdict``). Raises ValueError as above."""

    def events(self, last_event_id: str | None) -> Iterator[StreamEvent | None]:
        """Yield events after that id as they happen, and None after 15 s without one (``stream.EventRing``)."""

    def pause(self) -> None:
        """Let everything else run that waits, packets first; the policy may be another one afterwards."""

    def aside(self, work: Callable[[], T]) -> T:
        """Return what long ``work`` returns, done where it holds up nothing; it must touch nothing of the controller's."""

    def measurements(self) -> Iterable[Measurement | Distribution]:
        """Return what ``/metrics`` shows beyond what the other methods tell."""
