"""What is said of links is what is true of them: against interface counters, a ping in the band and losses that were set."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bed import Bed
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo
from topologies.wiring import queue_packets

pytestmark = pytest.mark.one_framework

TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=1)
CLIENT, MEMBER = "h1", "h2"
CAPACITY_BPS = 20_000_000
QUEUE_MS = queue_packets(CAPACITY_BPS / 1e6) * 1500 * 8 / CAPACITY_BPS * 1e3
"""How long a full queue of a shaped port takes to drain."""

Link = dict[str, Any]


@pytest.fixture(autouse=True)
def capacities(bed: Bed) -> Iterator[None]:
    bed.controller.put("policy", {"version": 1, "links": {"default_capacity_bps": CAPACITY_BPS}})
    measured = ("utilisation_pct", "loss_pct", "delay_ms")
    soon("everything is measured", lambda: not any(link[name] is None for link in _links(bed) for name in measured), 20)
    yield
    for a, b in (("leaf1", "spine1"), ("leaf2", "spine1")):
        bed.fabric.set_loss(a, b, 0)
    for switch, neighbour in (("leaf1", "spine1"), ("leaf2", MEMBER)):
        bed.fabric.set_rate(switch, neighbour, None)
    soon("nothing is congested", lambda: not any(link["congested"] for link in _links(bed)), 30)


def _links(bed: Bed) -> list[Link]:
    links: list[Link] = bed.controller.get("links")["items"]
    return links


def _link(bed: Bed, src: str, dst: str) -> Link:
    ends = {"dpid": bed.fabric.dpid(src), "port_no": bed.fabric.port_no(src, dst)}
    return next(link for link in _links(bed) if link["src"] == ends)


def _sent_bytes(bed: Bed, src: str, dst: str) -> int:
    """What the kernel counted at the switch's interface."""
    argv = ["ip", "-s", "-j", "link", "show", bed.fabric.port(src, dst).name]
    shown = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return int(shown[0]["stats64"]["tx"]["bytes"])


def _ping_ms(bed: Bed, count: int, interval_s: float) -> float:
    """Mean round trip from the client to the member."""
    address = bed.fabric.address(MEMBER)
    said = bed.fabric.run(CLIENT, "ping", "-q", f"-c{count}", f"-i{interval_s}", "-W2", address).stdout
    found = re.search(r"= [\d.]+/([\d.]+)/", said)
    assert found, said
    return float(found[1])


