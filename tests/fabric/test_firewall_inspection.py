"""First packets judged by the controller on real switches: verdicts that are kept, budgets, trials, the log, and nobody there to judge."""

import re
import time

import pytest
from bed import MEMBER_PORT, VIP, VIP_PORT, Bed, one_vip, outcomes, pool
from running_controller import soon

from controller.flows import PURPOSE_SHIFT, Purpose
from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

ATTACKS = True
TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=3)
CLIENT, OTHER, FAR = "h1", "h3", "h6"
MEMBERS = ("h2", "h5")
EVERYBODY = {"action": "allow", "protocol": "tcp", "id": "judged", "inspect": "first-packet"}


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> None:
    bed.serve(*MEMBERS, FAR)


def apply(bed: Bed, *rules: dict, **firewall: object) -> None:
    bed.apply({**one_vip(pool(bed, *MEMBERS)), "firewall": {"rules": list(rules), **firewall}})


def answered(bed: Bed, host: str, address: str = VIP, port: int = VIP_PORT) -> bool:
    return outcomes(bed.ask(host, address=address, port=port, timeout_s=0.5)) == {"ok": 1}


def verdicts(leaf: str = "leaf1") -> list[str]:
    """The entries of verdicts that a switch keeps, as it prints them."""
    lines = openvswitch.ofctl("-O", "OpenFlow13", "dump-flows", leaf, "table=2").splitlines()
    cookies = [(re.search(r"cookie=0x([0-9a-f]+)", line), line) for line in lines]
    return [line for found, line in cookies if found and int(found[1], 16) >> PURPOSE_SHIFT == Purpose.VERDICT]


def logged(bed: Bed) -> list[dict]:
    return bed.controller.get("firewall/log?limit=1000")["items"]


def test_one_verdict_serves_many_connections_and_all_clients_it_is_right_for(bed: Bed) -> None:
    apply(bed, EVERYBODY)
    before = len(logged(bed))
    assert outcomes(bed.ask(CLIENT, 50)) == {"ok": 50}
    assert outcomes(bed.ask(OTHER, 50, address=bed.fabric.address(FAR), port=MEMBER_PORT)) == {"ok": 50}
    kept = verdicts()
    assert len(kept) == 1 and "nw_src" not in kept[0] and "tp_dst" not in kept[0], kept
    assert len(logged(bed)) - before < 10, "the rest were decided by the switch"


def test_a_verdict_stops_short_of_an_earlier_rule_that_says_something_else(bed: Bed) -> None:
    far = bed.fabric.address(FAR)
    apply(bed, {"action": "drop", "dst": far, "priority": 200, "id": "not-there"}, EVERYBODY)
    assert answered(bed, CLIENT) and not answered(bed, CLIENT, far, MEMBER_PORT)
    (kept,) = verdicts()
    assert "nw_dst=" in kept and "nw_src" not in kept


def test_a_changed_rule_revokes_what_was_kept(bed: Bed) -> None:
    apply(bed, EVERYBODY)
    assert answered(bed, CLIENT) and verdicts()
    bed.controller.put("firewall/rules/judged", {**EVERYBODY, "action": "reject"})
    soon("it is revoked", lambda: outcomes(bed.ask(CLIENT)) == {"refused": 1}, 3)
    assert logged(bed)[0]["action"] == "reject"


def test_a_verdict_that_nothing_uses_goes(bed: Bed) -> None:
    apply(bed, EVERYBODY, verdict_idle_s=2)
    assert answered(bed, CLIENT) and verdicts()
    soon("it has gone", lambda: not verdicts(), 8)
    assert answered(bed, CLIENT) and verdicts()


