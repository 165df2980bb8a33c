"""What the graph keeps when links come and go: not only the right answers, but without computing them all again."""

import pytest

from controller import detours
from controller.graph import Graph
from topologies.simulation.fat_tree import fat_tree


def links_of(k: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return [way for link in fat_tree(k, 0).links for way in ((link.a, link.b), (link.b, link.a))]


def test_a_cut_link_leaves_most_answers_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    links = links_of(4)
    switches = sorted({near[0] for near, _ in links})
    graph = Graph()
    graph.follow(switches, links)
    for target in switches:
        graph.distances(target)
        graph.detours(target)
    cut = links[-1]  # between an aggregation and a core switch
    computed: list[int] = []
    search = detours.detours
    monkeypatch.setattr(detours, "detours", lambda links, target: computed.append(target) or search(links, target))
    graph.follow(switches, [link for link in links if link not in (cut, cut[::-1])])
    for target in switches:
        graph.detours(target)
    assert 0 < len(computed) < len(switches)


def test_nothing_changed_keeps_everything() -> None:
    links = links_of(4)
    switches = sorted({near[0] for near, _ in links})
    graph = Graph()
    graph.follow(switches, links)
    before = graph.distances(switches[0]), graph.detours(switches[0])
    graph.follow(switches, links)
    assert graph.distances(switches[0]) is before[0] and graph.detours(switches[0]) is before[1]
