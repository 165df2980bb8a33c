"""Link telemetry as the API and Prometheus show it: per cent, bit/s and milliseconds, null for what nobody measured."""

from __future__ import annotations

from collections.abc import Iterator

from controller.api.service import JsonObject, Measurement
from controller.api.times import rfc3339
from controller.core import Core
from controller.hosts import place_name
from controller.telemetry import LinkState
from controller.topology import Endpoint


def link_document(state: LinkState, weight: int, silent: bool) -> JsonObject:
    """One direction of a link for `/v1/links`.

    `weight` is its part (1 to 100) of the share it would have, were it free; `silent`: nothing crosses it, so it is not used.
    """
    assert state.far is not None
    return {
        "src": _reference(state.near),
        "dst": _reference(state.far),
        "capacity_bps": state.capacity_bps,
        "throughput_bps": _rounded(state.throughput_bps, 0),
        "utilisation_pct": _percent(state.utilisation),
        "loss_pct": _percent(state.loss),
        "delay_ms": _rounded(state.delay_ms, 3),
        "queue_ms": _rounded(state.queue_ms, 3),
        "weight": weight,
        "silent": silent,
        "queue_drops": state.drops,
        "queue_drops_per_s": _rounded(state.drops_per_s, 2),
        "congested": state.congested,
        "congested_since": None if state.since is None else rfc3339(state.since),
        "congested_by": list(state.reasons),
    }


def link_measurements(core: Core, now: float) -> Iterator[Measurement]:
    """Every direction of every link, every host's port, and the control channels."""
    for near, far in core.topology.links_that_are_up():
        state = core.telemetry.link(near, now)
        yield from _samples("link", state, {"src": place_name(near), "dst": place_name(far)})
    for switch in core.topology.switches.values():
        for port_no in switch.ports:
            if not core.topology.is_fabric_port((switch.dpid, port_no)):
                state = core.telemetry.port((switch.dpid, port_no), now)
                yield from _samples("port", state, {"port": place_name(state.near)})
        channel_ms = core.telemetry.channel_ms(switch.dpid, now)
        if channel_ms is not None:
            labels = {"dpid": f"{switch.dpid:016x}"}
            text = "Round trip between controller and switch, pipeline included."
            yield Measurement("channel_round_trip_seconds", text, "gauge", channel_ms / 1000, labels)


def _samples(what: str, state: LinkState, labels: dict[str, str]) -> Iterator[Measurement]:
    for name, text, kind, value in (
        ("capacity_bytes_per_second", "Capacity by policy or port speed.", "gauge", _bytes(state.capacity_bps)),
        ("transmit_bytes_per_second", "Sent, of late.", "gauge", _bytes(state.throughput_bps)),
        ("receive_bytes_per_second", "Received, of late.", "gauge", _bytes(state.received_bps)),
        ("utilisation_ratio", "Share of the capacity used for sending.", "gauge", state.utilisation),
        ("loss_ratio", "Share of probes lost.", "gauge", state.loss),
        (
            "delay_seconds",
            "One-way delay by probes.",
            "gauge",
            None if state.delay_ms is None else state.delay_ms / 1000,
        ),
        ("congested", "1 while congested.", "gauge", float(state.congested)),
        ("transmit_bytes", "Sent.", "counter", state.sent_bytes),
        ("receive_bytes", "Received.", "counter", state.received_bytes),
        ("queue_drops", "Packets that found the queue full.", "counter", state.drops),
    ):
        if value is not None:
            yield Measurement(f"{what}_{name}", text, "gauge" if kind == "gauge" else "counter", value, labels)


def _bytes(bits: float | None) -> float | None:
    return None if bits is None else bits / 8


def _reference(endpoint: Endpoint) -> JsonObject:
    return {"dpid": f"{endpoint[0]:016x}", "port_no": endpoint[1]}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _percent(share: float | None) -> float | None:
    return _rounded(None if share is None else 100 * share, 3)
