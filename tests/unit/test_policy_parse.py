"""The policy parser accepts what API.md shows and words every refusal with the path first."""

from typing import Any

import pytest

from controller.policy import AdminState, AutomationMode, OnDown, Policy, PolicyError, RuleAction, etag, parse_policy


def document() -> dict[str, Any]:
    return {
        "version": 1,
        "pools": {
            "web": {
                "redispatch": True,
                "members": [
                    {"name": "web-1", "address": "10.0.0.11", "port": 8080},
                    {"name": "web-2", "address": "10.0.0.12", "port": 8080, "weight": 50},
                ],
            }
        },
        "vips": {"web": {"address": "10.0.0.100", "port": 80, "pool": "web"}},
        "firewall": {
            "default": "allow",
            "rules": [
                {
                    "priority": 100,
                    "src": "10.0.9.0/24",
                    "dst": "10.0.0.100",
                    "protocol": "tcp",
                    "dst_ports": [80, "8000-8099"],
                    "action": "reject",
                }
            ],
        },
        "links": {
            "default_capacity_bps": 10**9,
            "capacities": [{"src": "0000000000000001:3", "dst": "0000000000000002:1", "capacity_bps": 10**7}],
        },
        "automation": {"mode": "enforce"},
    }


def refusal(changed: object) -> str:
    with pytest.raises(PolicyError) as caught:
        parse_policy(changed)
    return str(caught.value)


def test_defaults_are_the_documented_ones() -> None:
    pool = parse_policy(document()).pools["web"]
    assert (pool.max_ejection_percent, pool.redispatch, pool.on_down, pool.health_check) == (
        50,
        True,
        OnDown.KEEP,
        None,
    )
    assert (pool.drain_timeout_s, pool.slow_start_s, pool.ejection_time_s) == (300, 10, 30)
    assert (pool.members[0].weight, pool.members[0].admin_state) == (100, AdminState.ACTIVE)
    checked = parse_policy({"pools": {"p": {"health_check": {}}}}).pools["p"].health_check
    assert checked is not None
    assert (checked.type, checked.interval_s, checked.timeout_s, checked.rise, checked.fall) == ("tcp", 2, 1, 2, 3)


def test_empty_document_is_a_policy_without_pools() -> None:
    policy = parse_policy({})
    assert policy == Policy()
    assert policy.automation.mode is AutomationMode.ENFORCE
    assert policy.firewall.cut_established


def test_ports_of_a_rule_as_bounds() -> None:
    rule = parse_policy(document()).firewall.rules[0]
    assert rule.action is RuleAction.REJECT
    assert rule.port_ranges() == ((80, 80), (8000, 8099))


def test_canonical_document_is_accepted_and_is_a_fixed_point() -> None:
    policy = parse_policy(document())
    again = parse_policy(policy.document())
    assert again == policy
    assert etag(again) == etag(policy)
    assert again.document() == policy.document()


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("2001:DB8:0:0::1", "2001:db8::1"), ("10.0.0.1", "10.0.0.1"), ("fe80::1", "fe80::1")],
)
def test_addresses_are_kept_as_canonical_text(written: str, canonical: str) -> None:
    policy = parse_policy({"pools": {"p": {"members": [{"name": "a", "address": written, "port": 1}]}}})
    assert policy.pools["p"].members[0].address == canonical


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("10.0.0.1/32", "10.0.0.1"), ("0.0.0.0/0", "0.0.0.0/0"), ("2001:DB8::/32", "2001:db8::/32"), ("::1/128", "::1")],
)
def test_prefixes_are_kept_as_canonical_text(written: str, canonical: str) -> None:
    policy = parse_policy({"firewall": {"rules": [{"src": written, "action": "drop"}]}})
    assert policy.firewall.rules[0].src == canonical


def test_whole_floats_are_integers() -> None:
    member = {"name": "a", "address": "10.0.0.1", "port": 80.0}
    port = parse_policy({"pools": {"p": {"members": [member]}}}).pools["p"].members[0].port
    assert (port, type(port)) == (80, int)


def test_switch_ports_are_kept_in_lower_case() -> None:
    changed = document()
    changed["links"]["capacities"][0]["src"] = "00000000000000AB:3"
    assert parse_policy(changed).links.capacities[0].src == "00000000000000ab:3"


