"""Single keys from a terminal."""

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Self


class Keys:
    """While open, keys come without Enter and are not echoed (termios(3)); the terminal is as before afterwards."""

    def __enter__(self) -> Self:
        """Take the terminal over."""
        self._descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._descriptor)
        tty.setraw(self._descriptor, termios.TCSANOW)
        # Output still goes through the terminal's newline translation: rich writes plain newlines.
        mode = termios.tcgetattr(self._descriptor)
        mode[1] |= termios.OPOST
        termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)

    def wait(self, timeout_s: float) -> str | None:
        """Return the next key, None when there is none for so long; a terminal that is gone says ``q``."""
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if not ready:
            return None
        return os.read(self._descriptor, 1).decode("ascii", "replace") or "q"
