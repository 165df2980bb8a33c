"""One fabric with its controller for each module that names a TOPOLOGY; after each test, who complained.

A module whose tests attack says ATTACKS = True; in the others nobody is hostile. One that says IPV6 = True is about that family.
"""

from collections.abc import Iterator

import pytest
from bed import Bed


@pytest.fixture(scope="module")
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    ipv6 = getattr(request.module, "IPV6", False)
    with Bed(request.module.TOPOLOGY, tmp_path_factory.mktemp("bed"), ipv6) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody_complained(request: pytest.FixtureRequest) -> Iterator[None]:
    """No switch refused a message of ours, nothing failed inside the controller, and no innocent client was accused."""
    running: Bed | None = request.getfixturevalue("bed") if "bed" in request.fixturenames else None
    since = running.controller.moment() if running else 0
    yield
    if running:
        assert running.controller.complaints(since) == []
        accusations = running.controller.accused(since)
        assert accusations == [] or getattr(request.module, "ATTACKS", False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    running = getattr(item, "funcargs", {}).get("bed")
    if report.failed and isinstance(running, Bed):
        report.sections.append(("controller", running.controller.tail()))
    return report
