"""A fabric, a controller and clients for one run, and what the clients lived through. Only in a sandbox."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from topologies.fabric import Fabric
from topologies.lab.controller import Controller
from topologies.leaf_spine import LeafSpineTopo
from topologies.load import Outcome

VIP, VIP_PORT, MEMBER_PORT = "10.0.0.100", 80, 8080
READY_S = 60.0
SLOW_MS = 500.0


class Seen(NamedTuple):
    """Requests of one phase of one run: median and p99 (ms, of those answered), the share over 500 ms or failed, and the failures."""

    requests: int
    p50_ms: float
    p99_ms: float
    slow: float
    failed: int


class Request(NamedTuple):
    """When it began (s, CLOCK_MONOTONIC), how long it took (ms), and whether it was answered."""

    began: float
    took_ms: float
    answered: bool


def seen(requests: Sequence[Request]) -> Seen:
    """What the clients of these requests lived through. Raises ValueError when there are none."""
    if not requests:
        raise ValueError("nobody asked anything")
    took = sorted(request.took_ms for request in requests if request.answered) or [math.inf]
    slow = sum(not request.answered or request.took_ms > SLOW_MS for request in requests)
    failed = sum(not request.answered for request in requests)
    p50, p99 = (took[math.ceil(share * len(took)) - 1] for share in (0.5, 0.99))
    return Seen(len(requests), p50, p99, slow / len(requests), failed)


class Bench:
    """Two leaves with two spines between them; hosts are named as Mininet does, from h1 on leaf1."""

    def __init__(self, hosts: int, fabric_mbit: float | None) -> None:
        self.fabric = Fabric(LeafSpineTopo(leaves=2, hosts=hosts, fabric_mbit=fabric_mbit))
        self.fabric_mbit = fabric_mbit

    @contextlib.contextmanager
    def running(self, members: Sequence[str], mode: str) -> Iterator[Controller]:
        """The controller in a mode of automation, the members in a pool behind the VIP, everybody known to it.

        Raises:
            RuntimeError: not ready in time, with the controller's last lines.
        """
        folder = Path(tempfile.mkdtemp(prefix="balancing-"))
        with Controller(folder, self._policy(members, mode), "ryu", None) as controller:
            deadline = time.monotonic() + READY_S
            while not self._ready(controller, len(members)):
                if time.monotonic() > deadline or not controller.running:
                    raise RuntimeError(f"not ready: {controller.log.read_text()[-2000:]}")
                time.sleep(0.3)
            yield controller

    def _policy(self, members: Sequence[str], mode: str) -> dict[str, Any]:
        named = [{"name": host, "address": self.fabric.address(host), "port": MEMBER_PORT} for host in members]
        check = {"type": "tcp", "interval_s": 1.0, "timeout_s": 1.0}
        policy: dict[str, Any] = {
            "version": 1,
            "pools": {"web": {"members": named, "health_check": check, "slow_start_s": 0}},
            "vips": {"web": {"address": VIP, "port": VIP_PORT, "pool": "web"}},
            "automation": {"mode": mode},
        }
        if self.fabric_mbit is not None:
            policy["links"] = {"capacities": list(self._capacities(int(self.fabric_mbit * 1e6)))}
        return policy

    def _capacities(self, capacity_bps: int) -> Iterator[dict[str, Any]]:
        for leaf in ("leaf1", "leaf2"):
            for spine in ("spine1", "spine2"):
                ends = [
                    f"{self.fabric.dpid(near)}:{self.fabric.port_no(near, far)}"
                    for near, far in ((leaf, spine), (spine, leaf))
                ]
                for src, dst in (ends, ends[::-1]):
                    yield {"src": src, "dst": dst, "capacity_bps": capacity_bps}

    def _ready(self, controller: Controller, members: int) -> bool:
        for host in self.fabric.host_names:
            self.fabric.run(host, "ping", "-c1", "-W0.05", "10.0.255.254")
        try:
            links = len(controller.items("links"))
            well = [member for member in controller.items("pools/web/members") if member["health"] == "up"]
        except OSError:
            return False
        return links == 8 and len(well) == members

    def ask(self, client: str, rate: float, address: str = VIP, port: int = VIP_PORT) -> Asking:
        """New requests from a host at a rate until `finish`."""
        return Asking(self.fabric, client, rate, address, port)


class Asking:
    """A client (`topologies.load`), and what it tells."""

    def __init__(self, fabric: Fabric, client: str, rate: float, address: str, port: int) -> None:
        argv = [sys.executable, "-m", "topologies.load", client, address, str(port), "--rate", str(rate)]
        self._program = fabric.popen(client, *argv, stdout=subprocess.PIPE, text=True)
        self._requests: list[Request] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._program.stdout:
            told = json.loads(line)
            took_ms = 1000 * (told["ended"] - told["started"])
            self._requests.append(Request(told["started"], took_ms, told["outcome"] == Outcome.OK))

    def finish(self) -> Callable[[float, float], Seen]:
        """Ends it; what was seen of the requests that began between two times."""
        self._program.terminate()
        self._reader.join()
        requests = self._requests
        return lambda begin, end: seen([request for request in requests if begin <= request.began < end])
