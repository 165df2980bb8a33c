"""Who gets in: loopback names without tokens, roles with them, and nothing that another site can send."""

import json
import logging
from typing import Any

import pytest
from api_memory_service import MemoryService
from flask.testing import FlaskClient

from controller.api.access import bind_refusal
from controller.api.app import create_app
from controller.api.intake import MAX_BODY_BYTES
from controller.policy import Policy
from controller.store import Role, Store


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:8080", 200),
        ("127.9.9.9", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8080", 403),
        ("10.0.0.1:8080", 403),
        ("[::]", 403),
        ("127.0.0.1@evil.example", 403),
        ("", 403),
    ],
)
def test_only_loopback_names_without_tokens(client: FlaskClient, host: str, status: int) -> None:
    for path in ("/v1/policy", "/", "/metrics", "/openapi/openapi.json"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == status
    if status == 403:
        assert client.get("/v1/policy", headers={"Host": host}).json["detail"].startswith("Host: ")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_cross_site_form_cannot_change_anything(
    client: FlaskClient,
    service: MemoryService,
    content_type: str,
) -> None:
    for method, path in (("POST", "/v1/incidents/i1/revert"), ("PUT", "/v1/policy"), ("POST", "/v1/pools")):
        answer = client.open(path, method=method, data=b"{}", content_type=content_type)
        assert answer.status_code == 415
    assert service.applied == []


def test_charset_parameter_is_fine(client: FlaskClient) -> None:
    answer = client.put("/v1/policy", data=b"{}", content_type="application/json; charset=utf-8")
    assert answer.status_code == 200


def test_large_body_is_refused(client: FlaskClient) -> None:
    for size in (MAX_BODY_BYTES + 1, MAX_BODY_BYTES * 2):
        answer = client.put("/v1/policy", data=b" " * size, content_type="application/json")
        assert (answer.status_code, answer.content_type) == (413, "application/problem+json")


def test_roles(client: FlaskClient, store: Store) -> None:
    reader, admin = (store.tokens.create(role.value, role, 1.0)[1] for role in (Role.READ, Role.ADMIN))
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": f"Basic {admin}"}):
        answer = client.get("/v1/policy", headers=headers)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="resetlb"')
    as_reader, as_admin = ({"Authorization": f"Bearer {secret}"} for secret in (reader, admin))
    assert client.get("/v1/policy", headers=as_reader).status_code == 200
    refused = client.put("/v1/policy", json={}, headers=as_reader)
    assert (refused.status_code, refused.json["detail"]) == (403, "Authorization: the token read may only read")
    assert client.put("/v1/policy", json={}, headers=as_admin).status_code == 200
    assert client.get("/v1/audit", headers=as_reader).json["items"][0]["actor"] == "token admin"


def test_with_tokens_any_host_name_is_served_and_probes_need_none(client: FlaskClient, store: Store) -> None:
    store.tokens.create("ci", Role.READ, 1.0)
    for path in ("/v1/health", "/v1/ready", "/"):
        assert client.get(path, headers={"Host": "lb.example"}).status_code == 200
    for path in ("/metrics", "/openapi/openapi.json", "/v1/events", "/v1/nope"):
        assert client.get(path, headers={"Host": "lb.example"}).status_code == 401


def test_listener_beyond_the_loopback_never_falls_open(service: MemoryService, store: Store) -> None:
    token, _ = store.tokens.create("last", Role.ADMIN, 1.0)
    outside = create_app(service, store, require_tokens=True).test_client()
    store.tokens.revoke(token.id)
    assert outside.get("/v1/policy").status_code == 401


@pytest.mark.parametrize(
    ("host", "tokens", "allowed"),
    [
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("localhost", False, True),
        ("/run/resetlb.sock", False, True),
        ("", False, True),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("192.0.2.1", False, False),
        ("lb.example", False, False),
        ("0.0.0.0", True, True),
    ],
)
def test_bind_without_tokens_only_on_the_loopback(host: str, tokens: bool, allowed: bool) -> None:
    refusal = bind_refusal(host, tokens_exist=tokens)
    assert (refusal is None) == allowed
    if refusal:
        assert "resetlb token create" in refusal


def test_every_answer_carries_the_fences(client: FlaskClient) -> None:
    for path in ("/", "/v1/policy", "/v1/nope", "/openapi/swagger"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers
    assert "'unsafe-inline'" not in client.get("/").headers["Content-Security-Policy"]


def test_unknown_routes_and_methods_are_problems(client: FlaskClient) -> None:
    assert (client.get("/v1/nope").status_code, client.get("/v1/nope").json["status"]) == (404, 404)
    answer = client.delete("/v1/policy")
    assert answer.status_code == 405
    assert "PUT" in answer.headers["Allow"]


def test_defect_is_logged_and_not_shown(
    client: FlaskClient,
    service: MemoryService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Policy:
        raise RuntimeError("secret particulars")

    monkeypatch.setattr(service, "policy", broken)
    with caplog.at_level(logging.ERROR):
        answer = client.get("/v1/policy")
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert "secret" not in answer.get_data(as_text=True)
    assert "secret particulars" in caplog.text


def test_openapi_document_describes_every_route(client: FlaskClient) -> None:
    answer = client.get("/openapi/openapi.json").json
    assert answer["openapi"].startswith("3.1")
    routes = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in client.application.url_map.iter_rules()
        if rule.rule.startswith("/v1/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, item in answer["paths"].items() for method in item} == routes
    assert unresolved(answer) == set()
    member = answer["components"]["schemas"]["Member"]["properties"]
    assert (member["port"]["minimum"], member["port"]["maximum"], member["weight"]["default"]) == (1, 65535, 100)


def unresolved(document: Any) -> set[str]:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    text = json.dumps(document)
    return {part.split('"')[0] for part in text.split('"$ref": "')[1:]} - known


def test_swagger_ui_is_served_from_here(client: FlaskClient) -> None:
    page = client.get("/openapi/swagger").get_data(as_text=True)
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page
    assert client.get("/openapi/swagger/js/swagger-ui-bundle.js").status_code == 200
