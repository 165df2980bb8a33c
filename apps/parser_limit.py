"""How long the framework may think about one message: its parsers loop for ever over records that say they have no octets."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager

CPU_S = 0.5
"""A reply of 64 KiB, parsed honestly, takes less than a tenth of it."""
AGAIN_S = 0.05


class TooSlowError(Exception):
    """The time is over."""


@contextmanager
def within_cpu_time(seconds: float = CPU_S) -> Iterator[None]:
    """Bound what runs inside in processor time of this process: on a busy machine real time says nothing. In the main thread only.

    Raises:
        TooSlowError: from wherever the code inside was.
    """
    active = True

    def interrupt(*_: object) -> None:
        if active:
            raise TooSlowError

    # What is raised in a callback of the collector of garbage never gets here, so there are none inside.
    collects = gc.isenabled()
    gc.disable()
    former = signal.signal(signal.SIGVTALRM, interrupt)
    # Again and again: what is raised in a finalizer does not get here either.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        active = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, former)
        if collects:
            gc.enable()
