"""A tenant who wants others harmed: its competitor out, its victim put away, links cut, tables full. It harms nobody but itself.

Resets in false names: test_forged_resets.py; scans: test_firewall_scans.py; a hostile switch: test_hostile_switch.py.
"""

import time
from collections.abc import Iterator

import pytest
from bed import (
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

from controller.frames import ARP_REPLY, ARP_REQUEST, BROADCAST, Arp, Tcp, arp, lldp, mss, tcp, vip_mac
from controller.host_learning import LEARN_BURST
from controller.inspection import MAX_VERDICTS
from controller.pipeline import SYN
from controller.probe_frames import Probe, ProbeKind, write_probe
from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

ATTACKS = True
TOPOLOGY = LeafSpineTopo(spines=2, leaves=2, hosts=3)
CLIENT, ATTACKER, VICTIM = "h1", "h2", "h3"
MEMBERS = ("h4", "h5")
ADDRESSES_PER_PORT = 256


@pytest.fixture(scope="module", autouse=True)
def served(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    judged = {
        "id": "judged",
        "dst_ports": ["1000-60000"],
        "protocol": "tcp",
        "action": "drop",
        "inspect": "first-packet",
    }
    policy = one_vip(pool(bed, *MEMBERS), affinity_timeout_s=30)
    bed.apply({**policy, "firewall": {"rules": [{**judged, "dst": bed.fabric.address(VICTIM)}]}})


@pytest.fixture(autouse=True)
def nobody_is_harmed(bed: Bed) -> Iterator[None]:
    """New connections of two others work throughout, no member is out, no link lost, and only the attacker may be put away."""
    moment = bed.controller.moment()
    links = len(bed.controller.get("links")["items"])
    with bed.load(CLIENT, 40) as near, bed.load(VICTIM, 40) as victims:
        yield
        bed.ask(CLIENT, 10)
        connections = near.finish() + victims.finish()
    assert outcomes(connections) == {"ok": len(connections)}
    assert slowest_connect_ms(connections) < NO_RETRANSMISSION_MS
    assert bed.controller.taking() == set(MEMBERS)
    assert len(bed.controller.get("links")["items"]) == links
    assert bed.controller.announced("eject", since=moment) == []
    put_away = {entry["client"] for entry in bed.controller.get("quarantine")["items"]}
    assert put_away <= {bed.fabric.address(ATTACKER)}
    for entry in bed.controller.get("quarantine")["items"]:
        bed.controller.request("DELETE", f"quarantine/{entry['id']}")


def own_mac(bed: Bed) -> int:
    return mac_number(bed.fabric.mac(ATTACKER))


def test_arp_in_false_names_moves_nobody(bed: Bed) -> None:
    """It says of the VIP, of a member and of the victim that they are where it is: to everybody, and to the client alone."""
    mac, client = own_mac(bed), (mac_number(bed.fabric.mac(CLIENT)), packed(bed.fabric.address(CLIENT)))
    claimed = [packed(address) for address in (VIP, bed.fabric.address(MEMBERS[0]), bed.fabric.address(VICTIM))]
    bed.fabric.run(CLIENT, "ping", "-c1", "-W1", bed.fabric.address(VICTIM))
    known = bed.fabric.run(CLIENT, "ip", "neigh").stdout.split("\n")
    moment = bed.controller.moment()
    with bed.frames(CLIENT) as seen, bed.frames(ATTACKER) as port:
        for address in claimed * 20:
            port.send(
                arp(Arp(ARP_REQUEST, mac, address, 0, address), BROADCAST),
                arp(Arp(ARP_REPLY, mac, address, *client), client[0]),
            )
        soon("its claims are named", lambda: bed.controller.announced("spoof", since=moment), 5)
        time.sleep(MOVE_S)
        heard = [
            frame
            for way, frame in seen.look()
            if way == "in" and frame[12:14] == b"\x08\x06" and frame[22:28] == mac.to_bytes(6)
        ]
    assert heard == []
    after = bed.fabric.run(CLIENT, "ip", "neigh").stdout.split("\n")
    assert {line.split()[:5][-1] for line in after if "lladdr" in line} <= {
        line.split()[:5][-1] for line in known if "lladdr" in line
    }
    hosts = {host["address"]: host["mac"] for host in bed.controller.get("hosts")["items"]}
    assert hosts[bed.fabric.address(VICTIM)] == bed.fabric.mac(VICTIM)


MOVE_S = 1.5
"""An address that does not answer within 1 s moves; these do."""


def test_a_victims_address_as_source_brings_the_victim_no_quarantine(bed: Bed) -> None:
    """A scan and a flood of SYNs in the victim's name, from the attacker's port."""
    victim, target = packed(bed.fabric.address(VICTIM)), packed(bed.fabric.address(MEMBERS[0]))
    to = mac_number(bed.fabric.mac(MEMBERS[0]))
    scan = [
        tcp(Tcp(victim, 40_000 + n, target, 1000 + n, SYN, n, options=mss(victim)), to, own_mac(bed))
        for n in range(2000)
    ]
    flood = [
        tcp(
            Tcp(victim, 10_000 + n, packed(VIP), VIP_PORT, SYN, n, options=mss(victim)),
            vip_mac(packed(VIP)),
            own_mac(bed),
        )
        for n in range(2000)
    ]
    with bed.frames(ATTACKER) as port:
        for at in range(0, 2000, 200):
            port.send(*scan[at : at + 200], *flood[at : at + 200])
            time.sleep(0.1)
        time.sleep(2.0)
    about = {entry["client"] for entry in bed.controller.get("quarantine")["items"]}
    assert bed.fabric.address(VICTIM) not in about


def test_invented_links_and_probes_are_not_believed(bed: Bed) -> None:
    """LLDP and link probes that it signs itself: a way that is not there, and losses of one that is."""
    dpids = [int(bed.fabric.dpid(switch), 16) for switch in bed.fabric.switch_names]
    before = [(link["src"], link["dst"]) for link in bed.controller.get("links")["items"]]
    forged = [lldp(b"a guess", dpid, port) for dpid in dpids for port in range(1, 6)]
    forged += [
        write_probe(b"a guess", Probe(ProbeKind.TIMED, dpid, port, seq, 0.0))
        for dpid in dpids
        for port in range(1, 6)
        for seq in range(50)
    ]
    with bed.frames(ATTACKER) as port:
        port.send(*forged)
        time.sleep(2.0)
    links = bed.controller.get("links")["items"]
    assert [(link["src"], link["dst"]) for link in links] == before
    assert all((link["loss_pct"] or 0.0) < 50.0 for link in links)


def test_our_own_lldp_sent_back_makes_no_link(bed: Bed) -> None:
    """What it hears at its own port, word for word."""
    with bed.frames(ATTACKER) as port:

        def beacons() -> list[bytes]:
            return [frame for way, frame in port.look() if way == "in" and frame[12:14] == b"\x88\xcc"]

        soon("it hears one", beacons, 10)
        port.send(*beacons() * 20)
        time.sleep(1.0)


def test_a_port_that_goes_up_and_down_costs_the_others_nothing(bed: Bed) -> None:
    interface = bed.fabric.host(ATTACKER).defaultIntf().name
    for _ in range(25):
        bed.fabric.run(ATTACKER, "ip", "link", "set", interface, "down")
        bed.fabric.run(ATTACKER, "ip", "link", "set", interface, "up")
    soon("it is known again", lambda: outcomes(bed.ask(ATTACKER, 1, timeout_s=1.0)) == {"ok": 1}, 15)


def test_no_table_is_filled_by_one_port(bed: Bed) -> None:
    """Addresses that it invents, each asking for the VIP, which remembers its clients; and ports that a rule has judged one by one."""
    before, hosts = len(bed.fabric.dump_flows("leaf1")), len(bed.controller.get("hosts?limit=1000")["items"])
    victim, mac = packed(bed.fabric.address(VICTIM)), own_mac(bed)
    to_vip, to_victim = vip_mac(packed(VIP)), mac_number(bed.fabric.mac(VICTIM))
    own = packed(bed.fabric.address(ATTACKER))
    with bed.frames(ATTACKER) as port:
        for at in range(0, 4000, 100):
            invented = [packed("10.0.128.0") + number for number in range(at, at + 100)]
            port.send(
                *(tcp(Tcp(src, 5000, packed(VIP), VIP_PORT, SYN, 1, options=mss(src)), to_vip, mac) for src in invented)
            )
            ports = range(1000 + at, 1100 + at)
            port.send(
                *(tcp(Tcp(own, 6000, victim, number, SYN, 1, options=mss(own)), to_victim, mac) for number in ports)
            )
            time.sleep(0.05)
    learnt = len(bed.controller.get("hosts?limit=1000")["items"]) - hosts
    assert 0 < learnt <= ADDRESSES_PER_PORT
    assert learnt <= LEARN_BURST + 8 * 10, "and not all at once"
    entries = len(bed.fabric.dump_flows("leaf1")) - before
    assert entries <= 8 * learnt + MAX_VERDICTS, entries
