"""One direction of a link in virtual time: delay, rate, queue, loss."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from topologies.model.wiring import Speed


@dataclass(eq=False, slots=True)
class Direction:
    """Carries frames one way. `loss`: the share lost without anybody being told; `dropped`: those the queue had no room for."""

    speed: Speed
    chance: random.Random
    up: bool = True
    loss: float = 0.0
    sent: int = 0
    dropped: int = 0
    _departures: deque[float] = field(default_factory=deque)

    def carry(self, size: int, now: float) -> float | None:
        """When a frame of `size` octets arrives at the other end; None when it does not."""
        if not self.up:
            return None
        departure = now
        if self.speed.rate_bps:
            while self._departures and self._departures[0] <= now:
                self._departures.popleft()
            if len(self._departures) > self.speed.queue_frames:
                self.dropped += 1
                return None
            departure = max(now, self._departures[-1] if self._departures else now) + size * 8 / self.speed.rate_bps
            self._departures.append(departure)
        self.sent += 1
        if self.loss and self.chance.random() < self.loss:
            return None
        return departure + self.speed.delay_s
