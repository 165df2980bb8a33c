"""A capture to its reset connections, in one pass and constant memory."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from controller.pcap.case import Case
from controller.pcap.formats import read_packets
from controller.pcap.links import LINKS, note_on_link, note_on_packet
from controller.pcap.record import ResetRecord, ServerSummary, record_of, summary_of
from controller.pcap.source import CaptureError, Progress, Source
from controller.pcap.tracker import MAX_CONNECTIONS, Tracker


class Analysis(Iterator[ResetRecord]):
    """The reset connections of a capture as they are found, by time of the reset; then what to say of the whole.

    A record comes when its connection is over or 60 s of capture later, so that what its server did next is known.
    Iterating raises `OSError`, and `CaptureError` where the file is no capture or, after the records of what came
    before, where it is damaged.
    """

    def __init__(
        self, path_or_stream: Path | str | BinaryIO, progress: Progress | None, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self.packets = 0
        self.segments = 0
        self.resets = 0
        """Records so far."""
        self._counts: Counter[str] = Counter()
        self._tracker = Tracker(max_connections)
        if isinstance(path_or_stream, (str, Path)):
            self._name = str(path_or_stream)
            # Closed by the generator that reads it, or by leaving the context.
            self._stream: BinaryIO = Path(path_or_stream).open("rb")  # noqa: SIM115
            self._is_ours = True
        else:
            self._name = str(getattr(path_or_stream, "name", "capture"))
            self._stream = path_or_stream
            self._is_ours = False
        self._progress = progress
        self._records = self._analyse()

    def __enter__(self) -> Self:
        """Use as a context to close the file early."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file if the analysis opened it."""
        self._close()

    def __next__(self) -> ResetRecord:
        """The next reset connection."""
        return next(self._records)

    @property
    def notes(self) -> list[str]:
        """What was left out, and other things to know before one relies on the records."""
        notes = [f"{text} ({count:,})" if count > 1 else text for text, count in self._counts.items()]
        if self._tracker.evicted:
            notes.append(f"open connections forgotten for want of room ({self._tracker.evicted:,})")
        if self._tracker.endpoints.dropped:
            notes.append(f"servers left out of the summary for want of room ({self._tracker.endpoints.dropped:,})")
        return notes

    @property
    def servers(self) -> list[ServerSummary]:
        """The servers with reset connections, those with most first."""
        endpoints = [endpoint for endpoint in self._tracker.endpoints.values() if endpoint.resets]
        endpoints.sort(key=lambda endpoint: (-endpoint.resets, endpoint.addr, endpoint.port))
        return [summary_of(endpoint) for endpoint in endpoints]

    def _analyse(self) -> Iterator[ResetRecord]:
        damage: CaptureError | None = None
        try:
            yield from self._follow()
        except CaptureError as error:
            damage = error
        finally:
            self._close()
        self._tracker.finish()
        yield from self._judged()
        if damage is not None:
            raise damage

    def _follow(self) -> Iterator[ResetRecord]:
        tracker, counts = self._tracker, self._counts
        take, ended = tracker.take, tracker.ended
        for time_ns, link_type, frame in read_packets(Source(self._stream, self._name, self._progress), counts):
            self.packets += 1
            link = LINKS.get(link_type)
            if link is None:
                counts[note_on_link(link_type)] += 1
                continue
            segment = link.segment(frame)
            if segment is None:
                note = note_on_packet(frame, link.ip_start(frame))
                if note is not None:
                    counts[note] += 1
                continue
            self.segments += 1
            take(segment, frame, time_ns)
            if ended:
                yield from self._judged()

    def _judged(self) -> Iterator[ResetRecord]:
        ended = self._tracker.ended
        while ended:
            connection = ended.popleft()
            if connection.reset is not None:
                self.resets += 1
                record = record_of(Case(connection, connection.reset))
                self._tracker.release(connection)
                yield record

    def _close(self) -> None:
        if self._is_ours:
            self._stream.close()


def analyse(path_or_stream: Path | str | BinaryIO, progress: Progress | None = None) -> Analysis:
    """Find every reset connection of a capture (pcap or pcapng).

    Args:
        path_or_stream: a file's path, or a binary stream, which is only read forward (a pipe will do).
        progress: called with the number of bytes read, about every 256 KiB.

    Returns:
        An iterator of `ResetRecord` that has `servers`, `notes`, `packets` and `segments` when it is used up.

    Raises:
        OSError: the file cannot be opened.
    """
    return Analysis(path_or_stream, progress)
