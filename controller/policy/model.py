"""The policy's models: frozen, unknown fields refused, units in the names, addresses as canonical text."""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from controller.policy import consistency
from controller.policy.chain import ALL, Function, in_pipeline_order
from controller.policy.frozen import Frozen
from controller.policy.network import Subnet
from controller.policy.quarantine import QuarantineSettings
from controller.policy.values import (
    Flag,
    HostAddress,
    HttpPath,
    Name,
    Percent,
    PortOrRange,
    Prefix,
    Range,
    StrictFloat,
    StrictInt,
    StrictStr,
    SwitchPort,
    TimeOfDay,
    TimeZone,
    TransportPort,
    Version,
    Weight,
    port_bounds,
    wrong,
)
from controller.policy.zones import FirewallDefault, Tag, Zone

MAX_MEMBERS = 256
MAX_RULES = 20_000
MAX_PORT_SPECS = 64
MAX_SUBNETS = 256
MAX_ZONES = 64
MAX_TAGS = 256
DAY_S = 86_400

Seconds = Annotated[StrictFloat, Range(0, DAY_S)]


class AdminState(StrEnum):
    """What the operator wants of a member (its health is another fact)."""

    ACTIVE = "active"
    DRAINING = "draining"
    DISABLED = "disabled"


class OnDown(StrEnum):
    """What happens to connections pinned to a member found dead."""

    KEEP = "keep"
    RESET = "reset"


class Locality(StrEnum):
    """Whether clients get members that are near to them first."""

    NONE = "none"
    PREFER_NEAR = "prefer-near"


class RuleAction(StrEnum):
    """What a firewall rule does with what it matches."""

    ALLOW = "allow"
    DROP = "drop"
    REJECT = "reject"
    LIMIT = "limit"


class AutomationMode(StrEnum):
    """How far the controller acts by itself."""

    ENFORCE = "enforce"
    DRY_RUN = "dry-run"
    FROZEN = "frozen"


class Member(Frozen):
    """A server of a pool; ``weight`` is its share of new connections, 0 gets none."""

    name: Name
    address: HostAddress
    port: TransportPort
    weight: Weight = 100
    admin_state: AdminState = AdminState.ACTIVE


class HealthCheck(Frozen):
    """An active check; ``rise`` successes bring a member up, ``fall`` failures take it down.

    ``agent_port``: where members' agents speak HAProxy's agent-check protocol, asked every ``agent_interval_s``.
    """

    type: Literal["tcp", "http"] = "tcp"
    path: HttpPath = "/"
    expect_status: Annotated[StrictInt, Range(100, 599)] = 200
    interval_s: Annotated[StrictFloat, Range(0.1, 3600)] = 2.0
    timeout_s: Annotated[StrictFloat, Range(0.1, 3600)] = 1.0
    rise: Annotated[StrictInt, Range(1, 100)] = 2
    fall: Annotated[StrictInt, Range(1, 100)] = 3
    agent_port: TransportPort | None = None
    agent_interval_s: Annotated[StrictFloat, Range(0.1, 3600)] = 2.0

    @model_validator(mode="after")
    def _checks_do_not_pile_up(self) -> Self:
        if self.timeout_s > self.interval_s:
            raise wrong(f"timeout_s {self.timeout_s:g} is more than interval_s {self.interval_s:g}")
        return self


class Pool(Frozen):
    """Members that serve the same thing, and how far automation may go with them."""

    members: Annotated[tuple[Member, ...], Field(max_length=MAX_MEMBERS)] = ()
    max_ejection_percent: Percent = 50
    panic_threshold_percent: Percent = 50
    redispatch: Flag = True
    health_check: HealthCheck | None = None
    on_down: OnDown = OnDown.KEEP
    drain_timeout_s: Seconds = 300.0
    slow_start_s: Seconds = 10.0
    ejection_time_s: Seconds = 30.0
    locality: Locality = Locality.NONE

    def member(self, name: str) -> Member | None:
        """Return the member of that name."""
        return next((member for member in self.members if member.name == name), None)


class Vip(Frozen):
    """A virtual TCP service; ``affinity_timeout_s`` keeps a client on its member (an idle timeout of OpenFlow)."""

    address: HostAddress
    port: TransportPort
    pool: Name
    affinity_timeout_s: Annotated[StrictInt, Range(0, 65_535)] = 0


class Schedule(Frozen):
    """When a rule applies, on the wall clock of ``timezone``; an ``end`` before ``start`` is on the next day."""

    days: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(max_length=7)] = ()
    start: TimeOfDay
    end: TimeOfDay
    timezone: TimeZone = "UTC"

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.start == self.end:
            raise wrong("start and end are the same time; leave the schedule out for always")
        return self


_LATER_FIELDS = (
    "from_zone", "to_zone", "inspect", "per_source_pps", "per_source_connections_per_s", "log", "dry_run",
)  # fmt: skip


