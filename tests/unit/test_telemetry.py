"""Utilisation, drops and congestion, in virtual time: against ports whose counters are known."""

import time

import pytest
from measured_fabric import HOST, LEFT, RIGHT, MeasuredFabric

from controller.events import PortCounted, PortCounters, QueueCounted
from controller.policy import Policy
from controller.polling import FAST_INTERVAL_S, IDLE_INTERVAL_S, PORTS_PER_S
from controller.telemetry import LinkState

NEAR, BACK, MEMBER = (1, RIGHT), (2, LEFT), (2, HOST)
SPEED_BPS = 10_000_000


def _state(fabric: MeasuredFabric) -> LinkState:
    return fabric.telemetry.link(NEAR, fabric.now)


def _polls(fabric: MeasuredFabric, seconds: float) -> int:
    before = len(fabric.asked)
    fabric.run(seconds)
    return sum(1 for _, dpid in fabric.asked[before:] if dpid == 1)


# --- utilisation ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
def test_utilisation_is_what_the_counters_say(share: float) -> None:
    fabric = MeasuredFabric()
    fabric.load(NEAR, share * SPEED_BPS, rx_bps=0.1 * SPEED_BPS)
    fabric.run(20)
    state = _state(fabric)
    assert state.utilisation == pytest.approx(share, rel=0.01)
    assert state.throughput_bps == pytest.approx(share * SPEED_BPS, rel=0.01)
    assert state.received_bps == pytest.approx(0.1 * SPEED_BPS, rel=0.01)
    assert fabric.telemetry.link(BACK, fabric.now).utilisation == 0, "measured, and nothing was sent"


def test_a_late_answer_does_not_blur_the_rate() -> None:
    """The elapsed time is the switch's own: the way to the controller may take as long as it likes."""
    fabric = MeasuredFabric()
    fabric.telemetry.on_tick(fabric.now)
    for age, arrives_after in ((10.0, 0.0), (12.0, 1.4), (14.0, 0.1)):
        sent = int(SPEED_BPS / 8 * age)
        counters = PortCounters(0, sent, 0, 0, 0, age)
        fabric.telemetry.on_ports(PortCounted(1, {RIGHT: counters}), fabric.now + age + arrives_after)
    assert fabric.telemetry.link(NEAR, fabric.now + 14.1).utilisation == pytest.approx(1.0, rel=1e-6)


def test_a_switch_that_stops_answering_makes_its_ports_unknown() -> None:
    fabric = MeasuredFabric()
    fabric.load(NEAR, 0.5 * SPEED_BPS)
    fabric.meters[NEAR].drops_per_s = 0.0
    fabric.run(10)
    assert _state(fabric).drops_per_s == 0
    fabric.channels[1].counts = False
    fabric.run(10)
    state = _state(fabric)
    assert (state.utilisation, state.throughput_bps, state.drops, state.drops_per_s) == (None,) * 4


def test_what_a_switch_does_not_count_is_unknown() -> None:
    fabric = MeasuredFabric()
    fabric.telemetry.on_tick(fabric.now)
    for age in (5.0, 7.0):
        counters = PortCounters(None, int(1e6 * age), None, None, None, None)
        fabric.telemetry.on_ports(PortCounted(1, {RIGHT: counters}), fabric.now + age)
    state = fabric.telemetry.link(NEAR, fabric.now + 7)
    assert state.throughput_bps == pytest.approx(8e6)
    assert (state.received_bps, state.received_utilisation, state.drops, state.drops_per_s) == (None,) * 4


def test_totals_go_on_when_a_switch_starts_its_counters_anew() -> None:
    fabric = MeasuredFabric()
    fabric.telemetry.on_tick(fabric.now)
    totals = []
    for at, age, sent in ((10.0, 10.0, 5000), (12.0, 12.0, 6000), (20.0, 1.0, 300), (22.0, 3.0, 400)):
        counters = PortCounters(0, sent, 0, 0, 0, age)
        fabric.telemetry.on_ports(PortCounted(1, {RIGHT: counters}), fabric.now + at)
        totals.append(fabric.telemetry.link(NEAR, fabric.now + at).sent_bytes)
    assert totals == [5000, 6000, 6300, 6400]


def test_ports_nobody_knows_are_passed_over() -> None:
    fabric = MeasuredFabric()
    fabric.telemetry.on_tick(fabric.now)
    counters = PortCounters(1, 1, 1, 1, 1, 1.0)
    fabric.telemetry.on_ports(PortCounted(1, {77: counters}), fabric.now)
    fabric.telemetry.on_ports(PortCounted(99, {1: counters}), fabric.now)
    fabric.telemetry.on_queues(QueueCounted(99, {1: 5}), fabric.now)
    assert fabric.telemetry.link((1, 77), fabric.now).sent_bytes is None
    assert fabric.telemetry.link((99, 1), fabric.now).sent_bytes is None


