"""A fabric with a running controller, servers and clients: what a module of fabric tests shares."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from running_controller import Controller, soon

from controller import addresses
from controller.frames import Tcp, tcp, vip_mac
from controller.segments import Segment, read_segment
from topologies import openvswitch
from topologies.fabric import Fabric
from topologies.servers import SwitchableServer
from topologies.wiring import FabricTopo

HERE = Path(__file__).parent
VIP, VIP_PORT, MEMBER_PORT = "10.0.0.100", 80, 8080
IPV6_VIP = "fd00::64"
NOBODY, IPV6_NOBODY = "10.0.255.254", "fd00::ffff:fffe"
NO_RETRANSMISSION_MS = 500.0
"""A connect that takes longer has lost a SYN: the first retransmission comes after 1 s (RFC 6298 §2)."""

Document = dict[str, Any]


def pool(bed: "Bed", *hosts: str, **settings: Any) -> Document:
    """A pool of these hosts, each a member of its host's name; checks are quick and a readmitted member is in at once."""
    members = [{"name": host, "address": bed.address(host), "port": MEMBER_PORT} for host in hosts]
    check = {"type": "http", "interval_s": 0.5, "timeout_s": 0.5, "rise": 1, "fall": 3}
    return {"members": members, "health_check": check, "slow_start_s": 0.0, "max_ejection_percent": 100, **settings}


def one_vip(web: Document, **settings: Any) -> Document:
    """A policy with one VIP before one pool, both called web; `settings` are the VIP's."""
    vip = {"address": VIP, "port": VIP_PORT, "pool": "web", **settings}
    return {"version": 1, "pools": {"web": web}, "vips": {"web": vip}}


