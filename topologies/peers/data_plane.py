"""What a balancer costs established traffic and new connections: wrk(1) against a VIP, a proxy, and a member itself on a plain switch."""

from __future__ import annotations

import re
from statistics import median
from typing import NamedTuple

from topologies.fabric import Fabric
from topologies.peers.bars import bars
from topologies.peers.bed import CLIENT, HAPROXY, MEMBERS, NGINX, PLAIN, RESETLB, Address, balanced, balancing
from topologies.servers import Nginx

CONNECTIONS, SECONDS = 32, 8
VARIANTS = (PLAIN, RESETLB, HAPROXY, NGINX)
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Seen(NamedTuple):
    """Requests per second on connections that stay, their latency (ms), and new connections per second with a request each."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    connections_per_s: float


def run(variant: str) -> Seen:
    """One run. Raises RuntimeError when something does not start."""
    with balanced(variant) as (fabric, address):
        for name in MEMBERS:
            Nginx(fabric, name).start()
        with balancing(variant, fabric):
            kept = _wrk(fabric, address)
            fresh = _wrk(fabric, address, "-H", "Connection: close")
    return Seen(_rate(kept), _latency_ms(kept, 50), _latency_ms(kept, 99), _rate(fresh))


def _wrk(fabric: Fabric, address: Address, *more: str) -> str:
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", *more, f"http://{address[0]}:{address[1]}/"]
    done = fabric.run(CLIENT, *argv, timeout_s=SECONDS + 30)
    if done.returncode:
        raise RuntimeError(f"wrk: {done.stdout}{done.stderr}")
    return done.stdout


def _rate(text: str) -> float:
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if found is None:
        raise RuntimeError(f"wrk says: {text}")
    return float(found[1])


def _latency_ms(text: str, percentile: int) -> float:
    found = re.search(rf"\s{percentile}%\s+([\d.]+)(us|ms|s)\b", text)
    if found is None:
        raise RuntimeError(f"wrk says: {text}")
    return float(found[1]) * _UNITS_MS[found[2]]


def measure(n: int) -> tuple[str, str]:
    """Every variant in turn, medians of `n`, as a table and a picture; ratios are to plain L2."""
    runs: dict[str, list[Seen]] = {variant: [] for variant in VARIANTS}
    for number in range(1, n + 1):
        for variant in VARIANTS:
            found = run(variant)
            runs[variant].append(found)
            print(f"{number} of {n}, {variant}: {found.requests_per_s:,.0f} requests/s", flush=True)
    middles = {
        variant: Seen(*(median(values) for values in zip(*found, strict=True))) for variant, found in runs.items()
    }
    plain = middles[PLAIN]
    lines = [
        "| balancer | requests/s | of plain | p50 | p99 | new connections/s | of plain |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {variant} | {seen.requests_per_s:,.0f} | {seen.requests_per_s / plain.requests_per_s:.2f} | {seen.p50_ms:.2f} ms "
        f"| {seen.p99_ms:.2f} ms | {seen.connections_per_s:,.0f} | {seen.connections_per_s / plain.connections_per_s:.2f} |"
        for variant, seen in middles.items()
    ]
    picture = bars(
        "Requests and new connections per second by balancer",
        {
            "requests/s on connections that stay": {name: seen.requests_per_s for name, seen in middles.items()},
            "new connections/s, a request each": {name: seen.connections_per_s for name, seen in middles.items()},
        },
    )
    return "\n".join(lines), picture
