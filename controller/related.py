"""ICMPv6 errors about connections by a VIP, "packet too big" above all: translated here, and not by the switch.

Open vSwitch 3.1 translates the addresses of such an error as if TCP followed its IPv6 header, and so writes a checksum into the address of
the packet that the error quotes: its receiver does not know that packet, and path MTU discovery (RFC 8201) fails. (ICMP errors
of IPv4 are translated well.) The tracker still says which connection an error is about.
"""

from __future__ import annotations

from typing import NamedTuple

from controller import frames
from controller.addresses import V6, octets
from controller.decisions import Decision, SendPacket
from controller.flows import Output
from controller.frames import CONTROLLER_MAC, icmpv6, vip_mac
from controller.pipeline import ICMPV6, TCP
from controller.topology import Topology

ERRORS = (1, 2, 3, 4)
"""Destination unreachable, packet too big, time exceeded, parameter problem (RFC 4443 §3)."""
_ETHERNET, _IP, _ICMP = 14, 40, 8
_CHECKSUM = _IP + 16
"""Where a quoted segment has its checksum, if the quotation is that long."""

Place = tuple[int, int]
"""(address, port)."""


class _Error(NamedTuple):
    """An error as it came: from whom to whom, its first 8 octets, and the TCP packet it quotes from whom to whom."""

    src: int
    dst: int
    head: bytes
    quoted: bytes
    sender: Place
    receiver: Place


def translate(frame: bytes, vip: Place, member: Place, topology: Topology) -> list[Decision]:
    """The error for whoever sent the packet it quotes, which belongs to a connection to `vip` that is pinned to `member`."""
    error = _read(frame)
    if error is None or error.dst != error.sender[0]:
        return []
    if error.receiver == member:
        source = vip[0] if error.src == member[0] else error.src
        return _deliver(error, source, error.sender, vip, topology)
    if error.sender == vip:
        return _deliver(error, error.src, member, error.receiver, topology)
    return []


def _read(frame: bytes) -> _Error | None:
    way = frames.read_addresses(frame)
    at = _ETHERNET + _IP
    quoted = frame[at + _ICMP :]
    if way is None or frame[12:14] != V6.eth_type.to_bytes(2) or frame[20] != ICMPV6 or len(quoted) < _IP + 8:
        return None
    # Its checksum is right: to the tracker a wrong one is related to nothing.
    end = at + int.from_bytes(frame[18:20])
    if quoted[6] != TCP or end > len(frame):
        return None
    quoted = frame[at + _ICMP : end]
    src, dst = int.from_bytes(quoted[8:24]), int.from_bytes(quoted[24:40])
    ports = int.from_bytes(quoted[40:42]), int.from_bytes(quoted[42:44])
    return _Error(*way, frame[at : at + _ICMP], quoted, (src, ports[0]), (dst, ports[1]))


def _deliver(error: _Error, source: int, sender: Place, receiver: Place, topology: Topology) -> list[Decision]:
    """The error about the packet as `sender` sent it to `receiver`, at its sender's port."""
    host = topology.hosts.get(sender[0])
    if host is None:
        return []
    packet = icmpv6(error.head + _requoted(error.quoted, sender, receiver), source, sender[0])
    eth_src = vip_mac(source) if source == receiver[0] else CONTROLLER_MAC
    frame = frames.ethernet(host.mac, eth_src, V6.eth_type, packet)
    return [SendPacket(host.dpid, frame, (Output(host.port_no),))]


def _requoted(quoted: bytes, sender: Place, receiver: Place) -> bytes:
    way = octets(sender[0]) + octets(receiver[0])
    ports = sender[1].to_bytes(2) + receiver[1].to_bytes(2)
    changed = quoted[:8] + way + ports + quoted[44:]
    if len(quoted) < _CHECKSUM + 2:
        return changed
    # RFC 1624 §3: ~(~HC + ~m + m').
    gone = bytes(255 - octet for octet in quoted[_CHECKSUM : _CHECKSUM + 2] + quoted[8:44])
    total = frames.checksum(gone + way + ports)
    return changed[:_CHECKSUM] + total.to_bytes(2) + changed[_CHECKSUM + 2 :]