class Rule(Frozen):
    """A firewall rule. Higher ``priority`` first, then the order of the list; an absent field matches anything.

    ``dst_ports`` holds ports and ranges ``"lo-hi"``. A rule written without ``id`` gets one from its content.
    """

    id: Name = ""
    priority: Annotated[StrictInt, Range(0, 65_535)] = 100
    src: Prefix | None = None
    dst: Prefix | None = None
    from_zone: Name | None = None
    to_zone: Name | None = None
    protocol: Literal["tcp", "udp", "icmp"] | None = None
    dst_ports: Annotated[tuple[PortOrRange, ...], Field(max_length=MAX_PORT_SPECS)] = ()
    action: RuleAction
    rate_pps: Annotated[StrictInt, Range(1, 10_000_000)] | None = None
    schedule: Schedule | None = None
    inspect: Literal["first-packet"] | None = None
    per_source_pps: Annotated[StrictInt, Range(1, 10_000_000)] | None = None
    per_source_connections_per_s: Annotated[StrictInt, Range(1, 1_000_000)] | None = None
    log: Flag = False
    dry_run: Flag = False
    comment: Annotated[StrictStr, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        if self.dst_ports and self.protocol not in ("tcp", "udp"):
            raise wrong("dst_ports needs protocol tcp or udp")
        if (self.action is RuleAction.LIMIT) != (self.rate_pps is not None):
            raise wrong("rate_pps goes with action limit, and only with it")
        if self.has_budget and self.action is not RuleAction.ALLOW:
            raise wrong("per_source_pps and per_source_connections_per_s go with action allow")
        if self.src and self.dst and (":" in self.src) != (":" in self.dst):
            raise wrong(f"src {self.src} and dst {self.dst} are of different address families")
        if not self.id:
            object.__setattr__(self, "id", self._content_id())  # frozen, and not yet seen by anyone
        return self

    def _content_id(self) -> str:
        fields = Rule.model_fields.keys() - {"id", "comment"}
        # What came later counts only where it is used: a rule keeps its id over versions.
        fields -= {name for name in _LATER_FIELDS if getattr(self, name) == Rule.model_fields[name].default}
        content = json.dumps(self.model_dump(mode="json", include=set(fields)), sort_keys=True)
        return "rule-" + hashlib.sha256(content.encode()).hexdigest()[:10]

    @property
    def has_budget(self) -> bool:
        """Whether each source has a limit of its own."""
        return self.per_source_pps is not None or self.per_source_connections_per_s is not None

    @property
    def inspected(self) -> bool:
        """Whether the controller judges first packets."""
        return self.inspect is not None or self.has_budget

    @property
    def passes(self) -> bool:
        """Whether it lets through what it matches, all or some of it."""
        return self.action in (RuleAction.ALLOW, RuleAction.LIMIT)

    def port_ranges(self) -> tuple[tuple[int, int], ...]:
        """Return ``dst_ports`` as (first, last) pairs; empty means any port."""
        return tuple(port_bounds(spec) for spec in self.dst_ports)


class Firewall(Frozen):
    """The virtual firewall; ``cut_established`` also ends connections that a changed rule forbids."""

    default: FirewallDefault = FirewallDefault.ALLOW
    cut_established: Flag = True
    fail_mode: Literal["open", "closed"] = "open"
    port_connections_per_s: Annotated[StrictInt, Range(1, 1_000_000)] | None = 10_000
    verdict_idle_s: Annotated[StrictInt, Range(1, 3600)] = 60
    observe: Flag = False
    rules: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)] = ()


class LinkCapacity(Frozen):
    """Capacity of one direction of a link, for ports whose speed does not tell."""

    src: SwitchPort
    dst: SwitchPort
    capacity_bps: Annotated[StrictInt, Range(1, 10**13)]


class Links(Frozen):
    """What is known about links beforehand."""

    default_capacity_bps: Annotated[StrictInt, Range(1, 10**13)] = 1_000_000_000
    capacities: tuple[LinkCapacity, ...] = ()


class Automation(Frozen):
    """How far the controller acts by itself, and on which share of incidents."""

    mode: AutomationMode = AutomationMode.ENFORCE
    enforce_percent: Percent = 100


class Policy(Frozen):
    """Everything an operator declares. Raises PolicyError on construction when its parts contradict each other."""

    version: Version = 1
    chain: Annotated[tuple[Function, ...], AfterValidator(in_pipeline_order)] = ALL
    pools: Mapping[Name, Pool] = Field(default_factory=dict)
    vips: Mapping[Name, Vip] = Field(default_factory=dict)
    firewall: Firewall = Firewall()
    tags: Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS)] = ()
    zones: Annotated[tuple[Zone, ...], Field(max_length=MAX_ZONES)] = ()
    subnets: Annotated[tuple[Subnet, ...], Field(max_length=MAX_SUBNETS)] = ()
    links: Links = Links()
    automation: Automation = Automation()
    quarantine: QuarantineSettings = QuarantineSettings()
    probe_address: HostAddress | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        consistency.check(self)
        return self

    def document(self) -> dict[str, Any]:
        """Return the canonical JSON-able form, with every default written out; ``parse_policy`` takes it back."""
        return self.model_dump(mode="json")
