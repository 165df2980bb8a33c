"""The running controller as the API sees it: questions are answered from the core, changes go in as events."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeVar

from eventlet import tpool

from apps import firewall_documents
from apps.explain import explain
from apps.link_documents import link_document
from apps.measurements import measurements
from apps.member_status import member_status
from apps.openflow import Datapath, hub
from apps.reset_timeline import ResetTimeline
from apps.runtime import Runtime
from controller import addresses
from controller.api.service import (
    Cause,
    ConflictError,
    Distribution,
    HealthReport,
    JsonObject,
    LoadState,
    Measurement,
    MemberStatus,
    Page,
    QuarantineEntry,
    ResetSelection,
    StreamEvent,
)  # fmt: skip
from controller.api.times import rfc3339
from controller.causes import Cause as LikelyCause
from controller.core import Core
from controller.counting import OCTETS
from controller.decisions import Announce, InstallFlow, RemoveFlow, RemoveGroup, SetGroup
from controller.diagnosis.attribution import Attribution
from controller.diagnosis.incidents import Incident
from controller.diagnosis.report import document
from controller.events import LoadReported, PolicyChanged
from controller.hosts import place_name
from controller.policy import Firewall, Policy, diff
from controller.quarantine import Quarantined, QuarantineError
from controller.reconcile import Installed, reconcile
from controller.resets import ResetRecord
from controller.store import StoreError

T = TypeVar("T")
SAID = 5
"""Changes of a policy that one line says."""
_FLAG_NAMES = ((0x02, "S"), (0x10, "A"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x20, "U"))


def _mac(mac: int) -> str:
    return mac.to_bytes(6, "big").hex(":")


class RunningController:
    """Implements `controller.api.service.Service`."""

    def __init__(self, runtime: Runtime, version: str) -> None:
        self.runtime = runtime
        self.version = version
        self._timeline = ResetTimeline(lambda: runtime.core)

    @property
    def core(self) -> Core:
        """The one at work: in a cluster it may be another one later."""
        return self.runtime.core

    # --- policy ----------------------------------------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """The policy in force."""
        return self.core.policy

    def apply_policy(self, policy: Policy) -> None:
        """Take a policy in."""
        changes = [str(change) for change in diff(self.core.policy, policy)]
        self.runtime.submit(PolicyChanged(policy))
        if changes:
            more = f" and {len(changes) - SAID} more" if len(changes) > SAID else ""
            text = f"policy changed: {'; '.join(changes[:SAID])}{more}"
            self.runtime.announce(Announce("policy", text, {"changes": changes[:100], "count": len(changes)}))

    def plan_policy(self, policy: Policy) -> Sequence[JsonObject]:
        """The flow rules and groups a policy would change, by switch."""
        now = self.runtime.now()
        plan = self.core.plan(now, policy)
        changes: list[JsonObject] = []
        for dpid, installed in self.core.installed.items():
            copy = Installed(dict(installed.flows), dict(installed.groups), dict(installed.meters))
            planned = self.core.wanted.get(dpid)
            before = planned.flows if planned else {}
            for decision in reconcile(dpid, copy, plan.for_switch(dpid)):
                changes.append({"dpid": f"{dpid:016x}", **_change(decision, before)})
        return changes

    # --- fabric ----------------------------------------------------------------------------------------------------------------

    def health(self) -> HealthReport:
        """How many switches are connected, and what is wrong."""
        connected = sum(1 for switch in self.core.topology.switches.values() if switch.connected)
        unsaved = f"state cannot be saved: {self.runtime.unsaved}" if self.runtime.unsaved else None
        if self.runtime.cluster is not None:
            return HealthReport(connected, self.runtime.cluster.trouble or unsaved)
        return HealthReport(connected, unsaved if connected else "no switch is connected")

    def ready(self) -> bool:
        """Whether a switch is connected and reconciled; in a cluster also whether it waits as another one's slave."""
        return bool(self.core.wanted) or (self.runtime.cluster is not None and self.runtime.cluster.stands_by)

    def switches(self) -> Sequence[JsonObject]:
        """Every switch known; `reconciled` once it has what it shall have."""
        return [
            {
                "dpid": f"{switch.dpid:016x}",
                "connected": switch.connected,
                "reconciled": switch.dpid in self.core.wanted,
                "zone": switch.zone,
                "flows": len(self.core.wanted[switch.dpid].flows) if switch.dpid in self.core.wanted else 0,
                "refused": self.core.refusals.counts.get(switch.dpid, 0),
                "table_full": self.core.full_tables.is_full(switch.dpid, self.runtime.now()),
                "tracker_full": switch.dpid in self.core.full_trackers.since,
                "about": self._about(switch.dpid),
                "master": self.runtime.cluster.master(switch.dpid) if self.runtime.cluster else None,
                "ports": [
                    {
                        "port_no": port.port_no,
                        "name": port.name,
                        "up": port.up,
                        "syn_flood": place_name((switch.dpid, port.port_no)) in self.core.floods.since,
                    }
                    for port in switch.ports.values()
                ],
            }
            for switch in self.core.topology.switches.values()
        ]

    def _about(self, dpid: int) -> JsonObject | None:
        datapath = self.runtime.datapaths.get(dpid)
        return asdict(datapath.handshake.about) if datapath is not None else None

    def links(self) -> Sequence[JsonObject]:
        """Every direction of every link that is up. What nobody measured is null, never 0."""
        now, topology = self.runtime.now(), self.core.topology
        states = [self.core.telemetry.link(near, now) for near, _ in topology.links_that_are_up()]
        return [
            link_document(state, self.core.paths.weight(state.near), state.near in topology.silent) for state in states
        ]

    def hosts(self) -> Sequence[JsonObject]:
        """Every station learnt."""
        return [
            {
                "address": addresses.text(host.ip),
                "mac": _mac(host.mac),
                "dpid": f"{host.dpid:016x}",
                "port_no": host.port_no,
            }
            for host in self.core.topology.hosts.values()
        ]

    def explain(self, src: str, dst: str, src_port: int | None, dst_port: int) -> JsonObject:
        """Where a TCP connection would go and why."""
        return explain(self.core, self.runtime.now(), src, dst, src_port, dst_port)

    # --- members and resets ----------------------------------------------------------------------------------------------------

    def member_status(self, pool: str, member: str) -> MemberStatus:
        """What is observed of a member."""
        return member_status(self.core, pool, member, self.runtime.now())

    def report_load(self, pool: str, member: str, load: float, state: LoadState) -> None:
        """Take in an agent's report."""
        self._require_cluster()
        self.runtime.submit(LoadReported(pool, member, load, state), asked=True)

    def resets(self, selection: ResetSelection, limit: int, cursor: str | None) -> Page:
        """Sampled resets, newest first; the cursor is a record's serial number."""
        if cursor is not None and not cursor.isdecimal():
            raise ValueError("not a cursor of this list")
        before = None if cursor is None else int(cursor)
        items: list[JsonObject] = []
        attribution = Attribution(self.core.investigation, since=0.0)
        for record in self.core.resets.newest():
            if before is not None and record.serial >= before:
                continue
            document = self._reset(record, attribution)
            if not _selected(document, record, selection):
                continue
            if len(items) == limit:
                return Page(items, str(items[-1]["serial"]))
            items.append(document)
        return Page(items)

    def _reset(self, record: ResetRecord, attribution: Attribution) -> JsonObject:
        segment, incident = record.segment, attribution.incident_of(record)
        member = self.core.services.member(record.member)
        return {
            "serial": record.serial, "time": rfc3339(record.time), "dpid": f"{record.dpid:016x}",
            "vip": self.core.services.vip_name(record.vip), "member": f"{member.pool}/{member.policy.name}" if member else None,
            "client": addresses.text(record.connection.src), "client_port": record.connection.src_port,
            "destination": addresses.text(record.connection.dst), "destination_port": record.connection.dst_port,
            "sender": record.sender.value, "entry_port": place_name(record.entry) if record.entry else None,
            "stage": record.stage.value, "kind": record.kind.value, "ttl": segment.ttl, "flags": _flags(segment.flags),
            "seq": segment.seq, "ack": segment.ack, "window": segment.window, "repeated": record.repeated,
            "cause": incident.cause.value if incident else None, "incident": incident.id if incident else None,
        }  # fmt: skip

    def reset_counts(self, since: float, bin_s: int) -> Mapping[int, Mapping[str, int]]:
        """Resets by span and cause."""
        return self._timeline.counts(since, bin_s, self.runtime.now())

    # --- incidents and quarantine ----------------------------------------------------------------------------------------------

    def incidents(self, state: Literal["open", "closed"] | None) -> Sequence[JsonObject]:
        """Incidents, newest first; those of earlier runs last."""
        present = [document(incident) for incident in self.core.investigation.incidents.all.values()]
        all_of_them = [*reversed(present), *reversed(self.core.archive.earlier.values())]
        if state is None:
            return all_of_them
        return [incident for incident in all_of_them if (incident["closed"] is None) == (state == "open")]

    def incident(self, incident_id: str) -> JsonObject | None:
        """One incident."""
        present = self.core.investigation.incidents.all.get(incident_id)
        return document(present) if present else self.core.archive.earlier.get(incident_id)

    def label_incident(self, incident_id: str, cause: Cause) -> JsonObject:
        """Note an operator's cause; the model learns from it."""
        incident = self._present(incident_id)
        self._require_cluster()
        self.runtime.carry_out(self.core.archive.label(incident, LikelyCause(cause)))
        return document(incident)

    def revert_incident(self, incident_id: str) -> JsonObject:
        """Undo what was done about an incident."""
        incident = self._present(incident_id)
        self._require_cluster()
        undone = self.core.remedies.revert(incident, self.runtime.now())
        if undone is None:
            raise ConflictError(f"nothing was done about {incident_id} that is still in force")
        self.runtime.carry_out(undone)
        return document(incident)

    def _present(self, incident_id: str) -> Incident:
        incident = self.core.investigation.incidents.all.get(incident_id)
        if incident is None:
            raise ConflictError(
                f"{incident_id} is of an earlier run of the controller, or of another one of the cluster"
            )
        return incident

    def _require_cluster(self) -> None:
        """What an operator wants must reach whoever acts on it. Raises StoreError: it would not now."""
        cluster = self.runtime.cluster
        if cluster is not None and cluster.cut_off:
            raise StoreError(f"nothing was changed: {cluster.cut_off}")

    # --- other controllers -----------------------------------------------------------------------------------------------------

    def cluster(self) -> JsonObject | None:
        """The controllers of this fabric (`documents.ClusterDocument`); None: there is only this one."""
        return None if self.runtime.cluster is None else self.runtime.cluster.document()

    def quarantine(self) -> Sequence[JsonObject]:
        """Quarantine entries."""
        return [_quarantined(entry) for entry in self.core.quarantine.entries.values()]

    def add_quarantine(self, entry: QuarantineEntry) -> JsonObject:
        """Quarantine a client."""
        self._require_cluster()
        vip = self.core.policy.vips.get(entry.vip) if entry.vip else None
        address = addresses.number(vip.address) if vip else None
        try:
            made, decisions = self.core.quarantine.add(
                entry.client, entry.action, self.runtime.now(), vip=entry.vip, vip_address=address, ttl_s=entry.ttl_s,
                reason=entry.reason, incident=entry.incident, dst=entry.dst, protocol=entry.protocol,
                dst_port=entry.dst_port, place=entry.place,
            )  # fmt: skip
        except QuarantineError as error:
            raise ConflictError(str(error)) from None
        self.runtime.carry_out(decisions)
        return _quarantined(made)

    def remove_quarantine(self, entry_id: str) -> bool:
        """End a quarantine."""
        self._require_cluster()
        decisions = self.core.quarantine.remove(entry_id)
        self.runtime.carry_out(decisions or [])
        return decisions is not None

    def rule_hits(self) -> Mapping[str, tuple[int, int]]:
        """Packets and bytes matched by each firewall rule."""
        total = self.core.counters.total
        ids = [rule.id for rule in self.core.policy.firewall.rules]
        return {name: (total("rule", name) or 0, total(OCTETS, "rule", name) or 0) for name in ids}

    def firewall_log(self, limit: int, cursor: str | None) -> Page:
        """Logged verdicts, newest first; the cursor is a serial number."""
        if cursor is not None and not cursor.isdecimal():
            raise ValueError("not a cursor of this list")
        newest = self.core.firewall.log.newest(None if cursor is None else int(cursor))
        found = [firewall_documents.logged(one) for one in itertools.islice(newest, limit + 1)]
        return Page(found[:limit], str(found[limit - 1]["serial"]) if len(found) > limit else None)

    def would_have_refused(self, firewall: Firewall | None) -> Sequence[JsonObject]:
        """What passed in the last hour and would not have."""
        found = self.core.firewall.would_have_refused(self.runtime.now(), firewall)
        return [firewall_documents.would_refuse(one) for one in found]

    # --- events and metrics ----------------------------------------------------------------------------------------------------

    def events(self, last_event_id: str | None) -> Iterator[StreamEvent | None]:
        """The event stream."""
        return self.runtime.ring.follow(last_event_id, self.runtime.wait_for_announcement)

    def pause(self) -> None:
        """Let other greenlets run."""
        hub.sleep(0)

    def aside(self, work: Callable[[], T]) -> T:
        """Work in a thread: the hub goes on meanwhile."""
        done: T = tpool.execute(work)
        return done

    def measurements(self) -> Iterable[Measurement | Distribution]:
        """Exact counts, by VIP and member, and what is known of links."""
        yield from measurements(self.core, self.runtime.now())
        yield from self.runtime.instruments.measurements()
        yield from Datapath.gate.measurements()
        if self.runtime.cluster is not None:
            yield from self.runtime.cluster.measurements()
        for courier in self.runtime.couriers:
            yield from courier.measurements()


