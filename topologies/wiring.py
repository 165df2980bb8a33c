"""What all topologies are made of: switches, hosts and shaped links, named and addressed by one scheme."""

import functools
import shlex
from collections.abc import Sequence

from mininet.link import Intf, TCIntf
from mininet.node import Host, OVSSwitch
from mininet.topo import Topo

from topologies import openvswitch
from topologies.addressing import (
    EDGE,
    IPV6_PREFIX_LENGTH,
    PREFIX_LENGTH,
    dpid,
    host_address,
    host_ipv6_address,
    host_mac,
)

QUEUE_S = 0.006
"""How long a full queue of a shaped port takes to drain, as in a switch with shallow buffers."""
SHORTEST_QUEUE, LONGEST_QUEUE = 24, 80
"""Packets. All ports of Open vSwitch's user space datapath send by one packet socket, whose buffer (net.core.wmem_default, 208 KiB; a full
packet takes 2,304 bytes of it) holds what waits in all their queues: where full queues take it up, no port can send. Measured with queues
of 50 ms at 40 Mbit/s: 28 % of the pings between two other ports were lost; none with 30 packets. Four of the shortest may be full."""


@functools.cache
def datapath() -> str:
    """`kernel` where Open vSwitch has its kernel module, else `user` (Mininet's names)."""
    return "kernel" if openvswitch.has_kernel_datapath() else "user"


class FabricSwitch(OVSSwitch):
    """An Open vSwitch bridge: OpenFlow 1.3, fail-mode secure, ports shaped by queues of its own."""

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, failMode="secure", protocols="OpenFlow13", datapath=datapath(), **params)

    @classmethod
    def batchStartup(  # noqa: N802 - Mininet's name
        cls, switches: Sequence[OVSSwitch], **_: object
    ) -> Sequence[OVSSwitch]:
        """Creates the bridges with their ports (Mininet calls it once for all), then shapes those that have a rate.

        Raises:
            subprocess.CalledProcessError: Open vSwitch could not make one; Mininet alone would carry on without it.
        """
        started = super().batchStartup(switches, run=_run_checked)
        for port in (port for switch in switches for port in switch.intfList()):
            if isinstance(port, SwitchPort) and port.rate_mbit:
                port.shape(port.rate_mbit)
        return started

    @classmethod
    def batchShutdown(  # noqa: N802 - Mininet's name
        cls, switches: Sequence[OVSSwitch], **_: object
    ) -> Sequence[OVSSwitch]:
        """Removes the bridges. Mininet alone would wait without end for a switch process that is gone.

        Raises:
            subprocess.TimeoutExpired: the switch process does not answer.
        """
        return super().batchShutdown(switches, run=_run_checked)


def _run_checked(command: str, **_: object) -> None:
    openvswitch.run(*shlex.split(command))


def queue_packets(rate_mbit: float) -> int:
    """How many full packets wait at a port of this rate before some are dropped."""
    return min(max(SHORTEST_QUEUE, round(rate_mbit * 1e6 * QUEUE_S / (8 * 1500))), LONGEST_QUEUE)


class SwitchPort(Intf):
    """The switch's end of a link. Its rate is an OVS queue: queue statistics count what is sent and dropped."""

    def config(self, bw: float | None = None, **params: object) -> dict[str, object]:
        """Remembers the rate `bw` (Mbit/s, None unshaped); the port joins its bridge only later."""
        self.rate_mbit = bw
        self.cmd("sysctl", "-qw", f"net.ipv6.conf.{self.name}.disable_ipv6=1")
        return super().config(**params)

    def shape(self, rate_mbit: float) -> None:
        """Limits what the switch sends here, by HTB with one default queue (ovs-vswitchd.conf.db(5), QoS `linux-htb`).

        The queue holds `queue_packets`: the kernel takes the interface's length when the class is made, and its usual 1,000
        packets would hide congestion behind seconds of delay instead of drops.
        """
        rate = f"other-config:max-rate={round(rate_mbit * 1e6)}"
        self.unshape()
        self.cmd("ip", "link", "set", self.name, "txqueuelen", str(queue_packets(rate_mbit)))
        openvswitch.vsctl(
            *("set", "port", self.name, "qos=@qos", "--"),
            *("--id=@qos", "create", "qos", "type=linux-htb", rate, "queues:0=@queue", "--"),
            *("--id=@queue", "create", "queue", rate),
        )
        self.rate_mbit = rate_mbit

    def unshape(self) -> None:
        """Removes the limit, with its rows in the database (queues are not collected by themselves)."""
        qos = openvswitch.vsctl("get", "port", self.name, "qos").strip()
        self.rate_mbit = None
        if qos == "[]":
            return
        queue = openvswitch.vsctl("get", "qos", qos, "queues:0").strip()
        openvswitch.vsctl(
            "clear", "port", self.name, "qos", "--", "destroy", "qos", qos, "--", "destroy", "queue", queue
        )


