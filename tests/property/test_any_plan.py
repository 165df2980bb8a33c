"""Whatever the policy and the fabric: what is planned for a switch is well-formed, unambiguous and complete, and a switch takes it."""

from collections.abc import Iterator
from itertools import combinations

import pytest
from any_policy import policies
from hypothesis import given, settings
from hypothesis import strategies as st
from model_world import in_ipv6, leaf_spine, ring, single
from static_fabric import core_that_knows

from apps import codec
from controller.core import Core
from controller.decisions import InstallFlow, SetGroup, SetMeter
from controller.flows import Ct, FlowEntry, MaskedValue, Match, Punt, Resubmit, ToGroup
from controller.mirror import hold
from controller.pipeline import EST, INV, NEW, REL, RST, SYN, Table, check
from controller.reconcile import Installed, Wanted, reconcile
from topologies.model.switch import FakeSwitch

WIRINGS = {
    "single": single(4),
    "leaf-spine": leaf_spine(2, 2, 2),
    "ring": ring(3, 1),
    "ring of IPv6": in_ipv6(ring(3, 1)),
    "single of both": in_ipv6(single(4), every=2),
}
HIGHEST_GROUP = 0xFFFFFF00
EXCLUSIVE = (NEW, EST, REL, INV)
"""Of these states a packet has one at most, where no helper for a protocol makes connections related (ovs-fields(7))."""


@st.composite
def cores(draw: st.DrawFn) -> Core:
    """A core with a policy, some members ejected, some clients in quarantine, some links congested."""
    wiring = WIRINGS[draw(st.sampled_from(sorted(WIRINGS)))]
    core = core_that_knows(wiring, draw(policies(wiring)))
    for member in core.services.pools.members.values():
        if draw(st.booleans()) and core.services.pools.may_eject(member):
            core.services.pools.eject(member, "a test", confirmed=draw(st.booleans()), now=0.0)
    clients = ["10.0.1.1", "10.0.1.0/24", "10.0.2.2", "fd00::1:1", "fd00::/64"]
    for client in draw(st.lists(st.sampled_from(clients), unique=True)):
        core.quarantine.add(client, "drop", 0.0, ttl_s=60)
    if wiring.links and draw(st.booleans()):
        core.paths.demote(tuple(wiring.links[0].a), 0.0)
    return core


def planned(core: Core) -> Iterator[Wanted]:
    plan = core.plan(0.0)
    for dpid in core.topology.switches:
        wanted = plan.for_switch(dpid)
        wanted.add([*hold(), core.zoning.presence()])
        yield wanted


def masked(value: int | MaskedValue) -> MaskedValue:
    return value if isinstance(value, tuple) else (value, ~0)


def states(match: Match) -> int:
    value, mask = masked(match.get("ct_state") or (0, 0))
    return sum(state for state in EXCLUSIVE if value & mask & state)


def meet(one: Match, other: Match) -> bool:
    """Whether some packet fits both."""
    if states(one) and states(other) and states(one) != states(other):
        return False
    for name, value in one.fields:
        second = other.get(name)
        if second is not None:
            (a, a_mask), (b, b_mask) = masked(value), masked(second)
            if (a ^ b) & a_mask & b_mask:
                return False
    return True


def differ(one: FlowEntry, other: FlowEntry) -> bool:
    return (one.actions, one.goto, one.meter_id) != (other.actions, other.goto, other.meter_id)


def ambiguous(entries: list[FlowEntry]) -> list[tuple[FlowEntry, FlowEntry]]:
    """Pairs of entries between which a switch may choose as it likes."""
    by_place: dict[tuple[int, int], list[FlowEntry]] = {}
    for entry in entries:
        by_place.setdefault((entry.table_id, entry.priority), []).append(entry)
    return [
        (one, other)
        for together in by_place.values()
        for one, other in combinations(together, 2)
        if meet(one.match, other.match) and differ(one, other)
    ]


@settings(max_examples=40, deadline=None)
@given(cores())
def test_entries_keep_to_the_pipeline(core: Core) -> None:
    for wanted in planned(core):
        for entry in wanted.flows.values():
            check(entry)


@settings(max_examples=40, deadline=None)
@given(cores())
def test_no_two_entries_are_in_each_others_place(core: Core) -> None:
    for wanted in planned(core):
        keys = [entry.key for entry in wanted.flows.values()]
        assert len(keys) == len(set(keys))


@settings(max_examples=40, deadline=None)
@given(cores())
def test_which_entry_a_packet_meets_is_never_left_to_the_switch(core: Core) -> None:
    for wanted in planned(core):
        assert ambiguous(list(wanted.flows.values())) == []


@settings(max_examples=40, deadline=None)
@given(cores())
def test_everything_referred_to_is_there(core: Core) -> None:
    for wanted in planned(core):
        # Looked up in passing: a miss there is nothing.
        tables = {entry.table_id for entry in wanted.flows.values()} | {Table.AFFINITY, Table.COUNT}
        buckets = [bucket for group in wanted.groups.values() for bucket in group.buckets]
        actions = [action for entry in wanted.flows.values() for action in entry.actions]
        actions += [action for bucket in buckets for action in bucket.actions]
        assert {action.group_id for action in actions if isinstance(action, ToGroup)} <= wanted.groups.keys()
        assert {action.meter_id for action in actions if isinstance(action, Punt)} <= wanted.meters.keys()
        assert {entry.meter_id for entry in wanted.flows.values()} - {None} <= wanted.meters.keys()
        assert {entry.goto for entry in wanted.flows.values()} - {None} <= tables
        assert {action.table for action in actions if isinstance(action, Resubmit)} <= tables
        assert {action.table for action in actions if isinstance(action, Ct)} - {None} <= tables
        assert all(0 < group_id < HIGHEST_GROUP for group_id in wanted.groups)


@settings(max_examples=30, deadline=None)
@given(cores())
def test_a_switch_takes_it_and_finds_nothing_odd(core: Core) -> None:
    for dpid, wanted in zip(core.topology.switches, planned(core), strict=True):
        switch = FakeSwitch(dpid, core.topology.switches[dpid].ports)
        for decision in reconcile(dpid, Installed(), wanted):
            assert switch.handle(decision, 0.0) == []
            if isinstance(decision, InstallFlow | SetGroup | SetMeter):
                assert codec.encode(decision)
        assert switch.warnings == []
        assert len(switch.installed(0.0)) == len(wanted.flows)


def test_the_search_for_ambiguity_finds_one() -> None:
    one = FlowEntry(2, 9, Match((("eth_type", 0x0800), ("tcp_flags", (RST, RST)))), 1, goto=3)  # type: ignore[arg-type]
    other = FlowEntry(2, 9, Match((("eth_type", 0x0800), ("tcp_flags", (SYN, SYN)))), 1)  # type: ignore[arg-type]
    apart = FlowEntry(2, 9, Match((("eth_type", 0x0800), ("tcp_flags", (0, RST | SYN)))), 1)  # type: ignore[arg-type]
    assert ambiguous([one, other, apart]) == [(one, other)]
    with pytest.raises(AssertionError):
        assert ambiguous([one, other]) == []
