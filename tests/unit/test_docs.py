"""The documentation says what is so: what it names exists, what it repeats is current, what it shows is accepted."""

import random
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from model_frames import solicitation

from controller import (
    core,
    frames,
    health,
    host_learning,
    inspection_gate,
    mirror,
    paths,
    pickup,
    pipeline,
    pools,
    quarantine,
    redispatch,
    resets,
    suspicion,
    topology,
)
from controller.cli.app import PASSED_ON, app
from controller.core import Core
from controller.diagnosis import anomaly, blame, effects, evidence, incidents, investigation, model, remedies, windows
from controller.events import PacketSeen, PolicyChanged, Port, SwitchConnected, Tick
from controller.flows import Purpose
from controller.pipeline import Table
from controller.policy import parse_policy_text
from controller.store import store

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
HAND_WRITTEN_LIMIT = 900
"""Entries of table 2 from this priority on are firewall rules."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_spans(text: str) -> Iterator[str]:
    """What stands in backticks on a line, outside of blocks."""
    for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines():
        yield from re.findall(r"`([^`]+)`", line)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_named_exists(page: Path) -> None:
    folders = r"(controller|apps|topologies|tests|docs|scripts|\.ci)/"
    spans = [*code_spans(page.read_text()), *re.findall(r"\./scripts/\S+", page.read_text())]
    named = {span.removeprefix("./").split()[0].rstrip(".,:") for span in spans if re.match(rf"(\./)?{folders}", span)}
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_the_module_map_names_modules_only() -> None:
    modules = {
        span for span in code_spans((DOCS / "architecture.md").read_text()) if re.fullmatch(r"[a-z_]+(\.py|/)", span)
    }
    here = (ROOT, ROOT / "controller", ROOT / "apps")
    assert len(modules) > 40
    assert {module for module in modules if not any((folder / module).exists() for folder in here)} == set()


# --- commands ------------------------------------------------------------------------------------------------------------------


def commands_shown() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every call of resetlb that is shown."""
    for page in PAGES:
        text = page.read_text()
        lines = [line.strip() for block in blocks(text, "sh") for line in block.splitlines()]
        for line in [*lines, *code_spans(text)]:
            call = re.match(r"(?:runuser .* -- )?(?:\S*/)?resetlb( .*)?$", line.partition(" # ")[0])
            if call:
                yield name(page), shlex.split((call[1] or "").replace("…", ""))


