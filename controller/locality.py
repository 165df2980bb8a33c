"""Which members the clients of one edge switch get: near ones first where the pool wants that, few behind a full link on every way.

`prefer-near` is a waterfall: the members with the fewest hops take as much as they have room for, the next ones the rest, and so on. Room
is what is left of a member's weight after health, agent, overload and slowness, so a near member that is cut spills over by as much.

A link that is congested moves paths (`paths.py`). Only where no path avoids it, members behind it get less from the edges that must cross
it, as long as there are others: by halves, and with the memory of `steering.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from controller.balance import Choice, Service
from controller.decisions import Announce, Decision
from controller.hosts import place_name
from controller.policy import Locality
from controller.pressure import Pressure
from controller.services import Services
from controller.steering import DEMOTED, FULL, Steered
from controller.topology import Endpoint, Topology

LOOK_S = 1.0
SUSTAINED_S = 2.0
WHOLE = 1000
"""What the shares of a VIP at one edge add up to, where they are not simply the members' weights."""
Place = tuple[int, int]
"""(edge's dpid, member's number)."""


@dataclass(slots=True)
class Shares:
    """The members' shares edge by edge."""

    topology: Topology
    services: Services
    changed: bool = False
    _behind: dict[Place, Steered] = field(default_factory=dict)
    _next_look: float = 0.0

    def at(self, edge: int, service: Service) -> Service:
        """A VIP as clients of this edge shall have it."""
        near_first = len(service.choices) > 1 and self._prefers_near(service)
        if not near_first and not self._behind and all(choice.weight for choice in service.choices):
            return service
        weights = {choice.number: choice.weight for choice in service.choices}
        if near_first:
            weights = self._waterfall(edge, service.choices)
        for number in weights:
            steered = self._behind.get((edge, number))
            if steered is not None and steered.weight < FULL and weights[number]:
                weights[number] = max(1, weights[number] * steered.weight // FULL)
        choices = (choice._replace(weight=weights[choice.number]) for choice in service.choices)
        return replace(service, choices=tuple(choice for choice in choices if choice.weight))

    # --- near first ------------------------------------------------------------------------------------------------------------

    def _prefers_near(self, service: Service) -> bool:
        member = self.services.member(service.choices[0].number)
        return member is not None and self.services.pools.settings[member.pool].locality is Locality.PREFER_NEAR

    def _waterfall(self, edge: int, choices: Iterable[Choice]) -> dict[int, int]:
        tiers: dict[int, list[Choice]] = {}
        for choice in choices:
            host = self.topology.hosts.get(choice.address)
            hops = self.topology.distance(edge, host.dpid) if host else None
            tiers.setdefault(len(self.topology.switches) if hops is None else hops, []).append(choice)
        left, shares = 1.0, dict[int, float]()
        for _, tier in sorted(tiers.items()):
            room = sum(choice.weight for choice in tier)
            taken = left * min(1.0, room / max(1, self._whole(tier)))
            for choice in tier:
                shares[choice.number] = taken * choice.weight / room if room else 0.0
            left -= taken
        total = sum(shares.values()) or 1.0
        return {number: max(1, round(WHOLE * share / total)) if share else 0 for number, share in shares.items()}

    def _whole(self, tier: Iterable[Choice]) -> int:
        """What these members would have, were they all well."""
        members = (self.services.member(choice.number) for choice in tier)
        return sum(member.policy.weight for member in members if member is not None)

    # --- behind a full link ----------------------------------------------------------------------------------------------------

    def on_tick(self, congested: set[Endpoint], now: float, acting: bool) -> list[Decision]:
        """Follow the links that no path avoids."""
        if now < self._next_look or not (congested or self._behind):
            return []
        self._next_look = now + LOOK_S
        blocked = self._blocked(congested) if congested else {}
        for place, port in blocked.items():
            self._behind.setdefault(place, Steered(sign=port))
        said: list[Decision] = []
        for place, steered in sorted(self._behind.items()):
            found = Pressure.PRESSED if place in blocked else Pressure.FREE
            if found is not steered.found:
                steered.found, steered.found_since = found, now
            if acting and now - steered.found_since >= SUSTAINED_S:
                said += self._step(place, steered, blocked, now)
        for place in [
            place for place, steered in self._behind.items() if steered.at_rest(now) and place not in blocked
        ]:
            del self._behind[place]
        return said

    def next_deadline(self, now: float) -> float:
        """When it looks again."""
        return max(now, self._next_look) if self._behind else now + 60.0

    def _step(self, place: Place, steered: Steered, blocked: dict[Place, str], now: float) -> list[Decision]:
        edge, number = place
        member = self.services.member(number)
        if member is None:
            return []
        others = [other for other in self.services.pools.of(member.pool) if other is not member and other.accepts_new]
        elsewhere = any((edge, other.number) not in blocked for other in others)
        if steered.found is Pressure.PRESSED:
            if not elsewhere or now < steered.may_fall or steered.weight == DEMOTED:
                return []
            steered.lower(now)
        elif now < steered.may_grow or not steered.grow(now):
            return []
        self.changed = True
        name = f"{member.pool}/{member.policy.name}"
        text = (
            f"{name} gets {steered.weight} % of its share from switch {edge:016x}: {steered.sign} is on every way there"
        )
        fields: dict[str, object] = {"member": name, "dpid": f"{edge:016x}", "share": steered.weight / 100}
        return [Announce("weight", text, fields)]

    def _blocked(self, congested: set[Endpoint]) -> dict[Place, str]:
        """Which members are behind a congested link, for which edges, and the port that sends into it."""
        blocked: dict[Place, str] = {}
        edges = self.topology.edges()
        for member in self.services.pools.members.values():
            host = self.topology.hosts.get(member.address)
            if host is None:
                continue
            if host.endpoint in congested:
                blocked |= {(edge, member.number): _text(host.endpoint) for edge in edges}
                continue
            for edge in edges:
                for source, target in ((edge, host.dpid), (host.dpid, edge)):
                    link = self._unavoidable(source, target, congested)
                    if link is not None:
                        blocked[edge, member.number] = _text(link)
        return blocked

    def _unavoidable(self, source: int, target: int, congested: set[Endpoint]) -> Endpoint | None:
        """A congested link on the way when every shortest way has one; None when there is one without."""
        found: Endpoint | None = None
        reached, waiting = {source}, [source]
        for dpid in waiting:
            if dpid == target:
                return None
            for port_no in self.topology.next_hops(dpid, target):
                link = dpid, port_no
                if link in congested:
                    found = link
                elif (beyond := self.topology.links[link][0]) not in reached:
                    reached.add(beyond)
                    waiting.append(beyond)
        return found


def _text(port: Endpoint) -> str:
    return f"port {place_name(port)}"
