"""Clocks that step: a run goes by a clock that does not, and what an earlier run recorded on one that was ahead lasts no longer."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from model_world import leaf_spine, policy_of
from static_fabric import core_that_knows

from controller.core import Core
from controller.decisions import Persist
from controller.events import PolicyChanged, Restored
from controller.member_records import ejection_record
from controller.quarantine import Quarantine
from controller.recorded_times import not_ahead

MEMBERS = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
A_DAY = 86_400.0

STEP = """
import time
from apps.main import patch_hub
patch_hub("ryu")
from apps.runtime import Runtime
runtime = Runtime(core=None, records=None, ring=None)
wall, steady, stepped = time.time, runtime.now(), {step}
time.time = lambda: wall() + stepped
assert 0.0 <= runtime.now() - steady < 5.0, runtime.now() - steady
"""


@pytest.mark.parametrize("step", [-A_DAY, A_DAY])
def test_a_step_of_the_wall_clock_is_none_of_the_controllers(step: float) -> None:
    code = STEP.format(step=step)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def recorded(core: Core, now: float) -> dict[str, dict[str, object]]:
    """What the store holds of an ejection at this time."""
    member = core.services.pools.members["web", "web-1"]
    core.services.pools.eject(member, "a test", confirmed=False, now=now)
    record = ejection_record(member)
    return {"ejections": {record.key: record.value}, "members": dict(core.services._member_numbers._numbers)}


@pytest.mark.parametrize("ahead", [-5.0, 5.0, A_DAY, 100 * A_DAY])
def test_an_ejection_of_a_clock_that_was_ahead_ends_in_its_own_time(ahead: float) -> None:
    policy = policy_of(MEMBERS)
    values = recorded(core_that_knows(leaf_spine(), policy), 1000.0 + ahead)
    meant_s = values["ejections"]["web/web-1"]["until"] - values["ejections"]["web/web-1"]["since"]  # type: ignore[index]
    later = Core(lldp_key=b"key", rng=random.Random(1))
    later.handle(Restored(values), 1000.0)
    later.handle(PolicyChanged(policy), 1000.0)
    ejection = later.services.pools.members["web", "web-1"].ejection
    assert ejection is not None
    assert ejection.until == pytest.approx(1000.0 + meant_s + min(ahead, 0.0))


def test_a_quarantine_of_a_clock_that_was_ahead_ends_in_its_own_time() -> None:
    before, after = Quarantine(), Quarantine()
    entry, decisions = before.add("10.0.1.1", "drop", 1000.0 + A_DAY, ttl_s=60)
    held = {one.namespace: {one.key: one.value} for one in decisions if isinstance(one, Persist)}
    mended = not_ahead(held, 1000.0)
    after.restore(mended["quarantine"], {}, {})
    assert after.entries[entry.id].until == 1060.0
    assert not_ahead(held, 1000.0 + A_DAY) == held, "nothing of a clock that was right"


def test_drains_and_slow_starts_are_not_put_off() -> None:
    values = {
        "drains": {"web/a": 2000.0, "web/b": 900.0},
        "weights": {"web/a": {"slow_start_from": 2000.0, "share": 1.0}},
    }
    assert not_ahead(values, 1000.0) == {
        "drains": {"web/a": 1000.0, "web/b": 900.0},
        "weights": {"web/a": {"slow_start_from": 1000.0, "share": 1.0}},
    }


@pytest.mark.parametrize("value", [None, "x", 7, [1], {"since": "x"}, {"since": 5000.0}, {"slow_start_from": None}])
def test_what_is_no_record_stays_as_it_is(value: object) -> None:
    for namespace in ("ejections", "quarantine", "weights"):
        mended = not_ahead({namespace: {"a": value}}, 1000.0)[namespace]["a"]
        assert mended == (value if value != {"since": 5000.0} or namespace == "weights" else {"since": 1000.0})
