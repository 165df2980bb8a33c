"""``/metrics``: the controller's state as Prometheus reads it, made when it is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint, Response, current_app
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from controller.api.context import context
from controller.api.exposition import MAX_SERIES, PREFIX, SeriesLimit
from controller.api.service import Distribution, Measurement, Service
from controller.policy import AutomationMode

AT_ONCE = 50
"""Members looked at in one go: some milliseconds."""
_HEALTHS = ("up", "degraded", "down", "unknown")
_LIMIT = "resetlb-series-limit"

api = Blueprint("metrics", __name__)


@api.get("/metrics")
def get_metrics() -> Response:
    """Everything that is measured."""
    limit = current_app.extensions.setdefault(_LIMIT, SeriesLimit())
    service = context().service
    samples = [*_state(service), *_members(service), *service.measurements()]
    written = service.aside(lambda: _written(service.version, samples, limit))
    return Response(written, content_type=CONTENT_TYPE_LATEST)


def _written(version: str, samples: list[Measurement | Distribution], limit: SeriesLimit) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector([_build(version), *limit.families(samples)]))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _build(version: str) -> Metric:
    return InfoMetricFamily(f"{PREFIX}build", "Version of the controller.", {"version": version})


@dataclass(frozen=True, slots=True, eq=False)
class _Collector:
    families: list[Metric]

    def collect(self) -> list[Metric]:
        return self.families


def _state(service: Service) -> Iterator[Measurement]:
    report, automation = service.health(), service.policy().automation
    yield Measurement("switches", "Connected switches.", "gauge", report.switches)
    yield Measurement("ready", "1 once a switch is connected and reconciled.", "gauge", float(service.ready()))
    for mode in AutomationMode:
        labels = {"mode": mode.value}
        yield Measurement(
            "automation_mode", "1 for the mode in force.", "gauge", float(mode is automation.mode), labels
        )
    yield Measurement(
        "automation_enforce_ratio", "Share of incidents acted on.", "gauge", automation.enforce_percent / 100
    )


def _members(service: Service) -> Iterator[Measurement]:
    policy = service.policy()
    named = [(name, member.name) for name, pool in policy.pools.items() for member in pool.members]
    yield Measurement("members", "Members that the policy names.", "gauge", len(named))
    # What would not be shown is not computed either: a huge policy must not make a scrape slow.
    for number, (pool, member) in enumerate(named[:MAX_SERIES], 1):
        if number % AT_ONCE == 0:
            service.pause()
            if service.policy() is not policy:
                return  # the next scrape has the members of the new one
        status = service.member_status(pool, member)
        labels = {"pool": pool, "member": member}
        for health in _HEALTHS:
            found = float(health == status.health)
            yield Measurement(
                "member_health", "1 for the health found.", "gauge", found, {**labels, "health": health}, True
            )
        for name, text, value, additive in (
            ("member_effective_weight", "Share of new connections; 0 while out.", status.effective_weight, True),
            ("member_ejected", "1 while ejected.", float(status.ejected_until is not None), True),
            ("member_connections_active", "Connections pinned to the member.", status.connections_active, True),
            ("member_connections_per_second", "New connections, of late.", status.connections_per_s, True),
            (
                "member_handshake_seconds",
                "SYN to SYN-ACK of sampled connections, else of own probes.",
                _seconds(status.handshake_ms),
                False,
            ),
            (
                "member_handshake_ratio",
                "Share of its SYNs that the member answered, of late.",
                status.handshake_ratio,
                False,
            ),
            ("member_load_ratio", "Load that the member's agent reported, 0 to 1.", status.load, False),
        ):
            if value is not None:
                yield Measurement(name, text, "gauge", value, labels, additive)
        for direction, octets in (("to", status.bytes_to), ("from", status.bytes_from)):
            if octets is not None:
                text = "Bytes of its connections to and from the member, by flow counters."
                yield Measurement("member_bytes", text, "counter", octets, {**labels, "direction": direction}, True)
        for kind, rate in status.resets_per_s.items():
            text = "Resets of its connections, of late, by flow counters."
            yield Measurement("member_resets_per_second", text, "gauge", rate, {**labels, "kind": kind}, True)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
