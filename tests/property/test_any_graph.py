"""However links come and go, the graph that kept what still held answers as one that computes everything anew."""

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.graph import Endpoint, Graph

Links = set[tuple[Endpoint, Endpoint]]
SWITCHES = range(1, 9)


def both_ways(pairs: list[tuple[int, int]]) -> Links:
    """A link for each pair, between ports that name the other switch."""
    return {link for a, b in pairs for link in (((a, b), (b, a)), ((b, a), (a, b)))}


def answers(graph: Graph) -> list[object]:
    return [(graph.distances(target), graph.detours(target)) for target in SWITCHES]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([(a, b) for a in SWITCHES for b in SWITCHES if a < b]), unique=True), min_size=2)
)
def test_what_is_kept_is_what_would_be_computed(steps: list[list[tuple[int, int]]]) -> None:
    followed = Graph()
    for pairs in steps:
        followed.follow(SWITCHES, both_ways(pairs))
        fresh = Graph()
        fresh.follow(SWITCHES, both_ways(pairs))
        assert answers(followed) == answers(fresh)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_one_link_at_a_time(seed: int, data: st.DataObject) -> None:
    whole = [(a + 1, b + 1) for a, b in nx.gnm_random_graph(len(SWITCHES), 14, seed=seed).edges]
    followed, there = Graph(), list(whole)
    followed.follow(SWITCHES, both_ways(there))
    for _ in range(8):
        answers(followed)
        link = data.draw(st.sampled_from(whole))
        there = [pair for pair in there if pair != link] if link in there else [*there, link]
        followed.follow(SWITCHES, both_ways(there))
        fresh = Graph()
        fresh.follow(SWITCHES, both_ways(there))
        assert answers(followed) == answers(fresh)