# --- capacity ------------------------------------------------------------------------------------------------------------------


def _policy(**links: object) -> Policy:
    return Policy.model_validate({"version": 1, "links": links})


def test_capacity_is_the_policys_then_the_stated_default_then_the_ports() -> None:
    fabric = MeasuredFabric()
    telemetry = fabric.telemetry
    assert telemetry.capacity_bps(NEAR) == SPEED_BPS
    telemetry.apply(_policy(default_capacity_bps=20_000_000))
    assert telemetry.capacity_bps(NEAR) == telemetry.capacity_bps(MEMBER) == 20_000_000
    entry = {"src": "0000000000000001:2", "dst": "0000000000000002:1", "capacity_bps": 5_000_000}
    telemetry.apply(_policy(capacities=[entry]))
    assert telemetry.capacity_bps(NEAR) == 5_000_000
    assert telemetry.capacity_bps(BACK) == SPEED_BPS, "an entry is for one direction"


def test_without_policy_and_port_speed_the_built_in_default_holds() -> None:
    assert MeasuredFabric(speed_bps=0).telemetry.capacity_bps(NEAR) == 1_000_000_000


# --- drops and congestion ------------------------------------------------------------------------------------------------------


def test_queue_drops_are_the_queues_where_there_is_one_and_the_ports_where_not() -> None:
    fabric = MeasuredFabric()
    fabric.meters[NEAR].drops_per_s = 100.0
    fabric.run(10)
    assert _state(fabric).drops_per_s == pytest.approx(100, rel=0.02)
    assert _state(fabric).drops == pytest.approx(1000, abs=200)
    assert fabric.telemetry.link(BACK, fabric.now).drops == 0, "no queue: the port's own count"


def test_a_full_link_is_congested_and_a_moment_after_it_empties_it_is_not() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    fabric.load(NEAR, 0.95 * SPEED_BPS)
    began = fabric.now
    fabric.run(8)
    state = _state(fabric)
    assert state.congested
    assert state.reasons == ("utilisation",)
    assert state.since is not None
    assert began < state.since < began + 6
    assert fabric.telemetry.congested() == [NEAR]
    fabric.load(NEAR, 0.1 * SPEED_BPS)
    fabric.run(15)
    assert fabric.telemetry.congested() == []
    said = [(announcement.kind, announcement.fields["congested"]) for announcement in fabric.announced]
    assert said == [("link", True), ("link", False)]


def test_a_link_around_the_bounds_keeps_its_verdict() -> None:
    fabric = MeasuredFabric()
    fabric.load(NEAR, 0.8 * SPEED_BPS)
    fabric.run(30)
    assert fabric.telemetry.congested() == [], "not full enough to become congested"
    fabric.load(NEAR, 0.95 * SPEED_BPS)
    fabric.run(10)
    fabric.load(NEAR, 0.8 * SPEED_BPS)
    fabric.run(30)
    assert fabric.telemetry.congested() == [NEAR], "not empty enough to cease"
    fabric.load(NEAR, 0.0)
    fabric.run(2)
    fabric.load(NEAR, 0.9 * SPEED_BPS)
    fabric.run(20)
    assert len(fabric.announced) == 1, "a pause is not the end"


def test_a_burst_is_not_congestion() -> None:
    fabric = MeasuredFabric()
    fabric.meters[NEAR].drops_per_s = 0.0
    fabric.run(10)
    fabric.load(NEAR, SPEED_BPS)
    fabric.run(2.5)
    fabric.load(NEAR, 0.0)
    fabric.meters[NEAR].drops_at_once = 500
    fabric.run(20)
    assert fabric.announced == []
    assert _state(fabric).drops == 500


def test_drops_alone_and_probe_loss_alone_are_congestion() -> None:
    fabric = MeasuredFabric()
    fabric.meters[NEAR].drops_per_s = 50.0
    fabric.wires[BACK].loss = 0.1
    fabric.run(40)
    assert fabric.telemetry.congested() == [NEAR, BACK]
    assert _state(fabric).reasons == ("queue drops",)
    assert fabric.telemetry.link(BACK, fabric.now).reasons == ("probe loss",)


