"""Near members first while they have room; few connections to members behind a full link that no path avoids."""

import pytest
from model_world import leaf_spine, policy_of
from static_fabric import core_that_knows

from controller.balance import Service
from controller.core import Core
from controller.events import LoadReported
from controller.steering import DEMOTED
from controller.topology import Endpoint

MEMBERS = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
EDGES = (1, 2, 3)


def core_with(locality: str = "prefer-near", spines: int = 2, **pool: object) -> Core:
    settings = {"locality": locality, **pool}
    return core_that_knows(leaf_spine(spines=spines), policy_of(MEMBERS, pool=settings))


def shares(core: Core, edge: int, now: float = 0.0) -> dict[str, float]:
    (service,) = core.services.current(now)
    found: Service = core.shares.at(edge, service)
    total = sum(choice.weight for choice in found.choices)
    named = {choice.number: choice.weight / total for choice in found.choices}
    return {core.services.member(number).policy.name: round(share, 2) for number, share in named.items()}


def test_without_it_every_edge_has_the_same_shares() -> None:
    core = core_with("none")
    assert all(shares(core, edge) == {"web-1": 0.33, "web-2": 0.33, "web-3": 0.33} for edge in EDGES)


@pytest.mark.parametrize("edge", EDGES)
def test_clients_get_the_member_at_their_own_switch(edge: int) -> None:
    assert shares(core_with(), edge) == {f"web-{edge}": 1.0}


def test_where_no_member_is_near_all_are_alike() -> None:
    core = core_that_knows(leaf_spine(leaves=4), policy_of(MEMBERS, pool={"locality": "prefer-near"}))
    assert shares(core, 4) == {"web-1": 0.33, "web-2": 0.33, "web-3": 0.33}


def test_what_a_near_member_has_no_room_for_spills_over() -> None:
    core = core_with()
    member = core.services.pools.members["web", "web-1"]
    member.ease = 0.6
    core.services.pools.touch()
    assert shares(core, 1) == {"web-1": 0.6, "web-2": 0.2, "web-3": 0.2}
    assert shares(core, 2) == {"web-2": 1.0}, "elsewhere nothing changes"


def test_a_near_member_that_is_out_is_replaced_at_once() -> None:
    core = core_with()
    core.handle(LoadReported("web", "web-1", 0.1, "drain"), 0.0)
    assert shares(core, 1) == {"web-2": 0.5, "web-3": 0.5}


def test_each_switch_is_planned_with_its_own_shares() -> None:
    core = core_with()
    plan = core.plan(0.0)
    for edge in EDGES:
        (group,) = [one for one in plan.for_switch(edge).groups.values() if one.group_id >> 28 == 1]
        assert len(group.buckets) == 1


def steer(core: Core, congested: set[Endpoint], seconds: int, began: int = 0) -> int:
    for second in range(began, began + seconds):
        core.shares.on_tick(congested, float(second), acting=True)
    return began + seconds


def test_a_full_access_link_takes_connections_from_its_member_at_every_edge() -> None:
    core = core_with("none")
    place = core.topology.hosts[0x0A000102].endpoint
    now = steer(core, {place}, 30)
    for edge in EDGES:
        assert shares(core, edge) == {"web-1": 0.05, "web-2": 0.48, "web-3": 0.48}
    steer(core, set(), 120, now)
    assert shares(core, 1) == {"web-1": 0.33, "web-2": 0.33, "web-3": 0.33}


def test_only_the_edges_that_must_cross_a_full_link_are_concerned() -> None:
    core = core_with("none", spines=1)
    (uplink,) = [near for near in core.topology.links if near[0] == 1]
    steer(core, {uplink}, 30)
    # Requests of edge 1 cross it to the others, and answers of web-1 to everybody else.
    assert shares(core, 1) == {"web-1": 0.83, "web-2": 0.08, "web-3": 0.08}
    assert shares(core, 2) == {"web-1": 0.05, "web-2": 0.48, "web-3": 0.48}


def test_with_another_path_members_are_left_alone() -> None:
    core = core_with("none", spines=2)
    uplink = next(near for near in core.topology.links if near[0] == 1)
    steer(core, {uplink}, 30)
    assert all(shares(core, edge) == {"web-1": 0.33, "web-2": 0.33, "web-3": 0.33} for edge in EDGES)


def test_when_every_member_is_behind_it_nothing_is_gained_and_nothing_moves() -> None:
    core = core_with("none")
    places = {core.topology.hosts[0x0A000002 | edge << 8].endpoint for edge in EDGES}
    steer(core, places, 30)
    assert shares(core, 1) == {"web-1": 0.33, "web-2": 0.33, "web-3": 0.33}


def test_a_link_that_is_full_whenever_the_member_has_its_share_does_not_swing_for_ever() -> None:
    core = core_with("none")
    place = core.topology.hosts[0x0A000102].endpoint
    member = core.services.pools.members["web", "web-1"].number
    history = []
    for second in range(900):
        steered = core.shares._behind.get((1, member))
        full = steered is None or steered.weight > 40
        core.shares.on_tick({place} if full else set(), float(second), acting=True)
        history.append(shares(core, 1)["web-1"])
    last = history[-60:]
    assert max(last) - min(last) < 0.05 and min(history) >= DEMOTED / 300
