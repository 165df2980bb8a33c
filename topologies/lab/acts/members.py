"""A member is not what the pool takes it for: its port closed, its process gone, another service in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topologies.faulty_server import Fault as Treatment
from topologies.lab.acts.act import Act
from topologies.lab.pool import MEMBER_PORT
from topologies.lab.scenario import Subject
from topologies.lab.servers import Redis, Server, SshGreeter

if TYPE_CHECKING:
    from topologies.lab.cast import Member
    from topologies.lab.scene import Scene, _Switchable

WRONG_PORT = 9999


@dataclass
class OnMember(Act):
    """An act on one member.

    Attributes:
        index: 0 is the member that the seed names, 1 the next one.
    """

    index: int = 0

    def member(self, scene: Scene) -> Member:
        """The member it happens to."""
        return scene.member(self.index)

    def subjects(self, scene: Scene) -> list[Subject]:
        """That member."""
        return [self.member(scene).subject]


@dataclass
class Treat(OnMember):
    """From now on the member treats connections badly (`topologies.faulty_server`).

    Attributes:
        treatment: how.
    """

    treatment: Treatment = Treatment.REFUSE

    def server(self, scene: Scene, member: Member) -> Server | None:
        """One that can be switched."""
        return scene.switchable(member) if member == self.member(scene) else None

    def begin(self, scene: Scene) -> None:
        """Switches it."""
        server: _Switchable = scene.servers[self.member(scene).name]  # type: ignore[assignment]
        server.behave(self.treatment)


@dataclass
class KillServer(OnMember):
    """The member's process is killed with connections open: those get FIN, what they send next is answered by RST, new ones refused."""

    def begin(self, scene: Scene) -> None:
        """SIGKILL."""
        scene.servers[self.member(scene).name].stop()


@dataclass
class MapToWrongService(OnMember):
    """The member's port leads to another service, as after a wrong port mapping, to clients of plain HTTP.

    Attributes:
        service: tls (a Redis that speaks it) or ssh.
    """

    service: str = "tls"

    def prepare(self, scene: Scene) -> None:
        """Starts the wrong service on a port that nobody uses."""
        host = self.member(scene).place.host
        wrong = {
            "tls": lambda: Redis(scene.fabric, host, WRONG_PORT, tls=True),
            "ssh": lambda: SshGreeter(scene.fabric, host, WRONG_PORT),
        }
        wrong[self.service]().start()

    def begin(self, scene: Scene) -> None:
        """Maps new connections to it; the right one stays up, so there is no moment of a closed port."""
        scene.load_rules(
            scene.fabric.in_host(self.member(scene).place.host, []),
            f"""add table ip lab
            add chain ip lab mapping {{ type nat hook prerouting priority dstnat; }}
            add rule ip lab mapping tcp dport {MEMBER_PORT} redirect to :{WRONG_PORT}""",
        )
