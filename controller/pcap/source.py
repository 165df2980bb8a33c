"""A capture as a stream of bytes of which only a window is in memory."""

from collections.abc import Callable
from typing import BinaryIO

_CHUNK_BYTES = 1 << 18

Progress = Callable[[int], None]
"""Called with the number of bytes read so far."""


class CaptureError(ValueError):
    """A capture that cannot be read, or not further: names the source, the offset in bytes and the problem."""

    def __init__(self, source: str, offset: int, problem: str) -> None:
        super().__init__(f"{source}: byte {offset}: {problem}")
        self.source = source
        self.offset = offset
        self.problem = problem


class Source:
    """Bytes of a stream from `at` on, in `buffer`; readers move `at` themselves, which saves a call per packet.

    Works on pipes: it never seeks and takes short reads.
    """

    __slots__ = ("_progress", "_stream", "at", "buffer", "name", "start")

    def __init__(self, stream: BinaryIO, name: str, progress: Progress | None = None) -> None:
        self._stream = stream
        self._progress = progress
        self.name = name
        self.buffer = b""
        self.at = 0
        self.start = 0
        """Offset in the stream of the buffer's first byte."""

    @property
    def offset(self) -> int:
        """Offset in the stream of the next byte to be taken."""
        return self.start + self.at

    def fill(self, count: int) -> bool:
        """Make `count` bytes from `at` on available; False if the stream ends before."""
        if self.at + count <= len(self.buffer):
            return True
        parts = [self.buffer[self.at :]]
        have = len(parts[0])
        self.start += self.at
        self.at = 0
        while have < count:
            part = self._stream.read(max(_CHUNK_BYTES, count - have))
            if not part:
                break
            parts.append(part)
            have += len(part)
        self.buffer = b"".join(parts)
        if self._progress is not None:
            self._progress(self.start + have)
        return have >= count

    def remaining(self) -> int:
        """Bytes in the buffer that nobody has taken yet."""
        return len(self.buffer) - self.at

    def error(self, problem: str) -> CaptureError:
        """An error at the next byte to be taken."""
        return CaptureError(self.name, self.offset, problem)
