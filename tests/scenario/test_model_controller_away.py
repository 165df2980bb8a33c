"""The controller goes and comes back: the switches neither need nor notice it. The core is the real one, the fabric a model."""

import pytest
from model_world import SHAPES, World, ends, failures, stage

from controller.events import LoadReported
from topologies.model.application import End
from topologies.model.servers import Serve

EVERYWHERE = pytest.mark.parametrize("shape", SHAPES)


@EVERYWHERE
def test_a_restart_changes_nothing_on_the_switches(shape: str) -> None:
    world, clients, _ = stage(shape)
    world.run(3)
    before, groups = world.installed(), world.groups()
    world.leave()
    away = world.connections(clients, 20)
    world.run(1)
    world.come_back()
    for _ in range(12):
        away += world.connections(clients, 3)
        assert world.installed() == before
        world.run(0.3)
    world.run(20)
    assert (world.installed(), world.groups()) == (before, groups)
    assert failures(away) == [] and world.faultless()


def test_switches_that_come_back_one_by_one_change_nothing_on_the_others() -> None:
    world, clients, _ = stage("leaf-spine")
    before = world.installed()
    world.leave()
    connect, absent = world.fabric._connect, []
    world.fabric._connect = absent.append  # type: ignore[method-assign]
    world.come_back()
    attempts = []
    for dpid in absent:
        connect(dpid)
        world.run(2)
        assert world.installed() == before
        attempts += world.connections(clients, 6)
    world.run(20)
    assert world.installed() == before
    assert failures(attempts) == []


def test_ejections_cut_weights_and_drains_outlive_the_controller() -> None:
    world, clients, members = stage("leaf-spine", pool={"each": {3: {"admin_state": "draining"}}})
    world.close_port(members[1])
    world.connections(clients, 30)
    world.core.services.pools.cut(world.member("web-1"))
    world.run(1)
    assert world.member("web-2").ejection is not None
    before, groups = world.installed(), world.groups()
    world.leave()
    world.come_back()
    world.run(1)
    assert world.member("web-2").ejection is not None and world.member("web-1").share == 0.5
    assert (world.installed(), world.groups()) == (before, groups)
    attempts = world.connections(clients, 12)
    world.run(1)
    assert {world.served_by(attempt, client) for attempt, client in zip(attempts, clients * 12, strict=False)} == {
        "web-1"
    }
    world.serve(members[1], Serve(3000))
    world.run(60)
    assert world.member("web-2").ejection is None, "own probes let it back in after a restart too"
    assert world.member("web-1").share == 1.0


def test_while_it_is_away_refusals_are_held_for_two_seconds_and_pass_from_then_on() -> None:
    world, clients, members = stage("leaf-spine")
    world.run(1)
    world.leave()
    world.close_port(members[1])
    world.run(2.1)
    late = world.connections(clients, 60)
    world.run(0.2)
    assert set(ends(late)) == {End.CLOSED, End.REFUSED}
    refused = [attempt for attempt in late if attempt.end is End.REFUSED]
    assert max(attempt.ended - attempt.started for attempt in refused if attempt.ended) < 0.01


def test_while_it_is_away_the_vip_answers_arp_and_ping() -> None:
    world, clients, _ = stage("ring")
    world.leave()
    for client in clients:
        host = world.fabric.hosts[client]
        host._neighbours._known.clear()
        ping = host.ping(world.vip, world.now)
        world.fabric.settle(client)
        world.run(0.1)
        assert ping.answered is not None


def test_a_switch_that_restarts_is_set_up_again_and_takes_up_its_connections() -> None:
    world, clients, _ = stage("leaf-spine")
    world.serve("10.0.1.2", Serve(1000, keep_alive=True))
    world.serve("10.0.2.2", Serve(1000, keep_alive=True))
    world.serve("10.0.3.2", Serve(1000, keep_alive=True))
    kept = world.connections(clients[:1], 12)
    world.run(1)
    assert {attempt.received for attempt in kept} == {1000}
    world.fabric.restart_switch(1, downtime_s=0.3)
    world.run(2)
    host = world.fabric.hosts[clients[0]]
    for attempt in kept:
        host.act(attempt, lambda endpoint: endpoint.send(b"GET /more", world.now), world.now)
    world.fabric.settle(clients[0])
    world.run(2)
    assert [attempt.end for attempt in kept] == [None] * 12
    assert {attempt.received for attempt in kept} == {2000}


def test_a_switch_that_reconnects_before_its_old_connection_is_missed_is_set_up_as_it_is() -> None:
    world, clients, _ = stage("leaf-spine")
    world.run(1)
    before = world.installed()
    world.fabric._connect(1)
    world.run(0.1)
    # It restarts, empty, before its entries were believed; nobody has said that the first connection ended.
    world.fabric.switches[1].restart()
    world.fabric._connect(1)
    world.run(3)
    assert world.installed() == before
    attempts = world.connections(clients, 12)
    world.run(1)
    assert failures(attempts) == [] and world.faultless()


def test_an_agents_word_is_not_forgotten_by_a_change_of_policy() -> None:
    world, clients, _ = stage("leaf-spine")
    world.tell(LoadReported("web", "web-1", 0.5, "drain"))
    world.apply(world.policy)
    attempts = world.connections(clients, 12)
    assert "web-1" not in served(world, clients, attempts)
    world.tell(LoadReported("web", "web-1", 0.5, "up"))
    assert "web-1" in served(world, clients, world.connections(clients, 24))


def served(world: World, clients: list[str], attempts: list) -> set[str | None]:
    world.run(0.01)
    return {world.served_by(attempt, clients[place % len(clients)]) for place, attempt in enumerate(attempts)}
