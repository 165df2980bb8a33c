"""Meters: a token bucket in virtual time, filled when it is made (OpenFlow 1.3.5 §5.7; as Open vSwitch's userspace datapath)."""

from __future__ import annotations

from controller.flows import MeterEntry


class Meter:
    """Passes `rate_pps` packets a second, and `burst` at once; a burst of 0 is as large as the rate."""

    def __init__(self, entry: MeterEntry, now: float) -> None:
        self.entry = entry
        self.passed = self.dropped = 0
        self._capacity = float(entry.burst or entry.rate_pps)
        self._tokens = self._capacity
        self._filled = now

    def passes(self, now: float) -> bool:
        """Whether one more packet at this time is within the rate; it is counted."""
        self._tokens = min(self._capacity, self._tokens + (now - self._filled) * self.entry.rate_pps)
        self._filled = now
        if self._tokens < 1:
            self.dropped += 1
            return False
        self._tokens -= 1
        self.passed += 1
        return True
