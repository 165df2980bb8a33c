"""What is observed and done at run time: fabric, resets, incidents, quarantine, automation, metrics."""

from typing import Any

import pytest
from api_memory_service import MemoryService
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from controller.api.service import HealthReport, Measurement, MemberStatus, ResetSelection
from controller.policy import Automation, AutomationMode
from controller.store import Store

INCIDENT = {
    "id": "i1",
    "opened": "2026-01-01T00:00:00.000Z",
    "closed": None,
    "subject": {"type": "member", "id": "web/web-1"},
    "cause": "misconfiguration",
    "confidence": 0.97,
    "posterior": {"misconfiguration": 0.97, "overload": 0.03},
    "evidence": [],
    "actions": [{"time": "2026-01-01T00:00:00.000Z", "action": "eject", "target": "web/web-1", "result": "done"}],
    "resets": 41,
}


def test_health_is_always_200_and_says_why(client: FlaskClient, service: MemoryService) -> None:
    assert client.get("/v1/health").json == {"status": "ok", "switches": 1, "version": "0.1.0-test", "reason": None}
    service.report = HealthReport(0, "no switch is connected")
    answer = client.get("/v1/health")
    assert (answer.status_code, answer.json["status"], answer.json["reason"]) == (
        200,
        "degraded",
        "no switch is connected",
    )
    assert client.get("/v1/ready").status_code == 503


def test_ready(client: FlaskClient) -> None:
    assert (client.get("/v1/ready").status_code, client.get("/v1/ready").json) == (200, {"ready": True})


def test_fabric(client: FlaskClient) -> None:
    assert client.get("/v1/switches").json == {"items": [{"dpid": "0000000000000011"}], "next": None}
    assert set(client.get("/v1/topology").json) == {"switches", "links", "hosts"}
    assert client.get("/v1/links").json["items"] == []
    assert client.get("/v1/hosts").json["items"][0]["mac"] == "02:00:00:00:00:01"


def test_resets_are_selected_and_paged_by_the_controller(client: FlaskClient, service: MemoryService) -> None:
    service.reset_list = [{"n": number} for number in range(3)]
    query = "since=2026-01-01T00:00:00Z&vip=web&member=web/web-1&client=10.0.9.7&cause=hostile&limit=2"
    answer = client.get(f"/v1/resets?{query}").json
    assert answer == {"items": [{"n": 0}, {"n": 1}], "next": "2"}
    assert service.selections == [ResetSelection(1_767_225_600.0, "web", "web/web-1", "10.0.9.7", "hostile")]
    assert client.get("/v1/resets?cursor=2").json == {"items": [{"n": 2}], "next": None}


@pytest.mark.parametrize(
    "since", ["2026-01-01T00:00:00Z", "2026-01-01t01:00:00%2b01:00", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.0Z"]
)  # fmt: skip
def test_since_is_an_rfc_3339_time_also_with_an_unquoted_plus(
    client: FlaskClient, service: MemoryService, since: str
) -> None:
    assert client.get(f"/v1/resets?since={since}").status_code == 200
    assert service.selections[0].since == 1_767_225_600.0


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("since=yesterday", 'since: "yesterday" is not a time such as'),
        ("since=2026-01-01T00:00:00", "since: "),
        ("client=x", 'client: "x" is not an IP address'),
        ("cause=bad", 'cause: "bad" is not one of congestion'),
        ("limit=0", "limit: 0 is not in 1–1000"),
        ("limit=1001", "limit: 1001 is not in 1–1000"),
        ("limit=ten", 'limit: "ten" is not an integer'),
        ("limit=1&limit=2", "limit: is there 2 times"),
        ("colour=red", "colour: is not a known field"),
        ("since=0.5", 'since: "0.5" is not a time such as'),
        ("since=2026-02-30T00:00:00Z", "since: "),
        ("cursor=abc", 'cursor: "abc" is not one that this list gave'),
    ],
)
def test_wrong_queries_name_the_parameter(client: FlaskClient, query: str, detail: str) -> None:
    answer = client.get(f"/v1/resets?{query}")
    assert answer.status_code == 422
    assert detail in answer.json["detail"]


def test_parameters_where_none_are_known_are_refused(client: FlaskClient) -> None:
    assert client.get("/v1/health?verbose=1").status_code == 422
    assert client.delete("/v1/vips/web?force=true").status_code == 422


