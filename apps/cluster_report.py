"""A cluster as operators see it."""

from __future__ import annotations

from collections.abc import Iterator

from controller.api.service import JsonObject, Measurement
from controller.cluster.mastership import Mastership


def cluster_document(state: Mastership, etcd: str, trouble: str | None, now: float) -> JsonObject:
    """As the API shows it (`documents.ClusterDocument`); `now` is of the steady clock (s)."""
    nodes = [
        {
            "name": node.name, "version": node.version, "api": node.api,
            "switches": sorted(f"{dpid:016x}" for dpid in node.reaches),
            "master_of": sorted(f"{dpid:016x}" for dpid, claim in state.claims.items() if claim.node == node.name),
        }
        for node in sorted(state.nodes.values(), key=lambda node: node.born)
    ]  # fmt: skip
    masters = {f"{dpid:016x}": claim._asdict() for dpid, claim in sorted(state.claims.items())}
    lease_s = round(max(0.0, state.lease.until - now), 3)
    return {"node": state.me, "etcd": etcd, "trouble": trouble, "lease_s": lease_s, "nodes": nodes, "masters": masters}


def cluster_measurements(state: Mastership, takeovers: int, now: float) -> Iterator[Measurement]:
    """For `/metrics`."""
    text = "Controllers of the cluster that have a lease."
    yield Measurement("cluster_nodes", text, "gauge", len(state.nodes))
    text = "Switches that this controller is master of."
    yield Measurement("cluster_switches_mastered", text, "gauge", len(state.mine()), additive=True)
    text = "Whether this controller has a lease of the cluster."
    yield Measurement("cluster_connected", text, "gauge", float(state.lease.holds(now)))
    text = "Times that this controller took over a fabric, its start included."
    yield Measurement("cluster_takeovers", text, "counter", takeovers)
