"""Weights of paths settle under any constant load, however it is made up, and come back when it is over."""

from closed_loop import ClosedLoop, Flow
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.paths import FULL

SETTLED_S, WATCHED_S = 540.0, 60.0
MOVED_AT_MOST = 0.05

places = st.floats(0, 0.999)
mice = st.builds(Flow, places, st.floats(0.001, 0.05))
elephants = st.builds(Flow, places, st.floats(0.3, 1.0), elastic=st.booleans())
loads = st.tuples(st.lists(mice, max_size=60), st.lists(elephants, max_size=4)).map(lambda parts: parts[0] + parts[1])


@given(spines=st.integers(2, 4), flows=loads, lossy=st.dictionaries(st.integers(0, 3), st.floats(0, 0.2), max_size=2))
@example(spines=2, flows=[Flow(0.2, 1.0, elastic=True)], lossy={})
@example(spines=2, flows=[Flow(0.2, 1.0, elastic=True), Flow(0.6, 1.0, elastic=True)], lossy={})
@example(spines=2, flows=[Flow(place / 50, 0.02) for place in range(50)] + [Flow(0.5, 0.7)], lossy={})
@example(spines=2, flows=[Flow(0.5, 0.5), Flow(0.75, 0.375)], lossy={})
@settings(max_examples=60, deadline=None)
def test_at_constant_load_the_weights_settle(spines: int, flows: list[Flow], lossy: dict[int, float]) -> None:
    loop = ClosedLoop(spines, flows, lossy)
    loop.run(SETTLED_S + WATCHED_S)
    assert loop.movement(WATCHED_S) < MOVED_AT_MOST
    assert loop.largest_step() <= 0.2


@given(flows=loads)
@settings(max_examples=25, deadline=None)
def test_when_the_load_is_gone_every_way_gets_its_share_back(flows: list[Flow]) -> None:
    loop = ClosedLoop(2, flows)
    loop.run(120.0)
    loop.flows = []
    loop.run(300.0)
    assert set(loop.paths.shares(1, 2, loop.ports).values()) == {FULL}


def test_a_way_that_one_flow_fills_keeps_little_of_the_others() -> None:
    bulk = Flow(0.01, 1.0, elastic=True)
    loop = ClosedLoop(2, [bulk, *(Flow(place / 100, 0.002) for place in range(100))])
    loop.run(20.0)
    full = min(loop.ports, key=loop.shares().__getitem__)
    assert loop.shares()[full] <= 0.15


def test_a_way_that_loses_packets_is_avoided_for_as_long_as_it_does() -> None:
    loop = ClosedLoop(3, [Flow(place / 100, 0.002) for place in range(100)], lossy={1: 0.1})
    loop.run(60.0)
    assert loop.shares()[loop.ports[1]] <= 0.1
    before = loop.shares()
    loop.run(500.0)
    assert loop.shares() == before
