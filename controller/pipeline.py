"""The pipeline as data: tables, what each may match, where a packet may go next, and the bits of `ct_mark` and the registers.

`check(entry)` refuses an entry that breaks these rules before a switch does. See docs/pipeline.md.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import NamedTuple

from controller.flows import Ct, FlowEntry, Match, Resubmit


@unique
class Table(IntEnum):
    """Table numbers. A packet goes up the numbers by goto; only a recirculation (`ct`) or a resubmit goes anywhere else."""

    ADMISSION = 0
    TRACK = 1
    FIREWALL = 2
    RESETS = 3
    BALANCE = 4
    ROUTE = 5
    NEIGHBOUR = 6
    HOLD = 7
    AFFINITY = 8
    PINNED = 9
    ADVERTISE = 10
    INSPECT = 11
    OBSERVE = 12
    OPENED = 13
    COUNT = 14
    SAMPLE = 15
    LEAVE = 16
    ZONE_FROM = 17
    ZONE_TO = 18
    PRESENCE = 19


@unique
class Meter(IntEnum):
    """One meter per kind of punt: a flood of one must not starve another."""

    LLDP = 1
    ARP = 2
    LEARN = 3
    PROBE = 4
    MIRROR = 5
    HELD = 6
    FIREWALL = 7
    LINK_PROBE = 8
    NEW_LINK = 9
    ND = 10
    ICMP_ERROR = 11
    SAMPLE = 12
    LINK_SAMPLE = 13
    ROUTER = 14
    PICK_UP = 15
    INSPECT = 20
    LOG = 21
    OBSERVE = 22


METER_RATES: dict[Meter, tuple[int, int]] = {
    # meter: (packets/s, burst). LLDP: 1,000 ports every 5 s; the mirror: what the controller digests without delay.
    Meter.LLDP: (500, 200),
    Meter.ARP: (500, 200),
    Meter.LEARN: (500, 100),
    Meter.PROBE: (2000, 500),
    Meter.MIRROR: (2000, 500),
    Meter.HELD: (5000, 2000),
    Meter.FIREWALL: (1000, 200),
    Meter.NEW_LINK: (500, 200),
    Meter.ND: (500, 200),
    Meter.ICMP_ERROR: (500, 200),
    # A first packet that waits for a verdict is lost above this: its sender tries again a second later.
    Meter.INSPECT: (1000, 200),
    Meter.LOG: (200, 100),
    Meter.OBSERVE: (200, 100),
    # Packets of links that are pressed, while they are.
    Meter.LINK_SAMPLE: (50, 10),
    # SYNs and SYN-ACKs of the sample, over all edge switches together.
    Meter.SAMPLE: (400, 200),
    # 300 probes of suspected links a second, if all of them end at one switch, and its share of the others.
    Meter.LINK_PROBE: (1000, 500),
    # ICMP errors and hosts to be asked for: Linux sends 1,000 errors a second by default (icmp_msgs_per_sec), a fabric has many edges.
    Meter.ROUTER: (200, 100),
    # Of a switch that came back empty: two for each connection that is taken up.
    Meter.PICK_UP: (2000, 1000),
}


class MeterRange:
    """Where the ids of meters begin that come and go; those above have fixed ones."""

    RULE = 1000
    """A rule's meter has the number of its priority."""
    QUARANTINE = 100_000
    PORT = 120_000
    """Of what one host port may open."""
    SOURCE = 130_000
    """Of one source's budget; those the core sets and removes by itself."""
    SIZE = 10_000


# ct_state bits, ovs-fields(7).
NEW, EST, REL, RPL, INV, TRK = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

# TCP flags, RFC 9293 §3.1.
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

# reg0: where the packet came in.
FROM_HOST = 1
FROM_FABRIC = 0

# reg2: the packet leaves its sender's subnet.
ROUTED = 1

# reg3 and reg4: the zones that a connection comes from and goes to, by number; reg5: the controller is there.
PRESENT = 1

# reg6: the controller has judged this first packet and let it in.
HAD_VERDICT = 1

