"""Decisions to OpenFlow 1.3 messages and messages to plain values, with the Nicira extensions Open vSwitch needs.

Bytes in, bytes out: no framework, so both frameworks send the same octets (docs/adr/0002). Layouts: OpenFlow 1.3.5 §7 and
Open vSwitch `nicira-ext.h`, `ofp-actions.c`, `ofp-ct.c`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

from controller import decisions as do
from controller import flows as fl
from controller.addresses import is_ipv6, octets
from controller.events import PortCounters

OFP_VERSION = 4
OUR_XID = 0x52000000
"""Requests of ours carry this in the top byte of their xid; everything that expects no reply has xid 0."""
NX_VENDOR = 0x2320
OFPP_ANY = OFPG_ANY = OFPM_ALL = 0xFFFFFFFF
OFP_NO_BUFFER = 0xFFFFFFFF
ADD, MODIFY, DELETE = 0, 1, 2
FLOW_DELETE = 3
METER_DELETE = 2
RESET_COUNTS = 4
NO_RECIRCULATION = 0xFF
TYPE_PACKET_OUT, TYPE_FLOW_MOD, TYPE_GROUP_MOD, TYPE_MULTIPART, TYPE_BARRIER, TYPE_METER_MOD = 13, 14, 15, 18, 20, 29
TYPE_EXPERIMENTER = 4
MULTIPART_FLOW, MULTIPART_PORT, MULTIPART_QUEUE = 1, 4, 5
MULTIPART_GROUP, MULTIPART_GROUP_DESC, MULTIPART_METER, MULTIPART_METER_CONFIG = 6, 7, 9, 10
OFPQ_ALL = 0xFFFFFFFF
NXT_CT_FLUSH = 32

_OXM, _NXM, _ERICOXM = 0x8000, 0x0001, 0x1000

# name: (class, field, bytes). The order is the order on the wire: Open vSwitch wants a field's prerequisites before it.
FIELDS: dict[str, tuple[int, int, int]] = {
    "in_port": (_OXM, 0, 4), "eth_dst": (_OXM, 3, 6), "eth_src": (_OXM, 4, 6), "eth_type": (_OXM, 5, 2), "vlan_vid": (_OXM, 6, 2),
    "ip_proto": (_OXM, 10, 1), "nw_ttl": (_NXM, 29, 1), "ipv4_src": (_OXM, 11, 4), "ipv4_dst": (_OXM, 12, 4),
    "ipv6_src": (_OXM, 26, 16), "ipv6_dst": (_OXM, 27, 16),
    "tcp_src": (_OXM, 13, 2), "tcp_dst": (_OXM, 14, 2), "udp_src": (_OXM, 15, 2), "udp_dst": (_OXM, 16, 2),
    "icmpv4_type": (_OXM, 19, 1), "icmpv4_code": (_OXM, 20, 1), "icmpv6_type": (_OXM, 29, 1), "icmpv6_code": (_OXM, 30, 1),
    "arp_op": (_OXM, 21, 2), "arp_spa": (_OXM, 22, 4), "arp_tpa": (_OXM, 23, 4), "arp_sha": (_OXM, 24, 6), "arp_tha": (_OXM, 25, 6),
    "ipv6_nd_target": (_OXM, 31, 16), "ipv6_nd_sll": (_OXM, 32, 6), "ipv6_nd_tll": (_OXM, 33, 6),
    "nd_reserved": (_ERICOXM, 1, 4), "nd_options_type": (_ERICOXM, 2, 1),
    "tcp_flags": (_NXM, 34, 2), "ct_state": (_NXM, 105, 4), "ct_zone": (_NXM, 106, 2), "ct_mark": (_NXM, 107, 4),
    "ct_nw_proto": (_NXM, 119, 1), "ct_nw_src": (_NXM, 120, 4), "ct_nw_dst": (_NXM, 121, 4),
    "ct_ipv6_src": (_NXM, 122, 16), "ct_ipv6_dst": (_NXM, 123, 16), "ct_tp_src": (_NXM, 124, 2), "ct_tp_dst": (_NXM, 125, 2),
    **{f"reg{n}": (_NXM, n, 4) for n in range(8)},
}  # fmt: skip
_ORDER = {name: position for position, name in enumerate(FIELDS)}
_BY_CODE = {(cls, number): name for name, (cls, number, _) in FIELDS.items()}


def _pad8(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 8)


def _header(name: str, masked: bool = False) -> bytes:
    oxm_class, number, size = FIELDS[name]
    return struct.pack("!HBB", oxm_class, number << 1 | masked, size * 2 if masked else size)


def _oxm(name: str, value: int | fl.MaskedValue) -> bytes:
    size = FIELDS[name][2]
    if isinstance(value, tuple):
        return _header(name, True) + value[0].to_bytes(size, "big") + value[1].to_bytes(size, "big")
    return _header(name) + value.to_bytes(size, "big")


def encode_match(match: fl.Match) -> bytes:
    """An `ofp_match` of type OXM, padded to 8 (OpenFlow 1.3.5 §7.2.3.1)."""
    ordered = sorted(match.fields, key=lambda item: _ORDER[item[0]])
    body = b"".join(_oxm(name, value) for name, value in ordered)
    return _pad8(struct.pack("!HH", 1, 4 + len(body)) + body)


# --- actions -------------------------------------------------------------------------------------------------------------------


def _nx_action(subtype: int, body: bytes) -> bytes:
    padded = _pad8(bytes(10) + body)[10:]
    return struct.pack("!HHIH", 0xFFFF, 10 + len(padded), NX_VENDOR, subtype) + padded


def _output(action: fl.Output) -> bytes:
    return struct.pack("!HHIH6x", 0, 16, action.port, 0xFFFF)


def _punt(action: fl.Punt) -> bytes:
    max_len, meter = struct.pack("!HHH2x", 0, 6, action.max_len), struct.pack("!HHI", 5, 8, action.meter_id)
    return _nx_action(37, bytes(6) + max_len + meter)


def _set_field(action: fl.SetField) -> bytes:
    oxm = _oxm(action.name, action.value)
    body = _pad8(bytes(4) + oxm)[4:]
    return struct.pack("!HH", 25, 4 + len(body)) + body


def _move(action: fl.Move) -> bytes:
    return _nx_action(6, struct.pack("!HHH", action.bits, 0, 0) + _header(action.source) + _header(action.target))


def _nat(nat: fl.Nat) -> bytes:
    flags = {"known": 0, "src": 1, "dst": 2}[nat.kind]
    present, ranges = 0, b""
    if nat.address:
        present, ranges = (4 if is_ipv6(nat.address) else 1), octets(nat.address)
    if nat.ports:
        present, ranges = present | 0x30, ranges + struct.pack("!HH", *nat.ports)
    return _nx_action(36, struct.pack("!2xHH", flags, present) + ranges)


def _ct(action: fl.Ct) -> bytes:
    nested = _nat(action.nat) if action.nat else b""
    if action.mark:
        nested += _nx_action(33, _oxm("ct_mark", action.mark))
    table = NO_RECIRCULATION if action.table is None else action.table
    return _nx_action(35, struct.pack("!HIHB3xH", action.commit, 0, action.zone, table, 0) + nested)


def _learn(action: fl.Learn) -> bytes:
    from_value, to_load = 1 << 13, 1 << 11
    # The constants name the protocol: the prerequisites of the fields that are copied, so they come first.
    specs = b"".join(_learn_value(from_value, name, value) for name, value in action.constants)
    for name in action.fields:
        specs += struct.pack("!H", FIELDS[name][2] * 8) + (_header(name) + bytes(2)) * 2
    specs += _learn_value(from_value | to_load, *action.load)
    fixed = struct.pack("!HHHQHBxHH", action.idle_timeout_s, 0, action.priority, action.cookie, 0, action.table, 0, 0)
    return _nx_action(16, fixed + specs)


def _learn_value(kind: int, name: str, value: int) -> bytes:
    size = FIELDS[name][2]
    return struct.pack("!H", kind | size * 8) + value.to_bytes(size + size % 2, "big") + _header(name) + bytes(2)


_ENCODERS: dict[type, Callable[..., bytes]] = {
    fl.Output: _output,
    fl.Punt: _punt,
    fl.SetField: _set_field,
    fl.Move: _move,
    fl.Ct: _ct,
    fl.Learn: _learn,
    fl.ToGroup: lambda action: struct.pack("!HHI", 22, 8, action.group_id),
    fl.Resubmit: lambda action: _nx_action(14, struct.pack("!HB3x", 0xFFF8, action.table)),
    fl.DecTtl: lambda _: struct.pack("!HH4x", 24, 8),
}


def encode_actions(actions: Iterable[fl.Action]) -> bytes:
    """An action list."""
    return b"".join(_ENCODERS[type(action)](action) for action in actions)


# --- messages ------------------------------------------------------------------------------------------------------------------


def _message(message_type: int, body: bytes, xid: int = 0) -> bytes:
    return struct.pack("!BBHI", OFP_VERSION, message_type, 8 + len(body), xid) + body


def _instructions(entry: fl.FlowEntry) -> bytes:
    raw = struct.pack("!HHI", 6, 8, entry.meter_id) if entry.meter_id is not None else b""
    if entry.actions:
        actions = encode_actions(entry.actions)
        raw += struct.pack("!HH4x", 4, 8 + len(actions)) + actions
    if entry.goto is not None:
        raw += struct.pack("!HHB3x", 1, 8, entry.goto)
    return raw


def _flow_mod(
    cookie: int, cookie_mask: int, table: int, command: int, body: bytes, times: tuple[int, int, int] = (0, 0, 0)
) -> bytes:
    # An entry that replaces another must not inherit its packet count: it would be counted twice (OpenFlow 1.3.5 §6.4).
    flags = RESET_COUNTS if command == ADD else 0
    fixed = struct.pack(
        "!QQBBHHHIIIH2x", cookie, cookie_mask, table, command, *times, OFP_NO_BUFFER, OFPP_ANY, OFPG_ANY, flags
    )
    return _message(TYPE_FLOW_MOD, fixed + body)


def _install_flow(decision: do.InstallFlow) -> bytes:
    entry = decision.entry
    times = (entry.idle_timeout_s, entry.hard_timeout_s, entry.priority)
    return _flow_mod(entry.cookie, 0, entry.table_id, ADD, encode_match(entry.match) + _instructions(entry), times)


def _remove_flow(decision: do.RemoveFlow) -> bytes:
    return _flow_mod(decision.cookie, decision.cookie_mask, decision.table_id, FLOW_DELETE, encode_match(fl.Match()))


def encode_buckets(entry: fl.GroupEntry) -> bytes:
    """The buckets as a group-mod carries them and as a group description reports them."""
    raw = b""
    for bucket in entry.buckets:
        actions = encode_actions(bucket.actions)
        watch_port = OFPP_ANY if bucket.watch_port is None else bucket.watch_port
        raw += struct.pack("!HHII4x", 16 + len(actions), bucket.weight, watch_port, OFPG_ANY) + actions
    return raw


GROUP_KINDS = {"select": 1, "fast-failover": 3}


def _set_group(decision: do.SetGroup) -> bytes:
    entry = decision.entry
    command = MODIFY if decision.exists else ADD
    return _message(
        TYPE_GROUP_MOD, struct.pack("!HBxI", command, GROUP_KINDS[entry.kind], entry.group_id) + encode_buckets(entry)
    )


def _remove_group(decision: do.RemoveGroup) -> bytes:
    return _message(TYPE_GROUP_MOD, struct.pack("!HBxI", DELETE, 0, decision.group_id))


def _set_meter(decision: do.SetMeter) -> bytes:
    entry = decision.entry
    packets_per_second_with_burst = 0b0110
    head = struct.pack("!HHI", MODIFY if decision.exists else ADD, packets_per_second_with_burst, entry.meter_id)
    return _message(TYPE_METER_MOD, head + struct.pack("!HHII4x", 1, 16, entry.rate_pps, entry.burst))


def _remove_meter(decision: do.RemoveMeter) -> bytes:
    return _message(TYPE_METER_MOD, struct.pack("!HHI", METER_DELETE, 0, decision.meter_id))


def _property(number: int, value: bytes) -> bytes:
    return _pad8(struct.pack("!HH", number, 4 + len(value)) + value)


def _mapped(address: int) -> bytes:
    """16 octets: an IPv6 address, or an IPv4 one mapped (RFC 4291 §2.5.5.2)."""
    return octets(address).rjust(6, b"\xff").rjust(16, b"\0")


def _flush_connection(decision: do.FlushConnection) -> bytes:
    connection = decision.connection
    nested = _property(0, _mapped(connection.src)) + _property(1, _mapped(connection.dst))
    nested += _property(2, connection.src_port.to_bytes(2, "big")) + _property(
        3, connection.dst_port.to_bytes(2, "big")
    )
    tuple_property = struct.pack("!HH4x", 0, 8 + len(nested)) + nested
    zone = _property(2, decision.zone.to_bytes(2, "big"))
    return _message(
        TYPE_EXPERIMENTER, struct.pack("!IIB7x", NX_VENDOR, NXT_CT_FLUSH, connection.protocol) + tuple_property + zone
    )


def _send_packet(decision: do.SendPacket) -> bytes:
    actions = encode_actions(decision.actions)
    head = struct.pack("!IIH6x", OFP_NO_BUFFER, decision.in_port, len(actions))
    return _message(TYPE_PACKET_OUT, head + actions + decision.frame)


def multipart(kind: int, body: bytes, xid: int) -> bytes:
    """A multipart request in one part."""
    return _message(TYPE_MULTIPART, struct.pack("!HH4x", kind, 0) + body, xid)


def request_flows(table_id: int = 0xFF, xid: int = 0) -> bytes:
    """Flow statistics of one table, or of all (0xff)."""
    body = struct.pack("!B3xII4xQQ", table_id, OFPP_ANY, OFPG_ANY, 0, 0) + encode_match(fl.Match())
    return multipart(MULTIPART_FLOW, body, xid)


def request_groups(xid: int = 0) -> bytes:
    """The description of every group."""
    return multipart(MULTIPART_GROUP_DESC, b"", xid)


def request_meters(xid: int = 0) -> bytes:
    """The configuration of every meter."""
    return multipart(MULTIPART_METER_CONFIG, struct.pack("!I4x", OFPM_ALL), xid)


def request_meter_counters(xid: int = 0) -> bytes:
    """The counters of every meter."""
    return multipart(MULTIPART_METER, struct.pack("!I4x", OFPM_ALL), xid)


def request_port_counters(xid: int = 0) -> bytes:
    """The counters of every port."""
    return multipart(MULTIPART_PORT, struct.pack("!I4x", OFPP_ANY), xid)


def request_queue_counters(xid: int = 0) -> bytes:
    """The counters of every queue of every port."""
    return multipart(MULTIPART_QUEUE, struct.pack("!II", OFPP_ANY, OFPQ_ALL), xid)


_MESSAGES: dict[type, Callable[..., bytes]] = {
    do.InstallFlow: _install_flow,
    do.RemoveFlow: _remove_flow,
    do.SetGroup: _set_group,
    do.RemoveGroup: _remove_group,
    do.SetMeter: _set_meter,
    do.RemoveMeter: _remove_meter,
    do.FlushConnection: _flush_connection,
    do.SendPacket: _send_packet,
    do.Barrier: lambda decision: _message(TYPE_BARRIER, b"", decision.token),
    do.RequestCounters: lambda decision: request_flows(decision.table_id),
    do.RequestPortCounters: lambda _: request_port_counters(),
    do.RequestQueueCounters: lambda _: request_queue_counters(),
    do.RequestMeterCounters: lambda _: request_meter_counters(),
}


def encode(decision: do.SwitchDecision) -> bytes:
    """One decision as one OpenFlow message, ready for the switch's socket. The xid is 0 but for a barrier, where it is the token."""
    return _MESSAGES[type(decision)](decision)


