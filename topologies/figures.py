"""Figures in pages: what a command measured, between its marks."""

from __future__ import annotations

from pathlib import Path

_END = "<!-- end of figures -->"


def put(page: Path, command: str, text: str) -> None:
    """Replaces what stands between `<!-- figures: COMMAND -->` and the next end mark.

    Raises:
        ValueError: the page has no place for figures of this command.
    """
    begin = f"<!-- figures: {command} -->\n"
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(_END)
    if not found or not ended:
        raise ValueError(f"{page} has no place for figures of {command}")
    page.write_text(f"{before}{begin}{text.rstrip()}\n{_END}{after}")