def spelt_wrong(words: list[str]) -> str | None:
    """What of a call does not exist."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while (below := getattr(command, "commands", None)) is not None:
        if not rest or rest[0].startswith("-") or not rest[0].islower():
            break
        if rest[0] not in below:
            return rest[0]
        if rest[0] in PASSED_ON:
            return None
        command = below[rest.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    return next((word for word in rest if re.match(r"--?[a-z]", word) and word not in options), None)


def test_every_command_shown_exists() -> None:
    shown = list(commands_shown())
    assert len(shown) > 30
    assert [(page, words) for page, words in shown if spelt_wrong(words)] == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert spelt_wrong(["polcy", "check", "f.yaml"]) == "polcy"
    assert spelt_wrong(["run", "--polcy", "f.yaml"]) == "--polcy"
    assert spelt_wrong(["policy", "check", "f.yaml", "--json"]) is None


def test_every_policy_shown_is_accepted() -> None:
    shown = [
        (name(page), block)
        for page in PAGES
        for block in blocks(page.read_text(), "yaml")
        if block.startswith("version:")
    ]
    assert {page for page, _ in shown} >= {"README.md", "docs/start.md", "docs/api.md"}
    for _, block in shown:
        parse_policy_text(block.encode())


def test_the_first_policy_is_the_same_everywhere() -> None:
    assert blocks((ROOT / "README.md").read_text(), "yaml") == blocks((DOCS / "start.md").read_text(), "yaml")


# --- what is repeated ----------------------------------------------------------------------------------------------------------


def test_what_is_written_from_the_code_is_current() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts/lib/reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


NUMBERS = [
    ("architecture.md", "{:.0f} ms have passed", 1000 * redispatch.BUDGET_S),
    ("pipeline.md", "hard timeout of {:.0f} s", mirror.HOLD_S),
    ("pipeline.md", "added again every {} s", mirror.HOLD_RENEWAL_S),
    ("pipeline.md", "left alone for {:.1f} s", core.DISCOVERY_GRACE_S),
    ("pipeline.md", "pick-up, for {} s", pickup.GRACE_S),
    ("pipeline.md", "| 31 | `SYN_ACK_SEEN` |", pipeline.SYN_ACK_SEEN >> 31),
    ("pipeline.md", "| 30 | `KNOWN` |", pipeline.KNOWN >> 30),
    ("pipeline.md", "| 29 | `CLIENT_DATA_SEEN` |", pipeline.CLIENT_DATA_SEEN >> 29),
    ("pipeline.md", "| 28 | `MEMBER_DATA_SEEN` |", pipeline.MEMBER_DATA_SEEN >> 28),
    ("pipeline.md", "| 27 | `FIN_SEEN` |", pipeline.FIN_SEEN >> 27),
    ("pipeline.md", "| 26 | `REDISPATCH` |", pipeline.REDISPATCH >> 26),
    ("causes.md", "halved, and again every {:.0f} s", remedies.CUT_AGAIN_S),
    ("causes.md", "after {:.0f} s it grows back", remedies.RECOVERY_STEP_S),
    ("causes.md", "after {:.0f} s they grow back", paths.DWELL_S),
    ("causes.md", "quarantined ({} s first", quarantine.FIRST_TTL_S),
    ("causes.md", "**For**: {:.0f} % or more of the member's failed", 100 * blame.GUILTY_SHARE),
    ("diagnosis.md", "within {:.0f} s is marked as repeated", resets.SAME_CONNECTION_S),
    ("diagnosis.md", "The last {:,}\nrecords", resets.KEPT),
    ("diagnosis.md", "half forgotten every {:.0f} s", windows.HALF_LIFE_S),
    ("diagnosis.md", "addresses of the last {:.0f} s", windows.RECENT_S),
    ("diagnosis.md", "| {:,}; 1,024 |", evidence.MAX_CLIENTS),
    ("diagnosis.md", "4,096; {:,} |", evidence.MAX_PORTS),
    ("diagnosis.md", "within the last {:.0f} s and an own probe", suspicion.WINDOW_S),
    ("diagnosis.md", "looked at every {} s for what was touched", investigation.INTERVAL_S),
    ("diagnosis.md", "half-life of {:.0f} minutes", anomaly.LEARNING_HALF_LIFE_S / 60),
    ("diagnosis.md", "count only {:.0f} % is learned", 100 * anomaly.ANOMALY_LEARNING),
    ("diagnosis.md", "it is at least {:.0f}.", anomaly.SMALLEST_COUNT),
    ("diagnosis.md", "at least {:.0f} % likely", 100 * incidents.CONFIDENT),
    ("diagnosis.md", "likeliest for {} s", remedies.SETTLE_S),
    ("diagnosis.md", "over after {:.0f} s without", incidents.QUIET_S),
    ("diagnosis.md", "| {:.0f} s later: are the resets", effects.EFFECT_S),
    ("diagnosis.md", "again for {:.0f} s after the last one", investigation.REVIEWED_S),
    ("policy.md", "at most {:.0f} s: how long a member stays out", pools.EJECTION_CAP_S),
    ("policy.md", "waits {:.0f} ms for a RST", 1000 * health.LINGER_S),
    ("operations.md", "nobody for its first {} s", topology.SETTLE_S),
    ("operations.md", "| policy revisions | the last {} |", store.KEPT_REVISIONS),
    ("operations.md", "| audit log | the last {:,} changes |", store.KEPT_AUDIT_ENTRIES),
    ("operations.md", "| incidents | {} closed ones |", incidents.KEPT_CLOSED),
    ("operations.md", "more than {} addresses at one port", topology.MAX_HOSTS_PER_PORT),
    ("security.md", "does not answer ARP within {:.0f} s", host_learning.MOVE_ANSWER_S),
    ("limits.md", "Numbers end at {:,} VIPs", (1 << pipeline.VIP_BITS) - 1),
    ("limits.md", "{:,} members, 256", pipeline.MEMBER_MASK),
    ("limits.md", "{:,} switches", core.MAX_ZONE),
    ("adr/0009-a-table-of-likelihoods.md", "an operator adds five incidents", model.LABEL_WEIGHT == 5),
    ("diagnosis.md", "**Passive**: five connections", suspicion.PASSIVE_CONNECTIONS == 5),
    ("diagnosis.md", "of three distinct clients", suspicion.PASSIVE_CLIENTS == 3),
    ("diagnosis.md", "2 after a disowned handshake, 8 after an abort", [*suspicion.PROBES_AT_ONCE.values()] == [1, 2, 8, 4]),
    ("diagnosis.md", "eight different targets", investigation.SCAN_TARGETS == 8),
]  # fmt: skip


@pytest.mark.parametrize(("page", "words", "value"), NUMBERS)
def test_numbers_are_the_codes(page: str, words: str, value: float) -> None:
    assert value, "a condition that the words stand for"
    assert words.format(value) in (DOCS / page).read_text()


def test_every_kind_of_log_line_is_explained() -> None:
    said = {
        kind
        for folder in ("controller", "apps")
        for path in (ROOT / folder).rglob("*.py")
        for kind in re.findall(r'Announce\(\s*"([a-z-]+)"', path.read_text())
    }
    section = (DOCS / "operations.md").read_text().partition("## Reading the log")[2].partition("\n## ")[0]
    explained = {
        kind
        for line in section.splitlines()
        if line.startswith("| `")
        for kind in re.findall(r"`([a-z-]+)`", line.split("|")[1])
    }
    named_by_variable = {"host-learned", "host-moved"}
    assert len(said) > 12
    assert said | named_by_variable == explained


# --- the pipeline --------------------------------------------------------------------------------------------------------------

KEY = b"k" * 32
POLICY = b"""
version: 1
pools:
  web:
    drain_timeout_s: 0
    members: [{name: a, address: 10.0.0.11, port: 80}, {name: b, address: 10.0.0.12, port: 80, admin_state: draining}]
  other: {members: [{name: d, address: 10.0.0.21, port: 80}]}
  gone: {members: [{name: c, address: 10.0.0.99, port: 80}]}
