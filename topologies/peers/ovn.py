"""OVN's load balancer with health checks, on the fabric's own Open vSwitch: its daemons and what they are told (ovn-architecture(7)).

One logical switch has a port for every host; a logical router answers for the VIP, as OVN translates on the client's switch but forwards
by MAC there (ovn-nb(5), Load_Balancer). The health checks are as quick as it allows: every second, one failure is enough.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from topologies import openvswitch
from topologies.fabric import Fabric

SCHEMAS = Path("/usr/share/ovn")
SWITCH, ROUTER, BALANCER = "fabric", "gateway", "web"
ROUTER_MAC, ROUTER_ADDRESS, CHECKS_FROM = "02:00:00:00:ff:01", "10.0.255.253/16", "10.0.255.252"
READY_S = 60.0


class Ovn:
    """The daemons of one sandbox, below one folder. Raises RuntimeError when something is not ready in time."""

    def __init__(self, fabric: Fabric, bridge: str) -> None:
        self._fabric, self._bridge = fabric, bridge
        self._folder = Path(tempfile.mkdtemp(prefix="ovn-"))
        self._remote = f"unix:{self._folder}/db.sock"
        self._processes: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def balancing(
        self, client: str, vip: str, vip_port: int, members: Sequence[str], member_port: int
    ) -> Iterator[None]:
        """The VIP answers its client."""
        try:
            self._start_databases()
            self._daemon("ovn-northd", f"--ovnnb-db={self._remote}", f"--ovnsb-db={self._remote}")
            self._name_everything(f"{vip}:{vip_port}", members, member_port)
            self._take_bridge()
            self._fabric.run(client, "ip", "neigh", "replace", vip, "lladdr", ROUTER_MAC, "dev", f"{client}-eth0")
            self._wait_until(lambda: self._online() == len(members), "no health check succeeds")
            yield
        finally:
            for process in reversed(self._processes):
                process.kill()
                process.wait()

    def _start_databases(self) -> None:
        files = []
        for name in ("nb", "sb"):
            files.append(str(self._folder / f"{name}.db"))
            openvswitch.run("ovsdb-tool", "create", files[-1], str(SCHEMAS / f"ovn-{name}.ovsschema"))
        self._daemon("ovsdb-server", *files, f"--remote=p{self._remote}", f"--unixctl={self._folder}/databases.ctl")
        self._wait_until((self._folder / "db.sock").exists, "no database")
        openvswitch.run("ovn-nbctl", f"--db={self._remote}", "init")
        openvswitch.run("ovn-sbctl", f"--db={self._remote}", "init")

    def _daemon(self, name: str, *arguments: str) -> None:
        argv = [name, *arguments, "-vconsole:off", f"--log-file={self._folder}/{name}.log"]
        where = os.environ | {"OVN_RUNDIR": str(self._folder)}
        self._processes.append(subprocess.Popen(argv, env=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def _name_everything(self, vip: str, members: Sequence[str], member_port: int) -> None:
        ports = [word for host in self._fabric.host_names for word in self._port(host)]
        to_router = f"-- lsp-add {SWITCH} up -- lsp-set-type up router -- lsp-set-addresses up router".split()
        self._tell(
            "lr-add", ROUTER, "--", "lrp-add", ROUTER, "down", ROUTER_MAC, ROUTER_ADDRESS, "--", "ls-add", SWITCH
        )
        self._tell(*ports[1:], *to_router, "--", "lsp-set-options", "up", "router-port=down")
        addresses = {member: self._fabric.address(member) for member in members}
        self._tell(
            "lb-add", BALANCER, vip, ",".join(f"{address}:{member_port}" for address in addresses.values()), "tcp"
        )
        checked = [f'ip_port_mappings:{address}="{member}:{CHECKS_FROM}"' for member, address in addresses.items()]
        self._tell("set", "load_balancer", BALANCER, *checked)
        quick = [f"options:{name}=1" for name in ("interval", "timeout", "success_count", "failure_count")]
        check = ["--id=@check", "create", "load_balancer_health_check", f'vip="{vip}"', *quick]
        self._tell(*check, "--", "add", "load_balancer", BALANCER, "health_check", "@check")
        self._tell("ls-lb-add", SWITCH, BALANCER)

    def _port(self, host: str) -> list[str]:
        where = f"{self._fabric.mac(host)} {self._fabric.address(host)}"
        return ["--", "lsp-add", SWITCH, host, "--", "lsp-set-addresses", host, where]

    def _take_bridge(self) -> None:
        """The bridge becomes OVN's integration bridge."""
        settings = {
            "ovn-remote": self._remote, "ovn-encap-type": "geneve", "ovn-encap-ip": "127.0.0.1", "system-id": "here",
            "ovn-bridge": self._bridge, "ovn-bridge-datapath-type": "netdev",
        }  # fmt: skip
        openvswitch.vsctl(
            "set", "open_vswitch", ".", *(f'external_ids:{name}="{value}"' for name, value in settings.items())
        )
        openvswitch.vsctl("clear", "bridge", self._bridge, "protocols")
        for host in self._fabric.host_names:
            port = self._fabric.port(self._bridge, host).name
            openvswitch.vsctl("set", "interface", port, f"external_ids:iface-id={host}")
        self._daemon("ovn-controller", f"unix:{openvswitch.SOCKET}")

    def _online(self) -> int:
        return openvswitch.run(
            "ovn-sbctl", f"--db={self._remote}", "--columns=status", "find", "service_monitor"
        ).count("online")

    def _tell(self, *words: str) -> None:
        openvswitch.run("ovn-nbctl", f"--db={self._remote}", *words)

    def _wait_until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_S
        while not ready():
            if time.monotonic() > deadline:
                logs = "".join(path.read_text()[-800:] for path in self._folder.glob("*.log"))
                raise RuntimeError(f"OVN: {what} after {READY_S:g} s: {logs}")
            time.sleep(0.1)
