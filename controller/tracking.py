"""Tables 1 and 2: the connection tracker, and which packets may begin what.

What Open vSwitch's tracker says without a known connection: SYN-ACK is `+inv`; SYN, data, FIN and RST all are `+new`. So "a new
connection" is `+new` with SYN and without ACK, from a host port, and nothing else ever reaches the balance table.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from controller import related
from controller.addresses import FAMILIES, V6, Family, family_of
from controller.flows import Ct, FlowEntry, MeterEntry, Nat, Punt, Purpose, match
from controller.pipeline import (
    ACK,
    EST,
    FROM_FABRIC,
    FROM_HOST,
    ICMPV6,
    INV,
    KNOWN,
    MEMBER_MASK,
    NEW,
    REL,
    RST,
    SYN,
    SYN_ACK_SEEN,
    TCP,
    UDP,
    VIP_MASK,
    Meter,
    MeterRange,
    Table,
)  # fmt: skip

_A_SYN = (SYN, SYN | ACK)
_BEGINS = (SYN, SYN | ACK | RST)
"""No host begins a connection with a RST, and no rule judges one."""
_A_SYN_ACK = (SYN | ACK, SYN | ACK)
_IS_KNOWN = (KNOWN, KNOWN)


def track(zone: int, onward: Table = Table.FIREWALL) -> Iterator[FlowEntry]:
    """Every IP packet for this switch meets the tracker once; what was translated is translated back or on."""
    for family in FAMILIES:
        yield FlowEntry(Table.TRACK, 10, family.match(), Purpose.TRACK, (Ct(zone, onward, nat=Nat()),))
    for kind in related.ERRORS:
        error = V6.match(ip_proto=ICMPV6, icmp_type=kind)
        yield FlowEntry(Table.TRACK, 15, error, Purpose.TRACK, (Ct(zone, onward),))


def untracked() -> Iterator[FlowEntry]:
    """Nothing in the chain needs to know connections: every IP packet goes straight to its route."""
    for family in FAMILIES:
        yield FlowEntry(Table.TRACK, 10, family.match(), Purpose.TRACK, goto=Table.ROUTE)


def port_limits(zone: int, onward: Table, ports: Iterable[int], per_s: int | None) -> Iterator[FlowEntry | MeterEntry]:
    """What one host port may open: SYNs above the limit are dropped before the tracker would remember them."""
    for port_no in ports if per_s is not None else ():
        meter = MeterRange.PORT + port_no % MeterRange.SIZE
        yield MeterEntry(meter, per_s or 1, max(1, (per_s or 1) // 10))
        for family in FAMILIES:
            syn = family.match(in_port=port_no, ip_proto=TCP, tcp_flags=_A_SYN)
            actions = (Ct(zone, onward, nat=Nat()),)
            yield FlowEntry(Table.TRACK, 12, syn, Purpose.TRACK, actions, meter_id=meter, counts=("syn", str(port_no)))


def _known_connections(family: Family) -> Iterator[FlowEntry]:
    yield FlowEntry(Table.FIREWALL, 100, family.match(ct_state=(EST, EST)), Purpose.FIREWALL, goto=Table.RESETS)
    yield from _errors(family)
    tcp = family.fields(ip_proto=TCP, ct_state=(INV, INV), ct_mark=_IS_KNOWN)
    # The client opens a connection with the port of one that is still open here: forget that one, let the SYN in again.
    reused = match(**tcp, tcp_flags=_A_SYN, reg0=FROM_HOST)
    yield FlowEntry(Table.FIREWALL, 97, reused, Purpose.REUSED_PORT, (Punt(Meter.HELD, max_len=0xFFFF),))
    # A member that still has the old one challenges the SYN (RFC 5961 §4.2): the client's RST ends it there (reopening.py). It is as
    # far from this window as the challenge was, but it entered at the client's own port, and nothing has been accepted yet.
    unanswered = match(**{**tcp, "ct_mark": (KNOWN, KNOWN | SYN_ACK_SEEN)}, tcp_flags=(RST, RST), reg0=FROM_HOST)
    yield FlowEntry(Table.FIREWALL, 98, unanswered, Purpose.REUSED_PORT, (Punt(Meter.HELD),), goto=Table.ROUTE)
    # Outside the window (RFC 5961 §3): forged, or as good as. Resets among them are evidence.
    yield FlowEntry(Table.FIREWALL, 96, match(**tcp, tcp_flags=(RST, RST)), Purpose.RESET, (Punt(Meter.MIRROR),),
                    counts=("reset", "out-of-window"))  # fmt: skip
    yield FlowEntry(Table.FIREWALL, 94, match(**tcp), Purpose.FIREWALL)


def _errors(family: Family) -> Iterator[FlowEntry]:
    """ICMP errors about known connections: translated by now, or not to be. Where the switch would do harm, the controller translates."""
    about_known = family.fields(ct_state=(REL, REL))
    if family is V6:
        pinned_to_none = match(**about_known, ct_mark=(0, VIP_MASK))
        yield FlowEntry(Table.FIREWALL, 101, pinned_to_none, Purpose.FIREWALL, goto=Table.ROUTE)
        punt = (Punt(Meter.ICMP_ERROR, max_len=0xFFFF),)
        yield FlowEntry(Table.FIREWALL, 100, match(**about_known), Purpose.RELATED, punt)
    else:
        yield FlowEntry(Table.FIREWALL, 100, match(**about_known), Purpose.FIREWALL, goto=Table.ROUTE)


def _from_hosts(family: Family) -> Iterator[FlowEntry]:
    here = family.fields(reg0=FROM_HOST)
    new, invalid = (NEW, NEW), (INV, INV)
    yield FlowEntry(
        Table.FIREWALL,
        80,
        match(**here, ip_proto=TCP, ct_state=new, tcp_flags=_BEGINS),
        Purpose.FIREWALL,
        goto=Table.BALANCE,
    )
    # Of a connection that is tracked at the initiator's edge: route it there.
    yield FlowEntry(Table.FIREWALL, 60, match(**here, ip_proto=TCP, ct_state=new), Purpose.FIREWALL, goto=Table.ROUTE)
    answer = match(**here, ip_proto=TCP, ct_state=invalid, tcp_flags=_A_SYN_ACK)
    yield FlowEntry(Table.FIREWALL, 60, answer, Purpose.FIREWALL, goto=Table.ROUTE)
    for protocol in (UDP, family.icmp):
        yield FlowEntry(
            Table.FIREWALL, 60, match(**here, ip_proto=protocol, ct_state=new), Purpose.FIREWALL, goto=Table.BALANCE
        )
    yield FlowEntry(
        Table.FIREWALL, 60, match(**here, ip_proto=family.icmp, ct_state=invalid), Purpose.FIREWALL, goto=Table.ROUTE
    )


def _from_fabric(family: Family, zone: int) -> Iterator[FlowEntry]:
    """Judged at its first edge. UDP has no SYN, so its responder's edge must know it too, or a deny one way breaks replies the other."""
    arrived = family.fields(reg0=FROM_FABRIC)
    for protocol in (TCP, family.icmp):
        for state in (NEW, INV):
            fields = match(**arrived, ip_proto=protocol, ct_state=(state, state))
            yield FlowEntry(Table.FIREWALL, 50, fields, Purpose.FIREWALL, goto=Table.ROUTE)
    commit = Ct(zone, commit=True, mark=(KNOWN, KNOWN))
    fields = match(**arrived, ip_proto=UDP, ct_state=(NEW, NEW))
    yield FlowEntry(Table.FIREWALL, 50, fields, Purpose.FIREWALL, (commit,), goto=Table.ROUTE)


def admit(zone: int, vips: Iterable[int]) -> Iterator[FlowEntry]:
    """The firewall table without rules: known connections on, new ones where they belong."""
    for family in FAMILIES:
        yield from _known_connections(family)
        yield from _from_hosts(family)
        yield from _from_fabric(family, zone)
    for vip in vips:
        # A stray segment to a VIP must not reach the group: it would commit a connection and hit a member.
        stray = family_of(vip).match(reg0=FROM_HOST, ip_proto=TCP, dst=vip)
        yield FlowEntry(Table.FIREWALL, 75, stray, Purpose.FIREWALL)


def end_connections(members: Iterable[int]) -> Iterator[FlowEntry]:
    """Connections pinned to these members are over: what either end sends next makes the controller end them at both."""
    for member, family in itertools.product(members, FAMILIES):
        pinned = (KNOWN | member, KNOWN | MEMBER_MASK)
        fields = family.match(ip_proto=TCP, ct_state=(EST, EST), ct_mark=pinned)
        punt = (Punt(Meter.FIREWALL),)
        yield FlowEntry(Table.FIREWALL, 112, fields, Purpose.ENDED, punt, counts=("ended", str(member)))