# ct_mark, from the top: what the connection has seen, then which VIP and which member it is pinned to.
SYN_ACK_SEEN = 1 << 31
KNOWN = 1 << 30
CLIENT_DATA_SEEN = 1 << 29
MEMBER_DATA_SEEN = 1 << 28
FIN_SEEN = 1 << 27
REDISPATCH = 1 << 26
VIP_SHIFT, VIP_BITS = 16, 10
VIP_MASK = ((1 << VIP_BITS) - 1) << VIP_SHIFT
MEMBER_MASK = 0xFFFF
PINNED_MASK = VIP_MASK | MEMBER_MASK
MARK_ALL = 0xFFFFFFFF

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
IPV4, IPV6, ARP_TYPE, LLDP_TYPE = 0x0800, 0x86DD, 0x0806, 0x88CC
# ICMPv6 types of neighbour discovery, RFC 4861 §4.
ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT, REDIRECT_MESSAGE = 134, 135, 136, 137
LINK_PROBE_TYPE = 0x88B5
"""IEEE Std 802 Local Experimental Ethertype 1."""

# Ports our own probes come from: 61184 to 61439, above Linux's default ephemeral range (32768 to 60999). The last ask agents.
PROBE_PORTS = (0xEF00, 0xFF00)
PROBE_PORT_FIRST, PROBE_PORT_COUNT = 0xEF00, 0xC0
AGENT_PORT_FIRST, AGENT_PORT_COUNT = 0xEFC0, 0x40


def mark(vip: int, member: int, redispatch: bool) -> int:
    """The `ct_mark` of a connection that begins: known, pinned to this VIP and member."""
    return KNOWN | (REDISPATCH if redispatch else 0) | vip << VIP_SHIFT | member


class TableRules(NamedTuple):
    """What a table's entries may match, and which tables they may go to."""

    fields: frozenset[str]
    goto: frozenset[Table]


_TCP = frozenset({"ip_proto", "tcp_src", "tcp_dst", "tcp_flags"})
_IPV4 = frozenset({"ipv4_src", "ipv4_dst", "icmpv4_type"})
_IPV6 = frozenset({"ipv6_src", "ipv6_dst", "icmpv6_type"})
_IP = frozenset({"eth_type", "ip_proto", "udp_src", "udp_dst"}) | _IPV4 | _IPV6 | _TCP
_CT = frozenset({"ct_state", "ct_mark"})
_CT_TUPLE = frozenset({"ct_nw_src", "ct_nw_dst", "ct_ipv6_src", "ct_ipv6_dst", "ct_nw_proto", "ct_tp_src", "ct_tp_dst"})
_ARP = frozenset({"eth_type", "arp_op", "arp_spa", "arp_tpa"})
_ND = frozenset({"eth_type", "ip_proto", "icmpv6_type", "ipv6_nd_target"})

_ZONES = frozenset({"reg3", "reg4", "reg5"})

