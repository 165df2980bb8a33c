"""What the running controller measures, as Prometheus has it: names without the prefix, base units, labels from closed sets or the policy.

No client's address is ever a label. What nobody measured has no sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from apps.link_documents import link_measurements
from controller.api.service import Distribution, Measurement
from controller.causes import Cause
from controller.core import Core
from controller.full_trackers import UNTRACKED
from controller.pipeline import Meter

FEWEST_PER_S = 0.1
"""Below, a share of what comes per second says nothing."""
_RESETS = (
    "TCP reset segments. Sums over stage and cause are exact, by the switches' flow counters; stage and cause themselves are those of "
    "mirrored (sampled) resets, both unknown where the mirror's meter left resets out. Cause none: no incident was going on."
)


def measurements(core: Core, now: float) -> Iterator[Measurement | Distribution]:
    """Everything that the core knows, beside the members' state."""
    yield from _connections(core)
    yield from _diagnosis(core)
    yield from _isolation(core)
    yield from link_measurements(core, now)


def _connections(core: Core) -> Iterator[Measurement]:
    for reset, total in core.tally.resets(core.counters):
        yield Measurement("resets", _RESETS, "counter", total, reset._asdict())
    for counted, total in core.counters.totals().items():
        if counted[0] == "handshake" and len(counted) == 3:
            labels = {"vip": counted[1], "member": counted[2]}
            yield Measurement("handshakes", "SYN-ACKs of members, by flow counters.", "counter", total, labels)
        elif counted[0] == "closed" and len(counted) == 3:
            labels = {"vip": counted[1], "member": counted[2]}
            yield Measurement(
                "connections_closed", "Connections that saw a FIN, by flow counters.", "counter", total, labels
            )
        elif counted[0] == "injected":
            text = "Resets that did not enter at the port of the address they carry, by flow counters."
            yield Measurement("resets_injected", text, "counter", total, {"port": counted[1]})
    for vip, settings in core.policy.vips.items():
        number = str(core.services.vip_number(vip))
        opened = core.counters.total("connection", number)
        if opened is None:
            continue
        text = "SYNs to a VIP that were given to a member, by flow counters."
        yield Measurement("connections", text, "counter", opened, {"vip": vip})
        rate = core.counters.rate("connection", number)
        names = [member.policy.name for member in core.services.pools.of(settings.pool)]
        answered = sum(core.counters.rate("handshake", vip, name) or 0.0 for name in names)
        if rate and rate >= FEWEST_PER_S:
            text = "Share of the VIP's SYNs that a member answered, of late; 1 when all are."
            yield Measurement("vip_handshake_ratio", text, "gauge", min(1.0, answered / rate), {"vip": vip})


def _diagnosis(core: Core) -> Iterator[Measurement]:
    going_on = Counter(incident.cause for incident in core.investigation.incidents.open.values())
    for cause in Cause:
        labels = {"cause": cause.value}
        text = "Incidents, by the likeliest cause once it has settled."
        yield Measurement("incidents", text, "counter", core.tally.incidents[cause.value], labels)
        yield Measurement("incidents_open", "Incidents going on now.", "gauge", going_on[cause], labels)
    for (action, result), total in core.tally.actions.items():
        text = "Actions about incidents: done, not-done (a safety limit or no way), dry-run."
        yield Measurement("actions", text, "counter", total, {"action": action, "result": result})
    for (action, effect), total in core.tally.effects.items():
        text = "Actions whose effect was measured: helped, or reverted because they did not."
        yield Measurement("action_effects", text, "counter", total, {"action": action, "effect": effect})


def _isolation(core: Core) -> Iterator[Measurement]:
    text = "Clients kept out at present."
    yield Measurement("quarantine_entries", text, "gauge", len(core.quarantine.entries))
    for meter in Meter:
        labels = {"meter": meter.name.lower().replace("_", "-")}
        text = "Packets for the controller that a switch's meter dropped."
        yield Measurement("metered_drops", text, "counter", core.readings.dropped.totals[meter], labels)
    text = "Mirrored resets of a flood of which nothing is known but that they came; the switches count them."
    yield Measurement("resets_left_out", text, "counter", core.bulk.left_out)
    totals = core.counters.totals()
    dropped = sum(total for counted, total in totals.items() if counted[0] == "quarantine")
    yield Measurement("quarantine_hits", "Packets of quarantined clients, by flow counters.", "counter", dropped)
    for counted, total in totals.items():
        if counted[0] == "rule":
            text = "Packets that a firewall rule matched, by flow counters."
            yield Measurement("firewall_hits", text, "counter", total, {"rule": counted[1]})
    verdicts = sum(len(kept) for kept in core.firewall.inspector.verdicts.values())
    yield Measurement(
        "firewall_verdicts", "Verdicts on first packets that switches keep at present.", "gauge", verdicts
    )
    text = "Decisions of the firewall that its log did not keep, for there were too many."
    yield Measurement("firewall_log_suppressed", text, "counter", core.firewall.log.suppressed_total)
    text = "Host ports that open more connections than they may, at present."
    yield Measurement("syn_flood_ports", text, "gauge", len(core.floods.since))
    text = "Flow entries that switches refused because a table is full."
    yield Measurement("flow_table_full", text, "counter", sum(core.full_tables.counts.values()))
    text = "New connections that a switch's tracker had no room for, by flow counters."
    for counted, total in totals.items():
        if counted[0] == UNTRACKED:
            yield Measurement("connections_untracked", text, "counter", total, {"dpid": counted[1]})
