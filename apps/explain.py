"""Where would this connection go, and why: answered by the tables that are in force, not by a second opinion."""

from __future__ import annotations

from typing import Any

from controller import addresses, firewall, isolation, timetable
from controller.core import Core
from controller.hosts import place_name
from controller.topology import Host
from controller.zone_rules import default_of


def explain(core: Core, now: float, src: str, dst: str, src_port: int | None, dst_port: int) -> dict[str, Any]:
    """The way of a TCP connection: firewall verdict, VIP, members in question with their shares, paths."""
    answer: dict[str, Any] = {
        "src": src,
        "dst": dst,
        "src_port": src_port,
        "dst_port": dst_port,
        "verdict": "allow",
        "reasons": [],
    }
    if (":" in src) != (":" in dst):
        return answer | {"verdict": "drop", "reasons": ["nothing translates between IPv4 and IPv6"]}
    source = core.topology.hosts.get(addresses.number(src))
    target = addresses.number(dst)
    refused = _refused(core, now, addresses.number(src), target, dst_port)
    if refused is not None:
        return answer | refused
    if source is None:
        answer["reasons"].append(
            f"{src} has not been heard of: its first packet is shown to the controller, which learns it"
        )
        return answer
    answer["edge"] = f"{source.dpid:016x}"
    service = core.services.service_at(target, dst_port, now)
    if service is not None:
        return answer | _balanced(core, source, service, answer)
    if target in {vip.address for vip in core.services.current(now)}:
        answer["verdict"] = "drop"
        answer["reasons"].append(f"{dst} is a VIP, and nothing is served at port {dst_port}")
        return answer
    host = core.topology.hosts.get(target)
    if host is None:
        answer["reasons"].append(f"{dst} has not been heard of: it is asked for at every host port")
    else:
        answer["path"] = _path(core, source, host)
    return answer


def _refused(core: Core, now: float, source: int, target: int, dst_port: int) -> dict[str, Any] | None:
    """Quarantine, then the firewall: what they do with it, None when they let it pass."""
    host = core.topology.hosts.get(source)
    entry = isolation.kept_from(core.quarantine, host, target, dst_port) if host else None
    if entry is not None:
        why = f"{entry.client} is in quarantine ({entry.id}, {entry.action}): {entry.reason or 'by hand'}"
        return {"verdict": "drop", "reasons": [why]}
    policy = core.in_force.firewall
    zoning, hosts = core.zoning, core.topology.hosts
    zones = zoning.of_address(source, hosts.get(source)), zoning.of_address(target, hosts.get(target))
    if zones[0] in zoning.unfiltered:
        return None
    rules = zoning.concerning(timetable.active_rules(policy, now), *zones)
    action, rule = firewall.verdict(policy, rules, source, target, dst_port)
    if rule == firewall.DEFAULT_ID:
        action, rule = default_of(zoning, policy, *zones)
    if action in ("allow", "limit"):
        return None
    return {"verdict": action, "rule": rule, "reasons": [f"firewall rule {rule}: {action}"]}


def _balanced(core: Core, source: Host, service: Any, answer: dict[str, Any]) -> dict[str, Any]:
    total = sum(choice.weight for choice in service.choices)
    members = []
    for choice in service.choices:
        member = core.services.member(choice.number)
        if member is None:
            continue
        host = core.topology.hosts[choice.address]
        name, share = f"{member.pool}/{member.policy.name}", round(choice.weight / total, 4)
        members.append({"member": name, "weight": choice.weight, "share": share, "path": _path(core, source, host)})
    reasons = [*answer["reasons"]]
    if not members:
        reasons.append("no member takes new connections: the client is refused")
    return {
        "vip": core.services.vip_name(service.number),
        "group": f"{service.group_id:#x}",
        "members": members,
        "reasons": reasons,
    }


def _path(core: Core, source: Host, target: Host) -> list[list[str]]:
    """For each hop the ports it may leave by."""
    hops: list[list[str]] = []
    at = source.dpid
    while at != target.dpid and len(hops) < len(core.topology.switches):
        ports = core.topology.next_hops(at, target.dpid)
        if not ports:
            return []
        hops.append([place_name((at, port)) for port in ports])
        at = core.topology.links[at, ports[0]][0]
    return [*hops, [place_name(target.endpoint)]]
