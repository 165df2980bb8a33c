"""The policy over REST: whole or not at all, with versions, history and audit."""

from typing import Any

import pytest
from api_examples import document, policy
from api_memory_service import MemoryService
from flask.testing import FlaskClient

from controller.api.service import ConflictError
from controller.policy import Policy, PolicyError, Problem, etag, parse_policy
from controller.store import Store, StoreError


def test_policy_can_be_read_and_put_back(client: FlaskClient, service: MemoryService) -> None:
    answer = client.get("/v1/policy")
    assert answer.status_code == 200
    assert answer.json == policy().document()
    assert answer.headers["ETag"] == f'"{etag(policy())}"'
    assert client.put("/v1/policy", json=answer.json).status_code == 200
    assert service.applied == []  # nothing changed, so the switches are left alone


def test_put_is_applied_stored_and_audited(client: FlaskClient, service: MemoryService, store: Store) -> None:
    changed = document()
    changed["pools"]["web"]["members"][0]["weight"] = 7
    answer = client.put("/v1/policy", json=changed)
    assert (answer.status_code, answer.json) == (200, parse_policy(changed).document())
    assert service.applied == [parse_policy(changed)] == [store.current_policy()]
    entry = client.get("/v1/audit").json["items"][0]
    assert (entry["action"], entry["actor"]) == ("PUT /v1/policy", "local 127.0.0.1")
    assert entry["time"] == "2026-01-01T00:00:00.250Z"
    assert entry["detail"]["changes"] == ["pools.web.members[web-1].weight: 100 → 7"]


def test_dry_run_tells_and_changes_nothing(client: FlaskClient, service: MemoryService, store: Store) -> None:
    changed = document()
    changed["pools"]["web"]["members"][0]["weight"] = 7
    answer = client.put("/v1/policy?dry_run=true", json=changed)
    assert answer.json == {
        "dry_run": True,
        "etag": etag(parse_policy(changed)),
        "changes": [{"path": "pools.web.members[web-1].weight", "old": 100, "new": 7}],
        "flows": [{"operation": "add", "table_id": 4}],
        "warnings": [],
    }
    assert service.applied == []
    assert store.current_policy() is None
    assert client.get("/v1/audit").json["items"] == []


def test_dry_run_of_what_the_core_would_refuse(client: FlaskClient) -> None:
    members = [{"name": f"m{n}", "address": "10.0.0.1", "port": n + 1} for n in range(101)]
    answer = client.put("/v1/policy?dry_run=true", json={"pools": {"p": {"members": members}}})
    assert (answer.status_code, answer.json["detail"]) == (422, "pools: too many members")


@pytest.mark.parametrize(
    ("raw", "status", "detail"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"version": 1, "version": 1}', 400, '"version" is there twice'),
        (b'{"version": NaN}', 400, "NaN is not JSON"),
        (b'{"probe_address": "\\ud800"}', 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"version": ' + b"9" * 5000 + b"}", 400, "not JSON"),
        (b"[]", 422, "policy: an empty list is not a mapping"),
        (b"null", 422, "policy: null is not a mapping"),
        (b'"{}"', 422, 'policy: "{}" is not a mapping'),
        (b'{"pool": {}}', 422, "pool: is not a known field; did you mean pools?"),
        (b'{"vips": {"a": {"address": "10.0.0.1", "port": 80, "pool": "x"}}}', 422, "vips.a.pool: there is no pool x"),
        (b'{"pools": {"web": {"members": [{"name": "a", "address": "10.0.0.1", "port": 70000}]}}}', 422,
         "pools.web.members[0].port: 70000 is not in 1–65535"),
    ],
)  # fmt: skip
def test_what_is_not_a_policy_is_refused(
    client: FlaskClient,
    service: MemoryService,
    raw: bytes,
    status: int,
    detail: str,
) -> None:
    answer = client.put("/v1/policy", data=raw, content_type="application/json")
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert detail in answer.json["detail"]
    assert answer.json["status"] == status
    assert service.applied == []


