"""Records between controllers: who wrote what, what is news, and what a newer version wrote."""

import json

import pytest

from controller.cluster.records import (
    SCHEMA,
    ClusterSchemaError,
    Mirror,
    check_schema,
    node_value,
    read_node,
    record_key,
    split_record_key,
)


def test_a_record_of_ours_is_no_news_when_it_comes_back() -> None:
    mirror = Mirror("a", {})
    written = mirror.write("ejections", "web/m1", {"until": 1})
    assert mirror.read("ejections", "web/m1", written) == (False, {"until": 1})


def test_a_record_of_another_one_is_news_once() -> None:
    a, b = Mirror("a", {}), Mirror("b", {})
    written = b.write("ejections", "web/m1", {"until": 1})
    assert a.read("ejections", "web/m1", written) == (True, {"until": 1})
    assert a.read("ejections", "web/m1", written) == (False, {"until": 1})
    assert a.read("ejections", "web/m1", None) == (True, None)
    assert a.read("ejections", "web/m1", None) == (False, None)


def test_an_echo_of_ours_does_not_undo_what_we_wrote_since() -> None:
    mirror = Mirror("a", {})
    first = mirror.write("weights", "web/m1", 1)
    mirror.write("weights", "web/m1", 2)
    mirror.read("weights", "web/m1", first)
    assert mirror.values["weights"]["web/m1"] == 2


def test_everything_at_once_gives_the_difference() -> None:
    mirror = Mirror("a", {"hosts": {"1": "x", "2": "y", "3": "new"}})
    found = {("hosts", "2"): json.dumps({"by": "b", "value": "z"}), ("links", "l"): json.dumps({"by": "b", "value": 1})}
    changed = mirror.replace(found, {("hosts", "3")})
    assert changed == {"hosts": {"1": None, "2": "z"}, "links": {"l": 1}}
    assert mirror.values == {"hosts": {"2": "z", "3": "new"}, "links": {"l": 1}}


def test_keys_keep_their_slashes() -> None:
    assert split_record_key(record_key("ejections", "web/m1")) == ("ejections", "web/m1")


def test_a_newer_schema_is_refused_in_words() -> None:
    value = json.dumps({**json.loads(node_value("9.9.9", "http://x", frozenset({1}))), "schema": SCHEMA + 1})
    with pytest.raises(ClusterSchemaError, match=r"controller b .* schema 2, of ResetLB 9\.9\.9; this one knows 1"):
        read_node("b", value, 1)
    with pytest.raises(ClusterSchemaError, match="says no schema"):
        check_schema(["what"], "the cluster")


def test_a_node_is_read_as_it_was_written() -> None:
    node = read_node("a", node_value("1.0", "http://x", frozenset({1, 0xFFFFFFFFFFFFFFFF})), 7)
    assert (node.name, node.born, node.reaches, node.version) == ("a", 7, frozenset({1, 0xFFFFFFFFFFFFFFFF}), "1.0")
