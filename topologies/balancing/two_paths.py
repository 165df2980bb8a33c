"""Two equal paths of 20 Mbit/s, one of them filled by a bulk flow: what do the other clients notice?"""

from __future__ import annotations

import subprocess
import time

from topologies.balancing.bench import Bench, Seen
from topologies.servers import Nginx

RATE, PATH_MBIT = 40.0, 20.0
FREE_S, FIRST_S, SETTLED_S = 12.0, 15.0, 25.0
CLIENT, MEMBERS, BULK = "h1", ("h4", "h5"), ("h6", "h3")
"""The bulk flow goes the way of the answers."""
VARIANTS = {"equal-cost hashing": "frozen", "ResetLB": "enforce"}


def run(variant: str) -> dict[str, Seen]:
    """One run: requests while the fabric is free, in the first seconds of the bulk flow, and after them."""
    bench = Bench(hosts=3, fabric_mbit=PATH_MBIT)
    with bench.fabric as fabric:
        servers = [Nginx(fabric, member, 8080).start() for member in MEMBERS]
        with bench.running(MEMBERS, VARIANTS[variant]):
            asking = bench.ask(CLIENT, RATE)
            began = time.monotonic() + 1.0
            time.sleep(1.0 + FREE_S)
            listening = fabric.popen(BULK[1], "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
            time.sleep(0.5)
            filled = time.monotonic()
            argv = ["iperf3", "-c", fabric.address(BULK[1]), "-t", str(int(FIRST_S + SETTLED_S) + 2)]
            sending = fabric.popen(BULK[0], *argv, stdout=subprocess.DEVNULL)
            time.sleep(FIRST_S + SETTLED_S)
            during = asking.finish()
            for program in (sending, listening):
                program.kill()
        for server in servers:
            server.stop()
    settled = filled + FIRST_S
    return {
        "free": during(began, began + FREE_S),
        "first": during(filled, settled),
        "settled": during(settled, settled + SETTLED_S),
    }
