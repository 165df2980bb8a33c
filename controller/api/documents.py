"""Answers, for the OpenAPI document. Objects of the running controller may carry more fields than are promised here."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel

from controller.api.service import Cause, Health
from controller.policy import Member, Policy, Pool, Rule, Vip

T = TypeVar("T")


class Answer(BaseModel):
    """An object of an answer."""

    model_config = ConfigDict(extra="allow")


class Page(Answer, Generic[T]):
    """A part of a list; ``next`` is the cursor of the next part, null at the end."""

    items: list[T]
    next: str | None


class Problem(Answer):
    """RFC 9457; ``detail`` names the field, ``problems`` lists every place."""

    type: str
    title: str
    status: int
    detail: str
    problems: list[dict[str, str]] = []


class HealthAnswer(Answer):
    """Whether the controller works as it should, and why not."""

    status: Literal["ok", "degraded"]
    switches: int
    version: str
    reason: str | None


class ClusterNode(Answer):
    """A controller of the cluster: the switches connected to it, and those that it is master of."""

    name: str
    version: str
    api: str
    switches: list[str]
    master_of: list[str]


class ClusterClaim(Answer):
    """Who is master of a switch; the switch refuses whoever has an older generation."""

    node: str
    generation: int


class ClusterDocument(Answer):
    """The controllers of a fabric as one of them (``node``) sees them; ``trouble``: why it is cut off, null when it is not."""

    node: str
    etcd: str
    trouble: str | None
    lease_s: float
    nodes: list[ClusterNode]
    masters: dict[str, ClusterClaim]


class StatusAnswer(HealthAnswer):
    """The controller and the others of its cluster."""

    cluster: ClusterDocument | None


class ReadyAnswer(Answer):
    """Whether a switch is connected and reconciled."""

    ready: bool


class AgentDocument(Answer):
    """What a member's agent makes of it (HAProxy's agent check, or ``PUT …/load``); null: it never said."""

    state: Literal["up", "drain", "maint", "down"]
    percent: int | None
    maxconn: int | None
    description: str
    heard: str | None
    trouble: str | None


class MemberDocument(Member):
    """A member and what is observed of it."""

    health: Health
    effective_weight: int
    ejected_until: str | None
    connections_active: int | None
    connections_per_s: float | None
    resets_per_s: dict[str, float]
    handshake_ms: float | None
    handshake_ratio: float | None
    bytes_to: int | None
    bytes_from: int | None
    load: float | None
    agent: AgentDocument | None


class PoolDocument(Pool):
    """A pool and its members."""

    name: str
    members: tuple[MemberDocument, ...]


class VipDocument(Vip):
    """A VIP."""

    name: str


class RuleDocument(Rule):
    """A firewall rule and how many packets and bytes it matched."""

    hits: int
    bytes: int


class DefaultDocument(Answer):
    """What happens to traffic that no rule matches."""

    default: Literal["allow", "drop", "reject"]


class PolicyPlan(Answer):
    """What a policy would change: of the policy, and of the switches' flow rules."""

    dry_run: Literal[True]
    etag: str
    changes: list[dict[str, Any]]
    flows: list[dict[str, Any]]
    warnings: list[str]


class PolicyOrPlan(RootModel[Policy | PolicyPlan]):
    """The policy now in force; with ``dry_run=true`` what would change."""


class RevisionDocument(Answer):
    """One state the policy was in."""

    revision: int
    etag: str
    origin: str
    actor: str
    time: str
    comment: str


class AuditDocument(Answer):
    """One change somebody made."""

    id: int
    time: str
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


class PortReference(Answer):
    """A port of a switch; the dpid is 16 hex digits."""

    dpid: str
    port_no: int


class SwitchAbout(Answer):
    """What a switch says of itself; null where it does not say."""

    manufacturer: str | None = None
    hardware: str | None = None
    software: str | None = None
    select_groups: bool | None = None
    failover_groups: bool | None = None
    max_meters: int | None = None


class Switch(Answer):
    """A switch; ``refused`` counts the messages it refused since it connected, ``about`` is null while it is away.

    ``table_full``: it refused entries for want of room of late; ``tracker_full``: its tracker takes no new connections.
    ``master`` is null without a cluster.
    """

    dpid: str
    refused: int = 0
    table_full: bool = False
    tracker_full: bool = False
    master: str | None = None
    about: SwitchAbout | None = None


class Link(Answer):
    """One direction of a link."""

    src: PortReference
    dst: PortReference
    capacity_bps: int
    throughput_bps: float | None = None
    utilisation_pct: float | None = None
    loss_pct: float | None = None
    delay_ms: float | None = None
    queue_ms: float | None = None
    weight: int = 100
    silent: bool = False
    queue_drops: int | None = None
    queue_drops_per_s: float | None = None
    congested: bool = False
    congested_since: str | None = None
    congested_by: list[str] = []


class Host(Answer):
    """A host and where it attaches."""

    mac: str


class Topology(Answer):
    """The fabric."""

    switches: list[Switch]
    links: list[Link]
    hosts: list[Host]


class Reset(Answer):
    """A sampled reset segment."""

    time: str
    sender: Literal["client", "member", "injected", "unknown"]
    stage: Literal["post-syn", "post-handshake", "post-data", "after-fin"]
    kind: str


class TimelineSpan(Answer):
    """Connections reset in a span of time, by the cause of the incident they belong to; ``none`` for those of no incident."""

    time: str
    counts: dict[str, int]


class Timeline(Answer):
    """Sampled resets over time, oldest span first; the last one is still growing."""

    bin_s: int
    spans: list[TimelineSpan]


class Evidence(Answer):
    """What spoke for or against a cause."""

    name: str
    value: Any
    weight: float
    text: str


class ActionTaken(Answer):
    """What the controller did about an incident."""

    time: str
    action: str
    target: str
    result: str


class Subject(Answer):
    """What an incident is about."""

    type: Literal["member", "client", "link", "vip", "policy"]
    id: str


class Incident(Answer):
    """Resets beyond the normal of their subject, why, and what was done."""

    id: str
    opened: str
    closed: str | None
    subject: Subject
    cause: Cause
    confidence: float
    posterior: dict[str, float]
    evidence: list[Evidence]
    actions: list[ActionTaken]
    resets: int


class Quarantined(Answer):
    """A quarantined client; ``place`` is the port it is kept out at, null: wherever it lives."""

    id: str
    client: str
    vip: str | None
    dst: str | None = None
    protocol: Literal["tcp", "udp"] | None = None
    dst_port: int | None = None
    place: str | None = None
    action: Literal["drop", "limit", "isolate"]
    ttl_s: int
    reason: str
    incident: str | None


class FirewallVerdict(Answer):
    """A logged verdict of the firewall; ``suppressed`` verdicts before it were not kept, for there were too many."""

    serial: int
    time: str
    rule: str
    action: str
    dry_run: bool
    src: str
    src_port: int | None
    dst: str
    dst_port: int | None
    protocol: str
    place: str
    suppressed: int


class WouldRefuse(Answer):
    """Connections of one kind that passed and would not have; ``rule`` is null for the default. Counts are of samples."""

    rule: str | None
    action: str
    src: str
    dst: str
    protocol: str
    dst_port: int | None
    connections: int
    first: str
    last: str


class AutomationDocument(Answer):
    """How far the controller acts by itself."""

    mode: Literal["enforce", "dry-run", "frozen"]
    enforce_percent: int


class Explanation(Answer):
    """Where a connection would go, and why."""
