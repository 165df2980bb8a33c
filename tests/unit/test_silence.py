"""Links that nothing crosses although they are up, in virtual time."""

import pytest
from measured_fabric import LEFT, RIGHT, MeasuredFabric

from controller.discovery import Discovery
from controller.events import Port
from controller.topology import Switch, Topology

NEAR, BACK = (1, RIGHT), (2, LEFT)
KNOWN_WITHIN_S = 2.0


def silent_after(fabric: MeasuredFabric, within_s: float) -> float | None:
    """Seconds until the direction is called silent."""
    began = fabric.now
    while fabric.now < began + within_s:
        fabric.run(0.05)
        if fabric.telemetry.prober.silent:
            return fabric.now - began
    return None


@pytest.mark.parametrize("seed", range(5))
def test_a_direction_that_carries_nothing_is_silent_within_two_seconds(seed: int) -> None:
    fabric = MeasuredFabric(seed=seed)
    fabric.run(20 + fabric.chance.random())
    fabric.wires[NEAR].loss = 1.0
    assert (silent_after(fabric, 5) or 5) <= KNOWN_WITHIN_S
    assert fabric.telemetry.prober.silent == {NEAR}, "the other direction is heard"


@pytest.mark.parametrize("loss", [0.2, 0.5])
def test_a_lossy_direction_is_not_silent(loss: float) -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    fabric.wires[NEAR].loss = loss
    assert silent_after(fabric, 60) is None


def test_it_is_heard_again_when_most_of_it_arrives() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    fabric.wires[NEAR].loss = 1.0
    fabric.run(5)
    fabric.wires[NEAR].loss = 0.8
    fabric.run(20)
    assert fabric.telemetry.prober.silent == {NEAR}
    fabric.wires[NEAR].loss = 0.0
    fabric.run(4)
    assert fabric.telemetry.prober.silent == set()


def test_a_switch_that_says_nothing_itself_is_no_silent_link() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    fabric.channels[2].answers = False
    assert silent_after(fabric, 10) is None


def test_a_controller_that_was_held_up_calls_nothing_silent() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    fabric.telemetry.suspect(NEAR, fabric.now)
    fabric.run(1)
    fabric.run(5, stalled=True)
    assert silent_after(fabric, 5) is None


def ring(*dpids: int) -> Discovery:
    """Switches in a ring: port 1 to the one before, 2 to the one behind; two are joined by two links."""
    topology = Topology()
    for dpid in dpids:
        ports = {number: Port(number, f"p{number}", number, True, 0) for number in (1, 2)}
        topology.switches[dpid] = Switch(dpid, dpid, ports, connected=True)
    for here, there in zip(dpids, (*dpids[1:], dpids[0]), strict=True):
        topology.links[here, 2], topology.links[there, 1] = (there, 1), (here, 2)
    return Discovery(topology, b"key")


def test_traffic_goes_round_a_silent_link_and_comes_back() -> None:
    discovery = ring(1, 2, 3)
    topology = discovery.topology
    assert topology.next_hops(1, 2) == [2]
    (said,) = discovery.follow_silent({(2, 1)})
    assert "nothing" in said.text and discovery.topology_changed
    assert topology.next_hops(1, 2) == [1], "a link that is silent one way is used neither way"
    assert topology.is_fabric_port((1, 2)), "no host is learnt there meanwhile"
    assert discovery.follow_silent({(2, 1)}) == []
    (said,) = discovery.follow_silent(set())
    assert "again" in said.text
    assert topology.next_hops(1, 2) == [2]


def test_where_there_is_no_other_way_it_stays_in_use() -> None:
    discovery = ring(1, 2, 3)
    assert len(discovery.follow_silent({(1, 2), (2, 1), (1, 1), (3, 2)})) == 0
    assert discovery.topology.next_hops(1, 2) == [2]
