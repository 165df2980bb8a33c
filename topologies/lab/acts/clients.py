"""What clients do: some break the protocol, many reset connections for reasons that are nobody's fault."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from topologies.lab.acts.act import Act
from topologies.lab.pool import LARGE, MEMBER_PORT, VIP
from topologies.lab.scenario import Subject

if TYPE_CHECKING:
    from topologies.lab.cast import Place
    from topologies.lab.scene import Scene


class FromSpare(Act):
    """An act of one host that is neither member nor ordinary client."""

    def place(self, scene: Scene) -> Place:
        """That host."""
        return scene.cast.spares[0]

    def subjects(self, scene: Scene) -> list[Subject]:
        """That host."""
        return [self.place(scene).subject]


@dataclass
class SendGarbage(FromSpare):
    """A client sends bytes that the service does not understand."""

    def begin(self, scene: Scene) -> None:
        """`offences` connections a second."""
        target = {"target": VIP, "port": scene.vip_port}
        scene.attack(self.place(scene), "garbage", **target, rate=scene.parameters["offences"], seed=scene.seed)


@dataclass
class SpeakPlainHttp(FromSpare):
    """A client speaks plain HTTP to a service that speaks TLS."""

    def begin(self, scene: Scene) -> None:
        """`offences` connections a second."""
        place = self.place(scene)
        traffic = replace(
            scene.ordinary_traffic(place), protocol="http", sources=place.addresses, rate=scene.parameters["offences"]
        )
        scene.add_clients(place, traffic, counted=False)


@dataclass
class CloseWithReset(Act):
    """Ordinary clients of one more kind arrive, which close with RST what was served in full."""

    def begin(self, scene: Scene) -> None:
        """On the ordinary clients' hosts."""
        for place in scene.cast.clients:
            traffic = scene.ordinary_traffic(place)
            rate = traffic.rate * scene.parameters["added"]
            scene.add_clients(place, replace(traffic, rate=rate, reset_share=scene.parameters["aborts"]))


@dataclass
class LeaveDownloads(Act):
    """Clients start large downloads and leave some half-way, as readers do who click on."""

    def begin(self, scene: Scene) -> None:
        """On the ordinary clients' hosts."""
        for place in scene.cast.clients:
            traffic = scene.ordinary_traffic(place)
            downloads = {"rate": scene.parameters["downloads"] / len(scene.cast.clients), "path": LARGE}
            patient = max(traffic.timeout_s, 5.0)
            leaving = replace(traffic, **downloads, leave_share=scene.parameters["aborts"], timeout_s=patient)
            scene.add_clients(place, leaving, counted=False)


@dataclass
class CheckHealth(FromSpare):
    """A monitor opens a connection to every member every so often and closes it with RST as soon as it stands.

    Attributes:
        through_vip: it checks the virtual service instead of the members.
    """

    through_vip: bool = False

    def begin(self, scene: Scene) -> None:
        """`checks` a second to each."""
        place = self.place(scene)
        members = [(member.place.address, MEMBER_PORT) for member in scene.cast.members]
        for target, port in [(VIP, scene.vip_port)] if self.through_vip else members:
            traffic = replace(
                scene.ordinary_traffic(place), target=target, port=port, rate=scene.parameters["checks"],
                reset_after_connect=True, requests=1,
            )  # fmt: skip
            scene.add_clients(place, traffic, counted=False)