def test_every_problem_is_listed(client: FlaskClient) -> None:
    answer = client.put("/v1/policy", json={"version": 2, "pols": {}})
    assert [problem["path"] for problem in answer.json["problems"]] == ["version", "pols"]


def test_collision_inside_a_whole_policy_is_invalid_not_a_conflict(client: FlaskClient) -> None:
    member = {"name": "a", "address": "10.0.0.1", "port": 80}
    assert client.put("/v1/policy", json={"pools": {"p": {"members": [member, member]}}}).status_code == 422


def test_if_match_guards_against_lost_updates(client: FlaskClient, service: MemoryService) -> None:
    seen = client.get("/v1/policy").headers["ETag"]
    changed = {"automation": {"mode": "frozen"}}
    first = client.put("/v1/policy", json=changed, headers={"If-Match": seen})
    assert first.status_code == 200
    second = client.put("/v1/policy", json={}, headers={"If-Match": seen})
    assert second.status_code == 412
    assert second.headers["ETag"] == first.headers["ETag"] == f'"{etag(service.current)}"'
    assert service.current == parse_policy(changed)
    assert (
        client.put("/v1/policy", json={}, headers={"If-Match": f'"nope", {first.headers["ETag"]}'}).status_code == 200
    )
    assert client.put("/v1/policy", json=changed, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize(
    ("refusal", "status", "detail"),
    [
        (
            PolicyError([Problem(("pools", "web"), "has more members than a group of this switch")]),
            422,
            "pools.web: has more",
        ),
        (ConflictError("a switch is being upgraded"), 409, "being upgraded"),
    ],
)
def test_policy_that_the_core_refuses_is_not_stored(
    client: FlaskClient,
    service: MemoryService,
    store: Store,
    refusal: Exception,
    status: int,
    detail: str,
) -> None:
    service.refuse = refusal
    answer = client.put("/v1/policy", json={})
    assert answer.status_code == status
    assert detail in answer.json["detail"]
    assert store.current_policy() is None
    assert client.get("/v1/audit").json["items"] == []


def test_policy_that_cannot_be_stored_is_taken_back(
    client: FlaskClient,
    service: MemoryService,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    execute = store._database.execute

    def full_at_commit(statement: str, parameters: Any = ()) -> list[Any]:
        if statement == "COMMIT":
            raise StoreError("no space left")
        return execute(statement, parameters)

    monkeypatch.setattr(store._database, "execute", full_at_commit)
    answer = client.put("/v1/policy", json={})
    assert answer.status_code == 503
    assert "no space left" in answer.json["detail"]
    assert service.applied == [Policy(), policy()]  # taken in, and given back
    assert service.current == policy()
    assert store.current_policy() is None


def test_history_and_rollback(client: FlaskClient, service: MemoryService) -> None:
    frozen = {"automation": {"mode": "frozen"}}
    assert client.post("/v1/policy/rollback", json={}).status_code == 409
    client.put("/v1/policy", json=frozen)
    client.put("/v1/policy", json={})
    newest, oldest = client.get("/v1/policy/history").json["items"]
    assert (newest["etag"], oldest["etag"]) == (etag(Policy()), etag(parse_policy(frozen)))
    assert client.post("/v1/policy/rollback", json={}).json["automation"]["mode"] == "frozen"
    assert service.current == parse_policy(frozen)
    assert client.get("/v1/policy/history").json["items"][0]["origin"] == "rollback"
    assert client.post("/v1/policy/rollback", json={"revision": newest["revision"]}).status_code == 200
    assert service.current == Policy()
    assert client.post("/v1/policy/rollback", json={"revision": 99}).status_code == 404


def test_history_is_paged(client: FlaskClient) -> None:
    for percent in range(5):
        client.put("/v1/policy", json={"automation": {"enforce_percent": percent}})
    seen, cursor = [], ""
    while cursor is not None:
        answer = client.get(f"/v1/policy/history?limit=2{cursor and '&cursor=' + cursor}").json
        seen += [item["revision"] for item in answer["items"]]
        cursor = answer["next"]
    assert seen == [5, 4, 3, 2, 1]
