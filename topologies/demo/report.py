"""What the demo found, as tables: with reset handling on and off, side by side."""

from collections.abc import Callable

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from topologies.demo.expectations import Expectation
from topologies.demo.tally import Counts, PhaseTally, Tally

_GOOD, _BAD, _QUIET = "green", "bold red", "dim"
Style = Callable[[float], str]


def connections(handled: Tally, unhandled: Tally) -> Table:
    """Phases × what became of the clients' new connections; in each cell handling on, then off."""
    table = _table("New connections of the clients")
    table.add_column("phase", vertical="bottom")
    for heading in ("tried", "refused", "reset", "timed out"):
        table.add_column(_heading(heading, 4), justify="right", vertical="bottom")
    table.add_column(_heading("cut¹", 3), justify="right", vertical="bottom")
    table.add_column(_heading("slowest\nconnect ms²", 5), justify="right")
    rows = [(phase.name, phase.counts, other.counts) for phase, other in _paired(handled, unhandled)]
    for name, on, off in [*rows, ("whole run", handled.total, unhandled.total)]:
        table.add_row(name, *_cells(on, off), end_section=name == rows[-1][0])
    return table


def _cells(on: Counts, off: Counts) -> list[Text]:
    return [
        _pair(on.tried, off.tried, 4, lambda _: ""),
        _pair(on.refused, off.refused, 4),
        _pair(on.reset, off.reset, 4),
        _pair(on.timed_out, off.timed_out, 4),
        _pair(on.cut, off.cut, 3, lambda _: ""),
        _pair(on.slowest_connect_ms, off.slowest_connect_ms, 5, _connect_style),
    ]


def members(handled: Tally, unhandled: Tally) -> Table:
    """Phases × members' weights when the phase ended; and how long each took from its first RST to the changed groups."""
    names = list(handled.phases[0].weights)
    table = _table("Members' weights at the end of each phase")
    table.add_column("phase", vertical="bottom")
    for name in names:
        table.add_column(_heading(name, 5), justify="right")
    for phase, other in _paired(handled, unhandled):
        table.add_row(
            phase.name, *(_pair(phase.weights[name], other.weights[name], 5, _weight_style) for name in names)
        )
    return table


def reaction_times(handled: Tally, unhandled: Tally) -> Text:
    """From a member's first RST to the changed group on every switch."""
    text = Text("\nFirst RST to changed groups: on ")
    for tally, other in ((handled, "; off "), (unhandled, "")):
        times = ", ".join(f"{member} {took_ms:.1f} ms" for member, took_ms in tally.out_after_ms.items())
        text.append(times or "never", "bold").append(other)
    own = handled.kept_own + unhandled.kept_own
    return text.append(
        f"\nEstablished connections meant to last: {handled.kept + unhandled.kept}, of which {own} with the killed process"
    )


def footnotes(handled: Tally, unhandled: Tally) -> Text:
    """What the table of connections needs to be read rightly."""
    late_ms = max(handled.late_ms, unhandled.late_ms)
    return Text(
        "¹ had been accepted by the process that was killed: its own to break\n"
        f"² of the slowest; the clients' own delays are in it (they were up to {late_ms:.0f} ms late)\n",
        _QUIET,
    )


def verdicts(expectations: list[Expectation]) -> Group:
    """Every expectation with a tick or a cross."""
    return Group(*(_verdict(expectation) for expectation in expectations))


def _verdict(expectation: Expectation) -> Text:
    mark, style = ("✓", _GOOD) if expectation.met else ("✗", _BAD if expectation.required else "yellow")
    text = Text(f" {mark} ", style)
    text.append(expectation.text, "")
    text.append(f": {expectation.found}", "bold")
    if not expectation.required:
        text.append(" (target)", _QUIET)
    return text


def full(handled: Tally, unhandled: Tally, expectations: list[Expectation]) -> list[RenderableType]:
    """The whole report, top to bottom."""
    return [
        connections(handled, unhandled),
        footnotes(handled, unhandled),
        members(handled, unhandled),
        reaction_times(handled, unhandled),
        Text(),
        verdicts(expectations),
    ]


def so_far(tally: Tally) -> Table:
    """The phases of one run that has not ended."""
    table = _table(None)
    table.add_column("phase")
    for heading in ("tried", "refused", "reset", "timed out", "cut¹", "slowest connect"):
        table.add_column(heading, justify="right")
    for phase in tally.phases:
        counts = phase.counts
        table.add_row(
            phase.name,
            str(counts.tried),
            *(Text(str(count), _failure_style(count)) for count in (counts.refused, counts.reset, counts.timed_out)),
            str(counts.cut),
            Text(f"{_number(counts.slowest_connect_ms)} ms", _connect_style(counts.slowest_connect_ms)),
        )
    return table


def _table(title: str | None) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )


def _paired(handled: Tally, unhandled: Tally) -> list[tuple[PhaseTally, PhaseTally]]:
    return list(zip(handled.phases, unhandled.phases, strict=True))


def _heading(text: str, width: int) -> Text:
    return Text(f"{text}\n{'on':>{width}} {'off':>{width}}", justify="right")


def _failure_style(count: float) -> str:
    return _BAD if count else _GOOD


def _connect_style(took_ms: float) -> str:
    return _GOOD if took_ms < 50 else "yellow" if took_ms < 500 else _BAD


def _weight_style(weight: float) -> str:
    return _QUIET if weight == 0 else _GOOD if weight == 100 else "yellow"


def _pair(on: float, off: float, width: int, style: Style = _failure_style) -> Text:
    cell = Text(f"{_number(on):>{width}}", style(on))
    cell.append(f" {_number(off):>{width}}", style(off))
    return cell


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.1f}" if value < 1000 else f"{value:.0f}"
