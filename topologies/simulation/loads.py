"""What the traffic does to links: routed by the groups that the core installed, counted by ports, felt by probes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from controller.flows import Bucket, GroupEntry, Output
from controller.routes import SHORTEST
from topologies.model.wiring import SwitchPort
from topologies.simulation.fabric import LINK_DELAY_S, FlowFabric

FULL_QUEUE_S = 5e-3
PACKET_BITS = 12_000
MOST_HOPS = 12


class Loads:
    """Octets per port. `background` is what other traffic sends by a port, in bit/s."""

    def __init__(self, fabric: FlowFabric) -> None:
        self.fabric = fabric
        self.background: dict[SwitchPort, float] = {}
        self.utilisation: dict[SwitchPort, float] = {}
        self.lost_octets = 0
        """Of traffic that found no way."""

    def carry(self, octets: Mapping[tuple[int, int], int], zones: Mapping[int, int], elapsed_s: float) -> None:
        """Sends so many octets from edge to edge in so long; `zones` are the switches' numbers in the groups."""
        by_target: dict[int, Counter[int]] = defaultdict(Counter)
        for (source, target), count in octets.items():
            if source != target:
                by_target[target][source] += count
        loads: Counter[SwitchPort] = Counter()
        for target, sources in by_target.items():
            self._towards(target, SHORTEST | zones[target], sources, loads)
        for port, bps in self.background.items():
            loads[port] += round(bps * elapsed_s / 8)
        self._count(loads, elapsed_s)

    def _towards(self, target: int, group_id: int, sources: Counter[int], loads: Counter[SwitchPort]) -> None:
        under_way = dict(sources)
        for _ in range(MOST_HOPS):
            onward: Counter[int] = Counter()
            for dpid, octets in under_way.items():
                group = self.fabric.switches[dpid].groups.get(group_id)
                shares = list(self._shares(dpid, group)) if group and dpid not in self.fabric.away else []
                if not shares:
                    self.lost_octets += octets
                for port, share in shares:
                    part = round(octets * share)
                    loads[port] += part
                    onward[self.fabric.far[port].dpid] += part
            onward.pop(target, None)
            under_way = onward

    def _shares(self, dpid: int, group: GroupEntry) -> Iterator[tuple[SwitchPort, float]]:
        """The ports a group sends to and the share of each, by what is alive at this moment."""
        alive = [bucket for bucket in group.buckets if self._alive(dpid, bucket)]
        if group.kind == "fast-failover":
            alive = alive[:1]
        total = sum(bucket.weight or 1 for bucket in alive)
        for bucket in alive:
            out = next(action.port for action in bucket.actions if isinstance(action, Output))
            port = SwitchPort(dpid, out)
            if port in self.fabric.far:
                yield port, (bucket.weight or 1) / total

    def _alive(self, dpid: int, bucket: Bucket) -> bool:
        return bucket.watch_port is None or self.fabric.switches[dpid].up.get(bucket.watch_port, False)

    def _count(self, loads: Mapping[SwitchPort, int], elapsed_s: float) -> None:
        """Port counters go on; a queue delays by what waits in it, and when more comes than leaves it loses the rest."""
        for port in self.utilisation.keys() - loads.keys():
            del self.utilisation[port]
            self.fabric.delay_s.pop(port, None)
            self.fabric.loss.pop(port, None)
        for port, octets in loads.items():
            speed, far = self.fabric.switches[port.dpid].speed_bps[port.port], self.fabric.far[port]
            offered = octets * 8 / elapsed_s / speed
            sent = round(octets / max(1.0, offered))
            self.fabric.switches[port.dpid].sent[port.port] += sent
            self.fabric.switches[far.dpid].received[far.port] += sent
            self.utilisation[port] = offered
            self.fabric.loss[port] = max(0.0, 1 - 1 / offered) if offered else 0.0
            waiting = FULL_QUEUE_S if offered >= 1 else min(FULL_QUEUE_S, PACKET_BITS / speed * offered / (1 - offered))
            self.fabric.delay_s[port] = LINK_DELAY_S + waiting
