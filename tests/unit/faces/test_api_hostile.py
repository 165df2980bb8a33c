"""Whatever is sent, the API answers in its own words: never a 500, and never a policy that is only half there."""

import json
import string
import tempfile
from pathlib import Path
from typing import Any

from api_examples import document, policy
from api_memory_service import MemoryService
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.app import create_app
from controller.policy import etag, parse_policy
from controller.store import Store

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
ANSWERS = {200, 201, 204, 400, 404, 405, 409, 412, 415, 422}
_directory = tempfile.TemporaryDirectory()
_service = MemoryService(policy())
_store = Store(Path(_directory.name))
_client = create_app(_service, _store).test_client()


def _send(method: str, path: str, body: Any) -> int:
    answer = _client.open(path, method=method, data=json.dumps(body), content_type="application/json")
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert answer.json["detail"]
    assert etag(parse_policy(_client.get("/v1/policy").json)) == etag(_service.current)
    return answer.status_code


@given(json_values)
@settings(deadline=None)
def test_any_document_as_policy(body: Any) -> None:
    assert _send("PUT", "/v1/policy", body) in ANSWERS


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_policy_with_one_part_replaced(data: st.DataObject) -> None:
    body = parse_policy(document()).document()
    place: Any = body
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(json_values)
            break
        place = place[key]
    assert _send("PUT", "/v1/policy", body) in ANSWERS
    stored = _store.current_policy()
    assert stored is None or stored == _service.current


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    st.sampled_from(
        [
            "pools", "pools/web", "pools/web/members", "pools/web/members/web-1", "pools/web/members/web-1/load",
            "vips", "vips/web", "firewall/rules",
            "firewall/rules/lab", "firewall/default", "firewall/log", "quarantine",
            "quarantine/x", "incidents", "incidents/x/label", "incidents/x/revert", "automation", "policy/rollback",
        ]
    ),
    json_values | st.dictionaries(st.sampled_from(["name", "address", "port", "weight", "load", "client", "id", "cause",
                                                   "action", "members", "default", "mode", "revision"]), json_values),
)  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_any_body_anywhere(method: str, path: str, body: Any) -> None:
    assert _send(method, f"/v1/{path}", body) in ANSWERS


@given(st.text(alphabet=string.printable, max_size=40), st.dictionaries(st.text(max_size=8), st.text(max_size=8)))
@settings(deadline=None)
def test_any_path_and_query(path: str, query: dict[str, str]) -> None:
    for prefix in ("/v1/pools/", "/v1/resets", "/v1/explain", "/v1/incidents/"):
        answer = _client.get(prefix + path.replace("?", "").replace("#", ""), query_string=query)
        assert answer.status_code < 500
