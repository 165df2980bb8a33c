"""Members fail under load, on every shape of fabric: what their clients see of it. The core is the real one, the fabric a model."""

import pytest
from model_world import MEMBER_PORT, SHAPES, VIP_PORT, World, ends, failures, stage

from topologies.model.application import End
from topologies.model.hosts import Attempt
from topologies.model.servers import Gray, ResetOnAccept, Serve, Silent

EVERYWHERE = pytest.mark.parametrize("shape", SHAPES)
PER_S = 500


def load(world: World, clients: list[str], seconds: float) -> list[Attempt]:
    return world.connections(clients, int(seconds * PER_S), 1 / PER_S)


def slowest_ms(attempts: list[Attempt]) -> float:
    return 1000 * max(attempt.connected - attempt.started for attempt in attempts if attempt.connected is not None)


@EVERYWHERE
def test_a_member_that_refuses_costs_no_client_anything(shape: str) -> None:
    world, clients, members = stage(shape)
    world.close_port(members[1])
    attempts = load(world, clients, 0.4)
    world.run(1)
    assert ends(attempts) == {End.CLOSED: len(attempts)}
    assert slowest_ms(attempts) < 20
    ejection = world.member("web-2").ejection
    assert ejection is not None and ejection.confirmed
    assert world.faultless()


@EVERYWHERE
def test_resets_after_the_handshake_hurt_three_clients_at_most(shape: str) -> None:
    world, clients, members = stage(shape)
    world.serve(members[1], ResetOnAccept())
    attempts = load(world, clients, 0.4)
    world.run(1)
    assert len(failures(attempts)) <= 3
    assert world.member("web-2").ejection is not None
    assert all(world.member(name).ejection is None for name in ("web-1", "web-3"))


@EVERYWHERE
def test_when_all_members_are_down_clients_are_refused_at_once(shape: str) -> None:
    world, clients, members = stage(shape)
    for member in members:
        world.close_port(member)
    attempts = load(world, clients, 0.3)
    world.run(0.2)
    assert ends(attempts) == {End.REFUSED: len(attempts)}
    assert max(attempt.ended - attempt.started for attempt in attempts if attempt.ended) < 0.1
    for member in members:
        world.serve(member, Serve(3000))
    world.run(15)
    later = load(world, clients, 0.1)
    world.run(1)
    assert failures(later) == []


def test_a_member_comes_back_slowly_when_probes_find_it_well() -> None:
    world, clients, members = stage("leaf-spine")
    world.close_port(members[1])
    load(world, clients, 0.2)
    world.run(5)
    assert world.member("web-2").ejection is not None, "its port is still closed"
    world.serve(members[1], Serve(3000))
    world.run(3)
    member = world.member("web-2")
    assert member.ejection is None
    weights = []
    for _ in range(12):
        weights.append(member.effective_weight(world.now, 10.0))
        world.run(1)
    assert weights[0] < 50 and weights == sorted(weights) and weights[-1] == 100


def test_a_member_that_fails_some_of_the_time_is_found() -> None:
    world, clients, members = stage("leaf-spine")
    world.serve(members[1], Gray(0.5))
    attempts = load(world, clients, 1.5)
    assert world.member("web-2").ejection is not None
    assert len(failures(attempts)) <= 10
    assert all(world.member(name).ejection is None for name in ("web-1", "web-3"))


def test_without_redispatch_the_client_is_refused_as_if_nobody_were_there() -> None:
    world, clients, members = stage("leaf-spine", pool={"redispatch": False})
    world.close_port(members[1])
    attempts = load(world, clients, 0.4)
    world.run(1)
    assert 1 <= len(failures(attempts)) <= 5
    assert {attempt.end for attempt in failures(attempts)} == {End.REFUSED}
    assert world.member("web-2").ejection is not None


@pytest.mark.parametrize("mode", ["dry-run", "frozen"])
def test_automation_that_may_not_act_lets_resets_pass(mode: str) -> None:
    world, clients, members = stage("leaf-spine", automation={"mode": mode})
    before = world.installed()
    world.close_port(members[1])
    attempts = load(world, clients, 1)
    world.run(1)
    refused = failures(attempts)
    assert {attempt.end for attempt in refused} == {End.REFUSED}
    assert max(attempt.ended - attempt.started for attempt in refused if attempt.ended) < 0.01
    assert world.member("web-2").ejection is None
    assert world.installed() == before
    assert bool(world.announced("would-eject")) == (mode == "dry-run")


def test_a_silent_member_is_found_by_its_health_check() -> None:
    check = {"type": "tcp", "interval_s": 1.0, "timeout_s": 0.5, "fall": 2}
    world, clients, members = stage("leaf-spine", pool={"health_check": check})
    world.serve(members[1], Silent())
    world.run(4)
    assert world.member("web-2").ejection is not None
    attempts = load(world, clients, 0.2)
    world.run(1)
    assert failures(attempts) == []


def test_one_of_two_members_may_go_but_never_both() -> None:
    world, clients, members = stage("ring", pool={"max_ejection_percent": 100})
    for member in members:
        world.close_port(member, MEMBER_PORT)
    world.connections(clients, 60, dst=0x0A000064, port=VIP_PORT)
    world.run(2)
    out = [member for member in world.core.services.pools.members.values() if member.ejection is not None]
    assert len(out) == len(members) - 1
