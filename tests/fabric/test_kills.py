"""The controller dies by kill -9 at random moments under load, again and again; `scripts/reliability` does it a hundred times."""

import random

import pytest
from running_controller import FRAMEWORK

from topologies.reliability import kills, soak

KILLS = 5
SOAK_S = 30 * 60.0


@pytest.mark.one_framework
def test_nothing_is_lost_and_nothing_leaks() -> None:
    seed = random.randrange(10**6)
    found = kills.measure(KILLS, seed, FRAMEWORK)
    assert len(found.kills) == KILLS
    assert found.met, f"seed {seed}: {found}"


def test_table_says_what_was_found() -> None:
    kill = kills.Kill(2.0, 0.5, frozenset({"leaf1 x"}), frozenset())
    found = kills.Found([kill], 100, {"reset": 1}, 20, 1)
    assert not found.met
    text = kills.table(found)
    assert "1 reset, of 100" in text and "20 of 21" in text and "| 1 and 0 |" in text


@pytest.mark.soak
def test_memory_files_and_log_stay_flat_for_half_an_hour_of_faults() -> None:
    found = soak.measure(SOAK_S, random.randrange(10**6), FRAMEWORK)
    assert found.met, soak.table(found)
