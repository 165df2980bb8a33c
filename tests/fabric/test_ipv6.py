"""IPv6 from end to end: everything that the fabric does for IPv4, on hosts that speak both."""

import time
from collections.abc import Iterator

import pytest
from bed import (
    IPV6_NOBODY,
    MEMBER_PORT,
    NO_RETRANSMISSION_MS,
    VIP_PORT,
    Bed,
    mac_number,
    one_vip,
    outcomes,
    packed,
    pool,
    segment_frame,
    shares,
    slowest_connect_ms,
)
from running_controller import soon

from controller import frames, neighbours
from controller.frames import Tcp, ethernet, icmpv6, tcp
from controller.pipeline import IPV6 as ETH_IPV6
from controller.pipeline import RST
from topologies.leaf_spine import LeafSpineTopo

IPV6 = ATTACKS = True
TOPOLOGY = LeafSpineTopo(spines=2, leaves=2, hosts=3)
CLIENT, ATTACKER, FAR_CLIENT = "h1", "h3", "h4"
"""The attacker is on the client's leaf."""
MEMBERS = ("h2", "h5", "h6")
"""The first on the client's leaf, the others on the other one."""
EJECTED_WITHIN_MS = 500.0
ALL_NODES_MAC = 0x333300000001


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(policy(bed))


def policy(bed: Bed, **settings: object) -> dict:
    return one_vip(pool(bed, *MEMBERS, **settings), address=bed.vip)


def rule(**fields: object) -> dict:
    return {"protocol": "tcp", "action": "drop", **fields}


def with_rules(bed: Bed, *rules: dict, **firewall: object) -> None:
    bed.apply({**policy(bed), "firewall": {"rules": list(rules), **firewall}})


def pings(bed: Bed, host: str, address: str, count: int = 1) -> str:
    return bed.fabric.run(host, "ping", "-6", f"-c{count}", "-i0.2", "-W1", address).stdout


def answered(bed: Bed, host: str, address: str) -> bool:
    return " 1 received" in pings(bed, host, address)


def link_local(bed: Bed, host: str) -> str:
    shown = bed.fabric.run(host, "ip", "-6", "-br", "address", "show", "scope", "link").stdout
    return next(word.partition("/")[0] for word in shown.split() if word.startswith("fe80:"))


# --- hosts ---------------------------------------------------------------------------------------------------------------------


def test_hosts_reach_each_other_across_the_fabric_and_on_their_own_leaf(bed: Bed) -> None:
    for a, b in (("h1", "h2"), ("h1", "h4"), ("h6", "h3")):
        assert answered(bed, a, bed.address(b)), (a, b)
    connections = bed.ask("h1", 20, address=bed.address("h6"), port=MEMBER_PORT)
    assert outcomes(connections) == {"ok": 20}
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS


def test_link_local_addresses_work_on_the_whole_segment(bed: Bed) -> None:
    interface = bed.fabric.host("h1").defaultIntf().name
    for host in ("h2", "h5"):
        target = link_local(bed, host)
        # The first question may find nobody yet: it is asked at every host port.
        soon(f"{host} answers", lambda at=target: answered(bed, "h1", f"{at}%{interface}"), 5)
    assert {link_local(bed, host) for host in ("h1", "h2", "h5")} <= {
        host["address"] for host in bed.controller.get("hosts")["items"]
    }


def test_a_large_transfer_crosses(bed: Bed) -> None:
    bed.servers["h6"].behave(body_bytes=5_000_000)
    assert outcomes(bed.ask("h1", 4, address=bed.address("h6"), port=MEMBER_PORT)) == {"ok": 4}


# --- neighbour discovery -------------------------------------------------------------------------------------------------------


