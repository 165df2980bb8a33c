"""The function chain: orders that the pipeline can do, and what is left of a policy when functions are off."""

from itertools import permutations
from typing import Any

import pytest
from model_subnets import routed, routed_policy
from static_fabric import core_that_knows

from controller.flows import FlowEntry, Purpose
from controller.pipeline import Meter, MeterRange, Table
from controller.policy import Function, PolicyError, in_force, parse_policy, tracks

ALL = ["firewall", "balancer", "router"]
RULES: dict[str, Any] = {"rules": [{"src": "10.0.1.0/25", "action": "limit", "rate_pps": 5}], "default": "drop"}


def entries(chain: list[str]) -> list[FlowEntry]:
    core = core_that_knows(routed(), routed_policy(0x0A000102, 0x0A000282, chain=chain, firewall=RULES))
    plan = core.plan(0.0)
    return [entry for dpid in (1, 2) for entry in plan.for_switch(dpid).flows.values()]


def tables(chain: list[str]) -> set[Table]:
    return {Table(entry.table_id) for entry in entries(chain)}


@pytest.mark.parametrize("chain", [order for size in range(4) for order in permutations(ALL, size)])
def test_only_the_order_of_the_pipeline_is_accepted(chain: tuple[str, ...]) -> None:
    if list(chain) == [name for name in ALL if name in chain]:
        assert parse_policy({"version": 1, "chain": list(chain)}).chain == tuple(map(Function, chain))
        return
    with pytest.raises(PolicyError, match=r"chain: .*in the order firewall, balancer, router") as refused:
        parse_policy({"version": 1, "chain": list(chain)})
    assert ", ".join(chain) in str(refused.value)


@pytest.mark.parametrize("chain", [["firewall", "firewall"], ["nat"], "firewall"])
def test_what_is_no_chain_is_refused(chain: object) -> None:
    with pytest.raises(PolicyError, match="chain"):
        parse_policy({"version": 1, "chain": chain})


def test_with_everything_on_nothing_is_taken_away() -> None:
    policy = routed_policy(0x0A000102, firewall=RULES)
    assert in_force(policy) is policy


def test_what_is_off_stays_in_the_policy_and_out_of_force() -> None:
    policy = routed_policy(0x0A000102, chain=["router"], firewall=RULES)
    assert policy.vips and policy.firewall.rules
    there = in_force(policy)
    assert (there.vips, there.firewall.rules, there.subnets) == ({}, (), policy.subnets)
    assert in_force(routed_policy(0x0A000102, chain=[])).subnets == ()
    assert [tracks(routed_policy(0x0A000102, chain=[name])) for name in ALL] == [True, True, False]


ROUTING = {Table.ADMISSION, Table.TRACK, Table.ROUTE, Table.NEIGHBOUR, Table.ADVERTISE}


@pytest.mark.parametrize("chain", [["router"], []])
def test_what_only_routes_has_no_entry_that_tracks(chain: list[str]) -> None:
    assert tables(chain) == (ROUTING | {Table.LEAVE} if chain else ROUTING)
    assert not any("Ct(" in repr(entry.actions) for entry in entries(chain))


def test_a_firewall_alone_has_nothing_of_the_others() -> None:
    found = entries(["firewall"])
    assert {entry.purpose for entry in found if entry.counts and entry.counts[0] == "rule"} == {Purpose.FIREWALL}
    balancing = [entry for entry in found if entry.table_id == Table.BALANCE]
    assert {entry.priority for entry in balancing} == {10}, "only what commits"
    assert not any(entry.counts and len(entry.counts) == 4 for entry in found), (
        "no pair of a VIP and a member is counted"
    )
    assert not any(entry.meter_id == Meter.ROUTER or "nw_ttl" in dict(entry.match.fields) for entry in found)
    assert not any(dict(entry.match.fields).get("arp_tpa") == 0xC0000250 for entry in found), (
        "nobody answers for the VIP"
    )


def test_a_balancer_alone_has_no_rule() -> None:
    assert not any(entry.counts and entry.counts[0] == "rule" for entry in entries(["balancer"]))
    core = core_that_knows(routed(), routed_policy(0x0A000102, chain=["balancer"], firewall=RULES))
    meters = core.plan(0.0).for_switch(1).meters
    assert not any(MeterRange.RULE <= meter < MeterRange.QUARANTINE for meter in meters)


def test_no_refusal_is_held_without_a_balancer() -> None:
    assert core_that_knows(routed(), routed_policy(0x0A000102)).heartbeat.holding
    assert not core_that_knows(routed(), routed_policy(0x0A000102, chain=["firewall", "router"])).heartbeat.holding
