"""The core: `handle(event, now) -> decisions`. No framework, no socket, no clock.

One owner: nothing else changes what is in here, and `handle` never yields, so there is no race to reason about. `now` is seconds
on a clock that never steps back and is close to the wall clock (deadlines survive a restart).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from controller import addresses, balance, frames, related
from controller.activity import Activity
from controller.agents import Agents
from controller.anticipation import Anticipation
from controller.bulk import Bulk
from controller.counting import Counters, recent_of, total_of
from controller.decisions import (
    Announce,
    Decision,
    RemoveFlow,
    SendPacket,
)  # fmt: skip
from controller.diagnosis.archive import Archive
from controller.diagnosis.investigation import Investigation
from controller.diagnosis.model import Model
from controller.diagnosis.remedies import Remedies
from controller.diagnosis.ways import Ways
from controller.discovery import Discovery
from controller.elephants import Elephants
from controller.events import (
    BarrierReplied,
    Event,
    FlowCounted,
    LoadReported,
    MeterCounted,
    PacketSeen,
    PeerCounted,
    PolicyChanged,
    PortChanged,
    PortCounted,
    QueueCounted,
    RecordsChanged,
    ResetsSummed,
    Restored,
    SwitchConnected,
    SwitchDisconnected,
    SwitchRead,
    SwitchRefused,
    Tick,
)  # fmt: skip
from controller.floods import Floods
from controller.flows import TO_TABLE, Output, Purpose, purpose_of
from controller.full_tables import FullTables, is_table_full
from controller.full_trackers import FullTrackers
from controller.heartbeat import Heartbeat
from controller.locality import Shares
from controller.numbering import Numbering
from controller.paths import Paths
from controller.pickup import Pickup
from controller.pipeline import AGENT_PORT_FIRST, MEMBER_MASK, VIP_BITS, Table
from controller.plan import Plan
from controller.policy import AutomationMode, Policy, in_force, tracks
from controller.quarantine import Quarantine
from controller.reaction import Reaction
from controller.readings import Readings
from controller.reconcile import NOT_RECONCILED, Installed
from controller.recorded_times import not_ahead
from controller.refusals import Refusals
from controller.rejection import reject
from controller.resets import Resets
from controller.router import Router
from controller.segments import Segment, read_segment
from controller.services import Services
from controller.subnets import Subnets
from controller.tally import Named, Tally
from controller.telemetry import Telemetry
from controller.topology import SETTLE_S, Host, Topology
from controller.upkeep import Upkeep, installed_of
from controller.virtual_firewall import VirtualFirewall
from controller.zoning import Zoning

ATTENTIVE_S = 60.0
"""For so long after a switch connected, and while there is an incident, counters are asked for often."""
MAX_ZONE = 0x7FFF
DISCOVERY_GRACE_S = SETTLE_S + 0.2
"""A switch that already forwards for us is not touched for this long: first find out what is around it."""


class Core:
    """Everything ResetLB knows and decides."""

    def __init__(self, *, lldp_key: bytes, rng: random.Random, policy: Policy | None = None) -> None:
        self.topology = Topology()
        self.discovery = Discovery(self.topology, lldp_key)
        self.router = Router(self.discovery)
        self.telemetry = Telemetry(self.topology, lldp_key)
        self.zones = Numbering("zones", MAX_ZONE)
        self.services = Services(
            self.topology, Numbering("members", MEMBER_MASK), Numbering("vips", (1 << VIP_BITS) - 1)
        )
        self.resets = Resets()
        self.bulk = Bulk(self.resets.recent)
        """Filled by whoever receives resets, faster than events can be handled; its sums come as events."""
        self.readings = Readings()
        self.counters = self.readings.counters
        self.peers = Counters()
        """What other controllers of the cluster count at switches of theirs."""
        self.investigation = Investigation(self.services, Ways(self.topology, self.telemetry), Model())
        self.investigation.connection_rate = lambda *pair: recent_of((self.counters, self.peers), "handshake", *pair)
        self.investigation.connection_total = lambda *pair: total_of((self.counters, self.peers), "handshake", *pair)
        self.reaction = Reaction(self.investigation, self.resets, rng)
        self.agents = Agents(self.services, rng)
        self.pickup = Pickup(self.topology)
        self.activity = Activity(self.services, self.counters)
        self.anticipation = Anticipation(self.services, self.activity)
        self.quarantine = Quarantine()
        self.firewall = VirtualFirewall(self._answer)
        self.floods = Floods()
        self.full_trackers = FullTrackers()
        self.full_tables = FullTables(self.firewall.inspector.evict, self.quarantine.evict)
        self.paths = Paths(self.topology)
        self.elephants = Elephants(self.topology)
        self.shares = Shares(self.topology, self.services)
        self.remedies = Remedies(
            self.services, self.investigation, self.quarantine, self.paths, self.reaction.eject, self.reaction.readmit
        )
        self.archive = Archive(self.investigation)
        self.tally = Tally(self.resets, self.investigation)
        self.refusals = Refusals()
        self.policy = policy or Policy()
        """What the operator declares; `in_force` is without what belongs to functions that are off."""
        self.in_force = in_force(self.policy)
        self.zoning = Zoning.of(self.in_force)
        self.upkeep = Upkeep(self.topology)
        self.installed, self.wanted = self.upkeep.installed, self.upkeep.wanted
        self.heartbeat = Heartbeat()
        self._links_changed = False
        self._arriving: dict[int, tuple[float, Installed]] = {}
        self._after: list[Decision] = []
        """What must come when the switches are up to date: packets let in again, entries that expire by themselves."""
        self._attentive_until = 0.0
        self._handlers: dict[type, Callable[..., list[Decision]]] = {
            Restored: self._on_restored, RecordsChanged: self._on_records, PeerCounted: self._on_peer,
            PolicyChanged: self._on_policy, SwitchConnected: self._on_connected,
            SwitchDisconnected: self._on_disconnected, PortChanged: self._on_port, PacketSeen: self._on_packet,
            ResetsSummed: self._on_summed,
            BarrierReplied: self.reaction.on_barrier, FlowCounted: self._on_counted,
            PortCounted: self.telemetry.on_ports, QueueCounted: self.telemetry.on_queues,
            MeterCounted: self._on_metered,
            SwitchRead: self._on_read, SwitchRefused: self._on_refused, LoadReported: self._on_load, Tick: self._on_tick,
        }  # fmt: skip

        self._packet_handlers: dict[Purpose, Callable[[PacketSeen, float], list[Decision]]] = {
            Purpose.LLDP: self._on_lldp,
            Purpose.ARP: self._on_neighbour,
            Purpose.ND: self._on_neighbour,
            Purpose.LINK_PROBE: self.telemetry.on_probe,
            Purpose.LEARN: self._on_unknown_station,
            Purpose.REJECTED: self._on_rejected,
            Purpose.RELATED: self._on_error,
            Purpose.INSPECTED: self.firewall.on_inspected,
            Purpose.WAITING: self.firewall.on_inspected,
            Purpose.LOGGED: self.firewall.on_logged,
            Purpose.OBSERVED: self.firewall.on_observed,
            Purpose.SAMPLED: self._on_sampled,
            Purpose.LINK_SAMPLE: self.elephants.on_packet,
            Purpose.EXPIRED: self.router.on_expired,
            Purpose.NO_ROUTE: self.router.on_no_route,
            Purpose.UNKNOWN_HOST: self.router.on_unknown_host,
            Purpose.GATEWAY: self.router.on_addressed,
        }

    def handle(self, event: Event, now: float) -> list[Decision]:
        """What follows from a fact. The same events at the same times give the same decisions."""
        decisions = self._handlers[type(event)](event, now)
        if self.discovery.topology_changed or self.discovery.hosts.changed:
            self.upkeep.fabric_changed()
            self._links_changed |= self.discovery.topology_changed
            if self.discovery.hosts.changed:
                self.router.hosts_changed(now)
            self.discovery.topology_changed = self.discovery.hosts.changed = False
        for record in self.reaction.recorded:
            self.activity.on_reset(record)
        self.reaction.recorded.clear()
        if self._moved():
            self.upkeep.replan_at_once()
        return decisions + self._bring_up_to_date(now) + self._what_comes_after()

    def next_deadline(self, now: float) -> float:
        """When `Tick` is due at the latest."""
        due = [
            self.discovery.next_deadline(now),
            self.router.next_deadline(now),
            self.readings.next_deadline(),
            self.reaction.next_deadline(now),
            self.services.next_deadline(now),
            self.agents.next_deadline(now),
            self.activity.next_deadline(),
            self.anticipation.next_deadline(now),
            self.shares.next_deadline(now),
            self.telemetry.next_deadline(now),
            self.investigation.next_deadline(now),
            self.remedies.next_deadline(now),
            self.paths.next_deadline(now),
            self.firewall.next_deadline(now),
        ]
        due += [when for when in (self.quarantine.next_deadline(), self.refusals.next_deadline()) if when is not None]
        due += [when for when, _ in self._arriving.values()]
        if self.upkeep.pending:
            due.append(self.upkeep.due())
        if self.reaction.ejected:
            due.append(now)
        beat = self.heartbeat.next_deadline()
        if self.installed and beat is not None:
            due.append(beat)
        return max(now, min(due))

    # --- state that comes and goes ---------------------------------------------------------------------------------------------

    def _on_restored(self, event: Restored, now: float) -> list[Decision]:
        """What the last run knew: zones, numbers, hosts, links and ejections, before the first reconcile."""
        values = not_ahead(event.values, now)
        self.zones.restore(values.get("zones", {}))
        self.services.restore(values)
        self.agents.restore(values.get("agents", {}))
        self.quarantine.restore(*(values.get(name, {}) for name in ("quarantine", "offences", "serials")))
        self.firewall.rulebook.restore(values.get("rule-priorities", {}))
        ended = self.archive.restore(values, now, event.others_act)
        self.discovery.restore(values.get("hosts", {}), values.get("links", {}), values.get("zones", {}), now)
        return ended

    def _on_records(self, event: RecordsChanged, now: float) -> list[Decision]:
        """What another controller of the cluster recorded, for the fabric that we act on together."""
        values = event.values
        self.zones.adopt(values.get("zones", {}))
        renumbered = self.services.follow(values, now)
        self.quarantine.follow(values)
        self.archive.follow(values.get("incidents", {}))
        self.agents.follow(values.get("agents", {}))
        self.discovery.follow(values.get("hosts", {}), values.get("links", {}), values.get("zones", {}), now)
        return self._on_policy(PolicyChanged(self.policy), now) if renumbered else []

    def _on_peer(self, event: PeerCounted, now: float) -> list[Decision]:
        self.peers.take_totals(event.peer, event.totals, now)
        return []

    def _on_policy(self, event: PolicyChanged, now: float) -> list[Decision]:
        self.policy, self.in_force = event.policy, in_force(event.policy)
        return self._on_policy_in_force(self.in_force, now)

    def _on_policy_in_force(self, policy: Policy, now: float) -> list[Decision]:
        self.reaction.apply(policy)
        self.telemetry.apply(policy)
        self.remedies.apply(policy)
        forgotten = self._forget_affinities(self.services.affinities_ended_by(policy))
        recorded = self.services.apply(policy, now) + self.quarantine.apply(policy.quarantine)
        recorded += self.firewall.apply(policy.firewall, now)
        recorded += self.agents.apply()
        self.activity.keep_only({member.number for member in self.services.pools.members.values()})
        subnets = Subnets.of(policy.subnets)
        self.discovery.hosts.reserve(self.services.reserved, subnets)
        self.router.apply(subnets)
        self.investigation.apply(policy)
        named = Named.by(policy)
        self.counters.keep_only(named.knows)
        self.peers.keep_only(named.knows)
        self.tally.keep_only(named)
        self.upkeep.replan_at_once()
        self.zoning = Zoning.of(policy)
        beat = self.heartbeat.apply(policy, self.zoning, self._edges(), now)
        return [*recorded, *self._find_members(now), *forgotten, *beat]

    def _forget_affinities(self, vips: list[int]) -> list[Decision]:
        cookies = [balance.affinities(vip) for vip in vips]
        return [RemoveFlow(dpid, *cookie, Table.AFFINITY) for dpid in self._edges() for cookie in cookies]

    def _on_connected(self, event: SwitchConnected, now: float) -> list[Decision]:
        # It may come back before the end of its last connection is noticed: what was known of that one is void.
        self._forget_installed(event.dpid)
        zone, recorded = self.zones.number(f"{event.dpid:016x}")
        first = self.discovery.on_connected(event, zone, now)
        installed = installed_of(event)
        text = f"switch {event.dpid:016x} connected with {len(event.flows)} flow entries"
        decisions = [*recorded, *first, Announce("switch", text, {"dpid": f"{event.dpid:016x}", "state": "connected"})]
        forwards = any(purpose_of(cookie) and purpose_of(cookie) not in NOT_RECONCILED for cookie in installed.flows)
        if forwards and not event.settled:
            self._arriving[event.dpid] = now + DISCOVERY_GRACE_S, installed
            return decisions
        # First of all: a segment that came in before these entries, and after those that forward, would reach its receiver untranslated,
        # and be answered by a reset.
        picking_up = [] if forwards else self.pickup.begin(event.dpid, self.services.ways(), installed)
        return decisions + picking_up + self._take_over(event.dpid, installed, now)

    def _take_over(self, dpid: int, installed: Installed, now: float) -> list[Decision]:
        self.upkeep.take_over(dpid, installed)
        self._attentive_until = now + ATTENTIVE_S
        self._links_changed = True
        self._after += self.firewall.on_connected(dpid, installed)
        self._after += self.heartbeat.begin(dpid)
        self._after += self.firewall.open_gates([dpid])
        if installed.flows or now >= self.upkeep.due():
            return []
        # In a large fabric its turn is later, but what crosses its links now would be lost.
        return list(self.upkeep.reconcile(dpid, self.plan(now).beginning()))

    def _on_disconnected(self, event: SwitchDisconnected, now: float) -> list[Decision]:
        switch = self.topology.switches.get(event.dpid)
        if switch is None or not switch.connected:
            return []
        switch.connected = False
        self._forget_installed(event.dpid)
        self.refusals.on_disconnected(event.dpid)
        text = f"switch {event.dpid:016x} disconnected; it forwards on its own"
        return [Announce("switch", text, {"dpid": f"{event.dpid:016x}", "state": "disconnected"})]

    def _forget_installed(self, dpid: int) -> None:
        self.upkeep.forget(dpid)
        self._arriving.pop(dpid, None)

    def _on_port(self, event: PortChanged, now: float) -> list[Decision]:
        return self.discovery.on_port(event, now)

    def _on_refused(self, event: SwitchRefused, now: float) -> list[Decision]:
        """A switch did not take something: what it has is unknown until it is read again."""
        if event.dpid in self.installed:
            self.refusals.on_refused(event, now)
        if is_table_full(event):
            return self.full_tables.on_refused(event, now)
        text = f"switch {event.dpid:016x} refused a message: type {event.error_type}, code {event.code}"
        return [Announce("switch-error", text, {"dpid": f"{event.dpid:016x}", "message": event.message[:64].hex()})]

    def _on_read(self, event: SwitchRead, now: float) -> list[Decision]:
        self.upkeep.read(event)
        return []

    def _on_load(self, event: LoadReported, now: float) -> list[Decision]:
        return self.agents.on_load(event)

    # --- packets ---------------------------------------------------------------------------------------------------------------

    def _on_packet(self, event: PacketSeen, now: float) -> list[Decision]:
        switch = self.topology.switches.get(event.dpid)
        if switch is None:
            return []
        handler = self._packet_handlers.get(event.purpose)
        if handler is not None:
            return handler(event, now)
        segment = read_segment(event.frame)
        if segment is None or not _is_plain(segment):
            return []
        if event.purpose is Purpose.PROBE and segment.dst_port >= AGENT_PORT_FIRST:
            return self.agents.on_segment(segment, event.frame, now)
        if event.purpose is Purpose.PICKED_UP:
            return self.pickup.on_segment(event, segment, switch.zone, now)
        return self.reaction.on_segment(event, segment, switch.zone, now)

    def _on_summed(self, event: ResetsSummed, now: float) -> list[Decision]:
        self.investigation.add_sums(event.sums, now)
        for added in event.sums:
            self.activity.on_sum(added)
        return []

    def _on_sampled(self, event: PacketSeen, now: float) -> list[Decision]:
        segment = read_segment(event.frame)
        if segment is not None:
            self.activity.handshakes.on_packet(event, segment, now)
        return []

    def _on_lldp(self, event: PacketSeen, now: float) -> list[Decision]:
        return self.discovery.on_lldp(event.dpid, event.fields.get("in_port", 0), event.frame, now)

    def _on_neighbour(self, event: PacketSeen, now: float) -> list[Decision]:
        return self.discovery.hosts.on_neighbour(event.dpid, event.fields.get("in_port", 0), event.frame, now)

    def _on_error(self, event: PacketSeen, _: float) -> list[Decision]:
        vip, member = self.services.pinned_to(event.fields.get("ct_mark", 0))
        return related.translate(event.frame, vip, member, self.topology) if vip and member else []

    def _on_rejected(self, event: PacketSeen, now: float) -> list[Decision]:
        return self.firewall.on_rejected(event, self._rule_of(event), now)

    def _answer(self, event: PacketSeen, rule: str | None, now: float) -> list[Decision]:
        """The answer to a packet that a rule rejects; what it leads to is not held against a member."""
        answer, sender = reject(event, self.topology)
        if sender is not None and rule is not None:
            self.investigation.add_own_reject(rule, sender.ip, now)
        return answer

    def _on_unknown_station(self, event: PacketSeen, now: float) -> list[Decision]:
        """IP from a station not learnt yet: learn it, then let the packet in again, so its first connection waits for nothing."""
        frame = event.frame
        way = frames.read_addresses(frame)
        if way is None:
            return []
        in_port = event.fields.get("in_port", 0)
        host = Host(way[0], int.from_bytes(frame[6:12]), event.dpid, in_port)
        learnt = self.discovery.hosts.learn(host, now)
        if self.discovery.hosts.changed:
            self._after.append(SendPacket(event.dpid, frame, (Output(TO_TABLE),), in_port))
        return learnt

    def _rule_of(self, event: PacketSeen) -> str | None:
        """The rule whose entry sent the packet up; None when it was no rule."""
        wanted = self.wanted.get(event.dpid)
        entry = wanted.entry(event.cookie) if wanted else None
        entry = entry or self.firewall.verdict_entry(event.dpid, event.cookie)
        return entry.counts[1] if entry is not None and entry.counts and entry.counts[0] == "rule" else None

    # --- time ------------------------------------------------------------------------------------------------------------------

    def _on_tick(self, _: Tick, now: float) -> list[Decision]:
        # An ejection's reasons are gathered once it is on its way: on a large fabric that takes longer than to decide it.
        decisions: list[Decision] = [
            self.remedies.note_ejection(member, reason, now) for member, reason in self.reaction.ejected
        ]
        self.reaction.ejected.clear()
        decisions += self.discovery.on_tick(now) + self.reaction.on_tick(now) + self.services.on_tick(now)
        decisions += self.agents.on_tick(now)
        decisions += self.router.on_tick(now)
        decisions += self.investigation.run(now) + self.remedies.run(now) + self.quarantine.on_tick(now)
        acting = self.policy.automation.mode is AutomationMode.ENFORCE
        suspects = self.telemetry.may_be_pressed()
        self.activity.on_tick(now)
        decisions += self.anticipation.on_tick(now, acting)
        decisions += self.shares.on_tick(set(self.telemetry.congested()), now, acting)
        measured = partial(self.telemetry.link, now=now)
        decisions += self.paths.on_tick(suspects, measured, now, acting)
        decisions += self.elephants.on_tick(self.paths.pressed() if acting else set(), measured, now)
        decisions += self.archive.changes(now)
        self.tally.run(now)
        decisions += self.telemetry.on_tick(now) + self.refusals.on_tick(now)
        decisions += self.discovery.follow_silent(self.telemetry.prober.silent)
        for dpid, (due, installed) in list(self._arriving.items()):
            if now >= due:
                del self._arriving[dpid]
                decisions += self._take_over(dpid, installed, now)
        edges = self._edges()
        decisions += self.heartbeat.on_tick(edges, now)
        self.readings.closely = self.anticipation.watching
        decisions += self.readings.requests_closely(edges, now)
        attentive = bool(self.investigation.incidents.open) or now < self._attentive_until
        asked = self.readings.requests(edges, sorted(self.installed), self.firewall.rulebook, attentive, now)
        if asked:
            decisions += [*asked, *self._find_members(now), *self.firewall.follow_schedules(now)]
        return decisions + self.firewall.on_tick(edges, now)

    def _edges(self) -> list[int]:
        return [dpid for dpid in self.topology.edges() if dpid in self.installed]

    def _find_members(self, now: float) -> list[Decision]:
        """Members nobody has heard of are asked for."""
        return self.discovery.hosts.ask(
            [address for address in self.services.addresses() if address not in self.topology.hosts], now
        )

    # --- counters --------------------------------------------------------------------------------------------------------------

    def _on_counted(self, event: FlowCounted, now: float) -> list[Decision]:
        planned = self.wanted.get(event.dpid)
        if planned is None:
            return self.firewall.on_counted(event, now)
        self.readings.on_entries(event, planned, self.firewall.inspector, now)
        self.investigation.on_counted(now)
        self.activity.on_counted(now)
        if event.table_id == Table.TRACK:
            limit = self.policy.firewall.port_connections_per_s
            return self.floods.on_counted(self.counters, event.dpid, limit, now)
        if event.table_id == Table.OPENED:
            return self.full_trackers.on_counted(self.counters, event.dpid, now)
        return self.firewall.on_counted(event, now)

    def _on_metered(self, event: MeterCounted, _: float) -> list[Decision]:
        self.readings.on_meters(event)
        return []

    # --- switches --------------------------------------------------------------------------------------------------------------

    def plan(self, now: float, other: Policy | None = None) -> Plan:
        """The plan of this moment; with another policy, what would be planned with that."""
        policy = in_force(other) if other else self.in_force
        source = self.services.preview(policy, now) if other else self.services
        return Plan(
            topology=self.topology,
            paths=self.paths,
            services=source.current(now),
            pairs=source.pairs(),
            probed=source.probed(),
            hairpins=source.hairpins(),
            cut=source.cut(now),
            now=now,
            settle_s=SETTLE_S,
            quarantine=self.quarantine,
            rulebook=self.firewall.preview(policy.firewall, now) if other else self.firewall.rulebook,
            shares=replace(self.shares, services=source),
            sampled=self.elephants.watched,
            pins=tuple(self.elephants.pins.values()),
            subnets=Subnets.of(policy.subnets),
            zoning=Zoning.of(policy) if other else self.zoning,
            tracked=tracks(policy),
            known=self.upkeep.parts.copy() if other else self.upkeep.parts,
        )

    def _moved(self) -> bool:
        """Whether something that switches' plans follow from has changed since this was last asked."""
        movers = (self.quarantine, self.paths, self.firewall, self.elephants, self.shares)
        moved = any(mover.changed for mover in movers)
        for mover in movers:
            mover.changed = False
        return moved

    def _bring_up_to_date(self, now: float) -> list[Decision]:
        """Reconcile the switches that something changed for."""
        replanned = self.upkeep.turn(now)
        if replanned:
            self._follow_fabric(now)
        moved = self.services.moved(now)
        if not replanned and moved is None:
            return []
        plan = self.plan(now)
        decisions: list[Decision] = [*self.upkeep.replan(plan, replanned)]
        if moved is not None:
            others = self.wanted.keys() - set(replanned)
            decisions += self.upkeep.move(plan, moved, sorted(others.intersection(self._edges())))
        return decisions

    def _follow_fabric(self, now: float) -> None:
        """Members are elsewhere, or somewhere at last; links are measured and members looked for where the fabric has become another."""
        self.services.pools.touch()
        if self._links_changed:
            self._links_changed = False
            self.telemetry.topology_changed()
            self._after += self._find_members(now)

    def _what_comes_after(self) -> list[Decision]:
        """What relies on the switches being up to date, when they are."""
        barriers = self.reaction.barriers()
        if self.upkeep.pending:
            return barriers
        after = self._after + self.discovery.hosts.answers + barriers
        self._after, self.discovery.hosts.answers = [], []
        return after


def _is_plain(segment: Segment) -> bool:
    """Whether neither address is an IPv4 one in disguise: what is known of that host would be held against it."""
    is_ipv4 = segment.ip_id is not None
    return is_ipv4 or (addresses.read(segment.src) is not None and addresses.read(segment.dst) is not None)
