"""The firewall as a network function: its rules, what it is asked by packet-ins, what it remembers of what it decided.

Owns the rulebook, the verdicts that switches keep, the log, and what was seen of new connections. Methods return decisions; what shall
stand on the switches it says by `rulebook.flows` and by `changed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller import inspection_gate, timetable
from controller.classifier import Classifier, FirstPacket, read_first_packet
from controller.decisions import Decision, InstallFlow, RemoveFlow, RemoveMeter
from controller.events import FlowCounted, PacketSeen
from controller.firewall import DEFAULT_ID
from controller.firewall_log import FirewallLog
from controller.flows import FlowEntry, Purpose, purpose_of
from controller.inspection import Inspector
from controller.observation import Observations, WouldRefuse, decide
from controller.pipeline import Table
from controller.policy import Firewall, Rule
from controller.reconcile import Installed, is_budget
from controller.rulebook import Rulebook
from controller.zoning import FROM, TO

Reject = Callable[[PacketSeen, str | None, float], list[Decision]]


class VirtualFirewall:
    """Judges first packets, and remembers."""

    def __init__(self, reject: Reject) -> None:
        self.rulebook = Rulebook()
        self.inspector = Inspector()
        self.log = FirewallLog()
        self.observations = Observations()
        self.changed = False
        self._reject = reject
        self._settings = Firewall()
        self._active: tuple[Rule, ...] = ()
        self._next_gate = 0.0

    # --- rules -----------------------------------------------------------------------------------------------------------------

    def apply(self, settings: Firewall, now: float) -> list[Decision]:
        """Take the policy's firewall: entries follow it, cached verdicts are revoked."""
        if settings == self._settings and self.rulebook.priorities:
            return self.follow_schedules(now)
        self._settings = settings
        return self._take(timetable.active_rules(settings, now))

    def follow_schedules(self, now: float) -> list[Decision]:
        """Rules come into force and leave it by the clock."""
        active = timetable.active_rules(self._settings, now)
        return self._take(active) if active != self._active else []

    def _take(self, rules: tuple[Rule, ...]) -> list[Decision]:
        self._active = rules
        self.changed = True
        return [*self.rulebook.apply(self._settings, rules), *self.inspector.revoke()]

    def preview(self, settings: Firewall, now: float) -> Rulebook:
        """The rulebook as another policy would have it."""
        return self.rulebook.preview(settings, timetable.active_rules(settings, now))

    # --- packets ---------------------------------------------------------------------------------------------------------------

    def on_inspected(self, event: PacketSeen, now: float) -> list[Decision]:
        """A first packet waits for a verdict."""
        packet = _first_packet(event)
        if packet is None:
            return []
        decisions, rule, action = self.inspector.judge(event, packet, self.rulebook, now)
        name = rule.id if rule else DEFAULT_ID
        self._note(event, packet, name, action, now)
        return decisions + (self._reject(event, name, now) if action == "reject" else [])

    def on_logged(self, event: PacketSeen, now: float) -> list[Decision]:
        """A copy of a first packet that a rule which logs has decided on already."""
        packet = _first_packet(event)
        if packet is not None:
            rule, action = decide(self.rulebook.enforced, self._settings.default, packet)
            self._note(event, packet, rule.id if rule else DEFAULT_ID, action, now)
        return []

    def on_observed(self, event: PacketSeen, now: float) -> list[Decision]:
        """A copy of a first packet on its way to the firewall."""
        packet = _first_packet(event)
        if packet is None:
            return []
        self.observations.add(packet, now)
        rule = self.rulebook.tried.first(packet)
        if rule is not None and rule.dry_run:
            in_port = event.fields.get("in_port", 0)
            self.log.add(now, event.dpid, in_port, packet, rule.id, rule.action.value, dry_run=True)
        return []

    def on_rejected(self, event: PacketSeen, rule: str | None, now: float) -> list[Decision]:
        """A packet that a rule rejects, new or of an open connection: answered."""
        packet = _first_packet(event)
        if packet is not None and rule is not None:
            self._note(event, packet, rule, "reject", now)
        return self._reject(event, rule, now)

    def _note(self, event: PacketSeen, packet: FirstPacket, rule: str, action: str, now: float) -> None:
        self.observations.add(packet, now)
        self.log.add(now, event.dpid, event.fields.get("in_port", 0), packet, rule, action)

    def on_counted(self, event: FlowCounted, now: float) -> list[Decision]:
        """What the switch still keeps of verdicts."""
        if event.table_id != Table.FIREWALL:
            return []
        return self.inspector.on_counted(event.dpid, event.packets, now)

    def would_have_refused(self, now: float, other: Firewall | None = None) -> list[WouldRefuse]:
        """What passed in the last hour and would not have, had rules that are tried out acted, or another firewall been in force."""
        in_force = self.rulebook.enforced, self._settings.default.value
        tried = self.rulebook.tried, self._settings.default.value
        if other is not None:
            rules = timetable.active_rules(other, now)
            ordered = sorted(enumerate(rules), key=lambda item: (-item[1].priority, item[0]))
            tried = Classifier(rule for _, rule in ordered), other.default.value
        return list(self.observations.would_refuse(in_force, tried, now))

    # --- switches --------------------------------------------------------------------------------------------------------------

    @property
    def inspecting(self) -> bool:
        """Whether some rule has its first packets judged here."""
        return any(rule.inspected for rule in self._active)

    def on_connected(self, dpid: int, installed: Installed) -> list[Decision]:
        """A switch may still keep verdicts of an earlier run, and they may be wrong by now."""
        self.inspector.forget(dpid)
        kept = [cookie for cookie in installed.flows if purpose_of(cookie) is Purpose.VERDICT]
        budgets = [meter_id for meter_id in installed.meters if is_budget(meter_id)]
        for meter_id in budgets:
            del installed.meters[meter_id]
        flows: list[Decision] = [RemoveFlow(dpid, cookie, table_id=Table.FIREWALL) for cookie in kept]
        return flows + [RemoveMeter(dpid, meter_id) for meter_id in budgets]

    def open_gates(self, dpids: Iterable[int]) -> list[Decision]:
        """First packets come up for as long as this is renewed."""
        return (
            [InstallFlow(dpid, entry) for dpid in dpids for entry in inspection_gate.gate()] if self.inspecting else []
        )

    def on_tick(self, edges: list[int], now: float) -> list[Decision]:
        """Gates are renewed, budgets end."""
        decisions = self.inspector.on_tick(now)
        if self.inspecting and now >= self._next_gate:
            self._next_gate = now + inspection_gate.RENEWAL_S
            decisions += self.open_gates(edges)
        return decisions

    def next_deadline(self, now: float) -> float:
        """When a gate is renewed."""
        return self._next_gate if self.inspecting else now + 60.0

    def verdict_entry(self, dpid: int, cookie: int) -> FlowEntry | None:
        """The entry of a verdict by its cookie."""
        return dict(self.inspector.meaning(dpid)).get(cookie)


def _first_packet(event: PacketSeen) -> FirstPacket | None:
    packet = read_first_packet(event.frame)
    return packet and packet._replace(from_zone=event.fields.get(FROM, 0), to_zone=event.fields.get(TO, 0))
