"""Python's cycle collector, kept from looking at everything again and again.

A full collection looks at every object there is: with a thousand members that is a tenth of a second and more in which no reset is
answered. What a full collection has left is alive, so it is set aside (`gc.freeze`), and the next one looks at what came since. What
became garbage after that, in a cycle, is found when everything is looked at once more: seldom.
"""

from __future__ import annotations

import gc

import eventlet

EVERYTHING_EVERY_S = 3600.0
_OLDEST = 2


def collect_sparingly() -> None:
    """From now on, in this process."""
    gc.collect()
    gc.freeze()
    gc.callbacks.append(_set_aside)
    eventlet.spawn(_look_at_everything_forever)


def _set_aside(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == _OLDEST:
        gc.freeze()


def _look_at_everything_forever() -> None:
    while True:
        eventlet.sleep(EVERYTHING_EVERY_S)
        gc.unfreeze()
