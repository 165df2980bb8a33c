"""Too much of something on real switches: floods of SYNs, full trackers, full tables. What one source does is nobody else's trouble."""

import re
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from bed import (
    MEMBER_PORT,
    NO_RETRANSMISSION_MS,
    VIP,
    VIP_PORT,
    Bed,
    mac_number,
    one_vip,
    outcomes,
    packed,
    pool,
    slowest_connect_ms,
)
from running_controller import soon

from controller.frames import checksum, ethernet
from controller.pipeline import ICMP, IPV4
from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

ATTACKS = True
TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=3)
CLIENT, ATTACKER = "h1", "h3"
MEMBERS = ("h2", "h4", "h5")
NO_RESETS = "table inet silent { chain out { type filter hook output priority 0; tcp flags rst drop; }; }"
"""The kernel knows nothing of hping3's connections and would end each of them with a RST."""
FLOOD_INTERVAL = "u100"
"""10,000 SYNs a second as far as the machine lets hping3."""


def apply(bed: Bed, **firewall: object) -> None:
    bed.serve(*MEMBERS)
    bed.apply({**one_vip(pool(bed, *MEMBERS)), "firewall": firewall})


@contextmanager
def flood(bed: Bed) -> Iterator[None]:
    """SYNs from ever other ports to the VIP, by raw sockets: nobody answers their SYN-ACKs."""
    argv = ["hping3", "--syn", "--quiet", "--interval", FLOOD_INTERVAL, "--destport", str(VIP_PORT), VIP]
    bed.fabric.run(ATTACKER, "nft", NO_RESETS)
    process = bed.fabric.popen(ATTACKER, *argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def place(bed: Bed, host: str) -> str:
    return f"{bed.fabric.dpid('leaf1')}:{bed.fabric.port_no('leaf1', host)}"


def reaction_ms(bed: Bed, victim: str) -> float:
    """The slowest connect of clients while a member's process is killed.

    Whoever the member had answered by then loses the connection with it, and the more the longer an answer takes. Nobody else may notice.
    """
    with bed.load(CLIENT, rate=50) as clients:
        time.sleep(1.0)
        killing = time.time()
        bed.stop_server(victim)
        killed = time.time()
        time.sleep(2.0)
        seen = clients.finish()
    open_then = [one for one in seen if one["began"] <= killed and one["began"] + one["took_ms"] / 1000 >= killing]
    with_it = [one for one in open_then if one["outcome"] == "reset"]
    others = [one for one in seen if one not in with_it]
    assert outcomes(others).keys() == {"ok"}, (outcomes(others), with_it)
    return slowest_connect_ms(others)


def test_a_flood_is_held_at_its_port_named_and_leaves_the_reaction_to_resets_alone(
    bed: Bed, record_property: Callable[[str, object], None]
) -> None:
    apply(bed, port_connections_per_s=100)
    since = bed.controller.moment()
    with flood(bed):
        said = soon("the flood is named", lambda: bed.controller.announced("syn-flood", since=since), 10)
        shown = [port["syn_flood"] for switch in bed.controller.get("switches")["items"] for port in switch["ports"]]
        assert shown.count(True) == 1 and place(bed, ATTACKER) in said[0]["message"]
        assert bed.controller.counted("resetlb_flow_table_full_total") == 0
        flooded = reaction_ms(bed, MEMBERS[0])
    record_property("slowest_connect_ms", flooded)
    assert flooded < NO_RETRANSMISSION_MS


@contextmanager
def room_for(connections: int) -> Iterator[None]:
    """A tracker that holds no more: one for all switches of the process (dpctl/ct-set-maxconns in ovs-vswitchd(8))."""
    openvswitch.appctl("dpctl/ct-set-maxconns", str(connections))
    try:
        yield
    finally:
        openvswitch.appctl("dpctl/flush-conntrack")
        openvswitch.appctl("dpctl/ct-set-maxconns", "3000000")


def tracked() -> int:
    return int(re.search(r"\d+", openvswitch.appctl("dpctl/ct-get-nconns"))[0])


def tracker_full(bed: Bed) -> list[str]:
    return [switch["dpid"] for switch in bed.controller.get("switches")["items"] if switch["tracker_full"]]


def test_one_source_cannot_fill_the_tracker_for_the_others(bed: Bed) -> None:
    with room_for(2000):
        apply(bed, port_connections_per_s=20)
        with flood(bed), bed.load(CLIENT, rate=15) as clients:
            time.sleep(3.0)
            assert tracked() < 1500
            assert outcomes(clients.finish()).keys() == {"ok"}
        assert tracker_full(bed) == []


def test_a_full_tracker_is_named_shown_and_breaks_nothing_that_is_open(bed: Bed) -> None:
    """With a limit that lets the flood fill it; what is open goes on, and it is over when there is room again."""
    leaf = bed.fabric.dpid("leaf1")
    before = bed.controller.counted("resetlb_connections_untracked_total", dpid=leaf)
    apply(bed, port_connections_per_s=10_000)
    since = bed.controller.moment()
    with bed.keep(CLIENT, 10) as kept, room_for(500), flood(bed):
        (said, *_) = soon("it is named", lambda: bed.controller.announced("tracker-full", since=since), 10)
        assert leaf in said["message"] and place(bed, ATTACKER) in said["message"]
        assert tracker_full(bed) == [leaf]
        assert bed.controller.counted("resetlb_connections_untracked_total", dpid=leaf) > before
        assert tracked() <= 500
        assert outcomes(kept.finish()) == {"ok": 10}
    soon("it is over", lambda: bed.controller.announced("tracker-full-over", since=since), 20)
    assert tracker_full(bed) == []
    assert outcomes(bed.ask(CLIENT, 20)) == {"ok": 20}


def unreachable(quoted: bytes, to_mac: int, from_mac: int) -> bytes:
    """ICMP host unreachable about a packet, from whoever it was for (RFC 792, RFC 1812 §4.3.2.3: quotes as much as fits)."""
    body = struct.pack("!BBHI", 3, 1, 0, 0) + quoted
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, ICMP, 0) + quoted[16:20] + quoted[12:16]
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return ethernet(to_mac, from_mac, IPV4, header + body)


