"""A member that refuses costs its clients nothing: each connection is opened on another member, and the member is out."""

import time

import pytest
from bed import (
    MEMBER_PORT,
    NO_RETRANSMISSION_MS,
    Bed,
    one_vip,
    outcomes,
    packed,
    pool,
    shares,
    slowest_connect_ms,
)  # fmt: skip
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo

TOPOLOGY = LeafSpineTopo(spines=2, leaves=3, hosts=2)
CLIENT, OTHER_CLIENT = "h1", "h3"
MEMBERS = ("h2", "h4", "h6")
"""One on each leaf: h2 on the first client's own, h4 on the other's."""
IMMEDIATELY_MS = 100.0
EJECTED_WITHIN_MS = 500.0
"""Usually 10 to 20 ms after the first reset; the rest is for a busy machine."""


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))


@pytest.mark.parametrize("victim", MEMBERS)
def test_a_killed_server_costs_no_connection(bed: Bed, victim: str) -> None:
    with bed.load(CLIENT, 100) as near, bed.load(OTHER_CLIENT, 100) as far:
        bed.ask(CLIENT, 30)
        moment = bed.controller.moment()
        bed.stop_server(victim)
        dead_since = time.time()
        soon("it is out", lambda: victim not in bed.controller.taking(), 5, bed.controller.members)
        bed.ask(CLIENT, 30)
        connections = near.finish() + far.finish()
    after = [connection for connection in connections if connection["began"] > dead_since]
    assert outcomes(after) == {"ok": len(after)}, "what was open when it was killed died with it, nothing else"
    assert outcomes(connections).keys() <= {"ok", "reset"}
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS
    assert set(shares(connections)) == set(MEMBERS), "all three had served before"
    (ejected,) = bed.controller.announced("ejected", since=moment)
    assert ejected["member"] == bed.member(victim)
    assert ejected["after_ms"] < EJECTED_WITHIN_MS


def test_a_redispatched_connection_carries_data_both_ways(bed: Bed) -> None:
    """The SYN was made anew without window scaling: the answer is larger than any window without it."""
    bed.servers["h2"].behave(body_bytes=2_000_000)
    bed.servers["h6"].behave(body_bytes=2_000_000)
    bed.stop_server("h4")
    # Not all at once: sixty megabytes are a matter of the machine's speed.
    connections = bed.ask(CLIENT, 30, rate=15)
    assert outcomes(connections) == {"ok": 30}
    refusals = bed.controller.resets(member="h4")
    assert refusals, "the dead member was met at least once"
    assert {reset["kind"] for reset in refusals} == {"refused"}


def test_with_every_member_down_the_client_is_refused_at_once(bed: Bed) -> None:
    for host in MEMBERS:
        bed.stop_server(host)
    connections = bed.ask(CLIENT, 20, rate=50) + bed.ask(OTHER_CLIENT, 20, rate=50)
    assert outcomes(connections) == {"refused": 40}
    took_ms = sorted(connection["took_ms"] for connection in connections)
    assert took_ms[-5] < IMMEDIATELY_MS, "nine of ten; the slowest are for a busy machine"
    assert took_ms[-1] < NO_RETRANSMISSION_MS


def test_a_pool_without_redispatch_passes_refusals_and_still_ejects(bed: Bed) -> None:
    bed.apply(one_vip(pool(bed, *MEMBERS, redispatch=False, health_check=None)))
    bed.stop_server("h4")
    connections = bed.ask(CLIENT, 40, rate=100)
    refused = outcomes(connections).get("refused", 0)
    assert refused >= 1, "the first one is passed on"
    assert outcomes(connections) == {"ok": 40 - refused, "refused": refused}
    soon("it is out", lambda: bed.controller.taking() == {"h2", "h6"}, 2, bed.controller.members)
    assert outcomes(bed.ask(CLIENT, 40)) == {"ok": 40}


@pytest.mark.parametrize("mode", ["frozen", "dry-run"])
def test_without_enforcement_refusals_pass_and_nobody_is_ejected(bed: Bed, mode: str) -> None:
    bed.controller.put("automation", {"mode": mode})
    moment = bed.controller.moment()
    bed.stop_server("h4")
    connections = bed.ask(CLIENT, 60) + bed.ask(OTHER_CLIENT, 60)
    assert outcomes(connections).keys() == {"ok", "refused"}
    assert outcomes(connections)["refused"] > 10, "a third of 120, give or take"
    assert bed.controller.taking() == set(MEMBERS)
    assert bed.controller.announced("eject", "ejected", since=moment) == []
    would = {announcement["member"] for announcement in bed.controller.announced("would-eject", since=moment)}
    assert would == ({bed.member("h4")} if mode == "dry-run" else set())


