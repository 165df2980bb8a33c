"""What people read: both runs side by side on 80 columns, and events of the API's stream."""

from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from topologies.demo import ejections, report, script
from topologies.demo.api import Event, server_sent
from topologies.demo.expectations import judge
from topologies.demo.tally import Counts, Tally


def _run(handling: bool, counts: Counts) -> Tally:
    tally = Tally(handling, script.MEMBERS)
    for number, phase in enumerate(script.PHASES):
        tally.begin(phase.name, float(number))
        tally.phases[-1].counts = counts
        tally.phases[-1].weights = {"web-1": 100, "web-2": 0 if handling else 100, "web-3": 100}
    tally.kept = 24
    return tally


def _printed(width: int) -> str:
    handled, unhandled = _run(True, Counts(1200, 0, 1, 1, 0, 12.3)), _run(False, Counts(1201, 398, 300, 0, 0, 1013.4))
    handled.out_after_ms = {"web-2": 9.9}
    output = StringIO()
    Console(file=output, width=width).print(*report.full(handled, unhandled, judge(handled, unhandled)), sep="\n")
    return output.getvalue()


def test_a_phase_stands_on_one_line_of_80_columns_with_both_runs() -> None:
    lines = _printed(80).splitlines()
    (killed,) = [line.split() for line in lines if line.startswith("web-2 killed") and "1201" in line]
    assert killed == ["web-2", "killed", "1200", "1201", "0", "398", "1", "300", "0", "0", "1", "0", "12.3", "1013"]
    assert max(map(len, lines)) <= 80


def test_the_report_says_the_weights_and_how_long_a_member_stayed_in() -> None:
    text = _printed(80)
    assert "web-2 killed    100   100      0   100    100   100" in text
    assert "on web-2 9.9 ms; off never" in text


def test_events_are_read_as_the_stream_has_them() -> None:
    stream = ': events follow\nretry: 3000\n\nid: a-1\nevent: ejected\ndata: {"after_ms": 9.5}\n\n: nothing new\n\n'
    assert list(server_sent(stream.split("\n"))) == [Event("ejected", {"after_ms": 9.5})]


def test_percentiles_are_values_that_were_measured() -> None:
    found = ejections.figures([float(number) for number in range(100, 0, -1)], Counter(ok=990, refused=10))
    assert (found.p50, found.p90, found.p99, found.slowest) == (50.0, 90.0, 99.0, 100.0)
    assert (found.n, found.failed, found.met) == (100, "10 of 1000 (10 refused)", False)


def test_no_ejection_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no ejection"):
        ejections.figures([], Counter())


def test_figures_replace_those_of_the_page_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "ejections.md"
    page.write_text((Path(__file__).parents[2] / ejections.FIGURES).read_text())
    before, after = page.read_text().split("<!-- figures")[0], page.read_text().split("<!-- end of figures -->")[1]
    for slowest in (7.5, 8.5):
        ejections.write(ejections.figures([slowest], Counter(ok=1)), "ryu", page)
    text = page.read_text()
    assert text.startswith(before)
    assert text.endswith(after)
    assert "8.5 ms" in text
    assert "7.5 ms" not in text


def test_a_page_without_a_place_for_figures_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    with pytest.raises(ValueError, match="no place"):
        ejections.write(ejections.figures([1.0], Counter(ok=1)), "ryu", page)
    assert page.read_text() == "# Page\n"
