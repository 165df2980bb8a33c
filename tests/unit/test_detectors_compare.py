"""The comparison of detectors itself: are its series what their labels say, and does it count alarms as an operator would?

River is not needed here: what is tested is the series, the measures, and that our detector does on short series what
docs/detectors.md says of long ones.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lib"))

from detectors import page
from detectors.contestants import OURS, fixed_share
from detectors.measures import AFTERMATH_S, Judgement, Overall, alarms, judge
from detectors.scenarios import BENIGN, DAYS, FAULTY, HOUR, MINUTE, bursts, daily, ramps, steady
from detectors.series import MIDNIGHT, SPIKE, TICK_S, Fault, Scenario, Series, generate

from controller.diagnosis.incidents import QUIET_S
from controller.diagnosis.patterns import Pattern


def scenario(**changes) -> Scenario:
    shape = {
        "name": "test", "pattern": Pattern.MEMBER_EARLY, "duration_s": 10 * MINUTE, "load": steady(50), "usual": steady(0.01),
    }  # fmt: skip
    return Scenario(**(shape | changes))


def between(series: Series, begin_s: float, end_s: float) -> list:
    return [tick for tick in series if begin_s < tick.now - series.begin <= end_s]


def resets(ticks: list) -> int:
    return sum(tick.resets for tick in ticks)


def found(name: str, seed: int = 5) -> Judgement:
    one = next(one for one in (*BENIGN, *FAULTY) if one.name == name)
    series = generate(one, seed)
    return judge(series, alarms(OURS.make(one.pattern, OURS.chosen), series))


# --- series --------------------------------------------------------------------------------------------------------------------


def test_a_seed_always_gives_the_same_series_and_another_seed_another():
    once, again, other = (list(generate(scenario(), seed)) for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_usual_resets_are_the_share_of_the_load_that_was_asked_for_clumped_or_not():
    for clump in (1, 6):
        series = generate(scenario(duration_s=HOUR, usual=steady(0.05), clump=clump), 1)
        assert resets(list(series)) == pytest.approx(50 * 0.05 * HOUR, rel=0.06)


def test_clumps_make_counts_vary_more_than_their_mean():
    def dispersion(clump: int) -> float:
        counts = [tick.resets for tick in generate(scenario(duration_s=HOUR, usual=steady(0.05), clump=clump), 1)]
        mean = sum(counts) / len(counts)
        return sum((count - mean) ** 2 for count in counts) / len(counts) / mean

    assert dispersion(1) == pytest.approx(1.0, abs=0.1)
    assert dispersion(6) == pytest.approx(91 / 21, rel=0.1)  # mean square over mean of 1 … 6


def test_a_fault_resets_its_share_between_its_labels_and_nowhere_else():
    fault = Fault(200, 300, steady(0.2))
    series = generate(scenario(usual=steady(0.0), faults=(fault,), moves=60), 3)
    ((begin, end),) = series.labels
    assert 200 <= begin - MIDNIGHT < 260
    assert end - begin == 100
    inside = [tick for tick in series if begin <= tick.now - TICK_S < end]
    assert resets(inside) == pytest.approx(50 * 0.2 * 100, rel=0.1)
    assert resets(list(series)) == resets(inside)


def test_a_spike_is_a_fault_of_one_tick():
    series = generate(scenario(usual=steady(0.0), spikes=(60.0,)), 1)
    ((begin, end),) = series.labels
    (spike,) = [tick for tick in series if tick.resets]
    assert spike.resets == SPIKE
    assert begin < spike.now <= end


def test_the_known_load_is_unknown_at_first_and_follows_late():
    series = generate(scenario(load=lambda t: 20 if t < 300 else 200), 1)
    known = {tick.now - series.begin: tick.known_per_s for tick in series}
    assert known[1.0] is None
    assert known[299.0] == pytest.approx(20, rel=0.3)
    assert known[301.0] < 60
    assert known[330.0] == pytest.approx(200, rel=0.15)


def test_curves_swing_between_their_bounds():
    day = daily(2, 30, 20.0)
    assert day(20 * HOUR) == pytest.approx(30)
    assert day(8 * HOUR) == pytest.approx(2)
    up_and_down = ramps(20, 200, 600)
    assert [up_and_down(t) for t in (0, 150, 300, 450, 600)] == [20, 110, 200, 110, 20]
    crowd = bursts(20, 5, 600, 60)
    assert [crowd(t) for t in (0, 539, 540, 599, 600)] == [20, 20, 100, 100, 20]


def test_every_scenario_has_a_name_of_its_own_and_only_faulty_ones_have_faults():
    everything = (*BENIGN, DAYS, *FAULTY)
    assert len({one.name for one in everything}) == len(everything)
    assert not any(one.faults or one.spikes for one in (*BENIGN, DAYS))
    assert all(one.faults or one.spikes for one in FAULTY)


# --- measures ------------------------------------------------------------------------------------------------------------------


def faulty_series() -> Series:
    return generate(scenario(faults=(Fault(100, 200, steady(0.5)), Fault(400, 410, steady(0.5)))), 1)


def moments(*seconds: float) -> list[float]:
    return [MIDNIGHT + second for second in seconds]


def test_delay_counts_from_a_faults_beginning_and_a_fault_without_alarm_is_missed():
    judgement = judge(faulty_series(), moments(103.0, 104.0, 150.0))
    assert judgement.delays == [pytest.approx(3.0)]
    assert judgement.misses == 1
    assert judgement.unnoticed_s == pytest.approx(3.0 + 10.0)
    assert judgement.false_alarms == 0


def test_an_alarm_soon_after_a_short_fault_is_about_it_and_its_aftermath_is_not_false():
    judgement = judge(faulty_series(), moments(101.0, 200.0 + AFTERMATH_S, 413.0))
    assert judgement.misses == 0
    assert judgement.unnoticed_s == pytest.approx(1.0 + 10.0)
    assert judgement.false_alarms == 0


def test_alarms_close_together_are_one_false_alarm_and_far_apart_two():
    series = generate(scenario(), 1)
    assert judge(series, moments(50, 51, 50 + QUIET_S, 80 + QUIET_S)).false_alarms == 2
    assert judge(series, []).false_alarms == 0


def test_false_alarms_per_day_leave_out_the_time_that_was_faulty():
    judgement = judge(faulty_series(), moments(20.0))
    calm = 600 - (100 + AFTERMATH_S) - (10 + AFTERMATH_S)
    assert judgement.false_alarms == 1
    assert judgement.without_fault_s == pytest.approx(calm)
    assert judgement.false_alarms_per_day == pytest.approx(86_400 / calm)


def test_every_scenario_counts_alike_however_many_faults_it_has():
    often = Judgement(delays=[1.0] * 9, unnoticed_s=9.0, without_fault_s=100.0)
    once = Judgement(misses=1, unnoticed_s=101.0, without_fault_s=100.0)
    overall = Overall.of({"often": often, "once": once, "benign": Judgement(without_fault_s=100.0)})
    assert overall == Overall(0.0, 51.0, 1, 10)


# --- our detector --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aborts, 20/s", "aborts in crowds of 40, 2/s", "load ramps ×10", "load bursts ×5"])
def test_steady_benign_aborts_are_no_anomaly(name):
    assert found(name).false_alarms == 0


def test_the_series_are_no_easy_prey_a_fixed_share_of_connections_cries_wolf():
    one = next(one for one in BENIGN if one.name == "aborts in crowds of 40, 2/s")
    series = generate(one, 5)
    assert judge(series, alarms(fixed_share(one.pattern, (0.2, 5.0)), series)).false_alarms > 10


@pytest.mark.parametrize(
    ("name", "within_s"),
    [
        ("step: 3% of connections", 30.0),
        ("step: 10% of connections", 8.0),
        ("step: 50% of connections", 2.0),
        ("step: +15% on 5% of aborts", 60.0),
        ("slow rise: to 10% in 10 min", 150.0),
        ("spikes: 30 at once", 2 * TICK_S),
        ("flapping: 10 s of every 30 s", 5.0),
        ("quiet pool, all refused", 30.0),
        ("first minute, all refused", 3.0),
        ("first minute, 20%", 5.0),
    ],
)
def test_faults_are_found_in_time(name, within_s):
    judgement = found(name)
    assert judgement.misses == 0
    assert max(judgement.delays) < within_s


# --- the page ------------------------------------------------------------------------------------------------------------------


def test_figures_go_between_their_marks_and_nowhere_else(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("a\n<!-- delays: scripts/detectors -->\nold\n<!-- end of delays -->\nb\n")
    page.between_marks(document, "delays", ["new", "lines"])
    assert document.read_text() == "a\n<!-- delays: scripts/detectors -->\nnew\nlines\n<!-- end of delays -->\nb\n"
    with pytest.raises(ValueError, match="no marks for summary"):
        page.between_marks(document, "summary", [])
