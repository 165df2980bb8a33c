"""Packet-ins of mirrored resets, as a switch sends them: real frames, the fields that Open vSwitch adds, any number of clients."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from bench.switch import PACKET_IN, message
from controller import frames
from controller.flows import Purpose
from controller.pipeline import (
    ACK,
    CLIENT_DATA_SEEN,
    EST,
    KNOWN,
    MEMBER_DATA_SEEN,
    RPL,
    RST,
    SYN_ACK_SEEN,
    TCP,
    VIP_SHIFT,
)

_NXM1, _OPENFLOW = 0x0001, 0x8000
_OPENED = KNOWN | SYN_ACK_SEEN | CLIENT_DATA_SEEN


def _field(oxm_class: int, number: int, value: bytes) -> bytes:
    return struct.pack("!HBB", oxm_class, number << 1, len(value)) + value


def packet_in(client: int, src_port: int, vip: tuple[int, int], mark: int, state: int) -> bytes:
    """One reset: of the member when `state` has RPL, else of the client."""
    ends = (*vip, client, src_port) if state & RPL else (client, src_port, *vip)
    frame = frames.tcp(frames.Tcp(*ends, RST | ACK, 1, 1, 509), 0x020000000001, 0x020000000002)
    fields = b"".join(
        (
            _field(_OPENFLOW, 0, struct.pack("!I", 1)),
            _field(_NXM1, 105, struct.pack("!I", state)),
            _field(_NXM1, 107, struct.pack("!I", mark)),
            _field(_NXM1, 120, client.to_bytes(4, "big")),
            _field(_NXM1, 121, vip[0].to_bytes(4, "big")),
            _field(_NXM1, 119, struct.pack("!B", TCP)),
            _field(_NXM1, 124, struct.pack("!H", src_port)),
            _field(_NXM1, 125, struct.pack("!H", vip[1])),
        )
    )
    return _packet_in(Purpose.RESET, fields, frame)


def _packet_in(purpose: Purpose, fields: bytes, frame: bytes) -> bytes:
    """OpenFlow 1.3.5 §7.4.1; fields as in `ovs-fields(7)`."""
    matched = struct.pack("!HH", 1, 4 + len(fields)) + fields
    matched += bytes(-len(matched) % 8)
    head = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 1, 3, purpose << 56 | 1)
    return message(PACKET_IN, head + matched + b"\0\0" + frame)


def introduction(address: int, in_port: int) -> bytes:
    """A host says who it is: an ARP question about itself (RFC 5227 §3)."""
    mac = 0x02 << 40 | address
    question = frames.arp(frames.Arp(frames.ARP_REQUEST, mac, address, 0, address), frames.BROADCAST)
    return _packet_in(Purpose.ARP, _field(_OPENFLOW, 0, struct.pack("!I", in_port)), question)


def early_abort(client: int, member: int, vip_number: int, vip: tuple[int, int]) -> bytes:
    """A member's live socket resets a connection before it has sent anything."""
    return packet_in(client, 1024 + client % 60_000, vip, vip_number << VIP_SHIFT | member | _OPENED, EST | RPL)


def mixed(
    count: int, members: int, per_pool: int, guilty: int, chance: random.Random, first_client: int = 0x0B000000
) -> Iterator[bytes]:
    """`count` resets, each of another client: most are clients' own aborts at any member, one in twenty is `guilty` resetting.

    Members are numbered from 1 and share VIPs, numbered from 1 as well, `per_pool` each.
    """
    for number in range(count):
        is_guilty = number % 20 == 0
        member = guilty if is_guilty else chance.randrange(members) + 1
        vip = (member - 1) // per_pool + 1
        mark = vip << VIP_SHIFT | member | _OPENED | (0 if is_guilty else MEMBER_DATA_SEEN)
        state = EST | RPL if is_guilty else EST
        yield packet_in(first_client + number, 1024 + number % 60_000, (0x0A000000 + vip, 80), mark, state)