def _quarantined(entry: Quarantined) -> JsonObject:
    return {
        "id": entry.id, "client": entry.client, "vip": entry.vip, "dst": entry.dst, "protocol": entry.protocol,
        "dst_port": entry.dst_port, "place": entry.place, "automatic": entry.automatic, "action": entry.action, "ttl_s": entry.ttl_s,
        "since": rfc3339(entry.since), "until": rfc3339(entry.until), "reason": entry.reason, "incident": entry.incident,
    }  # fmt: skip


def _change(decision: object, before: Mapping[int, Any]) -> JsonObject:
    match decision:
        case InstallFlow(entry=entry):
            return {"change": "add", "table": entry.table_id, "priority": entry.priority, "match": _fields(entry)}
        case RemoveFlow(cookie=cookie, table_id=table_id):
            entry = before.get(cookie)
            return {
                "change": "remove",
                "table": table_id,
                "cookie": f"{cookie:016x}",
                "match": _fields(entry) if entry else None,
            }
        case SetGroup(entry=group):
            return {
                "change": "group",
                "group": f"{group.group_id:#x}",
                "weights": [bucket.weight for bucket in group.buckets],
            }
        case RemoveGroup(group_id=group_id):
            return {"change": "remove-group", "group": f"{group_id:#x}"}
    return {"change": type(decision).__name__}


def _fields(entry: Any) -> dict[str, str]:
    return {
        name: f"{value[0]:#x}/{value[1]:#x}" if isinstance(value, tuple) else f"{value:#x}"
        for name, value in entry.match.fields
    }


def _flags(flags: int) -> str:
    return "".join(name for bit, name in _FLAG_NAMES if flags & bit)


def _selected(document: JsonObject, record: ResetRecord, selection: ResetSelection) -> bool:
    return (
        (selection.since is None or record.time >= selection.since)
        and (selection.vip is None or document["vip"] == selection.vip)
        and (
            selection.member is None
            or selection.member in (document["member"], (document["member"] or "").partition("/")[2])
        )
        and (selection.client is None or document["client"] == selection.client)
        and (selection.cause is None or document["cause"] == selection.cause)
    )
