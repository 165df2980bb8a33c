"""The graph and what is asked of it."""

from model_world import leaf_spine, ring
from static_fabric import core_that_knows

from controller.events import Port
from controller.topology import Host, Switch, Topology


def ring_of_four() -> Topology:
    return core_that_knows(ring(4, 1)).topology


def test_distances_and_next_hops_on_a_ring() -> None:
    topology = ring_of_four()
    assert [topology.distance(1, other) for other in (1, 2, 3, 4)] == [0, 1, 2, 1]
    assert topology.next_hops(1, 2) == [2]
    assert topology.next_hops(1, 3) == [2, 3], "both ways are as long"
    assert topology.next_hops(1, 1) == []


def test_a_port_that_is_down_takes_its_link_out_in_both_directions() -> None:
    topology = ring_of_four()
    port = topology.switches[1].ports[2]
    topology.switches[1].ports[2] = Port(port.port_no, port.name, port.mac, up=False)
    topology.changed()
    assert topology.distance(1, 2) == topology.distance(2, 1) == 3
    assert topology.fabric_ports(1) == [2, 3], "there is still a switch behind it"


def test_a_link_seen_in_one_direction_is_not_used() -> None:
    topology = ring_of_four()
    del topology.links[1, 2]
    topology.changed()
    assert topology.distance(2, 1) == 3


def test_path_links_are_those_of_every_shortest_path() -> None:
    topology = core_that_knows(leaf_spine(2, 2, 1)).topology
    assert topology.path_links(1, 2) == [(1, 2), (1, 3), (3, 2), (4, 2)]
    assert topology.path_links(1, 1) == []


def test_an_unreachable_switch_has_no_distance_and_no_hop() -> None:
    topology = Topology()
    topology.switches = {1: Switch(1, 1), 2: Switch(2, 2)}
    assert topology.distance(1, 2) is None
    assert topology.next_hops(1, 2) == topology.path_links(1, 2) == []


def test_host_ports_are_up_settled_and_lead_to_no_switch() -> None:
    topology = ring_of_four()
    switch = topology.switches[1]
    switch.ports[9] = Port(9, "p9", 9, up=True)
    switch.up_since[9] = 100.0
    switch.ports[8] = Port(8, "p8", 8, up=False)
    assert topology.host_ports(1, 100.5, 0.6) == [1]
    assert topology.host_ports(1, 100.0 + 0.6, 0.6) == [1, 9]


def test_a_switch_known_from_an_earlier_run_counts_as_it_was_until_it_says_otherwise() -> None:
    topology = Topology()
    topology.switches = {1: Switch(1, 1, heard_of=False), 2: Switch(2, 2, heard_of=False)}
    topology.links = {(1, 1): (2, 1), (2, 1): (1, 1)}
    assert topology.distance(1, 2) == 1
    topology.switches[1] = Switch(1, 1, {1: Port(1, "p", 1, up=False)})
    topology.changed()
    assert topology.distance(1, 2) is None


def test_edges_are_where_hosts_are() -> None:
    topology = core_that_knows(leaf_spine(3, 2, 2)).topology
    assert topology.edges() == [1, 2, 3]
    topology.hosts[1] = Host(1, 2, 4, 9)
    assert topology.edges() == [1, 2, 3, 4]
    assert [host.ip for host in topology.hosts_at(1)] == sorted(host.ip for host in topology.hosts_at(1))
