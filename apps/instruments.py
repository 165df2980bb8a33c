"""What the controller counts of itself: packet-ins by purpose, and how long the core took for each event."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from controller.api.service import Distribution, Measurement
from controller.flows import Purpose

BOUNDS_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Latency:
    """A histogram of seconds. Own code because it is on the packet path: prometheus-client's takes a lock per observation."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def distribution(self, name: str, text: str, labels: dict[str, str]) -> Distribution:
        """As it is now, cumulative as Prometheus has it."""
        buckets, total = [], 0
        for bound, count in zip((*map(repr, BOUNDS_S), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return Distribution(name, text, buckets, self._sum_s, labels)


class Instruments:
    """Owned by the runtime, read by `/metrics`."""

    def __init__(self) -> None:
        self.packet_ins: Counter[Purpose] = Counter()
        self.handled: dict[type, Latency] = {}
        self.lost_writes = 0
        """Batches of state that the disk refused."""

    def handled_in(self, event: type, seconds: float) -> None:
        """The core took so long for an event of this type."""
        latency = self.handled.get(event)
        if latency is None:
            latency = self.handled[event] = Latency()
        latency.observe(seconds)

    def measurements(self) -> Iterator[Measurement | Distribution]:
        """For `/metrics`."""
        for purpose in Purpose:
            labels = {"purpose": purpose.name.lower().replace("_", "-")}
            text = "Packets that switches sent to the controller, by what the flow entry is for."
            yield Measurement("packet_ins", text, "counter", self.packet_ins[purpose], labels)
        for event, latency in self.handled.items():
            text = "Time the core took to decide about an event."
            yield latency.distribution("core_handle_seconds", text, {"event": event.__name__})
        text = "Batches of records that could not be written to the state directory."
        yield Measurement("state_write_failures", text, "counter", self.lost_writes)
