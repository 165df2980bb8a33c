"""VIPs as the switches shall see them: what the operator wants, how members do, and where they live."""

import random

import pytest
from model_frames import ANSWER_TO_SYN, segment_frame
from model_world import leaf_spine, policy_of
from static_fabric import core_that_knows

from controller.core import Core
from controller.decisions import Announce, Persist
from controller.events import LoadReported, PacketSeen, PolicyChanged, Restored, Tick
from controller.flows import Purpose
from controller.member_records import ejection_record
from controller.pipeline import KNOWN, REDISPATCH, VIP_SHIFT
from controller.policy import AdminState, Policy, parse_policy
from topologies.model.packet import Packet

MEMBERS = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
NOWHERE = "10.0.9.9"


def core_with(policy: Policy) -> Core:
    return core_that_knows(leaf_spine(), policy)


def choices(core: Core, now: float = 0.0) -> dict[str, int]:
    (service,) = core.services.current(now)
    return {core.services.member(choice.number).policy.name: choice.weight for choice in service.choices}


def test_members_get_what_their_weight_says_and_those_that_are_nowhere_nothing() -> None:
    core = core_with(policy_of([*MEMBERS, NOWHERE], pool={"each": {1: {"weight": 3}, 2: {"weight": 0}}}))
    assert choices(core) == {"web-1": 3, "web-3": 100}


@pytest.mark.parametrize("state", ["draining", "disabled"])
def test_what_the_operator_takes_out_gets_nothing_new(state: str) -> None:
    core = core_with(policy_of(MEMBERS, pool={"each": {1: {"admin_state": state}}}))
    assert set(choices(core)) == {"web-2", "web-3"}
    assert len(core.services.pairs()) == 3, "its connections are watched on"


def test_an_agents_word_counts_at_once_and_is_told_once() -> None:
    core = core_with(policy_of(MEMBERS))
    told = core.handle(LoadReported("web", "web-1", 0.2, "down"), 0.0)
    assert "web-1" not in choices(core)
    assert [decision.kind for decision in told if isinstance(decision, Announce)] == ["member"]
    assert core.handle(LoadReported("web", "web-1", 0.3, "down"), 1.0) == []
    assert core.handle(LoadReported("web", "nobody", 0.3, "down"), 1.0) == []


def test_an_ejection_is_kept_for_the_same_server_only() -> None:
    core = core_with(policy_of(MEMBERS))
    member = core.services.pools.members["web", "web-1"]
    core.services.pools.eject(member, "a test", confirmed=True, now=0.0)
    core.handle(PolicyChanged(policy_of(MEMBERS, pool={"slow_start_s": 3.0})), 1.0)
    assert set(choices(core, 1.0)) == {"web-2", "web-3"}
    core.handle(PolicyChanged(policy_of(["10.0.1.1", *MEMBERS[1:]])), 2.0)
    assert "web-1" in choices(core, 2.0), "another server under its name"


def test_an_ejection_outlives_the_controller() -> None:
    core = core_with(policy_of(MEMBERS))
    member = core.services.pools.members["web", "web-1"]
    core.services.pools.eject(member, "a test", confirmed=True, now=0.0)
    record = ejection_record(member)
    later = Core(lldp_key=b"key", rng=random.Random(0))
    values = {"ejections": {record.key: record.value}, "members": dict(core.services._member_numbers._numbers)}
    later.handle(Restored(values), 5.0)
    later.handle(PolicyChanged(policy_of(MEMBERS)), 5.0)
    assert later.services.pools.members["web", "web-1"].ejection == member.ejection
    core.services.pools.readmit(member, 9.0)
    assert ejection_record(member) == Persist("ejections", "web/web-1", None)


def test_a_slow_start_goes_on_where_it_was_in_the_next_run() -> None:
    core = core_with(policy_of(MEMBERS))
    member = core.services.pools.members["web", "web-1"]
    core.services.pools.readmit(member, 10.0)
    records = [
        record for record in core.handle(Tick(), 11.5) if isinstance(record, Persist) and record.namespace == "weights"
    ]
    later = core_with(policy_of([]))
    values = {
        "weights": {record.key: record.value for record in records},
        "members": dict(core.services._member_numbers._numbers),
    }
    later.handle(Restored(values), 12.0)
    later.handle(PolicyChanged(policy_of(MEMBERS)), 12.0)
    assert choices(later, 12.0) == choices(core, 12.0) == {"web-1": 30, "web-2": 100, "web-3": 100}
    over = [record for record in later.handle(Tick(), 30.0) if isinstance(record, Persist)]
    assert Persist("weights", "web/web-1", None) in over


def test_the_last_member_that_is_anywhere_is_never_ejected() -> None:
    core = core_with(policy_of([MEMBERS[0], NOWHERE]))
    assert not core.services.may_eject(core.services.pools.members["web", "web-1"])
    both = core_with(policy_of(MEMBERS[:2]))
    assert both.services.may_eject(both.services.pools.members["web", "web-1"])


