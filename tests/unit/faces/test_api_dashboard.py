"""The dashboard: everything it needs comes from here, from nobody else, and with or without a token."""

import re
import sys
from pathlib import Path

import pytest
from api_memory_service import MemoryService
from flask.testing import FlaskClient

from controller.api.resources.dashboard import STATIC
from controller.store import Role, Store

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts/lib/web"))

import libraries

OWN = sorted(path for path in STATIC.rglob("*.*") if "vendor" not in str(path.relative_to(STATIC)))
SCRIPTS = [path for path in OWN if path.suffix == ".js"]
TYPES = {".html": "text/html", ".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@pytest.fixture(scope="module", autouse=True)
def brought() -> None:
    libraries.bring()


def path_of(part: Path) -> str:
    return f"/assets/{part.relative_to(STATIC)}"


@pytest.mark.parametrize("part", OWN, ids=path_of)
def test_parts_are_served_with_their_types(client: FlaskClient, part: Path) -> None:
    answer = client.get(path_of(part))
    assert answer.status_code == 200
    assert TYPES[part.suffix] in answer.content_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("script", SCRIPTS, ids=path_of)
def test_every_module_that_is_imported_is_served(client: FlaskClient, script: Path) -> None:
    imported = re.findall(r"""(?:from|^import) "([^"]+)";""", script.read_text(), re.MULTILINE)
    assert imported or script.name in ("first.js", "causes.js", "format.js", "api.js", "state.js")
    for name in imported:
        assert name.startswith("."), "a browser knows no packages"
        assert client.get(path_of((script.parent / name).resolve())).status_code == 200, name


def test_the_page_loads_nothing_from_elsewhere_and_has_nothing_inline(client: FlaskClient) -> None:
    answer = client.get("/")
    page = answer.get_data(as_text=True)
    sources = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert len(sources) > 5
    assert all(client.get(source).status_code == 200 for source in sources)
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page)
    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'"} <= {
        part.strip() for part in policy.split(";")
    }
    assert "unsafe" not in policy


@pytest.mark.parametrize("part", OWN, ids=path_of)
def test_no_part_names_another_host_or_writes_markup(part: Path) -> None:
    text = part.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|unsafeHTML|eval\(|new Function", text)


def test_the_page_is_there_before_a_token_is_shown_and_nothing_else(client: FlaskClient, store: Store) -> None:
    store.tokens.create("somebody", Role.READ, 0.0)
    assert client.get("/").status_code == 200
    assert client.get("/assets/js/main.js").status_code == 200
    assert client.get("/assets/vendor/d3/dist/d3.min.js").status_code == 200
    for path in ("/v1/pools", "/v1/events", "/metrics", "/v1/resets/timeline"):
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "js/../../app.py", "/etc/passwd", "js", ""])
def test_nothing_beside_the_page_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/assets/{name}", follow_redirects=True).status_code == 404


def test_resets_are_counted_by_span_and_cause(client: FlaskClient, service: MemoryService) -> None:
    service.reset_spans = {
        1_767_225_580: {"overload": 3, "none": 1},
        1_767_225_600: {"hostile": 2},
        1_767_225_000: {"policy": 9},
    }
    answer = client.get("/v1/resets/timeline?bin_s=20&bins=3").json
    assert answer == {
        "bin_s": 20,
        "spans": [
            {"time": "2025-12-31T23:59:20.000Z", "counts": {}},
            {"time": "2025-12-31T23:59:40.000Z", "counts": {"overload": 3, "none": 1}},
            {"time": "2026-01-01T00:00:00.000Z", "counts": {"hostile": 2}},
        ],
    }


@pytest.mark.parametrize("query", ["bin_s=0", "bins=0", "bins=721", "bin_s=1.5", "since=x"])
def test_a_timeline_out_of_range_is_refused(client: FlaskClient, query: str) -> None:
    assert client.get(f"/v1/resets/timeline?{query}").status_code == 422
