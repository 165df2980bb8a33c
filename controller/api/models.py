"""Bodies and queries of requests. Bodies take the policy's own models; what is read-only in answers is let pass.

A client that reads a pool, changes a field and puts it back sends the read-only fields too: they are known and ignored
there. A PATCH names what it changes, so a read-only field in one is refused.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from controller.api.service import Cause, LoadState
from controller.policy import AdminState, Automation, Firewall, FirewallDefault, Member, Policy, Pool, Rule, Vip
from controller.policy.problems import show
from controller.policy.values import (
    HostAddress,
    IpText,
    Name,
    Prefix,
    Range,
    StrictFloat,
    StrictInt,
    StrictStr,
    SwitchPort,
    TransportPort,
    Weight,
    wrong,
)

PAGE_LIMIT = 1_000
CURSOR_DIGITS = 18  # what SQLite holds in an integer
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})\Z", re.IGNORECASE
)
ReadOnly = Annotated[Any, Field(json_schema_extra={"readOnly": True})]
QueryPort = Annotated[int, Range(1, 65_535)]


def _cursor(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= CURSOR_DIGITS):
        raise wrong(f"{show(text)} is not one that this list gave")
    return text


def _time(text: str) -> float:
    # A + that a client forgot to quote in a query arrives as a space.
    written = text.replace(" ", "+").upper()
    try:
        if not _RFC_3339.match(written):
            raise ValueError
        return datetime.fromisoformat(written).timestamp()
    except (ValueError, OverflowError):
        raise wrong(f"{show(text)} is not a time such as 2026-01-31T12:00:00Z") from None


Cursor = Annotated[
    str, AfterValidator(_cursor), WithJsonSchema({"type": "string", "pattern": f"^[0-9]{{1,{CURSOR_DIGITS}}}$"})
]
Since = Annotated[float, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# -- bodies -----------------------------------------------------------------------------------------------------------


class MemberBody(Member):
    """A member, as in the policy."""

    health: ReadOnly = None
    effective_weight: ReadOnly = None
    ejected_until: ReadOnly = None
    connections_active: ReadOnly = None
    connections_per_s: ReadOnly = None
    resets_per_s: ReadOnly = None
    handshake_ms: ReadOnly = None
    handshake_ratio: ReadOnly = None
    bytes_to: ReadOnly = None
    bytes_from: ReadOnly = None
    load: ReadOnly = None
    agent: ReadOnly = None

    def member(self) -> Member:
        """Return the member without what is read-only."""
        return Member(**{name: getattr(self, name) for name in Member.model_fields})


class MemberPatch(_Request):
    """What to change of a member; an absent field stays as it is."""

    # The defaults are never read (exclude_unset) and null is not a value of these fields.
    address: HostAddress = Field(default_factory=str)
    port: TransportPort = Field(default_factory=int)
    weight: Weight = Field(default_factory=int)
    admin_state: AdminState = Field(default_factory=lambda: AdminState.ACTIVE)


class PoolBody(Pool):
    """A pool, as in the policy; ``name``, when given, is the one in the path."""

    name: Name | None = None
    members: Annotated[tuple[MemberBody, ...], Field(max_length=256)] = ()

    def pool(self) -> Pool:
        """Return the pool without name and what is read-only."""
        fields = {name: getattr(self, name) for name in Pool.model_fields if name != "members"}
        return Pool(**fields, members=tuple(member.member() for member in self.members))


class NewPool(PoolBody):
    """A pool with its name."""

    name: Name = Field()


class VipBody(Vip):
    """A VIP, as in the policy; ``name``, when given, is the one in the path."""

    name: Name | None = None

    def vip(self) -> Vip:
        """Return the VIP without its name."""
        return Vip(**{name: getattr(self, name) for name in Vip.model_fields})


class NewVip(VipBody):
    """A VIP with its name."""

    name: Name = Field()


class RuleBody(Rule):
    """A firewall rule, as in the policy."""

    hits: ReadOnly = None
    bytes: ReadOnly = None

    def rule(self, rule_id: str | None = None) -> Rule:
        """Return the rule without what is read-only, under another id when one is given."""
        fields = {name: getattr(self, name) for name in Rule.model_fields}
        return Rule(**fields) if rule_id is None else Rule(**{**fields, "id": rule_id})


class DefaultBody(_Request):
    """What happens to traffic that no rule matches."""

    default: FirewallDefault


class LoadBody(_Request):
    """An agent's report: 0 idle, 1 full."""

    load: Annotated[StrictFloat, Range(0, 1)]
    state: LoadState = "up"


