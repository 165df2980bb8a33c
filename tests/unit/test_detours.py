"""Two trees to a target that share no link in one direction, but for bridges."""

import networkx as nx
import pytest

from controller.detours import Link, detours


def links_of(graph: nx.MultiGraph) -> dict[int, list[Link]]:
    """Ports are numbered per switch in the order of the graph's edges."""
    links: dict[int, list[Link]] = {node: [] for node in graph}
    for a, b in graph.edges():
        port, far = len(links[a]) + 1, len(links[b]) + 1
        links[a].append(Link(port, b, far))
        links[b].append(Link(far, a, port))
    return links


def follow(
    links: dict[int, list[Link]], ways: dict[int, tuple[int, int]], tree: int, node: int, target: int
) -> list[Link]:
    """The links from a node to the target on one tree."""
    taken: list[Link] = []
    while node != target:
        taken.append(next(link for link in links[node] if link.port_no == ways[node][tree]))
        node = taken[-1].beyond
        assert len(taken) <= len(links), "it circles"
    return taken


SHAPES = {
    "ring": nx.cycle_graph(6),
    "complete": nx.complete_graph(5),
    "grid": nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4)),
    "two rings that meet in one switch": nx.Graph([(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 2)]),
    "petersen": nx.petersen_graph(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_link_is_in_both_trees_in_the_same_direction(shape: str) -> None:
    links = links_of(nx.MultiGraph(SHAPES[shape]))
    for target in links:
        ways = detours(links, target)
        assert ways.keys() == links.keys() - {target}
        assert all(first != second for first, second in ways.values())
        for node in ways:
            for tree in (0, 1):
                follow(links, ways, tree, node, target)


def test_a_way_round_a_dead_link_never_meets_it_again() -> None:
    links = links_of(nx.MultiGraph(SHAPES["petersen"]))
    for target in links:
        ways = detours(links, target)
        for node in ways:
            for dead in links[node]:
                tree = 0 if ways[node][0] != dead.port_no else 1
                rest = follow(links, ways, tree, node, target)
                assert dead not in rest
                assert Link(dead.far_port_no, node, dead.port_no) not in rest


def test_over_a_bridge_both_ways_are_the_same() -> None:
    bridge_and_ring = links_of(nx.MultiGraph([(0, 1), (1, 2), (2, 3), (3, 1)]))
    ways = detours(bridge_and_ring, 0)
    assert ways[1][0] == ways[1][1]
    assert ways[2][0] != ways[2][1] and ways[3][0] != ways[3][1]


def test_two_links_side_by_side_are_two_ways() -> None:
    links = links_of(nx.MultiGraph([(0, 1), (0, 1)]))
    assert sorted(detours(links, 0)[1]) == [1, 2]


def test_what_cannot_reach_the_target_has_no_way() -> None:
    links = links_of(nx.MultiGraph([(0, 1), (2, 3)]))
    assert detours(links, 0).keys() == {1}
