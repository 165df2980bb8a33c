"""A fabric under load with a controller that may be killed: what its clients live through, and what is on its switches."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from topologies import openvswitch
from topologies.fabric import Fabric
from topologies.lab.controller import Controller
from topologies.leaf_spine import LeafSpineTopo
from topologies.load import Outcome
from topologies.servers import SwitchableServer

VIP, VIP_PORT, MEMBER_PORT = "10.0.0.100", 80, 8080
CLIENTS, MEMBERS = ("h1", "h3"), ("h2", "h4", "h6")
RATE, KEPT = 60.0, 10
"""New connections per second, and connections that last, of each client."""
OWN_PORTS = "10000-32767"
"""Of the clients, used in turn: Open vSwitch before 3.1.3 gives a port that is used again within half a minute another (docs/limits.md)."""
READY_S = 60.0
_TARGETS = ("tcp:127.0.0.1:6653", "tcp:127.0.0.1")
"""Two spellings of one address: a switch that is given the other one connects at once."""
_VOLATILE = re.compile(r" (?:duration=[\d.]+s|n_packets=\d+|n_bytes=\d+|idle_age=\d+|hard_age=\d+),|weight:\d+,")


class Connection(NamedTuple):
    """When it began (s, CLOCK_MONOTONIC; None for one that was meant to last), and how it ended."""

    began: float | None
    outcome: str

    @property
    def lost(self) -> bool:
        """Whether its user saw a failure."""
        return self.outcome not in (Outcome.OK, Outcome.KEPT)


def policy(fabric: Fabric) -> dict[str, Any]:
    """One VIP before the members."""
    members = [{"name": host, "address": fabric.address(host), "port": MEMBER_PORT} for host in MEMBERS]
    check = {"type": "tcp", "interval_s": 0.5, "timeout_s": 0.5, "rise": 1}
    pool = {"members": members, "health_check": check, "slow_start_s": 0}
    return {
        "version": 1,
        "pools": {"web": pool},
        "vips": {"web": {"address": VIP, "port": VIP_PORT, "pool": "web"}},
    }


class Stage:
    """As a context manager it is ready on entry, under load until `finish`, and gone on exit. Only in a sandbox.

    Args:
        framework: `ryu` or `os-ken`.
    """

    def __init__(self, framework: str) -> None:
        self.fabric = Fabric(LeafSpineTopo(spines=2, leaves=3, hosts=2))
        self._framework = framework
        self._spelling = 0
        self._told: list[Connection] = []
        self._loads: list[tuple[subprocess.Popen[str], threading.Thread]] = []

    def __enter__(self) -> Self:
        """Raises RuntimeError: it does not get ready; with the controller's last lines."""
        self.fabric.start()
        self.policy = policy(self.fabric)
        self.controller = Controller(Path(tempfile.mkdtemp()), self.policy, self._framework, None)
        self.controller.start()
        self.servers = {host: SwitchableServer(self.fabric, host).start() for host in MEMBERS}
        self.wait("the fabric is ready", self._ready, READY_S)
        for client in CLIENTS:
            self._load(client)
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.__exit__()
        self.fabric.stop()

    def call_in(self) -> None:
        """Has every switch connect now: Open vSwitch 3.1 waits up to 8 s between attempts, whatever `max_backoff` says."""
        self._spelling = 1 - self._spelling
        names = self.fabric.switch_names
        openvswitch.vsctl(
            *[part for name in names for part in ("--", "set-controller", name, _TARGETS[self._spelling])]
        )

    def answers(self) -> bool:
        """Whether the controller's API does."""
        try:
            return bool(self.controller.get("health"))
        except OSError:
            return False

    def in_order(self) -> bool:
        """Whether every switch is connected and has what it shall have."""
        try:
            switches = self.controller.items("switches")
        except OSError:
            return False
        ready = [switch for switch in switches if switch["connected"] and switch["reconciled"]]
        return len(ready) == len(self.fabric.switch_names)

    def entries(self) -> set[str]:
        """Every switch's flow entries (without those that expire by themselves), groups and meters, without counters and weights."""
        found = set()
        for switch in self.fabric.switch_names:
            meters = openvswitch.ofctl("dump-meters", switch).split("meter=")[1:]
            lines = [f"meter={' '.join(meter.split())}" for meter in meters]
            lines += [line for line in self.fabric.dump_flows(switch) if "_timeout=" not in line]
            lines += self.fabric.dump_groups(switch)
            found |= {f"{switch} {_VOLATILE.sub('', line)}" for line in lines}
        return found

    def wait(self, what: str, condition: Any, within_s: float, pause_s: float = 0.02) -> float:
        """Waits until `condition` holds; how long that took (s). Raises RuntimeError, with the controller's last lines."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() > began + within_s:
                raise RuntimeError(f"not within {within_s:g} s: {what}\n{self.controller.log.read_text()[-2000:]}")
            time.sleep(pause_s)
        return time.monotonic() - began

    def finish(self) -> list[Connection]:
        """Lets the clients end; every connection there was."""
        for load, _ in self._loads:
            load.terminate()
        for _, reader in self._loads:
            reader.join()
        return self._told

    def so_far(self) -> list[Connection]:
        """The connections that have ended until now."""
        return self._told[:]

    def _ready(self) -> bool:
        if not self.in_order():
            return False
        for host in self.fabric.host_names:
            self.fabric.run(host, "ping", "-c1", "-W0.05", "10.0.255.254")
        members = self.controller.items("pools/web/members")
        links, hosts = self.controller.items("links"), self.controller.items("hosts")
        well = all(member["health"] == "up" and member["effective_weight"] for member in members)
        return well and len(links) == 12 and len(hosts) == len(self.fabric.host_names)

    def _load(self, client: str) -> None:
        argv = [sys.executable, "-m", "topologies.load", client, VIP, str(VIP_PORT), "--rate", str(RATE)]
        argv += ["--kept", str(KEPT), "--ports", OWN_PORTS]
        load = self.fabric.popen(client, *argv, stdout=subprocess.PIPE, text=True)
        reader = threading.Thread(target=self._read, args=(load,), daemon=True)
        reader.start()
        self._loads.append((load, reader))

    def _read(self, load: subprocess.Popen[str]) -> None:
        assert load.stdout is not None
        for line in load.stdout:
            told = json.loads(line)
            self._told.append(Connection(told.get("started"), told["outcome"]))