class QuarantineBody(_Request):
    """A client (address or prefix) to quarantine: towards one VIP, for one flow (``dst``, ``protocol``, ``dst_port``), or everywhere.

    With ``place`` it is kept out at that port only, whoever has its address elsewhere.
    """

    client: Prefix
    vip: Name | None = None
    dst: Prefix | None = None
    protocol: Literal["tcp", "udp"] | None = None
    dst_port: TransportPort | None = None
    place: SwitchPort | None = None
    action: Literal["drop", "limit", "isolate"] = "drop"
    ttl_s: Annotated[StrictInt, Range(1, 2_592_000)] = 300
    reason: Annotated[StrictStr, Field(max_length=200)] = ""
    incident: Annotated[StrictStr, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        if self.dst_port is not None and self.protocol is None:
            raise wrong("dst_port needs protocol tcp or udp")
        if self.vip is not None and self.dst is not None:
            raise wrong("dst and vip both name a destination; give one of them")
        narrow = (self.vip, self.dst, self.protocol)
        if self.action == "isolate" and any(field is not None for field in narrow):
            raise wrong("action isolate is about everything the client sends; it goes with no vip, dst or protocol")
        if self.dst is not None and (":" in self.dst) != (":" in self.client):
            raise wrong(f"client {self.client} and dst {self.dst} are of different address families")
        return self


class LabelBody(_Request):
    """The cause an operator gives to an incident."""

    cause: Cause


class RollbackBody(_Request):
    """The revision whose policy comes back; without it the one before the current."""

    revision: Annotated[StrictInt, Range(1, 2**62)] | None = None


class EmptyBody(_Request):
    """Nothing to say."""


# -- paths ------------------------------------------------------------------------------------------------------------


class PoolPath(BaseModel):
    """A pool by name."""

    pool: str


class MemberPath(PoolPath):
    """A member by the names of its pool and its own."""

    member: str


class VipPath(BaseModel):
    """A VIP by name."""

    vip: str


class IdPath(BaseModel):
    """Something by its id."""

    id: str


# -- queries ----------------------------------------------------------------------------------------------------------


class PageQuery(_Request):
    """Which part of a list."""

    limit: Annotated[int, Range(1, PAGE_LIMIT)] = 100
    cursor: Cursor | None = None


class PolicyQuery(_Request):
    """How to take a policy in."""

    dry_run: Literal["true", "false"] = "false"


class ResetQuery(PageQuery):
    """Which resets."""

    since: Since | None = None
    vip: Name | None = None
    member: Annotated[str, Field(max_length=127)] | None = None
    client: IpText | None = None
    cause: Cause | None = None


class TimelineQuery(_Request):
    """The last so many spans of so many seconds."""

    bin_s: Annotated[int, Range(1, 3600)] = 10
    bins: Annotated[int, Range(1, 720)] = 90


class IncidentQuery(PageQuery):
    """Which incidents."""

    state: Literal["open", "closed"] | None = None


class ExplainQuery(_Request):
    """The connection to explain."""

    src: IpText
    dst: IpText
    dst_port: QueryPort
    src_port: QueryPort | None = None


_BODIES_OF_THE_POLICY = (Policy, Automation, Firewall)
BY_NAME: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (*_BODIES_OF_THE_POLICY, *vars().copy().values())
    if isinstance(model, type) and issubclass(model, BaseModel)
}
