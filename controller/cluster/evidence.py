"""What one controller's edges see, for the others that are master of another part of the same fabric.

Resets go as a sample of the segments themselves, so the others judge them as they judge their own. Counts go as totals of each
controller, which only grow: whoever misses one is right again with the next, and nobody adds up another one's (a G-counter: Shapiro
et al., "Conflict-free Replicated Data Types", 2011). While one controller is master of all, nothing is told: it sees every edge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from controller.counting import Counted
from controller.events import PacketSeen
from controller.flows import Purpose

INTERVAL_S = 0.2
COUNTED_EVERY_S = 1.0
MOST_PACKETS = 64
"""Of one message: more of the same say nothing new."""
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
        self._counted: dict[Counted, int] = {}
        self._counted_at = float("-inf")
        self._serial = 0

    def note(self, event: PacketSeen) -> None:
        """A packet-in of ours; what is more than a message takes is left out."""
        if event.purpose in _TOLD and len(self._packets) < MOST_PACKETS:
            self._packets.append(event)

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
        if not self._packets and not counts:
            return None
        packets, self._packets = self._packets, []
        self._serial += 1
        seen = [
            [f"{e.dpid:x}", _TOLD[e.purpose].value, e.cookie, e.fields, e.frame[:FRAME_BYTES].hex()] for e in packets
        ]  # fmt: skip
        return json.dumps(
            {"serial": self._serial, "packets": seen, "counts": [[*name, n] for name, n in counts.items()]}
        )


def heard(text: str) -> tuple[list[PacketSeen], dict[Counted, int]]:
    """What another controller told: segments as if seen here, and its totals. Raises ValueError: it is no such message."""
    try:
        document = json.loads(text)
        packets = [
            PacketSeen(int(dpid, 16), Purpose(purpose), _numbers(fields), bytes.fromhex(frame), int(cookie))
            for dpid, purpose, cookie, fields, frame in document["packets"][:MOST_PACKETS]
        ]
        counts = {tuple(map(str, name)): int(total) for *name, total in document["counts"][:MOST_COUNTS]}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None
    return [packet for packet in packets if packet.purpose in _TOLD], counts


def _numbers(fields: Mapping[str, object]) -> dict[str, int]:
    return {str(name): value for name, value in fields.items() if isinstance(value, int)}
