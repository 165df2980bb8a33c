"""The status page: everything it needs comes from here, and every field it reads is one that the API gives."""

import re

import pytest
from flask.testing import FlaskClient

from controller.api.resources.dashboard import STATIC


def test_page_and_its_parts_are_served_with_their_types(client: FlaskClient) -> None:
    for path, content_type in (("/", "text/html"), ("/dashboard.js", "javascript"), ("/dashboard.css", "text/css")):
        answer = client.get(path)
        assert answer.status_code == 200
        assert content_type in answer.content_type


def test_page_loads_nothing_from_elsewhere_and_has_nothing_inline(client: FlaskClient) -> None:
    page = client.get("/").get_data(as_text=True)
    for source in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert source == "data:," or client.get(source).status_code == 200
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page)
    for name in ("dashboard.html", "dashboard.js", "dashboard.css"):
        assert "://" not in (STATIC / name).read_text()


@pytest.mark.parametrize(
    ("path", "subject"), [("/v1/pools/web/members/web-1", "member"), ("/v1/vips/web", "vip"), ("/v1/automation", "automation")]
)  # fmt: skip
def test_page_reads_fields_that_exist(client: FlaskClient, path: str, subject: str) -> None:
    known = set(client.get(path).json or ()) | {"pool", "items"}
    used = set(re.findall(rf"\b{subject}\.(\w+)", (STATIC / "dashboard.js").read_text()))
    assert used
    assert used <= known
