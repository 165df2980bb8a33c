"""``resetlb top``: what goes on, refreshed until Ctrl-C."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.client import Client
from controller.cli.options import DEFAULT_URL, Json, TokenText, Url
from controller.cli.output import console, print_json, table
from controller.cli.state import INCIDENT_COLUMNS, MEMBER_COLUMNS, RESET_COLUMNS, members_of

if TYPE_CHECKING:
    from rich.console import Group

_SHOWN_RESETS = 10
_SHOWN_INCIDENTS = 5


def top(
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between refreshes.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print once and end.")] = False,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    as_json: Json = False,
) -> None:
    """Watch members, incidents and resets.

    Prints once where there is no terminal.
    """
    client = Client(url, token)
    if as_json:
        print_json(_snapshot(client))
    elif once or not sys.stdout.isatty():
        console().print(_view(_snapshot(client)))
    else:
        _refresh(client, interval)


def _refresh(client: Client, interval_s: float) -> None:
    from rich.live import Live

    try:
        with Live(_view(_snapshot(client)), console=console(), screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval_s)
                live.update(_view(_snapshot(client)), refresh=True)
    except KeyboardInterrupt:
        return


def _snapshot(client: Client) -> dict[str, Any]:
    return {
        "health": client.get("/v1/health"),
        "automation": client.get("/v1/automation"),
        "members": sorted(members_of(client), key=lambda member: -sum(member["resets_per_s"].values())),
        "incidents": client.items("/v1/incidents", _SHOWN_INCIDENTS, state="open"),
        "resets": client.items("/v1/resets", _SHOWN_RESETS),
    }


def _view(snapshot: dict[str, Any]) -> "Group":
    from rich.console import Group
    from rich.text import Text

    health = snapshot["health"]
    reason = f" ({health['reason']})" if health["reason"] else ""
    heading = f"{health['status']}{reason}, {health['switches']} switches, automation {snapshot['automation']['mode']}"
    return Group(
        Text(heading, style="bold"),
        table(snapshot["members"], MEMBER_COLUMNS, "Members"),
        table(snapshot["incidents"], INCIDENT_COLUMNS, "Open incidents"),
        table(snapshot["resets"], RESET_COLUMNS, "Latest resets"),
    )
