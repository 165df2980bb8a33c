"""Somebody's rule forbids it: on the member, on a router in the path, in our own firewall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topologies.lab.acts.act import Act
from topologies.lab.acts.members import OnMember
from topologies.lab.pool import MEMBER_PORT, VIP
from topologies.lab.router import Router
from topologies.lab.scenario import Subject

if TYPE_CHECKING:
    from topologies.lab.cast import Place
    from topologies.lab.scene import Scene

RULE_ID = "lab-reject"


def forbidden(scene: Scene) -> list[Place]:
    """The clients that a rule is about: one or two hosts, as a prefix of each would name them."""
    return list(scene.cast.clients[: scene.parameters["forbidden"]])


def _sources(scene: Scene) -> str:
    """Those clients' addresses as an nft set."""
    return "{ " + ", ".join(address for place in forbidden(scene) for address in place.addresses) + " }"


@dataclass
class RejectOnMember(OnMember):
    """The member's own packet filter answers SYNs with RST.

    Attributes:
        everybody: all clients, or only some.
    """

    everybody: bool = True

    def begin(self, scene: Scene) -> None:
        """Adds the rule."""
        source = "" if self.everybody else f"ip saddr {_sources(scene)}"
        scene.load_rules(
            scene.fabric.in_host(self.member(scene).place.host, []),
            f"""add table ip lab
            add chain ip lab input {{ type filter hook input priority filter; }}
            add rule ip lab input {source} tcp dport {MEMBER_PORT} tcp flags & (syn|ack) == syn reject with tcp reset""",
        )

    def involved(self, scene: Scene) -> list[Subject]:
        """The member; and the clients, when it is about them."""
        return [*self.subjects(scene), *_client_subjects(scene, self.everybody)]

    def subjects(self, scene: Scene) -> list[Subject]:
        """The member whose rule it is, or those it is about."""
        return [self.member(scene).subject, *_client_subjects(scene, self.everybody)]


def _client_subjects(scene: Scene, everybody: bool) -> list[Subject]:
    if everybody:
        return []
    return [Subject("client", address) for place in forbidden(scene) for address in place.addresses]


@dataclass
class RejectOnRouter(OnMember):
    """A router between the edge switch and the member answers some clients' segments with RST, in the member's name.

    Attributes:
        stage: syn rejects new connections, data those that are established when they send something.
    """

    stage: str = "syn"

    def prepare(self, scene: Scene) -> None:
        """Puts the router in the path: from the start, so its hop is in the TTL of all that the member sends."""
        member = self.member(scene)
        self._router = Router(scene.fabric, member.place).insert()

    def begin(self, scene: Scene) -> None:
        """Adds the rule."""
        which = "tcp flags & (syn|ack) == syn" if self.stage == "syn" else "tcp flags & (syn|psh) == psh"
        scene.load_rules(
            self._router.enter,
            f"""add table ip lab
            add chain ip lab forward {{ type filter hook forward priority filter; }}
            add rule ip lab forward ip saddr {_sources(scene)} tcp dport {MEMBER_PORT} {which} reject with tcp reset""",
        )

    def subjects(self, scene: Scene) -> list[Subject]:
        """The member behind the router, or the clients that the rule is about."""
        return [self.member(scene).subject, *_client_subjects(scene, everybody=False)]


@dataclass
class RejectInFirewall(Act):
    """An operator adds a rule to our own firewall that rejects some clients."""

    def begin(self, scene: Scene) -> None:
        """By the API, one rule per address.

        Raises:
            OSError: the controller refused it.
        """
        assert scene.controller is not None
        for number, subject in enumerate(_client_subjects(scene, everybody=False)):
            rule = {"id": f"{RULE_ID}-{number}", "priority": 200, "src": subject.id, "dst": VIP, "action": "reject"}
            scene.controller.post("firewall/rules", rule | {"protocol": "tcp", "dst_ports": [scene.vip_port]})

    def subjects(self, scene: Scene) -> list[Subject]:
        """The rule, or those it is about."""
        clients = _client_subjects(scene, everybody=False)
        rules = [Subject("policy", f"{RULE_ID}-{number}") for number in range(len(clients))]
        return [*rules, *clients, Subject("vip", "web")]
