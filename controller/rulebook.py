"""The rules in force as entries, made once: what a change of one rule leaves as it was is neither made nor sent again.

The entries are the same for every switch that hosts are attached to, so they are made once for all of them. Priorities are durable:
after a restart the rules' entries are found on the switches as they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from controller import firewall, inspection_gate, observation
from controller.classifier import Classifier
from controller.decisions import Persist
from controller.flows import FlowEntry, MeterEntry
from controller.pipeline import Table, check
from controller.policy import Firewall, Rule
from controller.reconcile import Wanted

NAMESPACE = "rule-priorities"


@dataclass(frozen=True, slots=True)
class _Made:
    """The entries of one rule at one priority."""

    rule: Rule
    priority: int
    cut_established: bool
    flows: tuple[FlowEntry, ...]
    meter: MeterEntry | None


@dataclass(slots=True)
class Rulebook:
    """Rules, their priorities and their entries."""

    firewall: Firewall = field(default_factory=Firewall)
    part: Wanted = field(default_factory=Wanted)
    """Their entries and meters, for any switch that hosts are attached to: the same object until something changes."""
    observing: bool = False
    """Whether first packets are shown before the firewall (table 12)."""
    enforced: Classifier = field(default_factory=lambda: Classifier(()))
    """The rules that act, in order."""
    tried: Classifier = field(default_factory=lambda: Classifier(()))
    """All of them, as if none were only tried out."""
    priorities: dict[str, int] = field(default_factory=dict)
    _made: dict[str, _Made] = field(default_factory=dict)

    @property
    def onward(self) -> Table:
        """Where packets go from the tracker: first packets may be shown before the firewall."""
        return Table.OBSERVE if self.observing else Table.FIREWALL

    def restore(self, values: dict[str, object]) -> None:
        """Take back the priorities the store held."""
        self.priorities = {name: number for name, number in values.items() if isinstance(number, int)}

    def apply(self, settings: Firewall, rules: tuple[Rule, ...]) -> list[Persist]:
        """Take the rules that are in force now; the records of priorities that changed."""
        # Rules whose schedule is over keep their place: they come back.
        before = self.priorities
        self.priorities = firewall.priorities(settings.rules, before)
        self.firewall = settings
        made = {rule.id: self._entries_of(rule, settings.cut_established) for rule in rules}
        self._made = made
        self.part = Wanted(meters={one.meter.meter_id: one.meter for one in made.values() if one.meter is not None})
        self.part.flows = {flow.cookie: flow for one in made.values() for flow in one.flows}
        self.part.meaning = {cookie: flow.counts for cookie, flow in self.part.flows.items() if flow.counts is not None}
        self.part.add(self._shared(rules))
        self.observing = observation.wanted(settings, rules)
        ordered = [judged.rule for judged in firewall.in_order(rules)]
        self.enforced = Classifier(rule for rule in ordered if not rule.dry_run)
        self.tried = Classifier(ordered) if any(rule.dry_run for rule in ordered) else self.enforced
        return _records(before, self.priorities)

    def preview(self, settings: Firewall, rules: tuple[Rule, ...]) -> Rulebook:
        """The book as it would be with these; what is known is not made again."""
        other = Rulebook(priorities=self.priorities, _made=self._made)
        other.apply(settings, rules)
        return other

    def _entries_of(self, rule: Rule, cut_established: bool) -> _Made:
        known, priority = self._made.get(rule.id), self.priorities[rule.id]
        same = known is not None and (known.rule is rule or known.rule == rule)
        if known and same and (known.priority, known.cut_established) == (priority, cut_established):
            return known
        flows = tuple(firewall.rule_entries(rule, priority, cut_established))
        for flow in flows:
            check(flow)
        return _Made(rule, priority, cut_established, flows, firewall.rule_meter(rule, priority))

    def _shared(self, rules: tuple[Rule, ...]) -> Iterable[FlowEntry]:
        """What is about no single rule."""
        yield from firewall.default_entries(self.firewall.default)
        if any(rule.inspected for rule in rules):
            yield from inspection_gate.beside(self.firewall.fail_mode)
        yield from observation.entries(self.firewall, rules, self.priorities)


def _records(before: dict[str, int], after: dict[str, int]) -> list[Persist]:
    gone = [Persist(NAMESPACE, name, None) for name in before if name not in after]
    return gone + [Persist(NAMESPACE, name, number) for name, number in after.items() if before.get(name) != number]
