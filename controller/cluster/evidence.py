"""What one controller's edges see, for the others that are master of another part of the same fabric.

Resets go as a sample of the segments themselves, so the others judge them as they judge their own, and floods of them as the sums that
they were added up to. Counts go as totals of each controller, which only grow: whoever misses one is right again with the next, and
nobody adds up another one's (a G-counter: Shapiro et al., "Conflict-free Replicated Data Types", 2011). While one controller is master
of all, nothing is told: it sees every edge.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping

from controller.counting import Counted
from controller.events import PacketSeen, ResetSum
from controller.flows import Purpose

INTERVAL_S = 0.2
COUNTED_EVERY_S = 1.0
MOST_PACKETS = 64
"""Of one message: more of the same say nothing new."""
MOST_SUMS, CLIENTS_TOLD = 64, 16
"""Of one message, those of the most connections; and of each."""
MOST_COUNTS = 500
FRAME_BYTES = 128
"""Of a segment: as much as the mirror shows."""
COUNTED = "handshake"
"""What counts are told of: connections, against which resets are held."""
_TOLD = {Purpose.RESET: Purpose.RESET, Purpose.HELD: Purpose.RESET, Purpose.INJECTED: Purpose.INJECTED}
"""What is told, and as what it is taken: to hold a refused connection is for who holds it alone."""


class Telling:
    """What is to be told next. Times are of a steady clock (s)."""

    def __init__(self) -> None:
        self._packets: list[PacketSeen] = []
        self._sums: list[ResetSum] = []
        self._counted: dict[Counted, int] = {}
        self._counted_at = float("-inf")
        self._serial = 0

    def note(self, event: PacketSeen) -> None:
        """A packet-in of ours; what is more than a message takes is left out."""
        if event.purpose in _TOLD and len(self._packets) < MOST_PACKETS:
            self._packets.append(event)

    def note_sums(self, sums: Iterable[ResetSum]) -> None:
        """Resets that were added up here."""
        few = [one._replace(clients=one.clients[:CLIENTS_TOLD]) for one in sums]
        self._sums = heapq.nlargest(MOST_SUMS, self._sums + few, key=lambda one: one.connections)

    def message(self, totals: Mapping[Counted, int], now: float) -> str | None:
        """The next message, None when there is nothing new; `totals` is everything counted so far."""
        counts: dict[Counted, int] = {}
        if now >= self._counted_at + COUNTED_EVERY_S:
            self._counted_at = now
            new = (name for name, total in totals.items() if name[0] == COUNTED and self._counted.get(name) != total)
            counts = {
                name: totals[name] for name in sorted(new, key=lambda name: self._counted.get(name, -1))[:MOST_COUNTS]
            }
            self._counted |= counts
        if not self._packets and not self._sums and not counts:
            return None
        packets, self._packets = self._packets, []
        sums, self._sums = self._sums, []
        self._serial += 1
        seen = [
            [f"{e.dpid:x}", _TOLD[e.purpose].value, e.cookie, e.fields, e.frame[:FRAME_BYTES].hex()] for e in packets
        ]  # fmt: skip
        counted = [[*name, n] for name, n in counts.items()]
        return json.dumps({"serial": self._serial, "packets": seen, "sums": sums, "counts": counted})


def heard(text: str) -> tuple[list[PacketSeen], list[ResetSum], dict[Counted, int]]:
    """What another controller told: segments and sums as if seen here, and its totals. Raises ValueError: it is no such message."""
    try:
        document = json.loads(text)
        packets = [
            PacketSeen(int(dpid, 16), Purpose(purpose), _numbers(fields), bytes.fromhex(frame), int(cookie))
            for dpid, purpose, cookie, fields, frame in document["packets"][:MOST_PACKETS]
        ]
        sums = [_sum(*fields) for fields in document.get("sums", [])[:MOST_SUMS]]
        counts = {tuple(map(str, name)): int(total) for *name, total in document["counts"][:MOST_COUNTS]}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None
    return [packet for packet in packets if packet.purpose in _TOLD], sums, counts


def _numbers(fields: Mapping[str, object]) -> dict[str, int]:
    return {str(name): value for name, value in fields.items() if isinstance(value, int)}


def _sum(
    purpose: int, source: list[int], state: int, mark: int, target: list[int], passive: bool, connections: int,
    repeated: int, clients: list[int],
) -> ResetSum:  # fmt: skip
    (dpid, in_port), (address, port) = map(int, source), map(int, target)
    counts = int(state), int(mark), (address, port), bool(passive), int(connections), int(repeated)
    return ResetSum(Purpose(purpose), (dpid, in_port), *counts, tuple(map(int, clients)))
