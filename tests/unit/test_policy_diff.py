"""The difference of two policies reads like what an operator did."""

from typing import Any

from controller.policy import diff, parse_policy


def changes(edit: str) -> list[str]:
    old = {
        "pools": {
            "web": {
                "members": [
                    {"name": "a", "address": "10.0.0.1", "port": 80},
                    {"name": "b", "address": "10.0.0.2", "port": 80},
                ]
            }
        },
        "firewall": {"rules": [{"id": "one", "action": "drop"}]},
    }
    before, new = parse_policy(old), parse_policy(old).document()
    _edits[edit](new)
    return [str(change) for change in diff(before, parse_policy(new))]


def _reorder(new: dict[str, Any]) -> None:
    new["pools"]["web"]["members"].reverse()


_edits: dict[str, Any] = {
    "nothing": lambda new: None,
    "weight": lambda new: new["pools"]["web"]["members"][1].update(weight=5),
    "remove first": lambda new: new["pools"]["web"]["members"].pop(0),
    "add": lambda new: new["pools"]["web"]["members"].insert(0, {"name": "c", "address": "10.0.0.3", "port": 80}),
    "reorder": _reorder,
    "pool": lambda new: new["pools"].update({"web.2": {}}),
    "rule": lambda new: new["firewall"]["rules"][0].update(action="reject"),
    "check": lambda new: new["pools"]["web"].update(health_check={}),
}


def test_each_kind_of_change() -> None:
    assert changes("nothing") == []
    assert changes("weight") == ["pools.web.members[b].weight: 100 → 5"]
    assert changes("remove first") == ["pools.web.members[a]: removed"]
    assert changes("add") == ["pools.web.members[c]: added"]
    assert changes("reorder") == ['pools.web.members: ["a", "b"] → ["b", "a"]']
    assert changes("pool") == ['pools["web.2"]: added']
    assert changes("rule") == ['firewall.rules[one].action: "drop" → "reject"']
    assert changes("check") == ["pools.web.health_check: added"]


def test_the_tags_of_a_zone_are_names_and_not_things_that_have_names() -> None:
    tags = [{"name": name, "hosts": [f"02:00:00:00:00:0{number}"]} for number, name in enumerate(("red", "blue"), 1)]
    old, new = (
        parse_policy({"version": 1, "tags": tags, "zones": [{"name": "dmz", "tags": names}]})
        for names in (["red"], ["red", "blue"])
    )
    assert [str(change) for change in diff(old, new)] == [str(diff(old, new)[0])]
    assert (diff(old, new)[0].old, diff(old, new)[0].new) == (["red"], ["red", "blue"])
