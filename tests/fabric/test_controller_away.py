"""The controller dies or restarts: the fabric works on, and what was decided before still holds afterwards."""

import time

import pytest
from bed import NO_RETRANSMISSION_MS, VIP, Bed, one_vip, outcomes, pool, shares, slowest_connect_ms
from entries import entries_of, groups_of, unbroken
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo

TOPOLOGY = LeafSpineTopo(spines=2, leaves=3, hosts=2)
CLIENT, OTHER_CLIENT = "h1", "h3"
MEMBERS = ("h2", "h4", "h6")
HOLD_S = 2.0
"""Refusals stay held for this long after the controller fell silent."""


class TestWhileItIsDead:
    """Killed once for these."""

    @pytest.fixture(scope="class", autouse=True)
    def died(self, bed: Bed) -> float:
        bed.serve(*MEMBERS)
        bed.apply(one_vip(pool(bed, *MEMBERS)))
        bed.controller.kill()
        return time.time()

    def test_refusals_pass_soon(self, bed: Bed, died: float) -> None:
        bed.stop_server("h4")
        with bed.load(CLIENT, 40, timeout_s=6.0) as clients:
            soon("the hold is over", lambda: time.time() > died + HOLD_S + 1.5, 5)
            connections = clients.finish()
        assert outcomes(connections).keys() == {"ok", "refused"}, "no client hangs"
        # The SYN is sent again after 1 and 3 s (RFC 6298 §5), and what meets the hold is answered by silence.
        assert max(connection["took_ms"] for connection in connections) < 3500
        late = [connection for connection in connections if connection["began"] > died + HOLD_S + 0.5]
        refused = [connection["took_ms"] for connection in late if connection["outcome"] == "refused"]
        assert len(refused) >= 5, "a third of 40"
        assert max(refused) < 100, "as if ResetLB were not there"

    def test_a_vip_answers_and_serves(self, bed: Bed) -> None:
        bed.serve(*MEMBERS)
        for host in (CLIENT, OTHER_CLIENT):
            bed.fabric.run(host, "ip", "neigh", "flush", "all")
            ping = bed.fabric.run(host, "ping", "-c2", "-i0.2", "-W1", VIP)
            assert " 2 received" in ping.stdout, "ARP and echo are answered by the edge switch"
            connections = bed.ask(host, 60)
            assert outcomes(connections) == {"ok": 60}
            assert set(shares(connections)) == set(MEMBERS)
            assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS

    def test_hosts_reach_each_other(self, bed: Bed) -> None:
        bed.fabric.run(CLIENT, "ip", "neigh", "flush", "all")
        for host in MEMBERS:
            ping = bed.fabric.run(CLIENT, "ping", "-c1", "-W1", bed.fabric.address(host))
            assert " 1 received" in ping.stdout, host


class TestARestart:
    """kill -9, or SIGTERM, and a new start with the same state."""

    @pytest.fixture(autouse=True)
    def all_well(self, bed: Bed) -> None:
        bed.serve(*MEMBERS)
        bed.apply(one_vip(pool(bed, *MEMBERS)))

    def test_under_load_breaks_nothing_and_touches_no_entry(self, bed: Bed) -> None:
        before = entries_of(bed)
        with bed.load(CLIENT, 50) as near, bed.load(OTHER_CLIENT, 50) as far, bed.keep(CLIENT, 20) as kept:
            bed.ask(CLIENT, 20)
            bed.controller.kill()
            bed.ask(CLIENT, 20)
            bed.restart_controller()
            bed.ask(CLIENT, 20)
            connections = near.finish() + far.finish()
            keeping = kept.finish()
        assert outcomes(connections) == {"ok": len(connections)}
        assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS
        assert outcomes(keeping) == {"ok": 20}
        assert {len(connection["members"]) for connection in keeping} == {1}
        assert unbroken(before, entries_of(bed)) == []

    def test_sigterm_ends_it_in_time_and_leaves_every_entry(self, bed: Bed) -> None:
        before = entries_of(bed)
        began = time.monotonic()
        assert bed.controller.stop() == 0
        assert time.monotonic() - began < 3.0
        assert unbroken(before, entries_of(bed)) == []

    def test_an_ejection_survives_kill_9(self, bed: Bed) -> None:
        bed.stop_server("h4")
        bed.ask(CLIENT, 30)
        soon("it is out", lambda: bed.controller.taking() == {"h2", "h6"}, 5, bed.controller.members)
        soon("it is on the disk", lambda: bed.member("h4") in bed.controller.durable("ejections"), 2)
        groups = groups_of(bed)
        bed.controller.kill()
        bed.controller.start()
        assert bed.controller.taking() == {"h2", "h6"}, "from the first answer on"
        assert bed.controller.member("h4")["health"] == "down"
        with bed.load(CLIENT, 50) as clients:
            bed.call_in()
            bed.in_order()
            bed.ask(CLIENT, 30)
            connections = clients.finish()
        assert outcomes(connections) == {"ok": len(connections)}
        assert groups_of(bed) == groups, "the dead member was never put back"
        bed.serve(*MEMBERS)
        soon("its own probes let it in again", lambda: "h4" in bed.controller.taking(), 5, bed.controller.members)

    def test_drain_weight_and_freeze_survive_kill_9(self, bed: Bed) -> None:
        with bed.keep(CLIENT, 30) as kept:
            bed.controller.patch("pools/web/members/h2", {"admin_state": "draining"})
            bed.controller.patch("pools/web/members/h4", {"weight": 7})
            bed.controller.put("automation", {"mode": "frozen"})
            bed.controller.kill()
            bed.restart_controller()
            members = bed.controller.members()
            connections = bed.ask(CLIENT, 60)
            keeping = kept.finish()
        assert (members["h2"]["admin_state"], members["h2"]["effective_weight"]) == ("draining", 0)
        assert members["h4"]["effective_weight"] == 7
        assert bed.controller.get("automation")["mode"] == "frozen"
        assert "h2" not in shares(connections)
        assert outcomes(keeping) == {"ok": 30}
        assert {"h2"} in [set(connection["members"]) for connection in keeping], "the draining one still serves its own"

    def test_what_changed_while_it_was_away_is_found_at_the_start(self, bed: Bed) -> None:
        bed.controller.kill()
        bed.stop_server("h6")
        bed.restart_controller()
        soon("the dead one is out", lambda: bed.controller.taking() == {"h2", "h4"}, 10, bed.controller.members)
        connections = bed.ask(CLIENT, 40)
        assert outcomes(connections) == {"ok": 40}

    def test_it_ejects_nobody(self, bed: Bed) -> None:
        """Members cannot be asked before their switches are back: no answer is no evidence."""
        moment = bed.controller.moment()
        for switch in bed.fabric.switch_names:
            bed.fabric.disconnect(switch)
        bed.controller.kill()
        bed.controller.start()
        began = time.monotonic()
        soon("three checks would have failed", lambda: time.monotonic() > began + 3 * 0.5 + 1, 5)
        assert bed.controller.taking() == set(MEMBERS)
        bed.call_in()
        bed.in_order()
        bed.all_in()
        assert bed.controller.announced("eject", since=moment) == []

    def test_a_policy_that_was_acknowledged_is_in_force_after_kill_9(self, bed: Bed) -> None:
        bed.controller.put("policy", bed.renamed(one_vip(pool(bed, "h6"))))
        bed.controller.kill()
        bed.restart_controller()
        assert set(bed.controller.members()) == {"h6"}
        soon("it is in force", lambda: shares(bed.ask(CLIENT, 10)) == {"h6": 10}, 5)
