"""What the live view looks at, and the rates between two looks."""

import re
import time
from collections import defaultdict, deque
from typing import Any

from controller.cli.client import Client
from controller.cli.state import members_of

KEPT_LOOKS = 60
_RESETS = re.compile(r'^resetlb_resets_total\{(?:[^}]*,)?cause="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)


class Watch:
    """One controller, looked at again and again."""

    def __init__(self, client: Client) -> None:
        """Look at it through ``client``."""
        self._client = client
        self._counted: tuple[float, dict[str, float]] | None = None
        self._history: deque[float] = deque(maxlen=KEPT_LOOKS)

    def look(self) -> dict[str, Any]:
        """Return what there is now; ``resets_per_s`` by cause since the last look, ``None`` at the first."""
        client = self._client
        pools = client.items("/v1/pools", limit=100_000)
        return {
            "health": client.get("/v1/health"),
            "automation": client.get("/v1/automation"),
            "resets_per_s": self._resets(),
            "history": [round(rate, 3) for rate in self._history],
            "incidents": client.items("/v1/incidents", 100, state="open"),
            "members": members_of(pools),
            "links": client.items("/v1/links", limit=100_000),
        }

    def _resets(self) -> dict[str, float] | None:
        totals: dict[str, float] = defaultdict(float)
        for cause, value in _RESETS.findall(self._client.text("/metrics")):
            totals[cause] += float(value)
        now = time.monotonic()
        before, self._counted = self._counted, (now, totals)
        if before is None:
            return None
        elapsed = max(now - before[0], 0.001)
        # A controller that was restarted counts from the beginning.
        rates = {cause: max(0.0, count - before[1].get(cause, 0.0)) / elapsed for cause, count in totals.items()}
        self._history.append(sum(rates.values()))
        return {cause: round(rate, 2) for cause, rate in sorted(rates.items(), key=lambda item: -item[1]) if rate}
