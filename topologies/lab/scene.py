"""A scenario brought to life: fabric, members' servers and clients, and the hands that acts use on them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from topologies.fabric import Fabric
from topologies.faulty_server import Fault as Treatment
from topologies.lab.cast import LAYOUTS, Cast, Member, Place, assign
from topologies.lab.controller import Controller
from topologies.lab.parameters import draw
from topologies.lab.pool import LARGE, LARGE_BYTES, MEMBER_PORT, PAGE, PAGE_BYTES, POOL, VIP, VIP_PORTS
from topologies.lab.scenario import Scenario, Subject
from topologies.lab.servers import Redis, Server, StrictNginx
from topologies.lab.traffic import Traffic
from topologies.servers import Nginx, SwitchableServer


class Scene:
    """Everything of one run.

    Args:
        scenario: what is played.
        seed: of its parameters and dice.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.parameters: dict[str, Any] = draw(scenario.name, scenario.parameters, seed)
        self.dice = random.Random(f"{scenario.name}/{seed}")
        layout = LAYOUTS[self.parameters["topology"]]
        self.cast: Cast = assign(layout, self.parameters["members"], self.parameters["addresses_per_client"], self.dice)
        self.fabric = Fabric(layout.topo(self.parameters["link_mbit"]))
        self.folder = Path(tempfile.mkdtemp(prefix="lab-"))
        self.servers: dict[str, Server] = {}
        self.ended: list[Path] = []
        """Files in which clients count how their connections ended."""
        self.controller: Controller | None = None
        self._traffic: list[subprocess.Popen[Any]] = []

    # --- who ---------------------------------------------------------------------------------------------------------------------

    def member(self, index: int = 0) -> Member:
        """The member that goes wrong, or the `index`-th after it."""
        members = self.cast.members
        return members[(self.parameters["faulty"] + index) % len(members)]

    @property
    def vip_port(self) -> int:
        """The port of the virtual service."""
        return VIP_PORTS[self.scenario.service]

    def policy(self) -> dict[str, Any]:
        """The policy of this run: one pool, one VIP, and the links' rates as they are."""
        check = self.parameters["check"] if self.scenario.service == "http" else "tcp"
        interval_s = self.parameters["check_interval_s"]
        members = [
            {"name": member.name, "address": member.place.address, "port": MEMBER_PORT} for member in self.cast.members
        ]
        return {
            "version": 1,
            "pools": {
                POOL: {
                    "members": members,
                    "max_ejection_percent": 50,
                    "health_check": {"type": check, "interval_s": interval_s, "timeout_s": 0.8 * interval_s},
                }
            },
            "vips": {POOL: {"address": VIP, "port": self.vip_port, "pool": POOL}},
            "links": {"default_capacity_bps": round(self.parameters["link_mbit"] * 1e6)},
        }

    # --- setting up --------------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Starts the fabric, what acts need beforehand, and every member's server."""
        self.fabric.start()
        for place in self.cast.clients:
            for address in place.addresses[1:]:
                self.fabric.run(place.host, "ip", "address", "add", f"{address}/16", "dev", f"{place.host}-eth0")
        for fault in self.scenario.faults:
            fault.act.prepare(self)
        for member in self.cast.members:
            self.servers[member.name] = self._server(member).start()

    def _server(self, member: Member) -> Server:
        for fault in self.scenario.faults:
            if (server := fault.act.server(self, member)) is not None:
                return server
        return self.ordinary_server(member)

    def ordinary_server(self, member: Member) -> Server:
        """What a healthy member of this pool runs."""
        host = member.place.host
        if self.scenario.service == "tls":
            return StrictNginx(self.fabric, host, tls=True)
        if self.scenario.service in {"redis", "rediss"}:
            return Redis(self.fabric, host, tls=self.scenario.service == "rediss")
        return _with_files(Nginx(self.fabric, host))

    def switchable(self, member: Member, port: int = MEMBER_PORT) -> _Switchable:
        """A server whose fault can be switched, healthy at first, with answers like nginx's."""
        return _Switchable(self.fabric, member.place.host, port)

    # --- traffic -----------------------------------------------------------------------------------------------------------------

    def introduce(self) -> None:
        """Every host speaks once, so that the fabric knows it: unknown stations are let in at a limited rate, and bursts are not."""
        places = (*self.cast.clients, *self.cast.spares)
        pings = [
            self.fabric.popen(
                place.host, "ping", "-c", "2", "-i", "0.2", "-W", "1", "-I", address, VIP, stdout=self._errors()
            )
            for place in places
            for address in place.addresses
        ]
        for ping in pings:
            ping.wait()

    def open_for_business(self) -> None:
        """Starts the ordinary clients."""
        for place in self.cast.clients:
            self.add_clients(place, self.ordinary_traffic(place))

    def ordinary_traffic(self, place: Place) -> Traffic:
        """What the ordinary clients on a host do."""
        traffic = Traffic(
            target=VIP,
            port=self.vip_port,
            sources=place.addresses,
            rate=self.parameters["rate"] / len(self.cast.clients),
            protocol=self.scenario.service,
            timeout_s=self.parameters["timeout_s"],
            reset_share=self.parameters["reset_share"],
            path=PAGE if self.scenario.service == "http" else "/",
            seed=self.dice.getrandbits(32),
        )
        values = {
            name: self.parameters.get(value, value) if isinstance(value, str) else value
            for name, value in self.scenario.load.items()
        }
        return replace(traffic, **values)

    def add_clients(self, place: Place, traffic: Traffic, *, counted: bool = True) -> subprocess.Popen[Any]:
        """Starts clients on a host; only the `counted` ones are ordinary, whose outcomes tell how well the service does."""
        ended = self.folder / f"ended-{len(self._traffic)}.jsonl"
        if counted:
            self.ended.append(ended)
        with ended.open("w") as output:
            argv = [sys.executable, "-m", "topologies.lab.traffic", json.dumps(traffic.__dict__)]
            process = self.fabric.popen(place.host, *argv, stdout=output, stderr=self._errors())
        self._traffic.append(process)
        return process

    def attack(self, place: Place, kind: str, **fields: Any) -> None:
        """Starts `topologies.lab.attacker` on a host."""
        argv = [sys.executable, "-m", "topologies.lab.attacker", kind, json.dumps(fields)]
        self._traffic.append(self.fabric.popen(place.host, *argv, stdout=self._errors(), stderr=self._errors()))

    def send_bulk(self, source: Place, sink: Place, rate_mbit: float) -> None:
        """A UDP stream between hosts until the end."""
        quiet = {"stdout": self._errors(), "stderr": self._errors()}
        self.fabric.popen(sink.host, "iperf3", "--server", **quiet)
        rate = f"{rate_mbit:.1f}M"
        stream = ["iperf3", "--udp", "--bitrate", rate, "--length", "1400", "--time", "60", "--client", sink.address]
        # iperf3 gives up when its peer does not listen yet.
        again = f"until {' '.join(stream)}; do sleep 0.1; done"
        self._traffic.append(self.fabric.popen(source.host, "sh", "-c", again, **quiet))

    def close(self) -> None:
        """Ends all traffic."""
        for process in self._traffic:
            process.kill()

    def _errors(self) -> Any:
        return (self.folder / "errors.log").open("a")

    # --- hands on the network ----------------------------------------------------------------------------------------------------

    def load_rules(self, argv_prefix: Iterable[str], rules: str) -> None:
        """Loads nft(8) rules in the namespace that the prefix enters.

        Raises:
            subprocess.CalledProcessError: nft refused them; `stderr` says why.
        """
        subprocess.run([*argv_prefix, "nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True)

    def link_subjects(self, near: str, far: str) -> list[Subject]:
        """The link between two neighbours as an incident may name it: either direction, or as a port where one end is a host."""
        ends = [
            f"{self.fabric.dpid(node)}:{self.fabric.port_no(node, other)}"
            for node, other in ((near, far), (far, near))
            if node in self.fabric.switch_names
        ]
        if len(ends) == 1:
            return [Subject("link", ends[0])]
        return [Subject("link", "-".join(ends)), Subject("link", "-".join(reversed(ends)))]


class _Switchable(SwitchableServer):
    """Keeps the size of its answers through every change of behaviour."""

    def start(self) -> _Switchable:
        super().start()
        self.behave()
        return self

    def behave(self, fault: Treatment | str = Treatment.NONE, **behaviour: Any) -> None:
        super().behave(fault, **{"body_bytes": PAGE_BYTES} | behaviour)


def _with_files(server: Nginx) -> Nginx:
    server.files.mkdir(exist_ok=True)
    (server.files / PAGE[1:]).write_bytes(b"." * PAGE_BYTES)
    (server.files / LARGE[1:]).write_bytes(b"." * LARGE_BYTES)
    return server
