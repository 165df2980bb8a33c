"""Pools, members, VIPs and firewall rules: each change is an edit of the policy, checked as a whole."""

from typing import Any

import pytest
from api_examples import document
from api_memory_service import MemoryService
from flask.testing import FlaskClient

from controller.api.service import MemberStatus
from controller.policy import etag, parse_policy
from controller.store import Store

MEMBER = {"name": "web-3", "address": "10.0.0.13", "port": 8080}


def test_pool_lifecycle(client: FlaskClient, service: MemoryService, store: Store) -> None:
    created = client.post("/v1/pools", json={"name": "api", "members": [MEMBER], "on_down": "reset"})
    assert (created.status_code, created.headers["Location"]) == (201, "/v1/pools/api")
    assert created.json["max_ejection_percent"] == 50
    assert client.post("/v1/pools", json={"name": "api"}).status_code == 409
    replaced = client.put("/v1/pools/api", json={"redispatch": False})
    assert (replaced.status_code, replaced.json["redispatch"], replaced.json["members"]) == (200, False, [])
    assert store.current_policy() == service.current
    assert client.delete("/v1/pools/api").status_code == 204
    assert client.get("/v1/pools/api").status_code == 404
    assert service.current == parse_policy(document())


def test_pool_that_was_read_can_be_put_back(client: FlaskClient, service: MemoryService) -> None:
    pool = client.get("/v1/pools/web").json
    assert pool["members"][0]["health"] == "unknown"
    pool["members"][0]["weight"] = 1
    assert client.put("/v1/pools/web", json=pool).status_code == 200
    assert service.current.pools["web"].members[0].weight == 1


def test_pool_in_use_stays(client: FlaskClient) -> None:
    answer = client.delete("/v1/pools/web")
    assert (answer.status_code, answer.json["detail"]) == (409, "pool web is used by vips.web")


def test_lists_are_sorted_and_paged(client: FlaskClient) -> None:
    first = client.get("/v1/pools?limit=1").json
    assert [item["name"] for item in first["items"]] == ["spare"]
    second = client.get(f"/v1/pools?limit=1&cursor={first['next']}").json
    assert ([item["name"] for item in second["items"]], second["next"]) == (["web"], None)


def test_member_shows_what_is_observed(client: FlaskClient, service: MemoryService) -> None:
    service.statuses["web", "web-1"] = MemberStatus(
        health="down", ejected_until=1_767_225_630.0, connections_active=3, resets_per_s={"refused": 2.5}, load=0.5
    )
    member = client.get("/v1/pools/web/members/web-1").json
    assert member["ejected_until"] == "2026-01-01T00:00:30.000Z"
    assert (member["health"], member["effective_weight"], member["weight"]) == ("down", 0, 100)
    assert (member["resets_per_s"], member["load"], member["handshake_ms"]) == ({"refused": 2.5}, 0.5, None)
    assert client.get("/v1/pools/web/members").json["items"][0] == member


