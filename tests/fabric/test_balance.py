"""New connections are shared out as the policy says, and each stays where it was put."""

import math
import time
from typing import Any

import pytest
from bed import (
    MEMBER_PORT,
    NO_RETRANSMISSION_MS,
    VIP,
    VIP_PORT,
    Bed,
    one_vip,
    outcomes,
    pool,
    shares,
    slowest_connect_ms,
)  # fmt: skip
from entries import entries_of, groups_of, unbroken
from running_controller import Refused, soon

from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo

TOPOLOGY = LeafSpineTopo(spines=2, leaves=2, hosts=4)
NEAR, FAR = "h1", "h5"
"""Clients on the two leaves."""
MEMBERS = ("h2", "h3", "h6")
"""Two on the first leaf, one on the second."""


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))


def weigh(bed: Bed, member: str, weight: int) -> None:
    bed.controller.patch(f"pools/web/members/{member}", {"weight": weight})


@pytest.mark.parametrize("client", [NEAR, FAR])
def test_members_on_the_clients_own_leaf_and_on_others_serve(bed: Bed, client: str) -> None:
    connections = bed.ask(client, 120)
    assert outcomes(connections) == {"ok": 120}
    assert set(shares(connections)) == set(MEMBERS)
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS


def test_weights_are_respected_within_statistics(bed: Bed) -> None:
    weights = {"h2": 100, "h3": 50, "h6": 10}
    for member, weight in weights.items():
        weigh(bed, member, weight)
    count = 1600
    connections = bed.ask(NEAR, count, rate=400)
    assert outcomes(connections) == {"ok": count}
    for member, weight in weights.items():
        share = weight / sum(weights.values())
        deviation = math.sqrt(count * share * (1 - share))
        assert abs(shares(connections)[member] - count * share) < 4.5 * deviation, (member, shares(connections))


def test_connections_stay_under_weight_changes(bed: Bed) -> None:
    with bed.keep(NEAR, 40, interval_s=0.05) as near, bed.keep(FAR, 40, interval_s=0.05) as far:
        for weight in (1, 1000, 0, 300, 0, 100):
            for member in MEMBERS[:2]:
                weigh(bed, member, weight)
            bed.ask(NEAR, 20)
        keeping = near.finish() + far.finish()
    assert outcomes(keeping) == {"ok": 80}
    assert {len(connection["members"]) for connection in keeping} == {1}
    assert {connection["members"][0] for connection in keeping} == set(MEMBERS)


def test_a_member_of_weight_0_gets_nothing_new(bed: Bed) -> None:
    weigh(bed, "h2", 0)
    soon("its last new connection", lambda: "h2" not in shares(bed.ask(NEAR, 20)), 3)
    assert "h2" not in shares(bed.ask(NEAR, 60) + bed.ask(FAR, 60))
    weigh(bed, "h2", 100)
    soon("it gets some again", lambda: "h2" in shares(bed.ask(NEAR, 20)), 3)


class TestDrain:
    """No new connections, old ones finish."""

    def drain(self, bed: Bed, member: str) -> None:
        bed.controller.patch(f"pools/web/members/{member}", {"admin_state": "draining"})

    def test_a_draining_member_keeps_its_connections_and_gets_no_new_ones(self, bed: Bed) -> None:
        with bed.keep(NEAR, 40) as kept:
            self.drain(bed, "h3")
            soon("nothing new", lambda: "h3" not in shares(bed.ask(NEAR, 20)), 3)
            connections = bed.ask(NEAR, 60) + bed.ask(FAR, 60)
            keeping = kept.finish()
        assert outcomes(connections) == {"ok": 120}
        assert "h3" not in shares(connections)
        assert outcomes(keeping) == {"ok": 40}
        assert ["h3"] in [connection["members"] for connection in keeping]
        assert {len(connection["members"]) for connection in keeping} == {1}

    def test_a_drain_ends_its_last_connections_in_time(self, bed: Bed) -> None:
        bed.apply(one_vip(pool(bed, *MEMBERS, drain_timeout_s=1.0)))
        with bed.keep(NEAR, 30) as kept:
            its_own = connections_between(bed, NEAR, "h3")
            self.drain(bed, "h3")
            for host, side, port in ((NEAR, "dport", VIP_PORT), ("h3", "sport", MEMBER_PORT)):
                soon(f"{host} was told", lambda at=(host, side, port): not its_own & open_at(bed, *at), 5)
            keeping = kept.finish()
        assert its_own
        ended = {connection["outcome"] for connection in keeping if connection["members"] == ["h3"]}
        others = {connection["outcome"] for connection in keeping if connection["members"] != ["h3"]}
        assert (ended, others) == ({"reset"}, {"ok"})

    def test_a_drained_member_comes_back(self, bed: Bed) -> None:
        self.drain(bed, "h3")
        soon("nothing new", lambda: "h3" not in shares(bed.ask(NEAR, 20)), 3)
        bed.controller.patch("pools/web/members/h3", {"admin_state": "active"})
        soon("it gets some again", lambda: "h3" in shares(bed.ask(NEAR, 20)), 3)


