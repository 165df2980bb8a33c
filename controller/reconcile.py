"""Wanted minus installed: the only way a switch is ever changed. Applied twice it gives nothing.

Order matters to packets on the way: what is referred to comes first (meters, groups), then entries, then the removals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.decisions import InstallFlow, RemoveFlow, RemoveGroup, SetGroup, SetMeter, SwitchDecision
from controller.flows import FlowEntry, GroupEntry, MeterEntry, Purpose, purpose_of
from controller.pipeline import check

NOT_RECONCILED = frozenset({Purpose.AFFINITY, Purpose.HELD})
"""Entries that switches learn themselves or that expire by themselves."""


@dataclass(slots=True)
class Installed:
    """What a switch has, by identity. A group or meter of unknown content is None: it is set again."""

    flows: dict[int, int] = field(default_factory=dict)
    """cookie to table_id"""
    groups: dict[int, GroupEntry | None] = field(default_factory=dict)
    meters: dict[int, MeterEntry | None] = field(default_factory=dict)


@dataclass(slots=True)
class Wanted:
    """What a switch shall have."""

    flows: dict[int, FlowEntry] = field(default_factory=dict)
    groups: dict[int, GroupEntry] = field(default_factory=dict)
    meters: dict[int, MeterEntry] = field(default_factory=dict)

    def add(self, entries: Iterable[FlowEntry]) -> None:
        """Want these entries; one that breaks the pipeline raises PipelineError."""
        for entry in entries:
            check(entry)
            self.flows[entry.cookie] = entry

    def add_groups(self, groups: Iterable[GroupEntry]) -> None:
        """Want these groups."""
        self.groups.update((group.group_id, group) for group in groups)

    def with_also(self, other: Wanted) -> Wanted:
        """Both together, as a new one."""
        return Wanted({**self.flows, **other.flows}, {**self.groups, **other.groups}, {**self.meters, **other.meters})


def reconcile(dpid: int, installed: Installed, wanted: Wanted) -> list[SwitchDecision]:
    """The decisions that turn `installed` into `wanted`; `installed` is updated as if they had been carried out."""
    decisions: list[SwitchDecision] = []
    for meter_id, meter in wanted.meters.items():
        if installed.meters.get(meter_id) != meter:
            decisions.append(SetMeter(dpid, meter, exists=meter_id in installed.meters))
            installed.meters[meter_id] = meter
    for group_id, group in wanted.groups.items():
        if installed.groups.get(group_id) != group:
            decisions.append(SetGroup(dpid, group, exists=group_id in installed.groups))
            installed.groups[group_id] = group
    decisions += _flows(dpid, installed, wanted)
    for group_id in [group_id for group_id in installed.groups if group_id not in wanted.groups]:
        decisions.append(RemoveGroup(dpid, group_id))
        del installed.groups[group_id]
    return decisions


def _flows(dpid: int, installed: Installed, wanted: Wanted) -> list[SwitchDecision]:
    added = [InstallFlow(dpid, entry) for cookie, entry in wanted.flows.items() if cookie not in installed.flows]
    gone = [
        (cookie, table_id)
        for cookie, table_id in installed.flows.items()
        if cookie not in wanted.flows and purpose_of(cookie) not in NOT_RECONCILED
    ]
    # A removal by cookie cannot hit the entry that replaced it: another content has another cookie.
    removed = [RemoveFlow(dpid, cookie, table_id=table_id) for cookie, table_id in gone]
    for decision in added:
        installed.flows[decision.entry.cookie] = decision.entry.table_id
    for cookie, _ in gone:
        del installed.flows[cookie]
    return [*added, *removed]