def test_questions_for_a_vip_and_for_hosts_are_answered_and_heard_by_nobody_else(bed: Bed) -> None:
    bed.fabric.run(CLIENT, "ip", "-6", "neigh", "flush", "all")
    with bed.frames(ATTACKER) as near, bed.frames(FAR_CLIENT) as far:
        assert answered(bed, CLIENT, bed.vip)
        assert answered(bed, CLIENT, bed.address("h5"))
        heard = [message for port in (near, far) for way, frame in port.look()
                 if way == "in" and (message := neighbours.read(frame))]  # fmt: skip
    asked_for = {message.target for message in heard}
    assert not asked_for & {packed(bed.vip), packed(bed.address("h5"))}
    neighbour = bed.fabric.run(CLIENT, "ip", "-6", "neigh", "show", bed.vip).stdout
    assert frames.vip_mac(packed(bed.vip)).to_bytes(6).hex(":") in neighbour and "FAILED" not in neighbour


def test_who_tries_the_address_of_a_vip_is_told_and_who_tries_its_own_is_left_alone(bed: Bed) -> None:
    interface = bed.fabric.host(ATTACKER).defaultIntf().name
    run = bed.fabric.run
    run(ATTACKER, "sysctl", "-qw", f"net.ipv6.conf.{interface}.accept_dad=1", "net.ipv6.conf.all.accept_dad=1")
    try:
        for address, flag in ((bed.vip, "dadfailed"), ("fd00::1:77", "")):
            run(ATTACKER, "ip", "-6", "address", "add", f"{address}/64", "dev", interface)

            def settled(at: str = address) -> str:
                shown = run(ATTACKER, "ip", "-6", "-o", "address", "show", "to", at).stdout
                return shown if "tentative" not in shown or "dadfailed" in shown else ""

            shown = soon(f"{address} was tried", settled, 5)
            assert flag in shown and ("dadfailed" in shown) is bool(flag)
            run(ATTACKER, "ip", "-6", "address", "del", f"{address}/64", "dev", interface)
    finally:
        run(ATTACKER, "sysctl", "-qw", f"net.ipv6.conf.{interface}.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")


def test_no_host_is_a_router(bed: Bed) -> None:
    """Advertisements to everybody and to one host, and a redirect: nobody else sees them."""
    source = packed(link_local(bed, ATTACKER))
    mac, client_mac = mac_number(bed.fabric.mac(ATTACKER)), mac_number(bed.fabric.mac(CLIENT))
    advertisement = bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8)
    redirect = bytes([137, 0]) + bytes(6) + bytes(32)
    with bed.frames(CLIENT) as seen, bed.frames(ATTACKER) as port:
        port.send(ethernet(ALL_NODES_MAC, mac, ETH_IPV6, icmpv6(advertisement, source, neighbours.ALL_NODES, 255)))
        for body in (advertisement, redirect):
            packet = icmpv6(body, source, packed(bed.address(CLIENT)), 255)
            port.send(ethernet(client_mac, mac, ETH_IPV6, packet))
        assert answered(bed, ATTACKER, bed.address(CLIENT))

        def kinds() -> set[int]:
            return {
                frame[54]
                for way, frame in seen.look()
                if way == "in" and frame[12:14] == b"\x86\xdd" and frame[20] == 58
            }

        soon("what came after them has arrived", lambda: 128 in kinds(), 3, kinds)
        assert not kinds() & {134, 137}


# --- the balancer --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [CLIENT, FAR_CLIENT])
def test_a_vip_is_served_by_members_near_and_far(bed: Bed, client: str) -> None:
    connections = bed.ask(client, 120)
    assert outcomes(connections) == {"ok": 120}
    assert set(shares(connections)) == set(MEMBERS)
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS
    assert answered(bed, client, bed.vip)


def test_connections_stay_where_they_were_put(bed: Bed) -> None:
    with bed.keep(CLIENT, 30, interval_s=0.05) as near, bed.keep(FAR_CLIENT, 30, interval_s=0.05) as far:
        for weight in (1, 1000, 0, 100):
            bed.controller.patch("pools/web/members/h5", {"weight": weight})
            bed.ask(CLIENT, 20)
        keeping = near.finish() + far.finish()
    assert outcomes(keeping) == {"ok": 60}
    assert {len(connection["members"]) for connection in keeping} == {1}
    assert {connection["members"][0] for connection in keeping} == set(MEMBERS)