def test_each_source_has_a_budget_of_its_own(bed: Bed) -> None:
    since = bed.controller.moment()
    apply(bed, {**EVERYBODY, "per_source_connections_per_s": 20})
    with bed.load(CLIENT, rate=200, timeout_s=0.4) as greedy:
        time.sleep(1.0)
        with bed.load(OTHER, rate=10, timeout_s=0.9) as modest:
            time.sleep(3.0)
            polite = outcomes(modest.finish())
        spent = outcomes(greedy.finish())
    assert polite.keys() == {"ok"}, polite
    assert 40 <= spent["ok"] <= 160, spent
    said = soon("it is named", lambda: bed.controller.announced("over-budget", since=since), 5)
    assert bed.fabric.address(CLIENT) in said[0]["message"]
    meters = openvswitch.ofctl("-O", "OpenFlow13", "dump-meters", "leaf1")
    assert len(re.findall(r"meter=13\d{4} ", meters)) == 2, meters
    bed.controller.request("DELETE", "firewall/rules/judged")
    soon(
        "no meter is left",
        lambda: not re.search(r"meter=13\d{4} ", openvswitch.ofctl("-O", "OpenFlow13", "dump-meters", "leaf1")),
        3,
    )


@pytest.mark.parametrize(("mode", "outcome"), [("open", True), ("closed", False)])
def test_without_controller_inspected_traffic_fares_as_the_policy_says(bed: Bed, mode: str, outcome: bool) -> None:
    apply(bed, {**EVERYBODY, "dst": VIP}, fail_mode=mode, verdict_idle_s=1)
    assert answered(bed, CLIENT)
    bed.controller.kill()
    try:
        time.sleep(3.5)
        assert answered(bed, CLIENT) is outcome
        assert answered(bed, CLIENT, bed.fabric.address(FAR), MEMBER_PORT), "what is not inspected is not touched"
    finally:
        bed.restart_controller()
    soon("it is judged again", lambda: answered(bed, CLIENT), 3)


def test_a_rule_on_trial_does_nothing_and_says_what_it_would_do(bed: Bed) -> None:
    far = bed.fabric.address(FAR)
    trial = {
        "action": "drop",
        "dst": far,
        "protocol": "tcp",
        "dst_ports": [MEMBER_PORT],
        "id": "trial",
        "dry_run": True,
    }
    apply(bed, trial)
    assert outcomes(bed.ask(CLIENT, 20, address=far, port=MEMBER_PORT)) == {"ok": 20} and answered(bed, OTHER)
    (found,) = soon("it is said", lambda: bed.controller.get("firewall/dry-run")["items"])
    wanted = {"rule": "trial", "action": "drop", "src": bed.fabric.address(CLIENT), "dst": far, "dst_port": MEMBER_PORT}
    assert found.items() >= {**wanted, "protocol": "tcp", "connections": 20}.items()
    assert logged(bed)[0].items() >= {"rule": "trial", "dry_run": True}.items()
    soon("it is counted", lambda: bed.controller.get("firewall/rules/trial")["hits"] == 20)


def test_another_policy_is_held_against_what_was_seen(bed: Bed) -> None:
    apply(bed, observe=True)
    assert answered(bed, CLIENT) and answered(bed, OTHER, bed.fabric.address(FAR), MEMBER_PORT)
    other = {"rules": [{"action": "reject", "dst": VIP, "protocol": "tcp", "dst_ports": [VIP_PORT], "id": "closed"}]}

    def refused() -> set[tuple[str, str]]:
        found = bed.controller.request("POST", "firewall/dry-run", other)["items"]
        return {(one["rule"], one["src"]) for one in found}

    assert bed.fabric.address(CLIENT) in {src for _, src in soon("it is seen", refused)}
    assert bed.fabric.address(OTHER) not in {src for _, src in refused()} or answered(bed, OTHER)
    assert answered(bed, CLIENT), "nothing was changed"


def test_a_rule_that_logs_logs_what_it_drops_and_what_it_lets_pass(bed: Bed) -> None:
    far = bed.fabric.address(FAR)
    apply(bed, {"action": "drop", "dst": far, "log": True, "id": "no"}, {"action": "allow", "log": True, "id": "yes"})
    assert answered(bed, CLIENT) and not answered(bed, CLIENT, far, MEMBER_PORT)
    found = {(line["rule"], line["action"], line["dst"]) for line in logged(bed)}
    assert found >= {("yes", "allow", VIP), ("no", "drop", far)}
