"""How fast rules come into force: ResetLB's API, Ryu's `ofctl_rest`, and ovs-ofctl(8) on the switch itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from controller.firewall import rule_entries
from controller.policy import Rule
from topologies import openvswitch
from topologies.fabric import DEFAULT_CONTROLLERS, Fabric
from topologies.lab.controller import Controller
from topologies.peers.bars import bars
from topologies.peers.bed import RESETLB
from topologies.single import SingleTopo

OFCTL_REST, OVS_OFCTL = "Ryu ofctl_rest", "ovs-ofctl"
VARIANTS = (RESETLB, OFCTL_REST, OVS_OFCTL)
SINGLE, BULK = 200, 10_000
API = "127.0.0.1", 8080
"""ResetLB's, and ofctl_rest's."""
READY_S, IN_FORCE_S, POLL_S = 30.0, 120.0, 0.02
_OFCTL_REST = (
    "import eventlet; eventlet.monkey_patch(); import eventlet.wsgi; eventlet.wsgi.ALREADY_HANDLED = None; "
    "from ryu.cmd.manager import main; main(['ryu.app.ofctl_rest'])"
)
SWITCH = "s1"


class Seen(NamedTuple):
    """Rules per second, each by a request of its own, and how long a great many take at once (s): until the switch has the last."""

    single_per_s: float
    bulk_s: float


class Way(NamedTuple):
    """How rules are given: one, all at once (each by its prefix), and how many flow entries one of them is."""

    one: Callable[[str], object]
    all: Callable[[Sequence[str]], object]
    entries_each: int


def _prefixes(first: int, count: int) -> list[str]:
    return [f"10.{64 + (number >> 8)}.{number & 255}.0/24" for number in range(first, first + count)]


def run(variant: str) -> Seen:
    """One run. Raises RuntimeError when something does not start, or rules do not come into force."""
    with (
        Fabric(SingleTopo(hosts=2), () if variant == OVS_OFCTL else DEFAULT_CONTROLLERS) as fabric,
        _WAYS[variant](fabric) as way,
    ):
        single, before = _prefixes(0, SINGLE), _count()
        took_s = _until_there(lambda: [way.one(prefix) for prefix in single], before + SINGLE * way.entries_each)
        bulk, before = _prefixes(SINGLE, BULK), _count()
        bulk_s = _until_there(lambda: way.all(bulk), before + BULK * way.entries_each)
        return Seen(SINGLE / took_s, bulk_s)


def _until_there(give: Callable[[], object], entries: int) -> float:
    began = time.monotonic()
    give()
    while _count() < entries:
        if time.monotonic() > began + IN_FORCE_S:
            raise RuntimeError(f"{_count()} of {entries} flow entries after {IN_FORCE_S:g} s")
        time.sleep(POLL_S)
    return time.monotonic() - began


def _count() -> int:
    found = re.search(r"flow_count=(\d+)", openvswitch.ofctl("dump-aggregate", SWITCH))
    if found is None:
        raise RuntimeError("the switch does not say how many flow entries it has")
    return int(found[1])


# --- ways ----------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _resetlb(_: Fabric) -> Iterator[Way]:
    with Controller(Path(tempfile.mkdtemp(prefix="rules-")), {"version": 1}, "ryu", None) as controller:
        _wait(lambda: all(switch["reconciled"] for switch in controller.items("switches")) and _count() > 0)
        with contextlib.closing(http.client.HTTPConnection(*API, timeout=IN_FORCE_S)) as api:

            def one(prefix: str) -> None:
                _ask(api, "POST", "/v1/firewall/rules", {"src": prefix, "action": "drop"})

            def every(prefixes: Sequence[str]) -> None:
                rules = controller.get("policy")["firewall"]["rules"]
                rules += [{"src": prefix, "action": "drop"} for prefix in prefixes]
                _ask(api, "PUT", "/v1/policy", {"version": 1, "firewall": {"rules": rules}})

            rule = Rule(id="x", src="10.64.0.0/24", action="drop")
            yield Way(one, every, len(list(rule_entries(rule, 1, True))))


@contextlib.contextmanager
def _ofctl_rest(fabric: Fabric) -> Iterator[Way]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _OFCTL_REST], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    dpid = int(fabric.dpid(SWITCH), 16)
    try:
        _wait(lambda: dpid in json.loads(_answer("/stats/switches")))
        with contextlib.closing(http.client.HTTPConnection(*API, timeout=IN_FORCE_S)) as api:

            def one(prefix: str) -> None:
                match = {"eth_type": 0x0800, "ipv4_src": prefix}
                _ask(api, "POST", "/stats/flowentry/add", {"dpid": dpid, "priority": 90, "match": match, "actions": []})

            yield Way(one, lambda prefixes: [one(prefix) for prefix in prefixes], 1)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _ovs_ofctl(fabric: Fabric) -> Iterator[Way]:
    def entry(prefix: str) -> str:
        return f"priority=90,ip,nw_src={prefix},actions=drop"

    yield Way(
        lambda prefix: openvswitch.ofctl("add-flow", SWITCH, entry(prefix)),
        lambda prefixes: fabric.add_flows(SWITCH, [entry(prefix) for prefix in prefixes]),
        1,
    )


_WAYS = {RESETLB: _resetlb, OFCTL_REST: _ofctl_rest, OVS_OFCTL: _ovs_ofctl}


def _wait(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(OSError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not ready within {READY_S:g} s")
        time.sleep(0.1)


def _answer(path: str) -> bytes:
    with contextlib.closing(http.client.HTTPConnection(*API, timeout=5)) as api:
        api.request("GET", path)
        return api.getresponse().read()


def _ask(api: http.client.HTTPConnection, method: str, path: str, document: dict[str, Any]) -> None:
    api.request(method, path, json.dumps(document), {"Content-Type": "application/json"})
    answer = api.getresponse()
    said = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]!r}")


# --- report --------------------------------------------------------------------------------------------------------------------


def measure(n: int) -> tuple[str, str]:
    """Every variant in turn, medians of `n`, as a table and a picture."""
    runs: dict[str, list[Seen]] = {variant: [] for variant in VARIANTS}
    for number in range(n):
        for variant in VARIANTS[:: -1 if number % 2 else 1]:
            found = run(variant)
            runs[variant].append(found)
            told = f"{found.single_per_s:,.0f} rules/s one by one, {BULK:,} in {found.bulk_s:.2f} s"
            print(f"{number + 1} of {n}, {variant}: {told}", flush=True)
    middles = {
        variant: Seen(*(median(values) for values in zip(*found, strict=True))) for variant, found in runs.items()
    }
    lines = [f"| | rules/s, a request each | {BULK:,} at once | rules/s |", "|---|---:|---:|---:|"]
    lines += [
        f"| {variant} | {seen.single_per_s:,.0f} | {seen.bulk_s:.2f} s | {BULK / seen.bulk_s:,.0f} |"
        for variant, seen in middles.items()
    ]
    picture = bars(
        "Rules per second by who gives them",
        {
            "a request each, per second": {name: seen.single_per_s for name, seen in middles.items()},
            f"{BULK:,} at once, per second": {name: BULK / seen.bulk_s for name, seen in middles.items()},
        },
    )
    return "\n".join(lines), picture
