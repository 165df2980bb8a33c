"""One of three members starts to reset: what clients see of it, and what an attacker who forges a member's resets achieves.

New connections at a fixed rate; after a while one member's fault begins and stays. Counted are the connections that began after it and
failed, the slowest connect among those that did not, and when the last one failed. With the attacker, who forges resets of another,
healthy member all the time, it is also told which share of the answers that member still gave.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from topologies.faulty_server import Fault
from topologies.load import Outcome
from topologies.peers.bars import bars
from topologies.peers.bed import (
    ATTACKER,
    CLIENT,
    HAPROXY,
    MEMBER_PORT,
    MEMBERS,
    NGINX,
    OVN,
    RESETLB,
    TUNED,
    Address,
    balanced,
    balancing,
)
from topologies.servers import SwitchableServer

RATE, WELL_S, FAILING_S = 500.0, 4.0, 10.0
FORGED_PER_S = 100.0
VARIANTS = (RESETLB, TUNED, HAPROXY, NGINX, OVN)
FAULTS = {
    "closed": ("listener closed, process alive", {"fault": Fault.REFUSE}),
    "reset": ("RST after accept", {"fault": Fault.RESET_ON_ACCEPT}),
    "gray": ("30 % reset after accept", {"fault": Fault.RESET_ON_ACCEPT, "share": 0.3}),
}
WANTED = {"closed": 0, "reset": 3, "gray": 5}
"""Failures of ours at most."""
GUILTY, VICTIM = MEMBERS[0], MEMBERS[1]


class Seen(NamedTuple):
    """What clients saw after the fault began; `victim_share` of the answers were the attacked member's."""

    tried: float
    failed: float
    slowest_ms: float
    last_failure_s: float
    victim_share: float


def run(variant: str, fault: str, attacked: bool) -> Seen:
    """One run. Raises RuntimeError when something does not start."""
    with balanced(variant) as (fabric, address):
        servers = {name: SwitchableServer(fabric, name).start() for name in MEMBERS}
        with balancing(variant, fabric):
            if attacked:
                clients = [fabric.address(CLIENT)]
                order = {"vip": address, "members": [(fabric.address(VICTIM), MEMBER_PORT)], "clients": clients,
                         "rate": FORGED_PER_S, "seed": 1}  # fmt: skip
                fabric.popen(
                    ATTACKER, sys.executable, "-m", "topologies.lab.attacker", "blind-resets", json.dumps(order)
                )
            with tempfile.TemporaryFile("w+") as told:
                asking = fabric.popen(CLIENT, *_load(address), stdout=told)
                time.sleep(WELL_S)
                began = time.monotonic()
                servers[GUILTY].behave(**FAULTS[fault][1])  # type: ignore[arg-type]
                time.sleep(FAILING_S)
                asking.terminate()
                asking.wait()
                told.seek(0)
                attempts = [json.loads(line) for line in told]
    return _seen([attempt for attempt in attempts if attempt["started"] >= began], began)


def _load(address: Address) -> list[str]:
    return [sys.executable, "-m", "topologies.load", CLIENT, address[0], str(address[1]), "--rate", str(RATE)]


def _seen(attempts: Sequence[dict[str, object]], began: float) -> Seen:
    failures = [float(str(one["ended"])) for one in attempts if one["outcome"] != Outcome.OK]
    connects = [float(str(one["connected"])) - float(str(one["started"])) for one in attempts if one["connected"]]
    answered = Counter(str(one["member"]) for one in attempts if one["outcome"] == Outcome.OK)
    return Seen(
        len(attempts),
        len(failures),
        1000 * max(connects, default=float("nan")),
        max(failures) - began if failures else 0.0,
        answered[VICTIM] / max(1, answered.total()),
    )


def measure(n: int) -> tuple[str, str]:
    """Every variant under every fault, in turn, medians of `n`, as a table and a picture."""
    runs: dict[tuple[str, bool, str], list[Seen]] = {}
    for number in range(1, n + 1):
        for fault in FAULTS:
            for attacked in (False, True):
                for variant in VARIANTS:
                    found = run(variant, fault, attacked)
                    runs.setdefault((fault, attacked, variant), []).append(found)
                    under = ", attacked" if attacked else ""
                    print(
                        f"{number} of {n}, {FAULTS[fault][0]}{under}, {variant}: {found.failed:.0f} failed", flush=True
                    )
    lines = [
        "| fault of one of three | attacked | balancer | failed of | slowest connect | last failure | answers of the victim |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    failed: dict[str, dict[str, float]] = {}
    for (fault, attacked, variant), found in runs.items():
        middle = Seen(*(median(values) for values in zip(*found, strict=True)))
        lines.append(
            f"| {FAULTS[fault][0]} | {'yes' if attacked else 'no'} | {variant} | {middle.failed:.0f} of {middle.tried:.0f} "
            f"| {middle.slowest_ms:.0f} ms | {f'{middle.last_failure_s:.1f} s' if middle.failed else '–'} "
            f"| {middle.victim_share:.0%} |"
        )
        if not attacked:
            failed.setdefault(f"{FAULTS[fault][0]}: failed connections", {})[variant] = middle.failed
    return "\n".join(lines), bars("Failed connections by fault and balancer", failed)
