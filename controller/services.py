"""VIPs and their members as the switches shall see them: policy × health × where everybody lives."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from math import ceil, inf
from typing import NamedTuple

from controller import addresses
from controller.addresses import is_ipv6
from controller.balance import Choice, Service
from controller.decisions import Announce, Decision
from controller.flows import Connection
from controller.health import MemberKey, Target
from controller.member_records import MemberRecords
from controller.mirror import Pinned
from controller.neighbours import CONTROLLER_IPV6
from controller.numbering import Numbering
from controller.pickup import Way
from controller.pipeline import MEMBER_MASK, VIP_MASK, VIP_SHIFT
from controller.policy import Policy, Vip
from controller.pools import SLOW_START_STEPS, Health, MemberState, Pools
from controller.topology import Topology

STEPS_TOGETHER_S = 0.05
"""Slow starts take the steps that fall into so long at its end: hundreds of members that come back must not have as many plans made."""


class Hairpin(NamedTuple):
    """A member's own address and port, and a VIP (address, number) that leads there."""

    member: int
    port: int
    vip_address: int
    vip: int


class Probed(NamedTuple):
    """A member's address and port, and the address that own probes of it come from."""

    member: int
    port: int
    source: int


class Moved(NamedTuple):
    """What differs in how the members do: VIPs, and whether the connections that are being ended."""

    services: list[Service]
    cut: bool