class Bed:
    """The fabric, its controller (with these options) and its servers.

    `ipv6`: hosts have addresses of both families, and tests use that one.
    """

    def __init__(self, topo: FabricTopo, folder: Path, ipv6: bool = False, options: Sequence[str] = ()) -> None:
        self.fabric = Fabric(topo)
        self.ipv6 = ipv6
        self.vip = IPV6_VIP if ipv6 else VIP
        self.controller = Controller(folder, *options)
        self.servers: dict[str, SwitchableServer] = {}
        self._applied = 0

    def __enter__(self) -> Self:
        self.controller.begin()
        self.fabric.start()
        if self.ipv6:
            self.fabric.speak_ipv6()
        self.controller.answering()
        self.call_in()
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.close()
        self.fabric.stop()

    def call_in(self) -> None:
        """Has every switch connect now: Open vSwitch 3.1 waits up to 8 s between attempts, whatever `max_backoff` says.

        A target in another spelling is a new one to it (6653 is the port when none is given).
        """
        names = self.fabric.switch_names
        present = openvswitch.vsctl("get-controller", names[0]).strip()
        target = next(spelling for spelling in ("tcp:127.0.0.1:6653", "tcp:127.0.0.1") if spelling != present)
        openvswitch.vsctl(*[part for name in names for part in ("--", "set-controller", name, target)])

    # --- getting there ---------------------------------------------------------------------------------------------------------

    def address(self, host: str) -> str:
        """The host's address of the family that tests use."""
        return self.fabric.ipv6_address(host) if self.ipv6 else self.fabric.address(host)

    @property
    def dpids(self) -> set[str]:
        """All switches."""
        return {self.fabric.dpid(name) for name in self.fabric.switch_names}

    def settle(self) -> None:
        """Waits until the controller knows every switch, link and host."""
        topo, controller = self.fabric.topo, self.controller
        links = 2 * sum(topo.isSwitch(a) and topo.isSwitch(b) for a, b in topo.links())
        self.in_order()
        soon("all links are known", lambda: len(controller.get("links")["items"]) == links, 20)
        silent = {host: self.address(host) for host in self.fabric.host_names}
        nobody = IPV6_NOBODY if self.ipv6 else NOBODY

        def all_heard() -> bool:
            known = {host["address"] for host in controller.get("hosts")["items"]}
            for host in [host for host, address in silent.items() if address in known]:
                del silent[host]
            for host in silent:
                self.fabric.run(host, "ping", "-c1", "-W0.05", nobody)
            return not silent

        soon("all hosts are known", all_heard, 20, lambda: silent)

    def in_order(self) -> None:
        """Waits until every switch is connected and has what it shall have."""
        controller = self.controller
        soon("all switches are in order", lambda: controller.connected() == self.dpids, 20, controller.connected)

    def restart_controller(self) -> None:
        """Starts the controller again; returns when its switches are in order."""
        self.controller.start()
        self.call_in()
        self.in_order()

    def serve(self, *hosts: str) -> None:
        """Has a well-behaved server on each of these hosts, and none elsewhere."""
        for host, server in list(self.servers.items()):
            if host not in hosts:
                server.stop()
                del self.servers[host]
        for host in hosts:
            if host not in self.servers:
                self.servers[host] = SwitchableServer(self.fabric, host).start()
            self.servers[host].behave()

    def stop_server(self, host: str) -> None:
        """Kills a server: from now on its host refuses."""
        self.servers.pop(host).stop()

    def apply(self, policy: Document) -> None:
        """Puts a policy in force from scratch; waits until all of its members are in.

        Its pools get names that were never used, so nothing is remembered of their members, and no incident of another
        test is held against them. The controller's client goes on calling them by the policy's names.
        """
        if not self.controller.runs:
            self.restart_controller()
        self._applied += 1
        self.controller.pools = {name: f"{name}-{self._applied}" for name in policy["pools"]}
        self.controller.put("policy", {"version": 1})
        self.controller.put("policy", self.renamed(policy))
        for name, pool_document in policy["pools"].items():
            active = {m["name"] for m in pool_document["members"] if m.get("admin_state", "active") == "active"}
            self.all_in(name, active)

    def renamed(self, policy: Document) -> Document:
        """The policy with the names that its pools have at present."""
        names = self.controller.pools
        pools = {names[name]: pool_document for name, pool_document in policy["pools"].items()}
        vips = {name: {**vip, "pool": names[vip["pool"]]} for name, vip in policy["vips"].items()}
        return {**policy, "pools": pools, "vips": vips}

    def member(self, name: str, pool_name: str = "web") -> str:
        """A member as the controller names it, `pool/member`."""
        return f"{self.controller.pools[pool_name]}/{name}"

    def all_in(self, pool_name: str = "web", wanted: set[str] | None = None) -> None:
        """Waits until every member takes new connections, and is known to be well if it is checked."""
        controller = self.controller
        checked = controller.get(f"pools/{pool_name}")["health_check"] is not None

        def in_now() -> bool:
            found = controller.members(pool_name)
            names = set(found) if wanted is None else wanted
            well = [found[name]["health"] == "up" or not checked for name in names]
            return all(well) and all(found[name]["effective_weight"] for name in names)

        soon(f"all members of {pool_name} are in", in_now, 20, lambda: controller.members(pool_name))

    # --- traffic ---------------------------------------------------------------------------------------------------------------

    def ask(self, host: str, count: int = 1, rate: float = 200.0, **order: Any) -> list[Document]:
        """Connections from a host to the VIP (or `address`, `port`), one request on each; what became of them."""
        with Clients(self, host, {"mode": "open", "count": count, "rate": rate, **order}) as clients:
            return clients.wait()

    def load(self, host: str, rate: float, **order: Any) -> "Clients":
        """New connections at a rate until `finish`."""
        return Clients(self, host, {"mode": "open", "rate": rate, **order})

    def keep(self, host: str, count: int, interval_s: float = 0.1, **order: Any) -> "Clients":
        """Connections that stay, with a request on each every `interval_s`, until `finish`."""
        return Clients(self, host, {"mode": "keep", "count": count, "interval_s": interval_s, **order})

    def ask_from(self, host: str, ports: Sequence[int], *, until_closed: bool = False, **order: Any) -> list[Document]:
        """Connections from these ports, one request on each.

        The client's end disappears then, and the other ends never hear of it; or, `until_closed`, these close first.
        """
        mode = {"mode": "ports", "ports": list(ports), "until_closed": until_closed}
        with Clients(self, host, {**mode, **order}) as clients:
            return clients.wait()

    def frames(self, host: str) -> "FramePort":
        """The frames of a host's interface."""
        return FramePort(self, host)


