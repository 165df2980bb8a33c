"""What attackers do, from a host of the fabric with a raw socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topologies.lab.acts.clients import FromSpare
from topologies.lab.pool import MEMBER_PORT, VIP
from topologies.lab.scenario import Subject

if TYPE_CHECKING:
    from topologies.lab.scene import Scene


@dataclass
class Scan(FromSpare):
    """Many ports of the members and the VIP are tried.

    Attributes:
        kind: syn-scan sends SYNs alone (hping3), connect-scan completes handshakes.
    """

    kind: str = "syn-scan"

    def begin(self, scene: Scene) -> None:
        """`scan_rate` ports a second."""
        targets = [VIP, *(member.place.address for member in scene.cast.members)]
        scene.attack(self.place(scene), self.kind, targets=targets, rate=scene.parameters["scan_rate"], seed=scene.seed)


@dataclass
class ForgeResets(FromSpare):
    """RSTs in the name of members and clients, at connections whose ports and sequence numbers are guessed (RFC 5961 §1)."""

    def begin(self, scene: Scene) -> None:
        """`forged_rate` segments a second."""
        clients = [address for place in scene.cast.clients for address in place.addresses]
        members = [(member.place.address, MEMBER_PORT) for member in scene.cast.members]
        scene.attack(
            self.place(scene), "blind-resets", vip=(VIP, scene.vip_port), members=members, clients=clients,
            rate=scene.parameters["forged_rate"], seed=scene.seed,
        )  # fmt: skip

    def subjects(self, scene: Scene) -> list[Subject]:
        """The attacker; the service; or those in whose name it sends."""
        forged = [member.subject for member in scene.cast.members]
        clients = [Subject("client", address) for place in scene.cast.clients for address in place.addresses]
        return [self.place(scene).subject, Subject("vip", "web"), *forged, *clients]

    def involved(self, scene: Scene) -> list[Subject]:
        """Only the attacker: nothing may be done to those in whose name it sends."""
        return [self.place(scene).subject]


@dataclass
class FloodResets(ForgeResets):
    """RSTs from addresses by chance to the VIP, as fast as it goes."""

    def begin(self, scene: Scene) -> None:
        """`flood_rate` segments a second."""
        scene.attack(
            self.place(scene), "spoofed-flood", vip=(VIP, scene.vip_port), rate=scene.parameters["flood_rate"],
            seed=scene.seed,
        )  # fmt: skip