class Services:
    """Owns the pools and the numbers that stand for members and VIPs in `ct_mark`."""

    def __init__(self, topology: Topology, members: Numbering, vips: Numbering) -> None:
        self.topology = topology
        self.pools = Pools()
        self.vips: dict[str, Vip] = {}
        self.vips_of: dict[str, list[str]] = {}
        """Names of the VIPs that lead to each pool."""
        self._probe_address: int | None = None
        self._member_numbers = members
        self._vip_numbers = vips
        self._by_number: dict[int, MemberState] = {}
        self._records = MemberRecords(self.pools)
        self._cut: set[MemberKey] = set()
        self._shown: dict[int, Service] = {}
        self._shown_cut: list[int] = []
        self._shown_version = -1
        self._computed: dict[str, tuple[int, float, Service]] = {}
        """By VIP: as of which version of its pool, and until when (s): a slow start takes its next step then."""
        self._current: list[Service] = []
        self._current_version = -1
        self._current_until = 0.0
        self._sources: dict[tuple[str, bool], int | None] = {}
        """Where probes come from, by pool and whether it is for IPv6."""
        self._pairs: list[Pinned] = []
        self._hairpins: list[Hairpin] = []
        self._probed: list[Probed] = []

    # --- what changes it -------------------------------------------------------------------------------------------------------

    def restore(self, values: dict[str, dict[str, object]]) -> None:
        """Numbers and ejections of the last run; ejections take effect when the policy names their members."""
        self._member_numbers.restore(values.get("members", {}))
        self._vip_numbers.restore(values.get("vips", {}))
        self._records.restore(values)

    def follow(self, values: Mapping[str, Mapping[str, object]], now: float) -> bool:
        """Take what another controller recorded; whether a member or VIP has another number than we thought."""
        renumbered = self._member_numbers.adopt(values.get("members", {}))
        renumbered |= self._vip_numbers.adopt(values.get("vips", {}))
        self._records.follow(values, now)
        if not renumbered:
            self._records.readopt()
        if values.keys() & {"ejections", "weights", "drains"}:
            self.pools.touch()
        return renumbered

    def apply(self, policy: Policy, now: float) -> list[Decision]:
        """Take a policy. Members that stay the same server keep their health, ejection and number."""
        recorded: list[Decision] = []
        numbers: dict[MemberKey, int] = {}
        located: dict[MemberKey, int] = {}
        names = set()
        for pool_name, pool in policy.pools.items():
            for member in pool.members:
                name = f"{pool_name}/{member.name}@{member.address}:{member.port}"
                names.add(name)
                key = pool_name, member.name
                numbers[key], new = self._member_numbers.number(name)
                located[key] = addresses.number(member.address)
                recorded += new
        recorded += self._member_numbers.release_all_but(names)
        self.vips, self.vips_of = dict(policy.vips), {}
        for name, vip in self.vips.items():
            self.vips_of.setdefault(vip.pool, []).append(name)
        for name in self.vips:
            recorded += self._vip_numbers.number(self._vip_key(name))[1]
        recorded += self._vip_numbers.release_all_but({self._vip_key(name) for name in self.vips})
        self.pools.apply(policy, numbers, located)
        self._by_number = {member.number: member for member in self.pools.members.values()}
        self._records.readopt()
        recorded += self._records.note_drains(now)
        address = policy.probe_address
        self._probe_address = None if address is None else addresses.number(address)
        self._follow_policy()
        return recorded

    def affinities_ended_by(self, policy: Policy) -> list[int]:
        """Numbers of the VIPs whose clients a policy has forgotten: what switches have learnt keeps its own timeout otherwise."""
        return [
            self.vip_number(name)
            for name, vip in self.vips.items()
            if vip.affinity_timeout_s and policy.vips.get(name) != vip
        ]

    def _vip_key(self, name: str) -> str:
        return f"{name}@{self.vips[name].address}:{self.vips[name].port}"

    def on_tick(self, now: float) -> list[Decision]:
        """Slow starts that are over; records of weights that changed."""
        for member in self.pools.in_time():
            slow_start_s = self.pools.settings[member.pool].slow_start_s
            if member.slow_start_from is not None and member.slow_start_step(now, slow_start_s) >= SLOW_START_STEPS:
                member.slow_start_from = None
                member.health = Health.UP
                self.pools.touch(member.pool)
        return self._records.note_weights() + self._note_cuts(now)

    def _note_cuts(self, now: float) -> list[Decision]:
        """Members whose open connections are being ended from now on, or no longer."""
        cut = {member.key for member in self.pools.leaving() if self.pools.is_cut(member, now)}
        begun, self._cut = cut - self._cut, cut
        return [
            Announce("cut", f"open connections of {pool}/{name} are ended", {"member": f"{pool}/{name}"})
            for pool, name in sorted(begun)
        ]

    def next_deadline(self, now: float) -> float:
        """When a slow start takes its next step, or a drain ends."""
        due = [now + 60.0]
        for member in self.pools.in_time():
            timeout_s = self.pools.settings[member.pool].drain_timeout_s
            if member.draining_since is not None and now < member.draining_since + timeout_s:
                due.append(member.draining_since + timeout_s)
            due.append(self._next_step(member, self.pools.settings[member.pool].slow_start_s, now))
        return min(due)

    def may_eject(self, member: MemberState) -> bool:
        """Whether the pool's limits let it go, and whoever is left is somewhere: a member nobody has seen serves nobody."""
        others = (other for other in self.pools.of(member.pool) if other is not member and other.accepts_new)
        return self.pools.may_eject(member) and any(other.address in self.topology.hosts for other in others)

    # --- what is asked of it ---------------------------------------------------------------------------------------------------

    def current(self, now: float) -> list[Service]:
        """Every VIP with the members that new connections may get at this moment."""
        if self._current_version != self.pools.version or now >= self._current_until:
            self._current = [self._as_of_now(name, vip, now) for name, vip in self.vips.items()]
            self._current_version, self._current_until = self.pools.version, self.next_deadline(now)
        return self._current

    def _as_of_now(self, name: str, vip: Vip, now: float) -> Service:
        version = self.pools.version_of(vip.pool)
        known = self._computed.get(name)
        if known is None or known[0] != version or now >= known[1]:
            slow_start_s = self.pools.settings[vip.pool].slow_start_s
            until = min((self._next_step(member, slow_start_s, now) for member in self.pools.of(vip.pool)), default=inf)
            known = self._computed[name] = version, until, self._service(name, vip, now)
        return known[2]

    def _next_step(self, member: MemberState, slow_start_s: float, now: float) -> float:
        """When its slow start takes its next step; steps of many members are taken together."""
        if member.slow_start_from is None:
            return inf
        ends = member.slow_start_ends(slow_start_s, member.slow_start_step(now, slow_start_s))
        return max(ends, ceil(ends / STEPS_TOGETHER_S) * STEPS_TOGETHER_S)

    def _service(self, name: str, vip: Vip, now: float) -> Service:
        settings = self.pools.settings[vip.pool]
        panic = self.pools.panicking(vip.pool)
        choices = []
        members = list(self.pools.of(vip.pool))
        with_room = [member for member in members if member.accepts_new and not member.is_full]
        for member in members:
            weight = member.effective_weight(now, settings.slow_start_s)
            if panic and member.ejection is not None and not member.ejection.confirmed and member.agent.admits:
                weight = member.policy.weight
            if member.is_full and with_room:
                weight = 0
            if weight and member.address in self.topology.hosts:
                choices.append(Choice(member.number, member.address, member.policy.port, weight))
        number = self._vip_numbers.number(self._vip_key(name))[0]
        address = addresses.number(vip.address)
        return Service(number, address, vip.port, tuple(choices), settings.redispatch, vip.affinity_timeout_s)

    def moved(self, now: float) -> Moved | None:
        """What of `current` and `cut` differs from when this was last asked; None: nothing."""
        if self._shown_version == self.pools.version and now < self._current_until:
            return None
        current, cut = self.current(now), self.cut(now)
        shown = {service.number: service for service in current}
        differ = [new for number, new in shown.items() if (old := self._shown.get(number)) is not new and old != new]
        moved = Moved(differ, cut != self._shown_cut)
        self._shown, self._shown_cut = shown, cut
        self._shown_version = self.pools.version
        return moved if moved.services or moved.cut else None

    def cut(self, now: float) -> list[int]:
        """Numbers of the members whose open connections are being ended."""
        return [member.number for member in self.pools.leaving() if self.pools.is_cut(member, now)]

    def service(self, number: int, now: float) -> Service | None:
        """The VIP with this number in `ct_mark`."""
        return next((service for service in self.current(now) if service.number == number), None)

    def service_at(self, address: int, port: int, now: float) -> Service | None:
        """The VIP with this address and port."""
        return next(
            (service for service in self.current(now) if (service.address, service.port) == (address, port)), None
        )

    def member(self, number: int) -> MemberState | None:
        """The member with this number in `ct_mark`."""
        return self._by_number.get(number)

    def vip_name(self, number: int) -> str | None:
        """The VIP's name behind its number."""
        name = self._vip_numbers.name(number)
        return None if name is None else name.partition("@")[0]

    def vip_at(self, number: int) -> tuple[int, int] | None:
        """(address, port) of the VIP behind a number."""
        name = self.vip_name(number)
        vip = self.vips.get(name) if name else None
        return (addresses.number(vip.address), vip.port) if vip else None

    def pinned_to(self, mark_value: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """(address, port) of the VIP and of the member that a mark names."""
        member = self.member(mark_value & MEMBER_MASK)
        place = (member.address, member.policy.port) if member else None
        return self.vip_at((mark_value & VIP_MASK) >> VIP_SHIFT), place

    def as_opened(self, seen: Connection, mark_value: int) -> Connection:
        """The connection a segment belongs to that the tracker knew but did not accept: translated, and without its original tuple."""
        vip = self.vip_at((mark_value & VIP_MASK) >> VIP_SHIFT)
        if vip is None:
            return seen
        if (seen.src, seen.src_port) == vip:
            return Connection(seen.dst, seen.dst_port, *vip)
        return seen._replace(dst=vip[0], dst_port=vip[1])

    def vip_number(self, name: str) -> int:
        """The number of a VIP of the policy."""
        return self._vip_numbers.number(self._vip_key(name))[0]

    def _follow_policy(self) -> None:
        """What only the policy changes, kept as one object each, so that nobody has to compare thousands of members."""
        self._sources = {}
        self._pairs, self._hairpins, self._probed = self._all_pairs(), self._all_hairpins(), self._all_probed()

    def pairs(self) -> list[Pinned]:
        """Every (VIP, member) whose resets are counted apart."""
        return self._pairs

    def hairpins(self) -> list[Hairpin]:
        """Every way a member can reach itself."""
        return self._hairpins

    def probed(self) -> list[Probed]:
        """Who is probed from where, each once."""
        return self._probed

    def _all_pairs(self) -> list[Pinned]:
        return [
            Pinned(self.vip_number(name), member.number, name, member.policy.name, addresses.number(vip.address))
            for name, vip in self.vips.items()
            for member in self.pools.of(vip.pool)
        ]

    def _all_hairpins(self) -> list[Hairpin]:
        return [
            Hairpin(member.address, member.policy.port, addresses.number(vip.address), self.vip_number(name))
            for name, vip in self.vips.items()
            for member in self.pools.of(vip.pool)
        ]

    @property
    def reserved(self) -> frozenset[int]:
        """Addresses that no host may have: every VIP's, the one own probes come from, and the one own questions come from."""
        taken = {addresses.number(vip.address) for vip in self.vips.values()} | {CONTROLLER_IPV6}
        return frozenset(taken if self._probe_address is None else taken | {self._probe_address})

    def probe_source(self, member: MemberState) -> int | None:
        """Where own probes of a member come from: the policy's address, else its pool's first VIP's, else any VIP's, of its family."""
        key = member.pool, is_ipv6(member.address)
        if key not in self._sources:
            self._sources[key] = self._find_source(*key)
        return self._sources[key]

    def _find_source(self, pool: str, ipv6: bool) -> int | None:
        vips = sorted(self.vips.values(), key=lambda vip: vip.pool != pool)
        known = [addresses.number(vip.address) for vip in vips]
        if self._probe_address is not None:
            known.insert(0, self._probe_address)
        return next((source for source in known if is_ipv6(source) == ipv6), None)

    def addresses(self) -> list[int]:
        """Addresses of all members, each once."""
        return list(dict.fromkeys(member.address for member in self.pools.members.values()))

    def _all_probed(self) -> list[Probed]:
        probed = []
        for member in self.pools.members.values():
            source, check = self.probe_source(member), self.pools.settings[member.pool].health_check
            if source is not None:
                probed.append(Probed(member.address, member.policy.port, source))
                if check is not None and check.agent_port is not None:
                    probed.append(Probed(member.address, check.agent_port, source))
        return list(dict.fromkeys(probed))

    def target(self, member: MemberState) -> Target | None:
        """Where to probe a member; None while that is not known, its switch is away, or there is no address to ask from."""
        host = self.topology.hosts.get(member.address)
        source = self.probe_source(member)
        if host is None or not self.topology.switches[host.dpid].connected or source is None:
            return None
        return Target(member.key, host, member.policy.port, source)

    def ways(self) -> Iterator[Way]:
        """Every way into a VIP, whoever is given new connections: open ones may be anybody's."""
        for name, vip in self.vips.items():
            address, number = addresses.number(vip.address), self.vip_number(name)
            for member in self.pools.of(vip.pool):
                yield Way(address, vip.port, member.address, member.policy.port, number, member.number)

    def preview(self, policy: Policy, now: float) -> Services:
        """What this would be with another policy; nothing here changes."""
        other = copy.copy(self)
        other.pools = copy.deepcopy(self.pools)
        other._records = copy.copy(self._records)
        other._records.pools = other.pools
        other._member_numbers, other._vip_numbers = (
            copy.deepcopy(self._member_numbers),
            copy.deepcopy(self._vip_numbers),
        )
        other.apply(policy, now)
        return other