def test_with_affinity_a_client_keeps_its_member(bed: Bed) -> None:
    bed.apply(one_vip(pool(bed, *MEMBERS), address=bed.vip, affinity_timeout_s=30))
    # The first is on its own: what opens within milliseconds of it may miss what the switch learns from it.
    served = [shares(bed.ask(client, 1) + bed.ask(client, 39)) for client in (CLIENT, FAR_CLIENT)]
    assert [sum(share.values()) for share in served] == [40, 40]
    assert [len(share) for share in served] == [1, 1]


def test_a_member_reaches_itself_by_the_vip(bed: Bed) -> None:
    connections = bed.ask("h2", 60)
    assert outcomes(connections) == {"ok": 60}
    assert set(shares(connections)) == set(MEMBERS)


def test_a_port_that_is_used_again_opens_at_once(bed: Bed) -> None:
    ports = range(20_000, 20_010)
    assert outcomes(bed.ask_from(CLIENT, ports)) == {"ok": 10}
    again = bed.ask_from(CLIENT, ports)
    assert outcomes(again) == {"ok": 10}
    assert slowest_connect_ms(again) < NO_RETRANSMISSION_MS


# --- refusals, resets and probes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["h2", "h6"])
def test_a_killed_server_costs_no_connection(bed: Bed, victim: str) -> None:
    with bed.load(CLIENT, 100) as near, bed.load(FAR_CLIENT, 100) as far:
        bed.ask(CLIENT, 30)
        moment = bed.controller.moment()
        bed.stop_server(victim)
        dead_since = time.time()
        soon("it is out", lambda: victim not in bed.controller.taking(), 5, bed.controller.members)
        bed.ask(CLIENT, 30)
        connections = near.finish() + far.finish()
    after = [connection for connection in connections if connection["began"] > dead_since]
    assert outcomes(after) == {"ok": len(after)}
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS
    (ejected,) = bed.controller.announced("ejected", since=moment)
    assert ejected["member"] == bed.member(victim)
    assert ejected["after_ms"] < EJECTED_WITHIN_MS
    # What was open when it was killed, and perhaps what was refused before it was out.
    resets = bed.controller.resets(member=victim)
    assert {reset["client"] for reset in resets} <= {bed.address(CLIENT), bed.address(FAR_CLIENT)}
    assert {reset["destination"] for reset in resets} == {bed.vip}
    bed.serve(*MEMBERS)
    soon("own probes find it well again", lambda: victim in bed.controller.taking(), 10, bed.controller.members)


def test_with_every_member_down_the_client_is_refused_at_once(bed: Bed) -> None:
    for host in MEMBERS:
        bed.stop_server(host)
    connections = bed.ask(CLIENT, 20, rate=50)
    assert outcomes(connections) == {"refused": 20}
    assert max(connection["took_ms"] for connection in connections) < NO_RETRANSMISSION_MS


def test_a_redispatched_connection_carries_data_both_ways(bed: Bed) -> None:
    for host in ("h2", "h6"):
        bed.servers[host].behave(body_bytes=2_000_000)
    bed.stop_server("h5")
    assert outcomes(bed.ask(CLIENT, 15, rate=50, timeout_s=20.0)) == {"ok": 15}
    assert {reset["kind"] for reset in bed.controller.resets(member="h5")} == {"refused"}


def test_a_dead_member_is_found_by_probes_alone(bed: Bed) -> None:
    bed.stop_server("h5")
    soon("it is out", lambda: "h5" not in bed.controller.taking(), 10, bed.controller.members)
    assert bed.controller.member("h5")["health"] == "down"
    assert outcomes(bed.ask(CLIENT, 40)) == {"ok": 40}


