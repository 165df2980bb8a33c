"""Links that lose packets: an incident each, before anybody is reset for it.

Congestion seldom resets anybody. Segments are lost and sent again, clients wait, and only those who lose patience reset: a full link shows
in its own counters long before. A verdict (`congestion.py`) is looked into here for harm: a link that is merely busy does none, bursts
that overflow a queue for a moment do little, and lost probes without load are the control channel's.
"""

from __future__ import annotations

from controller.diagnosis.features import Feature
from controller.telemetry import BUSY_UTILISATION, LinkState, Telemetry

FEWEST_PER_S = 10.0
LOST_SHARE = 0.01
"""Of what is sent, so much must be lost; with both bounds a fast link may lose a few packets, and a slow one a few of few."""
PACKET_BYTES = 1500
"""Switches count dropped packets, not octets, and full queues drop mostly full-sized ones."""
ECHO = 4.0
"""A link that loses so many times less than one beside it only gets in bursts what the other let through."""


def lossy_links(telemetry: Telemetry, now: float) -> list[LinkState]:
    """The congested links and hosts' ports that lose packets by their own fault, in order."""
    losing = [state for near in telemetry.congested() if _loses(state := telemetry.link(near, now))]
    return [state for state in losing if not any(_echoes(state, other) for other in losing)]


def loss_features(state: LinkState) -> list[Feature]:
    """What speaks about such a link."""
    lost = (
        f"{state.drops_per_s:.0f} packets per second" if state.drops_per_s else f"{state.loss or 0.0:.0%} of own probes"
    )
    return [Feature("link", "congested", f"the link is full and loses {lost}")]


def _loses(state: LinkState) -> bool:
    if state.drops_per_s is None:
        return (state.loss or 0.0) >= LOST_SHARE and (state.utilisation or 0.0) >= BUSY_UTILISATION
    lost = state.drops_per_s * PACKET_BYTES
    sent = (state.throughput_bps or 0.0) / 8
    return state.drops_per_s >= FEWEST_PER_S and lost >= LOST_SHARE * (lost + sent)


def _echoes(state: LinkState, other: LinkState) -> bool:
    beside = {state.near[0], state.far and state.far[0]} & {other.near[0], other.far and other.far[0]} - {None}
    return bool(beside) and (other.drops_per_s or 0.0) >= ECHO * (state.drops_per_s or 0.0) > 0