class _Flood:
    """UDP from the client to the member at a rate."""

    def __init__(self, bed: Bed, mbit: float) -> None:
        self._bed, self._mbit = bed, mbit

    def __enter__(self) -> None:
        fabric, quiet = self._bed.fabric, {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = fabric.popen(MEMBER, "iperf3", "-s", "-1", **quiet)
        soon("iperf3 listens", lambda: "5201" in fabric.run(MEMBER, "ss", "-ltn").stdout)
        argv = ("iperf3", "-u", "-c", fabric.address(MEMBER), "-b", f"{self._mbit}M", "-t", "300")
        self._processes = [fabric.popen(CLIENT, *argv, **quiet), server]

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def test_utilisation_is_the_interfaces_within_one_percent_over_30_s(bed: Bed) -> None:
    with _Flood(bed, 8):
        soon("the rate is steady", lambda: (_link(bed, "leaf1", "spine1")["utilisation_pct"] or 0) > 40, 20)
        time.sleep(3)
        began, sent = time.monotonic(), _sent_bytes(bed, "leaf1", "spine1")
        said = []
        while time.monotonic() < began + 30:
            said.append(_link(bed, "leaf1", "spine1")["utilisation_pct"])
            time.sleep(1)
        bps = 8 * (_sent_bytes(bed, "leaf1", "spine1") - sent) / (time.monotonic() - began)
    assert sum(said) / len(said) == pytest.approx(100 * bps / CAPACITY_BPS, rel=0.01)


def test_losses_are_known_within_two_points_a_minute_after_suspicion(bed: Bed) -> None:
    bed.fabric.set_loss("leaf1", "spine1", 5)
    bed.fabric.set_loss("leaf2", "spine1", 20)
    for leaf in ("leaf1", "leaf2"):
        soon("the link comes under suspicion", lambda leaf=leaf: _link(bed, leaf, "spine1")["loss_pct"], 60)
    time.sleep(50)
    assert _link(bed, "leaf1", "spine1")["loss_pct"] == pytest.approx(5, abs=2)
    assert _link(bed, "leaf2", "spine1")["loss_pct"] == pytest.approx(20, abs=2)
    assert _link(bed, "leaf2", "spine1")["congested_by"] == ["probe loss"]
    for leaf in ("leaf1", "leaf2"):
        assert _link(bed, "spine1", leaf)["loss_pct"] < 1, "the other direction loses nothing"


def test_an_idle_fabrics_delays_are_a_pings_within_a_millisecond_a_link(bed: Bed) -> None:
    def error_ms() -> float:
        directions = [
            _link(bed, *ends)["delay_ms"]
            for leaf in ("leaf1", "leaf2")
            for ends in ((leaf, "spine1"), ("spine1", leaf))
        ]
        assert all(delay >= 0 for delay in directions)
        return abs(sum(directions) - _ping_ms(bed, 20, 0.05)) / len(directions)

    soon("the delays agree", lambda: error_ms() < 1, 30, error_ms)


def test_a_full_queue_shows_as_delay_drops_and_congestion_and_passes(bed: Bed) -> None:
    bed.fabric.set_rate("leaf1", "spine1", CAPACITY_BPS / 1e6)
    moment = bed.controller.moment()
    with _Flood(bed, 30):
        soon("congested", lambda: _link(bed, "leaf1", "spine1")["congested"], 20, lambda: _links(bed))
        time.sleep(3)
        round_trip_ms = _ping_ms(bed, 60, 0.1)
        link = _link(bed, "leaf1", "spine1")
        assert link["delay_ms"] == pytest.approx(round_trip_ms, rel=0.2)
        assert round_trip_ms > QUEUE_MS / 2, "the queue is full"
        # In any one second a busy machine may carry less.
        soon("full", lambda: _link(bed, "leaf1", "spine1")["utilisation_pct"] == pytest.approx(100, abs=2), 5)
        assert link["queue_drops"] > 1000
        assert link["queue_drops_per_s"] > 100
        assert {"utilisation", "queue drops"} <= set(link["congested_by"])
        assert not _link(bed, "spine1", "leaf1")["congested"]
    soon("no longer congested", lambda: not _link(bed, "leaf1", "spine1")["congested"], 30, lambda: _links(bed))
    said = [
        line["congested"] for line in bed.controller.announced("link", since=moment) if line["src"].endswith("101:2")
    ]
    assert said == [True, False]


def test_a_members_own_access_link_shows_when_it_is_the_narrow_one(bed: Bed) -> None:
    bed.fabric.set_rate("leaf2", MEMBER, 10)
    port = f"{bed.fabric.dpid('leaf2')}:{bed.fabric.port_no('leaf2', MEMBER)}"
    before = bed.controller.counted("resetlb_port_queue_drops_total", port=port)
    with _Flood(bed, 15):
        soon("it is congested", lambda: bed.controller.counted("resetlb_port_congested", port=port), 20)
        assert bed.controller.counted("resetlb_port_queue_drops_total", port=port) > before
        assert not any(link["congested"] for link in _links(bed))


def test_what_a_parted_switch_measured_becomes_unknown_and_comes_back(bed: Bed) -> None:
    soon("known before", lambda: _link(bed, "spine1", "leaf1")["utilisation_pct"] is not None)
    bed.fabric.disconnect("spine1")
    parted = ("utilisation_pct", "throughput_bps", "loss_pct", "delay_ms", "queue_drops", "queue_drops_per_s")
    soon("unknown", lambda: {_link(bed, "spine1", "leaf1")[name] for name in parted} == {None}, 20, lambda: _links(bed))
    assert _link(bed, "leaf1", "spine1")["utilisation_pct"] is not None
    assert _link(bed, "leaf1", "spine1")["loss_pct"] is None, "nobody hears what arrives there"
    bed.fabric.reconnect("spine1")
    bed.call_in()
    bed.in_order()
    soon("known again", lambda: None not in {_link(bed, "spine1", "leaf1")[name] for name in parted}, 20)