def test_a_forged_reset_is_dropped_where_it_enters_and_named(bed: Bed) -> None:
    client, member = packed(bed.address(CLIENT)), packed(bed.address("h5"))
    known = len(injected(bed))
    with bed.frames(CLIENT) as port, bed.keep(CLIENT, 1, interval_s=0.05) as kept, bed.frames(ATTACKER) as attacker:
        answer = port.expect("an answer", lambda segment: segment.src_port == VIP_PORT and segment.payload_bytes > 0)
        place = client, answer.dst_port
        exact = answer.seq + answer.payload_bytes
        forged = [Tcp(*sender, *place, RST, exact) for sender in ((packed(bed.vip), VIP_PORT), (member, MEMBER_PORT))]
        mac = mac_number(bed.fabric.mac(ATTACKER))
        attacker.send(*(tcp(segment, mac_number(bed.fabric.mac(CLIENT)), mac) for segment in forged))
        soon("they are recorded", lambda: len(injected(bed)) - known == 2, 3, lambda: bed.controller.resets()[:5])
        since = len(port.look())
        port.expect("a further answer", lambda segment: segment.payload_bytes > 0, since=since)
        (connection,) = kept.finish()
        resets = [segment for segment in port.segments() if segment.is_reset]
    assert connection["outcome"] == "ok" and resets == []
    leaf = bed.fabric.dpid("leaf1")
    assert {reset["entry_port"] for reset in injected(bed)[:2]} == {f"{leaf}:{bed.fabric.port_no('leaf1', ATTACKER)}"}


def injected(bed: Bed) -> list[dict]:
    return [reset for reset in bed.controller.resets() if reset["sender"] == "injected"]


@pytest.fixture
def translated(bed: Bed) -> Iterator[tuple[bytes, str]]:
    """A packet of a connection by the VIP as its member got it, and who that is."""
    bed.apply(one_vip(pool(bed, "h5"), address=bed.vip))
    with bed.frames("h5") as port, bed.keep(CLIENT, 1, interval_s=0.05):
        # Not one of the controller's own requests, which come from the VIP.
        client = packed(bed.address(CLIENT)).to_bytes(16)
        port.expect("a request", lambda segment: segment.src == client and segment.payload_bytes > 0)
        asked = [frame for way, frame in port.look() if way == "in" and frame[22:38] == client and b"GET /" in frame]
        yield asked[-1], "h5"


def test_packet_too_big_comes_back_translated(bed: Bed, translated: tuple[bytes, str]) -> None:
    """Path MTU discovery (RFC 8201) depends on it: the client must recognise its own packet in the quotation."""
    frame, member = translated
    client, mac = packed(bed.address(CLIENT)), mac_number(bed.fabric.mac(member))
    too_big = bytes([2, 0, 0, 0]) + (1400).to_bytes(4) + frame[14:]
    packet = icmpv6(too_big, packed(bed.address(member)), client)
    with bed.frames(CLIENT) as seen, bed.frames(member) as port:
        port.send(ethernet(mac_number(bed.fabric.mac(CLIENT)), mac, ETH_IPV6, packet))

        def errors() -> list[bytes]:
            return [one for way, one in seen.look() if way == "in" and one[12:14] == b"\x86\xdd" and one[20] == 58
                    and one[54] == 2]  # fmt: skip

        soon("it arrives", errors, 3)
        (error,) = errors()
    quoted = error[62:]
    assert int.from_bytes(quoted[8:24]) == client
    assert int.from_bytes(quoted[24:40]) == packed(bed.vip), "as the client sent it"
    assert int.from_bytes(quoted[42:44]) == VIP_PORT


# --- firewall and quarantine ---------------------------------------------------------------------------------------------------


def test_rules_of_ipv6_allow_drop_and_reject(bed: Bed) -> None:
    near, far = bed.address(CLIENT), bed.address(FAR_CLIENT)
    with_rules(
        bed,
        rule(id="out", src=near, dst=bed.vip, action="reject"),
        rule(id="quiet", src=f"{far}/128", dst="fd00::/64", dst_ports=[MEMBER_PORT]),
        rule(id="echo", src=near, dst=bed.address("h6"), protocol="icmp", action="reject"),
    )
    refused = bed.ask(CLIENT, 10, rate=50)
    assert outcomes(refused) == {"refused": 10}
    assert max(connection["took_ms"] for connection in refused) < NO_RETRANSMISSION_MS
    assert outcomes(bed.ask(FAR_CLIENT, 10)) == {"ok": 10}
    silent = bed.ask(FAR_CLIENT, 2, address=bed.address("h2"), port=MEMBER_PORT, timeout_s=1.5)
    assert outcomes(silent) == {"timeout": 2}
    assert outcomes(bed.ask(CLIENT, 5, address=bed.address("h2"), port=MEMBER_PORT)) == {"ok": 5}
    assert "Administratively prohibited" in pings(bed, CLIENT, bed.address("h6"))
    assert answered(bed, CLIENT, bed.address("h5"))


