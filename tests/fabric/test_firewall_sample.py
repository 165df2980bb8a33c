"""A sample of random rules on Open vSwitch: what its own trace says of first packets, beside what reading the rules one by one says."""

import ipaddress
import random
import re

import pytest
from bed import Bed
from running_controller import soon

from controller.flows import PURPOSE_SHIFT, Purpose
from controller.policy import Firewall, Rule
from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=2)
SOURCE = "h1"
DESTINATIONS = ["10.0.1.2", "10.0.2.1", "10.0.2.2", "192.0.2.7"]
PORTS = [80, 85, 443, 1500, 8080]


def drawn(chance: random.Random, number: int) -> dict:
    """A rule that meets others: few prefixes, few ports."""
    protocol = chance.choice([None, "tcp", "tcp", "udp", "icmp"])
    rule: dict = {
        "id": f"r{number}",
        "priority": chance.randint(1, 3),
        "action": chance.choice(["allow", "drop", "reject", "limit"]),
    }
    rule["src"] = chance.choice([None, "10.0.0.0/8", "10.0.1.1", "10.0.1.0/24", "10.0.2.0/24"])
    rule["dst"] = chance.choice([None, "10.0.0.0/8", "10.0.1.2", "10.0.2.0/24", "10.0.2.1", "192.0.2.0/24"])
    rule["protocol"] = protocol
    if protocol in ("tcp", "udp"):
        rule["dst_ports"] = chance.sample([80, 443, 8080, "80-90", "1000-1999"], chance.randint(0, 2))
    if rule["action"] == "limit":
        rule["rate_pps"] = 1000
    return rule


def concerns(rule: Rule, protocol: str, src: str, dst: str, port: int) -> bool:
    return (
        rule.protocol in (None, protocol)
        and all(
            prefix is None or ipaddress.ip_address(address) in ipaddress.ip_network(prefix)
            for prefix, address in ((rule.src, src), (rule.dst, dst))
        )
        and (not rule.dst_ports or any(low <= port <= high for low, high in rule.port_ranges()))
    )


def verdict(firewall: Firewall, *packet: object) -> str:
    """Read off the rules."""
    ordered = sorted(firewall.rules, key=lambda rule: -rule.priority)
    rule = next((rule for rule in ordered if concerns(rule, *packet)), None)
    action = rule.action.value if rule else firewall.default.value
    return "allow" if action == "limit" else action


def traced(bed: Bed, protocol: str, src: str, dst: str, port: int) -> str:
    """What Open vSwitch would do with it (ofproto/trace in ovs-vswitchd(8))."""
    ports = {"tcp": f",tcp_dst={port},tcp_flags=syn", "udp": f",udp_dst={port}", "icmp": ",icmp_type=8"}[protocol]
    flow = (
        f"in_port={bed.fabric.port_no('leaf1', SOURCE)},{protocol},dl_src={bed.fabric.mac(SOURCE)},"
        f"dl_dst=02:00:00:00:00:99,nw_src={src},nw_dst={dst},nw_ttl=64{ports}"
    )
    said = openvswitch.appctl("ofproto/trace", "leaf1", flow, "--ct-next", "trk,new")
    judged = said[said.index("recirc(") :] if "recirc(" in said else said
    found = re.search(r"^ *2\. .*?cookie 0x([0-9a-f]+)", judged, re.MULTILINE)
    assert found, said
    if re.search(r"goto_table:4|^ *4\. ", judged, re.MULTILINE):
        return "allow"
    return "reject" if int(found[1], 16) >> PURPOSE_SHIFT == Purpose.REJECTED else "drop"


@pytest.mark.parametrize("seed", range(6))
def test_what_open_vswitch_says_is_what_the_rules_say(bed: Bed, seed: int) -> None:
    chance = random.Random(seed)
    rules = [drawn(chance, number) for number in range(chance.randint(1, 8))]
    default = chance.choice(["allow", "drop", "reject"])
    document = {"version": 1, "firewall": {"rules": rules, "default": default}}
    bed.controller.put("policy", {"version": 1})
    bed.controller.put("policy", document)
    firewall = Firewall.model_validate(document["firewall"])
    src = bed.fabric.address(SOURCE)
    packets = [
        (chance.choice(["tcp", "udp", "icmp"]), src, chance.choice(DESTINATIONS), chance.choice(PORTS))
        for _ in range(25)
    ]

    def differing() -> list[tuple]:
        both = [(packet, traced(bed, *packet), verdict(firewall, *packet)) for packet in packets]
        return [one for one in both if one[1] != one[2]]

    # The rules are on their way when the policy has been answered for.
    soon("the switch does what the rules say", lambda: not differing(), 3, differing)
