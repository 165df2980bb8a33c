"""Commands that show what the controller sees, and how far it acts by itself."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from controller.cli.client import Client
from controller.cli.options import DEFAULT_URL, Ca, Json, Limit, TokenText, Url
from controller.cli.output import Column, endpoint, field, moment, print_json, print_table

NO_SWITCH = (
    "Connect a switch, with Open vSwitch for instance:\n"
    "  ovs-vsctl set bridge br0 protocols=OpenFlow13 fail_mode=secure\n"
    "  ovs-vsctl set-controller br0 tcp:127.0.0.1:6653\n"
    "and if it stays away: resetlb doctor"
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


MEMBER_COLUMNS = [
    Column("member", lambda row: f"{row['pool']}/{row['name']}"),
    Column("address", lambda row: f"{row['address']}:{row['port']}", 3),
    field("health"),
    Column("state", lambda row: row["admin_state"]),
    Column("weight", lambda row: f"{row['effective_weight']} of {row['weight']}"),
    Column("ejected until (UTC)", lambda row: moment(row["ejected_until"])),
    Column("conn/s", lambda row: row["connections_per_s"]),
    Column("resets/s", lambda row: total(row["resets_per_s"])),
    Column("of which", lambda row: rates(row["resets_per_s"]), 1),
    Column("active", lambda row: row["connections_active"], 4),
    Column("handshake ms", lambda row: row["handshake_ms"], 2),
    Column("answered", lambda row: row["handshake_ratio"], 6),
    Column("MB to/from", lambda row: megabytes(row["bytes_to"], row["bytes_from"]), 6),
    field("load", 5),
    Column("agent", lambda row: agent(row["agent"]), 4),
]
INCIDENT_COLUMNS = [
    field("id"),
    Column("subject", lambda row: f"{row['subject']['type']} {row['subject']['id']}"),
    field("cause"),
    Column("likely", lambda row: f"{row['confidence']:.0%}"),
    field("resets"),
    Column("opened (UTC)", lambda row: moment(row["opened"]), 2),
    Column("closed (UTC)", lambda row: moment(row["closed"]) or "open", 3),
    Column("actions", lambda row: [action["action"] for action in row["actions"]], 1),
]
RESET_COLUMNS = [
    Column("time (UTC)", lambda row: moment(row["time"], fraction=True)),
    field("vip", 2),
    field("client"),
    field("member"),
    field("kind"),
    field("cause"),
    field("stage", 1),
    field("sender", 3),
    field("entry_port", 1),
    field("ttl", 4),
]
LINK_COLUMNS = [
    Column("from", lambda row: endpoint(row["src"])),
    Column("to", lambda row: endpoint(row["dst"])),
    Column("Mbit/s", lambda row: row["capacity_bps"] / 1e6),
    Column("used %", lambda row: row.get("utilisation_pct")),
    Column("loss %", lambda row: row.get("loss_pct")),
    Column("delay ms", lambda row: row.get("delay_ms")),
    Column("weight", lambda row: row.get("weight"), 3),
    Column("drops", lambda row: row.get("queue_drops"), 2),
    Column("congested", lambda row: row.get("congested"), 1),
]
NODE_COLUMNS = [
    Column("controller", lambda row: row["name"]),
    field("version", 1),
    Column("API", lambda row: row["api"], 2),
    Column("switches", lambda row: len(row["switches"])),
    Column("master of", lambda row: len(row["master_of"])),
]


def total(per_kind: Mapping[str, float] | None) -> float | None:
    """Add up reset rates by kind; None when nobody has counted."""
    return round(sum(per_kind.values()), 2) if per_kind else None


def megabytes(to_member: int | None, from_member: int | None) -> str | None:
    """Write bytes both ways: `1.2/340.0`; None where nobody has counted."""
    if to_member is None or from_member is None:
        return None
    return f"{to_member / 1e6:.1f}/{from_member / 1e6:.1f}"


def agent(said: Mapping[str, Any] | None) -> str | None:
    """Write what a member's agent makes of it: `drain`, `up 75 %`, `down (disk full)`."""
    if said is None:
        return None
    percent = "" if said["percent"] is None else f" {said['percent']} %"
    why = said["trouble"] or said["description"]
    return f"{said['state']}{percent}" + (f" ({why})" if why else "")


def rates(per_kind: Mapping[str, float] | None) -> str | None:
    """Write reset rates by kind, those that are not zero."""
    return ", ".join(f"{kind} {rate:.3g}" for kind, rate in sorted((per_kind or {}).items()) if rate) or None


