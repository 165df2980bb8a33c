"""Weights of paths on real switches: a flow that fills a link is held, the others go round it, nothing is lost, and it settles."""

import itertools
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bed import Bed, one_vip, pool
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

STATED_BPS = 5_000_000
"""What the policy says that a link can carry. They carry far more, so whatever is lost is not lost to a full queue."""
BULK_MBIT = 4.6
SENDER, RECEIVER = "h5", "h2"
PROBING, PROBED = "h4", "h1"


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with Bed(LeafSpineTopo(leaves=2, hosts=3), tmp_path_factory.mktemp("path-weights")) as made:
        made.serve("h6")
        yield made


@pytest.fixture(autouse=True)
def in_force(bed: Bed) -> None:
    policy = one_vip(pool(bed, "h6"))
    policy["links"] = {"capacities": [link for leaf in ("leaf1", "leaf2") for link in uplinks(bed, leaf)]}
    bed.apply(policy)


def uplinks(bed: Bed, leaf: str) -> Iterator[dict[str, Any]]:
    fabric = bed.fabric
    for spine in ("spine1", "spine2"):
        ends = [f"{fabric.dpid(a)}:{fabric.port_no(a, b)}" for a, b in ((leaf, spine), (spine, leaf))]
        for src, dst in (ends, ends[::-1]):
            yield {"src": src, "dst": dst, "capacity_bps": STATED_BPS}


def weights(bed: Bed) -> list[int]:
    """Of leaf2's two ways to leaf1."""
    (group,) = [line for line in bed.fabric.dump_groups("leaf2") if "type=select" in line and "group_id=5368" in line]
    # A weight of 1 is not printed (`bucket` in ovs-ofctl(8)).
    found = (re.search(r"weight:(\d+)", bucket) for bucket in group.split("bucket=")[1:])
    return [int(weight[1]) if weight else 1 for weight in found]


class Bulk:
    """UDP streams from leaf2 to leaf1; by default one that would fill a link as it is stated."""

    def __init__(self, bed: Bed, streams: int = 1, mbit: float = BULK_MBIT) -> None:
        self.bed = bed
        self.rate = ["-P", str(streams), "-b", f"{mbit}M"]

    def __enter__(self) -> None:
        fabric = self.bed.fabric
        self.listening = fabric.popen(RECEIVER, "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        argv = ["iperf3", "-u", "-c", fabric.address(RECEIVER), *self.rate, "-l", "1200", "-t", "600"]
        self.sending = fabric.popen(SENDER, *argv, stdout=subprocess.DEVNULL)

    def __exit__(self, *_: object) -> None:
        for program in (self.sending, self.listening):
            program.kill()
            program.wait()


def pins(bed: Bed) -> list[str]:
    return [line for line in bed.fabric.dump_flows("leaf2", "table=5") if "priority=70" in line]


@contextmanager
def counted(bed: Bed, count: int) -> Iterator[Callable[[], int]]:
    """Pings of another pair of hosts, 200 a second; how many of `count` have been lost, when all are sent."""
    argv = ["ping", "-i", "0.005", "-c", str(count), "-q", bed.fabric.address(PROBED)]
    pinging = bed.fabric.popen(PROBING, *argv, stdout=subprocess.PIPE, text=True)
    try:
        yield lambda: count - int(re.search(r"(\d+) received", pinging.communicate(timeout=600)[0])[1])
    finally:
        pinging.kill()
        pinging.wait()


def test_the_others_go_round_a_link_that_one_flow_fills_and_nothing_is_lost(bed: Bed) -> None:
    assert weights(bed) == [100, 100]
    with counted(bed, 6000) as lost, Bulk(bed):
        soon("the flow is pinned", lambda: len(pins(bed)) == 1, 20, lambda: bed.fabric.dump_groups("leaf2"))
        soon("one way has little", lambda: min(weights(bed)) <= 25, 25, lambda: weights(bed))
        assert lost() == 0
    soon("the pin ends with its flow", lambda: not pins(bed), 40)


@pytest.mark.soak
@pytest.mark.parametrize(("streams", "mbit"), [(1, BULK_MBIT), (3, 2.0), (40, 0.17)])
def test_at_constant_load_the_weights_settle(
    bed: Bed, streams: int, mbit: float, record_property: Callable[[str, object], None]
) -> None:
    """One flow that fills a link, three that fit only if they are divided well, and many small ones."""
    # Weights and what was learnt of them are forgotten by a restart.
    bed.controller.kill()
    bed.restart_controller()
    soon("the ways are alike", lambda: weights(bed) == [100, 100], 20, lambda: weights(bed))
    with counted(bed, 36_000) as lost, Bulk(bed, streams, mbit):
        time.sleep(120)
        history = []
        for _ in range(60):
            history.append(weights(bed))
            time.sleep(1)
        missing = lost()
    shares = [first / (first + second) for first, second in history]
    moved = sum(abs(after - before) for before, after in itertools.pairwise(shares))
    record_property("moved", moved)
    record_property("weights", history[-1])
    record_property("lost", missing)
    assert moved < 0.05
    assert missing == 0
