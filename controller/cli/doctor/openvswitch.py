"""The Open vSwitch of this machine, if it has one: its bridges as ovs-vsctl(8) and ovs-appctl(8) show them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from controller.cli.doctor.fabric import NEEDED_OPEN_VSWITCH
from controller.cli.doctor.findings import Finding, good, unknown, version_of, wrong

NEEDED_FEATURES = ("Recirc", "CT state", "CT zone", "CT mark", "CT state NAT", "CT orig tuple", "Conntrack clear")
"""Of the datapath, as ``dpif/show-dp-features`` names them."""


def examine() -> Iterator[Finding]:
    """Look at every bridge that has a controller."""
    if shutil.which("ovs-vsctl") is None:
        yield unknown("Open vSwitch", "is not installed here", "run this on the switches' machines too")
        return
    try:
        running = _run("ovs-appctl", "version").split()
        bridges = _list("bridge", "name", "controller", "fail_mode", "protocols", "datapath_type")
        controllers = {row["_uuid"]: row for row in _list("controller", "_uuid", "target", "is_connected", "status")}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        yield unknown("Open vSwitch", f"does not answer: {reason}", "is it started? Only root may ask it")
        return
    found = next((text for text in running if version_of(text)), None)
    if (version_of(found) or ()) < NEEDED_OPEN_VSWITCH:
        yield wrong("Open vSwitch", f"is version {found}", "3.1 or later is needed")
    else:
        yield good("Open vSwitch", f"is version {found}")
    ours = [bridge for bridge in bridges if bridge["controller"]]
    if not ours:
        yield wrong(
            "bridges",
            "none has a controller",
            "ovs-vsctl set-controller br0 tcp:127.0.0.1:6653, of a bridge you can spare",
        )
    for bridge in ours:
        yield from _bridge(
            bridge, [controllers[uuid] for uuid in _several(bridge["controller"]) if uuid in controllers]
        )


def _bridge(bridge: dict[str, Any], controllers: list[dict[str, Any]]) -> Iterator[Finding]:
    name = bridge["name"]
    check = f"bridge {name}"
    yield from _connection(check, controllers)
    protocols = _several(bridge["protocols"])
    if protocols and "OpenFlow13" not in protocols:
        yield wrong(check, f"speaks {', '.join(protocols)}", f"ovs-vsctl set bridge {name} protocols=OpenFlow13")
    if bridge["fail_mode"] != "secure":
        yield wrong(
            check, "becomes a plain switch when the controller is away", f"ovs-vsctl set bridge {name} fail_mode=secure"
        )
    yield _datapath(check, name)
    if bridge["datapath_type"] == "netdev":
        yield from _offload(check, name)


def _connection(check: str, controllers: list[dict[str, Any]]) -> Iterator[Finding]:
    for controller in controllers:
        if controller["is_connected"]:
            yield good(check, f"is connected to {controller['target']}")
        else:
            reason = dict(controller["status"]).get("last_error", "no answer")
            yield wrong(
                check,
                f"is not connected to {controller['target']}: {reason}",
                "is resetlb running there, with that --listen and TLS?",
            )


def _datapath(check: str, name: str) -> Finding:
    try:
        said = _run("ovs-appctl", "dpif/show-dp-features", name)
    except (OSError, subprocess.SubprocessError):
        return unknown(check, "what its datapath can was not told", "run as root")
    features = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    lacking = [feature for feature in NEEDED_FEATURES if features.get(feature) == "No"]
    if lacking:
        return wrong(check, f"its datapath lacks {', '.join(lacking)}", "a newer kernel, or datapath_type=netdev")
    return good(check, "its datapath tracks and translates connections")


def _offload(check: str, name: str) -> Iterator[Finding]:
    """Where the userspace datapath meets segments whose checksum the sender left to hardware, its tracker calls them invalid."""
    on, unseen = [], []
    for port in _run("ovs-vsctl", "list-ports", name).split():
        peer = _veth_peer(port)
        if peer is None:
            continue
        if peer == "":
            unseen.append(port)
        elif "tx-checksumming: on" in _run("ethtool", "-k", peer):
            on.append(peer)
    if on:
        yield wrong(
            check, f"TX checksum offload is on at {', '.join(on)}", "transfers hang: ethtool -K INTERFACE tx off"
        )
    if unseen:
        yield unknown(
            check, f"whether TX checksum offload is off behind {', '.join(unseen)} is not to be seen from here",
            "there: ethtool -K INTERFACE tx off, or transfers hang",
        )  # fmt: skip


def _veth_peer(port: str) -> str | None:
    """Return a veth's other end: its name, "" when it is in another namespace, None when this is no veth."""
    try:
        (link,) = json.loads(_run("ip", "-json", "-details", "link", "show", "dev", port))
    except (subprocess.SubprocessError, ValueError):
        return None
    if link.get("linkinfo", {}).get("info_kind") != "veth":
        return None
    return "" if "link_netnsid" in link else str(link.get("link") or "")


def _list(table: str, *columns: str) -> list[dict[str, Any]]:
    said = json.loads(
        _run("ovs-vsctl", "--timeout=3", "--format=json", f"--columns={','.join(columns)}", "list", table)
    )
    return [dict(zip(said["headings"], map(_value, row), strict=True)) for row in said["data"]]


def _value(value: Any) -> Any:
    """Write a value of OVSDB (RFC 7047 §5.1) as Python has it."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "uuid":
        return content
    if kind == "set":
        return [_value(item) for item in content] or ""
    return content  # a map, as pairs


def _several(value: Any) -> list[str]:
    """One value of a set is written without it."""
    return value if isinstance(value, list) else [value] if value else []


def _run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=5, check=True).stdout
