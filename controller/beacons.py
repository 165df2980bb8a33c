"""Links by signed LLDP: a frame out of every port, often just after it came up and then now and again; where it comes in, a link ends.

Only what is due is looked at: a fabric of thousands of links costs its beacons, and nothing between them.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller import frames
from controller.decisions import SendPacket
from controller.flows import Output
from controller.schedule import Schedule
from controller.topology import Endpoint, Topology

INTERVAL_S = 5.0
FAST_S, FAST_COUNT = 0.2, 4
LINK_TIMEOUT_S = 3.2 * INTERVAL_S


class Beacons:
    """When which port sends its next LLDP frame, and until when a link must have carried something of ours."""

    def __init__(self, topology: Topology, key: bytes) -> None:
        self.topology = topology
        self.key = key
        self._turns: Schedule[Endpoint] = Schedule()
        self._sent: dict[Endpoint, int] = {}
        self._checks: Schedule[Endpoint] = Schedule()

    def begin(self, endpoint: Endpoint, now: float) -> None:
        """A port came up."""
        self._sent[endpoint] = 0
        self._turns.set(endpoint, now)

    def end(self, endpoint: Endpoint) -> None:
        """The port is gone."""
        self._turns.discard(endpoint)
        self._sent.pop(endpoint, None)

    def at_once(self, endpoint: Endpoint, now: float) -> list[SendPacket]:
        """A frame out of this port now, whenever its turn is."""
        return self._send(endpoint, now)

    def on_tick(self, now: float) -> list[SendPacket]:
        """The frames that are due."""
        return [sent for endpoint in self._turns.pop_due(now) for sent in self._send(endpoint, now)]

    def _send(self, endpoint: Endpoint, now: float) -> list[SendPacket]:
        """One frame, and the next one's turn. A port that is down has no turn: it begins anew when it comes up."""
        dpid, number = endpoint
        if not self.topology.port_is_up(endpoint):
            self._turns.discard(endpoint)
            return []
        count = self._sent[endpoint] = self._sent.get(endpoint, 0) + 1
        self._turns.set(endpoint, now + (FAST_S if count < FAST_COUNT else INTERVAL_S))
        if not self.topology.switches[dpid].connected:
            return []
        return [SendPacket(dpid, frames.lldp(self.key, dpid, number), (Output(number),))]

    def next_deadline(self) -> float:
        """When a frame is due, or a link to be looked at."""
        return min(self._turns.next(), self._checks.next())

    # --- links that went silent ------------------------------------------------------------------------------------------------

    def watch(self, near: Endpoint, now: float) -> None:
        """A link begins here: from now on something must come across."""
        self._checks.set(near, now + LINK_TIMEOUT_S)

    def silent(self, now: float) -> Iterator[Endpoint]:
        """Links that nothing of ours crosses any more. A switch that is away is not asked, so its links are kept: it still forwards."""
        crossed, switches = self.topology.crossed, self.topology.switches
        for near in self._checks.pop_due(now):
            far = self.topology.links.get(near)
            if far is None:
                continue
            if not (switches[near[0]].connected and switches[far[0]].connected):
                crossed[near] = now
            if now - crossed.setdefault(near, now) >= LINK_TIMEOUT_S:
                yield near
            else:
                self._checks.set(near, crossed[near] + LINK_TIMEOUT_S)
