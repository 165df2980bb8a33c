"""``/metrics``: the controller's state as Prometheus reads it, made when it is asked for."""

from collections.abc import Iterable, Iterator

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from controller.api.context import context
from controller.api.service import Measurement, Service
from controller.policy import AutomationMode

PREFIX = "resetlb_"
_HEALTHS = ("up", "degraded", "down", "unknown")

api = Blueprint("metrics", __name__)


@api.get("/metrics")
def get_metrics() -> Response:
    """Everything that is measured."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(context().service))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Collector:
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service = self._service
        yield InfoMetricFamily(f"{PREFIX}build", "Version of the controller.", {"version": service.version})
        yield from _families([*_state(service), *_members(service), *service.measurements()])


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
    for pool_name, pool in service.policy().pools.items():
        for member in pool.members:
            status = service.member_status(pool_name, member.name)
            labels = {"pool": pool_name, "member": member.name}
            for health in _HEALTHS:
                yield Measurement(
                    "member_health",
                    "1 for the health found.",
                    "gauge",
                    float(health == status.health),
                    {**labels, "health": health},
                )
            for name, text, value in (
                ("member_effective_weight", "Share of new connections; 0 while out.", status.effective_weight),
                ("member_ejected", "1 while ejected.", float(status.ejected_until is not None)),
                ("member_connections_active", "Connections pinned to the member.", status.connections_active),
                ("member_connections_per_second", "New connections.", status.connections_per_s),
                ("member_handshake_milliseconds", "SYN to SYN-ACK.", status.handshake_ms),
                ("member_load_ratio", "Load that the member's agent reported.", status.load),
            ):
                if value is not None:
                    yield Measurement(name, text, "gauge", value, labels)
            for kind, rate in status.resets_per_s.items():
                yield Measurement("member_resets_per_second", "Resets.", "gauge", rate, {**labels, "kind": kind})


def _families(measurements: Iterable[Measurement]) -> Iterator[Metric]:
    """Group samples by name; all samples of a name carry the same label names."""
    families: dict[str, Metric] = {}
    for sample in measurements:
        family = families.get(sample.name)
        if family is None:
            kind = GaugeMetricFamily if sample.kind == "gauge" else CounterMetricFamily
            family = families[sample.name] = kind(PREFIX + sample.name, sample.help, labels=list(sample.labels))
        family.add_metric([str(value) for value in sample.labels.values()], sample.value)  # type: ignore[attr-defined]
    yield from families.values()