# --- what switches say ---------------------------------------------------------------------------------------------------------


def name_of(header: int) -> str | None:
    """The name of the field that an OXM/NXM header is of, None when it is none of ours."""
    return _BY_CODE.get((header >> 16, header >> 9 & 0x7F))


def decode_fields(raw: bytes | memoryview) -> dict[str, int]:
    """The OXM/NXM fields of a match by name, unknown ones left out; of a masked field (`ct_state`) the value.

    Truncated input ends the walk; nothing is raised.
    """
    fields: dict[str, int] = {}
    offset, end = 0, len(raw)
    while offset + 4 <= end:
        oxm_class, number, size = struct.unpack_from("!HBB", raw, offset)
        value = raw[offset + 4 : offset + 4 + size]
        offset += 4 + size
        name = _BY_CODE.get((oxm_class, number >> 1))
        # What is longer than the field would be a number that nothing of ours can hold.
        if name is None or size != FIELDS[name][2] << (number & 1) or len(value) != size:
            continue
        fields[name] = int.from_bytes(value[: size // 2] if number & 1 else value, "big")
    return fields


def decode_packet_in(raw: bytes | memoryview) -> tuple[int, int, dict[str, int], bytes] | None:
    """(table_id, cookie, fields, frame) of an OFPT_PACKET_IN, None when it is malformed (OpenFlow 1.3.5 §7.4.1)."""
    if len(raw) < 28:
        return None
    table_id, cookie, _, match_length = struct.unpack_from("!BQHH", raw, 15)
    data = 24 + (match_length + 7) // 8 * 8 + 2
    if match_length < 4 or data > len(raw):
        return None
    return table_id, cookie, decode_fields(raw[28 : 24 + match_length]), bytes(raw[data:])


def decode_flow_counters(body: bytes | memoryview) -> Iterator[tuple[int, int, int, int]]:
    """(table_id, cookie, packets, bytes) of each entry of a flow-statistics reply body (OpenFlow 1.3.5 §7.3.5.2)."""
    offset = 0
    while offset + 56 <= len(body):
        (length, table_id) = struct.unpack_from("!HB", body, offset)
        if length < 56:
            return
        cookie, packets, octets = struct.unpack_from("!QQQ", body, offset + 24)
        yield table_id, cookie, packets, octets
        offset += length


_PORT_COUNTERS = struct.Struct("!I4x12QII")
_NOT_COUNTED = 0xFFFFFFFFFFFFFFFF


def decode_port_counters(body: bytes | memoryview) -> Iterator[tuple[int, PortCounters]]:
    """(port_no, counters) of each port of a port-statistics reply body (OpenFlow 1.3.5 §7.3.5.6); all ones is a counter it lacks."""
    for offset in range(0, len(body) - _PORT_COUNTERS.size + 1, _PORT_COUNTERS.size):
        port_no, *counted, seconds, nanoseconds = _PORT_COUNTERS.unpack_from(body, offset)
        kept = [None if count == _NOT_COUNTED else count for count in counted]
        rx_packets, tx_packets, rx_bytes, tx_bytes, _, tx_dropped = kept[:6]
        duration_s = None if seconds == 0xFFFFFFFF else seconds + nanoseconds / 1e9
        yield port_no, PortCounters(rx_bytes, tx_bytes, rx_packets, tx_packets, tx_dropped, duration_s)


def decode_queue_drops(body: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """(port_no, packets dropped) of each queue of a queue-statistics reply body (OpenFlow 1.3.5 §7.3.5.8), those that count them."""
    for offset in range(0, len(body) - 39, 40):
        port_no, dropped = struct.unpack_from("!I20xQ", body, offset)
        if dropped != _NOT_COUNTED:
            yield port_no, dropped


def decode_meter_drops(body: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """(meter_id, packets in its bands) of each meter of a meter-statistics reply body (OpenFlow 1.3.5 §7.3.5.12): ours have drop bands."""
    offset = 0
    while offset + 40 <= len(body):
        meter_id, length = struct.unpack_from("!IH", body, offset)
        if length < 40 or offset + length > len(body):
            return
        bands = range(offset + 40, offset + length - 15, 16)
        yield meter_id, sum(struct.unpack_from("!Q", body, band)[0] for band in bands)
        offset += length


def decode_groups(body: bytes | memoryview) -> Iterator[tuple[int, int, bytes]]:
    """(group_id, type, buckets as bytes) of each group of a group-description reply body."""
    offset = 0
    while offset + 8 <= len(body):
        length, kind, group_id = struct.unpack_from("!HBxI", body, offset)
        if length < 8:
            return
        yield group_id, kind, bytes(body[offset + 8 : offset + length])
        offset += length


def decode_meters(body: bytes | memoryview) -> Iterator[int]:
    """The meter ids of a meter-configuration reply body."""
    offset = 0
    while offset + 8 <= len(body):
        length, meter_id = struct.unpack_from("!H2xI", body, offset)
        if length < 8:
            return
        yield meter_id
        offset += length


def more_follows(message: bytes | memoryview) -> bool:
    """Whether a multipart reply has further parts (OFPMPF_REPLY_MORE)."""
    return bool(message[11] & 1)
