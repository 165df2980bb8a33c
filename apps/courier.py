"""Takes notices to one receiver: in order, again and again while it does not answer, never in anybody's way.

Whoever announces puts a notice into a bounded queue and goes on. A receiver that is away for long loses the oldest notices, which is
counted; what it refuses for good is not tried again.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Protocol

import eventlet

from controller.api.service import Measurement
from controller.notices import Notice

log = logging.getLogger("resetlb.notices")

QUEUED_AT_MOST = 1_000
ATTEMPTS = 10
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
ATTEMPT_S = 10.0
"""For everything: finding the name, connecting, sending, the answer. A receiver that trickles bytes has no longer."""


class RefusedError(Exception):
    """The receiver does not want this notice: trying again would be no use."""


class Transport(Protocol):
    """A way to one receiver."""

    name: str
    """For metrics and the log; without user, password and query."""

    def send(self, notice: Notice) -> None:
        """Hand one over; may block its greenlet. Raises OSError: try again; RefusedError: do not."""


class Courier:
    """The queue to one receiver, and the greenlet that empties it."""

    def __init__(
        self,
        transport: Transport,
        first_wait_s: float = FIRST_WAIT_S,
        sleep: Callable[[float], object] = eventlet.sleep,
    ) -> None:
        self._transport = transport
        self._first_wait_s = first_wait_s
        self._sleep = sleep
        self._waiting: deque[Notice] = deque()
        self._something = eventlet.event.Event()
        self._under_way = False
        self._results: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to deliver."""
        eventlet.spawn(self._deliver_forever)

    def tell(self, notice: Notice) -> None:
        """Queue a notice. Never blocks."""
        if len(self._waiting) >= QUEUED_AT_MOST:
            self._waiting.popleft()
            self._results["dropped"] += 1
        self._waiting.append(notice)
        if not self._something.ready():
            self._something.send()

    def drain(self, within_s: float) -> None:
        """Wait until everything is delivered, or so long."""
        with eventlet.Timeout(within_s, False):
            while self._waiting or self._under_way:
                eventlet.sleep(0.01)

    def _deliver_forever(self) -> None:
        while True:
            if not self._waiting:
                self._something = eventlet.event.Event()
                self._something.wait()
            self._under_way = True
            result = self._deliver(self._waiting.popleft())
            self._under_way = False
            self._results[result] += 1

    def _deliver(self, notice: Notice) -> str:
        wait_s = self._first_wait_s
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with eventlet.Timeout(ATTEMPT_S, TimeoutError(f"no answer within {ATTEMPT_S:g} s")):
                    self._transport.send(notice)
            except RefusedError as error:
                log.warning("%s refuses notice %s: %s", self._transport.name, notice.id, error)
                return "refused"
            except OSError as error:
                log.log(
                    logging.WARNING if attempt == 1 else logging.DEBUG,
                    "notice %s to %s failed: %s", notice.id, self._transport.name, error,
                )  # fmt: skip
            except Exception:
                log.exception("notice %s to %s failed", notice.id, self._transport.name)
                return "failed"
            else:
                return "sent"
            if attempt < ATTEMPTS:
                self._results["retried"] += 1
                # Jitter: several controllers must not come back to a receiver all at once.
                self._sleep(wait_s * random.uniform(0.5, 1.0))
                wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
        log.error("notice %s to %s is given up after %d attempts", notice.id, self._transport.name, ATTEMPTS)
        return "failed"

    def measurements(self) -> Iterator[Measurement]:
        """For `/metrics`."""
        receiver = {"receiver": self._transport.name}
        text = "Notices: sent, retried (attempts), refused by the receiver, failed for good, dropped because the queue was full."
        for result in ("sent", "retried", "refused", "failed", "dropped"):
            yield Measurement("notices", text, "counter", self._results[result], {**receiver, "result": result})
        waiting = len(self._waiting) + self._under_way
        yield Measurement("notices_waiting", "Notices not delivered yet.", "gauge", waiting, receiver, True)
