"""Three controllers and a three-member etcd on one machine: before a whole fabric, or before bare bridges."""

import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from bed import VIP, Bed
from etcd_members import EtcdMembers
from fourth_controller import PORT as FOURTH_PORT
from running_controller import Controller, soon

from topologies import openvswitch
from topologies.fabric import Fabric
from topologies.wiring import FabricTopo

NODES = ("a", "b", "c")
OFP_PORTS = {name: 6653 + 10 * number for number, name in enumerate(NODES)}
API_PORTS = {name: 8080 + number for number, name in enumerate(NODES)}
ETCD_ADDRESSES = {name: f"127.0.1.{number}" for number, name in enumerate(NODES, 1)}
"""Each controller reaches etcd under an address of its own, so one of them can be cut off."""
_WRITES = re.compile(
    r"^(\S+)\|\d+\|vconn\|DBG\|tcp:[^:]+:(\d+): received: (OFPT_FLOW_MOD|OFPT_GROUP_MOD|OFPT_METER_MOD)"
)


class Node(Controller):
    """One of the controllers; `etcd` are the ports it reaches etcd at, `names` what all of them call the pools (`Controller.pools`)."""

    def __init__(self, name: str, folder: Path, etcd: Sequence[int], names: dict[str, dict[str, str]]) -> None:
        folder.mkdir()
        self.name = name
        self._names = names
        places = ",".join(f"{ETCD_ADDRESSES[name]}:{port}" for port in etcd)
        options = (
            "--listen", f"0.0.0.0:{OFP_PORTS[name]}", "--api", f"127.0.0.1:{API_PORTS[name]}",
            "--cluster", f"etcd://{places}", "--cluster-node", name,
        )  # fmt: skip
        super().__init__(folder, *options, api=f"http://127.0.0.1:{API_PORTS[name]}/v1")

    @property
    def pools(self) -> dict[str, str]:  # type: ignore[override]
        """As for one controller, the same for all."""
        return self._names["pools"]

    @pools.setter
    def pools(self, names: dict[str, str]) -> None:
        self._names["pools"] = names

    def cluster(self) -> dict[str, Any]:
        """What it says of the cluster."""
        document: dict[str, Any] = self.get("status")["cluster"]
        return document

    def masters(self) -> set[str]:
        """Names of those that are master of a switch, as it knows."""
        return {claim["node"] for claim in self.cluster()["masters"].values()}


class Controllers(ABC):
    """Three controllers, their etcd, and what an operator's hands would do to them."""

    def __init__(self, folder: Path) -> None:
        self.etcd = EtcdMembers(folder)
        names: dict[str, dict[str, str]] = {"pools": {}}
        self.nodes = {name: Node(name, folder / name, self.etcd.ports, names) for name in NODES}

    @property
    @abstractmethod
    def switches(self) -> dict[str, str]:
        """Dpids by the bridges' names."""

    def close(self) -> None:
        """Ends the controllers and etcd."""
        for node in self.nodes.values():
            node.close()
        self.etcd.__exit__()

    @property
    def leading(self) -> Node:
        """The master of every switch."""
        return self.nodes[self.master()]

    def others(self, *than: Node) -> list[Node]:
        """Those that run, but for these."""
        return [node for node in self.nodes.values() if node not in than and node.runs]

    def master(self, *, but: str | None = None, within_s: float = 15.0) -> str:
        """Waits until one controller, not `but`, is master of every switch and has them in order; its name."""
        running = [node for node in self.nodes.values() if node.runs and node.name != but]

        def found() -> str | None:
            for node in running:
                masters = node.cluster()["masters"]
                if set(masters) == set(self.switches.values()) and {claim["node"] for claim in masters.values()} == {
                    node.name
                }:
                    return node.name if node.connected() == set(self.switches.values()) else None
            return None

        name: str = soon("one is master of all", found, within_s, lambda: [node.cluster() for node in running])
        return name

    def call_in(self, *names: str) -> None:
        """Has every switch connect to these controllers now, or to all (`Bed.call_in`); other connections stay."""
        for switch in self.switches:
            targets = openvswitch.vsctl("get-controller", switch).split()
            ports = [str(OFP_PORTS[name]) for name in names or NODES]
            wanted = [_respelt(target) if target.rpartition(":")[2] in ports else target for target in targets]
            openvswitch.vsctl("set-controller", switch, *wanted)

    def everybody(self) -> None:
        """Starts whoever does not run; returns when the cluster is whole and one is master of all."""
        for node in self.nodes.values():
            if not node.runs:
                node.start()
                self.call_in(node.name)
        self.whole()

    @contextmanager
    def out_of_reach(self, switch: str, name: str) -> Iterator[None]:
        """A switch is not connected to one of the controllers meanwhile."""
        targets = openvswitch.vsctl("get-controller", switch).split()
        others = [target for target in targets if target.rpartition(":")[2] != str(OFP_PORTS[name])]
        openvswitch.vsctl("set-controller", switch, *others)
        try:
            yield
        finally:
            openvswitch.vsctl("set-controller", switch, *targets)

    def whole(self) -> None:
        """Waits until every controller that runs has every switch and sees every other one."""
        running = {node.name: node for node in self.nodes.values() if node.runs}

        def complete() -> bool:
            seen = {name: node.cluster() for name, node in running.items()}
            return all(
                {known["name"] for known in document["nodes"] if set(known["switches"]) == set(self.switches.values())}
                == set(running)
                for document in seen.values()
            )

        soon("the cluster is whole", complete, 25, lambda: [node.cluster() for node in running.values()])
        self.master()

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """A controller reaches no member of etcd meanwhile: what it sends there disappears."""
        rule = f"ip daddr {ETCD_ADDRESSES[name]} tcp dport {self.etcd.ports[0]}-{self.etcd.ports[-1]} drop"
        table = "inet cluster"
        chain = f"add table {table}\nadd chain {table} out {{ type filter hook output priority 0; }}\n"
        openvswitch.run("nft", f"{chain}add rule {table} out {rule}")
        try:
            yield
        finally:
            openvswitch.run("nft", f"delete table {table}")

    @contextmanager
    def writers(self) -> Iterator[list[tuple[str, str, str]]]:
        """(time, controller, message) of everything that switches are told to change meanwhile, by their own log; filled in at the end."""
        found: list[tuple[str, str, str]] = []
        openvswitch.appctl("vlog/disable-rate-limit", "vconn")
        openvswitch.appctl("vlog/set", "vconn:file:dbg")
        log = openvswitch.RUN_DIR / "ovs-vswitchd.log"
        size = log.stat().st_size
        try:
            yield found
        finally:
            openvswitch.appctl("vlog/set", "vconn:file:info")
            openvswitch.appctl("vlog/enable-rate-limit", "vconn")
            with log.open("rb") as lines:
                lines.seek(size)
                matches = [_WRITES.match(line) for line in lines.read().decode().splitlines()]
            names = {str(port): name for name, port in OFP_PORTS.items()}
            found += [(match[1], names[match[2]], match[3]) for match in matches if match]

    def refused(self) -> list[str]:
        """What controllers wrote to switches that were not theirs, by the switches' own log (OFPBRC_IS_SLAVE)."""
        lines = (openvswitch.RUN_DIR / "ovs-vswitchd.log").read_text().splitlines()
        return [line for line in lines if "IS_SLAVE" in line and f":{FOURTH_PORT}:" not in line]

    def roles(self) -> list[tuple[str, str]]:
        """(controller, role) of every connection, by Open vSwitch's `role` column (ovs-vswitchd.conf.db(5)); it lags by seconds."""
        names = {str(port): name for name, port in OFP_PORTS.items()}
        rows = openvswitch.vsctl("--format=csv", "--no-headings", "--columns=target,role", "list", "controller")
        found = [row.replace('"', "").split(",") for row in rows.splitlines()]
        return [(names[target.rpartition(":")[2]], role) for target, role in found]

    def roles_of(self, name: str) -> list[str]:
        """What each switch calls a controller."""
        return [role for node, role in self.roles() if node == name]


