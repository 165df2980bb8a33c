"""Random policies for a given fabric: pools of either family, VIPs that share them, firewall rules; small, so that they meet each other."""

from typing import Any

from hypothesis import strategies as st
from model_world import text

from controller.addresses import is_ipv6
from controller.policy import Policy, parse_policy
from topologies.model.wiring import Wiring

PREFIXES = ["10.0.0.0/8", "10.0.0.100", "10.0.0.101", "10.0.1.0/24", "10.0.1.1", "10.0.2.2", "192.0.2.0/24"]
IPV6_PREFIXES = ["::/0", "fd00::/64", "fd00::64", "fd00::65", "fd00::1:0/112", "fd00::1:1", "2001:db8::/32"]
DIVISIONS = [[], ["10.0.0.0/16", "fd00::/64"], [f"10.0.{edge}.0/24" for edge in range(1, 10)]]
"""Ways to divide a fabric into subnets: not at all; with the VIPs inside; with the VIPs outside."""
PORTS = [80, 443, 8080, "80-90", "1000-1999", "1-65535"]


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """A firewall rule without a schedule."""
    protocol = draw(st.sampled_from([None, "tcp", "udp", "icmp"]))
    action = draw(st.sampled_from(["allow", "drop", "reject", "limit"]))
    rule: dict[str, Any] = {"priority": draw(st.integers(1, 3)), "action": action}
    prefixes = draw(st.sampled_from([PREFIXES, IPV6_PREFIXES]))
    for side in ("src", "dst"):
        prefix = draw(st.sampled_from([None, *prefixes]))
        if prefix:
            rule[side] = prefix
    if protocol:
        rule["protocol"] = protocol
    if protocol in ("tcp", "udp"):
        rule["dst_ports"] = draw(st.lists(st.sampled_from(PORTS), max_size=2))
    if action == "limit":
        rule["rate_pps"] = draw(st.integers(1, 1000))
    return rule


@st.composite
def firewalls(draw: st.DrawFn) -> dict[str, Any]:
    """Up to five rules and a default."""
    found = [{**rule, "id": f"r{number}"} for number, rule in enumerate(draw(st.lists(rules(), max_size=5)))]
    default = draw(st.sampled_from(["allow", "drop", "reject"]))
    return {"rules": found, "default": default, "cut_established": draw(st.booleans())}


@st.composite
def zones(draw: st.DrawFn) -> list[dict[str, Any]]:
    """No zones, or one by port and tag inside one by prefix."""
    defaults = st.sampled_from([None, "allow", "drop", "reject"])
    modes = st.sampled_from(["open", "closed"])
    chains = st.sampled_from([None, ["balancer", "router"]])
    said = [
        {"default_from": draw(defaults), "default_to": draw(defaults), "fail_mode": draw(modes), "chain": draw(chains)}
        for _ in range(2)
    ]
    guests = {"name": "guests", "ports": ["0000000000000001:1"], "tags": ["staff"], **said[0]}
    servers = {"name": "servers", "prefixes": ["10.0.0.0/16", "10.0.2.0/24"], **said[1]}
    return draw(st.sampled_from([[], [guests, servers]]))


def _mac(mac: int) -> str:
    return mac.to_bytes(6).hex(":")


@st.composite
def policies(draw: st.DrawFn, wiring: Wiring) -> Policy:
    """One or two pools of the fabric's hosts and of some that are nowhere, up to three VIPs, a firewall."""
    nowhere = ["10.0.9.9", "fd00::9:9"]
    located = [[text(host.address) for host in wiring.hosts if is_ipv6(host.address) is ipv6] for ipv6 in (False, True)]
    pools, vip_addresses = {}, {}
    for name in ("web", "api")[: draw(st.integers(1, 2))]:
        ipv6 = draw(st.booleans())
        servers = [*located[ipv6], nowhere[ipv6]]
        vip_addresses[name] = [["10.0.0.100", "10.0.0.101"], ["fd00::64", "fd00::65"]][ipv6]
        chosen = draw(
            st.lists(st.tuples(st.sampled_from(servers), st.sampled_from([80, 8080])), unique=True, max_size=4)
        )
        members = [
            {"name": f"m{number}", "address": address, "port": port, "weight": draw(st.sampled_from([0, 1, 100])),
             "admin_state": draw(st.sampled_from(["active", "draining", "disabled"]))}
            for number, (address, port) in enumerate(chosen)
        ]  # fmt: skip
        pools[name] = {"members": members, "redispatch": draw(st.booleans()), "on_down": draw(st.sampled_from(["keep", "reset"])),
                       "drain_timeout_s": draw(st.sampled_from([0.0, 300.0]))}  # fmt: skip
    places = [(name, address, port) for name in pools for address in vip_addresses[name] for port in (80, 443)]
    sockets = draw(st.lists(st.sampled_from(places), unique_by=lambda place: place[1:], max_size=3))
    vips = {f"v{number}": {"address": address, "port": port, "pool": name, "affinity_timeout_s": draw(st.sampled_from([0, 0, 30]))}
            for number, (name, address, port) in enumerate(sockets)}  # fmt: skip
    subnets = [
        {
            "name": f"s{number}",
            "prefix": prefix,
            "gateway": prefix.rpartition(".")[0] + ".254" if "." in prefix else "fd00::ffff",
        }
        for number, prefix in enumerate(draw(st.sampled_from(DIVISIONS)))
    ]
    judging, divided = draw(firewalls()), draw(zones())
    if divided:
        for rule in judging["rules"]:
            rule |= {end: draw(st.sampled_from([None, "guests", "servers"])) for end in ("from_zone", "to_zone")}
    tags = [{"name": "staff", "hosts": [_mac(host.mac) for host in wiring.hosts[:2]]}]
    parts = {"tags": tags, "pools": pools, "vips": vips, "firewall": judging, "subnets": subnets, "zones": divided}
    return parse_policy({"version": 1, **parts})
