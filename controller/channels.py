"""How long a message and its answer take between the controller and each switch, measured with what is to be corrected by it.

A channel probe takes the very way of a link probe but the link: packet-out, the switch's pipeline, packet-in. An echo would leave out
what the pipeline and the way up to the switch's control plane cost, which on a software switch is most of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.decisions import SendPacket
from controller.flows import TO_TABLE, Output
from controller.probe_frames import Probe, ProbeKind, write_probe

ANSWER_S = 1.0
"""A probe that has not come back by then is lost."""
SHORTEST_INTERVAL_S = 0.25
PROBES_PER_S = 50
"""Over all switches: what bounds the cost."""
SAMPLES = 16
SAMPLE_AGE_S = 60.0
MAX_PENDING = 16


def midmean(values: Iterable[float]) -> float:
    """The mean of the middle half: close to the mean where it is steady, and deaf to the few that a busy machine delayed."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    return sum(middle) / len(middle)


@dataclass(slots=True)
class _Channel:
    seq: int = 0
    sent_at: float = float("-inf")
    lost_at: float = float("-inf")
    pending: dict[int, float] = field(default_factory=dict)
    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class Channels:
    """The round trip to each switch, and whether its channel loses what is punted."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._channels: dict[int, _Channel] = {}

    def send(self, dpid: int, port_no: int, now: float) -> list[SendPacket]:
        """A channel probe, when the last one is long enough ago. It enters as if by `port_no`, a port whose link probes are punted."""
        channel = self._channels.setdefault(dpid, _Channel())
        if now - channel.sent_at < max(SHORTEST_INTERVAL_S, len(self._channels) / PROBES_PER_S):
            return []
        channel.sent_at = now
        channel.seq += 1
        if len(channel.pending) < MAX_PENDING:
            channel.pending[channel.seq] = now
        frame = write_probe(self._key, Probe(ProbeKind.CHANNEL, dpid, port_no, channel.seq, now))
        return [SendPacket(dpid, frame, (Output(TO_TABLE),), port_no)]

    def on_probe(self, probe: Probe, now: float) -> None:
        """A channel probe came back."""
        channel = self._channels.get(probe.dpid)
        if channel is None:
            return
        sent = channel.pending.pop(probe.seq, None)
        if sent is not None:
            channel.samples.append((now, now - sent))

    def forget(self, dpid: int) -> None:
        """The switch is gone."""
        self._channels.pop(dpid, None)

    def lost_since(self, dpid: int, since: float, now: float) -> bool:
        """Whether a channel probe sent after `since` never came back: then a lost link probe says nothing about its link."""
        channel = self._channels.get(dpid)
        if channel is None:
            return True
        for seq, sent in list(channel.pending.items()):
            if now - sent > ANSWER_S:
                del channel.pending[seq]
                channel.lost_at = max(channel.lost_at, sent)
        return channel.lost_at >= since

    def answered_since(self, dpid: int, since: float) -> bool:
        """Whether a channel probe that was sent after `since` has come back."""
        channel = self._channels.get(dpid)
        return channel is not None and any(time - seconds > since for time, seconds in channel.samples)

    def round_trip_s(self, dpid: int, now: float) -> float | None:
        """The usual round trip of late; None when it was not measured."""
        channel = self._channels.get(dpid)
        recent = [seconds for time, seconds in channel.samples if now - time < SAMPLE_AGE_S] if channel else []
        return midmean(recent) if recent else None
