"""A running fabric: Mininet's nodes in this sandbox, and what an operator's hands would do to them.

Controllers run beside the switches, in the sandbox's own network (loopback), hosts each in a namespace of theirs.
"""

import contextlib
import subprocess
from collections.abc import Sequence
from typing import Any, Self

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import Host, Node, OVSSwitch

from topologies import openvswitch, sandbox
from topologies.wiring import FabricSwitch, FabricTopo, SwitchPort

DEFAULT_CONTROLLERS = ("tcp:127.0.0.1:6653",)
_NOBODY = "tcp:127.0.0.1:9"
"""A controller address that refuses (the discard port, nothing listens there in a sandbox)."""


class Fabric:
    """A topology brought to life. As a context manager it starts on entry and stops on exit.

    Args:
        topo: the topology.
        controllers: OpenFlow targets of every switch (ovs-vsctl(8)); empty: no controller, flows only by `add_flows`.
    """

    def __init__(self, topo: FabricTopo, controllers: Sequence[str] = DEFAULT_CONTROLLERS) -> None:
        self.topo = topo
        self.controllers = tuple(controllers)
        self._processes: list[subprocess.Popen[Any]] = []

    def start(self) -> Self:
        """Creates switches, hosts and links, then sets the controllers.

        Raises:
            RuntimeError: not in a sandbox; the machine itself is never wired.
        """
        if not sandbox.inside():
            raise RuntimeError("a fabric is built only in a sandbox: python -m topologies.sandbox -- COMMAND…")
        setLogLevel("warning")
        Mininet.inited = True  # its initialisation would raise limits of the whole machine
        self.net = Mininet(topo=self.topo, controller=None, switch=FabricSwitch, build=False)
        self.net.build()
        self.net.start()
        self._set_controllers(self.switch_names, self.controllers)
        return self

    def stop(self) -> None:
        """Ends the processes started in hosts, and removes every node."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self.net.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def switch_names(self) -> list[str]:
        """All switches' names."""
        return [switch.name for switch in self.net.switches]

    @property
    def host_names(self) -> list[str]:
        """All hosts' names."""
        return [host.name for host in self.net.hosts]

    def host(self, name: str) -> Host:
        """Mininet's host of that name."""
        return self._node(name, self.net.hosts)

    def switch(self, name: str) -> OVSSwitch:
        """Mininet's switch of that name; its bridge has the same name."""
        return self._node(name, self.net.switches)

    def address(self, host: str) -> str:
        """The host's IPv4 address."""
        return str(self.host(host).IP())

    def ipv6_address(self, host: str) -> str:
        """The host's IPv6 address; it answers to it after `speak_ipv6`."""
        return str(self.host(host).params["ipv6"])

    def speak_ipv6(self) -> None:
        """Gives every host its IPv6 addresses, beside the other one."""
        for name in self.host_names:
            self.host(name).speak_ipv6()

    def mac(self, host: str) -> str:
        """The host's MAC address."""
        return str(self.host(host).MAC())

    def dpid(self, switch: str) -> str:
        """The switch's dpid, 16 hex digits."""
        return str(self.switch(switch).dpid)

    def port(self, node: str, neighbour: str) -> Any:
        """The interface of `node` that faces `neighbour`: a `SwitchPort` on a switch, `TCIntf` on a host; has a `name`.

        Raises:
            KeyError: they are not connected.
        """
        for end, other in self.net.getNodeByName(node).connectionsTo(self.net.getNodeByName(neighbour)):
            if other.node.name == neighbour:
                return end
        raise KeyError(f"{node} and {neighbour} are not connected")

    def port_no(self, switch: str, neighbour: str) -> int:
        """The OpenFlow port number of `switch` towards `neighbour`."""
        return int(self.switch(switch).ports[self.port(switch, neighbour)])

    def in_host(self, host: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in the host's namespaces."""
        return ["mnexec", "-a", str(self.host(host).pid), *argv]

    def run(self, host: str, *argv: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Runs a command in a host to its end; never raises for its exit status.

        Raises:
            subprocess.TimeoutExpired: it took longer than `timeout_s`; it has been killed.
        """
        return subprocess.run(self.in_host(host, argv), capture_output=True, text=True, timeout=timeout_s, check=False)

    def popen(self, host: str, *argv: str, **popen: Any) -> subprocess.Popen[Any]:
        """Starts a command in a host; `stop` kills it if it still runs. `popen`: arguments of `subprocess.Popen`."""
        process = subprocess.Popen(self.in_host(host, argv), **popen)
        self._processes.append(process)
        return process

    def add_flows(self, switch: str, flows: Sequence[str]) -> None:
        """Adds flow entries in ovs-ofctl(8)'s syntax, in one go."""
        subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow13", "add-flows", switch, "-"],
            input="\n".join(flows),
            text=True,
            check=True,
            capture_output=True,
        )

    def dump_flows(self, switch: str, match: str = "") -> list[str]:
        """The switch's flow entries, one a line as ovs-ofctl(8) prints them, optionally only those within `match`."""
        lines = openvswitch.ofctl("dump-flows", switch, *([match] if match else [])).splitlines()
        return [line.strip() for line in lines if "cookie=" in line]

    def dump_groups(self, switch: str) -> list[str]:
        """The switch's groups, one a line."""
        return [line.strip() for line in openvswitch.ofctl("dump-groups", switch).splitlines() if "group_id=" in line]

    def conntrack(self, zone: int | None = None) -> list[str]:
        """The tracked connections, of one zone or all, one a line (ovs-dpctl(8), dump-conntrack)."""
        return openvswitch.appctl("dpctl/dump-conntrack", *([] if zone is None else [f"zone={zone}"])).splitlines()

    def restart_switches(self) -> None:
        """Kills ovs-vswitchd and starts it anew: every bridge comes back with its ports, without flows and connections.

        One process carries all bridges, so they restart together; a single one is parted from its controller by
        `disconnect`.
        """
        openvswitch.kill_switchd()
        openvswitch.start_switchd()

    def disconnect(self, switch: str) -> None:
        """Parts one switch from its controllers; its flows stay.

        The address is changed, never removed: a bridge flushes its flows when its last controller goes.
        """
        self._set_controllers([switch], [_NOBODY] if self.controllers else [])

    def reconnect(self, switch: str) -> None:
        """Gives the switch its controllers back."""
        self._set_controllers([switch], self.controllers)

    def connected(self, switch: str) -> bool:
        """Whether the switch has an OpenFlow connection."""
        owned = f"external_ids:switch={switch}"
        return "true" in openvswitch.vsctl("--columns=is_connected", "find", "controller", owned)

    def cut_link(self, a: str, b: str) -> None:
        """Takes a link down at a's end; the other end loses its carrier."""
        self._set_link(a, b, "down")

    def restore_link(self, a: str, b: str) -> None:
        """Brings a link up again."""
        self._set_link(a, b, "up")

    def set_rate(self, switch: str, neighbour: str, rate_mbit: float | None) -> None:
        """Sets the rate at which `switch` sends to `neighbour` (Mbit/s, None unshaped); the other direction stays."""
        port: SwitchPort = self.port(switch, neighbour)
        port.shape(rate_mbit) if rate_mbit else port.unshape()

    def set_loss(self, switch: str, neighbour: str, percent: int) -> None:
        """Drops that share of what `switch` sends to `neighbour`, silently, 0 to end it.

        A rule on the way out: the switch taps its port before any rule on the way in (nft(8), netdev family).
        """
        name = self.port(switch, neighbour).name
        table = f"netdev loss-{name}"
        rules = f"add table {table}\ndelete table {table}\n"
        if percent:
            # nft refuses a comparison that is always true.
            chance = f"numgen random mod 100 < {percent} " if percent < 100 else ""
            rules += (
                f'add table {table}\nadd chain {table} out {{ type filter hook egress device "{name}" priority 0; }}\n'
                f"add rule {table} out {chance}drop\n"
            )
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True)

    def _node(self, name: str, nodes: list[Any]) -> Any:
        for node in nodes:
            if node.name == name:
                return node
        raise KeyError(f"no {name} among {', '.join(node.name for node in nodes)}")

    def _set_controllers(self, switches: Sequence[str], targets: Sequence[str]) -> None:
        if not targets:
            return
        for switch in switches:
            openvswitch.vsctl("set-controller", switch, *targets)
            for uuid in openvswitch.vsctl("get", "bridge", switch, "controller").strip("[]\n").split(", "):
                openvswitch.vsctl("set", "controller", uuid, "max_backoff=1000", f"external_ids:switch={switch}")

    def _set_link(self, a: str, b: str, state: str) -> None:
        port = self.port(a, b)
        node: Node = port.node
        argv = ["ip", "link", "set", port.name, state]
        if isinstance(node, Host):
            argv = self.in_host(node.name, argv)
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(argv, check=True, capture_output=True, timeout=10)
