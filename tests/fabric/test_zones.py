"""Zones on real switches: a guest's port, the servers' subnets and a VIP among them, and everybody else."""

import time
from typing import Any

import pytest
from bed import MEMBER_PORT, Bed, one_vip, outcomes, pool
from running_controller import Refused, soon

from controller.zoning import PRESENCE_S
from topologies.routed import RoutedTopo

pytestmark = pytest.mark.one_framework

TOPOLOGY = RoutedTopo(spines=2, leaves=2, hosts=2)
GUEST, STAFF, SERVER, FAR_SERVER = "h1", "h2", "h3", "h7"
"""The guest is at a port of a zone; servers are in prefixes of one; staff, the guest's neighbour, is in none."""
VIP = "192.0.2.80"
SUBNETS = [
    {"name": f"leaf{leaf}-{half}", "prefix": f"10.0.{leaf}.{half}/25", "gateway": f"10.0.{leaf}.{half + 126}"}
    for leaf in (1, 2)
    for half in (0, 128)
]
TARGETS = (SERVER, FAR_SERVER, "VIP")


def zoned(bed: Bed, *rules: dict[str, Any], default: str = "allow", **of_zones: dict[str, Any]) -> dict[str, Any]:
    port = f"{bed.fabric.dpid('leaf1')}:{bed.fabric.port_no('leaf1', GUEST)}"
    zones = [
        {"name": "guests", "ports": [port], **of_zones.get("guests", {})},
        {"name": "servers", "prefixes": ["10.0.1.128/25", "10.0.2.128/25", VIP], **of_zones.get("servers", {})},
    ]
    policy = one_vip(pool(bed, "h4", health_check=None), address=VIP)
    return {**policy, "subnets": SUBNETS, "zones": zones, "firewall": {"rules": list(rules), "default": default}}


@pytest.fixture(autouse=True, scope="module")
def served(bed: Bed) -> None:
    bed.serve(STAFF, SERVER, FAR_SERVER, "h4")
    bed.apply(zoned(bed))
    for host in bed.fabric.host_names:
        soon(f"{host} has a gateway", lambda at=host: reaches(bed, at, "10.0.2.254"), 8)


def apply(bed: Bed, *rules: dict[str, Any], **parts: Any) -> None:
    bed.controller.put("policy", bed.renamed(zoned(bed, *rules, **parts)))
    time.sleep(0.3)


def reaches(bed: Bed, host: str, address: str) -> bool:
    return bed.fabric.run(host, "ping", "-n", "-c1", "-W1", address).returncode == 0


def ended(bed: Bed, host: str, *targets: str) -> list[str]:
    """How a connection to each ends."""
    endings = []
    for target in targets:
        to = (
            {"address": VIP, "port": 80}
            if target == "VIP"
            else {"address": bed.fabric.address(target), "port": MEMBER_PORT}
        )
        (outcome,) = outcomes(bed.ask(host, 1, timeout_s=0.8, **to))
        endings.append(outcome)
    return endings


def test_a_tag_puts_a_host_in_a_zone_wherever_it_is(bed: Bed) -> None:
    """By its MAC address; its neighbour has another."""
    policy = zoned(bed, {"id": "no-tagged", "from_zone": "tagged", "to_zone": "servers", "action": "reject"})
    policy["tags"] = [{"name": "staff", "hosts": [bed.fabric.mac(STAFF)]}]
    policy["zones"].append({"name": "tagged", "tags": ["staff"]})
    bed.controller.put("policy", bed.renamed(policy))
    time.sleep(0.3)
    assert ended(bed, STAFF, *TARGETS) == ["refused"] * 3
    assert ended(bed, GUEST, *TARGETS) == ["ok"] * 3


def test_a_rule_between_zones_is_about_nobody_else(bed: Bed) -> None:
    apply(bed, {"id": "no-guests", "from_zone": "guests", "to_zone": "servers", "action": "reject"})
    assert ended(bed, GUEST, *TARGETS) == ["refused"] * 3
    assert ended(bed, GUEST, STAFF) == ["ok"]
    assert ended(bed, STAFF, *TARGETS) == ["ok"] * 3
    assert reaches(bed, SERVER, bed.fabric.address(GUEST)), "the other direction, and its replies"
    assert not reaches(bed, GUEST, bed.fabric.address(SERVER))
    rule = next(rule for rule in bed.controller.get("firewall/rules")["items"] if rule["id"] == "no-guests")
    assert (rule["from_zone"], rule["to_zone"]) == ("guests", "servers")


