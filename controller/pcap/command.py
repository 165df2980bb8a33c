"""`resetlb pcap FILE… [--json]`: the reset connections of captures, as tables or as JSON."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from controller.pcap.analysis import Analysis, analyse
from controller.pcap.record import ResetRecord, ServerSummary
from controller.pcap.source import CaptureError, Progress

DONE, FAILED, INVALID = 0, 1, 2

_STDIN = Path("-")
# Read within seconds: a bar would only flicker.
_LONG_FILE_BYTES = 32 << 20
# Records are printed page by page, so that a capture of any length takes the same memory.
_PAGE_RECORDS = 500
# A table's reasons do not fit into the 80 columns that are assumed where there is no terminal.
_WIDTH_WITHOUT_TERMINAL = 200


_Paused = Callable[[], AbstractContextManager[None]]


class _Output(Protocol):
    def page(self, records: list[ResetRecord]) -> None: ...

    def end_of_file(self, name: str, analysis: Analysis) -> None: ...

    def end(self) -> None: ...


class _JsonOutput:
    """One list over all files, written as it is found."""

    def __init__(self) -> None:
        self._separator = "["

    def page(self, records: list[ResetRecord]) -> None:
        for record in records:
            sys.stdout.write(f"{self._separator}\n{json.dumps(record.as_json())}")
            self._separator = ","

    def end_of_file(self, name: str, analysis: Analysis) -> None:
        for note in analysis.notes:
            _say(f"{name}: {note}")

    def end(self) -> None:
        sys.stdout.write("[]\n" if self._separator == "[" else "\n]\n")
        sys.stdout.flush()


class _TableOutput:
    """Tables of records, and of servers at the end of each file."""

    def __init__(self) -> None:
        console = Console()
        self._console = console if console.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL)

    def page(self, records: list[ResetRecord]) -> None:
        if records:
            self._console.print(_records_table(records))

    def end_of_file(self, name: str, analysis: Analysis) -> None:
        servers = analysis.servers
        if servers:
            self._console.print(_servers_table(servers))
        line = (
            f"{name}: {analysis.packets:,} packets, {analysis.segments:,} TCP segments,"
            f" {analysis.resets:,} connections reset"
        )
        self._console.print(Text(line))
        for note in analysis.notes:
            self._console.print(Text(f"note: {note}", style="dim"))

    def end(self) -> None:
        """Nothing is left to be printed."""


def run(files: list[Path], as_json: bool) -> int:
    """Print the reset connections of captures; `-` is the standard input.

    Returns:
        The exit code: 0 done, 1 a file could not be read, 2 no file given, or one that is no capture or damaged (its
        records up to the damage are printed). The other files are analysed all the same.
    """
    if not files:
        _say("no capture given")
        return INVALID
    output: _Output = _JsonOutput() if as_json else _TableOutput()
    code = max([_run_one(path, output) for path in files])
    output.end()
    return code


def _run_one(path: Path, output: _Output) -> int:
    try:
        with _bar(path) as (progress, paused), analyse(_opened(path), progress) as analysis:
            damage = _print_records(str(path), analysis, output, paused)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        _say(f"{path}: {error.strerror}")
        return INVALID
    except BrokenPipeError:
        # The reader of our output has gone; that says nothing about the file.
        raise
    except OSError as error:
        _say(f"{path}: {error.strerror or error}")
        return FAILED
    if damage is not None:
        _say(str(damage))
        return INVALID
    return DONE


def _opened(path: Path) -> Path | BinaryIO:
    return sys.stdin.buffer if path == _STDIN else path


def _print_records(name: str, analysis: Analysis, output: _Output, paused: _Paused) -> CaptureError | None:
    """Print page by page; the damage that ended the capture, if any."""
    page: list[ResetRecord] = []
    damage: CaptureError | None = None
    try:
        for record in analysis:
            page.append(record)
            if len(page) == _PAGE_RECORDS:
                with paused():
                    output.page(page)
                page = []
    except CaptureError as error:
        damage = error
    with paused():
        output.page(page)
        if analysis.packets or damage is None:
            output.end_of_file(name, analysis)
    return damage


@contextmanager
def _bar(path: Path) -> Iterator[tuple[Progress | None, _Paused]]:
    """A progress bar for a long file on a terminal: what to call with bytes read, and how to print beside it."""
    if not sys.stderr.isatty() or not path.is_file() or path.stat().st_size < _LONG_FILE_BYTES:
        yield None, nullcontext
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    # Standard output may be a file: the bar must not redirect it to the terminal.
    bar = RichProgress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )
    task = bar.add_task(escape(path.name), total=path.stat().st_size)

    @contextmanager
    def paused() -> Iterator[None]:
        bar.stop()
        yield
        bar.start()

    with bar:
        yield lambda count: bar.update(task, completed=count), paused


def _records_table(records: list[ResetRecord]) -> Table:
    table = Table("time", "client", "server", "sender", "stage", "kind", "cause", "reasons", box=SIMPLE)
    for record in records:
        cells = (
            record.time,
            f"{_socket_text(record.client, record.client_port)}\n{record.bytes_client:,} B sent",
            f"{_socket_text(record.server, record.server_port)}\n{record.bytes_server:,} B sent",
            record.sender,
            record.stage,
            record.kind,
            f"{record.cause}\n{record.confidence:.0%}",
            "\n".join(record.reasons),
        )
        # As Text: rich would take the brackets and colons of an address for markup and emoji.
        table.add_row(*map(Text, cells))
    return table


def _servers_table(servers: list[ServerSummary]) -> Table:
    table = Table("server", "connections", "reset", "by", "causes", box=SIMPLE)
    for summary in servers[:_PAGE_RECORDS]:
        cells = (
            _socket_text(summary.server, summary.port),
            f"{summary.connections:,}",
            f"{summary.resets:,}",
            _counts_text(summary.senders),
            _counts_text(summary.causes),
        )
        table.add_row(*map(Text, cells))
    return table


def _socket_text(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _counts_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _say(message: str) -> None:
    sys.stderr.write(f"resetlb pcap: {message}\n")
