"""Whatever a client sends, the answer is a policy or a PolicyError; and a policy survives being written down."""

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.policy import Policy, PolicyError, diff, etag, parse_policy, parse_policy_text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document: members in 10.0.0.0/16, VIPs in 10.9.0.0/16, so that they never meet."""
    pools = {
        pool: {
            "members": [
                {
                    "name": name,
                    "address": f"10.0.0.{index + 1}",
                    "port": draw(st.integers(1, 65535)),
                    "weight": draw(st.integers(0, 1000)),
                    "admin_state": draw(st.sampled_from(["active", "draining", "disabled"])),
                }
                for index, name in enumerate(draw(st.lists(names, unique=True, max_size=3)))
            ],
            "slow_start_s": draw(st.floats(0, 86400)),
            "health_check": draw(st.none() | st.just({"type": "http", "path": "/up", "interval_s": 3})),
        }
        for pool in draw(st.lists(names, unique=True, min_size=1, max_size=3))
    }
    vips = {
        vip: {"address": f"10.9.0.{index + 1}", "port": 80, "pool": draw(st.sampled_from(sorted(pools)))}
        for index, vip in enumerate(draw(st.lists(names, unique=True, max_size=3)))
    }
    ports = st.integers(1, 65535) | st.tuples(st.integers(1, 99), st.integers(100, 65535)).map(
        lambda p: f"{p[0]}-{p[1]}"
    )
    rules = [
        {"id": rule, "action": "drop", "protocol": "tcp", "dst_ports": draw(st.lists(ports, max_size=3))}
        for rule in draw(st.lists(names, unique=True, max_size=3))
    ]
    return {"pools": pools, "vips": vips, "firewall": {"rules": rules}}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every location in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in places(item, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid document with one part replaced, removed or renamed."""
    document = copy.deepcopy(parse_policy(draw(documents())).document())
    path = draw(st.sampled_from(places(document)[1:]))
    place = document
    for key in path[:-1]:
        place = place[key]
    what = draw(st.sampled_from(["replace", "remove", "rename"]))
    value = place.pop(path[-1]) if what != "replace" else None
    if what == "replace":
        place[path[-1]] = draw(json_values)
    elif what == "rename" and isinstance(place, dict):
        place[draw(st.text(max_size=5))] = value
    return document


def assert_policy_or_refusal(document: object) -> None:
    try:
        policy = parse_policy(document)
    except PolicyError as error:
        assert error.problems
        assert all(": " in str(problem) and problem.message for problem in error.problems)
        json.dumps(str(error)).encode()
    else:
        assert parse_policy(policy.document()) == policy


@given(json_values)
@settings(deadline=None)
def test_arbitrary_document_is_a_policy_or_a_refusal(document: object) -> None:
    assert_policy_or_refusal(document)


@given(mutated())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
def test_mutated_document_is_a_policy_or_a_refusal(document: object) -> None:
    assert_policy_or_refusal(document)


@given(documents())
@settings(deadline=None)
def test_document_round_trip(document: dict[str, Any]) -> None:
    policy = parse_policy(document)
    again = parse_policy(json.loads(json.dumps(policy.document())))
    assert again == policy
    assert etag(again) == etag(policy)
    assert diff(policy, again) == []


@given(documents(), documents())
@settings(deadline=None)
def test_difference_is_empty_exactly_for_equal_policies(one: dict[str, Any], other: dict[str, Any]) -> None:
    old, new = parse_policy(one), parse_policy(other)
    assert (diff(old, new) == []) == (etag(old) == etag(new))
    assert len(diff(old, new)) == len(diff(new, old))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(deadline=None)
def test_arbitrary_file_is_a_policy_or_a_refusal(content: bytes) -> None:
    try:
        policy = parse_policy_text(content)
    except PolicyError as error:
        assert error.problems
    else:
        assert isinstance(policy, Policy)
