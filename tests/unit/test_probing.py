"""Loss and delay of links by probes, in virtual time: against wires whose loss and delay are known."""

from collections import Counter

import pytest
from measured_fabric import HOST, KEY, LEFT, RIGHT, MeasuredFabric

from controller.loss import MAX_ROUNDS, LossWindow
from controller.probe_frames import Probe, ProbeKind, read_probe, write_probe
from controller.probing import FAST_PROBES_PER_S, FAST_RATE, FAST_S, IDLE_PROBES_PER_S

NEAR, BACK = (1, RIGHT), (2, LEFT)


def _loss(fabric: MeasuredFabric) -> float | None:
    return fabric.telemetry.link(NEAR, fabric.now).loss


def _delay_ms(fabric: MeasuredFabric) -> float | None:
    return fabric.telemetry.link(NEAR, fabric.now).delay_ms


@pytest.mark.parametrize("loss", [0.05, 0.20])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_loss_is_known_within_two_points_a_minute_after_suspicion(loss: float, seed: int) -> None:
    fabric = MeasuredFabric(seed=seed)
    fabric.run(30)
    fabric.wires[NEAR].loss = loss
    fabric.telemetry.suspect(NEAR, fabric.now)
    fabric.run(60)
    assert _loss(fabric) == pytest.approx(loss, abs=0.02)
    assert fabric.telemetry.link(BACK, fabric.now).loss == 0, "the other direction loses nothing"


def test_an_idle_link_comes_under_suspicion_by_itself() -> None:
    fabric = MeasuredFabric()
    fabric.run(20)
    slow = fabric.probes_sent(NEAR)
    fabric.wires[NEAR].loss = 0.2
    fabric.run(20)
    assert fabric.probes_sent(NEAR) - slow > 5 * slow, "a suspected link is probed fast"
    assert _loss(fabric) == pytest.approx(0.2, abs=0.04)


def test_suspicion_ends_when_nothing_is_lost_any_more() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    fabric.wires[NEAR].loss = 0.2
    fabric.telemetry.suspect(NEAR, fabric.now)
    fabric.run(20)
    fabric.wires[NEAR].loss = 0.0
    fabric.run(10)
    assert _loss(fabric) == 0, "what was lost before the change is forgotten"
    fabric.run(FAST_S)
    before = fabric.now
    fabric.run(10)
    assert fabric.probes_sent(NEAR, since=before) < FAST_RATE


def test_before_anything_was_measured_nothing_is_known() -> None:
    fabric = MeasuredFabric()
    state = fabric.telemetry.link(NEAR, fabric.now)
    assert (state.loss, state.delay_ms, state.utilisation, state.drops, state.drops_per_s) == (None,) * 5


def test_a_switch_that_is_away_makes_its_links_unknown_and_not_lossy() -> None:
    fabric = MeasuredFabric()
    fabric.run(20)
    assert _loss(fabric) == 0
    fabric.channels[2].answers = fabric.channels[2].counts = False
    fabric.topology.switches[2].connected = False
    fabric.run(1)
    sent = len(fabric.sent)
    fabric.run(20)
    assert len(fabric.sent) == sent, "there is nothing to be learnt"
    assert _loss(fabric) is None
    assert _delay_ms(fabric) is None
    assert fabric.telemetry.congested() == []
    fabric.channels[2].answers = fabric.channels[2].counts = fabric.topology.switches[2].connected = True
    fabric.run(10)
    assert _loss(fabric) == 0


def test_probes_that_the_control_channel_loses_are_not_held_against_the_link() -> None:
    fabric = MeasuredFabric()
    fabric.run(20)
    fabric.channels[2].answers = False
    fabric.run(5)
    fabric.channels[2].answers = True
    fabric.run(20)
    assert _loss(fabric) == 0
    assert fabric.announced == []


def test_a_controller_that_was_held_up_does_not_take_unread_probes_for_lost() -> None:
    fabric = MeasuredFabric()
    fabric.run(20)
    fabric.telemetry.suspect(NEAR, fabric.now)
    fabric.run(2)
    fabric.run(3, stalled=True)
    fabric.run(10)
    assert _loss(fabric) == 0


def test_nor_where_the_channels_are_many_and_seldom_measured() -> None:
    fabric = MeasuredFabric(switches=300)
    for channel in fabric.channels.values():
        channel.out_s = 0.3
    fabric.run(40)
    fabric.run(3, stalled=True)
    fabric.run(20)
    assert {fabric.telemetry.link(near, fabric.now).loss for near in fabric.wires} == {0.0}


@pytest.mark.parametrize("delay_ms", [0.0, 0.3, 5.0, 50.0])
def test_delay_is_what_the_wire_adds(delay_ms: float) -> None:
    fabric = MeasuredFabric()
    fabric.wires[NEAR].delay_s = delay_ms / 1000
    fabric.channels[1].out_s = fabric.channels[1].back_s = 0.004
    fabric.run(20)
    assert _delay_ms(fabric) == pytest.approx(delay_ms, abs=0.001)
    assert fabric.telemetry.link(BACK, fabric.now).delay_ms == pytest.approx(0, abs=0.001)
    assert fabric.telemetry.channel_ms(1, fabric.now) == pytest.approx(8.0, abs=0.001)


