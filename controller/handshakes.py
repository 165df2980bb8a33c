"""How long members take to answer real connections: SYN to SYN-ACK of those whose port is in the sample (`volumes.py`).

Both segments are shown by the switch where the client attaches, so what the control channel takes cancels out, and a SYN that had
to be sent again counts from the first one, as its client sees it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from statistics import median

from controller.balance import connection_of
from controller.events import PacketSeen
from controller.flows import Connection
from controller.pipeline import ACK, MEMBER_MASK
from controller.segments import Segment

PENDING = 4096
FORGOTTEN_AFTER_S = 10.0
KEPT, FEWEST = 64, 3
FRESH_S = 30.0


@dataclass(slots=True)
class Handshakes:
    """SYNs that wait for their answer, and the latest answers of each member (by its number)."""

    _waiting: OrderedDict[Connection, float] = field(default_factory=OrderedDict)
    _answers: dict[int, deque[tuple[float, float]]] = field(default_factory=dict)

    def on_packet(self, event: PacketSeen, segment: Segment, now: float) -> None:
        """A sampled SYN or SYN-ACK."""
        connection = connection_of(event.fields)
        if connection is None:
            return
        if not segment.flags & ACK:
            self._waiting.setdefault(connection, now)
            while len(self._waiting) > PENDING:
                self._waiting.popitem(last=False)
            return
        began = self._waiting.pop(connection, None)
        member = event.fields.get("ct_mark", 0) & MEMBER_MASK
        if began is None or not member or now - began > FORGOTTEN_AFTER_S:
            return
        self._answers.setdefault(member, deque(maxlen=KEPT)).append((now, (now - began) * 1000))

    def median_ms(self, member: int, now: float) -> float | None:
        """The median of late; None when too few were seen."""
        fresh = [took_ms for when, took_ms in self._answers.get(member, ()) if now - when <= FRESH_S]
        return median(fresh) if len(fresh) >= FEWEST else None

    def keep_only(self, members: set[int]) -> None:
        """Forget members that the policy no longer names."""
        self._answers = {number: answers for number, answers in self._answers.items() if number in members}