def test_a_members_access_link_is_congested_in_either_direction() -> None:
    fabric = MeasuredFabric()
    fabric.load(MEMBER, 0.0, rx_bps=0.95 * SPEED_BPS)
    fabric.meters[1, HOST].drops_per_s = 50.0
    fabric.run(15)
    assert fabric.telemetry.congested() == [(1, HOST), MEMBER]
    member = fabric.telemetry.port(MEMBER, fabric.now)
    assert member.far is None
    assert member.reasons == ("utilisation from the host",)
    assert member.received_utilisation == pytest.approx(0.95, rel=0.01)
    assert (member.loss, member.delay_ms) == (None, None), "hosts are not probed"


def test_what_a_link_receives_is_the_other_directions_business() -> None:
    fabric = MeasuredFabric()
    fabric.load(NEAR, 0.0, rx_bps=0.95 * SPEED_BPS)
    fabric.run(15)
    assert fabric.telemetry.congested() == []


def test_a_verdict_nobody_can_confirm_is_given_up() -> None:
    fabric = MeasuredFabric()
    fabric.load(NEAR, 0.95 * SPEED_BPS)
    fabric.run(15)
    assert fabric.telemetry.congested() == [NEAR]
    fabric.channels[1].counts = fabric.channels[1].answers = False
    fabric.topology.switches[1].connected = False
    fabric.run(15)
    assert fabric.telemetry.congested() == [NEAR], "unknown is not well"
    fabric.run(30)
    assert fabric.telemetry.congested() == []


def test_ports_that_are_gone_are_forgotten() -> None:
    fabric = MeasuredFabric()
    fabric.load(MEMBER, 0.95 * SPEED_BPS)
    fabric.run(15)
    del fabric.topology.switches[2].ports[HOST]
    fabric.telemetry.topology_changed()
    fabric.run(1)
    assert fabric.telemetry.congested() == []
    assert fabric.telemetry.port(MEMBER, fabric.now).utilisation is None


# --- what it costs -------------------------------------------------------------------------------------------------------------


def test_a_switch_is_asked_often_only_while_something_happens_there() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    assert _polls(fabric, 20) == pytest.approx(20 / IDLE_INTERVAL_S, abs=1)
    fabric.load(NEAR, 0.6 * SPEED_BPS)
    fabric.run(5)
    assert _polls(fabric, 20) == pytest.approx(20 / FAST_INTERVAL_S, abs=2)
    fabric.load(NEAR, 0.0)
    fabric.run(15)
    assert _polls(fabric, 20) == pytest.approx(20 / IDLE_INTERVAL_S, abs=1)


def test_a_suspicion_from_elsewhere_is_looked_into_at_once() -> None:
    fabric = MeasuredFabric()
    fabric.run(10.3)
    fabric.telemetry.suspect(NEAR, fabric.now)
    began = fabric.now
    fabric.run(0.7)
    assert any(dpid == 1 for time, dpid in fabric.asked if time > began)
    assert fabric.probes_sent(NEAR, since=began) > 20


def test_a_switch_that_owes_an_answer_is_not_asked_again_and_again() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    fabric.telemetry.suspect(NEAR, fabric.now)
    began, asked = fabric.now, []
    ask = fabric._carry_out
    fabric._carry_out = lambda decisions: (asked.extend(decisions), ask(decisions))[1]  # type: ignore[method-assign]
    fabric.channels[1].counts = False
    fabric.run(12)
    requests = [
        decision for decision in asked if type(decision).__name__ == "RequestPortCounters" and decision.dpid == 1
    ]
    assert len(requests) <= (fabric.now - began) / 5 + 2


def test_a_busy_fabric_is_polled_within_bounds() -> None:
    fabric = MeasuredFabric(switches=700)
    for dpid in range(1, 701):
        fabric.load((dpid, HOST), 0.7 * SPEED_BPS)
    fabric.run(10)
    before, began = len(fabric.asked), fabric.now
    fabric.run(10)
    ports = 3 * (len(fabric.asked) - before)
    assert ports <= 1.2 * PORTS_PER_S * (fabric.now - began)


@pytest.mark.soak
def test_a_thousand_links_cost_less_than_a_tenth_of_a_core() -> None:
    """Ten of them lose, so all that is ever done is done; the modelled wires are in the price."""
    fabric = MeasuredFabric(switches=1001)
    fabric.run(25)
    for dpid in range(1, 11):
        fabric.wires[dpid, RIGHT].loss = 0.2
        fabric.telemetry.suspect((dpid, RIGHT), fabric.now)
    began = time.process_time()
    fabric.run(10)
    assert (time.process_time() - began) / 10 < 0.10
