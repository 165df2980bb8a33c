"""How full a link is, in one word: pressed, free, or in between; unknown speaks for nothing.

Between the two bounds nothing is done: what is moved off a pressed link must not make it look free at once (hysteresis).
"""

from __future__ import annotations

from enum import StrEnum

from controller.telemetry import LinkState

PRESSED_UTILISATION, FREE_UTILISATION = 0.80, 0.60
PRESSED_LOSS, FREE_LOSS = 0.01, 0.005
PRESSED_DROPS_PER_S = 1.0
PRESSED_QUEUE_MS, FREE_QUEUE_MS = 5.0, 2.0
"""One-way delay above the lowest that the link has shown: what its queue adds."""


class Pressure(StrEnum):
    """What a link has room for."""

    PRESSED = "pressed"
    BETWEEN = "between"
    FREE = "free"


def pressure(state: LinkState) -> tuple[Pressure, str]:
    """A link's pressure and what shows it, for an operator."""
    signs = (
        (state.utilisation, PRESSED_UTILISATION, FREE_UTILISATION, "{:.0%} used"),
        (state.loss_at_least, PRESSED_LOSS, FREE_LOSS, "at least {:.1%} lost"),
        (state.drops_per_s, PRESSED_DROPS_PER_S, 0.5, "{:.0f} drops/s"),
        (state.queue_ms, PRESSED_QUEUE_MS, FREE_QUEUE_MS, "{:.1f} ms in its queue"),
    )
    found = Pressure.FREE
    for value, pressed, free, text in signs:
        if value is None:
            continue
        if value >= pressed:
            return Pressure.PRESSED, text.format(value)
        if value > free:
            found = Pressure.BETWEEN
    return found, ""