def test_member_lifecycle(client: FlaskClient, service: MemoryService) -> None:
    created = client.post("/v1/pools/web/members", json=MEMBER)
    assert (created.status_code, created.headers["Location"]) == (201, "/v1/pools/web/members/web-3")
    assert client.post("/v1/pools/web/members", json=MEMBER).status_code == 409
    changed = client.patch("/v1/pools/web/members/web-3", json={"admin_state": "draining"})
    assert (changed.json["admin_state"], changed.json["weight"]) == ("draining", 100)
    assert [member.name for member in service.current.pools["web"].members] == ["web-1", "web-2", "web-3"]
    assert client.delete("/v1/pools/web/members/web-3").status_code == 204
    assert client.delete("/v1/pools/web/members/web-3").status_code == 404
    assert service.current == parse_policy(document())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("post", "/v1/pools/web/members", MEMBER | {"port": 70000}, 422, "port: 70000 is not in 1–65535"),
        ("post", "/v1/pools/web/members", MEMBER | {"address": "10.0.0.100"}, 422,
         "pools.web.members[2].address: 10.0.0.100 is the address of VIP web"),
        ("post", "/v1/pools/web/members", MEMBER | {"address": "10.0.0.11"}, 409, "the same address and port"),
        ("post", "/v1/pools/web/members", MEMBER | {"wieght": 1}, 422, "did you mean weight?"),
        ("post", "/v1/pools/web/members", {}, 422, "name: is required"),
        ("post", "/v1/pools/nope/members", MEMBER, 404, "there is no pool nope"),
        ("post", "/v1/pools", {}, 422, "name: is required"),
        ("post", "/v1/pools", {"name": None}, 422, "name: null is not text"),
        ("post", "/v1/pools", {"name": "../x"}, 422, "name: "),
        ("put", "/v1/pools/nope", {}, 404, "there is no pool nope"),
        ("put", "/v1/pools/web", {"name": "other"}, 422, "a pool keeps its name"),
        ("patch", "/v1/pools/web/members/nope", {}, 404, "there is no member nope in pool web"),
        ("patch", "/v1/pools/web/members/web-1", {"weight": None}, 422, "weight: null is not an integer"),
        ("patch", "/v1/pools/web/members/web-1", {"health": "up"}, 422, "health: is not a known field"),
        ("patch", "/v1/pools/web/members/web-1", {"name": "x"}, 422, "name: is not a known field"),
        ("patch", "/v1/pools/web/members/web-1", {"address": "10.0.0.12"}, 409, "the same address and port"),
        ("put", "/v1/pools/web/members/web-1/load", {"load": 1.5}, 422, "load: 1.5 is not in 0–1"),
        ("put", "/v1/pools/web/members/web-1/load", {"load": 0.5, "state": "x"}, 422, "is not one of up, drain, down"),
        ("put", "/v1/pools/web/members/nope/load", {"load": 0.5}, 404, "there is no member"),
        ("post", "/v1/vips", {"name": "b", "address": "10.0.0.100", "port": 80, "pool": "web"}, 409, "vips.b.address"),
        ("post", "/v1/vips", {"name": "web", "address": "10.0.0.101", "port": 80, "pool": "web"}, 409, "already a VIP"),
        ("post", "/v1/vips", {"name": "b", "address": "10.0.0.101", "port": 80, "pool": "no"}, 422, "is no pool no"),
        ("post", "/v1/vips", {"name": "b", "address": "10.0.0.11", "port": 80, "pool": "web"}, 422, "address of VIP b"),
        ("put", "/v1/vips/web", {"name": "b", "address": "10.0.0.1", "port": 80, "pool": "web"}, 422, "keeps its name"),
        ("delete", "/v1/vips/nope", None, 404, "there is no VIP nope"),
        ("post", "/v1/firewall/rules", {"id": "lab", "action": "drop"}, 409, "there is already a rule lab"),
        ("post", "/v1/firewall/rules", {"action": "limit"}, 422, "request: rate_pps goes with action limit"),
        ("post", "/v1/firewall/rules", {"action": "drop", "src": "10.0.0.1/8"}, 422, "src: "),
        ("put", "/v1/firewall/rules/lab", {"id": "other", "action": "drop"}, 422, "a rule keeps its id"),
        ("put", "/v1/firewall/rules/nope", {"action": "drop"}, 404, "there is no firewall rule nope"),
        ("put", "/v1/firewall/default", {"default": "limit"}, 422, 'default: "limit" is not one of'),
    ],
)  # fmt: skip
def test_refusals(
    client: FlaskClient,
    service: MemoryService,
    method: str,
    path: str,
    body: Any,
    status: int,
    detail: str,
) -> None:
    answer = client.open(path, method=method.upper(), json=body) if body is not None else client.delete(path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert detail in answer.json["detail"]
    assert service.applied == []


def test_load_report_reaches_the_core_and_is_no_policy_change(client: FlaskClient, service: MemoryService) -> None:
    assert client.put("/v1/pools/web/members/web-1/load", json={"load": 1, "state": "drain"}).status_code == 204
    assert service.loads == [("web", "web-1", 1.0, "drain")]
    assert client.get("/v1/audit").json["items"] == []


def test_vip_lifecycle(client: FlaskClient, service: MemoryService) -> None:
    body = {"name": "api", "address": "10.0.0.101", "port": 443, "pool": "spare"}
    created = client.post("/v1/vips", json=body)
    assert (created.status_code, created.json) == (201, {**body, "affinity_timeout_s": 0})
    replaced = client.put("/v1/vips/api", json=created.json | {"affinity_timeout_s": 60})
    assert replaced.json == client.get("/v1/vips/api").json
    assert service.current.vips["api"].affinity_timeout_s == 60
    assert [vip["name"] for vip in client.get("/v1/vips").json["items"]] == ["api", "web"]
    assert client.delete("/v1/vips/api").status_code == 204
    assert service.current == parse_policy(document())


def test_firewall_rules(client: FlaskClient, service: MemoryService) -> None:
    created = client.post("/v1/firewall/rules", json={"priority": 200, "action": "reject", "dst": "10.0.0.100"})
    rule_id = created.json["id"]
    assert (created.status_code, created.headers["Location"]) == (201, f"/v1/firewall/rules/{rule_id}")
    again = client.post("/v1/firewall/rules", json={"priority": 200, "action": "reject", "dst": "10.0.0.100"})
    assert again.status_code == 409
    service.hits = {"lab": 12}
    listed = client.get("/v1/firewall/rules").json["items"]
    assert [(rule["id"], rule["hits"]) for rule in listed] == [(rule_id, 0), ("lab", 12)]
    replaced = client.put("/v1/firewall/rules/lab", json=listed[1] | {"action": "allow"})
    assert (replaced.json["id"], replaced.json["action"]) == ("lab", "allow")
    assert client.put("/v1/firewall/rules/lab", json={"action": "drop"}).json["id"] == "lab"
    assert client.delete(f"/v1/firewall/rules/{rule_id}").status_code == 204
    assert [rule.id for rule in service.current.firewall.rules] == ["lab"]


def test_firewall_default_and_log(client: FlaskClient, service: MemoryService) -> None:
    assert client.get("/v1/firewall/default").json == {"default": "allow"}
    assert client.put("/v1/firewall/default", json={"default": "drop"}).json == {"default": "drop"}
    assert service.current.firewall.default == "drop"
    assert len(client.get("/v1/firewall/log").json["items"]) == 1
    assert client.get("/v1/firewall/log?cursor=x").status_code == 422


def test_any_part_carries_the_version_of_the_whole(client: FlaskClient, service: MemoryService) -> None:
    seen = client.get("/v1/pools/web/members/web-1").headers["ETag"]
    assert seen == f'"{etag(service.current)}"'
    assert client.delete("/v1/vips/web", headers={"If-Match": seen}).status_code == 204
    late = client.patch("/v1/pools/web/members/web-1", json={"weight": 1}, headers={"If-Match": seen})
    assert late.status_code == 412