def members_of(pools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List the members of all pools, each with its pool's name."""
    return [{"pool": pool["name"], **member} for pool in pools for member in pool["members"]]


def status(url: Url = DEFAULT_URL, token: TokenText = None, ca: Ca = None, as_json: Json = False) -> None:
    """Show at a glance whether all is well."""
    client = Client(url, token, ca)
    state = client.get("/v1/status")
    document = {
        "health": {name: value for name, value in state.items() if name != "cluster"},
        "cluster": state["cluster"],
        "automation": client.get("/v1/automation"),
        "vips": client.items("/v1/vips", limit=100_000),
        "members": members_of(client.items("/v1/pools", limit=100_000)),
        "incidents": client.items("/v1/incidents", limit=100, state="open"),
    }
    if as_json:
        print_json(document)
    else:
        _print_status(document)


def _print_status(document: Mapping[str, Any]) -> None:
    health, automation = document["health"], document["automation"]
    reason = f" ({health['reason']})" if health["reason"] else ""
    switches = "1 switch connected" if health["switches"] == 1 else f"{health['switches']} switches connected"
    print(f"ResetLB {health['version']}: {health['status']}{reason}, {switches}")
    print(f"automation: {automation['mode']}, on {automation['enforce_percent']} % of incidents")
    cluster = document["cluster"]
    if cluster is not None:
        print_table(cluster["nodes"], NODE_COLUMNS, "no controller has a lease")
        print(f"(as {cluster['node']} sees it)")
    elif health["switches"] == 0:
        print(NO_SWITCH)
    address = Column("address", lambda row: f"{row['address']}:{row['port']}")
    for rows, columns, empty in (
        (
            document["vips"],
            [Column("vip", lambda row: row["name"]), address, field("pool")],
            "no VIP: the policy has none yet",
        ),
        (document["members"], MEMBER_COLUMNS, "no member: the policy has none yet"),
        (document["incidents"], INCIDENT_COLUMNS, "no open incident"),
    ):
        print()
        print_table(rows, columns, empty)


def members(
    pool: Annotated[str | None, typer.Argument(help="Only this pool.")] = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Show members: health, weight, resets."""
    client = Client(url, token, ca)
    if pool is None:
        rows = members_of(client.items("/v1/pools", limit=100_000))
    else:
        rows = [
            {"pool": pool, **member} for member in client.items(f"/v1/pools/{_segment(pool)}/members", limit=100_000)
        ]
    print_json(rows) if as_json else print_table(rows, MEMBER_COLUMNS, "no member")


def links(url: Url = DEFAULT_URL, token: TokenText = None, ca: Ca = None, as_json: Json = False) -> None:
    """Show links: capacity, use, loss, delay."""
    rows = Client(url, token, ca).items("/v1/links", limit=100_000)
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
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Show sampled reset segments, newest first."""
    rows = Client(url, token, ca).items(
        "/v1/resets", limit, since=since, vip=vip, member=member, client=client_address, cause=cause
    )
    print_json(rows) if as_json else print_table(rows, RESET_COLUMNS, "no reset seen")


def incidents(
    incident: Annotated[str | None, typer.Argument(metavar="[ID]", help="One incident in full.")] = None,
    state: Annotated[IncidentState | None, typer.Option(help="Only these.")] = None,
    limit: Limit = 50,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Show incidents, or one in full.

    With an id: its causes, evidence and actions.
    """
    client = Client(url, token, ca)
    if incident is not None:
        found = client.get(f"/v1/incidents/{_segment(incident)}")
        print_json(found) if as_json else _print_incident(found)
        return
    rows = client.items("/v1/incidents", limit, state=state)
    print_json(rows) if as_json else print_table(rows, INCIDENT_COLUMNS, "no incident")


def _print_incident(incident: Mapping[str, Any]) -> None:
    print_table([incident], INCIDENT_COLUMNS)
    likely = sorted(incident["posterior"].items(), key=lambda item: -item[1])
    print("\ncauses: " + ", ".join(f"{cause} {share:.0%}" for cause, share in likely) + "\n")
    evidence = [field("text"), Column("speaks for it", lambda row: row["weight"]), field("name", 1), field("value", 1)]
    print_table(incident["evidence"], evidence, "no evidence", "Evidence")
    print()
    actions = [Column("time (UTC)", lambda row: moment(row["time"])), field("action"), field("target"), field("result")]
    print_table(incident["actions"], actions, "nothing was done", "Actions")


def explain(
    src: Annotated[str, typer.Argument(help="Client address.")],
    dst: Annotated[str, typer.Argument(help="Destination, a VIP for instance.")],
    dst_port: Annotated[int, typer.Argument(help="Destination port.")],
    src_port: Annotated[int | None, typer.Option(help="Client port.")] = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Say where a connection would go, and why."""
    answer = Client(url, token, ca).get("/v1/explain", src=src, dst=dst, dst_port=dst_port, src_port=src_port)
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
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Show or change how far it acts by itself.

    dry-run records what would be done; frozen stops all automatic action.
    """
    client = Client(url, token, ca)
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