def test_a_default_of_drop_is_one_for_ipv6_and_leaves_neighbours_alone(bed: Bed) -> None:
    with_rules(bed, rule(id="web", dst=bed.vip, dst_ports=[VIP_PORT], action="allow"), default="drop")
    bed.fabric.run(CLIENT, "ip", "-6", "neigh", "flush", "all")
    assert outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}
    assert not answered(bed, CLIENT, bed.address("h5"))
    silent = bed.ask(CLIENT, 2, address=bed.address("h5"), port=MEMBER_PORT, timeout_s=1.5)
    assert outcomes(silent) == {"timeout": 2}


def test_a_client_in_quarantine_is_silent_and_nobody_else_is(bed: Bed) -> None:
    entry = bed.controller.request(
        "POST", "quarantine", {"client": bed.address(FAR_CLIENT), "action": "drop", "ttl_s": 60}
    )
    try:
        soon("it bites", lambda: outcomes(bed.ask(FAR_CLIENT, 1, timeout_s=0.5)) == {"timeout": 1}, 5)
        assert outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}
        assert not answered(bed, FAR_CLIENT, bed.address(CLIENT))
    finally:
        bed.controller.request("DELETE", f"quarantine/{entry['id']}")
    soon("it is over", lambda: outcomes(bed.ask(FAR_CLIENT, 1)) == {"ok": 1}, 5)


def test_an_address_that_is_not_the_stations_own_does_not_get_in(bed: Bed) -> None:
    """The attacker sends SYNs in another host's name: its owner is not disturbed, and no member hears of them."""
    victim = packed(bed.address(CLIENT))
    with bed.frames("h5") as member, bed.frames(ATTACKER) as port:
        syns = [Tcp(victim, 21_000 + n, packed(bed.address("h5")), MEMBER_PORT, 2, 1, window=1000) for n in range(20)]
        port.send(*(segment_frame(bed, ATTACKER, syn, mac_number(bed.fabric.mac("h5"))) for syn in syns))
        assert outcomes(bed.ask(CLIENT, 10)) == {"ok": 10}
        assert [segment for segment in member.segments() if 21_000 <= segment.src_port < 21_020] == []


# --- without the controller ----------------------------------------------------------------------------------------------------


def test_the_fabric_works_on_without_the_controller_which_comes_back_knowing_its_hosts(bed: Bed) -> None:
    known = {host["address"] for host in bed.controller.get("hosts")["items"]}
    assert bed.address(CLIENT) in known
    bed.controller.kill()
    try:
        for host in (CLIENT, FAR_CLIENT):
            bed.fabric.run(host, "ip", "-6", "neigh", "flush", "all")
            assert answered(bed, host, bed.vip), "neighbour discovery and echo are answered by the edge switch"
            assert answered(bed, host, bed.address("h5"))
            assert outcomes(bed.ask(host, 40)) == {"ok": 40}
        assert not answered(bed, CLIENT, IPV6_NOBODY)
    finally:
        bed.restart_controller()
    assert known <= {host["address"] for host in bed.controller.get("hosts")["items"]}
    bed.all_in()
    assert outcomes(bed.ask(CLIENT, 40)) == {"ok": 40}


def test_connections_that_outlive_their_switches_stay_with_their_members(bed: Bed) -> None:
    with bed.keep(CLIENT, 12, timeout_s=10) as near, bed.keep(FAR_CLIENT, 12, timeout_s=10) as far:
        bed.controller.patch("pools/web/members/h5", {"weight": 1})
        moment = bed.controller.moment()
        bed.fabric.restart_switches()
        soon("a switch was seen to go", lambda: bed.controller.announced("switch", since=moment), 10)
        bed.in_order()
        soon("new connections work", lambda: outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}, 10)
        bed.ask(FAR_CLIENT, 40, rate=40)
        keeping = near.finish() + far.finish()
    assert outcomes(keeping) == {"ok": 24}
    assert {len(connection["members"]) for connection in keeping} == {1}