class TestASilentlyDeadMember:
    """Its host is cut off: it neither answers nor refuses."""

    @pytest.mark.parametrize(("on_down", "ending"), [("keep", "ok"), ("reset", "reset")])
    def test_its_connections_are_kept_or_reset_as_the_pool_says(self, bed: Bed, on_down: str, ending: str) -> None:
        bed.apply(one_vip(pool(bed, *MEMBERS, on_down=on_down)))
        with bed.keep(NEAR, 30, timeout_s=12) as kept:
            its_own = connections_between(bed, NEAR, "h6")
            bed.fabric.cut_link("h6", "leaf2")
            try:
                soon("it is out", lambda: bed.controller.taking() == {"h2", "h3"}, 6, bed.controller.members)
                connections = bed.ask(NEAR, 30)
                if ending == "reset":
                    still = lambda: its_own & open_at(bed, NEAR, "dport", VIP_PORT)  # noqa: E731
                    soon("its clients are told", lambda: not still(), 8, lambda: (still(), bed.fabric.conntrack()))
            finally:
                bed.fabric.restore_link("h6", "leaf2")
            soon("it is in again", lambda: "h6" in bed.controller.taking(), 10, bed.controller.members)
            keeping = kept.finish()
        assert outcomes(connections) == {"ok": 30}
        endings = {connection["outcome"] for connection in keeping if connection["members"] == ["h6"]}
        others = {connection["outcome"] for connection in keeping if connection["members"] != ["h6"]}
        assert (endings, others) == ({ending}, {"ok"})


def open_at(bed: Bed, host: str, side: str, port: int) -> set[int]:
    """The client's ports of connections that a host's own stack holds open, to or from a port."""
    lines = bed.fabric.run(host, "ss", "-Htn", "state", "established", side, f":{port}").stdout.splitlines()
    return {int(line.split()[2 if side == "dport" else 3].rpartition(":")[2]) for line in lines}


def connections_between(bed: Bed, client: str, member: str) -> set[int]:
    """The client's ports of connections to the VIP that this member serves."""
    return open_at(bed, client, "dport", VIP_PORT) & open_at(bed, member, "sport", MEMBER_PORT)


class TestAPortUsedAgain:
    """The client opens from a port whose old connection nobody has ended."""

    def test_it_opens_at_once(self, bed: Bed) -> None:
        ports = range(20001, 20011)
        first, second = bed.ask_from(NEAR, ports), bed.ask_from(NEAR, ports)
        assert outcomes(first) == outcomes(second) == {"ok": 10}
        assert slowest_connect_ms(second) < NO_RETRANSMISSION_MS

    @pytest.mark.parametrize("server", ["h4", "h7"])
    def test_it_opens_at_once_without_a_vip(self, bed: Bed, server: str) -> None:
        """No member, so no other connection of the client's ends there (a time-wait would answer the SYN)."""
        bed.serve(*MEMBERS, server)
        there, ports = {"address": bed.fabric.address(server), "port": MEMBER_PORT}, range(20041, 20046)
        first, second = bed.ask_from(NEAR, ports, **there), bed.ask_from(NEAR, ports, **there)
        assert shares(first) == shares(second) == {server: 5}
        assert slowest_connect_ms(second) < NO_RETRANSMISSION_MS

    def test_it_opens_at_once_by_another_vip(self, bed: Bed) -> None:
        """To the member it is the same connection: there the first one is in TIME-WAIT."""
        policy = one_vip(pool(bed, "h6"))
        policy["vips"]["alt"] = {"address": VIP, "port": 8000, "pool": "web"}
        bed.apply(policy)
        ports = range(20061, 20091)
        first = bed.ask_from(NEAR, ports, until_closed=True)
        openvswitch.appctl("dpctl/flush-conntrack")  # the member remembers for longer than the tracker
        second = bed.ask_from(NEAR, ports, until_closed=True, port=8000)
        assert outcomes(first) == outcomes(second) == {"ok": 30}
        assert slowest_connect_ms(second) < NO_RETRANSMISSION_MS

    def test_it_opens_at_once_on_another_member(self, bed: Bed) -> None:
        """The old one's member is gone from the group meanwhile."""
        ports = range(20021, 20031)
        first = bed.ask_from(NEAR, ports)
        for member in MEMBERS[:2]:
            bed.controller.patch(f"pools/web/members/{member}", {"admin_state": "disabled"})
        soon("the groups follow", lambda: set(shares(bed.ask(NEAR, 10))) == {"h6"}, 3)
        second = bed.ask_from(NEAR, ports)
        assert outcomes(first) == outcomes(second) == {"ok": 10}
        assert set(shares(first)) != {"h6"}
        assert set(shares(second)) == {"h6"}
        assert slowest_connect_ms(second) < NO_RETRANSMISSION_MS


