"""`scripts/bench packet-ins`: mirrored resets through a real socket and through the decoders alone, ResetLB's, Ryu's and os-ken's."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from apps import codec
from apps.fast_lane import FastLane
from bench.controller import Controller
from bench.resets import mixed
from bench.targets import GUILTY, MEMBERS, PAGE, PER_POOL, policy
from controller.bulk import Bulk
from controller.resets import Recent
from controller.segments import read_segment
from topologies import figures
from topologies.peers.bars import bars

COMMAND = "scripts/bench packet-ins --write"
PICTURE = Path("docs/images/bench-packet-ins.svg")
FRAMEWORKS = {"Ryu": "ryu", "os-ken": "os-ken"}
HANDLERS = {"empty": "an empty handler", "parse": "parses the frame", "answer": "parses, flow-mod and packet-out"}
OURS, THEIRS = 200_000, 20_000
"""Packet-ins of a run: as many as take about a second."""
DECODED, TURN = 20_000, 256
CONNECTED_S = 3.0

Run = Callable[[], float]


def through_a_socket() -> dict[str, Run]:
    """Who takes packet-ins in, and how many per second in one run: the first of them is the measure of the others."""
    runs: dict[str, Run] = {
        f"{name}, {HANDLERS[work]}": _end_to_end(work, framework, THEIRS)
        for name, framework in FRAMEWORKS.items()
        for work in HANDLERS
    }
    runs |= {
        f"ResetLB on {name}": _end_to_end(policy(MEMBERS), framework, OURS) for name, framework in FRAMEWORKS.items()
    }
    return runs


def _end_to_end(application: dict[str, object] | str, framework: str, count: int) -> Run:
    def run() -> float:
        messages = b"".join(mixed(count, MEMBERS, PER_POOL, GUILTY, random.Random(1)))
        with Controller(application, framework) as controller:
            switch = controller.connect(1)
            time.sleep(CONNECTED_S)
            return count / switch.until_taken_in(messages, 120)

    return run


def decoders() -> dict[str, Run]:
    """Who reads packet-ins, and how many per second in one run: the first of them is the measure of the others."""
    messages = list(mixed(DECODED, MEMBERS, PER_POOL, GUILTY, random.Random(2)))
    runs = {
        f"{name}: message and frame": _timed(_framework(framework.replace("-", "_")), messages)
        for name, framework in FRAMEWORKS.items()
    }
    runs["ResetLB: message and segment"] = _timed(_one_by_one, messages)
    runs["ResetLB: added up in the buffer"] = _added_up(messages)
    return runs


def _timed(read: Callable[[bytes], object], messages: Sequence[bytes]) -> Run:
    def run() -> float:
        began = time.perf_counter()
        for message in messages:
            read(message)
        return len(messages) / (time.perf_counter() - began)

    return run


def _framework(package: str) -> Callable[[bytes], object]:
    """As its controller does it, and an application that wants to know the ports."""
    parse = importlib.import_module(f"{package}.ofproto.ofproto_parser").msg
    switch = importlib.import_module(f"{package}.ofproto.ofproto_protocol").ProtocolDesc(4)
    importlib.import_module(f"{package}.ofproto.ofproto_v1_3_parser")
    packet = importlib.import_module(f"{package}.lib.packet.packet").Packet
    tcp = importlib.import_module(f"{package}.lib.packet.tcp").tcp

    def read(message: bytes) -> object:
        parsed = parse(switch, 4, message[1], len(message), 0, bytearray(message))
        return packet(parsed.data).get_protocol(tcp)

    return read


def _one_by_one(message: bytes) -> object:
    packet_in = codec.decode_packet_in(message)
    return read_segment(packet_in[3]) if packet_in else None


def _added_up(messages: Sequence[bytes]) -> Run:
    """As `apps/openflow.py` does it, each time as if nobody had been reset before."""
    buffer = bytearray(b"".join(messages))

    def run() -> float:
        lane = FastLane(Bulk(Recent()), time.monotonic)
        began, offset = time.perf_counter(), 0
        for number, message in enumerate(messages):
            if number % TURN == 0:
                lane.look_at_clock()
            lane.takes(1, buffer, offset, len(message))
            offset += len(message)
        return len(messages) / (time.perf_counter() - began)

    return run


def measure(n: int, runs: dict[str, Run]) -> dict[str, float]:
    """Medians of `n` runs of each, per second; they take turns, every other time backwards."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(n):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            found[name].append(runs[name]())
            print(f"{number + 1} of {n}, {name}: {found[name][-1]:,.0f}/s", file=sys.stderr, flush=True)
    return {name: median(rates) for name, rates in found.items()}


def _table(what: str, rates: dict[str, float]) -> str:
    first = next(iter(rates.values()))
    lines = [f"| {what} | per second | µs each | of the first |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {rate:,.0f} | {1e6 / rate:.1f} | {rate / first:.2f} × |" for name, rate in rates.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench packet-ins", description="Packet-ins, against Ryu and os-ken.")
    parser.add_argument(
        "--n", type=int, default=3, help="runs of each, of which medians are told (default: %(default)s)"
    )
    parser.add_argument("--write", action="store_true", help=f"put the figures into {PAGE}")
    options = parser.parse_args(arguments)
    ends, read = measure(options.n, through_a_socket()), measure(options.n, decoders())
    machine = (
        f"Medians of {options.n} runs each, taken in turn. Python {platform.python_version()}, {os.cpu_count()} shared cores, "
        f"load average {os.getloadavg()[0]:.1f}."
    )
    text = "\n\n".join((_table("taken in through a socket", ends), _table("decoded only", read), machine))
    print(f"\n{text}")
    if options.write:
        figures.put(PAGE, COMMAND, f"{text}\n\n![Packet-ins per second as bars](images/{PICTURE.name})")
        groups = {"taken in through a socket, per second": ends, "decoded only, per second": read}
        PICTURE.write_text(bars("Packet-ins per second by who takes them in", groups))
    return 0
