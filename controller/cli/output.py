"""How answers are shown: JSON for programs, tables for people, colour on a terminal only."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH_WITHOUT_TERMINAL = 200
_STYLES = {
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

Column = tuple[str, Callable[[Mapping[str, Any]], object]]


def print_json(document: object) -> None:
    """Print a document as JSON."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def console() -> "Console":
    """Make the console of standard output; wide where lines may be cut by nobody."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(highlight=False, soft_wrap=False, width=width)


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column], title: str | None = None) -> "Table":
    """Make a table. Cells are plain text: what comes from the network is never markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for name, _ in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        cells = [cell(value(row)) for _, value in columns]
        made.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in cells))
    return made


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], empty: str) -> None:
    """Print a table, or a line that says there is nothing in it."""
    if rows:
        console().print(table(rows, columns))
    else:
        print(empty)


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


def field(name: str) -> Column:
    """Make the column of a field, headed by its name."""
    return name.replace("_", " "), lambda row: row.get(name)


def endpoint(row: Mapping[str, Any] | None) -> str | None:
    """Write a port of a switch as ``dpid:port``."""
    return None if row is None else f"{row['dpid']}:{row['port_no']}"