def test_enforcement_comes_back_with_the_mode(bed: Bed) -> None:
    bed.controller.put("automation", {"mode": "frozen"})
    bed.stop_server("h4")
    assert "refused" in outcomes(bed.ask(CLIENT, 40))
    bed.controller.put("automation", {"mode": "enforce"})
    assert outcomes(bed.ask(CLIENT, 40)) == {"ok": 40}


def test_a_member_that_resets_what_it_accepted_is_out_after_a_few(bed: Bed) -> None:
    with bed.load(CLIENT, 100) as near, bed.load(OTHER_CLIENT, 100) as far:
        bed.ask(CLIENT, 30)
        moment = bed.controller.moment()
        bed.servers["h6"].behave("reset-on-accept")
        soon("it is out", lambda: bed.controller.taking() == {"h2", "h4"}, 5, bed.controller.members)
        bed.ask(CLIENT, 50)
        connections = near.finish() + far.finish()
    assert outcomes(connections).keys() <= {"ok", "reset"}
    assert outcomes(connections).get("reset", 0) <= 20, "a third of 0.2 s at 200/s is 13"
    (ejected,) = bed.controller.announced("ejected", since=moment)
    assert ejected["after_ms"] < EJECTED_WITHIN_MS


def test_a_member_that_is_well_again_comes_back(bed: Bed) -> None:
    bed.stop_server("h4")
    bed.ask(CLIENT, 30)
    soon("it is out", lambda: "h4" not in bed.controller.taking(), 5)
    assert bed.controller.member("h4")["health"] == "down"
    assert bed.controller.member("h4")["ejected_until"] is not None
    bed.serve(*MEMBERS)
    soon("it is in", lambda: "h4" in bed.controller.taking(), 5, bed.controller.members)
    assert bed.controller.member("h4")["ejected_until"] is None
    assert "h4" in shares(bed.ask(CLIENT, 60))


def test_the_last_member_is_never_ejected(bed: Bed) -> None:
    moment = bed.controller.moment()
    for host in MEMBERS:
        bed.stop_server(host)
    with bed.load(CLIENT, 40, timeout_s=1.0) as clients:
        soon("two are out", lambda: len(bed.controller.taking()) == 1, 5, bed.controller.members)
        (last,) = bed.controller.taking()
        soon("the last refuses too", lambda: bed.controller.resets(member=last), 5)
        bed.ask(CLIENT, 60, rate=60)  # as long as three of its checks take
        clients.finish()
    assert len(bed.controller.announced("eject", since=moment)) == 2
    assert bed.controller.taking() == {last}
    bed.serve(last)
    soon("it serves again", lambda: shares(bed.ask(CLIENT, 3)) == {last: 3}, 5)


def test_at_most_the_allowed_share_is_ejected(bed: Bed) -> None:
    bed.apply(one_vip(pool(bed, *MEMBERS, max_ejection_percent=50)))
    bed.stop_server("h2")
    bed.stop_server("h4")
    with bed.load(CLIENT, 60) as clients:
        soon("one is out", lambda: len(bed.controller.taking()) == 2, 5, bed.controller.members)
        bed.ask(CLIENT, 60)
        connections = clients.finish()
    assert len(bed.controller.taking()) == 2, "50 % of three, rounded down, is one"
    assert outcomes(connections) == {"ok": len(connections)}, "redispatch spares the clients of the other"


def test_the_refusal_a_client_gets_is_one_its_stack_accepts(bed: Bed) -> None:
    """RST with the sequence and acknowledgement numbers of RFC 9293 §3.10.7.1, from the VIP's address."""
    for host in MEMBERS:
        bed.stop_server(host)
    with bed.frames(CLIENT) as port:
        (connection,) = bed.ask(CLIENT)
        assert connection["outcome"] == "refused"
        syn = port.expect("the SYN", lambda segment: segment.dst_port == 80, "out")
        reset = port.expect("the refusal", lambda segment: segment.is_reset)
    assert (packed(reset.src_text), reset.src_port) == (packed(syn.dst_text), syn.dst_port)
    assert (reset.seq, reset.ack) == (0, (syn.seq + 1) % (1 << 32))
    assert reset.src_port != MEMBER_PORT
