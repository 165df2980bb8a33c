"""Every topology comes up as its file says, by our own hands and by Mininet's command line, and carries traffic."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from topologies.fabric import Fabric
from topologies.fat_tree import FatTreeTopo
from topologies.leaf_spine import LeafSpineTopo
from topologies.ring import RingTopo
from topologies.routed import RoutedTopo
from topologies.single import SingleTopo
from topologies.tree import TreeTopo
from topologies.wiring import FabricTopo

pytestmark = pytest.mark.one_framework

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
SHAPES = [
    (SingleTopo(hosts=3), 1, 3, 3),
    (RingTopo(switches=4, hosts=1), 4, 4, 8),
    (LeafSpineTopo(spines=2, leaves=3, hosts=2), 5, 6, 12),
    (TreeTopo(depth=3, fanout=2, hosts=1), 7, 4, 10),
    (FatTreeTopo(k=4), 20, 16, 48),
    (RoutedTopo(), 4, 8, 12),
]


@pytest.mark.parametrize(("topo", "switches", "hosts", "links"), SHAPES, ids=lambda value: type(value).__name__)
def test_a_topology_has_its_nodes_and_links(topo: FabricTopo, switches: int, hosts: int, links: int) -> None:
    assert (len(topo.switches()), len(topo.hosts()), len(topo.links())) == (switches, hosts, links)
    dpids = {topo.nodeInfo(switch)["dpid"] for switch in topo.switches()}
    addresses = {topo.nodeInfo(host)["ip"] for host in topo.hosts()}
    assert len(dpids) == switches
    assert len(addresses) == hosts
    assert all(len(dpid) == 16 and int(dpid, 16) for dpid in dpids)


@pytest.mark.parametrize("topo", [RingTopo(switches=3), LeafSpineTopo(), TreeTopo(depth=3), FatTreeTopo()])
def test_every_switch_reaches_every_other(topo: FabricTopo) -> None:
    neighbours: dict[str, set[str]] = {switch: set() for switch in topo.switches()}
    for a, b in topo.links():
        if topo.isSwitch(a) and topo.isSwitch(b):
            neighbours[a].add(b)
            neighbours[b].add(a)
    reached, frontier = set(), [topo.switches()[0]]
    while frontier:
        switch = frontier.pop()
        reached.add(switch)
        frontier += neighbours[switch] - reached
    assert reached == set(topo.switches())


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: RingTopo(switches=2), "a ring of 2 switches"),
        (lambda: TreeTopo(depth=1), "a tree of depth 1"),
        (lambda: FatTreeTopo(k=3), "k must be even"),
        (lambda: SingleTopo(hosts=255), "not in 1–254"),
    ],
)
def test_an_impossible_shape_is_refused(build: type[FabricTopo], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build()


def test_hosts_of_a_tree_reach_each_other_through_real_switches() -> None:
    with Fabric(TreeTopo(depth=2, fanout=2, hosts=1), controllers=()) as fabric:
        for switch in fabric.switch_names:
            fabric.add_flows(switch, ["priority=0,actions=normal"])
        assert _ping(fabric, "h1", "h2") == 0


@pytest.mark.parametrize(
    ("file", "topo", "switches"),
    [
        ("single", "oneswitch,hosts=2", 1),
        ("ring", "ring,switches=3", 3),
        ("leaf_spine", "leafspine,spines=1,leaves=2,hosts=1", 3),
        ("tree", "switchtree,hosts=1", 3),
        ("fat_tree", "fattree,k=2", 5),
    ],
)
def test_mininets_command_line_takes_the_file_from_anywhere(
    tmp_path: Path, file: str, topo: str, switches: int
) -> None:
    commands = tmp_path / "commands"
    commands.write_text("sh ovs-vsctl --columns=fail_mode,protocols list bridge\nh1 ip -br addr\n")
    seen = _run(
        ["mn", "--custom", f"{TOPOLOGIES}/{file}.py", "--topo", topo, "--controller", "none", "-v", "output"],
        ["--post", str(commands), "--test", "none"],
        cwd=tmp_path,
    )
    assert seen.count("[OpenFlow13]") == switches
    assert seen.count("secure") == switches
    assert "10.0.1.1/16" in seen


def _ping(fabric: Fabric, source: str, destination: str) -> int:
    return fabric.run(source, "ping", "-c3", "-i0.2", "-W1", fabric.address(destination)).returncode


def _run(*argv: Sequence[str], cwd: Path) -> str:
    done = subprocess.run(
        [part for parts in argv for part in parts], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