class FabricHost(Host):
    """A host that computes its checksums itself: a switch in user space sees the packet before any offload would.

    It is silent about IPv6 until `speak_ipv6`.
    """

    def config(self, **params: object) -> dict[str, object]:
        """Mininet's configuration of the node, without checksum offload and without IPv6's chatter."""
        result = super().config(**params)
        for interface in self.intfNames():
            self.cmd("ethtool", "-K", interface, "tx", "off")
        self.cmd("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        return result

    def speak_ipv6(self) -> None:
        """Takes its IPv6 addresses, without trying first whether they are free and without looking for routers (ip-sysctl)."""
        for interface in self.intfNames():
            quiet = ("accept_dad=0", "accept_ra=0", "router_solicitations=0", "disable_ipv6=0")
            self.cmd("sysctl", "-qw", *(f"net.ipv6.conf.{interface}.{setting}" for setting in quiet))
            address = f"{self.params['ipv6']}/{IPV6_PREFIX_LENGTH}"
            self.cmd("ip", "-6", "address", "replace", address, "dev", interface, "nodad")


class FabricTopo(Topo):
    """A topology built from edge switches with hosts, and links between switches.

    Hosts are h1, h2 … through the whole fabric, in the order of their edge switches.

    A topology file subclasses it and calls `edge_switch` for each edge, `switch` for the others, and `connect`.
    """

    def __init__(self, *args: object, **params: object) -> None:
        self._edges = 0
        self._hosts = 0
        super().__init__(*args, **params)

    def switch(self, name: str, layer: int, index: int) -> str:
        """Adds a switch without hosts; returns its name."""
        return self.addSwitch(name, cls=FabricSwitch, dpid=dpid(layer, index))

    def edge_switch(self, name: str, hosts: int, rate_mbit: float | None = None) -> str:
        """Adds the next edge switch with its hosts on ports 1 … `hosts`; returns the switch's name.

        Args:
            name: of the switch; with its port it must fit an interface's 15 characters.
            hosts: how many, at most 254.
            rate_mbit: of each host's link, None unshaped.

        Raises:
            ValueError: more than 254 hosts, or more than 255 edges.
        """
        self._edges += 1
        self.switch(name, EDGE, self._edges)
        for place in range(1, hosts + 1):
            self.host(name, place, rate_mbit)
        return name

    def host(
        self,
        edge: str,
        place: int,
        rate_mbit: float | None = None,
        prefix_length: int = PREFIX_LENGTH,
        gateway: str | None = None,
    ) -> str:
        """Adds a host at `place` of the latest edge switch, at its next port; returns the host's name.

        Args:
            edge: the switch's name.
            place: of the host (`addressing.host_address`).
            rate_mbit: of its link, None unshaped.
            prefix_length: of its subnet.
            gateway: its default router, None: it has none.

        Raises:
            ValueError: more than 255 edges, or not a place.
        """
        self._hosts += 1
        address = f"{host_address(self._edges, place)}/{prefix_length}"
        route = {} if gateway is None else {"defaultRoute": f"via {gateway}"}
        mac, ipv6 = host_mac(self._edges, place), host_ipv6_address(self._edges, place)
        host = self.addHost(f"h{self._hosts}", cls=FabricHost, ip=address, mac=mac, ipv6=ipv6, **route)
        self.addLink(host, edge, cls1=TCIntf, cls2=SwitchPort, bw=rate_mbit)
        return host

    def connect(self, a: str, b: str, rate_mbit: float | None = None) -> None:
        """Links two switches by a pair of veth; patch ports would make them behave as one switch."""
        self.addLink(a, b, cls1=SwitchPort, cls2=SwitchPort, bw=rate_mbit)
