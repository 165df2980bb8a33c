"""Whatever a switch has, it gets what it shall have: by the shortest way, and no further."""

import random

from any_policy import policies
from hypothesis import given, settings
from hypothesis import strategies as st
from model_world import leaf_spine
from static_fabric import plans

from controller.decisions import InstallFlow, RemoveFlow, RemoveGroup, SetGroup, SetMeter, SwitchDecision
from controller.flows import Bucket, FlowEntry, GroupEntry, MeterEntry, Output, Purpose, ToGroup, match
from controller.policy import Policy
from controller.reconcile import Installed, Wanted, reconcile
from topologies.model.switch import FakeSwitch

DPID = 1
WIRING = leaf_spine(2, 2, 2)
FEW = settings(max_examples=60, deadline=None)


@st.composite
def wants(draw: st.DrawFn) -> Wanted:
    """A few entries that stand in each other's place, refer to groups and meters, and change."""
    wanted = Wanted()
    for group_id in draw(st.sets(st.integers(1, 3))):
        ports = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
        buckets = tuple(Bucket((Output(port),), watch_port=port) for port in ports)
        wanted.groups[group_id] = GroupEntry(group_id, "fast-failover", buckets)
    for meter_id in draw(st.sets(st.integers(1, 2))):
        wanted.meters[meter_id] = MeterEntry(meter_id, draw(st.integers(1, 3)), 1)
    for place in draw(st.sets(st.integers(0, 5))):
        actions = draw(
            st.sampled_from([(), (Output(1),), (Output(2),), *((ToGroup(group_id),) for group_id in wanted.groups)])
        )
        meter_id = draw(st.sampled_from([None, *wanted.meters]))
        entry = FlowEntry(
            5, 10 + place // 2, match(eth_type=0x0800, ipv4_dst=place), Purpose.ROUTE, actions, meter_id=meter_id
        )
        wanted.flows[entry.cookie] = entry
    return wanted


def carry_out(switch: FakeSwitch, decisions: list[SwitchDecision]) -> None:
    for decision in decisions:
        assert switch.handle(decision, 0.0) == []


def has(switch: FakeSwitch, wanted: Wanted) -> bool:
    entries = {(entry.table_id, entry.cookie) for entry in switch.installed(0.0)}
    groups = {group_id: switch.group(group_id, 0.0).entry for group_id in switch.group_ids}  # type: ignore[union-attr]
    meters = {meter_id: meter.entry for meter_id, meter in switch.meters.items()}
    same_entries = entries == {(entry.table_id, cookie) for cookie, entry in wanted.flows.items()}
    # A meter that nobody refers to any more does nothing, and stays.
    return same_entries and groups == wanted.groups and wanted.meters.items() <= meters.items()


def reported(switch: FakeSwitch) -> Installed:
    """What a switch says when it connects: of groups and meters only that they are there."""
    flows = {entry.cookie: entry.table_id for entry in switch.installed(0.0)}
    return Installed(flows, dict.fromkeys(switch.group_ids), dict.fromkeys(switch.meters))


@FEW
@given(st.lists(wants(), min_size=1, max_size=5))
def test_a_switch_follows_every_change(steps: list[Wanted]) -> None:
    switch, installed = FakeSwitch(DPID, [1, 2, 3]), Installed()
    for wanted in steps:
        carry_out(switch, reconcile(DPID, installed, wanted))
        assert has(switch, wanted)
        assert reconcile(DPID, installed, wanted) == []


@FEW
@given(wants(), wants())
def test_a_switch_that_only_says_what_it_has_is_brought_there_too(before: Wanted, wanted: Wanted) -> None:
    switch = FakeSwitch(DPID, [1, 2, 3])
    carry_out(switch, reconcile(DPID, Installed(), before))
    installed = reported(switch)
    carry_out(switch, reconcile(DPID, installed, wanted))
    assert has(switch, wanted)
    assert reconcile(DPID, installed, wanted) == []


@FEW
@given(wants(), wants())
def test_what_stays_the_same_is_not_touched(before: Wanted, wanted: Wanted) -> None:
    installed = Installed()
    reconcile(DPID, installed, before)
    decisions = reconcile(DPID, installed, wanted)
    added = {decision.entry.cookie for decision in decisions if isinstance(decision, InstallFlow)}
    removed = {decision.cookie for decision in decisions if isinstance(decision, RemoveFlow)}
    groups = {decision.entry.group_id for decision in decisions if isinstance(decision, SetGroup)}
    groups |= {decision.group_id for decision in decisions if isinstance(decision, RemoveGroup)}
    meters = {decision.entry.meter_id for decision in decisions if isinstance(decision, SetMeter)}
    assert not (added | removed) & (before.flows.keys() & wanted.flows.keys())
    assert not {group_id for group_id in groups if before.groups.get(group_id) == wanted.groups.get(group_id)}
    assert not {meter_id for meter_id in meters if before.meters.get(meter_id) == wanted.meters.get(meter_id)}


@FEW
@given(wants(), wants())
def test_at_no_moment_does_an_entry_refer_to_what_is_not_there(before: Wanted, wanted: Wanted) -> None:
    switch, installed = FakeSwitch(DPID, [1, 2, 3]), Installed()
    carry_out(switch, reconcile(DPID, installed, before))
    for decision in reconcile(DPID, installed, wanted):
        assert switch.handle(decision, 0.0) == []
        for entry in switch.installed(0.0):
            assert {action.group_id for action in entry.actions if isinstance(action, ToGroup)} <= switch.group_ids


@FEW
@given(wants(), st.randoms(use_true_random=False))
def test_what_switches_learn_by_themselves_is_left_to_them(wanted: Wanted, chance: random.Random) -> None:
    learned = {Purpose.AFFINITY << 56 | chance.getrandbits(20): 8, Purpose.HELD << 56 | chance.getrandbits(20): 7}
    installed = Installed(dict(learned))
    decisions = reconcile(DPID, installed, wanted)
    assert not [decision for decision in decisions if isinstance(decision, RemoveFlow)]
    assert learned.items() <= installed.flows.items()


@FEW
@given(wants())
def test_entries_of_others_are_swept_away(wanted: Wanted) -> None:
    installed = Installed({0x1234: 0})
    decisions = reconcile(DPID, installed, wanted)
    assert RemoveFlow(DPID, 0x1234, table_id=0) in decisions


@settings(max_examples=25, deadline=None)
@given(st.lists(policies(WIRING), min_size=2, max_size=3))
def test_every_switch_of_a_fabric_follows_changes_of_policy(steps: list[Policy]) -> None:
    switches = {dpid: FakeSwitch(dpid, sorted(ports)) for dpid, ports in WIRING.ports().items()}
    installed = {dpid: Installed() for dpid in switches}
    for policy in steps:
        for dpid, wanted in plans(WIRING, policy).items():
            carry_out(switches[dpid], reconcile(dpid, installed[dpid], wanted))
            assert has(switches[dpid], wanted)
            assert reconcile(dpid, installed[dpid], wanted) == []