class TestHairpin:
    """A member that calls its own VIP."""

    def test_every_member_reaches_every_member(self, bed: Bed) -> None:
        for caller in MEMBERS:
            connections = bed.ask(caller, 60)
            assert outcomes(connections) == {"ok": 60}, caller
            assert set(shares(connections)) == set(MEMBERS), caller
            assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS

    def test_the_only_member_reaches_itself(self, bed: Bed) -> None:
        bed.apply(one_vip(pool(bed, "h2")))
        bed.servers["h2"].behave(body_bytes=1_000_000)
        connections = bed.ask("h2", 20, rate=40)
        assert outcomes(connections) == {"ok": 20}
        with bed.keep("h2", 5, interval_s=0.02) as kept:
            bed.ask("h2", 20, rate=20)
            keeping = kept.finish()
        assert outcomes(keeping) == {"ok": 5}

    def test_the_only_member_is_refused_when_it_refuses(self, bed: Bed) -> None:
        bed.apply(one_vip(pool(bed, "h2")))
        bed.stop_server("h2")
        connections = bed.ask("h2", 10)
        assert outcomes(connections) == {"refused": 10}
        assert max(connection["took_ms"] for connection in connections) < NO_RETRANSMISSION_MS


class TestAffinity:
    """The same client gets the same member while it keeps coming."""

    @pytest.fixture(autouse=True)
    def affine(self, bed: Bed) -> None:
        bed.apply(one_vip(pool(bed, *MEMBERS), affinity_timeout_s=20))

    def test_a_client_keeps_its_member(self, bed: Bed) -> None:
        chosen = {}
        for client in ("h1", "h4", "h5", "h7", "h8"):
            # The first is on its own: what opens within milliseconds of it may miss what the switch learns from it.
            connections = bed.ask(client, 1) + bed.ask(client, 20)
            assert outcomes(connections) == {"ok": 21}
            assert len(shares(connections)) == 1, client
            chosen[client] = connections[0]["member"]
        for client, member in chosen.items():
            bed.ask(client, 5)
            assert set(shares(bed.ask(client, 10))) == {member}, client

    def member_of(self, bed: Bed, client: str) -> str:
        """The member that the client has from now on."""
        (connection,) = bed.ask(client, 1)
        assert set(shares(bed.ask(client, 10))) == {connection["member"]}
        return connection["member"]

    def test_it_ends_when_the_member_is_ejected(self, bed: Bed) -> None:
        member = self.member_of(bed, NEAR)
        with bed.load(NEAR, 50) as clients:
            bed.stop_server(member)
            began = time.time()
            soon("it is out", lambda: member not in bed.controller.taking(), 5, bed.controller.members)
            bed.ask(FAR, 30)
            connections = [one for one in clients.finish() if one["began"] > began]
        assert outcomes(connections) == {"ok": len(connections)}
        assert member not in shares(connections)
        assert self.member_of(bed, NEAR) != member, "and it keeps the new one"

    def test_it_ends_when_the_member_drains(self, bed: Bed) -> None:
        member = self.member_of(bed, NEAR)
        bed.controller.patch(f"pools/web/members/{member}", {"admin_state": "draining"})
        soon("it goes elsewhere", lambda: member not in shares(bed.ask(NEAR, 1)), 3)
        assert self.member_of(bed, NEAR) != member

    def test_it_is_forgotten_when_the_client_stays_away(self, bed: Bed) -> None:
        bed.apply(one_vip(pool(bed, *MEMBERS), affinity_timeout_s=1))
        bed.ask(NEAR, 5)
        assert remembered(bed, NEAR)
        soon("it is forgotten", lambda: not remembered(bed, NEAR), 6)


def remembered(bed: Bed, client: str) -> list[str]:
    """What the client's switch has learnt of it."""
    return [
        line for line in bed.fabric.dump_flows("leaf1", "table=8") if f"nw_src={bed.fabric.address(client)}" in line
    ]


