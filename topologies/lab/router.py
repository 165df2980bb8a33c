"""A router between an edge switch and one host: a namespace that forwards, lowers the TTL, and can have rules of its own."""

from __future__ import annotations

import subprocess
from typing import Self

from topologies.fabric import Fabric
from topologies.lab.cast import Place
from topologies.lab.pool import VIP

OUTSIDE, INSIDE = "outside", "inside"


class Router:
    """A network namespace that takes over a host's port; the host stands behind it with its old address.

    Both sides are answered for by proxy ARP (`net.ipv4.conf.*.proxy_arp`, ip-sysctl), so neither the fabric nor the host is
    configured for it. The fabric sees the host's old MAC address, which is the router's now.

    Args:
        fabric: a started fabric.
        place: the host.
    """

    def __init__(self, fabric: Fabric, place: Place) -> None:
        self.fabric = fabric
        self.place = place
        self.name = f"router-{place.host}"

    @property
    def enter(self) -> list[str]:
        """The start of a command line that runs in the router."""
        return ["ip", "netns", "exec", self.name]

    def insert(self) -> Self:
        """Puts it in the path.

        Raises:
            subprocess.CalledProcessError: a step failed; `stderr` says why.
        """
        host, address = self.place.host, self.place.address
        port, pid = f"{host}-eth0", str(self.fabric.host(host).pid)
        in_host = self.fabric.in_host(host, [])
        _run("ip", "netns", "add", self.name)
        # Mininet's namespaces have no names: a namespace is named by a process in it.
        _run(*in_host, "ip", "link", "set", port, "name", OUTSIDE)
        _run("ip", "netns", "attach", f"of-{host}", pid)
        _run("ip", "netns", "exec", f"of-{host}", "ip", "link", "set", OUTSIDE, "netns", self.name)
        _run(*self.enter, "ip", "link", "add", INSIDE, "type", "veth", "peer", "name", port, "netns", f"of-{host}")
        for argv in (
            ["ip", "address", "add", f"{address}/16", "dev", port],
            ["ip", "link", "set", port, "up"],
            ["ethtool", "-K", port, "tx", "off"],
        ):
            _run(*in_host, *argv)
        for argv in (
            ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.disable_ipv6=1"],
            ["sysctl", "-qw", f"net.ipv4.conf.{OUTSIDE}.proxy_arp=1", f"net.ipv4.conf.{INSIDE}.proxy_arp=1"],
            ["ip", "address", "add", f"{self._own_address()}/32", "dev", OUTSIDE],
            ["ip", "link", "set", OUTSIDE, "up"],
            ["ip", "link", "set", INSIDE, "up"],
            ["ip", "route", "add", f"{address}/32", "dev", INSIDE],
            ["ip", "route", "add", "10.0.0.0/16", "dev", OUTSIDE],
            ["ethtool", "-K", OUTSIDE, "tx", "off"],
            ["ethtool", "-K", INSIDE, "tx", "off"],
        ):
            _run(*self.enter, *argv)
        self._announce()
        return self

    def _announce(self) -> None:
        """The host speaks until it is known: proxy ARP does not answer a question that comes from no address (RFC 5227 probes)."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.fabric.popen(self.place.host, "ping", "-i", "0.5", "-c", "40", VIP, **quiet)

    def _own_address(self) -> str:
        """What it asks from by ARP; nobody else has it."""
        network, _, last = self.place.address.rpartition(".")
        return f"{network}.{200 + int(last)}"


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)
