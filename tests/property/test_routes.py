"""Every host reaches every other, and still does when any one link is cut and nobody is there to notice."""

import random
from itertools import combinations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_world import SHAPES, leaf_spine, ring, wiring_of
from static_fabric import TTL, StaticFabric

from topologies.model.wiring import LinkPlace, SwitchPort, Wiring

FLOWS = 2
"""Datagrams per pair, from different ports: groups choose ways by them."""


def fat_tree(k: int = 4) -> Wiring:
    """Edges 1 on with a host each, then aggregation, then cores: one link down from an aggregation switch has no local twin."""
    half = k // 2
    graph: nx.Graph = nx.Graph()
    for pod in range(k):
        for place in range(half):
            aggregation = 50 + pod * half + place
            graph.add_edges_from((1 + pod * half + edge, aggregation) for edge in range(half))
            graph.add_edges_from((aggregation, 100 + place * half + core) for core in range(half))
    return wiring_of(graph, dict.fromkeys(range(1, k * half + 1), 1))


@st.composite
def fabrics(draw: st.DrawFn) -> Wiring:
    """Connected graphs of up to 8 switches, hosts at most of them, now and then two links side by side."""
    size = draw(st.integers(2, 8))
    graph: nx.Graph = nx.Graph()
    graph.add_nodes_from(range(1, size + 1))
    graph.add_edges_from((node, draw(st.integers(1, node - 1))) for node in range(2, size + 1))
    more = draw(st.sets(st.sampled_from(sorted(combinations(graph.nodes, 2))), max_size=6))
    graph.add_edges_from(more)
    hosts = draw(st.sets(st.sampled_from(sorted(graph.nodes)), min_size=2))
    wiring = wiring_of(graph, dict.fromkeys(hosts, 1))
    doubled = draw(st.sampled_from([None, *wiring.links]))
    if doubled is None:
        return wiring
    twin = LinkPlace(SwitchPort(doubled.a.dpid, 100), SwitchPort(doubled.b.dpid, 101))
    return Wiring(wiring.hosts, (*wiring.links, twin), wiring.switches)


def lost(fabric: StaticFabric) -> list[tuple[str, str, list[int]]]:
    """Pairs with a path between them whose datagrams do not all arrive, and the way one of those went."""
    walks = (
        (source.name, target.name, *fabric.walk(source, target, 1000 + flow))
        for source, target in fabric.connected()
        for flow in range(FLOWS)
    )
    return [(source, target, met) for source, target, arrived, met in walks if not arrived]


def survives_any_one_cut(wiring: Wiring) -> None:
    fabric = StaticFabric(wiring)
    fabric.cut()
    assert lost(fabric) == []
    for link in wiring.links:
        fabric.cut(link)
        assert lost(fabric) == [], f"{link.a} to {link.b} is cut"


@pytest.mark.parametrize("shape", [*SHAPES, "long-ring", "wide-leaf-spine"])
def test_a_usual_fabric_survives_any_one_cut(shape: str) -> None:
    shapes = {**SHAPES, "long-ring": lambda: ring(7, 1), "wide-leaf-spine": lambda: leaf_spine(4, 3, 1)}
    survives_any_one_cut(shapes[shape]())


def test_a_fat_tree_survives_a_cut_just_before_the_last_switch() -> None:
    wiring = fat_tree()
    fabric = StaticFabric(wiring)
    for link in [link for link in wiring.links if link.a.dpid <= 2]:
        fabric.cut(link)
        assert lost(fabric) == []


@settings(max_examples=25, deadline=None)
@given(fabrics())
def test_any_fabric_survives_any_one_cut(wiring: Wiring) -> None:
    survives_any_one_cut(wiring)


@settings(max_examples=25, deadline=None)
@given(fabrics(), st.randoms(use_true_random=False))
def test_no_packet_circles_after_two_cuts(wiring: Wiring, chance: random.Random) -> None:
    fabric = StaticFabric(wiring)
    for _ in range(4):
        fabric.cut(*chance.sample(wiring.links, min(2, len(wiring.links))))
        for source, target in fabric.connected():
            _, met = fabric.walk(source, target)
            # Every change of ways costs a hop to live; between two changes a way is at most all switches long.
            assert len(met) <= TTL * len(fabric.switches)


@settings(max_examples=25, deadline=None)
@given(fabrics())
def test_without_a_cut_packets_take_shortest_paths(wiring: Wiring) -> None:
    fabric = StaticFabric(wiring)
    fabric.cut()
    graph: nx.Graph = nx.Graph((link.a.dpid, link.b.dpid) for link in wiring.links)
    for source, target in fabric.connected():
        arrived, met = fabric.walk(source, target)
        assert arrived and len(met) == nx.shortest_path_length(graph, source.at.dpid, target.at.dpid) + 1
