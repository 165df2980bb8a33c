"""Shares of paths: which of several shortest ways takes how much of the traffic to a switch.

Every link has a weight from 1 to 100. A closed loop follows what is measured (`pressure.py`): a pressed link's weight is halved every
`DOWN_S` while another way has room, and a free one's grows by a third every `UP_S`. A link that is pressed again after it grew has
shown its *ceiling*: it stays below that for `CEILING_S`, twice as long each time. A step down that only made another way pressed instead
is taken back, and not tried again for as long. So weights settle under constant load, also when the load cannot be divided, and nothing
is moved on one look. A link that is to blame for an incident is demoted at once and stays so for `DWELL_S`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from controller.decisions import Announce, Decision
from controller.hosts import place_name
from controller.pressure import PRESSED_UTILISATION, Pressure, pressure
from controller.steering import DOWN_S, FULL, Steered
from controller.telemetry import LinkState
from controller.topology import Endpoint, Topology

DWELL_S = 30.0
SUSTAINED_S = 1.5
"""One look is none: a link is pressed, or free, when it has been for so long."""
LOOK_S = 0.5
FORGOTTEN_S = 60.0
"""A ceiling is forgotten when the switch has sent so little for so long that one link could carry all of it."""
LEAST = 1
"""Probes watch a link that nobody uses: a hundredth of the traffic is less than what 99 % of requests notice."""
SHIFTED_S = 15.0
"""Pressure that another way shows so soon after a step down came with what was moved there."""
TARGETS = 4
"""For so many destinations behind a link another way is looked for."""

Measured = Callable[[Endpoint], LinkState]


@dataclass(slots=True)
class Paths:
    """Weights of links, and of ways as the worst link on the best of them."""

    topology: Topology
    changed: bool = False
    _steered: dict[Endpoint, Steered] = field(default_factory=dict)
    _next_look: float = 0.0

    @property
    def weights(self) -> dict[Endpoint, int]:
        """The links that have less than the full weight."""
        return {near: steered.weight for near, steered in self._steered.items() if steered.weight < FULL}

    def weight(self, near: Endpoint) -> int:
        """A link's own weight."""
        steered = self._steered.get(near)
        return FULL if steered is None else steered.weight

    def pressed(self) -> set[Endpoint]:
        """Links that have no room at present."""
        return {near for near, steered in self._steered.items() if steered.found is Pressure.PRESSED}

    def shares(self, source: int, target: int, ports: list[int]) -> dict[int, int]:
        """The weight of each of a switch's shortest ways to another."""
        weights = self.weights
        return {port: self._way((source, port), target, weights) for port in ports}

    def _way(self, near: Endpoint, target: int, weights: dict[Endpoint, int]) -> int:
        beyond = self.topology.links[near][0]
        if beyond == target or not weights:
            return weights.get(near, FULL)
        onward = self.topology.next_hops(beyond, target)
        best = max((self._way((beyond, port), target, weights) for port in onward), default=FULL)
        return min(weights.get(near, FULL), best)

    # --- on demand -------------------------------------------------------------------------------------------------------------

    def demote(self, near: Endpoint, now: float) -> bool:
        """Move traffic off a link that is to blame; False when it already was, or when no way is left that is better."""
        if self.weight(near) == LEAST or not self.avoidable(near, {near, *self.weights}):
            return False
        steered = self._steered.setdefault(near, Steered(least=LEAST))
        steered.weight, steered.grew_from = LEAST, None
        steered.may_grow = now + DWELL_S
        self.changed = True
        return True

    def restore(self, near: Endpoint) -> bool:
        """Give a link its full weight back at once; False when it had it."""
        if self.weight(near) == FULL:
            return False
        del self._steered[near]
        self.changed = True
        return True

    def avoidable(self, near: Endpoint, bad: set[Endpoint]) -> bool:
        """Whether some traffic over a link could take a shortest way without any of the `bad` ones."""
        if near not in self.topology.links:
            return False
        beyond = self.topology.links[near][0]
        edges = sorted(self.topology.edges(), key=lambda edge: self.topology.distance(beyond, edge) or 0)
        behind = [edge for edge in edges if near[1] in self.topology.next_hops(near[0], edge)]
        return any(self._avoidable(near, target, bad) for target in behind[:TARGETS])

    def _avoidable(self, near: Endpoint, target: int, bad: set[Endpoint]) -> bool:
        """From the switches nearest to the target outwards: who crosses the link, and who need not."""
        links, distance = self.topology.links, self.topology.distance
        known = {dpid: there for dpid in self.topology.switches if (there := distance(dpid, target)) is not None}
        crossing: set[int] = set()
        free = {target}
        for dpid in sorted(known, key=lambda dpid: (known[dpid], dpid)):
            ports = [(dpid, port) for port in self.topology.next_hops(dpid, target)]
            if any(port == near or links[port][0] in crossing for port in ports):
                crossing.add(dpid)
            if any(port not in bad and links[port][0] in free for port in ports):
                free.add(dpid)
        return any(edge in crossing and edge in free for edge in self.topology.edges())

    # --- the closed loop -------------------------------------------------------------------------------------------------------

    def on_tick(self, suspects: set[Endpoint], measured: Measured, now: float, acting: bool = True) -> list[Decision]:
        """Look at links that may be pressed, and at those that are steered; move weights by a bounded step where it is time."""
        if now < self._next_look:
            return []
        self._next_look = now + LOOK_S
        for near in suspects:
            if near in self.topology.links:
                self._steered.setdefault(near, Steered(least=LEAST, found_since=now))
        said: list[Decision] = []
        for near in sorted(self._steered):
            self._look(near, measured, now)
        if acting:
            said += self._lower_pressed(now)
            # One direction at a time, so that no step moves more than a fifth of the traffic between two ways.
            said = said or self._grow_free(now)
        for near in [near for near, steered in self._steered.items() if steered.at_rest(now) and near not in suspects]:
            del self._steered[near]
        return said

    def next_deadline(self, now: float) -> float:
        """When a link is looked at again."""
        return self._next_look if self._steered else now + 60.0

    def _look(self, near: Endpoint, measured: Measured, now: float) -> None:
        steered = self._steered[near]
        if near not in self.topology.links:
            self.changed |= steered.weight < FULL
            del self._steered[near]
            return
        found, steered.sign = pressure(measured(near))
        if found is not steered.found:
            steered.found, steered.found_since = found, now
        if not steered.learned:
            return
        # Where a link begins may be behind the switch that divides what crosses it.
        dividing = {near[0], *(self.topology.links[near[0], port][0] for port in self.topology.fabric_ports(near[0]))}
        if any(self._would_not_fit(dpid, measured) for dpid in dividing):
            steered.busy_until = now + FORGOTTEN_S
        elif now >= steered.busy_until:
            steered.forget(now)

    def _would_not_fit(self, dpid: int, measured: Measured) -> bool:
        """Whether a switch sends more than one of its links could carry: only then it matters how its traffic is divided."""
        states = [measured((dpid, port_no)) for port_no in self.topology.fabric_ports(dpid)]
        return sum(state.utilisation or 0.0 for state in states) >= PRESSED_UTILISATION

    def _lasting(self, found: Pressure, now: float) -> list[Endpoint]:
        """Links that have been found so for long enough to believe it."""
        return [
            near
            for near, steered in sorted(self._steered.items())
            if steered.found is found and now - steered.found_since >= SUSTAINED_S
        ]

    def _lower_pressed(self, now: float) -> list[Decision]:
        said: list[Decision] = []
        pressed = self.pressed()
        lasting = self._lasting(Pressure.PRESSED, now)
        if relieved := {other for near in lasting for other in self._shifted_to(near, now)}:
            return self._take_back(sorted(relieved), lasting, now)
        for near in lasting:
            steered = self._steered[near]
            if now < steered.may_fall or steered.weight == LEAST:
                continue
            if not self.avoidable(near, pressed):
                # Nothing better to be had: looked for again when it is time for the next step.
                steered.may_fall = now + DOWN_S
                continue
            steered.lower(now)
            said.append(_announce(near, steered.weight, steered.sign))
        self.changed |= bool(said)
        return said

    def _shifted_to(self, near: Endpoint, now: float) -> list[Endpoint]:
        """Ways beside this one that were relieved, a moment before it became pressed, of what presses it now."""
        since = self._steered[near].found_since
        return [
            other
            for other, steered in sorted(self._steered.items())
            if steered.lowered_from is not None
            and steered.found is not Pressure.PRESSED
            and steered.lowered_at < since
            and now - steered.lowered_at < SHIFTED_S
            and self._are_beside(near, other)
        ]

    def _are_beside(self, near: Endpoint, other: Endpoint) -> bool:
        """Whether two links may be on different ways between the same switches: they leave one, lead to one, or begin a hop apart."""
        links = self.topology.links
        if near == other or links[near][0] == other[0] or links[other][0] == near[0]:
            return False
        if near[0] == other[0] or links[near][0] == links[other][0]:
            return True
        return other[0] in {links[near[0], port][0] for port in self.topology.fabric_ports(near[0])}

    def _take_back(self, relieved: list[Endpoint], pressed: list[Endpoint], now: float) -> list[Decision]:
        for near in pressed:
            # What these have too much of is on its way back: none is judged by it.
            self._steered[near].may_fall = max(self._steered[near].may_fall, now + DOWN_S)
        for near in relieved:
            self._steered[near].take_back(now)
        self.changed = True
        return [_announce(near, self.weight(near), "what left it only filled another way") for near in relieved]

    def _grow_free(self, now: float) -> list[Decision]:
        said: list[Decision] = []
        for near in self._lasting(Pressure.FREE, now):
            steered = self._steered[near]
            if now >= steered.may_grow and steered.grow(now):
                said.append(_announce(near, steered.weight, "it has room"))
        self.changed |= bool(said)
        return said


def _announce(near: Endpoint, weight: int, why: str) -> Announce:
    name = place_name(near)
    text = f"link {name} gets {weight} % of its share: {why}"
    return Announce("paths", text, {"link": name, "weight": weight, "why": why})
