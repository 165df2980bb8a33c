"""Subnets in a policy: what is one, what contradicts, and whose gateway is whose."""

from typing import Any

import pytest

from controller.policy import PolicyError, parse_policy
from controller.subnets import Subnets

FRONT = {"name": "front", "prefix": "10.1.0.0/24", "gateway": "10.1.0.1"}
BACK = {"name": "back", "prefix": "10.2.0.0/16", "gateway": "10.2.0.1"}


def parsed(*subnets: dict[str, Any], **parts: Any) -> Subnets:
    return Subnets.of(parse_policy({"version": 1, "subnets": list(subnets), **parts}).subnets)


def wrong(*subnets: dict[str, Any], **parts: Any) -> str:
    with pytest.raises(PolicyError) as refused:
        parsed(*subnets, **parts)
    return str(refused.value)


def test_an_address_lies_in_one_subnet_or_in_none() -> None:
    subnets = parsed(FRONT, BACK)
    assert [found.name if found else None for found in map(subnets.at, (0x0A0100FE, 0x0A02FFFE, 0x0A030001))] == [
        "front",
        "back",
        None,
    ]
    assert subnets.gateways == [0x0A010001, 0x0A020001]


def test_gateways_and_a_subnets_first_and_last_address_are_nobodys() -> None:
    assert parsed(FRONT).reserved == {0x0A010001, 0x0A010000, 0x0A0100FF}
    point_to_point = {"name": "p", "prefix": "10.1.0.0/31", "gateway": "10.1.0.0"}
    assert parsed(point_to_point).reserved == {0x0A010000}


def test_without_subnets_everybody_may_live_anywhere() -> None:
    assert parsed().may_hold(0x0A030001) and not parsed()
    assert not parsed(FRONT).may_hold(0x0A030001)


def test_subnets_of_one_family_say_nothing_of_the_other() -> None:
    six = {"name": "six", "prefix": "fd00:1::/64", "gateway": "fd00:1::1"}
    inside, outside, link_local = 0xFD000001 << 96 | 9, 0xFD000002 << 96 | 9, 0xFE80 << 112 | 9
    assert [parsed(FRONT).may_hold(address) for address in (inside, outside, link_local)] == [True] * 3
    assert [parsed(six).may_hold(address) for address in (inside, outside, link_local, 0x0A030001)] == [
        True,
        False,
        True,
        True,
    ]
    assert parsed(six).reserved == {0xFD000001 << 96, 0xFD000001 << 96 | 1}


@pytest.mark.parametrize(
    ("subnet", "why"),
    [
        ({**FRONT, "gateway": "10.2.0.1"}, "gateway 10.2.0.1 is not in 10.1.0.0/24"),
        ({**FRONT, "gateway": "fd00::1"}, "gateway fd00::1 is not in 10.1.0.0/24"),
        ({**FRONT, "gateway": "10.1.0.255"}, "the network's or the broadcast address"),
        ({**FRONT, "gateway": "10.1.0.0"}, "the network's or the broadcast address"),
        ({**FRONT, "prefix": "10.1.0.1"}, "10.1.0.1 is one address, not a subnet"),
        ({**FRONT, "prefix": "10.1.0.1/24"}, "bits set outside its prefix"),
        ({**FRONT, "mtu": 9000}, "subnets[0].mtu"),
        ({**FRONT, "prefix": "169.254.0.0/16", "gateway": "169.254.0.1"}, "169.254.0.0/16 is not routed"),
        ({**FRONT, "prefix": "fe80::/64", "gateway": "fe80::1"}, "fe80::/64 is not routed"),
        ({**FRONT, "prefix": "fd00::/64", "gateway": "fd00::"}, "the network's or the broadcast address"),
    ],
)
def test_what_is_no_subnet_is_refused_by_name(subnet: dict[str, Any], why: str) -> None:
    said = wrong(subnet)
    assert said.startswith("subnets[0]") and why in said


def test_subnets_do_not_overlap_and_are_named_once() -> None:
    inside = {"name": "inside", "prefix": "10.2.7.0/24", "gateway": "10.2.7.1"}
    assert "subnets[1].prefix: 10.2.7.0/24 overlaps 10.2.0.0/16 of subnet back" in wrong(BACK, inside)
    assert "subnets[1].name: the same name as subnets[0].name" in wrong(FRONT, {**BACK, "name": "front"})


def test_a_gateway_is_nobody_else() -> None:
    pools = {"web": {"members": [{"name": "a", "address": "10.1.0.1", "port": 80}]}}
    assert "subnets[0].gateway: 10.1.0.1 is the address of member web/a" in wrong(FRONT, pools=pools)
    pools["web"]["members"][0]["address"] = "10.1.0.9"
    vips = {"v": {"address": "10.1.0.1", "port": 80, "pool": "web"}}
    assert "subnets[0].gateway: 10.1.0.1 is the address of VIP v" in wrong(FRONT, pools=pools, vips=vips)
    assert "is the address of own probes" in wrong(FRONT, probe_address="10.1.0.1")


def test_a_member_is_in_a_subnet_and_a_vip_need_not_be() -> None:
    pools = {"web": {"members": [{"name": "a", "address": "10.3.0.9", "port": 80}]}}
    assert "pools.web.members[0].address: 10.3.0.9 is in none of the subnets" in wrong(FRONT, pools=pools)
    pools["web"]["members"][0]["address"] = "10.1.0.9"
    assert parsed(FRONT, pools=pools, vips={"v": {"address": "192.0.2.1", "port": 80, "pool": "web"}})
    last = {"v": {"address": "10.1.0.255", "port": 80, "pool": "web"}}
    assert "vips.v.address: 10.1.0.255 is the network's or the broadcast address" in wrong(
        FRONT, pools=pools, vips=last
    )
