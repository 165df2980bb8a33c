"""How the demo is watched: a picture that moves on a terminal, lines elsewhere."""

from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from topologies.demo import report, script
from topologies.demo.tally import PhaseTally, Tally

RUN_S = sum(phase.duration_s for phase in script.PHASES)
_SHOWN_ANNOUNCEMENTS = 4
_BAR_WIDTH = 20
_HEALTH_STYLES = {"up": "green", "degraded": "yellow", "down": "red"}
Member = dict[str, Any]


def title(handling: bool) -> str:
    """What a run is called."""
    return "1 of 2: reset handling on" if handling else "2 of 2: reset handling off (automation: frozen)"


class Screen(Protocol):
    """Who watches. Elapsed times are seconds since the run began."""

    def step(self, text: str) -> None:
        """Something is being built."""

    def run_begins(self, tally: Tally) -> None:
        """A run begins."""

    def phase_begins(self, name: str, elapsed_s: float) -> None:
        """A phase begins, with its fault."""

    def announce(self, text: str, elapsed_s: float) -> None:
        """ResetLB announced something."""

    def members(self, members: list[Member]) -> None:
        """The members as they are now."""

    def refresh(self, elapsed_s: float) -> None:
        """Time has passed."""

    def phase_ends(self, phase: PhaseTally, elapsed_s: float) -> None:
        """A phase is over."""

    def run_ends(self) -> None:
        """A run is over."""


class Lines:
    """For pipes and logs: a line for everything that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, text: str) -> None:
        """One line."""
        self._print(f"{text} …")

    def run_begins(self, tally: Tally) -> None:
        """A heading."""
        self._print(f"\n{title(tally.handling)}")

    def phase_begins(self, name: str, elapsed_s: float) -> None:
        """One line."""
        self._print(f"{elapsed_s:5.1f} s  {name}")

    def announce(self, text: str, elapsed_s: float) -> None:
        """One line."""
        self._print(f"{elapsed_s:5.1f} s    {text}")

    def members(self, members: list[Member]) -> None:
        """Told with the phase's end."""

    def refresh(self, elapsed_s: float) -> None:
        """Nothing moves here."""

    def phase_ends(self, phase: PhaseTally, elapsed_s: float) -> None:
        """One line of counts and weights."""
        counts = phase.counts
        weights = ", ".join(f"{member} {weight}" for member, weight in phase.weights.items())
        self._print(
            f"{elapsed_s:5.1f} s    tried {counts.tried}, refused {counts.refused}, reset {counts.reset},"
            f" timed out {counts.timed_out}, slowest connect {counts.slowest_connect_ms:.1f} ms; weights {weights}"
        )

    def run_ends(self) -> None:
        """The next heading says so."""

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Picture:
    """For a terminal: one picture of the run, redrawn several times a second."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._members: list[Member] = []

    def step(self, text: str) -> None:
        """One line that the next one replaces."""
        self._live.update(Text(f"{text} …", "dim"), refresh=True)

    def run_begins(self, tally: Tally) -> None:
        """An empty picture."""
        self._tally = tally
        self._announcements: list[Text] = []

    def phase_begins(self, name: str, elapsed_s: float) -> None:
        """Among the announcements."""
        self._note(name, elapsed_s, "bold")

    def announce(self, text: str, elapsed_s: float) -> None:
        """The latest few are shown."""
        self._note(text, elapsed_s, "cyan")

    def members(self, members: list[Member]) -> None:
        """Shown from now on."""
        self._members = members

    def refresh(self, elapsed_s: float) -> None:
        """Draws the picture."""
        self._live.update(self._draw(elapsed_s), refresh=True)

    def phase_ends(self, phase: PhaseTally, elapsed_s: float) -> None:
        """Its row stays in the picture."""

    def run_ends(self) -> None:
        """The report will say it all."""
        self._live.update(Text(), refresh=True)

    def _note(self, text: str, elapsed_s: float, style: str) -> None:
        line = Text(f"{elapsed_s:5.1f} s  ", "dim", no_wrap=True, overflow="ellipsis")
        self._announcements = [*self._announcements, line.append(text, style)][-_SHOWN_ANNOUNCEMENTS:]

    def _draw(self, elapsed_s: float) -> RenderableType:
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=RUN_S, completed=min(elapsed_s, RUN_S), width=_BAR_WIDTH, complete_style="cyan")
        head.add_row(Text(title(self._tally.handling), "bold"), bar, Text(f"{elapsed_s:.0f} of {RUN_S:.0f} s", "dim"))
        now = self._tally.phases[0].began + elapsed_s
        return Group(head, Text(), self._draw_members(now), Text(), report.so_far(self._tally), *self._announcements)

    def _draw_members(self, now: float) -> Table:
        grid = Table.grid(padding=(0, 2))
        for member in self._members:
            weight = member["effective_weight"]
            health = Text(f"{member['health']:8}", _HEALTH_STYLES.get(member["health"], ""))
            bar = ProgressBar(
                total=100, completed=weight, width=_BAR_WIDTH, complete_style="green", finished_style="green"
            )
            rate = Text(f"{self._tally.served_per_s(member['name'], now):4} connections/s", "dim")
            grid.add_row(member["name"], health, bar, Text(f"weight {weight:3}"), rate)
        return grid
