"""The connection tracker of a switch, as Open vSwitch 3.1 has it in its userspace datapath (`ovs-actions(7)`, ct).

Not modelled: reassembly of fragments (they are +inv here), application helpers, labels, and what Open vSwitch
3.1 does to an ICMPv6 error that it translates (`controller/related.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.flows import Connection, Ct, Nat
from topologies.model.headers import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTOS_ICMP, Tcp
from topologies.model.packet import (
    CT_DNAT,
    CT_EST,
    CT_INV,
    CT_NEW,
    CT_REL,
    CT_RPL,
    CT_SNAT,
    CT_TRK,
    Original,
    Packet,
    Tracking,
)
from topologies.model.tcp_tracking import TcpConversation, Verdict, may_begin
from topologies.model.translation import Key, Translation, key_of, reply_key, reversed_key, translate

MAX_CONNECTIONS = 3_000_000
SWEEP_S = 20.0
"""How often Open vSwitch 3.1.0 clears away entries that ended. Until then the reply key of a translated one stays taken."""
_TRANSLATED = CT_SNAT | CT_DNAT
_REQUESTS = {PROTO_ICMP: frozenset({8, 13, 15}), PROTO_ICMPV6: frozenset({128})}
"""ICMP types that may begin a conversation: echo, timestamp and information requests."""


class EchoConversation:
    """An ICMP query and its replies: new until the first reply."""

    FIRST_S, REPLIED_S = 60, 30

    def __init__(self) -> None:
        self.lifetime_s: float = self.FIRST_S

    def update(self, reply: bool) -> Verdict:
        """Takes one more message in."""
        if reply:
            self.lifetime_s = self.REPLIED_S
        return Verdict.VALID if self.lifetime_s == self.REPLIED_S else Verdict.STILL_NEW


class DatagramConversation:
    """UDP, and every protocol the tracker does not know: new until a packet comes back."""

    ONE_WAY_S, BOTH_WAYS_S = 60, 30

    def __init__(self) -> None:
        self.lifetime_s: float = self.ONE_WAY_S

    def update(self, reply: bool) -> Verdict:
        """Takes one more packet in."""
        if reply:
            self.lifetime_s = self.BOTH_WAYS_S
        return Verdict.VALID if self.lifetime_s == self.BOTH_WAYS_S else Verdict.STILL_NEW


@dataclass(eq=False, slots=True)
class Entry:
    """One tracked connection: the key of its packets in each direction, how it is translated, its mark and its end."""

    forward: Key
    reverse: Key
    conversation: TcpConversation | EchoConversation | DatagramConversation
    expires: float
    translation: Translation | None = None
    mark: int = 0

    @property
    def original(self) -> Original:
        """The original direction, as `ct_nw_src` and the others show it."""
        return _original(self.forward)

    def update(self, packet: Packet, reply: bool, now: float) -> Verdict:
        """Takes one more packet in; a valid one makes the entry live longer."""
        if isinstance(self.conversation, TcpConversation):
            verdict, renewed = self.conversation.update(_tcp(packet), len(packet.payload), reply)
        else:
            verdict, renewed = self.conversation.update(reply), True
        if renewed:
            self.expires = now + self.conversation.lifetime_s
        return verdict


def _tcp(packet: Packet) -> Tcp:
    if packet.tcp is None:
        raise ValueError("a packet with a TCP key has no TCP header")
    return packet.tcp


def _original(key: Key) -> Original:
    if key.proto in PROTOS_ICMP:
        return Original(key.src, key.dst, key.src_port & 0xFF, 0, key.proto)
    return Original(key.src, key.dst, key.src_port, key.dst_port, key.proto)


class Tracker:
    """The connections of one switch, all zones together. `warnings`: what an author of flows should look at.

    `sweep_s` 0: entries are gone when they end, as since Open vSwitch 3.1.3 (the reply key went with the entry from there on).
    """

    def __init__(self, max_connections: int = MAX_CONNECTIONS, sweep_s: float = SWEEP_S) -> None:
        self.max_connections, self.sweep_s = max_connections, sweep_s
        self.warnings: list[str] = []
        self._by_key: dict[Key, list[Entry]] = {}
        self._count = 0

    def connections(self, now: float) -> Iterator[Entry]:
        """Every live entry, once."""
        for key, entries in self._by_key.items():
            yield from (entry for entry in entries if entry.forward == key and now < entry.expires)

    def flush(self, zone: int, connection: Connection, now: float) -> bool:
        """Forgets one connection of a zone (NXT_CT_FLUSH with an original tuple); whether there was one."""
        key = Key(zone, connection.protocol, connection.src, connection.src_port, connection.dst, connection.dst_port)
        entry, _ = self._find(key, now)
        if entry is None or now >= entry.expires:
            return False
        self._forget(entry)
        return True

    def track(self, packet: Packet, action: Ct, now: float) -> None:
        """Sends a packet through the tracker: sets `packet.tracking`, and translates the packet when the action says so."""
        known = packet.tracking.entry
        if isinstance(known, Entry) and known.forward.zone == action.zone:
            # A packet that was looked up before, without translation, is not judged twice.
            self._again(packet, known, action.nat)
            entry: Entry | None = known
        else:
            entry = self._judge(packet, action, now)
            packet.tracking = packet.tracking._replace(entry=entry if action.nat is None else None)
        if entry is not None and action.mark is not None:
            value, mask = action.mark
            entry.mark = value | packet.tracking.mark & ~mask
            packet.tracking = packet.tracking._replace(mark=entry.mark)
        packet.changed()

    def _again(self, packet: Packet, entry: Entry, nat: Nat | None) -> None:
        tracking = packet.tracking
        state = tracking.state
        if nat is not None:
            if entry.translation is not None and not state & _TRANSLATED:
                state |= translate(packet, entry.translation, tracking.reply, tracking.related)
            tracking = tracking._replace(entry=None)
        packet.tracking = tracking._replace(state=state, mark=entry.mark)

    def _judge(self, packet: Packet, action: Ct, now: float) -> Entry | None:
        tracking = packet.tracking
        state = tracking.state if tracking.zone == action.zone else 0
        found = key_of(packet, action.zone)
        if found is None:
            packet.tracking = Tracking(CT_INV | CT_TRK, action.zone)
            return None
        key, related = found
        entry, reply, key = self._look_up(key, packet, state, action.nat is not None, now)
        fresh = entry is None and not related
        if entry is not None:
            if now >= entry.expires:
                packet.tracking = Tracking(state | CT_INV | CT_TRK, action.zone)
                return None
            verdict = Verdict.VALID if related else entry.update(packet, reply, now)
            state = _state_after(state, verdict, reply, related)
            fresh = verdict is Verdict.STARTS_ANEW
            if fresh:
                entry.expires = now
            elif action.nat is not None and entry.translation is not None and not state & _TRANSLATED:
                state |= translate(packet, entry.translation, reply, related)
        elif related:
            state = CT_INV
        if fresh and self._find(key, now)[0] is None:
            state, entry = self._first(packet, key, action, now)
        mark, original = (entry.mark, entry.original) if entry is not None else (0, _original(key))
        packet.tracking = Tracking(state | CT_TRK, action.zone, mark, original, None, reply, related)
        return entry

    def _look_up(
        self, key: Key, packet: Packet, state: int, translating: bool, now: float
    ) -> tuple[Entry | None, bool, Key]:
        """The entry of a packet, whether it goes in the reply direction, and the key it has before translation."""
        if not state & _TRANSLATED:
            return *self._find(key, now), key
        # Translated before in this zone: its present addresses are those of the opposite direction, turned round.
        entry, opposite = self._find(reversed_key(key), now)
        if entry is not None:
            return entry, not opposite, entry.forward if opposite else entry.reverse
        original = packet.tracking.original
        if original is not None and not translating and original.proto not in PROTOS_ICMP:
            wanted = Key(key.zone, original.proto, original.src, original.tp_src, original.dst, original.tp_dst)
            entry, _ = self._find(wanted, now)
        return entry, False, key

    def _first(self, packet: Packet, key: Key, action: Ct, now: float) -> tuple[int, Entry | None]:
        """A packet of no known connection: its state, and the entry when it is committed."""
        if not _may_begin(packet, key):
            return CT_INV, None
        if not action.commit or self._count >= self.max_connections:
            return CT_NEW, None
        reverse, nat = reversed_key(key), action.nat
        if nat is not None:
            unique = reply_key(key, nat, lambda candidate: self._find(candidate, now)[0] is not None)
            if unique is None:
                self._warn(f"zone {key.zone}: a translation of {key} is not free")
                return CT_NEW, None
            reverse = unique
            if nat.kind == "known":
                self._warn(
                    f"zone {key.zone}: ct(commit,nat) without an address: replies of new connections are not known"
                )
        conversation = _conversation(packet, key)
        entry = Entry(key, reverse, conversation, now + conversation.lifetime_s)
        if nat is not None and nat.kind != "known":
            entry.translation = Translation(key, reverse, nat.kind)
        self._remember(entry)
        translated = translate(packet, entry.translation, reply=False, related=False) if entry.translation else 0
        return CT_NEW | translated, entry

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _remember(self, entry: Entry) -> None:
        for key in (entry.forward, entry.reverse):
            self._by_key.setdefault(key, []).insert(0, entry)
        self._count += 1

    def _forget(self, entry: Entry) -> None:
        for key in (entry.forward, entry.reverse):
            entries = self._by_key[key]
            entries.remove(entry)
            if not entries:
                del self._by_key[key]
        self._count -= 1

    def _find(self, key: Key, now: float) -> tuple[Entry | None, bool]:
        """The youngest entry with this key, and whether the key is that of its replies.

        An entry that has ended is found by the reply key of its translation until it is swept.
        """
        for entry in tuple(self._by_key.get(key, ())):
            if now < entry.expires:
                return entry, entry.forward != key
            if not self.sweep_s or now // self.sweep_s > entry.expires // self.sweep_s:
                self._forget(entry)
            elif entry.translation is not None and entry.reverse == key:
                return entry, True
        return None, False


def _state_after(state: int, verdict: Verdict, reply: bool, related: bool) -> int:
    """The ct_state bits of a packet of a known connection, on top of what an earlier look-up in the zone left."""
    direction = CT_RPL if reply else 0
    if related:
        return state | CT_REL | direction
    if verdict is Verdict.VALID:
        return (state | CT_EST | direction) & ~CT_NEW
    if verdict is Verdict.INVALID:
        return CT_INV
    return state | CT_NEW if verdict is Verdict.STILL_NEW else state


def _may_begin(packet: Packet, key: Key) -> bool:
    if key.proto == PROTO_TCP:
        return may_begin(_tcp(packet).flags)
    if key.proto in _REQUESTS and packet.icmp is not None:
        return packet.icmp.type in _REQUESTS[key.proto]
    return True


def _conversation(packet: Packet, key: Key) -> TcpConversation | EchoConversation | DatagramConversation:
    if key.proto == PROTO_TCP:
        return TcpConversation(_tcp(packet), len(packet.payload))
    return EchoConversation() if key.proto in PROTOS_ICMP else DatagramConversation()
