"""What a seed decides in the lab: parameters, roles, and that fitting never meets what evaluation is judged on."""

import random

import pytest

from controller.causes import Cause
from topologies.lab.batch import Run, runs_of, seeds_of
from topologies.lab.cast import CLIENT_HOSTS, LAYOUTS, assign
from topologies.lab.catalogue import SCENARIOS
from topologies.lab.parameters import (
    CELLS,
    COMMON,
    FIRST_EVALUATION_SEED,
    Between,
    Purpose,
    WholeBetween,
    draw,
    purpose_of,
)
from topologies.lab.scenario import Action

FITTING, EVALUATION = range(1, 40), range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 40)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    assert draw("port-closed", {}, 1) == draw("port-closed", {}, 1)
    assert draw("port-closed", {}, 1) != draw("port-closed", {}, 2)
    assert draw("port-closed", {}, 1) != draw("process-killed", {}, 1)


def test_a_further_parameter_leaves_the_others_as_they_were() -> None:
    further = draw("port-closed", {"surge": Between(2, 4)}, 7)
    surge = further.pop("surge")
    assert 2 <= surge <= 4
    assert further == draw("port-closed", {}, 7)


def test_fitting_and_evaluation_draw_from_cells_of_their_own() -> None:
    span = Between(40, 200)
    edges = [40 * 5 ** (cell / CELLS) for cell in range(CELLS + 1)]
    for purpose, kept in ((Purpose.FITTING, 0), (Purpose.EVALUATION, 1)):
        cells = set()
        for seed in range(300):
            value = span.draw(random.Random(seed), purpose)
            cells.add(
                next(cell for cell in range(CELLS) if edges[cell] <= value + 1e-3 and value <= edges[cell + 1] + 1e-3)
            )
        assert cells == set(range(kept, CELLS, 2))


def test_no_rate_or_link_speed_is_met_in_both() -> None:
    for name in ("rate", "link_mbit", "timeout_s", "reset_share"):
        fitted = {draw("port-closed", {}, seed)[name] for seed in FITTING}
        judged = {draw("port-closed", {}, seed)[name] for seed in EVALUATION}
        assert len(fitted) > 30
        assert not fitted & judged


def test_seeds_from_a_thousand_on_are_for_evaluation() -> None:
    assert purpose_of(FIRST_EVALUATION_SEED - 1) is Purpose.FITTING
    assert purpose_of(FIRST_EVALUATION_SEED) is Purpose.EVALUATION


def test_a_small_whole_span_draws_its_ends_for_both() -> None:
    for purpose in Purpose:
        drawn = {WholeBetween(2, 4).draw(random.Random(seed), purpose) for seed in range(60)}
        assert drawn == {2, 3, 4}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("members", [2, 3, 4])
def test_every_host_has_one_role_and_every_edge_a_spare_one(layout: str, members: int) -> None:
    for seed in range(30):
        cast = assign(LAYOUTS[layout], members, 3, random.Random(seed))
        hosts = [
            *(member.place.host for member in cast.members),
            *(place.host for place in (*cast.clients, *cast.spares)),
        ]
        assert sorted(hosts) == sorted(f"h{number}" for number in range(1, 13))
        assert (len(cast.members), len(cast.clients)) == (members, CLIENT_HOSTS)
        assert {cast.spare_at(edge).edge for edge in LAYOUTS[layout].edges} == set(LAYOUTS[layout].edges)


def test_addresses_are_nobody_elses() -> None:
    cast = assign(LAYOUTS["single"], 4, 3, random.Random(1))
    places = [*(member.place for member in cast.members), *cast.clients, *cast.spares]
    addresses = [address for place in places for address in place.addresses]
    assert len(addresses) == len(set(addresses)) == 12 + 2 * CLIENT_HOSTS


def test_members_stand_at_different_edges_while_there_are_any() -> None:
    for seed in range(20):
        cast = assign(LAYOUTS["leafspine"], 3, 1, random.Random(seed))
        assert len({member.place.edge for member in cast.members}) == 3


def test_the_lab_covers_every_cause_at_least_twice() -> None:
    causes = [fault.expected.cause for scenario in SCENARIOS.values() for fault in scenario.faults]
    assert len(SCENARIOS) >= 20
    assert all(causes.count(cause) >= 2 for cause in Cause)
    assert any(len(scenario.faults) > 1 for scenario in SCENARIOS.values())


def test_what_the_load_refers_to_is_drawn() -> None:
    for scenario in SCENARIOS.values():
        known = {*COMMON, *scenario.parameters}
        assert {value for value in scenario.load.values() if isinstance(value, str)} <= known, scenario.name


def test_nothing_is_done_about_what_is_benign_and_something_about_the_rest() -> None:
    for scenario in SCENARIOS.values():
        for fault in scenario.faults:
            assert (fault.expected.action is Action.NONE) == (fault.expected.cause is Cause.BENIGN), scenario.name


def test_seeds_are_written_as_ranges() -> None:
    assert seeds_of("1-3,7") == [1, 2, 3, 7]
    for text in ("", "x", "1-", "3-1"):
        with pytest.raises(ValueError):
            seeds_of(text)


def test_an_interrupted_batch_has_seen_all_scenarios_alike() -> None:
    assert runs_of(["a", "b"], [1, 2]) == [Run("a", 1), Run("b", 1), Run("a", 2), Run("b", 2)]
