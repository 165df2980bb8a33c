"""`scripts/bench targets`: what is promised of the controller's speed and size, measured here and now.

Each figure is measured on the real program: as a process behind a real socket, or, where only the core is meant, on the core itself.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import itertools
import json
import math
import os
import platform
import random
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from apps import codec, garbage
from bench.controller import Controller
from bench.resets import early_abort, introduction, mixed
from bench.switch import Switch
from controller.balance import VIP_GROUP
from controller.counting import Counters
from controller.events import FlowCounted
from controller.suspicion import PASSIVE_CONNECTIONS
from topologies import figures
from topologies.simulation.scenario import Run, Size

MEMBERS, PER_POOL, GUILTY = 1000, 10, 137
BATCH = 20_000
PORTS, SETTLED_S, SLICE_S = 64, 3.0, 0.005
FLOODED_S = 8.0
"""From the beginning of a flood until what it meets is no controller that has just been given a thousand members."""
PAGE = Path("docs/benchmarks.md")


class Target(NamedTuple):
    """A promise: what was found, what was wanted, and whether that is so."""

    what: str
    wanted: str
    found: str
    met: bool


def policy(members: int) -> dict[str, Any]:
    """A policy with so many members, `PER_POOL` to a pool, without checks."""
    addresses = [str(ipaddress.IPv4Address(0x0A010000 + number)) for number in range(1, members + 1)]
    pools = {
        f"p{first // PER_POOL}": {
            "members": [
                {"name": f"m{number + 1}", "address": addresses[number], "port": 8080}
                for number in range(first, min(first + PER_POOL, members))
            ]
        }
        for first in range(0, members, PER_POOL)
    }
    vips = {name: {"address": f"10.0.0.{n}", "port": 80, "pool": name} for n, name in enumerate(pools, 1)}
    return {"version": 1, "pools": pools, "vips": vips}


# --- measurements --------------------------------------------------------------------------------------------------------------


def help_time() -> Iterator[Target]:
    """How long `resetlb --help` takes."""
    argv = [str(Path(sys.executable).with_name("resetlb")), "--help"]
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(argv, check=True, capture_output=True)
        times.append(time.monotonic() - began)
    took_s = statistics.median(times)
    yield Target("resetlb --help", "≤ 0.4 s", f"{took_s:.2f} s", took_s <= 0.4)


def idle() -> Iterator[Target]:
    """Start, memory and CPU with a small policy and 20 switches that do nothing."""
    with Controller(policy(3)) as controller:
        first = controller.connect(1)
        deadline = time.monotonic() + 30
        while first.first_rule is None and time.monotonic() < deadline:
            time.sleep(0.01)
        took_s = (first.first_rule or math.inf) - controller.began
        yield Target("start → first rule on a switch", "≤ 3 s", f"{took_s:.2f} s", took_s <= 3)
        yield Target("memory, one switch", "≤ 130 MB", f"{controller.memory_mb:.0f} MB", controller.memory_mb <= 130)
        switches = [first, *(controller.connect(dpid) for dpid in range(2, 21))]
        time.sleep(5)
        before, began = controller.cpu_s, time.monotonic()
        time.sleep(15)
        share = (controller.cpu_s - before) / (time.monotonic() - began)
        yield Target("idle CPU, 20 switches", "< 2 %", f"{100 * share:.1f} %", share < 0.02)
        for switch in switches:
            switch.close()


def resets(count: int) -> Iterator[Target]:
    """Resets through a socket: how many per second, in how much memory, and whether the guilty member is found among them."""
    batches = [b"".join(_some(first, count)) for first in range(0, count, BATCH)]
    empty = _empty_handler(batches[: max(1, len(batches) // 10)])
    with Controller(policy(MEMBERS)) as controller:
        switch = controller.connect(1)
        time.sleep(3)
        took_s = sum(switch.until_taken_in(batch, 120) for batch in batches)
        rate = count / took_s
        yield Target("resets through a socket", "≥ 150,000/s", f"{rate:,.0f}/s", rate >= 150_000)
        ratio = rate / empty
        yield Target("… of an empty Ryu handler", "≥ 6 ×", f"{ratio:.1f} × of {empty:,.0f}/s", ratio >= 6)
        memory_mb = controller.memory_mb
        yield Target(
            f"memory, {MEMBERS:,} members, {count:,} clients", "≤ 170 MB", f"{memory_mb:.0f} MB", memory_mb <= 170
        )
        time.sleep(3)
        subjects = {incident["subject"]["id"] for incident in controller.get("incidents?limit=1000")["items"]}
        guilty = f"p{(GUILTY - 1) // PER_POOL}/m{GUILTY}"
        others = len(subjects - {guilty})
        found = ("found" if guilty in subjects else "not found") + (f", and {others} others accused" if others else "")
        yield Target("the one member that resets", "found, alone", found, subjects == {guilty})


def _some(first: int, count: int) -> Iterator[bytes]:
    size = min(BATCH, count - first)
    return mixed(size, MEMBERS, PER_POOL, GUILTY, random.Random(first), 0x0B000000 + first)


def _empty_handler(batches: Sequence[bytes]) -> float:
    """Packet-ins per second that Ryu hands to a handler which does nothing."""
    with Controller("empty") as controller:
        switch = controller.connect(1)
        time.sleep(1)
        took_s = sum(switch.until_taken_in(batch, 120) for batch in batches)
        return BATCH * len(batches) / took_s


def reactions(flood_per_s: float = 20_000, trials: int = 100) -> Iterator[Target]:
    """A member that begins to reset what it accepts, one after the other, while another switch shows resets of everybody's."""
    with Controller(policy(MEMBERS)) as controller:
        switch, other = controller.connect(1, PORTS), controller.connect(2)
        time.sleep(SETTLED_S)
        addresses = [0x0A010000 + number for number in range(1, MEMBERS + 1)]
        switch.send(b"".join(introduction(address, 1 + place % PORTS) for place, address in enumerate(addresses)))
        _wait_for(lambda: len(switch.groups) >= MEMBERS // PER_POOL, "the groups of all VIPs")
        with flood(other, flood_per_s):
            time.sleep(FLOODED_S)
            took_ms = sorted(1000 * _reaction_s(switch, pool) for pool in range(min(trials, MEMBERS // PER_POOL - 1)))
        p99 = took_ms[math.ceil(0.99 * len(took_ms)) - 1]
        what = f"reset → group change on the socket, p99, {flood_per_s:,.0f} others/s"
        yield Target(
            what, "< 10 ms", f"{p99:.1f} ms of {len(took_ms)}, p50 {statistics.median(took_ms):.1f} ms", p99 < 10
        )


def _reaction_s(switch: Switch, pool: int) -> float:
    """From the resets that decide about a pool's first member to the change of its group. Raises TimeoutError."""
    number, member = pool + 1, pool * PER_POOL + 1
    clients = range(0x0C000000 + 8 * pool, 0x0C000000 + 8 * pool + PASSIVE_CONNECTIONS)
    resets = b"".join(early_abort(client, member, number, (0x0A000000 + number, 80)) for client in clients)
    began = time.monotonic()
    switch.send(resets)
    _wait_for(lambda: switch.groups[VIP_GROUP | number] > began, f"a change of pool {pool}")
    return switch.groups[VIP_GROUP | number] - began


def _wait_for(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within 20 s")
        time.sleep(0.002)


@contextlib.contextmanager
def flood(switch: Switch, per_s: float) -> Iterator[None]:
    """Resets of all members' clients at a rate, and of one guilty member, from a thread."""
    stop = threading.Event()
    messages = list(mixed(int(per_s), MEMBERS, PER_POOL, MEMBERS, random.Random(1)))
    size = max(1, round(per_s * SLICE_S))

    def send() -> None:
        due = time.monotonic()
        for first in itertools.cycle(range(0, len(messages) - size, size)):
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            switch.send(b"".join(messages[first : first + size]))
            due += SLICE_S

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


def statistics_reply() -> Iterator[Target]:
    """A reply with the counters of 10,000 entries: read, and taken into totals and rates."""
    entry = struct.Struct("!HBxIIHHHHI3QHH4x")
    cookies = [0x30 << 56 | number for number in range(10_000)]
    body = b"".join(entry.pack(56, 3, 0, 0, 90, 0, 0, 0, 0, cookie, 7, 700, 1, 4) for cookie in cookies)
    meaning = {cookie: ("reset", "vip", str(cookie), "refused") for cookie in cookies}
    counters, times = Counters(), []
    for now in range(1, 8):
        began = time.perf_counter()
        packets = {cookie: count for _, cookie, count, _ in codec.decode_flow_counters(body)}
        counters.take(FlowCounted(1, 3, packets), meaning, float(now))
        times.append(time.perf_counter() - began)
    assert len(packets) == len(cookies)
    took_ms = 1000 * statistics.median(times)
    yield Target("statistics reply of 10,000 entries", "< 20 ms", f"{took_ms:.1f} ms", took_ms < 20)


def fabric() -> Iterator[Target]:
    """The core on a simulated fabric of 1,000 members: reactions, and what measuring its links costs."""
    run = Run(Size(k=8, hosts_per_member=1, hosts_per_edge=32, rate=5000))
    run.bring_up()
    run.work()
    garbage.look_at_what_is_new()  # as `resetlb run` does
    run.many_fail()
    ranked = sorted(run.measured.reactions_ms)
    p99 = ranked[math.ceil(0.99 * len(ranked)) - 1]
    where = f"{run.report.members:,} members, {len(run.core.topology.edges())} edges"
    yield Target(f"reset → groups decided, p99 ({where})", "< 2 ms", f"{p99:.2f} ms of {len(ranked)}", p99 < 2)
    links = Run(Size(k=16, hosts_per_member=1, hosts_per_edge=0, rate=0))
    links.bring_up()
    before = links.measured.cpu_s
    links.fabric.run(links.fabric.now + 20)
    share = (links.measured.cpu_s - before) / 20
    count = len(links.wiring.links)
    yield Target(
        f"measuring {count:,} links (core)", "< 10 % per 1,000", f"{100 * share:.1f} %", share < 0.1 * count / 1000
    )


# --- report --------------------------------------------------------------------------------------------------------------------


def measure(count: int, tell: Callable[[str], object]) -> list[Target]:
    """Every target, one after the other."""
    targets: list[Target] = []
    for part in (help_time(), idle(), statistics_reply(), resets(count), reactions(), fabric()):
        for target in part:
            targets.append(target)
            tell(f"{'✓' if target.met else '✗'} {target.what}: {target.found} (wanted: {target.wanted})")
    return targets


def _table(targets: list[Target]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for heading in ("", "target", "wanted", "found"):
        table.add_column(heading, justify="right" if heading in ("wanted", "found") else "left")
    for one in targets:
        table.add_row("✓" if one.met else "✗", one.what, one.wanted, one.found)
    return table


def write(targets: list[Target], path: Path = PAGE) -> None:
    """Puts the figures into the page, between its marks; raises ValueError if it has none."""
    lines = ["| | target | wanted | found |", "|---|---|---:|---:|"]
    lines += [f"| {'✓' if one.met else '✗'} | {one.what} | {one.wanted} | {one.found} |" for one in targets]
    load = os.getloadavg()[0]
    lines += ["", f"Python {platform.python_version()}, {os.cpu_count()} shared cores, load average {load:.1f}."]
    figures.put(path, "scripts/bench targets --write", "\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the status says whether every target was met."""
    parser = argparse.ArgumentParser(prog="scripts/bench targets", description="Measure the controller's targets.")
    parser.add_argument(
        "--resets", type=int, default=1_000_000, help="how many, each of another client (default: 1000000)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON, progress on standard error")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {PAGE}")
    options = parser.parse_args(arguments)
    targets = measure(options.resets, lambda text: print(text, file=sys.stderr, flush=True))
    if options.json:
        print(json.dumps([target._asdict() for target in targets], indent=2, ensure_ascii=False))
    else:
        Console(highlight=False).print(_table(targets), "\nTry next: ./scripts/simulate, ./scripts/ejections", sep="\n")
    if options.write:
        write(targets)
    return 0 if all(target.met for target in targets) else 1
