"""A member has more to do than it can: its accept queue overflows, its answers come too late, its connections are at their limit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from topologies.faulty_server import Fault as Treatment
from topologies.lab.acts.members import OnMember
from topologies.lab.pool import MEMBER_PORT, PAGE_BYTES
from topologies.lab.servers import Haproxy, QueueingServer, Redis, Server
from topologies.servers import SwitchableServer

if TYPE_CHECKING:
    from topologies.lab.cast import Member
    from topologies.lab.scene import Scene

APP_PORT = 9000
USUAL_BACKLOG = 256


def abort_on_overflow(scene: Scene, member: Member, abort: int) -> None:
    """What the member's kernel does with a completed handshake when the accept queue is full: 0 forget it, 1 answer RST (tcp(7))."""
    scene.fabric.run(member.place.host, "sysctl", "-qw", f"net.ipv4.tcp_abort_on_overflow={abort}")


@dataclass
class OverflowAcceptQueue(OnMember):
    """A server with a few workers becomes slow, and its accept queue small: it fills and overflows.

    Attributes:
        abort: the member's `tcp_abort_on_overflow`.
    """

    abort: int = 1

    def server(self, scene: Scene, member: Member) -> Server | None:
        """One with `workers`, and at first an accept queue long enough for bursts."""
        if member != self.member(scene):
            return None
        workers = scene.parameters["workers"]
        return QueueingServer(
            scene.fabric, member.place.host, workers=workers, backlog=USUAL_BACKLOG, page_bytes=PAGE_BYTES
        )

    def prepare(self, scene: Scene) -> None:
        """Sets what overflow means."""
        abort_on_overflow(scene, self.member(scene), self.abort)

    def begin(self, scene: Scene) -> None:
        """Slow enough to serve only `capacity` of what comes, and a queue of `backlog`."""
        server: QueueingServer = scene.servers[self.member(scene).name]  # type: ignore[assignment]
        wanted = scene.parameters["rate"] / scene.parameters["members"]
        service_s = scene.parameters["workers"] / (wanted * scene.parameters["capacity"])
        server.order(service_s=service_s, backlog=scene.parameters["backlog"])


@dataclass
class SlowDown(OnMember):
    """Answers come after `delay_s`, which is longer than clients wait: they close with RST."""

    def server(self, scene: Scene, member: Member) -> Server | None:
        """One that can be switched."""
        return scene.switchable(member) if member == self.member(scene) else None

    def begin(self, scene: Scene) -> None:
        """Slow from now on."""
        server: SwitchableServer = scene.servers[self.member(scene).name]  # type: ignore[assignment]
        server.behave(Treatment.NONE, delay_s=scene.parameters["delay_s"])


@dataclass
class SlowBehindHaproxy(OnMember):
    """The application behind a member's HAProxy becomes slow: HAProxy reaches its maxconn and accepts no more."""

    def server(self, scene: Scene, member: Member) -> Server | None:
        """HAProxy before an application on the same host."""
        if member != self.member(scene):
            return None
        limits = {name: scene.parameters[name] for name in ("maxconn", "backlog")}
        return Haproxy(scene.fabric, member.place.host, forward_to=APP_PORT, **limits)

    def prepare(self, scene: Scene) -> None:
        """Starts the application."""
        member = self.member(scene)
        abort_on_overflow(scene, member, scene.parameters["abort"])
        self._app = scene.switchable(member, APP_PORT)
        self._app.start()

    def begin(self, scene: Scene) -> None:
        """Slow from now on."""
        self._app.behave(Treatment.NONE, delay_s=scene.parameters["delay_s"])


@dataclass
class Surge(OnMember):
    """`surge` times as many connections come, and one member allows only `limit` at a time."""

    def begin(self, scene: Scene) -> None:
        """Further clients on the same hosts."""
        for place in scene.cast.clients:
            traffic = scene.ordinary_traffic(place)
            scene.add_clients(place, replace(traffic, rate=traffic.rate * (scene.parameters["surge"] - 1)))

    def limit(self, scene: Scene) -> int:
        """Connections at a time: `headroom` above what the member has before the surge."""
        held_s = (scene.scenario.load["requests"] - 1) * scene.parameters["pause_s"]
        usual = scene.parameters["rate"] / scene.parameters["members"] * held_s
        return max(4, round(usual * scene.parameters["headroom"]))


@dataclass
class SurgeToLimit(Surge):
    """What is above the limit is closed with RST (SO_LINGER 0) as soon as it is accepted."""

    def server(self, scene: Scene, member: Member) -> Server | None:
        """One that can be switched."""
        return scene.switchable(member) if member == self.member(scene) else None

    def begin(self, scene: Scene) -> None:
        """The limit stands from now on; it is above what the member had before."""
        server: SwitchableServer = scene.servers[self.member(scene).name]  # type: ignore[assignment]
        server.behave(Treatment.NONE, limit=self.limit(scene))
        super().begin(scene)


@dataclass
class SurgeToMaxclients(Surge):
    """What is above Redis' `maxclients` is answered with an error and closed."""

    def server(self, scene: Scene, member: Member) -> Server | None:
        """Redis with few connections."""
        if member != self.member(scene):
            return None
        return Redis(scene.fabric, member.place.host, MEMBER_PORT, maxclients=self.limit(scene))
