"""`/metrics`: a format that Prometheus reads, names that are documented, and no more series than allowed, whoever names things."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_memory_service import MemoryService
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from watched_world import eventful, scrape

from controller.api.exposition import CLOSED_SETS, MAX_SERIES, OTHER, SeriesLimit
from controller.api.metrics import AT_ONCE
from controller.api.service import Measurement
from controller.policy import parse_policy

DOCS = Path(__file__).parents[3] / "docs"
MONITORING = (DOCS / "monitoring.md").read_text()
RULES = DOCS / "monitoring" / "alerts.yaml"
NAMES = re.compile(r"\b((?:resetlb|process)_\w+)")
HOSTILE = 100_000


@pytest.fixture(scope="module")
def page() -> str:
    return scrape(eventful())


def series_names(page: str) -> set[str]:
    return set(re.findall(r"^((?:resetlb|process)_\w+)", page, re.MULTILINE))


def families(page: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page)}


# --- format and names ----------------------------------------------------------------------------------------------------------


def test_format_is_read_back_with_a_type_and_a_text_for_every_name(page: str) -> None:
    for family in families(page).values():
        assert family.type in ("counter", "gauge", "histogram")
        assert family.documentation
        assert family.samples
        labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        assert len(labels) == 1, "samples of a name have the same labels"
    histogram = [sample for sample in families(page)["resetlb_core_handle_seconds"].samples if "le" in sample.labels]
    assert [sample.value for sample in histogram] == sorted(sample.value for sample in histogram)
    assert histogram[-1].labels["le"] == "+Inf"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_own_tool_finds_nothing_to_say(page: str) -> None:
    for arguments, given in ((["metrics"], page), (["rules", str(RULES)], "")):
        done = subprocess.run(
            ["promtool", "check", *arguments], input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "error" not in done.stderr


def test_every_name_is_documented_and_every_documented_name_exists(page: str) -> None:
    documented = set(re.findall(r"`(resetlb_\w+)`", MONITORING))
    exist = {name for name in series_names(page) if name.startswith("resetlb_")}
    assert exist - documented == set()
    assert documented - exist - {"resetlb_core_handle_seconds"} == set()


def test_units_are_base_units(page: str) -> None:
    wrong = [name for name in series_names(page) if re.search(r"_(ms|milliseconds|bits|pct|percent|bps)(_|$)", name)]
    assert wrong == []


# --- what happened -------------------------------------------------------------------------------------------------------------


def test_an_ejection_is_told_as_it_was(page: str) -> None:
    told = families(page)

    def total(name: str, **labels: str) -> float:
        return sum(sample.value for sample in told[name].samples if labels.items() <= sample.labels.items())

    assert total("resetlb_resets", vip="web", member="web-2", sender="member", stage="post-syn") > 0
    assert total("resetlb_resets", cause="misconfiguration") == total("resetlb_resets")
    assert total("resetlb_incidents", cause="misconfiguration") == 1
    assert total("resetlb_actions", action="eject", result="done") == 1
    assert total("resetlb_firewall_hits", rule="no-ssh") > 0
    assert total("resetlb_connections", vip="web") == total("resetlb_handshakes") == 120
    assert total("resetlb_member_load_ratio", member="web-1") == 0.5
    assert total("resetlb_quarantine_entries") == 1
    assert total("resetlb_link_utilisation_ratio") > 0


# --- the dashboard and the rules -----------------------------------------------------------------------------------------------


def queries() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of everything that is shipped for Prometheus and Grafana."""
    dashboard = json.loads((DOCS / "monitoring" / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]
    for rule in rules():
        yield rule["alert"], rule["expr"]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


@pytest.mark.parametrize(("where", "query"), [*queries()], ids=lambda text: text[:40])
def test_every_metric_and_label_asked_for_exists(page: str, where: str, query: str) -> None:
    names = NAMES.findall(query)
    assert set(names) - {"up"} <= series_names(page)
    assert names or query.startswith("up{")
    told = {sample.name: set(sample.labels) for family in families(page).values() for sample in family.samples}
    for name, selector in re.findall(r"\b(resetlb_\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)[!=]", selector)) <= told[name]
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing)


def test_alerts_are_rules_as_prometheus_wants_them() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"[a-zA-Z_]\w*", rule["alert"])
        assert re.fullmatch(r"([0-9]+[smh])+", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in MONITORING


def test_panels_do_not_lie_on_each_other() -> None:
    panels = json.loads((DOCS / "monitoring" / "grafana.json").read_text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)


# --- limits --------------------------------------------------------------------------------------------------------------------


def hostile(kind: str, additive: bool = False) -> Iterator[Measurement]:
    for number in range(HOSTILE):
        labels = {"vip": f'"}} {number}\n\\', "cause": "hostile" if number % 2 else "benign"}
        yield Measurement("resets", "Resets.", kind, 1, labels, additive)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "additive"), [("counter", False), ("gauge", True), ("gauge", False)])
def test_a_hundred_thousand_names_make_a_bounded_page(kind: str, additive: bool) -> None:
    service = MemoryService()
    service.samples = list(hostile(kind, additive))
    began = time.process_time()
    page = scrape(service)
    assert time.process_time() - began < 5
    assert len(page) < 1_000_000
    told = families(page)
    samples = told["resetlb_resets"].samples
    if kind == "counter" or additive:
        assert len(samples) == MAX_SERIES + 2
        assert sum(sample.value for sample in samples) == HOSTILE, "nothing is lost, only added up"
        assert {sample.labels["cause"] for sample in samples if sample.labels["vip"] == OTHER} == {"hostile", "benign"}
    else:
        assert len(samples) == MAX_SERIES
        assert told["resetlb_series_left_out"].samples[0].value == HOSTILE - MAX_SERIES


def test_a_large_policy_is_read_in_parts_between_which_packets_are_handled() -> None:
    members = [
        {"name": f"m{number}", "address": f"10.1.{number // 200}.{1 + number % 200}", "port": 80}
        for number in range(250)
    ]
    service = MemoryService(parse_policy({"pools": {f"p{number}": {"members": members} for number in range(10)}}))
    page = scrape(service)
    assert service.pauses == MAX_SERIES // AT_ONCE
    assert families(page)["resetlb_members"].samples[0].value == 2_500
    assert len(families(page)["resetlb_member_effective_weight"].samples) == MAX_SERIES


def test_who_has_a_series_keeps_it_while_it_is_there() -> None:
    limit = SeriesLimit(at_most=2)

    def shown(*names: str) -> dict[str, float]:
        samples = [Measurement("hits", "Hits.", "counter", 1, {"rule": name}) for name in names]
        family = next(limit.families(samples))
        return {sample.labels["rule"]: sample.value for sample in family.samples}

    assert shown("a", "b", "c") == {"a": 1, "b": 1, "other": 1}
    assert shown("c", "d", "b", "a") == {"b": 1, "a": 1, "other": 2}
    assert shown("c", "b") == {"c": 1, "b": 1}


def test_labels_that_stay_themselves_are_sets_of_ours() -> None:
    own = {"client", "address", "vip", "member", "pool", "rule", "port", "src", "dst", "dpid", "name", "id"}
    assert not own & CLOSED_SETS