def test_in_a_panic_those_whom_only_clients_accuse_are_back_and_those_probes_found_dead_are_not() -> None:
    core = core_with(policy_of(MEMBERS, pool={"max_ejection_percent": 100}))
    for name, confirmed in (("web-1", False), ("web-2", True)):
        core.services.pools.eject(core.services.pools.members["web", name], "a test", confirmed, 0.0)
    assert set(choices(core)) == {"web-1", "web-3"}


def test_a_slow_start_moves_the_shares_by_itself() -> None:
    core = core_with(policy_of(MEMBERS))
    member = core.services.pools.members["web", "web-1"]
    core.services.pools.eject(member, "a test", confirmed=True, now=0.0)
    core.services.pools.readmit(member, 10.0)
    seen, now = [], 10.0
    while now < 20.5:
        core.handle(Tick(), now)
        seen.append(choices(core, now)["web-1"])
        now = core.next_deadline(now)
    assert seen == sorted(seen) and sorted(set(seen)) == list(range(10, 101, 10))


def test_a_step_of_one_pools_slow_start_leaves_the_others_as_they_are() -> None:
    members = [{"name": f"web-{number}", "address": address, "port": 80} for number, address in enumerate(MEMBERS, 1)]
    pools = {name: {"members": members, "slow_start_s": 1.0} for name in ("a", "b")}
    vips = {name: {"address": f"10.0.0.{place}", "port": 80, "pool": name} for place, name in enumerate(pools, 100)}
    core = core_with(parse_policy({"version": 1, "pools": pools, "vips": vips}))
    member = core.services.pools.members["a", "web-1"]
    core.services.pools.eject(member, "a test", confirmed=True, now=0.0)
    core.services.pools.readmit(member, 0.0)
    (a, b), steps = core.services.current(0.0), set()
    for now in (hundredth / 100 for hundredth in range(130)):
        core.handle(Tick(), now)
        a, other = core.services.current(now)
        assert other is b
        steps.add(next(choice.weight for choice in a.choices if choice.number == member.number))
    assert steps == {10, 20, 30, 40, 50, 60, 70, 80, 90, 100}


def test_a_preview_changes_nothing() -> None:
    core = core_with(policy_of(MEMBERS))
    before = core.services.current(0.0), dict(core.services._member_numbers._numbers), core.discovery.hosts.reserved
    other = core.services.preview(policy_of(["10.0.1.1"], vip={"address": "10.0.0.101"}), 0.0)
    assert [service.address for service in other.current(0.0)] == [0x0A000065]
    after = core.services.current(0.0), dict(core.services._member_numbers._numbers), core.discovery.hosts.reserved
    assert after == before


def test_two_vips_on_one_pool_have_numbers_of_their_own() -> None:
    policy = policy_of(MEMBERS)
    second = policy.vips["web"].model_copy(update={"port": 443})
    core = core_with(policy.model_copy(update={"vips": {**policy.vips, "tls": second}}))
    one, other = core.services.current(0.0)
    assert one.number != other.number and one.group_id != other.group_id
    assert core.services.vip_at(other.number) == (0x0A000064, 443)
    assert core.services.vip_name(other.number) == "tls" and core.services.vip_name(999) is None
    assert len(core.services.pairs()) == 6


def test_drains_begin_when_they_are_asked_for_and_end_with_the_wish() -> None:
    core = core_with(policy_of(MEMBERS))
    draining = policy_of(MEMBERS, pool={"each": {1: {"admin_state": AdminState.DRAINING}}, "drain_timeout_s": 5.0})
    recorded = core.handle(PolicyChanged(draining), 100.0)
    assert Persist("drains", "web/web-1", 100.0) in recorded
    member = core.services.pools.members["web", "web-1"]
    assert core.services.cut(104.9) == [] and core.services.cut(105.0) == [member.number]
    recorded = core.handle(PolicyChanged(policy_of(MEMBERS)), 110.0)
    assert Persist("drains", "web/web-1", None) in recorded and core.services.cut(200.0) == []


def test_a_client_of_a_vip_that_was_taken_away_meanwhile_is_refused_and_does_not_hang() -> None:
    core = core_with(policy_of(MEMBERS))
    (service,) = core.services.current(0.0)
    client, vip = 0x0A000101, 0x0A000064
    member = core.services.pools.members["web", "web-2"]
    mark = KNOWN | REDISPATCH | service.number << VIP_SHIFT | member.number
    fields = {
        "ct_state": 0x2A,
        "ct_mark": mark,
        "ct_nw_src": client,
        "ct_tp_src": 40000,
        "ct_nw_dst": vip,
        "ct_tp_dst": 80,
    }
    core.handle(PolicyChanged(policy_of(MEMBERS).model_copy(update={"vips": {}})), 1.0)
    decisions = core.handle(
        PacketSeen(1, Purpose.HELD, fields, segment_frame(vip, 80, client, 40000, ANSWER_TO_SYN)), 1.0
    )
    (reset,) = [Packet.from_bytes(decision.frame) for decision in decisions if hasattr(decision, "frame")]
    assert reset.tcp is not None and reset.tcp.flags == 0x14 and reset.tcp.ack == 1001
    assert (reset.ip.src, reset.ip.dst, reset.tcp.dst) == (vip, client, 40000)