class TestSeveralVips:
    """Two addresses, two ports of one address, two pools, one of them shared."""

    OTHER = "10.0.0.101"

    @pytest.fixture(autouse=True)
    def several(self, bed: Bed) -> None:
        vips = {
            "web": {"address": VIP, "port": VIP_PORT, "pool": "web"},
            "alt": {"address": VIP, "port": 8000, "pool": "one"},
            "other": {"address": self.OTHER, "port": VIP_PORT, "pool": "one"},
        }
        bed.apply({"version": 1, "pools": {"web": pool(bed, "h2", "h3"), "one": pool(bed, "h6")}, "vips": vips})

    def test_each_leads_to_its_own_pool(self, bed: Bed) -> None:
        for client in (NEAR, FAR):
            for way, members in (({}, {"h2", "h3"}), ({"port": 8000}, {"h6"}), ({"address": self.OTHER}, {"h6"})):
                connections = bed.ask(client, 40, **way)
                assert outcomes(connections) == {"ok": 40}, (client, way)
                assert set(shares(connections)) == members, (client, way)

    def test_one_pool_out_of_order_leaves_the_other_alone(self, bed: Bed) -> None:
        with bed.load(NEAR, 50) as clients:
            bed.stop_server("h6")
            assert outcomes(bed.ask(NEAR, 10, address=self.OTHER)) == {"refused": 10}
            assert outcomes(bed.ask(FAR, 10, port=8000)) == {"refused": 10}
            connections = clients.finish()
        assert outcomes(connections) == {"ok": len(connections)}

    def test_a_port_that_nobody_serves_is_silent(self, bed: Bed) -> None:
        assert outcomes(bed.ask(NEAR, 2, port=81, timeout_s=0.5)) == {"timeout": 2}

    def test_a_vip_removed_leaves_the_others_untouched(self, bed: Bed) -> None:
        before = entries_of(bed)
        bed.controller.request("DELETE", "vips/other")
        soon("it is gone", lambda: outcomes(bed.ask(NEAR, 1, address=self.OTHER, timeout_s=0.5)) != {"ok": 1}, 3)
        gone = unbroken(before, entries_of(bed))
        assert gone
        assert [text for text in gone if not text.startswith("gone: ")] == []
        assert shares(bed.ask(NEAR, 20, port=8000)) == {"h6": 20}


class TestAChangeByRest:
    """Touches what it changes and nothing else."""

    def test_a_weight_changes_one_group_and_no_entry(self, bed: Bed) -> None:
        entries, groups = entries_of(bed), groups_of(bed)
        weigh(bed, "h2", 50)
        soon("the groups follow", lambda: groups_of(bed) != groups, 3)
        assert unbroken(entries, entries_of(bed)) == []
        changed = {switch: set(after) - set(groups[switch]) for switch, after in groups_of(bed).items()}
        assert {switch: len(lines) for switch, lines in changed.items() if lines} == {"leaf1": 1, "leaf2": 1}
        assert all("weight:50" in line for lines in changed.values() for line in lines)

    def test_a_member_more_adds_entries_and_replaces_none(self, bed: Bed) -> None:
        entries = entries_of(bed)
        bed.serve(*MEMBERS, "h7")
        member = {"name": "h7", "address": bed.fabric.address("h7"), "port": MEMBER_PORT}
        bed.controller.request("POST", "pools/web/members", member)
        soon("it serves", lambda: "h7" in shares(bed.ask(NEAR, 20)), 5)
        changes = unbroken(entries, entries_of(bed))
        assert changes
        assert [text for text in changes if not text.startswith("new: ")] == []

    def test_a_dry_run_says_what_would_change_and_changes_nothing(self, bed: Bed) -> None:
        entries, groups, policy = entries_of(bed), groups_of(bed), bed.controller.get("policy")
        wanted = bed.renamed(one_vip(pool(bed, "h2", "h6")))
        answer = bed.controller.put("policy?dry_run=true", wanted)
        assert answer
        assert bed.controller.get("policy") == policy
        assert unbroken(entries, entries_of(bed)) == []
        assert groups_of(bed) == groups

    @pytest.mark.parametrize(
        ("method", "path", "document"),
        [
            ("PATCH", "pools/web/members/h2", {"weight": 50, "wieght": 1}),
            ("PUT", "policy", {"version": 1, "pools": {}, "vips": {}, "sandwich": 1}),
            ("POST", "vips", {"name": "x", "address": "10.0.0.102", "port": 80, "pool": "none", "color": "red"}),
            ("PATCH", "pools/web/members/h2", {"weight": 1001}),
            ("POST", "vips", {"name": "x", "address": "10.0.0.102", "port": 80, "pool": "nonesuch"}),
        ],
    )
    def test_what_is_refused_changes_nothing(self, bed: Bed, method: str, path: str, document: Any) -> None:
        entries, groups, policy = entries_of(bed), groups_of(bed), bed.controller.get("policy")
        with pytest.raises(Refused) as refusal:
            bed.controller.request(method, path, document)
        assert refusal.value.status == 422
        assert bed.controller.get("policy") == policy
        assert unbroken(entries, entries_of(bed)) == []
        assert groups_of(bed) == groups