def test_an_icmp_error_about_a_connection_reaches_its_client_translated(bed: Bed) -> None:
    """The member's side names the member; the client only knows the VIP."""
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, MEMBERS[0])))
    client, member = packed(bed.fabric.address(CLIENT)), packed(bed.fabric.address(MEMBERS[0]))
    with bed.keep(CLIENT, 1) as kept, bed.frames(MEMBERS[0]) as there, bed.frames(CLIENT) as here:
        request = there.expect("a request", lambda one: one.dst_port == MEMBER_PORT and one.payload_bytes > 0)
        assert request is not None
        (frame, *_) = [
            frame
            for way, frame in there.look()
            if way == "in" and frame[26:30] == client.to_bytes(4) and len(frame) > 90
        ]
        there.send(
            unreachable(frame[14:78], mac_number(bed.fabric.mac(CLIENT)), mac_number(bed.fabric.mac(MEMBERS[0])))
        )

        def errors() -> list[bytes]:
            return [frame for way, frame in here.look() if way == "in" and frame[23] == ICMP and frame[34] == 3]

        (error, *_) = soon("the error arrives", errors, 3)
        assert error[26:30] == packed(VIP).to_bytes(4), "from the VIP"
        assert error[58:62] == packed(VIP).to_bytes(4) and error[64:66] == VIP_PORT.to_bytes(2), "about the VIP"
        assert member.to_bytes(4) not in (error[26:30], error[58:62])
        assert outcomes(kept.finish()) == {"ok": 1}


def limit_table(leaf: str, entries: int) -> None:
    table = ["--id=@t", "create", "Flow_Table", f"flow_limit={entries}", "overflow_policy=refuse"]
    openvswitch.vsctl("--", *table, "--", "set", "Bridge", leaf, "flow_tables:2=@t")


def in_table(leaf: str) -> int:
    said = openvswitch.ofctl("-O", "OpenFlow13", "dump-aggregate", leaf, "table=2")
    return int(re.search(r"flow_count=(\d+)", said)[1])


def test_a_full_table_is_an_alert_and_no_outage(bed: Bed) -> None:
    apply(bed)
    since = bed.controller.moment()
    limit_table("leaf1", in_table("leaf1") + 10)
    try:
        with bed.load(CLIENT, rate=50) as clients:
            rules = [{"id": f"r{n}", "action": "drop", "dst": f"10.77.{n}.0/24"} for n in range(50)]
            bed.controller.put("policy", {**bed.controller.get("policy"), "firewall": {"rules": rules}})
            soon("it is said", lambda: bed.controller.announced("table-full", since=since), 5)
            time.sleep(1.0)
            assert outcomes(clients.finish()).keys() == {"ok"}
        switch = next(one for one in bed.controller.get("switches")["items"] if one["dpid"] == bed.fabric.dpid("leaf1"))
        assert switch["table_full"] and switch["connected"]
        assert bed.controller.announced("switch", since=since) == [], "nobody reconnected"
    finally:
        openvswitch.vsctl("clear", "Bridge", "leaf1", "flow_tables")
    soon(
        "the rest follows by itself",
        lambda: abs(in_table("leaf1") - in_table("leaf2")) < 20,
        40,
        lambda: in_table("leaf1"),
    )


@pytest.fixture(autouse=True)
def as_before(bed: Bed) -> Iterator[None]:
    yield
    bed.fabric.run(ATTACKER, "nft", "delete table inet silent")
