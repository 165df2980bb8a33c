"""What a switch is told, as plain values: matches, actions, flow entries, groups and meters.

The vocabulary of the decisions: no framework object and no byte order here. `apps/codec.py` turns these into OpenFlow 1.3
messages with the Nicira extensions of Open vSwitch (`ovs-actions(7)`, `ovs-fields(7)`, OpenFlow 1.3.5 §5 to §7).

Every entry has a *cookie* that is its own content: 8 bits of purpose, 56 bits of hash. Two entries with the same cookie are the
same entry, so `reconcile` needs nothing but the cookies a switch reports.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum, unique
from functools import cached_property
from typing import Literal, NamedTuple

PURPOSE_SHIFT = 56
HASH_MASK = (1 << PURPOSE_SHIFT) - 1


@unique
class Purpose(IntEnum):
    """Why a flow entry exists: the top byte of its cookie, so a packet-in names the function it is for."""

    LLDP = 0x01
    ARP = 0x02
    LEARN = 0x03
    PROBE = 0x04
    ADMISSION = 0x05
    INJECTED = 0x06
    QUARANTINE = 0x07
    LINK_PROBE = 0x08
    ND = 0x09
    LINK_SAMPLE = 0x0A
    TRACK = 0x10
    FIREWALL = 0x20
    REUSED_PORT = 0x21
    REJECTED = 0x22
    ENDED = 0x23
    PICKED_UP = 0x24
    RELATED = 0x2F
    INSPECTED = 0x28
    LOGGED = 0x29
    OBSERVED = 0x2A
    VERDICT = 0x2B
    WAITING = 0x2C
    RESET = 0x30
    HELD = 0x31
    STAGE = 0x32
    COUNT = 0x33
    SAMPLED = 0x34
    BALANCE = 0x40
    UNAVAILABLE = 0x41
    ROUTE = 0x50
    EXPIRED = 0x51
    UNKNOWN_HOST = 0x52
    NO_ROUTE = 0x53
    GATEWAY = 0x54
    ZONE = 0x58
    # Not reconciled: the data plane or a short timeout owns these.
    AFFINITY = 0xF0
    PRESENT = 0xF1


def purpose_of(cookie: int) -> Purpose | None:
    """The purpose a cookie carries, or None for an entry that is not ours."""
    try:
        return Purpose(cookie >> PURPOSE_SHIFT)
    except ValueError:
        return None


MaskedValue = tuple[int, int]
"""(value, mask): a bit that is 0 in the mask is a wildcard."""


class Match(NamedTuple):
    """OXM fields by name (OpenFlow 1.3.5 §7.2.3.7 and `ovs-fields(7)`), sorted; a value is an int or (value, mask)."""

    fields: tuple[tuple[str, int | MaskedValue], ...] = ()

    def get(self, name: str) -> int | MaskedValue | None:
        """The value or (value, mask) of field `name`; None when the match does not name it."""
        return next((value for field_name, value in self.fields if field_name == name), None)


def match(**fields: int | MaskedValue) -> Match:
    """A match on the named fields; MAC and IP addresses are integers."""
    return Match(tuple(sorted(fields.items())))


@dataclass(frozen=True, slots=True)
class Output:
    """Output to a port (OpenFlow 1.3.5 §7.2.5); `IN_PORT` sends back where the packet came from."""

    port: int


@dataclass(frozen=True, slots=True)
class Punt:
    """A copy to the controller through a meter of its own (NXAST_CONTROLLER2: a meter instruction would police the packet too)."""

    meter_id: int
    max_len: int = 256


@dataclass(frozen=True, slots=True)
class SetField:
    """Set a whole field, named as in a match."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Move:
    """Copy `bits` bits of one field into another (NXAST_REG_MOVE), both from their bit 0."""

    source: str
    target: str
    bits: int


@dataclass(frozen=True, slots=True)
class Nat:
    """Translate the source or the destination (NXAST_NAT). No address: replay what the tracker knows."""

    kind: Literal["known", "src", "dst"] = "known"
    address: int = 0
    ports: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Ct:
    """Send the packet through the connection tracker (NXAST_CT, `ovs-actions(7)`); it goes on in `table` when that is given."""

    zone: int
    table: int | None = None
    commit: bool = False
    nat: Nat | None = None
    mark: MaskedValue | None = None


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand the packet to a group."""

    group_id: int


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in `table` and come back (NXAST_RESUBMIT_TABLE)."""

    table: int


@dataclass(frozen=True, slots=True)
class DecTtl:
    """Take one from the IP TTL: what bounds a deflected packet's life."""


@dataclass(frozen=True, slots=True)
class Learn:
    """Add a flow entry from the packet at hand (NXAST_LEARN).

    The entry lives in `table`, matches `fields` copied from the packet and `constants`, and loads `load` = (field, value).
    """

    table: int
    priority: int
    cookie: int
    idle_timeout_s: int
    fields: tuple[str, ...]
    constants: tuple[tuple[str, int], ...]
    load: tuple[str, int]


Action = Output | Punt | SetField | Move | Ct | ToGroup | Resubmit | DecTtl | Learn

IN_PORT = 0xFFFFFFF8
TO_TABLE = 0xFFFFFFF9
"""OFPP_IN_PORT and, in a packet-out only, OFPP_TABLE: the start of the pipeline (OpenFlow 1.3.5 §7.2.1)."""


def _content_hash(content: object) -> int:
    digest = hashlib.blake2b(repr(content).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & HASH_MASK


KEPT_ENTRIES = 1 << 13
"""Of each kind that is about one host: of a thousand hosts one comes, and the entries of the others are the same objects as before."""


@dataclass(frozen=True)
class FlowEntry:
    """One flow entry. Actions apply in order; then the packet goes on in table `goto`, if given."""

    table_id: int
    priority: int
    match: Match
    purpose: Purpose
    actions: tuple[Action, ...] = ()
    goto: int | None = None
    meter_id: int | None = None
    idle_timeout_s: int = 0
    hard_timeout_s: int = 0
    counts: tuple[str, ...] | None = field(default=None, compare=False)
    """What the entry's packet counter is a count of, e.g. ("reset", "web", "web-1", "refused"); not part of its identity."""

    @cached_property
    def cookie(self) -> int:
        """Purpose and content in 64 bits."""
        content = (
            self.table_id,
            self.priority,
            self.match.fields,
            self.actions,
            self.goto,
            self.meter_id,
            self.idle_timeout_s,
            self.hard_timeout_s,
        )
        return self.purpose << PURPOSE_SHIFT | _content_hash(content)

    @property
    def key(self) -> tuple[int, int, Match]:
        """What a switch identifies an entry by: adding another with the same key replaces this one."""
        return self.table_id, self.priority, self.match


@dataclass(frozen=True, slots=True)
class Bucket:
    """One choice of a group. `watch_port` None: always alive."""

    actions: tuple[Action, ...]
    weight: int = 0
    watch_port: int | None = None


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """A group: `select` by hash and weight among live buckets, or `fast-failover` to the first live one."""

    group_id: int
    kind: Literal["select", "fast-failover"]
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class MeterEntry:
    """A meter that drops above `rate_pps` packets per second (OpenFlow 1.3.5 §5.7)."""

    meter_id: int
    rate_pps: int
    burst: int


class Connection(NamedTuple):
    """The original direction of a tracked TCP connection: what the initiator sent, before translation. Addresses as integers."""

    src: int
    src_port: int
    dst: int
    dst_port: int
    protocol: int = 6