def test_what_is_allowed_between_zones_gets_its_replies_under_a_rule_that_cuts(bed: Bed) -> None:
    apply(
        bed,
        {"priority": 200, "from_zone": "guests", "to_zone": "servers", "action": "allow"},
        {"priority": 100, "action": "drop"},
    )
    assert ended(bed, GUEST, *TARGETS) == ["ok"] * 3
    assert reaches(bed, GUEST, bed.fabric.address(FAR_SERVER))
    assert ended(bed, STAFF, SERVER) == ["timeout"]
    assert not reaches(bed, SERVER, bed.fabric.address(GUEST))


def test_defaults_of_zones_hold_where_no_rule_does(bed: Bed) -> None:
    staff = bed.fabric.address(STAFF)
    apply(bed, {"src": staff, "to_zone": "servers", "action": "allow"}, servers={"default_to": "reject"})
    assert ended(bed, GUEST, *TARGETS) == ["refused"] * 3
    assert ended(bed, STAFF, *TARGETS) == ["ok"] * 3, "its rule"
    assert ended(bed, SERVER, FAR_SERVER) == ["ok"], "within the zone the firewall's default holds"
    apply(bed, guests={"default_from": "allow"}, default="drop")
    assert ended(bed, GUEST, *TARGETS, STAFF) == ["ok"] * 4
    assert ended(bed, STAFF, SERVER) == ["timeout"]


def test_a_zone_without_the_firewall_begins_what_it_likes(bed: Bed) -> None:
    apply(bed, {"action": "drop"}, servers={"chain": ["balancer", "router"]})
    assert ended(bed, SERVER, FAR_SERVER, STAFF) == ["ok", "ok"]
    assert ended(bed, STAFF, FAR_SERVER) == ["timeout"]


def test_a_rule_that_comes_cuts_open_connections_between_its_zones(bed: Bed) -> None:
    apply(bed)
    to = {"address": bed.fabric.address(FAR_SERVER), "port": MEMBER_PORT, "timeout_s": 2}
    with bed.keep(GUEST, 5, **to) as cut, bed.keep(STAFF, 5, **to) as kept:
        time.sleep(0.5)
        apply(bed, {"from_zone": "guests", "to_zone": "servers", "action": "reject"})
        time.sleep(0.5)
        endings = outcomes(cut.finish()), outcomes(kept.finish())
    assert endings == ({"reset": 5}, {"ok": 5})


class TestTheControllerIsAway:
    """`fail_mode: closed` shuts a zone; nobody else is concerned."""

    def test_a_closed_zone_is_shut_and_opens_again(self, bed: Bed) -> None:
        apply(bed, servers={"fail_mode": "closed"})
        time.sleep(PRESENCE_S + 1)
        assert ended(bed, GUEST, *TARGETS) == ["ok"] * 3, "it says that it is there"
        with bed.keep(STAFF, 5, address=VIP, port=80) as open_before:
            time.sleep(0.3)
            bed.controller.kill()
            try:
                time.sleep(PRESENCE_S + 1)
                assert ended(bed, GUEST, *TARGETS) == ["timeout"] * 3
                assert not reaches(bed, SERVER, bed.fabric.address(STAFF))
                assert ended(bed, GUEST, STAFF) == ["ok"]
                assert outcomes(open_before.finish()) == {"ok": 5}, "what was open goes on"
            finally:
                bed.restart_controller()
        soon("it is open again", lambda: ended(bed, GUEST, *TARGETS) == ["ok"] * 3, 8)


def test_a_rule_names_only_zones_that_there_are(bed: Bed) -> None:
    with pytest.raises(Refused, match="there is no zone nowhere"):
        apply(bed, {"from_zone": "nowhere", "action": "drop"})
