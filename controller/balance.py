"""Tables 4, 8 and 9: a new connection to a VIP gets a member, and keeps it.

One select group per VIP and edge switch. A bucket commits the connection with its translation and its mark, so from then on the
tracker pins it: a changed group moves new connections only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from controller.addresses import FAMILIES, family_of
from controller.flows import (
    IN_PORT,
    Action,
    Bucket,
    Connection,
    Ct,
    FlowEntry,
    GroupEntry,
    Learn,
    Move,
    Nat,
    Output,
    Punt,
    Purpose,
    Resubmit,
    SetField,
    ToGroup,
    match,
)  # fmt: skip
from controller.frames import vip_mac
from controller.pipeline import KNOWN, MARK_ALL, MEMBER_MASK, TCP, Meter, Table, mark

VIP_GROUP = 0x1000_0000


class Choice(NamedTuple):
    """A member that new connections may be given, with its share."""

    number: int
    address: int
    port: int
    weight: int


ANYBODY = Choice(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Service:
    """A VIP as an edge switch sees it: its choices in order. An empty tuple means nobody can serve it."""

    number: int
    address: int
    port: int
    choices: tuple[Choice, ...]
    redispatch: bool
    affinity_timeout_s: int = 0

    @property
    def group_id(self) -> int:
        """The group of this VIP on every switch."""
        return VIP_GROUP | self.number

    @property
    def as_asked_for(self) -> Service:
        """What its flow entries follow from: not the shares, and without affinity not who serves, but whether anybody does."""
        if self.affinity_timeout_s:
            return replace(self, choices=tuple(choice._replace(weight=0) for choice in self.choices))
        return replace(self, choices=(ANYBODY,) if self.choices else ())


def pin(zone: int, service: Service, choice: Choice) -> Ct:
    """Commit a connection to this member."""
    return _pin(zone, mark(service.number, choice.number, service.redispatch), choice.address, choice.port)


@lru_cache(maxsize=1 << 18)
def _pin(zone: int, value: int, address: int, port: int) -> Ct:
    nat = Nat("dst", address, (port, port))
    return Ct(zone, Table.OPENED, commit=True, nat=nat, mark=(value, MARK_ALL))


def groups(zone: int, service: Service) -> Iterator[GroupEntry]:
    """The VIP's select group, when anybody serves it; a member of weight 0 has no bucket."""
    if service.choices:
        vip = service.number, service.redispatch, bool(service.affinity_timeout_s)
        yield GroupEntry(service.group_id, "select", tuple(_bucket(zone, *vip, choice) for choice in service.choices))


@lru_cache(maxsize=1 << 18)
def _bucket(zone: int, vip: int, redispatch: bool, affinity: bool, choice: Choice) -> Bucket:
    """Pin it, or, where the choice is to be remembered, say which it is: a bucket cannot learn, table 9 does.

    Kept, since whoever leaves a group leaves the other buckets as they are.
    """
    if affinity:
        return Bucket((SetField("reg1", choice.number), Resubmit(Table.PINNED)), choice.weight)
    value = mark(vip, choice.number, redispatch)
    return Bucket((_pin(zone, value, choice.address, choice.port),), choice.weight)


def _remember(service: Service, choice: Choice) -> Learn:
    """The same client gets the same member while it keeps coming: the switch learns it, with the member's number as the cookie."""
    family = family_of(service.address)
    constants = (
        ("eth_type", family.eth_type), ("ip_proto", TCP), (family.dst, service.address), ("tcp_dst", service.port)
    )  # fmt: skip
    return Learn(Table.AFFINITY, 10, affinity_cookie(service.number, choice.number), service.affinity_timeout_s, (family.src,), constants,
                 ("reg1", choice.number))  # fmt: skip


def affinity_cookie(vip: int, member: int) -> int:
    """Cookie of what switches learnt for a (VIP, member): named, so an ejection can remove it."""
    return Purpose.AFFINITY << 56 | vip << 16 | member


def affinities(vip: int) -> tuple[int, int]:
    """Cookie and mask of what switches learnt for a VIP, whichever the member."""
    return affinity_cookie(vip, 0), (1 << 64) - 1 - MEMBER_MASK


def otherwise(zone: int, addresses: Iterable[int]) -> Iterator[FlowEntry]:
    """What becomes of everything else that reaches table 4 at an edge switch."""
    for address in addresses:
        yield echo(address, Table.BALANCE, 110)
        yield FlowEntry(Table.BALANCE, 90, family_of(address).match(dst=address), Purpose.BALANCE)
    # It comes back to be counted: whether the tracker had room for it shows only then.
    commit = Ct(zone, Table.OPENED, commit=True, mark=(KNOWN, KNOWN))
    for family in FAMILIES:
        yield FlowEntry(Table.BALANCE, 10, family.match(), Purpose.BALANCE, (commit,))


def to_vip(zone: int, service: Service) -> Iterator[FlowEntry]:
    """Tables 4 and 9: what becomes of a new connection to a VIP."""
    to_vip = family_of(service.address).fields(ip_proto=TCP, dst=service.address, tcp_dst=service.port)
    if not service.choices:
        # Nobody left: the controller refuses the SYN, as a host without a listener would, rather than let the client hang.
        yield FlowEntry(Table.BALANCE, 100, match(**to_vip), Purpose.UNAVAILABLE, (Punt(Meter.HELD),))
        return
    counts = ("connection", str(service.number))
    if not service.affinity_timeout_s:
        give = (ToGroup(service.group_id),)
        yield FlowEntry(Table.BALANCE, 100, match(**to_vip), Purpose.BALANCE, give, counts=counts)
        return
    lookup = (SetField("reg1", 0), Resubmit(Table.AFFINITY))
    yield FlowEntry(Table.BALANCE, 100, match(**to_vip), Purpose.BALANCE, lookup, goto=Table.PINNED, counts=counts)
    for choice in service.choices:
        remembered = match(**to_vip, reg1=choice.number)
        actions = (_remember(service, choice), pin(zone, service, choice))
        yield FlowEntry(Table.PINNED, 20, remembered, Purpose.BALANCE, actions)
    yield FlowEntry(Table.PINNED, 10, match(**to_vip), Purpose.BALANCE, (ToGroup(service.group_id),))


def echo(address: int, table: Table, priority: int) -> FlowEntry:
    """`ping` of a VIP or a gateway is answered by the switch (RFC 1122 §3.2.2.6, RFC 4443 §4.2)."""
    family = family_of(address)
    fields = family.match(ip_proto=family.icmp, dst=address, icmp_type=family.echo_request)
    actions = (
        Move("eth_src", "eth_dst", 48), SetField("eth_src", vip_mac(address)), Move(family.src, family.dst, family.bits),
        SetField(family.src, address), SetField(family.icmp_type, family.echo_reply), Output(IN_PORT),
    )  # fmt: skip
    return FlowEntry(table, priority, fields, Purpose.BALANCE, actions)


def redirect(zone: int, service: Service, choice: Choice) -> tuple[Action, ...]:
    """Actions that open a rebuilt SYN's connection on this member: straight into the tracker, so no cached flow can be stale."""
    return (pin(zone, service, choice),)


def connection_of(fields: dict[str, int]) -> Connection | None:
    """The original tuple that a packet-in after `ct()` carries; None when the tracker did not know one, or the switch says half of it."""
    for family in FAMILIES:
        ends = [fields.get(name) for name in (family.ct_src, "ct_tp_src", family.ct_dst, "ct_tp_dst")]
        known = [end for end in ends if end is not None]
        if len(known) == len(ends):
            return Connection(*known)
    return None