def test_lopsided_channels_shift_delay_from_one_direction_to_the_other_and_never_below_zero() -> None:
    fabric = MeasuredFabric()
    fabric.wires[NEAR].delay_s = fabric.wires[BACK].delay_s = 0.005
    fabric.channels[1].out_s, fabric.channels[1].back_s = 0.003, 0.001
    fabric.run(20)
    there, back = _delay_ms(fabric), fabric.telemetry.link(BACK, fabric.now).delay_ms
    assert there is not None
    assert back is not None
    assert there == pytest.approx(6, abs=0.001)
    assert there + back == pytest.approx(10, abs=0.001), "the sum of both directions is free of the channels"
    fabric.wires[NEAR].delay_s = fabric.wires[BACK].delay_s = 0.0
    fabric.run(20)
    assert fabric.telemetry.link(BACK, fabric.now).delay_ms == 0


def test_only_what_crossed_the_link_counts() -> None:
    fabric = MeasuredFabric()
    fabric.run(5)
    fabric.wires[NEAR].loss = 1.0
    fabric.run(1)
    lost = [sent.frame for time, sent in fabric.sent if sent.actions[0].port == RIGHT and time > fabric.now - 1]  # type: ignore[union-attr]
    forged = write_probe(b"another key", Probe(ProbeKind.TIMED, *NEAR, 20, fabric.now))
    for frame in lost:
        fabric.hear((2, HOST), frame)
        fabric.hear((1, RIGHT), frame)
    fabric.hear(BACK, forged)
    for time, sent in fabric.sent[:3]:
        assert time < fabric.now - 1
        fabric.hear((2, LEFT), sent.frame)
    fabric.wires[NEAR].loss = 0.0
    fabric.run(3)
    assert (_loss(fabric) or 0) > 0


def test_a_probe_heard_twice_counts_once() -> None:
    fabric = MeasuredFabric()
    fabric.wires[NEAR].loss = 0.5
    hear = fabric.hear

    def twice(at: tuple[int, int], frame: bytes) -> None:
        hear(at, frame)
        hear(at, frame)

    fabric.hear = twice  # type: ignore[method-assign]
    fabric.telemetry.suspect(NEAR, fabric.now)
    fabric.run(30)
    wire = fabric.wires[NEAR]
    assert _loss(fabric) == pytest.approx(wire.lost / wire.carried, abs=0.03)


def test_a_probe_heard_again_later_does_not_lengthen_the_delay() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    hear, heard = fabric.hear, []

    def overheard(at: tuple[int, int], frame: bytes) -> None:
        heard.append((at, frame))
        hear(at, frame)

    fabric.hear = overheard  # type: ignore[method-assign]
    for _ in range(30):
        fabric.run(0.4)
        for at, frame in heard * 5:
            hear(at, frame)
        heard.clear()
    assert _delay_ms(fabric) == pytest.approx(0, abs=0.001)


def test_the_price_of_probing_does_not_grow_with_the_fabric() -> None:
    fabric = MeasuredFabric(switches=400)
    fabric.run(20)
    began, sent = fabric.now, len(fabric.sent)
    fabric.run(10)
    links = [packet for _, packet in fabric.sent[sent:] if packet.in_port not in (LEFT, RIGHT)]
    assert len(links) <= 1.2 * 10 * IDLE_PROBES_PER_S
    for near in fabric.wires:
        fabric.telemetry.suspect(near, fabric.now)
    began, sent = fabric.now, len(fabric.sent)
    fabric.run(10)
    links = [moment for moment, packet in fabric.sent[sent:] if packet.in_port not in (LEFT, RIGHT)]
    assert len(links) <= 1.2 * (fabric.now - began) * (IDLE_PROBES_PER_S + FAST_PROBES_PER_S)
    assert max(Counter(links).values()) <= 20, "not all at once"


def test_a_slow_link_is_not_filled_with_probes() -> None:
    fabric = MeasuredFabric(speed_bps=1_000_000)
    fabric.run(5)
    fabric.telemetry.suspect(NEAR, fabric.now)
    began = fabric.now
    fabric.run(10)
    assert fabric.probes_sent(NEAR, since=began) * 84 * 8 / 10 <= 0.012 * 1_000_000


def test_a_link_that_went_is_forgotten() -> None:
    fabric = MeasuredFabric()
    fabric.run(10)
    del fabric.topology.links[NEAR]
    fabric.telemetry.topology_changed()
    fabric.run(1)
    sent = len(fabric.sent)
    fabric.run(5)
    assert _loss(fabric) is None
    assert len(fabric.sent) == sent


def test_the_window_ends_where_the_loss_changed_and_stays_bounded() -> None:
    window = LossWindow()
    for second in range(200):
        window.add(100, 20 if second < 100 else 0, float(second))
        assert len(window._rounds) <= MAX_ROUNDS
    estimate = window.estimate()
    assert estimate is not None
    assert estimate.share == 0
    assert estimate.probes >= 5000


def test_few_probes_say_nothing_and_some_say_little() -> None:
    window = LossWindow()
    window.add(4, 1, 0.0)
    assert window.estimate() is None
    window.add(16, 0, 1.0)
    estimate = window.estimate()
    assert estimate is not None
    assert estimate.share == 0.05
    assert estimate.at_least < 0.01, "one of twenty may be chance"


def test_a_probe_reads_back_and_any_changed_bit_is_refused() -> None:
    probe = Probe(ProbeKind.COUNTED, 0xFFFFFFFFFFFFFFFF, 0xFFFFFF00, 7, 1.5)
    frame = write_probe(KEY, probe)
    assert read_probe(KEY, frame) == probe
    for bit in range(12 * 8, 59 * 8):
        broken = bytearray(frame)
        broken[bit // 8] ^= 1 << bit % 8
        assert read_probe(KEY, bytes(broken)) is None
