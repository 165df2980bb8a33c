"""The event stream: a bounded ring that late readers resume from, and its server-sent form."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from controller.api.service import JsonObject, StreamEvent
from controller.diagnosis.acts import OF_LINKS, OF_MEMBERS

KEPT_EVENTS = 1_000
EVENT_OF_ACT = {
    **dict.fromkeys(sorted(OF_MEMBERS), "member"),
    **dict.fromkeys(sorted(OF_LINKS), "link"),
    "revert": "incident",
    "would-act": "incident",
    **dict.fromkeys(("spoof", "host-refused"), "host"),
}
"""Which event an act is: readers wait for what changed, the document says by which `act`. Other kinds are events themselves."""
QUIET_S = 15.0
KEEP_ALIVE = b": nothing new\n\n"
# First on the wire, so that proxies and clients see the headers at once.
OPENING = b": events follow\nretry: 3000\n\n"


class EventRing:
    """The last events of this run of the controller.

    An id is ``<run>-<number>``. A reader that asks for what is gone (dropped, or of an earlier run) first gets an event
    ``gap``: it must read the state again instead of trusting that it saw every change.
    """

    def __init__(self, run: str, capacity: int = KEPT_EVENTS) -> None:
        """Start empty; ``run`` differs between starts of the controller (its start time, say)."""
        self._run = run
        self._events: deque[StreamEvent] = deque(maxlen=capacity)
        self._last = 0

    def append(self, kind: str, document: JsonObject) -> StreamEvent:
        """Add an event, dropping the oldest beyond the capacity."""
        self._last += 1
        event = StreamEvent(f"{self._run}-{self._last}", kind, document)
        self._events.append(event)
        return event

    def announce(self, kind: str, document: JsonObject) -> StreamEvent:
        """Add what was announced, under the event that it is."""
        event = EVENT_OF_ACT.get(kind, kind)
        return self.append(event, document if event == kind else {"act": kind, **document})

    def since(self, last_event_id: str | None) -> list[StreamEvent]:
        """Return the events after an id; with None nothing, for a reader that starts now."""
        if last_event_id is None:
            return []
        run, _, number = last_event_id.rpartition("-")
        seen = int(number) if run == self._run and number.isascii() and number.isdigit() and len(number) < 20 else -1
        missed = self._last - seen
        if not 0 <= missed <= len(self._events):
            gap = StreamEvent(f"{self._run}-{self._last}", "gap", {"missed_from": last_event_id[:64]})
            return [gap]
        return [*islice(reversed(self._events), missed)][::-1]

    def follow(self, last_event_id: str | None, wait: Callable[[float], object]) -> Iterator[StreamEvent | None]:
        """Yield what is after the id and then what comes, and None after each quiet time.

        Args:
            last_event_id: what the reader has seen.
            wait: blocks the reader (not the controller) until an event was appended or so many seconds have passed.
        """
        at = last_event_id or f"{self._run}-{self._last}"
        while True:
            fresh = self.since(at)
            if fresh:
                yield from fresh
                at = fresh[-1].id
            else:
                wait(QUIET_S)
                if not self.since(at):
                    yield None


def server_sent(events: Iterator[StreamEvent | None]) -> Iterator[bytes]:
    """Write events, and a comment for each quiet time."""
    yield OPENING
    for event in events:
        yield KEEP_ALIVE if event is None else event.on_the_wire
