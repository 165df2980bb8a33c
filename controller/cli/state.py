"""Commands that show what the controller sees, and how far it acts by itself."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from controller.cli.client import Client
from controller.cli.options import DEFAULT_URL, Json, Limit, TokenText, Url
from controller.cli.output import Column, console, endpoint, field, print_json, print_table, table

NO_SWITCH = (
    "Connect a switch, with Open vSwitch for instance:\n"
    "  ovs-vsctl set bridge br0 protocols=OpenFlow13\n"
    "  ovs-vsctl set-controller br0 tcp:127.0.0.1:6653"
)


class IncidentState(StrEnum):
    """Whether an incident goes on."""

    OPEN = "open"
    CLOSED = "closed"


class Mode(StrEnum):
    """How far the controller acts by itself."""

    ENFORCE = "enforce"
    DRY_RUN = "dry-run"
    FROZEN = "frozen"


MEMBER_COLUMNS: list[Column] = [
    ("member", lambda row: f"{row['pool']}/{row['name']}"),
    ("address", lambda row: f"{row['address']}:{row['port']}"),
    field("health"),
    ("state", lambda row: row["admin_state"]),
    ("weight", lambda row: f"{row['effective_weight']} of {row['weight']}"),
    ("ejected until", lambda row: row["ejected_until"]),
    ("active", lambda row: row["connections_active"]),
    ("conn/s", lambda row: row["connections_per_s"]),
    ("resets/s", lambda row: rates(row["resets_per_s"])),
    ("handshake ms", lambda row: row["handshake_ms"]),
    field("load"),
]
INCIDENT_COLUMNS: list[Column] = [
    field("id"),
    ("subject", lambda row: f"{row['subject']['type']} {row['subject']['id']}"),
    field("cause"),
    ("confidence", lambda row: f"{row['confidence']:.0%}"),
    field("resets"),
    field("opened"),
    field("closed"),
    ("actions", lambda row: [action["action"] for action in row["actions"]]),
]
RESET_COLUMNS: list[Column] = [
    field("time"),
    field("vip"),
    field("client"),
    field("member"),
    field("sender"),
    field("stage"),
    field("kind"),
    field("entry_port"),
    field("ttl"),
]
LINK_COLUMNS: list[Column] = [
    ("from", lambda row: endpoint(row["src"])),
    ("to", lambda row: endpoint(row["dst"])),
    ("capacity Mbit/s", lambda row: row["capacity_bps"] / 1e6),
    ("used %", lambda row: row.get("utilisation_pct")),
    ("loss %", lambda row: row.get("loss_pct")),
    ("delay ms", lambda row: row.get("delay_ms")),
    ("queue drops", lambda row: row.get("queue_drops")),
]


def rates(per_kind: Mapping[str, float]) -> str:
    """Write reset rates by kind, those that are not zero."""
    return ", ".join(f"{kind} {rate:.3g}" for kind, rate in sorted(per_kind.items()) if rate) or "0"


def members_of(client: Client) -> list[dict[str, Any]]:
    """List the members of all pools, each with its pool's name."""
    pools = client.items("/v1/pools", limit=100_000)
    return [{"pool": pool["name"], **member} for pool in pools for member in pool["members"]]


def status(url: Url = DEFAULT_URL, token: TokenText = None, as_json: Json = False) -> None:
    """Show at a glance whether all is well."""
    client = Client(url, token)
    document = {
        "health": client.get("/v1/health"),
        "automation": client.get("/v1/automation"),
        "vips": client.items("/v1/vips", limit=100_000),
        "members": members_of(client),
        "incidents": client.items("/v1/incidents", limit=100, state="open"),
    }
    if as_json:
        print_json(document)
    else:
        _print_status(document)


def _print_status(document: Mapping[str, Any]) -> None:
    health, automation = document["health"], document["automation"]
    reason = f" ({health['reason']})" if health["reason"] else ""
    print(f"ResetLB {health['version']}: {health['status']}{reason}, {health['switches']} switches connected")
    print(f"automation: {automation['mode']}, on {automation['enforce_percent']} % of incidents")
    if health["switches"] == 0:
        print(NO_SWITCH)
    vips: list[Column] = [("vip", lambda row: row["name"]), ("address", lambda row: f"{row['address']}:{row['port']}"),
                          field("pool")]  # fmt: skip
    print_table(document["vips"], vips, "no VIP: the policy has none yet")
    if document["members"]:
        console().print(table(document["members"], MEMBER_COLUMNS))
    print_table(document["incidents"], INCIDENT_COLUMNS, "no open incident")