class Clients:
    """HTTP clients on a host (`http_clients`)."""

    def __init__(self, bed: Bed, host: str, order: Document) -> None:
        self._bed = bed
        self._host = host
        self._order = {"address": bed.vip, "port": VIP_PORT, **order}

    def __enter__(self) -> Self:
        argv = [sys.executable, str(HERE / "http_clients.py"), json.dumps(self._order)]
        self._process = self._bed.fabric.popen(
            self._host, *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "started\n"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> list[Document]:
        """Ends them; their report."""
        self._process.stdin.close()
        return self.wait()

    def wait(self) -> list[Document]:
        """Waits for their end; their report."""
        connections: list[Document] = json.loads(self._process.stdout.read())
        return connections


def outcomes(connections: Sequence[Document]) -> dict[str, int]:
    """How many ended how."""
    return _count(connection["outcome"] for connection in connections)


def shares(connections: Sequence[Document]) -> dict[str, int]:
    """How many each member answered."""
    return _count(connection["member"] for connection in connections if connection["member"])


def slowest_connect_ms(connections: Sequence[Document]) -> float:
    """The slowest of those that were opened."""
    return max(connection["connect_ms"] or 0.0 for connection in connections)


def _count(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


class FramePort:
    """Raw frames at a host's interface (`frame_port`): what it sends and receives, and frames of any content into it."""

    def __init__(self, bed: Bed, host: str) -> None:
        self._bed = bed
        self._host = host
        self._arriving: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.seen: list[tuple[str, bytes]] = []
        """(`in` or `out`, frame), oldest first; complete up to the last call of a method."""

    def __enter__(self) -> Self:
        interface = self._bed.fabric.host(self._host).defaultIntf().name
        argv = [sys.executable, str(HERE / "frame_port.py"), interface]
        self._process = self._bed.fabric.popen(
            self._host, *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdout.readline() == "started\n"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._arriving.put(line)

    def send(self, *frames: bytes) -> None:
        """Sends frames."""
        self._process.stdin.write("".join(f"{frame.hex()}\n" for frame in frames))
        self._process.stdin.flush()

    def look(self) -> list[tuple[str, bytes]]:
        """Everything seen until now."""
        while not self._arriving.empty():
            direction, _, text = self._arriving.get().partition(" ")
            self.seen.append((direction, bytes.fromhex(text)))
        return self.seen

    def segments(self, direction: str = "in", since: int = 0) -> list[Segment]:
        """The TCP segments seen."""
        frames = [frame for way, frame in self.look()[since:] if way == direction]
        return [segment for segment in map(read_segment, frames) if segment is not None]

    def expect(
        self, what: str, wanted: Callable[[Segment], bool], direction: str = "in", since: int = 0, within_s: float = 2.0
    ) -> Segment:
        """Waits for a segment."""
        found: Segment = soon(
            what, lambda: next(filter(wanted, self.segments(direction, since)), None), within_s, lambda: self.seen[-5:]
        )
        return found


def packed(address: str) -> int:
    """An address as an integer."""
    return addresses.number(address)


def mac_number(mac: str) -> int:
    """A MAC address as an integer."""
    return int(mac.replace(":", ""), 16)


def segment_frame(bed: Bed, sender: str, segment: Tcp, to_mac: int | None = None) -> bytes:
    """A segment's frame as `sender`'s interface would send it to a VIP, or to `to_mac`."""
    return tcp(segment, vip_mac(segment.dst) if to_mac is None else to_mac, mac_number(bed.fabric.mac(sender)))
