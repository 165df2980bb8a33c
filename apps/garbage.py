"""Python's cycle collector, kept from looking at everything again and again.

A full collection looks at every object there is: with a thousand members that is a tenth of a second and more in which no reset is
answered. What a full collection has left is alive, so it is set aside (`gc.freeze`), and the next one looks at what came since. What
became garbage after that, in a cycle, is found when everything is looked at once more: seldom.

What is new is looked at after every 700 objects by default, in the midst of what makes them: one reaction on dozens of edges makes more.
Nearly all garbage is freed without the collector, so it waits for a turn of its own, which comes often enough to be short.
"""

from __future__ import annotations

import gc
import itertools

import eventlet

EVERYTHING_EVERY_S = 3600.0
_OLDEST = 2
_NEWEST_EVERY_S, _NEW_OBJECTS, _NEVER = 0.25, 50_000, 1_000_000_000
_YOUNGER_EACH, _OLDER_EACH = 20, 400
"""Turns after which those are looked at that survived one, or two."""


def collect_sparingly() -> None:
    """From now on, in this process."""
    look_at_what_is_new()
    eventlet.spawn(_look_at_everything_forever)
    eventlet.spawn(_look_at_the_newest_forever)


def look_at_what_is_new() -> None:
    """From now on nothing else is looked at."""
    gc.collect()
    gc.freeze()
    # The older generations are looked at in turns of their own alone.
    gc.set_threshold(_NEW_OBJECTS, _NEVER, _NEVER)
    gc.callbacks.append(_set_aside)


def _set_aside(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == _OLDEST:
        gc.freeze()


def _look_at_the_newest_forever() -> None:
    for turn in itertools.count(1):
        eventlet.sleep(_NEWEST_EVERY_S)
        # Emptied so often, the first generation never asks for the others by itself.
        gc.collect(2 if turn % _OLDER_EACH == 0 else 1 if turn % _YOUNGER_EACH == 0 else 0)


def _look_at_everything_forever() -> None:
    while True:
        eventlet.sleep(EVERYTHING_EVERY_S)
        gc.unfreeze()
