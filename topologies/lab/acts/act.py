"""What an act is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topologies.lab.scenario import Subject

if TYPE_CHECKING:
    from topologies.lab.cast import Member
    from topologies.lab.scene import Scene
    from topologies.lab.servers import Server


class Act:
    """Something that happens to a running service. This one does nothing: the service stays as it is."""

    def server(self, scene: Scene, member: Member) -> Server | None:
        """The server that this act needs on a member, None for the ordinary one."""
        return None

    def prepare(self, scene: Scene) -> None:
        """What has to stand before the service opens."""

    def begin(self, scene: Scene) -> None:
        """The moment from which things go wrong."""

    def subjects(self, scene: Scene) -> list[Subject]:
        """Whom an incident about it may name, best first; known from `begin` on."""
        return [Subject("vip", "web")]

    def involved(self, scene: Scene) -> list[Subject]:
        """Members and clients that are no mere bystanders: action on them may be right."""
        return self.subjects(scene)
