"""Connections through a VIP in all their lives, on every shape of fabric. The core is the real one, the fabric a model."""

from collections import Counter

import pytest
from model_world import MEMBER_PORT, SHAPES, World, ends, failures, stage, text

from controller import addresses
from controller.policy import AdminState
from topologies.model.application import End
from topologies.model.hosts import Attempt
from topologies.model.servers import Serve

EVERYWHERE = pytest.mark.parametrize("shape", SHAPES)


def kept_alive(world: World, clients: list[str], members: list[str], count: int) -> list[tuple[str, Attempt]]:
    """Connections that have had one answer and stay open: (client, connection)."""
    for member in members:
        world.serve(member, Serve(1000, keep_alive=True))
    attempts = world.connections(clients, count)
    world.run(0.5)
    assert {attempt.received for attempt in attempts} == {1000}
    return [(clients[place % len(clients)], attempt) for place, attempt in enumerate(attempts)]


def ask_again(world: World, kept: list[tuple[str, Attempt]]) -> None:
    """One more request on each, which each must answer."""
    before = [attempt.received for _, attempt in kept]
    for client, attempt in kept:
        world.fabric.hosts[client].act(attempt, lambda endpoint: endpoint.send(b"GET /more", world.now), world.now)
        world.fabric.settle(client)
    world.run(0.5)
    assert [attempt.received for _, attempt in kept] == [received + 1000 for received in before]
    assert [attempt.end for _, attempt in kept] == [None] * len(kept)


def shares(world: World, clients: list[str], attempts: list[Attempt]) -> Counter[str | None]:
    world.run(0.05)
    return Counter(world.served_by(attempt, clients[place % len(clients)]) for place, attempt in enumerate(attempts))


@EVERYWHERE
def test_every_client_is_served_by_every_member(shape: str) -> None:
    world, clients, _ = stage(shape)
    for client in clients:
        attempts = world.connections([client], 24)
        assert set(shares(world, [client], attempts)) == {"web-1", "web-2", "web-3"}
        world.run(0.5)
        assert ends(attempts) == {End.CLOSED: 24}
    assert world.faultless()


@EVERYWHERE
def test_weights_move_new_connections_and_no_open_one(shape: str) -> None:
    world, clients, members = stage(shape)
    kept = kept_alive(world, clients, members, 24)
    homes = [world.served_by(attempt, client) for client, attempt in kept]
    world.apply(world.policy.model_copy(update={"pools": {"web": reweighted(world, {"web-1": 0, "web-2": 900})}}))
    world.run(0.1)
    ask_again(world, kept)
    assert [world.served_by(attempt, client) for client, attempt in kept] == homes
    moved = shares(world, clients, world.connections(clients, 60))
    assert moved["web-1"] == 0 and moved["web-2"] > 3 * moved["web-3"] > 0


def reweighted(world: World, weights: dict[str, int], **more: object):  # type: ignore[no-untyped-def]
    pool = world.policy.pools["web"]
    changed = [member.model_copy(update={"weight": weights.get(member.name, member.weight)}) for member in pool.members]
    return pool.model_copy(update={"members": tuple(changed), **more})


def drained(world: World, name: str, **more: object):  # type: ignore[no-untyped-def]
    pool = world.policy.pools["web"]
    changed = [
        member.model_copy(update={"admin_state": AdminState.DRAINING}) if member.name == name else member
        for member in pool.members
    ]
    return world.policy.model_copy(
        update={"pools": {"web": pool.model_copy(update={"members": tuple(changed), **more})}}
    )


@EVERYWHERE
def test_a_draining_member_keeps_its_connections_and_gets_no_new_one(shape: str) -> None:
    world, clients, members = stage(shape)
    kept = kept_alive(world, clients, members, 24)
    world.apply(drained(world, "web-1"))
    world.run(0.1)
    ask_again(world, kept)
    assert "web-1" in {world.served_by(attempt, client) for client, attempt in kept}
    assert "web-1" not in shares(world, clients, world.connections(clients, 30))