def test_rule_without_id_keeps_its_id_while_its_content_stays() -> None:
    changed = document()
    rule = changed["firewall"]["rules"][0]
    first = parse_policy(changed).firewall.rules[0].id
    changed["firewall"]["rules"].insert(0, {"action": "drop", "src": "10.1.0.0/16"})
    rule["comment"] = "renamed, not another rule"
    assert parse_policy(changed).firewall.rules[1].id == first
    rule["priority"] = 99
    assert parse_policy(changed).firewall.rules[1].id != first


WRONG_VALUES = [
    ("pools.web.members.1.port", 70000, "pools.web.members[1].port: 70000 is not in 1–65535"),
    ("pools.web.members.1.port", 0, "pools.web.members[1].port: 0 is not in 1–65535"),
    ("pools.web.members.1.port", "80", 'pools.web.members[1].port: "80" is not an integer'),
    ("pools.web.members.1.port", 80.5, "pools.web.members[1].port: 80.5 is not an integer"),
    ("pools.web.members.1.port", 1e300, "pools.web.members[1].port: a huge number is not in 1–65535"),
    ("pools.web.members.1.port", True, "pools.web.members[1].port: true is not an integer"),
    ("pools.web.members.0.weight", 1001, "pools.web.members[0].weight: 1001 is not in 0–1000"),
    ("pools.web.members.0.weight", 10**5000, "pools.web.members[0].weight: a huge number is not in 0–1000"),
    ("pools.web.members.0.admin_state", "off", 'admin_state: "off" is not one of active, draining, disabled'),
    ("pools.web.members.0.address", "10.0.0.300", '"10.0.0.300" is not an IP address'),
    ("pools.web.members.0.address", "127.0.0.1", '"127.0.0.1" is a loopback address'),
    ("pools.web.members.0.address", "224.0.0.1", '"224.0.0.1" is a multicast address'),
    ("pools.web.members.0.address", "::", '"::" is an unspecified address'),
    ("pools.web.members.0.address", "255.255.255.255", "is the broadcast address"),
    ("pools.web.members.0.address", "::ffff:10.0.0.1", "is an IPv4-mapped address; write 10.0.0.1"),
    ("pools.web.members.0.address", "fe80::1%eth0", "has a zone"),
    ("pools.web.members.0.name", "a/b", 'pools.web.members[0].name: "a/b" is not 1–63 letters'),
    ("pools.web.members.0.name", "a\n", "is not 1–63 letters"),
    ("pools.web.members", "web-1", 'pools.web.members: "web-1" is not a list'),
    ("pools.web.max_ejection_percent", 101, "pools.web.max_ejection_percent: 101 is not in 0–100"),
    ("pools.web.max_ejection_percent", 33.5, "33.5 is not an integer"),
    ("pools.web.redispatch", "yes", 'pools.web.redispatch: "yes" is not true or false'),
    ("pools.web.slow_start_s", float("nan"), "pools.web.slow_start_s: NaN is not in 0–86400"),
    ("pools.web.slow_start_s", float("inf"), "pools.web.slow_start_s: Infinity is not in 0–86400"),
    ("pools.web.membrs", [], "pools.web.membrs: is not a known field; did you mean members?"),
    ("pools.web.on_down", None, "pools.web.on_down: null is not one of keep, reset"),
    ("pools.web.health_check", {"timeout_s": 5}, "pools.web.health_check: timeout_s 5 is more than interval_s 2"),
    ("pools.web.health_check", {"path": "/ HTTP/1.1"}, "pools.web.health_check.path: "),
    (
        "pools.web.health_check",
        {"expect": 200},
        "health_check.expect: is not a known field; did you mean expect_status?",
    ),
    ("pools.a b", {}, 'pools["a b"]: the name "a b" is not 1–63 letters'),
    ("vips.web", None, "vips.web: null is not a mapping"),
    ("vips.web.pool", "api", "vips.web.pool: there is no pool api"),
    ("vips.web.address", "2001:db8::1", "vips.web.pool: pool web has members of another address family"),
    (
        "pools.web.members.1.address",
        "2001:db8::1",
        "pools.web.members[1].address: 2001:db8::1 is of another address family than 10.0.0.11",
    ),
    ("pools.web.members.0.address", "::10.0.0.11", "is an IPv4-compatible address, which is deprecated"),
    ("firewall.rules.0.src", "::a00:0/104", "is an IPv4-compatible address, which is deprecated"),
    ("vips.web.address", "10.0.0.12", "pools.web.members[1].address: 10.0.0.12 is the address of VIP web"),
    (
        "vips.other",
        {"address": "10.0.0.100", "port": 80, "pool": "web"},
        "the same address and port as vips.web.address",
    ),
    ("pools.web.members.1.name", "web-1", "pools.web.members[1].name: the same name as pools.web.members[0].name"),
    ("pools.web.members.1.address", "10.0.0.11", "pools.web.members[1].address: the same address and port as"),
    ("probe_address", "10.0.0.11", "probe_address: 10.0.0.11 is the address of member web/web-1"),
    ("firewall.rules.0.src", "10.0.9.5/24", '"10.0.9.5/24" has bits set outside its prefix; the prefix is 10.0.9.0/24'),
    ("firewall.rules.0.src", "10.0.9.0/255.255.255.0", "is not an address with a prefix length"),
    ("firewall.rules.0.src", "2001:db8::/32", "are of different address families"),
    ("firewall.rules.0.protocol", "icmp", "firewall.rules[0]: dst_ports needs protocol tcp or udp"),
    ("firewall.rules.0.dst_ports", ["90-80"], 'firewall.rules[0].dst_ports[0]: "90-80" is not a range in 1–65535'),
    (
        "firewall.rules.0.dst_ports",
        [80, "http"],
        'firewall.rules[0].dst_ports[1]: "http" is neither a port nor a range',
    ),
    ("firewall.rules.0.action", "limit", "firewall.rules[0]: rate_pps goes with action limit"),
    ("firewall.rules.0.rate_pps", 10, "firewall.rules[0]: rate_pps goes with action limit"),
    ("firewall.rules.0.schedule", {"start": "18:00", "end": "24:00"}, 'schedule.end: "24:00" is not a time'),
    ("firewall.rules.0.schedule", {"start": "18:00", "end": "18:00"}, "start and end are the same time"),
    ("firewall.rules.0.schedule", {"start": "18:00", "end": "19:00", "timezone": "../etc"}, "is not a time zone"),
    ("links.capacities.0.src", "1:3", '"1:3" is not "dpid:port"'),
    ("links.capacities.0.src", "0000000000000002:1", "links.capacities[0]: src and dst are both 0000000000000002:1"),
    ("automation.mode", "auto", 'automation.mode: "auto" is not one of enforce, dry-run, frozen'),
    ("version", 2, "version: 2 is not a version known here"),
    ("version", True, "version: true is not an integer"),
]


