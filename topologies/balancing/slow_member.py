"""Three members of a pool, one of them slowed to a third: equal weights, ResetLB, and HAProxy with leastconn on the same members."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from topologies.balancing.bench import VIP, VIP_PORT, Bench, Seen
from topologies.fabric import Fabric

RATE = 110.0
WORKERS, SERVICE_S, BACKLOG = 2, 0.02, 16
"""A member serves 100 requests per second, slowed to a third 33: fewer than an equal share."""
FREE_S, FIRST_S, SETTLED_S = 10.0, 15.0, 25.0
CLIENT, PROXY, MEMBERS = "h1", "h2", ("h5", "h6", "h7")
PROXY_PORT = 8081
VARIANTS = {"equal weights": "frozen", "HAProxy leastconn": "frozen", "ResetLB": "enforce"}

_HAPROXY = """\
global
  maxconn 4096
defaults
  mode tcp
  timeout connect 3s
  timeout client 10s
  timeout server 10s
listen web
  bind :{port}
  balance leastconn
{servers}
"""


def _serve(fabric: Fabric, member: str) -> subprocess.Popen[Any]:
    order = {"port": 8080, "workers": WORKERS, "backlog": BACKLOG, "page_bytes": 200, "service_s": SERVICE_S}
    argv = [sys.executable, "-m", "topologies.lab.queueing_server", json.dumps(order)]
    # An accept queue that is full refuses, as many servers are set up; else its clients would only wait (tcp(7)).
    fabric.run(member, "sysctl", "-q", "-w", "net.ipv4.tcp_abort_on_overflow=1")
    return fabric.popen(member, *argv, stdin=subprocess.PIPE, text=True)


def _proxy(fabric: Fabric) -> subprocess.Popen[Any]:
    lines = [f"  server {member} {fabric.address(member)}:8080" for member in MEMBERS]
    config = Path(tempfile.mkdtemp(prefix="haproxy-")) / "haproxy.cfg"
    config.write_text(_HAPROXY.format(port=PROXY_PORT, servers="\n".join(lines)))
    return fabric.popen(PROXY, "haproxy", "-db", "-f", str(config), stderr=subprocess.DEVNULL)


def run(variant: str) -> dict[str, Seen]:
    """One run: requests while all are well, in the first seconds of one being slow, and after them."""
    bench = Bench(hosts=4, fabric_mbit=None)
    with bench.fabric as fabric:
        servers = [_serve(fabric, member) for member in MEMBERS]
        with bench.running(MEMBERS, VARIANTS[variant]):
            to = VIP, VIP_PORT
            if variant.startswith("HAProxy"):
                _proxy(fabric)
                to = fabric.address(PROXY), PROXY_PORT
                time.sleep(1.0)
            asking = bench.ask(CLIENT, RATE, *to)
            began = time.monotonic() + 1.0
            time.sleep(1.0 + FREE_S)
            slowed = time.monotonic()
            servers[0].stdin.write(json.dumps({"service_s": 3 * SERVICE_S, "backlog": BACKLOG}) + "\n")
            servers[0].stdin.flush()
            time.sleep(FIRST_S + SETTLED_S)
            during = asking.finish()
    settled = slowed + FIRST_S
    return {
        "free": during(began, began + FREE_S),
        "first": during(slowed, settled),
        "settled": during(settled, settled + SETTLED_S),
    }
