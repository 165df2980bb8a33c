"""What a simulation found, as tables: for a terminal and for a page."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.table import Table

from topologies.simulation.scenario import Cost, Recovery, Report


@dataclass
class Figures:
    """Rows of text under headings; the first column names them."""

    title: str
    headings: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(title=self.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
        for place, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For a page."""
        lines = [self.headings, ["---", *(["---:"] * (len(self.headings) - 1))], *self.rows]
        return f"**{self.title}**\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def sizes(reports: list[Report]) -> Figures:
    """How cost grows with the fabric."""
    rows = [
        ["switches", *(f"{report.switches}" for report in reports)],
        ["hosts, of which members", *(f"{report.hosts}, {report.members}" for report in reports)],
        ["links", *(f"{report.links:,}" for report in reports)],
        ["flow entries on the switches", *(f"{report.entries:,}" for report in reports)],
        ["different ones", *(f"{report.different_entries:,}" for report in reports)],
        ["groups", *(f"{report.groups:,}" for report in reports)],
        ["bring-up, CPU", *(f"{_cost(report, 'bring-up').cpu_s:.1f} s" for report in reports)],
        ["idle, CPU", *(_share(_cost(report, "idle")) for report in reports)],
        ["loaded, CPU", *(_share(_cost(report, "loaded")) for report in reports)],
        ["loaded, events/s", *(_rate(_cost(report, "loaded"), "events") for report in reports)],
        ["loaded, decisions/s", *(_rate(_cost(report, "loaded"), "decisions") for report in reports)],
        ["connections offered", *(f"{report.outcomes.offered:,}" for report in reports)],
        ["of which failed", *(_failed(report) for report in reports)],
        ["refused by one member, served by another", *(f"{report.outcomes.redispatched}" for report in reports)],
        ["reset → groups decided, CPU p50", *(f"{_percentile(report.reactions_ms, 0.5):.2f} ms" for report in reports)],
        [
            "reset → groups decided, CPU p99",
            *(f"{_percentile(report.reactions_ms, 0.99):.2f} ms" for report in reports),
        ],
        ["memory, with the modelled switches", *(f"{report.memory_mb:.0f} MB" for report in reports)],
    ]
    title = f"Fat trees at {reports[0].rate:,.0f} new connections/s"
    return Figures(title, ["", *(f"k = {report.k}" for report in reports)], rows)


def recoveries(report: Report) -> Figures:
    """Fault by fault, what it took until the last rule was changed because of it."""
    headings = ["fault", "announced after", "last rule after", "CPU until then", "rules changed", "connections failed"]
    return Figures(f"Faults at k = {report.k}", headings, [_recovery(one) for one in report.recoveries])


def _recovery(one: Recovery) -> list[str]:
    noticed = "–" if one.noticed_s is None else f"{1000 * one.noticed_s:.1f} ms"
    changed = [f"{1000 * one.converged_s:.1f} ms", f"{one.cpu_ms:.1f} ms"] if one.rules else ["–", "–"]
    return [one.fault, noticed, *changed, f"{one.rules:,}", f"{one.failed:,} of {one.offered:,}"]


def _cost(report: Report, name: str) -> Cost:
    return next(cost for cost in report.costs if cost.name == name)


def _share(cost: Cost) -> str:
    return f"{100 * cost.cpu_share:.1f} %"


def _rate(cost: Cost, what: str) -> str:
    return f"{getattr(cost, what) / cost.seconds:,.0f}"


def _failed(report: Report) -> str:
    seen = report.outcomes
    return f"{seen.refused} refused, {seen.reset} reset, {seen.timed_out} timed out"


def _percentile(ranked: list[float], share: float) -> float:
    """By nearest rank; 0 of nothing."""
    return ranked[math.ceil(share * len(ranked)) - 1] if ranked else 0.0
