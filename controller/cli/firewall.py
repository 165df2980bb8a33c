"""``resetlb firewall``: the virtual firewall's rules and default."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from controller.cli.client import Client
from controller.cli.options import DEFAULT_URL, Ca, Json, Limit, TokenText, Url
from controller.cli.output import field, print_json, print_table
from controller.cli.policy import read_valid

commands = typer.Typer(help="Show and change firewall rules.", no_args_is_help=True)

_COLUMNS = [field(name) for name in ("id", "priority", "src", "dst", "protocol", "dst_ports", "action", "rate_pps",
                                     "hits", "bytes", "comment")]  # fmt: skip
_LOG = [field(name) for name in ("time", "rule", "action", "dry_run", "protocol", "src", "src_port", "dst", "dst_port", "place",
                                 "suppressed")]  # fmt: skip
_REFUSED = [
    field(name) for name in ("rule", "action", "protocol", "src", "dst", "dst_port", "connections", "first", "last")
]


class Action(StrEnum):
    """What a rule does."""

    ALLOW = "allow"
    DROP = "drop"
    REJECT = "reject"
    LIMIT = "limit"


class Default(StrEnum):
    """What happens to traffic that no rule matches."""

    ALLOW = "allow"
    DROP = "drop"
    REJECT = "reject"


@commands.command("list")
def list_rules(
    limit: Limit = 10_000, url: Url = DEFAULT_URL, token: TokenText = None, ca: Ca = None, as_json: Json = False
) -> None:
    """Show the rules in the order they are tried."""
    rows = Client(url, token, ca).items("/v1/firewall/rules", limit)
    print_json(rows) if as_json else print_table(rows, _COLUMNS, "no rule")


@commands.command()
def add(
    action: Annotated[Action, typer.Argument(help="What to do.")],
    src: Annotated[str | None, typer.Option(help="Address or prefix.")] = None,
    dst: Annotated[str | None, typer.Option(help="Address or prefix.")] = None,
    protocol: Annotated[str | None, typer.Option(help="tcp, udp or icmp.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="Destination port or range lo-hi; may be repeated.")] = None,
    priority: Annotated[int, typer.Option(help="Higher is tried first.")] = 100,
    rate: Annotated[int | None, typer.Option("--rate", help="Packets/s, for limit.")] = None,
    rule_id: Annotated[str | None, typer.Option("--id", help="Its id; else made from its content.")] = None,
    inspect: Annotated[bool, typer.Option(help="Have first packets judged by the controller.")] = False,
    per_source_pps: Annotated[int | None, typer.Option(help="Packets/s of each source, for allow.")] = None,
    per_source_connections: Annotated[
        int | None, typer.Option(help="New connections/s of each source, for allow.")
    ] = None,
    log: Annotated[bool, typer.Option(help="Log what it decides.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what it would do.")] = False,
    comment: Annotated[str, typer.Option(help="Why, for those who come after.")] = "",
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Add a rule."""
    body = {
        "action": action,
        "src": src,
        "dst": dst,
        "protocol": protocol,
        "dst_ports": [int(text) if text.isascii() and text.isdigit() else text for text in port or ()],
        "priority": priority,
        "rate_pps": rate,
        "comment": comment,
        "inspect": "first-packet" if inspect else None,
        "per_source_pps": per_source_pps,
        "per_source_connections_per_s": per_source_connections,
        "log": log,
        "dry_run": dry_run,
        **({} if rule_id is None else {"id": rule_id}),
    }
    rule = Client(url, token, ca).send("POST", "/v1/firewall/rules", body)
    print_json(rule) if as_json else print(f"rule {rule['id']} is in force")


@commands.command()
def remove(
    rule: Annotated[str, typer.Argument(metavar="ID", help="The rule's id.")],
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Remove a rule."""
    Client(url, token, ca).send("DELETE", f"/v1/firewall/rules/{quote(rule, safe='')}")
    print_json({"removed": rule}) if as_json else print(f"rule {rule} is removed")


@commands.command()
def default(
    action: Annotated[Default | None, typer.Argument(help="Change to this.")] = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Show or change what happens to traffic that no rule matches."""
    client = Client(url, token, ca)
    path = "/v1/firewall/default"
    answer = client.get(path) if action is None else client.send("PUT", path, {"default": action})
    print_json(answer) if as_json else print(f"default: {answer['default']}")


@commands.command("log")
def show_log(
    limit: Limit = 100, url: Url = DEFAULT_URL, token: TokenText = None, ca: Ca = None, as_json: Json = False
) -> None:
    """Show what was decided on first packets, newest first: of rules that log, inspect, reject or are tried out."""
    rows = Client(url, token, ca).items("/v1/firewall/log", limit)
    print_json(rows) if as_json else print_table(rows, _LOG, "nothing was logged")


@commands.command("dry-run")
def dry_run(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Policy file with another firewall.")] = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Show what passed in the last hour and would not have.

    Had the rules with dry_run acted; or, with FILE, had its firewall been in force. Nothing is changed.
    """
    client, path = Client(url, token, ca), "/v1/firewall/dry-run?limit=1000"
    other = None if file is None else read_valid(file).document()["firewall"]
    rows = (client.get(path) if other is None else client.send("POST", path, other))["items"]
    print_json(rows) if as_json else print_table(rows, _REFUSED, "nothing that was seen would have been refused")
