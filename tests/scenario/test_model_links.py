"""Links die and come back under traffic, with a controller and without one. The core is the real one, the fabric a model."""

import pytest
from model_world import World, ends, failures, policy_of, ring, stage, text, tree

from topologies.model.application import End
from topologies.model.wiring import LinkPlace

REDUNDANT = pytest.mark.parametrize("shape", ["ring", "leaf-spine"])


def cut(world: World, link: LinkPlace) -> None:
    world.fabric.set_link(link, up=False)


@REDUNDANT
def test_a_cut_without_a_controller_loses_no_connection(shape: str) -> None:
    world, clients, _ = stage(shape)
    world.run(2)
    world.leave()
    for link in world.fabric.links:
        cut(world, link)
        attempts = world.connections(clients, 12)
        world.run(0.1)
        assert ends(attempts) == {End.CLOSED: 12}
        assert max(attempt.syns_sent for attempt in attempts) == 1
        world.fabric.set_link(link, up=True)


@REDUNDANT
def test_a_cut_under_load_costs_a_retransmission_at_most(shape: str) -> None:
    world, clients, _ = stage(shape)
    link = world.fabric.links[0]
    attempts = world.connections(clients, 40, 0.005)
    cut(world, link)
    attempts += world.connections(clients, 60, 0.005)
    world.run(3)
    attempts += world.connections(clients, 20, 0.005)
    world.fabric.set_link(link, up=True)
    attempts += world.connections(clients, 60, 0.005)
    world.run(10)
    attempts += world.connections(clients, 20, 0.005)
    world.run(1)
    assert failures(attempts) == []
    late = [attempt for attempt in attempts if attempt.connected and attempt.connected - attempt.started > 0.5]
    assert len(late) <= 2, "frames on the wire when it was cut"
    assert world.faultless()


def test_hosts_behind_a_cut_tree_are_reached_again_when_it_is_mended() -> None:
    world, clients, _ = stage("tree")
    link = next(link for link in world.fabric.links if {link.a.dpid, link.b.dpid} == {2, 4})
    cut(world, link)
    world.run(1)
    lonely = world.fabric.hosts["h4-1"].ping(world.fabric.hosts["h5-1"].address, world.now)
    world.fabric.settle("h4-1")
    world.run(0.2)
    assert lonely.answered is None
    world.fabric.set_link(link, up=True)
    world.run(2)
    ping = world.fabric.hosts["h4-1"].ping(world.fabric.hosts["h5-1"].address, world.now)
    world.fabric.settle("h4-1")
    world.run(0.2)
    assert ping.answered is not None
    attempts = world.connections(clients, 12)
    world.run(1)
    assert failures(attempts) == []


def test_a_new_switch_port_that_leads_to_a_switch_never_holds_a_host() -> None:
    wiring = ring(4, 1)
    world = World(wiring, policy_of([text(wiring.hosts[1].address)]))
    link = world.fabric.links[0]
    world.connections(["h1-1", "h3-1"], 10)
    for _ in range(3):
        cut(world, link)
        world.connections(["h1-1", "h3-1"], 10)
        world.fabric.set_link(link, up=True)
        world.connections(["h1-1", "h3-1"], 100)
    ends_of_links = {tuple(end) for link in world.fabric.links for end in (link.a, link.b)}
    assert not ends_of_links & {host.endpoint for host in world.core.topology.hosts.values()}
    assert {host.ip for host in world.core.topology.hosts.values()} == {place.address for place in wiring.hosts} - {
        world.fabric.hosts["h4-1"].address
    }, "who has said nothing is not known"


def test_a_tree_of_switches_is_found_whole() -> None:
    wiring = tree()
    world = World(wiring, policy_of([text(wiring.hosts[1].address)]))
    found = {(near, far) for near, far in world.core.topology.links.items()}
    laid = {(tuple(link.a), tuple(link.b)) for link in wiring.links}
    assert found == laid | {(far, near) for near, far in laid}
