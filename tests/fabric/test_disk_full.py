"""The disk with the state fills up: changes are refused, in words, the fabric works on, and nothing is half done."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import Bed, one_vip, outcomes, pool
from entries import entries_of, unbroken
from running_controller import Refused, soon

from topologies.single import SingleTopo

pytestmark = pytest.mark.one_framework

TOPOLOGY = SingleTopo(hosts=3)
CLIENT, MEMBERS = "h1", ("h2", "h3")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def bed(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("bed")
    (folder / "state").symlink_to(disk)  # the log is elsewhere
    with Bed(TOPOLOGY, folder) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody_complained() -> None:
    """Here somebody must."""


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            return filler


def set_weight(bed: Bed, weight: int) -> str | None:
    """Asks for a change; None when it was acknowledged, else why not."""
    try:
        bed.controller.patch("pools/web/members/h2", {"weight": weight})
    except Refused as refusal:
        assert refusal.status in (503, 507)
        return str(refusal.problem["detail"])
    return None


def test_what_was_acknowledged_holds_and_what_was_refused_left_no_trace(bed: Bed, disk: Path) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))
    filler = fill(disk)
    acknowledged = 100
    for weight in range(101, 200):
        reason = set_weight(bed, weight)
        if reason is not None:
            break
        acknowledged = weight
    assert reason is not None, "the disk never was full"
    assert "the change was not made" in reason
    assert "no space left" in reason

    before = entries_of(bed)
    for weight in (300, 301, 302):
        assert set_weight(bed, weight) is not None
        assert bed.controller.member("h2")["weight"] == acknowledged
    assert outcomes(bed.ask(CLIENT, 40)) == {"ok": 40}
    assert unbroken(before, entries_of(bed)) == []

    # What the core records by itself waits meanwhile, and says so.
    bed.stop_server("h3")
    soon("h3 is out", lambda: bed.controller.taking() == {"h2"}, 10)
    soon("it says so", lambda: "cannot be saved" in str(bed.controller.get("health")["reason"]), 10)
    assert outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}

    filler.unlink()
    soon("the ejection is on the disk", lambda: bed.controller.durable("ejections"), 15, bed.controller.tail)
    assert bed.controller.get("health")["reason"] is None
    assert set_weight(bed, 77) is None
    bed.controller.kill()
    bed.restart_controller()
    assert bed.controller.member("h2")["weight"] == 77
    assert bed.controller.taking() == {"h2"}