RULES: dict[Table, TableRules] = {
    Table.ADMISSION: TableRules(
        _IP | _ARP | {"in_port", "eth_src", "eth_dst"},
        frozenset({Table.TRACK, Table.ROUTE, Table.NEIGHBOUR, Table.LEAVE}),
    ),
    Table.TRACK: TableRules(_IP | {"in_port"}, frozenset({Table.ROUTE})),
    Table.FIREWALL: TableRules(
        _IP | _CT | _CT_TUPLE | _ZONES | {"reg0"}, frozenset({Table.RESETS, Table.BALANCE, Table.ROUTE, Table.INSPECT})
    ),
    Table.RESETS: TableRules(_IP | _CT, frozenset({Table.ROUTE, Table.HOLD})),
    Table.BALANCE: TableRules(_IP | _CT, frozenset({Table.ROUTE, Table.PINNED})),
    Table.ROUTE: TableRules(_IP | _CT | {"in_port", "eth_dst", "reg2"}, frozenset()),
    Table.NEIGHBOUR: TableRules(_ARP | _ND, frozenset({Table.ADVERTISE})),
    Table.HOLD: TableRules(_IP | _CT, frozenset()),
    Table.AFFINITY: TableRules(_IP, frozenset()),
    Table.PINNED: TableRules(_IP | {"reg1"}, frozenset()),
    Table.ADVERTISE: TableRules(_ND, frozenset()),
    Table.INSPECT: TableRules(_IP | {"reg6"}, frozenset()),
    Table.OBSERVE: TableRules(_IP | _CT | _ZONES | {"reg0"}, frozenset()),
    Table.OPENED: TableRules(_CT, frozenset()),
    Table.COUNT: TableRules(_CT, frozenset()),
    Table.SAMPLE: TableRules(_IP, frozenset()),
    Table.ZONE_FROM: TableRules(_CT_TUPLE | {"eth_type", "ct_state"}, frozenset({Table.ZONE_TO})),
    Table.ZONE_TO: TableRules(_CT_TUPLE | {"eth_type", "ct_state"}, frozenset()),
    Table.PRESENCE: TableRules(frozenset(), frozenset()),
    Table.LEAVE: TableRules(_IP | {"nw_ttl"}, frozenset()),
}

_EITHER_IP = ("eth_type", (IPV4, IPV6))
_NEEDS: dict[str, tuple[str, tuple[int, ...]]] = {
    **dict.fromkeys(("ip_proto", "nw_ttl"), _EITHER_IP),
    **dict.fromkeys(("ipv4_src", "ipv4_dst", "ct_nw_src", "ct_nw_dst"), ("eth_type", (IPV4,))),
    **dict.fromkeys(("ipv6_src", "ipv6_dst", "ct_ipv6_src", "ct_ipv6_dst"), ("eth_type", (IPV6,))),
    "ct_nw_proto": _EITHER_IP,
    **dict.fromkeys(("tcp_src", "tcp_dst", "tcp_flags"), ("ip_proto", (TCP,))),
    **dict.fromkeys(("udp_src", "udp_dst"), ("ip_proto", (UDP,))),
    "icmpv4_type": ("ip_proto", (ICMP,)),
    "icmpv6_type": ("ip_proto", (ICMPV6,)),
    "ipv6_nd_target": ("icmpv6_type", (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT)),
    **dict.fromkeys(("arp_op", "arp_spa", "arp_tpa"), ("eth_type", (ARP_TYPE,))),
}


class PipelineError(ValueError):
    """An entry that does not belong in the table it names."""


def _check_match(entry: FlowEntry, rules: TableRules, match: Match) -> None:
    present = dict(match.fields)
    for name, value in present.items():
        if name not in rules.fields:
            raise PipelineError(f"table {entry.table_id} does not match {name}")
        needed = _NEEDS.get(name)
        if needed and present.get(needed[0]) not in needed[1]:
            allowed = " or ".join(f"{value:#x}" for value in needed[1])
            raise PipelineError(f"{name} needs {needed[0]}={allowed}")
        if isinstance(value, tuple) and value[0] & ~value[1]:
            raise PipelineError(f"{name}={value[0]:#x}/{value[1]:#x} has bits outside its mask")


_SOUND = "is_sound"


def check(entry: FlowEntry) -> None:
    """Raise PipelineError when a switch, or the next reader, would not accept the entry. Each is looked at once."""
    if _SOUND in vars(entry):
        return
    rules = RULES[Table(entry.table_id)]
    _check_match(entry, rules, entry.match)
    if entry.goto is not None and entry.goto not in rules.goto:
        raise PipelineError(f"table {entry.table_id} does not go to table {entry.goto}")
    recirculates = any(isinstance(action, Ct) and action.table is not None for action in entry.actions)
    if recirculates and entry.goto is not None:
        raise PipelineError("a packet that recirculates must not also go on")
    if any(isinstance(action, Resubmit) and action.table == entry.table_id for action in entry.actions):
        raise PipelineError("a table does not resubmit to itself")
    vars(entry)[_SOUND] = True
