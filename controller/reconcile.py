"""Wanted minus installed: the only way a switch is ever changed. Applied twice it gives nothing.

Order matters to packets on the way: what is referred to comes first (meters, groups), then entries, then the removals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controller.decisions import InstallFlow, RemoveFlow, RemoveGroup, RemoveMeter, SetGroup, SetMeter, SwitchDecision
from controller.flows import FlowEntry, GroupEntry, MeterEntry, Purpose, purpose_of
from controller.pipeline import MeterRange, check

Slot = tuple[str | int, ...]
"""The name of a part of what a switch shall have."""

NOT_RECONCILED = frozenset(
    {Purpose.AFFINITY, Purpose.HELD, Purpose.WAITING, Purpose.VERDICT, Purpose.PRESENT, Purpose.PICKED_UP}
)
"""Entries that switches learn themselves or that expire by themselves."""


def is_budget(meter_id: int) -> bool:
    """Whether a meter belongs to a verdict: the core sets and removes it by itself."""
    return meter_id >= MeterRange.SOURCE


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
    meaning: dict[int, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """What the entries that count something count, by cookie."""

    def add(self, entries: Iterable[FlowEntry]) -> None:
        """Want these entries; one that breaks the pipeline raises PipelineError."""
        for entry in entries:
            check(entry)
            self.flows[entry.cookie] = entry
            if entry.counts is not None:
                self.meaning[entry.cookie] = entry.counts

    def add_groups(self, groups: Iterable[GroupEntry]) -> None:
        """Want these groups."""
        self.groups.update((group.group_id, group) for group in groups)

    def add_meters(self, meters: Iterable[MeterEntry]) -> None:
        """Want these meters."""
        self.meters.update((meter.meter_id, meter) for meter in meters)

    @classmethod
    def together(cls, parts: Iterable[Wanted]) -> Wanted:
        """All of them, as a new one."""
        whole = cls()
        for part in parts:
            whole.flows.update(part.flows)
            whole.groups.update(part.groups)
            whole.meters.update(part.meters)
            whole.meaning.update(part.meaning)
        return whole


def reconcile(dpid: int, installed: Installed, wanted: Wanted) -> list[SwitchDecision]:
    """The decisions that turn `installed` into `wanted`; `installed` is updated as if they had been carried out."""
    gone_groups = [group_id for group_id in installed.groups if group_id not in wanted.groups]
    gone = [
        cookie for cookie in installed.flows if cookie not in wanted.flows and purpose_of(cookie) not in NOT_RECONCILED
    ]
    gone_meters = [
        meter_id for meter_id in installed.meters if meter_id not in wanted.meters and not is_budget(meter_id)
    ]
    return [*_additions(dpid, installed, wanted), *_removals(dpid, installed, gone, gone_groups, gone_meters)]


def reconcile_parts(
    dpid: int, installed: Installed, before: Mapping[Slot, Wanted], after: Mapping[Slot, Wanted], among: Iterable[Slot]
) -> list[SwitchDecision]:
    """The same for a switch that was reconciled with `before`, where only parts `among` these can be other objects in `after`."""
    slots = [slot for slot in among if before.get(slot) is not after.get(slot)]
    dropped = [before[slot] for slot in slots if slot in before]
    taken = Wanted.together(after[slot] for slot in slots if slot in after)
    gone = {cookie for part in dropped for cookie in part.flows if cookie not in taken.flows}
    gone_groups = {group_id for part in dropped for group_id in part.groups if group_id not in taken.groups}
    gone_meters = {meter_id for part in dropped for meter_id in part.meters if meter_id not in taken.meters}
    if gone or gone_groups or gone_meters:
        # The same may be wanted by a part that stays.
        for part in after.values():
            gone -= part.flows.keys()
            gone_groups -= part.groups.keys()
            gone_meters -= part.meters.keys()
    removals = _removals(dpid, installed, sorted(gone), sorted(gone_groups), sorted(gone_meters))
    return [*_additions(dpid, installed, taken), *removals]


def _additions(dpid: int, installed: Installed, wanted: Wanted) -> Iterator[SwitchDecision]:
    for meter_id, meter in wanted.meters.items():
        if installed.meters.get(meter_id) != meter:
            yield SetMeter(dpid, meter, exists=meter_id in installed.meters)
            installed.meters[meter_id] = meter
    for group_id, group in wanted.groups.items():
        if installed.groups.get(group_id) != group:
            yield SetGroup(dpid, group, exists=group_id in installed.groups)
            installed.groups[group_id] = group
    for cookie, entry in wanted.flows.items():
        if cookie not in installed.flows:
            yield InstallFlow(dpid, entry)
            installed.flows[cookie] = entry.table_id


def _removals(
    dpid: int, installed: Installed, cookies: Iterable[int], groups: Iterable[int], meters: Iterable[int]
) -> Iterator[SwitchDecision]:
    for cookie in cookies:
        # A removal by cookie cannot hit the entry that replaced it: another content has another cookie.
        yield RemoveFlow(dpid, cookie, table_id=installed.flows.pop(cookie))
    for group_id in groups:
        yield RemoveGroup(dpid, group_id)
        del installed.groups[group_id]
    for meter_id in meters:
        yield RemoveMeter(dpid, meter_id)
        del installed.meters[meter_id]
