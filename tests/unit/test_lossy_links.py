"""A link that loses packets by its own fault is an incident before anybody is reset; what only looks like it is none."""

import pytest
from measured_fabric import HOST, LEFT, RIGHT, MeasuredFabric
from model_world import leaf_spine, policy_of, text
from static_fabric import core_that_knows

from controller.causes import Cause
from controller.diagnosis.incidents import QUIET_S, SubjectType
from controller.diagnosis.lossy_links import lossy_links
from controller.events import PortCounted, PortCounters, QueueCounted, Tick
from controller.hosts import place_name
from controller.topology import Endpoint

SPEED_BPS = 10_000_000
NEAR, ACCESS = (1, RIGHT), (1, HOST)


def found(fabric: MeasuredFabric) -> list[Endpoint]:
    return [state.near for state in lossy_links(fabric.telemetry, fabric.now)]


@pytest.mark.parametrize("near", [NEAR, ACCESS])
def test_a_full_link_or_port_of_a_host_that_loses_packets_is_found(near: Endpoint) -> None:
    fabric = MeasuredFabric()
    fabric.load(near, 0.95 * SPEED_BPS)
    fabric.meters[near].drops_per_s = 50.0
    fabric.run(15)
    assert found(fabric) == [near]


def test_a_busy_link_that_loses_nothing_does_no_harm() -> None:
    fabric = MeasuredFabric()
    fabric.load(NEAR, 0.95 * SPEED_BPS)
    fabric.run(15)
    assert fabric.telemetry.congested() == [NEAR] and found(fabric) == []


def test_a_few_lost_packets_of_many_do_little() -> None:
    fabric = MeasuredFabric()
    fabric.load(NEAR, 0.9 * SPEED_BPS)
    fabric.meters[NEAR].drops_per_s = 5.0
    fabric.run(15)
    assert fabric.telemetry.congested() == [NEAR] and found(fabric) == []


def test_lost_probes_without_load_are_the_control_channels() -> None:
    fabric = MeasuredFabric()
    fabric.wires[NEAR].loss = 0.4
    fabric.run(40)
    assert fabric.telemetry.congested() == [NEAR] and found(fabric) == []


def test_what_a_full_link_lets_through_is_not_the_next_links_fault() -> None:
    fabric = MeasuredFabric(switches=3)
    for near, drops in (((1, RIGHT), 400.0), ((2, RIGHT), 60.0)):
        fabric.load(near, 0.9 * SPEED_BPS)
        fabric.meters[near].drops_per_s = drops
    fabric.run(15)
    assert fabric.telemetry.congested() == [(1, RIGHT), (2, RIGHT)]
    assert found(fabric) == [(1, RIGHT)]
    fabric.meters[2, LEFT].drops_per_s = 300.0
    fabric.run(15)
    assert (2, LEFT) in found(fabric), "one that loses as much is no echo"


# --- and becomes an incident ---------------------------------------------------------------------------------------------------


class Fabric:
    """A core that is told of one port that loses packets."""

    def __init__(self) -> None:
        wiring = leaf_spine()
        self.core = core_that_knows(wiring, policy_of([text(host.address) for host in wiring.hosts[:2]]))
        self.now, self.sent, self.dropped = 1_700_000_000.0, 0, 0

    def lose(self, near: Endpoint, seconds: float, drops_per_s: int) -> None:
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            self.sent, self.dropped = self.sent + 500_000, self.dropped + drops_per_s // 2
            counters = PortCounters(0, self.sent, 0, self.sent // 1000, 0, self.now)
            self.core.handle(PortCounted(near[0], {near[1]: counters}), self.now)
            self.core.handle(QueueCounted(near[0], {near[1]: self.dropped}), self.now)
            self.core.handle(Tick(), self.now)


def test_a_link_that_loses_packets_is_an_incident_until_it_has_room_again() -> None:
    fabric = Fabric()
    near = min(fabric.core.topology.links)
    fabric.lose(near, 5, 400)
    (incident,) = fabric.core.investigation.incidents.all.values()
    far = fabric.core.topology.links[near]
    assert incident.subject == (SubjectType.LINK, f"{place_name(near)}-{place_name(far)}")
    assert incident.cause is Cause.CONGESTION and incident.diagnosis.confidence > 0.8
    assert "the link is full and loses 400 packets per second" in [
        spoken.feature.text for spoken in incident.diagnosis.evidence
    ]
    fabric.lose(near, 20, 400)
    assert incident.closed is None and incident.resets == 0
    assert incident.actions == [], "shares of paths follow in steps while nobody is reset"
    fabric.lose(near, 20 + QUIET_S, 0)
    assert incident.closed is not None


def test_of_a_full_port_of_a_host_it_is_said_that_there_is_no_other_way() -> None:
    fabric = Fabric()
    host = next(iter(fabric.core.topology.hosts.values()))
    fabric.lose(host.endpoint, 8, 400)
    (incident,) = fabric.core.investigation.incidents.all.values()
    assert incident.subject == (SubjectType.LINK, place_name(host.endpoint))
    assert [(taken.action, taken.result) for taken in incident.actions] == [
        ("move-paths", "not done: no better way around it")
    ]
