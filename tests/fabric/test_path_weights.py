"""Weights of paths on real switches: a flow that fills a link is held, the others go round it, nothing is lost, and it settles."""

import itertools
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bed import Bed, one_vip, pool
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo

STATED_BPS = 5_000_000
"""What the policy says that a link can carry. They carry far more, so whatever is lost is not lost to a full queue."""
BULK_MBIT = 4.6
SENDER, RECEIVER = "h5", "h2"
PROBING, PROBED = "h4", "h1"
LEAST = 10


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
    return [int(weight) for weight in re.findall(r"weight:(\d+)", group)]


class Bulk:
    """A UDP stream from leaf2 to leaf1 that would fill a link as it is stated."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed

    def __enter__(self) -> None:
        fabric = self.bed.fabric
        self.listening = fabric.popen(RECEIVER, "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        argv = ["iperf3", "-u", "-c", fabric.address(RECEIVER), "-b", f"{BULK_MBIT}M", "-l", "1200", "-t", "600"]
        self.sending = fabric.popen(SENDER, *argv, stdout=subprocess.DEVNULL)

    def __exit__(self, *_: object) -> None:
        for program in (self.sending, self.listening):
            program.kill()
            program.wait()


def pins(bed: Bed) -> list[str]:
    return [line for line in bed.fabric.dump_flows("leaf2", "table=5") if "priority=70" in line]


def test_the_others_go_round_a_link_that_one_flow_fills_and_nothing_is_lost(bed: Bed) -> None:
    argv = ["ping", "-i", "0.005", "-c", "6000", "-q", bed.fabric.address(PROBED)]
    counting = bed.fabric.popen(PROBING, *argv, stdout=subprocess.PIPE, text=True)
    assert weights(bed) == [100, 100]
    with Bulk(bed):
        time.monotonic()
        soon("the flow is pinned", lambda: len(pins(bed)) == 1, 20, lambda: bed.fabric.dump_groups("leaf2"))
        soon("one way has little", lambda: min(weights(bed)) <= 25, 25, lambda: weights(bed))
        counted = counting.communicate(timeout=60)[0]
    assert " 0% packet loss" in counted, counted
    soon("the pin ends with its flow", lambda: not pins(bed), 40)


@pytest.mark.soak
def test_at_constant_load_the_weights_settle(bed: Bed) -> None:
    with Bulk(bed):
        time.sleep(60)
        history = []
        for _ in range(60):
            history.append(weights(bed))
            time.sleep(1)
    shares = [first / (first + second) for first, second in history]
    assert sum(abs(after - before) for before, after in itertools.pairwise(shares)) < 0.05
