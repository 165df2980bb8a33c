"""A link has more to carry than it can: its queue fills and drops, and what crosses it comes late or not at all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topologies.lab.acts.act import Act
from topologies.lab.scenario import Subject

if TYPE_CHECKING:
    from topologies.lab.cast import Member
    from topologies.lab.scene import Scene

WATCHED_S = 0.4


def _sent_bytes(interface: str) -> int:
    """From proc_net(5): /sys shows the interfaces of the namespace that it was mounted in."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, colon, counters = line.partition(":")
        if colon and name.strip() == interface:
            return int(counters.split()[8])
    raise KeyError(f"no interface {interface}")


@dataclass
class SaturateUplink(Act):
    """A UDP stream of `bulk` times the link's rate leaves the leaf of a member: one of the links to the spines is saturated.

    Attributes:
        index: of the member whose leaf it is, 0 the one that the seed names.
    """

    index: int = 0

    def begin(self, scene: Scene) -> None:
        """Starts the stream, then looks which link carries it: the switch's hash decides."""
        edge = scene.member(self.index).place.edge
        uplinks = {spine: scene.fabric.port(edge, spine).name for spine in ("spine1", "spine2")}
        before = {spine: _sent_bytes(name) for spine, name in uplinks.items()}
        rate = scene.parameters["link_mbit"] * scene.parameters["bulk"]
        scene.send_bulk(scene.cast.spare_at(edge), scene.cast.spare_elsewhere(edge), rate)
        time.sleep(WATCHED_S)
        sent = {spine: _sent_bytes(name) - before[spine] for spine, name in uplinks.items()}
        fullest_first = sorted(sent, key=lambda spine: -sent[spine])
        self._subjects = [subject for spine in fullest_first for subject in scene.link_subjects(edge, spine)]

    def subjects(self, scene: Scene) -> list[Subject]:
        """That link; then the other uplink, where the stream lands when it is moved."""
        return self._subjects

    def involved(self, scene: Scene) -> list[Subject]:
        """The link, and who floods it."""
        return [*self._subjects, scene.cast.spare_at(scene.member(self.index).place.edge).subject]


@dataclass
class SaturateAccessLink(Act):
    """A UDP stream (a backup, say) to a member's own host saturates the link to it.

    Attributes:
        index: of the member, 0 the one that the seed names.
    """

    index: int = 0

    def member(self, scene: Scene) -> Member:
        """The member behind that link."""
        return scene.member(self.index)

    def prepare(self, scene: Scene) -> None:
        """The link has its rate from the start."""
        place = self.member(scene).place
        scene.fabric.set_rate(place.edge, place.host, scene.parameters["access_mbit"])

    def begin(self, scene: Scene) -> None:
        """Starts the stream."""
        place = self.member(scene).place
        rate = scene.parameters["access_mbit"] * scene.parameters["bulk"]
        scene.send_bulk(scene.cast.spares[-1], place, rate)

    def subjects(self, scene: Scene) -> list[Subject]:
        """The link, or the member, the only one behind it."""
        place = self.member(scene).place
        return [*scene.link_subjects(place.edge, place.host), self.member(scene).subject]

    def involved(self, scene: Scene) -> list[Subject]:
        """And who floods it."""
        return [*self.subjects(scene), scene.cast.spares[-1].subject]
