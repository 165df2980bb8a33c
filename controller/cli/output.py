"""How answers are shown: JSON for programs, tables for people, colour on a terminal only."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH_WITHOUT_TERMINAL = 200
_BETWEEN = 2
"""Columns of text between two columns of a table."""
STYLES = {
    "up": "green",
    "ok": "green",
    "active": "green",
    "degraded": "yellow",
    "draining": "yellow",
    "dry-run": "yellow",
    "frozen": "yellow",
    "down": "red",
    "disabled": "red",
    "open": "red",
}


class Column(NamedTuple):
    """A column: its heading, what it shows of a row, and its rank: where there is little room the highest goes first."""

    name: str
    of: Callable[[Mapping[str, Any]], object]
    rank: int = 0


def print_json(document: object) -> None:
    """Print a document as JSON."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def console() -> "Console":
    """Make the console of standard output; wide where lines may be cut by nobody."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(highlight=False, soft_wrap=False, width=width)


def table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[Column], width: int, title: str | None = None
) -> tuple["Table", list[str]]:
    """Make a table of at most ``width`` columns of text; returns it and the headings of what had no room.

    Cells are plain text: what comes from the network is never markup. What always has to be there is folded when even
    that is too wide.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    cells = {column: [cell(column.of(row)) for row in rows] for column in columns}
    shown = _fitting(columns, {column: max(map(len, (column.name, *texts))) for column, texts in cells.items()}, width)
    made = Table(
        box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", show_edge=False, padding=(0, 1, 0, 0)
    )
    for column in shown:
        made.add_column(column.name, overflow="fold")
    for texts in zip(*(cells[column] for column in shown), strict=True):
        made.add_row(*(Text(text, style=STYLES.get(text, "")) for text in texts))
    return made, [column.name for column in columns if column not in shown]


def _fitting(columns: Sequence[Column], widths: Mapping[Column, int], width: int) -> list[Column]:
    """Leave columns out, the highest rank first, until the rest fits or all that is left has rank 0."""
    shown = list(columns)
    while sum(widths[column] + _BETWEEN for column in shown) > width:
        least = max(reversed(shown), key=lambda column: column.rank)
        if least.rank == 0:
            break
        shown.remove(least)
    return shown


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], empty: str = "", title: str | None = None
) -> None:
    """Print a table and what had no room in it, or a line that says there is nothing in it."""
    if not rows:
        print(empty)
        return
    out = console()
    made, left_out = table(rows, columns, out.width, title)
    out.print(made)
    if left_out:
        out.print(f"no room for: {', '.join(left_out)} (--json has all)", style="dim", markup=False)


def cell(value: object) -> str:
    """Write one value; unknown is a dash."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return ", ".join(cell(item) for item in value)
    # A terminal must not obey what a peer put into a name.
    return "".join(character if character.isprintable() else "�" for character in str(value))


def field(name: str, rank: int = 0) -> Column:
    """Make the column of a field, headed by its name."""
    return Column(name.replace("_", " "), lambda row: row.get(name), rank)


def moment(time: str | None, *, fraction: bool = False) -> str | None:
    """Write an RFC 3339 time (UTC) shorter: of today only the time of day."""
    if time is None:
        return None
    day, _, clock = time.removesuffix("Z").partition("T")
    clock = clock[:12] if fraction else clock[:8]
    return clock if day == datetime.now(UTC).date().isoformat() else f"{day} {clock}"


def endpoint(row: Mapping[str, Any] | None) -> str | None:
    """Write a port of a switch as ``dpid:port``."""
    return None if row is None else f"{row['dpid']}:{row['port_no']}"