def test_a_drain_ends_in_time() -> None:
    world, clients, members = stage("leaf-spine")
    kept = kept_alive(world, clients, members, 24)
    homes = [world.served_by(attempt, client) for client, attempt in kept]
    world.apply(drained(world, "web-1", drain_timeout_s=5.0))
    world.run(6)
    for client, attempt in kept:
        world.fabric.hosts[client].act(attempt, lambda endpoint: endpoint.send(b"GET /more", world.now), world.now)
        world.fabric.settle(client)
    world.run(1)
    assert [attempt.end is End.RESET for _, attempt in kept] == [home == "web-1" for home in homes]


@EVERYWHERE
def test_a_member_that_calls_its_own_vip_is_served_by_any_member_itself_too(shape: str) -> None:
    world, _, members = stage(shape)
    names = [world.names[host.address] for host in world.fabric.hosts.values() if text(host.address) in members]
    for name in names:
        attempts = world.connections([name], 20, 0.02)
        assert set(shares(world, [name], attempts)) == {"web-1", "web-2", "web-3"}
        world.run(1)
        assert ends(attempts) == {End.CLOSED: 20}


def test_a_member_that_is_drained_keeps_the_connections_to_itself() -> None:
    world, _, members = stage("leaf-spine")
    kept = kept_alive(world, ["h1-2"], members, 20)
    assert "web-1" in {world.served_by(attempt, client) for client, attempt in kept}
    world.apply(drained(world, "web-1"))
    world.run(0.1)
    ask_again(world, kept)


@EVERYWHERE
def test_a_client_stays_with_its_member_while_it_keeps_coming(shape: str) -> None:
    world, clients, members = stage(shape, vip={"affinity_timeout_s": 10})
    homes = {}
    for client in clients:
        attempts = world.connections([client], 8, 0.05)
        (homes[client],) = shares(world, [client], attempts)
    world.run(5)
    for client in clients:
        assert set(shares(world, [client], world.connections([client], 4, 0.05))) == {homes[client]}
    lost = next(iter(homes.values()))
    world.close_port(members[int(str(lost)[-1]) - 1])
    attempts = world.connections(clients, 6 * len(clients), 0.02)
    world.run(1)
    assert failures(attempts) == []
    assert lost not in shares(world, clients, world.connections(clients, len(clients)))
    assert world.faultless()


@pytest.mark.parametrize("shape", ["single", "leaf-spine"])
@pytest.mark.parametrize("through_vip", [True, False])
def test_a_port_is_used_again_while_its_old_connection_is_still_open(shape: str, through_vip: bool) -> None:
    world, clients, members = stage(shape)
    client = clients[0]
    for member in members:
        world.serve(member, Serve(1000, keep_alive=True))
    last = int.from_bytes(bytes(int(octet) for octet in members[-1].split(".")), "big")
    where = {} if through_vip else {"dst": last, "port": MEMBER_PORT}
    old = world.connect(client, src_port=40000, **where)
    world.run(0.5)
    assert old.received == 1000
    world.fabric.hosts[client]._endpoints.clear()  # It lost power, and has just started again.
    again = world.connect(client, src_port=40000, **where)
    world.run(3)
    assert again.received == 1000
    assert again.connected is not None and again.connected - again.started < 1.1, "its SYN is sent again after a second"


def test_a_port_is_used_again_after_an_orderly_end_without_a_wait() -> None:
    world, clients, _ = stage("leaf-spine")
    for _ in range(5):
        attempt = world.connect(clients[0], src_port=40000)
        world.run(0.5)
        assert attempt.end is End.CLOSED and attempt.syns_sent == 1


@EVERYWHERE
def test_hosts_reach_each_other_directly_and_stray_segments_open_nothing(shape: str) -> None:
    world, clients, members = stage(shape)
    for client in clients:
        for member in members:
            ip = addresses.number(member)
            ping = world.fabric.hosts[client].ping(ip, world.now)
            direct = world.connect(client, ip, MEMBER_PORT)
            world.run(0.2)
            assert ping.answered is not None and direct.end is End.CLOSED
        ping = world.fabric.hosts[client].ping(world.vip, world.now)
        world.fabric.settle(client)
        world.run(0.1)
        assert ping.answered is not None
    assert world.faultless()
