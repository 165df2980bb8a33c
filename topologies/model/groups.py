"""Groups: which bucket a packet gets (OpenFlow 1.3.5 §5.6; selection as Open vSwitch 3.1 does it)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Literal

from controller.addresses import is_ipv6, octets
from controller.flows import (
    Action,
    Bucket,
    Ct,
    DecTtl,
    GroupEntry,
    Learn,
    Move,
    Output,
    Punt,
    Resubmit,
    SetField,
    ToGroup,
)
from topologies.model.errors import OpenFlowError
from topologies.model.packet import Packet

Selection = Literal["dp_hash", "hash"]
"""How a select group chooses: `dp_hash`, what Open vSwitch takes by itself, or `hash` over addresses and ports."""

_FINAL: tuple[type[Action], ...] = (Ct, Resubmit, Output, ToGroup)
"""Of several of these in one bucket only the last kind named here is executed."""
_MOST_SLOTS = 256
_HASHED = struct.Struct("!QIHB")
_TUPLE = struct.Struct("!IIHHB")


class Group:
    """One group, ready to choose."""

    def __init__(self, entry: GroupEntry, selection: Selection) -> None:
        self.entry = entry
        self.packets = [0] * len(entry.buckets)
        self._slots = _slots([bucket.weight for bucket in entry.buckets]) if selection == "dp_hash" else []

    @property
    def recirculates(self) -> bool:
        """Whether choosing costs a recirculation: the datapath, not the translation, computes `dp_hash`."""
        return bool(self._slots) and self.entry.kind == "select"

    def choose(self, packet: Packet, port_is_live: Callable[[int], bool]) -> Bucket | None:
        """The bucket for a packet, counted; None when none is alive."""
        index = self._index(packet, port_is_live)
        if index is None:
            return None
        self.packets[index] += 1
        return self.entry.buckets[index]

    def _index(self, packet: Packet, port_is_live: Callable[[int], bool]) -> int | None:
        select = self.entry.kind == "select"
        live = {
            index
            for index, bucket in enumerate(self.entry.buckets)
            if (bucket.watch_port is None or port_is_live(bucket.watch_port)) and not (select and bucket.weight == 0)
        }
        if not select or not live:
            return min(live, default=None)
        if self._slots:
            start = symmetric_hash(packet)
            slots = (self._slots[(start + step) % len(self._slots)] for step in range(len(self._slots)))
            return next(slot for slot in slots if slot in live)
        basis = tuple_hash(packet)
        return max(live, key=lambda index: _score(index, basis, self.entry.buckets[index].weight))


def _score(index: int, basis: int, weight: int) -> tuple[int, int]:
    # A hash of 16 bits times the weight; the later bucket wins a draw. Shares are not proportional to weights that differ.
    mixed = (basis ^ index * 0x9E3779B1) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):  # MurmurHash3's finaliser: CRC alone is linear.
        mixed = (mixed ^ mixed >> shift) * factor & 0xFFFFFFFF
    return ((mixed ^ mixed >> 16) & 0xFFFF) * weight, index


def _slots(weights: list[int]) -> list[int]:
    """Bucket indices by hash value, shared out by Webster's method; empty when there would be too many."""
    total = sum(weights)
    if total == 0:
        return []
    least = min(weight for weight in weights if weight)
    wanted = max(-(-total // least), min(len(weights) * 4, _MOST_SLOTS))
    count = max(16, 1 << (wanted - 1).bit_length())
    if count > _MOST_SLOTS:
        return []
    divisors, slots = [1] * len(weights), []
    for _ in range(count):
        winner = max(range(len(weights)), key=lambda index: (weights[index] / divisors[index], -index))
        divisors[winner] += 2
        slots.append(winner)
    return slots


def _addresses(packet: Packet) -> tuple[int, int, int, int, int]:
    ip, transport = packet.ip, packet.tcp or packet.udp
    if ip is None:
        return 0, 0, 0, 0, 0
    ports = (transport.src, transport.dst) if transport else (0, 0)
    return _folded(ip.src), _folded(ip.dst), *ports, ip.proto


def _folded(address: int) -> int:
    return zlib.crc32(octets(address)) if is_ipv6(address) else address


def symmetric_hash(packet: Packet) -> int:
    """A hash that is the same for both directions of a connection (Open vSwitch's symmetric L4)."""
    src, dst, src_port, dst_port, proto = _addresses(packet)
    return zlib.crc32(_HASHED.pack(packet.eth_src ^ packet.eth_dst, src ^ dst, src_port ^ dst_port, proto))


def tuple_hash(packet: Packet) -> int:
    """A hash of the 5-tuple as it is."""
    return zlib.crc32(_TUPLE.pack(*_addresses(packet)))


def in_order(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """A bucket's actions as they are executed: a bucket is an action set (OpenFlow 1.3.5 §5.10, ACTION_SET in Open vSwitch).

    First the TTL, then what sets fields, in the order given, then one final action; nothing at all without a final action.
    """
    finals = [action for action in actions if isinstance(action, _FINAL)]
    if not finals:
        return ()
    final = max(enumerate(finals), key=lambda numbered: (_FINAL.index(type(numbered[1])), numbered[0]))[1]
    decrements = tuple(action for action in actions if isinstance(action, DecTtl))[-1:]
    return (*decrements, *(action for action in actions if isinstance(action, SetField | Move)), final)


def check_group(entry: GroupEntry) -> list[str]:
    """Warnings about what a switch accepts and does not do.

    Raises:
        OpenFlowError: what Open vSwitch 3.1 refuses, or what would end it (an assertion on actions that no action set has).
    """
    warnings = []
    for bucket in entry.buckets:
        if any(isinstance(action, Punt | Learn) for action in bucket.actions):
            raise OpenFlowError(
                "OFPGMFC_BAD_BUCKET", f"group {entry.group_id}: a punt or learn in a bucket aborts ovs-vswitchd 3.1"
            )
        if entry.kind == "fast-failover" and (bucket.weight or bucket.watch_port is None):
            raise OpenFlowError(
                "OFPGMFC_INVALID_GROUP", f"group {entry.group_id}: fast failover needs a watch port and no weight"
            )
        lost = len(bucket.actions) - len(in_order(bucket.actions))
        if lost:
            warnings.append(
                f"group {entry.group_id}: {lost} actions of a bucket are never executed: a bucket is an action set"
            )
    return warnings