@pytest.mark.parametrize(("path", "value", "expected"), WRONG_VALUES, ids=[case[2] for case in WRONG_VALUES])
def test_refusal_names_the_place_and_the_reason(path: str, value: object, expected: str) -> None:
    changed: Any = document()
    place, keys = changed, path.split(".")
    for key in keys[:-1]:
        place = place[int(key)] if key.isdigit() else place[key]
    place[keys[-1]] = value
    assert expected in refusal(changed)


@pytest.mark.parametrize("changed", [None, [], "x", 3, True])
def test_only_a_mapping_is_a_policy(changed: object) -> None:
    assert refusal(changed).startswith("policy: ")


def test_all_problems_are_reported_at_once() -> None:
    changed = document()
    changed["pools"]["web"]["members"][0]["port"] = -1
    del changed["pools"]["web"]["members"][1]["name"]
    with pytest.raises(PolicyError) as caught:
        parse_policy(changed)
    assert [problem.path for problem in caught.value.problems] == [
        "pools.web.members[0].port",
        "pools.web.members[1].name",
    ]


def test_the_same_rule_twice_is_refused() -> None:
    changed = document()
    changed["firewall"]["rules"] *= 2
    assert refusal(changed).startswith("firewall.rules[1]: the same id")


def test_deep_nesting_is_refused() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"pools": deep}
    assert refusal(deep)


def test_long_hostile_values_are_shortened() -> None:
    assert len(refusal({"probe_address": "x" * 100_000})) < 200


def test_two_families_do_not_share_a_pool_even_while_it_is_empty() -> None:
    vips = {
        "one": {"address": "10.0.0.100", "port": 80, "pool": "web"},
        "two": {"address": "fd00::64", "port": 80, "pool": "web"},
    }
    with pytest.raises(
        PolicyError, match=r"vips.two.pool: pool web is that of 10.0.0.100, which is of another address family"
    ):
        parse_policy({"pools": {"web": {}}, "vips": vips})
