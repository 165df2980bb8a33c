"""Fabric and scenario tests run in a sandbox that each worker has for itself; everything else runs where it is started.

`pytest tests/fabric` makes one sandbox and runs inside it; with `-n N` every worker gets its own. A test that needs a
fabric is marked `fabric` (all in tests/fabric are): on a machine that cannot make one it is skipped, with CI=true it
fails.
"""

import os
import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from topologies import sandbox

# How long an example takes is the machine's: timings live in benchmarks.
settings.register_profile("resetlb", deadline=None)
settings.load_profile("resetlb")

TESTS = Path(__file__).parent
FABRIC = (TESTS / "fabric", TESTS / "scenario")
MARKERS = (
    "fabric: needs a real fabric, so a sandbox",
    "soak: takes minutes; run by scripts/test --soak only",
    "one_framework: nothing in it depends on which framework carries the controller",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Moves the session, or each of xdist's workers, into a sandbox if it asks for tests of a fabric."""
    if sandbox.inside() or not _asks_for_fabric(config) or sandbox.missing():
        return None
    python = [sys.executable, "-m", "topologies.sandbox", "--", sys.executable]
    if workers := config.getoption("tx", []):
        config.option.tx = [
            f"{worker}//python={shlex.join(python)}" if worker == "popen" else worker for worker in workers
        ]
        return None
    return sandbox.enter([sys.executable, "-m", "pytest", *config.invocation_params.args])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TESTS / "fabric" in item.path.parents:
            item.add_marker(pytest.mark.fabric)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("fabric") and not sandbox.inside():
        reason = "needs a sandbox, missing: " + "; ".join(sandbox.missing() or ["pytest started it outside"])
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _asks_for_fabric(config: pytest.Config) -> bool:
    if config.getoption("help") or config.getoption("version"):
        return False
    paths = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    related = ((path, folder) for path in paths for folder in FABRIC)
    return any(path == folder or path in folder.parents or folder in path.parents for path, folder in related)
