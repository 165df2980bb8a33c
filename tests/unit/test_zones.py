"""Zones in a policy: what is one, what contradicts, and which one an address is in."""

from typing import Any

import pytest

from controller.pipeline import Table
from controller.policy import Firewall, FirewallDefault, Policy, PolicyError, in_force, parse_policy, zone_number
from controller.rule_review import shadowed
from controller.topology import Host
from controller.zone_rules import default_of
from controller.zoning import Zoning

GUESTS = {"name": "guests", "ports": ["0000000000000001:7"]}
OFFICE = {"name": "office", "prefixes": ["10.0.0.0/8", "fd00::/8"]}
SERVERS = {"name": "servers", "prefixes": ["10.0.5.0/24"]}


def parsed(*zones: dict[str, Any], **parts: Any) -> Policy:
    return parse_policy({"version": 1, "zones": list(zones), **parts})


def wrong(*zones: dict[str, Any], **parts: Any) -> str:
    with pytest.raises(PolicyError) as refused:
        parsed(*zones, **parts)
    return str(refused.value)


def test_a_port_says_more_than_a_prefix_and_a_longer_prefix_more_than_a_shorter_one() -> None:
    zoning = Zoning(parsed(GUESTS, OFFICE, SERVERS).zones)
    server = 0x0A000501
    assert [zoning.named(zoning.of_address(address)) for address in (server, 0x0A000601, 0xC0000201, 0xFD << 120)] == [
        "servers",
        "office",
        None,
        "office",
    ]
    at_the_port, elsewhere = Host(server, 2, 1, 7), Host(server, 2, 1, 8)
    assert zoning.named(zoning.of_address(server, at_the_port)) == "guests"
    assert zoning.named(zoning.of_address(server, elsewhere)) == "servers"


@pytest.mark.parametrize(
    ("zone", "why"),
    [
        ({"name": "empty"}, "zones[0]: a zone has ports, tags or prefixes"),
        ({**GUESTS, "ports": ["1:7"]}, "zones[0].ports[0]"),
        ({**GUESTS, "fail_mode": "ajar"}, "zones[0].fail_mode"),
        ({**GUESTS, "default_to": "limit"}, "zones[0].default_to"),
        ({**GUESTS, "chain": ["router", "balancer"]}, "in the order firewall, balancer, router"),
        (
            {**GUESTS, "chain": ["firewall"]},
            "a zone may leave out the firewall; balancer and router are the whole fabric's",
        ),
    ],
)
def test_what_is_no_zone_is_refused_by_name(zone: dict[str, Any], why: str) -> None:
    assert why in wrong(zone)


TAGGED = [{"name": "printers", "hosts": ["02-00-5E-10-00-01"]}]


def test_a_tag_says_more_than_a_prefix_and_less_than_a_port_wherever_its_host_is() -> None:
    policy = parsed(GUESTS, OFFICE, {"name": "quiet", "tags": ["printers"]}, tags=TAGGED)
    zoning, printer = Zoning.of(policy), 0x02005E100001
    places = Host(0x0A000001, printer, 1, 8), Host(0xC0000201, printer, 2, 3), Host(0x0A000001, printer, 1, 7)
    assert [zoning.named(zoning.of_address(host.ip, host)) for host in places] == ["quiet", "quiet", "guests"]
    assert zoning.of_host(Host(0x0A000001, printer + 1, 1, 8)) == 0
    marked = {entry.match.get("ct_nw_src") for entry in zoning.entries(places[:2], Table.FIREWALL)}
    assert {host.ip for host in places[:2]} <= marked


