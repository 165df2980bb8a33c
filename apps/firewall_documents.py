"""What the firewall remembers, as the API gives it."""

from __future__ import annotations

from controller import addresses
from controller.api.service import JsonObject
from controller.api.times import rfc3339
from controller.classifier import NAMES
from controller.firewall_log import Logged
from controller.hosts import place_name
from controller.observation import WouldRefuse


def logged(one: Logged) -> JsonObject:
    """A line of the firewall's log (``documents.FirewallVerdict``)."""
    packet = one.packet
    return {
        "serial": one.serial, "time": rfc3339(one.time), "rule": one.rule, "action": one.action, "dry_run": one.dry_run,
        "src": addresses.text(packet.src), "src_port": packet.src_port or None, "dst": addresses.text(packet.dst),
        "dst_port": packet.dst_port or None, "protocol": NAMES.get(packet.protocol, str(packet.protocol)),
        "place": place_name((one.dpid, one.in_port)), "suppressed": one.suppressed,
    }  # fmt: skip


def would_refuse(found: WouldRefuse) -> JsonObject:
    """What would have been refused (``documents.WouldRefuse``)."""
    seen, times = found.seen, found.times
    return {
        "rule": found.rule, "action": found.action, "src": addresses.text(seen.src), "dst": addresses.text(seen.dst),
        "protocol": NAMES.get(seen.protocol, str(seen.protocol)), "dst_port": seen.dst_port or None,
        "connections": times.count, "first": rfc3339(times.first), "last": rfc3339(times.last),
    }  # fmt: skip
