"""How long traffic is interrupted when a link or a switch fails: with its ports, and without a word."""

import itertools
import re
import subprocess
import time
from collections.abc import Callable

import pytest
from bed import Bed
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo

TOPOLOGY = LeafSpineTopo(spines=2, leaves=2, hosts=3)
INTERVAL_S = 0.01
PORT_DOWN_S, PROBES_ONLY_S = 1.0, 3.0
Record = Callable[[str, object], None]
PAIRS = [*itertools.product(("h1", "h2", "h3"), ("h4", "h5", "h6"))]


class Streams:
    """Pings between all pairs over the spines, 100 a second each."""

    def __init__(self, bed: Bed) -> None:
        argv = ["ping", "-n", "-D", "-i", str(INTERVAL_S)]
        self._pings = [
            bed.fabric.popen(one, *argv, bed.fabric.address(other), stdout=subprocess.PIPE, text=True)
            for one, other in PAIRS
        ]

    def finish(self) -> list[float]:
        """The longest interruption of each (s)."""
        for ping in self._pings:
            ping.terminate()
        return [_longest_s(ping.communicate(timeout=10)[0]) for ping in self._pings]


def _longest_s(said: str) -> float:
    answered = [float(moment) for moment in re.findall(r"^\[([\d.]+)\] .* ttl=", said, re.MULTILINE)]
    return round(max(after - before for before, after in itertools.pairwise(answered)) - INTERVAL_S, 3)


def interruptions(bed: Bed, fail: Callable[[], object], mend: Callable[[], object], lasts_s: float) -> list[float]:
    """Of each stream (s): when the fault comes, while it lasts, and when it is over."""
    streams = Streams(bed)
    time.sleep(1.0)
    try:
        fail()
        time.sleep(lasts_s)
    finally:
        mend()
    time.sleep(2.0)
    return streams.finish()


@pytest.mark.soak
def test_a_port_that_goes_down_interrupts_for_less_than_a_second(bed: Bed, record_property: Record) -> None:
    ends = "leaf1", "spine1"
    found = interruptions(bed, lambda: bed.fabric.cut_link(*ends), lambda: bed.fabric.restore_link(*ends), 3.0)
    record_property("longest_s", found)
    assert max(found) < PORT_DOWN_S


@pytest.mark.soak
def test_a_switch_that_fails_interrupts_for_less_than_a_second(bed: Bed, record_property: Record) -> None:
    """All of its ports go down, and the controller loses it too."""
    links = [("leaf1", "spine2"), ("leaf2", "spine2")]

    def fail() -> None:
        for link in links:
            bed.fabric.cut_link(*link)
        bed.fabric.disconnect("spine2")

    def mend() -> None:
        bed.fabric.reconnect("spine2")
        for link in links:
            bed.fabric.restore_link(*link)

    found = interruptions(bed, fail, mend, 3.0)
    record_property("longest_s", found)
    assert max(found) < PORT_DOWN_S


@pytest.mark.parametrize("both_ways", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_link_that_only_probes_know_is_dead_interrupts_for_less_than_three(
    bed: Bed, both_ways: bool, record_property: Record
) -> None:
    bed.settle()
    since = bed.controller.moment()

    def lose(percent: int) -> None:
        bed.fabric.set_loss("leaf2", "spine1", percent)
        if both_ways:
            bed.fabric.set_loss("spine1", "leaf2", percent)

    found = interruptions(bed, lambda: lose(100), lambda: lose(0), 3.5)
    record_property("longest_s", found)
    assert 0.5 < max(found) < PROBES_ONLY_S, "somebody was on that link"
    silent = f"{bed.fabric.dpid('leaf2')}:{bed.fabric.port_no('leaf2', 'spine1')}"
    said = bed.controller.announced("link", since=since)
    assert any(silent in line["message"] and "nothing" in line["message"] for line in said)
    soon("it is used again", lambda: not any(one["silent"] for one in bed.controller.get("links")["items"]), 10)
