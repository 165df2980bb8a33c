"""``resetlb quarantine``: clients that are dropped, limited or isolated for a while."""

from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import typer

from controller.cli.client import Client
from controller.cli.options import DEFAULT_URL, Ca, Json, Limit, TokenText, Url
from controller.cli.output import field, print_json, print_table

commands = typer.Typer(help="Show and change who is in quarantine.", no_args_is_help=True)

_COLUMNS = [
    field(name)
    for name in ("id", "client", "vip", "dst", "protocol", "dst_port", "place", "action", "ttl_s", "reason", "incident")
]


class Action(StrEnum):
    """What is done to a client."""

    DROP = "drop"
    LIMIT = "limit"
    ISOLATE = "isolate"


@commands.command("list")
def list_entries(
    limit: Limit = 1_000, url: Url = DEFAULT_URL, token: TokenText = None, ca: Ca = None, as_json: Json = False
) -> None:
    """Show who is in quarantine."""
    rows = Client(url, token, ca).items("/v1/quarantine", limit)
    print_json(rows) if as_json else print_table(rows, _COLUMNS, "nobody is in quarantine")


@commands.command()
def add(
    client: Annotated[str, typer.Argument(help="Address or prefix.")],
    vip: Annotated[str | None, typer.Option(help="Only towards this VIP.")] = None,
    dst: Annotated[str | None, typer.Option(help="Only towards this address or prefix.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Only tcp or udp.")] = None,
    port: Annotated[int | None, typer.Option(help="Only to this port.")] = None,
    place: Annotated[str | None, typer.Option(help="Only at this switch port, dpid:port.")] = None,
    action: Annotated[Action, typer.Option(help="What is done.")] = Action.DROP,
    ttl: Annotated[int, typer.Option("--ttl", min=1, help="Seconds until it ends by itself.")] = 300,
    reason: Annotated[str, typer.Option(help="Why, for those who come after.")] = "",
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Put a client in quarantine."""
    flow = {"dst": dst, "protocol": protocol, "dst_port": port, "place": place}
    body = {"client": client, "vip": vip, "action": action, "ttl_s": ttl, "reason": reason, **flow}
    entry = Client(url, token, ca).send("POST", "/v1/quarantine", body)
    print_json(entry) if as_json else print(f"{entry['client']} is in quarantine as {entry['id']}")


@commands.command()
def remove(
    entry: Annotated[str, typer.Argument(metavar="ID", help="The entry's id.")],
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """End a quarantine now."""
    Client(url, token, ca).send("DELETE", f"/v1/quarantine/{quote(entry, safe='')}")
    print_json({"removed": entry}) if as_json else print(f"quarantine {entry} has ended")
