"""One frame of the live view, for any width from 80 columns."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from controller.cli.output import STYLES, cell
from controller.cli.state import total

KEYS = "q quit  p pause  space now  + - interval"
BAR = 12
_BLOCKS = " ▁▂▃▄▅▆▇█"
_TALL = 10_000
_WIDE = 100
"""Columns from which a row has room for everything."""


def frame(shown: Mapping[str, Any], width: int, height: int = _TALL, footer: Text | None = None) -> RenderableType:
    """Make a frame of a snapshot (``Watch.look``): what hurts most is first, what does not fit is counted."""
    incidents, members, links = shown["incidents"], _worst_members(shown["members"]), _worst_links(shown["links"])
    room = max(3, height - 14 - min(len(incidents), 4))
    of_members = min(len(members), max(room - min(len(links), 4), room // 2))
    of_links = max(1, room - of_members)
    parts: list[RenderableType] = [
        _heading(shown),
        _resets(shown["resets_per_s"], shown["history"], width),
        Rule(
            _title("open incidents", len(incidents), 4 if height < _TALL else len(incidents)), align="left", style="dim"
        ),
        _incidents(incidents[:4] if height < _TALL else incidents, width),
        Rule(_title("members", len(members), of_members), align="left", style="dim"),
        _members(members[:of_members], width),
        Rule(_title("links", len(links), of_links), align="left", style="dim"),
        _links(links[:of_links], width),
    ]
    return Group(*parts, *([footer] if footer is not None else []))


def _heading(shown: Mapping[str, Any]) -> Text:
    health, automation = shown["health"], shown["automation"]
    text = Text.assemble(
        f"ResetLB {cell(health['version'])}  ", (cell(health["status"]), STYLES.get(health["status"], "")),
        f"  {health['switches']} switches  automation ", (automation["mode"], STYLES.get(automation["mode"], "")),
        style="bold",
    )  # fmt: skip
    if automation["enforce_percent"] != 100:
        text.append(f" on {automation['enforce_percent']} %")
    if health["reason"]:
        text.append(f"\n{cell(health['reason'])}", style="yellow")
    return text


def _resets(rates: Mapping[str, float] | None, history: Sequence[float], width: int) -> Text:
    if rates is None:
        return Text("resets/s  measuring", style="dim")
    text = Text(f"resets/s  {sum(rates.values()):.4g}  ")
    for cause, rate in rates.items():
        text.append(f" {_cause(cause)} {rate:.4g} ", style="" if cause in ("none", "benign") else "red")
    left = width - len(text) - 2
    if len(history) > 1 and left > 10:
        text.append(f"  {sparkline(history[-left:])}", style="dim")
    return text


def _cause(cause: str) -> str:
    return {"none": "no incident", "unknown": "not sampled"}.get(cause, cell(cause))


def sparkline(values: Sequence[float]) -> str:
    """Write values as bars, the largest as a full block."""
    largest = max(values) or 1.0
    return "".join(_BLOCKS[round(value / largest * (len(_BLOCKS) - 1))] for value in values)


def _incidents(incidents: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    if not incidents:
        return Text("none", style="dim")
    made = _grid(6 if width >= _WIDE else 5)
    for incident in incidents:
        row = [
            Text(cell(incident["id"])),
            Text(f"{incident['subject']['type']} {_short(cell(incident['subject']['id']))}", style="red"),
            Text(f"{cell(incident['cause'])} {incident['confidence']:.0%}"),
            Text(f"{incident['resets']} resets"),
            Text(cell([action["action"] for action in incident["actions"]])),
        ]
        made.add_row(*(row if width < _WIDE else [*row[:4], Text(f"since {_clock(incident['opened'])}"), row[4]]))
    return made


def _members(members: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    if not members:
        return Text("no pool has a member: resetlb policy apply FILE", style="dim")
    made = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    made.add_column("member")
    made.add_column("health")
    made.add_column("weight", min_width=BAR + 4, no_wrap=True)
    for name in ("conn/s", "resets/s", *(("active", "handshake ms") if width >= _WIDE else ())):
        made.add_column(name, justify="right")
    largest = max(member["weight"] for member in members) or 1
    for member in members:
        out = member["effective_weight"] == 0
        row = [
            Text(f"{cell(member['pool'])}/{cell(member['name'])}"),
            Text(cell(member["health"]), style=STYLES.get(member["health"], "")),
            _weight(member, largest) if not out else Text(_why_out(member), style="yellow"),
            Text(cell(member["connections_per_s"])),
            Text(cell(total(member["resets_per_s"])), style="red" if _rate(member) else ""),
        ]
        if width >= _WIDE:
            row += [Text(cell(member["connections_active"])), Text(cell(member["handshake_ms"]))]
        made.add_row(*row)
    return made


def _weight(member: Mapping[str, Any], largest: int) -> Text:
    filled = round(BAR * member["effective_weight"] / largest)
    whole = round(BAR * member["weight"] / largest)
    return Text.assemble(
        ("█" * filled, "green"), ("░" * max(0, whole - filled), "yellow"), f" {member['effective_weight']}"
    )


def _why_out(member: Mapping[str, Any]) -> str:
    if member["admin_state"] != "active":
        return str(member["admin_state"])
    until = member["ejected_until"]
    return f"ejected until {_clock(until)}" if until else "out"


def _links(links: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    if not links:
        return Text("none between switches is known", style="dim")
    made = _grid(6)
    for link in links:
        congested = bool(link.get("congested"))
        capacity = f"of {_bits(link['capacity_bps'])}"
        row = [
            Text(f"{_end(link['src'])} → {_end(link['dst'])}"),
            Text(f"{_known(link.get('utilisation_pct'), '{:.0f} %')} {capacity}", style="red" if congested else ""),
            Text(f"loss {_known(link.get('loss_pct'), '{:.3g} %')}"),
            Text(f"delay {_known(link.get('delay_ms'), '{:.3g} ms')}"),
            Text(f"drops {_known(link.get('queue_drops_per_s'), '{:.3g}/s')}" if width >= _WIDE else ""),
            Text("congested" if congested else "", style="red"),
        ]
        made.add_row(*row)
    return made


def _known(value: float | None, words: str) -> str:
    return "?" if value is None else words.format(value)


def _grid(columns: int) -> Table:
    made = Table.grid(padding=(0, 2))
    for _ in range(columns):
        made.add_column(overflow="fold")
    return made


def _title(what: str, there: int, shown: int) -> Text:
    return Text(f"{what} ({shown} of {there})" if shown < there else what, style="bold")


def _worst_members(members: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Order members: those with resets, then those that are out, then by name."""
    return sorted(members, key=lambda one: (-_rate(one), one["effective_weight"] > 0, one["pool"], one["name"]))


def _worst_links(links: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(
        links,
        key=lambda one: (not one.get("congested"), -(one.get("loss_pct") or 0), -(one.get("utilisation_pct") or 0)),
    )


def _rate(member: Mapping[str, Any]) -> float:
    return total(member["resets_per_s"]) or 0.0


def _end(end: Mapping[str, Any]) -> str:
    return _short(f"{end['dpid']}:{end['port_no']}")


def _short(text: str) -> str:
    """Leave out the zeros that dpids begin with."""
    return re.sub(r"\b0{1,15}(?=[0-9a-f]+:\d)", "", text)


def _bits(rate: float) -> str:
    for size, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if rate >= size:
            return f"{rate / size:g} {unit}"
    return f"{rate:g} bit/s"


def _clock(time: str) -> str:
    """Take the time of day (UTC) out of an RFC 3339 time."""
    return time[11:19] + " UTC" if len(time) >= 19 else time