vips:
  plain: {address: 10.0.0.100, port: 80, pool: web}
  sticky: {address: 10.0.0.101, port: 80, pool: other, affinity_timeout_s: 60}
  gone: {address: 10.0.0.102, port: 80, pool: gone}
firewall:
  default: reject
  observe: true
  rules: [{src: 10.9.0.0/16, action: drop}, {src: 10.8.0.0/16, action: allow, inspect: first-packet}]
quarantine: {remediation: [10.0.0.12]}
subnets: [{name: all, prefix: 10.0.0.0/24, gateway: 10.0.0.254}, {name: six, prefix: fd00::/64, gateway: fd00::ff}]
zones: [{name: z, ports: ["0000000000000001:1"], prefixes: [10.0.0.0/24], fail_mode: closed}]
"""


def planned() -> set[tuple[int, int]]:
    """(table, priority) of every entry of a ring of three edges with members, VIPs, a drain that is over, and a client in quarantine."""
    controller = Core(lldp_key=KEY, rng=random.Random(1))
    now = 1_000_000.0
    controller.handle(PolicyChanged(parse_policy_text(POLICY)), now)
    switches = (1, 2, 3)
    for dpid in switches:
        controller.handle(
            SwitchConnected(dpid, tuple(Port(number, f"p{number}", number, True) for number in (1, 2, 3))), now
        )
    for _ in range(4):
        # Port 1 leads to a host, port 2 onward to port 3 of the next switch.
        for dpid in switches:
            onward = dpid % 3 + 1
            for end, far in (((dpid, 2), (onward, 3)), ((onward, 3), (dpid, 2))):
                controller.handle(PacketSeen(far[0], Purpose.LLDP, {"in_port": far[1]}, frames.lldp(KEY, *end)), now)
        now += 0.3
        controller.handle(Tick(), now)
    for dpid, address in zip(switches, (0x0A00000B, 0x0A00000C, 0x0A000015), strict=True):
        asked = frames.arp(
            frames.Arp(frames.ARP_REQUEST, 0x020000000000 | dpid, address, 0, 0x0A000001), frames.BROADCAST
        )
        controller.handle(PacketSeen(dpid, Purpose.ARP, {"in_port": 1}, asked), now)
    asked = solicitation(0xFE80 << 112 | 1, 0x020000000001, 0xFE80 << 112 | 2)
    controller.handle(PacketSeen(1, Purpose.ND, {"in_port": 1}, asked), now)
    for client, action in (("10.0.0.21", "drop"), ("10.0.0.16/28", "limit"), ("10.0.0.0/27", "isolate")):
        controller.quarantine.add(client, action, now)
    now += 1
    controller.handle(Tick(), now)
    entries = [entry for wanted in controller.wanted.values() for entry in wanted.flows.values()]
    entries += [
        *mirror.hold(),
        *inspection_gate.gate(),
        controller.zoning.presence(),
        *pickup.entries(controller.services.ways(), [0x0A000015]),
    ]
    found = {(int(entry.table_id), entry.priority) for entry in entries}
    return {
        (table, priority)
        for table, priority in found
        if (table, priority < HAND_WRITTEN_LIMIT) != (Table.FIREWALL, False)
    }


def test_the_priorities_are_those_that_are_planned() -> None:
    sections = re.split(r"^### Table (\d+)", (DOCS / "pipeline.md").read_text(), flags=re.MULTILINE)[1:]
    documented = {
        (int(number), int(priority))
        for number, section in zip(sections[::2], sections[1::2], strict=True)
        for priority in re.findall(r"^\| (\d+) \|", section.partition("\n## ")[0], flags=re.MULTILINE)
    }
    assert planned() == documented


def test_every_meter_and_table_has_its_line() -> None:
    text = (DOCS / "pipeline.md").read_text()
    assert all(f"### Table {table.value}: {table.name.lower()}" in text for table in Table)


# --- the site ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the docs group is not installed")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder


def test_it_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()


def test_its_pages_ask_nobody_else_for_anything(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=\"(https?:)?//|<link[^>]+rel=\"(?:stylesheet|preconnect|icon)\"[^>]+href=\"(https?:)?//"
    )
    assert [str(page) for page in site.rglob("*.html") if loaded.search(page.read_text())] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=name)
def test_links_of_the_first_pages_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]
    assert links or page.name == "CHANGELOG.md"
    assert [link for link in links if not (ROOT / link).exists()] == []
