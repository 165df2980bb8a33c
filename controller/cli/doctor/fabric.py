"""What the running controller says of itself and of its switches."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from controller.cli import CommandError
from controller.cli.client import Client
from controller.cli.doctor.findings import Finding, good, unknown, version_of, wrong

NEEDED_OPEN_VSWITCH = (3, 1)
_UPGRADE = "Open vSwitch 3.1 or later has NXT_CT_FLUSH, which redispatch and reused ports need"
_ERRORS = "the controller's log lines of kind switch-error say which; see Trouble in docs/operations.md"


def answers(client: Client) -> bool:
    """Whether a controller answers; raises nothing."""
    try:
        client.get("/v1/health")
    except CommandError:
        return False
    return True


def examine(client: Client) -> Iterator[Finding]:
    """Look at the controller through its API."""
    try:
        health = client.get("/v1/status")
        switches = client.items("/v1/switches", limit=100_000)
    except CommandError as error:
        text, _, advice = str(error).partition("\n")
        yield unknown("controller", text.rstrip("."), advice or None)
        return
    yield _version(health["version"])
    reason = health["reason"] or ""
    if reason.startswith("state cannot be saved"):
        yield wrong("state", reason, "make room on that disk; what waits is written then")
    if health["cluster"] is not None:
        yield from _cluster(health["cluster"])
    elif not any(switch["connected"] for switch in switches):
        yield wrong(
            "switches",
            "none is connected",
            "ovs-vsctl set-controller br0 tcp:ADDRESS:6653, of an address that --listen has",
        )
    for switch in switches:
        yield from _switch(switch)


def _cluster(cluster: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether somebody would take over (docs/cluster.md)."""
    if cluster["trouble"]:
        yield wrong("cluster", f"cannot be reached: {cluster['trouble']}", "is etcd up, and reachable from here?")
        return
    nodes = cluster["nodes"]
    switches = {dpid for node in nodes for dpid in node["switches"]}
    for node in nodes:
        name, missing = f"controller {node['name']}", sorted(switches - set(node["switches"]))
        if missing:
            yield wrong(
                name,
                f"lacks {len(missing)} switches, as {missing[0]}",
                "ovs-vsctl set-controller with every controller",
            )
        else:
            yield good(name, f"has {len(switches)} switches, is master of {len(node['master_of'])}")
    if len(nodes) == 1:
        yield wrong("cluster", "there is one controller: nobody would take over", "start another one with --cluster")
    if not switches <= cluster["masters"].keys():
        yield unknown("cluster", "a switch has no master", "ask again in a second")


def _version(running: str) -> Finding:
    mine = version("resetlb")
    if running == mine:
        return good("controller", f"answers, version {running}")
    return wrong(
        "controller", f"runs version {running}, this is {mine}", "restart the controller, or use its own resetlb"
    )


def _switch(switch: Mapping[str, Any]) -> Iterator[Finding]:
    name = f"switch {switch['dpid']}"
    if not switch["connected"] and switch.get("master"):
        yield good(name, f"is controller {switch['master']}'s")
        return
    if not switch["connected"]:
        yield wrong(
            name, "is away; it forwards on its own", "on its machine, is_connected in: ovs-vsctl list controller"
        )
        return
    about = switch.get("about") or {}
    yield _software(name, about)
    if about.get("select_groups") is False:
        yield wrong(name, "has no select groups", "no VIP can be balanced there: connect an Open vSwitch")
    if about.get("max_meters") == 0:
        yield wrong(name, "has no meters", "its entries that limit what reaches the controller are refused")
    if switch.get("refused"):
        yield wrong(name, f"refused {switch['refused']} messages since it connected", _ERRORS)
    elif switch.get("reconciled"):
        yield good(name, f"has what it shall have, {switch.get('flows')} entries; refused nothing")
    else:
        yield unknown(name, "is being brought up to date", "ask again in a second")


def _software(name: str, about: Mapping[str, Any]) -> Finding:
    found = version_of(about.get("software"))
    if about.get("hardware") != "Open vSwitch":
        said = " ".join(filter(None, (about.get("manufacturer"), about.get("hardware"), about.get("software"))))
        return unknown(
            name, f"is {said or 'silent about itself'}, which nobody has tried", "it needs ct, learn and NXM registers"
        )
    if found is None or found < NEEDED_OPEN_VSWITCH:
        return wrong(name, f"is Open vSwitch {about.get('software')}", _UPGRADE)
    return good(name, f"is Open vSwitch {about['software']}")
