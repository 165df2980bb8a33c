"""The core on a small simulated fat tree: it finds everything, mends what fails, and does no more than it has to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from controller import reconcile
from controller.balance import VIP_GROUP
from controller.flows import FlowEntry
from topologies.figures import put
from topologies.simulation.command import FIGURES
from topologies.simulation.fat_tree import fat_tree
from topologies.simulation.scenario import MEMBER_PORT, Run, Size

SIZE = Size(k=4, hosts_per_member=2, rate=2000)


@pytest.fixture(scope="module")
def loaded() -> Run:
    run = Run(SIZE)
    run.bring_up()
    run.work()
    return run


def test_a_fat_tree_is_wired_as_its_paper_says() -> None:
    wiring = fat_tree(6)
    degree: dict[int, int] = {}
    for link in wiring.links:
        for end in (link.a, link.b):
            degree[end.dpid] = degree.get(end.dpid, 0) + 1
    layers = {layer: {count for dpid, count in degree.items() if dpid >> 8 == layer} for layer in (1, 2, 3)}
    assert layers == {1: {3}, 2: {6}, 3: {6}}
    assert (len(wiring.hosts), len(degree)) == (6**3 // 4, 5 * 6 * 6 // 4)
    for k in (3, 0, 22):
        with pytest.raises(ValueError, match=f"k={k}"):
            fat_tree(k)


def test_everything_is_found_and_idle_costs_no_rules(loaded: Run) -> None:
    topology = loaded.core.topology
    assert len(topology.links) == 2 * len(loaded.wiring.links)
    assert set(topology.hosts) == {host.address for host in loaded.wiring.hosts}
    assert loaded.report.up_s < 5
    assert loaded.measured.changed_at == loaded.report.up_s, "nothing changed since"
    seen = loaded.traffic.outcomes
    assert seen.served == seen.offered > 0


def test_the_switches_have_what_a_fresh_plan_says(loaded: Run) -> None:
    for dpid in loaded.fabric.switches:
        plan = loaded.core.plan(loaded.fabric.now)
        plan.known.__init__()  # type: ignore[misc] # nothing is remembered
        wanted = plan.for_switch(dpid)
        installed = loaded.core.installed[dpid]
        assert installed.flows.keys() == wanted.flows.keys()
        assert installed.groups == wanted.groups
        assert loaded.fabric.switches[dpid].groups == wanted.groups


def test_an_entry_is_computed_a_few_times_at_most_however_often_it_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[FlowEntry] = []
    check = reconcile.check
    monkeypatch.setattr(reconcile, "check", lambda entry: computed.append(entry) or check(entry))
    run = Run(SIZE)
    run.bring_up()
    assert len(computed) < 6 * run.report.different_entries
    assert run.report.different_entries < run.report.entries / 4


def test_a_closed_port_costs_no_client_anything_and_one_group_per_edge(loaded: Run) -> None:
    member = loaded.members[0]
    before = loaded.measured.decisions["SetGroup"], loaded.traffic.outcomes.offered
    failed = loaded._failed()
    loaded.fabric.hosts[member.address].refuse(MEMBER_PORT)
    loaded.fabric.run(loaded.fabric.now + 0.5)
    assert loaded.traffic.outcomes.offered > before[1] and loaded._failed() == failed
    assert loaded.traffic.outcomes.redispatched > 0
    edges = loaded.core.topology.edges()
    assert loaded.measured.decisions["SetGroup"] - before[0] == len(edges)
    number = loaded.core.services.vip_number("pool-0")
    for edge in edges:
        assert len(loaded.fabric.switches[edge].groups[VIP_GROUP | number].buckets) == 1


def test_a_cut_link_changes_the_switches_it_concerns_and_loses_nothing(loaded: Run) -> None:
    link = loaded.wiring.links[-1]  # between an aggregation and a core switch
    plans = dict(loaded.core.wanted)
    for end in (link.a, link.b):
        loaded.fabric.set_port(end, False)
    loaded.fabric.run(loaded.fabric.now + 2)
    assert loaded.loads.lost_octets == 0
    changed = {
        dpid
        for dpid, planned in loaded.core.wanted.items()
        if any(plans[dpid].parts.get(slot) is not part for slot, part in planned.parts.items() if slot[0] == "way")
    }
    assert {link.a.dpid, link.b.dpid} <= changed < loaded.core.wanted.keys()


def test_the_command_prints_figures_and_writes_them_where_they_belong(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "topologies.simulation.command", "--k", "4", "--rate", "500", "--json"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    (found,) = json.loads(ended.stdout)
    assert found["k"] == 4 and found["switches"] == 20 and found["links"] == 48
    assert len(found["recoveries"]) == 7 and found["outcomes"]["offered"] > 0
    refused = subprocess.run([*argv[:3], "--k", "5"], capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2 and "k=5" in refused.stderr
    with pytest.raises(ValueError, match="no place"):
        page = tmp_path / "page.md"
        page.write_text("nothing")
        put(page, "scripts/simulate --write", "figures")
    assert "scripts/simulate --write" in FIGURES.read_text()