class ClusterBed(Controllers, Bed):
    """A whole fabric; `controller` is whoever is master of all switches at the moment."""

    def __init__(self, topo: FabricTopo, folder: Path) -> None:
        Controllers.__init__(self, folder)
        self.fabric = Fabric(topo, [f"tcp:127.0.0.1:{port}" for port in OFP_PORTS.values()])
        self.ipv6, self.vip = False, VIP
        self.servers = {}
        self._applied = 0

    def __enter__(self) -> Self:
        self.etcd.__enter__()
        for node in self.nodes.values():
            node.begin()
        self.fabric.start()
        for node in self.nodes.values():
            node.answering()
        self.whole()
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        self.fabric.stop()
        self.close()

    @property
    def switches(self) -> dict[str, str]:
        """Those of the topology."""
        return {name: self.fabric.dpid(name) for name in self.fabric.switch_names}

    @property
    def controller(self) -> Node:  # type: ignore[override]
        """The master of every switch."""
        return self.leading


class BareCluster(Controllers):
    """Two bridges with a host each, that is an interface of this machine: enough to have roles, entries and generations."""

    def __enter__(self) -> Self:
        self.etcd.__enter__()
        for node in self.nodes.values():
            node.begin()
        targets = [f"tcp:127.0.0.1:{port}" for port in OFP_PORTS.values()]
        for name, dpid in self.switches.items():
            settings = (
                "datapath_type=netdev",
                "fail_mode=secure",
                "protocols=OpenFlow13",
                f"other-config:datapath-id={dpid}",
            )
            openvswitch.vsctl("add-br", name, "--", "set", "bridge", name, *settings)
            port = f"{name}-host"
            openvswitch.vsctl("add-port", name, port, "--", "set", "interface", port, "type=internal")
        for node in self.nodes.values():
            node.answering()
        for name in self.switches:
            openvswitch.vsctl("set-controller", name, *targets)
        self.whole()
        for host, address in self.hosts.items():
            openvswitch.run("ip", "addr", "add", f"{address}/24", "dev", host)
            openvswitch.run("ip", "link", "set", host, "up")
        soon("all hosts are known", self._all_heard, 15, lambda: self.leading.get("hosts"))
        return self

    def _all_heard(self) -> bool:
        for host in self.hosts:
            subprocess.run(["ping", "-c1", "-W0.05", "-I", host, "10.0.0.254"], capture_output=True, check=False)
        known = {host["address"] for host in self.leading.get("hosts")["items"]}
        return known >= set(self.hosts.values())

    @property
    def hosts(self) -> dict[str, str]:
        """Addresses by interface."""
        return {f"{name}-host": f"10.0.0.{number}" for number, name in enumerate(self.switches, 1)}

    def __exit__(self, *_: object) -> None:
        for name in self.switches:
            openvswitch.vsctl("del-br", name)
        self.close()

    @property
    def switches(self) -> dict[str, str]:
        """Their dpids are 1 and 2."""
        return {"s1": f"{1:016x}", "s2": f"{2:016x}"}


def _respelt(target: str) -> str:
    """The same place under another address."""
    return (
        target.replace("127.0.0.1", "127.0.0.2") if "127.0.0.1" in target else target.replace("127.0.0.2", "127.0.0.1")
    )
