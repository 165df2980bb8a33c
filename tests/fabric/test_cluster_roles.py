"""Three controllers, a three-member etcd, two bridges: one master at a time, whoever dies, hangs or is cut off."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_bed import NODES, BareCluster, Node
from fourth_controller import IS_SLAVE, MASTER, SLAVE, STALE, FourthController
from running_controller import RESETLB, ROOT, Refused, soon

from topologies import openvswitch

LEASE_S = 2.0
TAKEN_OVER_S = 3.0
DPID = f"{1:016x}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareCluster]:
    with BareCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(autouse=True)
def everybody_is_well(cluster: BareCluster) -> Iterator[None]:
    cluster.everybody()
    moments = {name: node.moment() for name, node in cluster.nodes.items()}
    yield
    said = [line for name, node in cluster.nodes.items() for line in node.complaints(moments[name])]
    expected = ("cut off from the cluster", "cannot be stored", "cannot be saved")
    assert [line for line in said if not any(text in line for text in expected)] == []


def policy(number: int) -> dict[str, object]:
    """One that no other number gives."""
    members = [{"name": f"m{one}", "address": f"10.0.0.{one}", "port": 80} for one in range(1, number + 1)]
    return {
        "version": 1,
        "pools": {"web": {"members": members}},
        "vips": {"web": {"address": "10.0.0.100", "port": 80, "pool": "web"}},
    }


def is_slave_everywhere(cluster: BareCluster, node: Node) -> bool:
    return set(cluster.roles_of(node.name)) == {"slave"}


def test_killed_it_is_replaced_when_its_lease_is_over(cluster: BareCluster) -> None:
    former = cluster.leading
    former.kill()
    killed = time.monotonic()
    cluster.master(but=former.name)
    assert time.monotonic() - killed < TAKEN_OVER_S


def test_ended_it_gives_its_lease_up_at_once(cluster: BareCluster) -> None:
    former = cluster.leading
    assert former.stop() == 0
    ended = time.monotonic()
    cluster.master(but=former.name)
    assert time.monotonic() - ended < LEASE_S / 2


def test_a_new_master_leaves_every_entry_alone(cluster: BareCluster) -> None:
    cluster.leading.put("policy", policy(2))
    soon("it is in force", lambda: len(ages("s1")) > 20, 5)
    before, since = ages("s1"), time.monotonic()
    former = cluster.leading
    former.stop()
    cluster.master(but=former.name)
    time.sleep(1.0)
    after, passed_s = ages("s1"), time.monotonic() - since
    assert after.keys() == before.keys()
    assert all(after[cookie] >= age + passed_s - 0.5 for cookie, age in before.items()), "none was made anew"


def ages(switch: str) -> dict[str, float]:
    """How old each entry is (s), by cookie, but for those that expire by themselves."""
    lines = [line for line in openvswitch.ofctl("dump-flows", switch).splitlines() if "hard_timeout" not in line]
    found = [re.search(r"cookie=(\w+), duration=([0-9.]+)s", line) for line in lines]
    return {match[1]: float(match[2]) for match in found if match}


def test_a_master_cut_off_from_the_store_stops_before_another_begins(cluster: BareCluster) -> None:
    former = cluster.leading
    with cluster.writers() as writers:
        former.put("policy", policy(1))
        with cluster.cut_off(former.name):
            other = cluster.nodes[cluster.master(but=former.name)]
            other.put("policy", policy(2))
            assert former.get("health")["status"] == "degraded"
            with pytest.raises(Refused) as refused:
                former.put("policy", policy(3))
            with pytest.raises(Refused) as refused_too:
                former.request("POST", "quarantine", {"client": "10.0.9.9", "action": "drop"})
            soon("switches call it a slave", lambda: is_slave_everywhere(cluster, former), 12, cluster.roles)
        soon("it has the policy", lambda: len(former.members()) == 2, 5)
    assert (refused.value.status, refused_too.value.status) == (503, 503)
    assert {name for _, name, _ in writers} == {former.name, other.name}, "both have written"
    last = max(moment for moment, name, _ in writers if name == former.name)
    assert last < min(moment for moment, name, _ in writers if name == other.name)
    assert cluster.refused() == []


def test_a_master_that_hangs_is_fenced_and_writes_nothing_when_it_wakes(cluster: BareCluster) -> None:
    former = cluster.leading
    with cluster.writers() as writers:
        former.put("policy", policy(3))
        time.sleep(0.5)  # what that leads to is on its way
        former.signal(signal.SIGSTOP)
        try:
            other = cluster.nodes[cluster.master(but=former.name)]
            other.put("policy", policy(4))
        finally:
            former.signal(signal.SIGCONT)
        soon("it has noticed", lambda: former.masters() == {other.name}, 10, former.cluster)
        soon("it has the policy", lambda: len(former.members()) == 4, 5)
    last = max(moment for moment, name, _ in writers if name == former.name)
    assert last < min(moment for moment, name, _ in writers if name == other.name)
    assert cluster.refused() == []


def test_the_switch_refuses_who_comes_with_an_old_generation(cluster: BareCluster) -> None:
    claim = cluster.leading.cluster()["masters"][DPID]
    before = openvswitch.ofctl("dump-flows", "s1").count("cookie=")
    with FourthController("s1") as stranger:
        assert stranger.ask_role(MASTER, claim["generation"] - 1) == STALE
        assert stranger.ask_role(SLAVE, claim["generation"]) is None
        assert stranger.write() == IS_SLAVE
    assert openvswitch.ofctl("dump-flows", "s1").count("cookie=") == before > 0


def test_a_switch_that_the_master_does_not_reach_is_anothers_meanwhile(cluster: BareCluster) -> None:
    former = cluster.leading
    with cluster.out_of_reach("s1", former.name):
        soon(
            "another one has it",
            lambda: former.cluster()["masters"].get(DPID, {}).get("node", former.name) != former.name,
            10,
        )
        other = cluster.nodes[former.cluster()["masters"][DPID]["node"]]
        soon("it is in order", lambda: other.connected() == {DPID}, 5)
        assert former.connected() == set(cluster.switches.values()) - {DPID}
    soon("all is gathered again", lambda: former.masters() == {former.name}, 30, former.cluster)


def test_a_policy_applied_at_one_is_in_force_at_all(cluster: BareCluster) -> None:
    for number, node in enumerate(cluster.nodes.values(), 1):
        node.put("policy", policy(number))
        for other in cluster.nodes.values():
            soon("it is there", lambda other=other, number=number: len(other.members()) == number, 2)


def test_changes_at_two_at_once_are_one_after_the_other_or_refused(cluster: BareCluster) -> None:
    one, other = cluster.others(cluster.leading)
    one.put("policy", policy(1))
    requests = [
        subprocess.Popen(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PATCH", f"{node.api}/pools/web/members/m1",
             "-H", "Content-Type: application/json", "-d", f'{{"weight": {weight}}}'],
            stdout=subprocess.PIPE, text=True,
        )
        for node, weight in ((one, 11), (other, 22))
    ]  # fmt: skip
    answers = [request.communicate()[0] for request in requests]
    assert set(answers) <= {"200", "409"}
    assert "200" in answers
    soon("all agree", lambda: len({node.members()["m1"]["weight"] for node in cluster.nodes.values()}) == 1, 3)


def test_a_client_put_away_at_a_slave_is_put_away_by_the_master(cluster: BareCluster) -> None:
    master = cluster.leading
    slave = cluster.others(master)[0]
    entry = slave.request("POST", "quarantine", {"client": "10.0.9.9", "action": "drop", "ttl_s": 600})
    for node in cluster.nodes.values():
        soon(
            "it is there", lambda node=node: [one["id"] for one in node.get("quarantine")["items"]] == [entry["id"]], 2
        )
    soon("it is on the disk", lambda: entry["id"] in master.durable("quarantine"), 2)
    master.kill()
    cluster.master(but=master.name)
    assert [one["id"] for one in cluster.others(master)[0].get("quarantine")["items"]] == [entry["id"]]
    slave.request("DELETE", f"quarantine/{entry['id']}")
    for node in cluster.others(master):
        soon("it is over", lambda node=node: node.get("quarantine")["items"] == [], 2)


def test_a_newer_schema_is_refused_in_words(cluster: BareCluster, tmp_path: Path) -> None:
    cluster.etcd.ctl("put", "/resetlb/newer/schema", '{"schema": 2, "version": "9.9.9"}')
    refused = started(tmp_path, cluster.etcd.ports[0], "newer")
    assert refused.returncode == 1
    assert "schema 2, of ResetLB 9.9.9; this one knows 1" in refused.stderr


def test_a_password_is_never_shown(cluster: BareCluster, tmp_path: Path) -> None:
    refused = started(tmp_path, cluster.etcd.ports[0], "other", "resetlb:hush-hush@")
    assert refused.returncode == 1
    assert "authentication is not enabled" in refused.stderr
    assert "hush-hush" not in refused.stderr + refused.stdout


def started(folder: Path, port: int, name: str, who: str = "") -> "subprocess.CompletedProcess[str]":
    """A controller that is told of its cluster by the environment, to its end."""
    environment = {**os.environ, "RESETLB_CLUSTER": f"etcd://{who}127.0.0.1:{port}/{name}"}
    options = ["--state-dir", folder, "--listen", "127.0.0.1:6699", "--api", "127.0.0.1:8099", "--log-level", "debug"]
    return subprocess.run(
        [*RESETLB, "run", *options], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def test_it_goes_on_without_one_member_of_etcd(cluster: BareCluster) -> None:
    leader = cluster.etcd.leader()
    cluster.etcd.kill(leader)
    time.sleep(2 * LEASE_S)
    cluster.leading.put("policy", policy(5))
    soon("all have it", lambda: all(len(node.members()) == 5 for node in cluster.nodes.values()), 5)
    cluster.etcd.start(leader)


def test_without_a_majority_nobody_writes_and_afterwards_somebody_does(cluster: BareCluster) -> None:
    former = cluster.leading
    dead = [number for number in range(3) if number != cluster.etcd.leader()]
    for number in dead:
        cluster.etcd.kill(number)
    soon("nobody is", lambda: all(node.get("health")["status"] == "degraded" for node in cluster.nodes.values()), 10)
    # The lease is counted on a while after etcd was heard last.
    soon("nobody writes", lambda: all(node.connected() == set() for node in cluster.nodes.values()), 5)
    with pytest.raises(Refused) as refused:
        former.put("policy", policy(6))
    assert refused.value.status == 503
    for number in dead:
        cluster.etcd.start(number)
    cluster.master(within_s=30)


def test_an_etcd_that_lost_everything_is_taken_all_the_same(cluster: BareCluster) -> None:
    """Its revisions begin at 1: the switches have seen higher generations, and controllers find above them."""
    cluster.leading.put("policy", policy(7))
    for name in NODES:
        soon("it has a copy", lambda name=name: len(cluster.nodes[name].members()) == 7, 3)
    for node in cluster.nodes.values():
        node.stop()
    cluster.etcd.lose_everything()
    cluster.everybody()
    assert len(cluster.leading.members()) == 7
