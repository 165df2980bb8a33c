"""What the meters of the switches dropped: packets that the controller was not shown (docs/pipeline.md, meters)."""

from __future__ import annotations

from collections import Counter

from controller.events import MeterCounted
from controller.pipeline import Meter


class MeterDrops:
    """Totals by meter over all switches; a switch that counts anew takes nothing back."""

    def __init__(self) -> None:
        self._last: dict[int, dict[int, int]] = {}
        self.totals: Counter[Meter] = Counter()

    def take(self, event: MeterCounted) -> None:
        """Add what one switch's meters have dropped since it last said; meters of firewall rules are not ours to count here."""
        last = self._last.get(event.dpid, {})
        self._last[event.dpid] = dict(event.dropped)
        for meter in Meter:
            dropped, known = event.dropped.get(meter), last.get(meter, 0)
            if dropped is not None:
                self.totals[meter] += dropped - known if dropped >= known else dropped
