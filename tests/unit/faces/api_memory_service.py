"""A controller in memory, for tests of the API: it keeps what it is told and shows what it is given."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Literal, TypeVar

from controller.api.service import (
    ConflictError,
    HealthReport,
    JsonObject,
    LoadState,
    Measurement,
    MemberStatus,
    Page,
    QuarantineEntry,
    ResetSelection,
    StreamEvent,
)
from controller.api.stream import EventRing
from controller.policy import Firewall, Policy, PolicyError, Problem

T = TypeVar("T")


class MemoryService:
    """A ``Service`` without switches; public attributes are for tests to set and read."""

    version = "0.1.0-test"

    def __init__(self, policy: Policy | None = None) -> None:
        self.current = policy or Policy()
        self.applied: list[Policy] = []
        self.refuse: Exception | None = None
        self.report = HealthReport(switches=1)
        self.statuses: dict[tuple[str, str], MemberStatus] = {}
        self.loads: list[tuple[str, str, float, LoadState]] = []
        self.selections: list[ResetSelection] = []
        self.incident_list: list[JsonObject] = []
        self.entries: dict[str, JsonObject] = {}
        self.fabric_links: list[JsonObject] = []
        self.fabric_switches: list[JsonObject] = [{"dpid": "0000000000000011"}]
        self.reset_list: list[JsonObject] = []
        self.reset_spans: dict[int, dict[str, int]] = {}
        self.cluster_document: JsonObject | None = None
        self.hits: dict[str, int] = {}
        self.samples: list[Measurement] = []
        self.ring = EventRing("run")
        self.pauses = 0

    def policy(self) -> Policy:
        return self.current

    def apply_policy(self, policy: Policy) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.applied.append(policy)
        self.current = policy

    def plan_policy(self, policy: Policy) -> Sequence[JsonObject]:
        if any(len(pool.members) > 100 for pool in policy.pools.values()):
            raise PolicyError([Problem(("pools",), "too many members")])
        return [{"operation": "add", "table_id": 4}] if policy != self.current else []

    def health(self) -> HealthReport:
        return self.report

    def cluster(self) -> JsonObject | None:
        return self.cluster_document

    def ready(self) -> bool:
        return self.report.switches > 0

    def switches(self) -> Sequence[JsonObject]:
        return self.fabric_switches

    def links(self) -> Sequence[JsonObject]:
        return self.fabric_links

    def hosts(self) -> Sequence[JsonObject]:
        return [{"mac": "02:00:00:00:00:01"}]

    def member_status(self, pool: str, member: str) -> MemberStatus:
        return self.statuses.get((pool, member), MemberStatus())

    def report_load(self, pool: str, member: str, load: float, state: LoadState) -> None:
        self.loads.append((pool, member, load, state))

    def resets(self, selection: ResetSelection, limit: int, cursor: str | None) -> Page:
        self.selections.append(selection)
        start = int(cursor or 0)
        rest = len(self.reset_list) > start + limit
        return Page(self.reset_list[start : start + limit], str(start + limit) if rest else None)

    def reset_counts(self, since: float, bin_s: int) -> Mapping[int, Mapping[str, int]]:
        return {span: counts for span, counts in self.reset_spans.items() if span >= since}

    def explain(self, src: str, dst: str, src_port: int | None, dst_port: int) -> JsonObject:
        return {"src": src, "dst": dst, "src_port": src_port, "dst_port": dst_port}

    def incidents(self, state: Literal["open", "closed"] | None) -> Sequence[JsonObject]:
        wanted = {None: (True, False), "open": (True,), "closed": (False,)}[state]
        return [incident for incident in self.incident_list if (incident["closed"] is None) in wanted]

    def incident(self, incident_id: str) -> JsonObject | None:
        return next((found for found in self.incident_list if found["id"] == incident_id), None)

    def label_incident(self, incident_id: str, cause: str) -> JsonObject:
        incident = self.incident(incident_id)
        assert incident is not None
        return incident | {"label": cause}

    def revert_incident(self, incident_id: str) -> JsonObject:
        incident = self.incident(incident_id)
        assert incident is not None
        if not incident["actions"]:
            raise ConflictError(f"incident {incident_id} has no actions to undo")
        return incident | {"actions": []}

    def quarantine(self) -> Sequence[JsonObject]:
        return list(self.entries.values())

    def add_quarantine(self, entry: QuarantineEntry) -> JsonObject:
        if any(known["client"] == entry.client for known in self.entries.values()):
            raise ConflictError(f"client: {entry.client} is in quarantine already")
        document = {"id": f"q{len(self.entries) + 1}", **asdict(entry)}
        self.entries[document["id"]] = document
        return document

    def remove_quarantine(self, entry_id: str) -> bool:
        return self.entries.pop(entry_id, None) is not None

    def rule_hits(self) -> Mapping[str, tuple[int, int]]:
        return {name: (hits, 60 * hits) for name, hits in self.hits.items()}

    def would_have_refused(self, firewall: Firewall | None) -> Sequence[JsonObject]:
        seen = {"src": "10.0.0.1", "dst": "10.0.0.2", "protocol": "tcp", "dst_port": 80, "connections": 3}
        times = {"first": "2026-01-01T00:00:00.000Z", "last": "2026-01-01T00:01:00.000Z"}
        rules = (firewall or self.policy().firewall).rules
        return [
            {"rule": rule.id, "action": rule.action.value, **seen, **times} for rule in rules if rule.action == "drop"
        ]

    def firewall_log(self, limit: int, cursor: str | None) -> Page:
        packet = {"src": "10.0.0.1", "src_port": 40000, "dst": "10.0.0.2", "dst_port": 80, "protocol": "tcp"}
        line = {
            "serial": 1,
            "time": "2026-01-01T00:00:00.000Z",
            "rule": "r",
            "action": "drop",
            "dry_run": False,
            **packet,
        }
        return Page([{**line, "place": "0000000000000001:1", "suppressed": 0}][: limit - int(cursor or 0)])

    def events(self, last_event_id: str | None) -> Iterator[StreamEvent | None]:
        return self.ring.follow(last_event_id, lambda _seconds: None)

    def pause(self) -> None:
        self.pauses += 1

    def aside(self, work: Callable[[], T]) -> T:
        return work()

    def measurements(self) -> Iterable[Measurement]:
        return self.samples
