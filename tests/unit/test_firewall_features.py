"""The table that holds the firewall against others: each row's test is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/firewall.md").read_text().partition("<!-- features -->")[2].partition("<!-- end -->")[0]
ROWS = [line.strip("| ").split(" | ") for line in TABLE.strip().splitlines()[2:]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_claimed_is_demonstrated(row: list[str]) -> None:
    found = re.fullmatch(r"`(tests/[\w/]+\.py)` `(test_\w+)`", row[-1])
    assert found and len(row) == 6
    assert re.search(rf"^def {found[2]}\(", (ROOT / found[1]).read_text(), re.MULTILINE)


def test_no_row_is_there_twice() -> None:
    assert len(ROWS) > 15 and len({row[0] for row in ROWS}) == len(ROWS)
