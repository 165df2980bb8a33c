"""docs/api.md shows a policy that is accepted and names every endpoint there is."""

import re
from pathlib import Path

from flask.testing import FlaskClient

from controller.policy import parse_policy_text

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


def test_policy_of_the_page_is_accepted() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert parse_policy_text(shown.encode()).vips["web"].port == 80


def test_every_endpoint_is_named(client: FlaskClient) -> None:
    paths = set((client.get("/openapi/openapi.json").json or {})["paths"])
    assert {path for path in paths if f"`{path}`" not in PAGE} == set()