def members(
    pool: Annotated[str | None, typer.Argument(help="Only this pool.")] = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    as_json: Json = False,
) -> None:
    """Show members: health, weight, resets."""
    client = Client(url, token)
    if pool is None:
        rows = members_of(client)
    else:
        rows = [
            {"pool": pool, **member} for member in client.items(f"/v1/pools/{_segment(pool)}/members", limit=100_000)
        ]
    print_json(rows) if as_json else print_table(rows, MEMBER_COLUMNS, "no member")


def links(url: Url = DEFAULT_URL, token: TokenText = None, as_json: Json = False) -> None:
    """Show links: capacity, use, loss, delay."""
    rows = Client(url, token).items("/v1/links", limit=100_000)
    print_json(rows) if as_json else print_table(rows, LINK_COLUMNS, "no link between switches is known")


def resets(
    since: Annotated[str | None, typer.Option(help="RFC 3339 time, 2026-01-31T12:00:00Z.")] = None,
    vip: Annotated[str | None, typer.Option(help="Only this VIP.")] = None,
    member: Annotated[str | None, typer.Option(help="Only this member (pool/member).")] = None,
    client_address: Annotated[str | None, typer.Option("--client", help="Only this client.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only this cause.")] = None,
    limit: Limit = 50,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    as_json: Json = False,
) -> None:
    """Show sampled reset segments, newest first."""
    rows = Client(url, token).items(
        "/v1/resets", limit, since=since, vip=vip, member=member, client=client_address, cause=cause
    )
    print_json(rows) if as_json else print_table(rows, RESET_COLUMNS, "no reset seen")


def incidents(
    incident: Annotated[str | None, typer.Argument(metavar="[ID]", help="One incident in full.")] = None,
    state: Annotated[IncidentState | None, typer.Option(help="Only these.")] = None,
    limit: Limit = 50,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    as_json: Json = False,
) -> None:
    """Show incidents, or one in full.

    With an id: its causes, evidence and actions.
    """
    client = Client(url, token)
    if incident is not None:
        found = client.get(f"/v1/incidents/{_segment(incident)}")
        print_json(found) if as_json else _print_incident(found)
        return
    rows = client.items("/v1/incidents", limit, state=state)
    print_json(rows) if as_json else print_table(rows, INCIDENT_COLUMNS, "no incident")


def _print_incident(incident: Mapping[str, Any]) -> None:
    out = console()
    out.print(table([incident], INCIDENT_COLUMNS))
    likely = sorted(incident["posterior"].items(), key=lambda item: -item[1])
    out.print("causes: " + ", ".join(f"{cause} {share:.0%}" for cause, share in likely), markup=False)
    out.print(table(incident["evidence"], [field("name"), field("value"), field("weight"), field("text")], "Evidence"))
    out.print(table(incident["actions"], [field("time"), field("action"), field("target"), field("result")], "Actions"))


def explain(
    src: Annotated[str, typer.Argument(help="Client address.")],
    dst: Annotated[str, typer.Argument(help="Destination, a VIP for instance.")],
    dst_port: Annotated[int, typer.Argument(help="Destination port.")],
    src_port: Annotated[int | None, typer.Option(help="Client port.")] = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    as_json: Json = False,
) -> None:
    """Say where a connection would go, and why."""
    answer = Client(url, token).get("/v1/explain", src=src, dst=dst, dst_port=dst_port, src_port=src_port)
    if as_json:
        print_json(answer)
        return
    rows = [{"what": name, "answer": value} for name, value in answer.items()]
    print_table(rows, [field("what"), field("answer")], "no answer")


def automation(
    mode: Annotated[Mode | None, typer.Argument(help="Change to this mode.")] = None,
    percent: Annotated[int | None, typer.Option(min=0, max=100, help="Share of incidents acted on.")] = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    as_json: Json = False,
) -> None:
    """Show or change how far it acts by itself.

    dry-run records what would be done; frozen stops all automatic action.
    """
    client = Client(url, token)
    change = {"mode": mode, "enforce_percent": percent}
    change = {name: value for name, value in change.items() if value is not None}
    answer = client.send("PUT", "/v1/automation", change) if change else client.get("/v1/automation")
    if as_json:
        print_json(answer)
    else:
        print(f"automation: {answer['mode']}, on {answer['enforce_percent']} % of incidents")


def _segment(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