@pytest.mark.parametrize(
    ("tags", "zone", "why"),
    [
        ([], {"tags": ["printers"]}, "zones[0].tags[0]: there is no tag printers"),
        ([{"name": "a", "hosts": ["02:00:5e:10:00"]}], {"tags": ["a"]}, "tags[0].hosts[0]"),
        ([{"name": "a", "hosts": ["01:00:5e:10:00:01"]}], {"tags": ["a"]}, "a group's MAC address"),
        ([{"name": "a", "hosts": []}], {"tags": ["a"]}, "tags[0].hosts"),
        (TAGGED * 2, {"tags": ["printers"]}, "tags[1].name: the same name as tags[0].name"),
        ([*TAGGED, {**TAGGED[0], "name": "b"}], {"tags": ["b"]}, "tags[1].hosts[0]: the same host as tags[0].hosts[0]"),
        (TAGGED, {"tags": ["printers", "printers"]}, "zones[0].tags[1]: the same tag as zones[0].tags[0]"),
    ],
)
def test_what_is_no_tag_is_refused_by_name(tags: list[dict[str, Any]], zone: dict[str, Any], why: str) -> None:
    assert why in wrong({"name": "quiet", **zone}, tags=tags)


def test_names_ports_and_prefixes_belong_to_one_zone() -> None:
    assert "zones[1].name: the same name as zones[0].name" in wrong(GUESTS, {**OFFICE, "name": "guests"})
    assert "zones[1].ports[0]: the same port as zones[0].ports[0]" in wrong(GUESTS, {**GUESTS, "name": "b"})
    assert "zones[1].prefixes[0]: the same prefix as zones[0].prefixes[0]" in wrong(SERVERS, {**SERVERS, "name": "b"})


def test_a_rule_names_zones_that_there_are() -> None:
    rules = [{"from_zone": "guests", "to_zone": "nowhere", "action": "drop"}]
    assert "firewall.rules[0].to_zone: there is no zone nowhere" in wrong(GUESTS, firewall={"rules": rules})


def test_a_rule_between_zones_takes_nothing_from_one_between_others() -> None:
    between = {"from_zone": "guests", "to_zone": "office", "action": "drop"}
    rules = parsed(
        GUESTS, OFFICE, firewall={"rules": [between, {"action": "allow"}, {**between, "protocol": "tcp"}]}
    ).firewall.rules
    assert [(late.id, early.id) for late, early in shadowed(rules)] == [(rules[2].id, rules[0].id)]


def test_a_zone_may_leave_out_the_firewall() -> None:
    assert Zoning(parsed({**GUESTS, "chain": ["balancer", "router"]}).zones).unfiltered == [zone_number("guests")]
    assert Zoning(parsed({**GUESTS, "chain": ["firewall", "balancer", "router"]}).zones).unfiltered == []
    assert Zoning(parsed({**GUESTS, "chain": ["router"]}, chain=["firewall", "router"]).zones).unfiltered == [
        zone_number("guests")
    ]


def test_without_the_firewall_there_are_no_zones() -> None:
    assert in_force(parsed(GUESTS, chain=["balancer"])).zones == ()


@pytest.mark.parametrize(
    ("of_guests", "of_servers", "between"),
    [
        ({}, {}, ("allow", "default")),
        ({"default_from": "drop"}, {}, ("drop", "default:guests")),
        ({"default_to": "drop"}, {}, ("allow", "default")),
        ({}, {"default_to": "reject"}, ("reject", "default:servers")),
        ({"default_from": "drop"}, {"default_to": "reject"}, ("drop", "default:guests")),
        ({"default_from": "allow"}, {"default_to": "reject"}, ("reject", "default:servers")),
    ],
)
def test_of_two_defaults_the_stricter_holds(
    of_guests: dict[str, str], of_servers: dict[str, str], between: tuple[str, str]
) -> None:
    zoning = Zoning(parsed({**GUESTS, **of_guests}, {**SERVERS, **of_servers}).zones)
    guests, servers = zone_number("guests"), zone_number("servers")
    assert default_of(zoning, Firewall(), guests, servers) == between
    assert default_of(zoning, Firewall(default=FirewallDefault.DROP), guests, guests) == ("drop", "default"), (
        "within a zone"
    )
    assert default_of(zoning, Firewall(), 0, 0) == ("allow", "default")