def test_incidents(client: FlaskClient, service: MemoryService) -> None:
    service.incident_list = [INCIDENT, INCIDENT | {"id": "i0", "closed": "2026-01-01T00:00:00.000Z", "actions": []}]
    assert [found["id"] for found in client.get("/v1/incidents?state=open").json["items"]] == ["i1"]
    assert len(client.get("/v1/incidents").json["items"]) == 2
    assert client.get("/v1/incidents/i1").json == INCIDENT
    assert client.get("/v1/incidents/nope").status_code == 404
    assert client.post("/v1/incidents/i1/label", json={"cause": "overload"}).json["label"] == "overload"
    assert client.post("/v1/incidents/i1/label", json={"cause": "aliens"}).status_code == 422
    assert client.post("/v1/incidents/i1/revert", json={}).json["actions"] == []
    assert client.post("/v1/incidents/i1/revert", data=b"", content_type="application/json").status_code == 200
    assert client.post("/v1/incidents/i0/revert", json={}).status_code == 409
    assert client.post("/v1/incidents/nope/revert", json={}).status_code == 404
    actions = [entry["action"] for entry in client.get("/v1/audit").json["items"]]
    assert actions == ["incident revert", "incident revert", "incident label"]


def test_quarantine(client: FlaskClient) -> None:
    created = client.post("/v1/quarantine", json={"client": "10.0.9.0/24", "vip": "web", "action": "limit"})
    assert (created.status_code, created.headers["Location"]) == (201, "/v1/quarantine/q1")
    assert (created.json["ttl_s"], created.json["incident"]) == (300, None)
    assert client.post("/v1/quarantine", json={"client": "10.0.9.0/24"}).status_code == 409
    assert client.get("/v1/quarantine").json["items"] == [created.json]
    assert client.delete("/v1/quarantine/q1").status_code == 204
    assert client.delete("/v1/quarantine/q1").status_code == 404
    actions = [(entry["action"], entry["target"]) for entry in client.get("/v1/audit").json["items"]]
    assert actions == [("quarantine remove", "q1"), ("quarantine add", "10.0.9.0/24")]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"client": "10.0.9.1/24"}, "client: "),
        ({"client": "10.0.9.1", "vip": "nope"}, "vip: there is no VIP nope"),
        ({"client": "10.0.9.1", "ttl_s": 0}, "ttl_s: 0 is not in 1–2592000"),
        ({}, "client: is required"),
    ],
)
def test_wrong_quarantine(client: FlaskClient, body: Any, detail: str) -> None:
    answer = client.post("/v1/quarantine", json=body)
    assert answer.status_code == 422
    assert detail in answer.json["detail"]


def test_automation_changes_what_is_named_and_is_durable(
    client: FlaskClient, service: MemoryService, store: Store
) -> None:
    assert client.put("/v1/automation", json={"enforce_percent": 25}).json == {"mode": "enforce", "enforce_percent": 25}
    assert client.put("/v1/automation", json={"mode": "frozen"}).json == {"mode": "frozen", "enforce_percent": 25}
    assert client.get("/v1/automation").json == client.get("/v1/policy").json["automation"]
    assert store.current_policy() == service.current
    assert service.current.automation == Automation(mode=AutomationMode.FROZEN, enforce_percent=25)
    assert client.put("/v1/automation", json={"mode": "off"}).status_code == 422
    assert len(client.get("/v1/audit").json["items"]) == 2


def test_explain(client: FlaskClient) -> None:
    answer = client.get("/v1/explain?src=10.0.9.7&dst=10.0.0.100&dst_port=80&src_port=40000").json
    assert answer == {"src": "10.0.9.7", "dst": "10.0.0.100", "src_port": 40000, "dst_port": 80}
    assert client.get("/v1/explain?src=10.0.9.7&dst=10.0.0.100").json["detail"] == "dst_port: is required"


def test_metrics_are_valid_and_tell_what_the_api_tells(client: FlaskClient, service: MemoryService) -> None:
    service.statuses["web", "web-1"] = MemberStatus("up", 100, resets_per_s={"refused": 1.5}, handshake_ms=0.4)
    service.samples = [Measurement("resets", "Resets by VIP.", "counter", 41, {"vip": 'a"b\n'})]
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    }
    here = (("member", "web-1"), ("pool", "web"))
    assert samples["resetlb_switches",] == 1
    assert samples["resetlb_automation_mode", ("mode", "enforce")] == 1
    assert samples["resetlb_member_effective_weight", *here] == 100
    assert samples["resetlb_member_health", ("health", "up"), *here] == 1
    assert samples["resetlb_member_resets_per_second", ("kind", "refused"), *here] == 1.5
    assert ("resetlb_member_load_ratio", *here) not in samples
    assert samples["resetlb_resets_total", ("vip", 'a"b\n')] == 41
