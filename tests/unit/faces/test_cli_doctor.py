"""``resetlb doctor``: what it sees is so, and whatever is wrong has an advice."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from api_examples import NOW
from api_memory_service import MemoryService
from werkzeug.serving import make_server

from controller.api.app import create_app
from controller.api.service import HealthReport
from controller.cli import main
from controller.cli.doctor import fabric, machine, openvswitch
from controller.cli.doctor.findings import Verdict, version_of
from controller.store import Store

Doctor = Callable[..., tuple[int, dict[str, dict[str, Any]]]]
OPEN_VSWITCH = {
    "manufacturer": "Nicira, Inc.", "hardware": "Open vSwitch", "software": "3.1.0", "select_groups": True,
    "failover_groups": True, "max_meters": 200_000,
}  # fmt: skip
WELL = {
    "dpid": "0000000000000011",
    "connected": True,
    "reconciled": True,
    "flows": 42,
    "refused": 0,
    "about": OPEN_VSWITCH,
}


@pytest.fixture(autouse=True)
def only_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the machine that runs the tests has an Open vSwitch, and a time service, is not their business."""
    monkeypatch.setattr(openvswitch, "examine", lambda: iter(()))
    monkeypatch.setattr(machine, "clock", lambda: iter(()))


@pytest.fixture
def doctor(
    service: MemoryService, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Doctor]:
    """Runs it on the controller in memory; exit code, and findings by what was checked."""
    service.version = version("resetlb")
    service.fabric_switches = [dict(WELL)]
    server = make_server("127.0.0.1", 0, create_app(service, store, clock=lambda: NOW))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def run(*arguments: object) -> tuple[int, dict[str, dict[str, Any]]]:
        places = ("--url", f"http://127.0.0.1:{server.server_port}", "--state-dir", str(tmp_path / "new"))
        code = main(["doctor", "--json", *places, *map(str, arguments)])
        findings = json.loads(capsys.readouterr().out)["findings"]
        assert all(finding["advice"] for finding in findings if finding["verdict"] == "wrong")
        # Of several findings about one thing, one that is wrong says most.
        order = ["good", "unknown", "wrong"]
        worst = sorted(findings, key=lambda finding: order.index(finding["verdict"]))
        return code, {finding["check"]: finding for finding in worst}

    yield run
    server.shutdown()
    thread.join()
    server.server_close()


def test_all_well(doctor: Doctor) -> None:
    code, found = doctor()
    assert code == 0
    assert {finding["verdict"] for finding in found.values()} == {"good"}
    assert {"controller", "switch 0000000000000011", "state"} == found.keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"connected": False}, "is away"),
        ({"refused": 3}, "refused 3 messages"),
        ({"about": {**OPEN_VSWITCH, "software": "2.17.9"}}, "is Open vSwitch 2.17.9"),
        ({"about": {**OPEN_VSWITCH, "select_groups": False}}, "no select groups"),
        ({"about": {**OPEN_VSWITCH, "max_meters": 0}}, "no meters"),
    ],
)
def test_a_switch_that_is_not_well(doctor: Doctor, service: MemoryService, change: dict[str, Any], words: str) -> None:
    service.fabric_switches = [{**WELL, **change}]
    code, found = doctor()
    assert code == 1
    assert words in found["switch 0000000000000011"]["text"]


def test_a_switch_that_nobody_has_tried_is_not_called_well(doctor: Doctor, service: MemoryService) -> None:
    service.fabric_switches = [{**WELL, "about": {**OPEN_VSWITCH, "hardware": "Whitebox", "software": "9.9"}}]
    code, found = doctor()
    assert (code, found["switch 0000000000000011"]["verdict"]) == (0, "unknown")


def test_no_switch_and_a_full_disk(doctor: Doctor, service: MemoryService) -> None:
    service.fabric_switches = []
    service.report = HealthReport(0, "state cannot be saved: no space left")
    code, found = doctor()
    assert code == 1
    assert "ovs-vsctl set-controller" in found["switches"]["advice"]
    assert "make room" in found["state"]["advice"]


def test_another_version_is_named(doctor: Doctor, service: MemoryService) -> None:
    service.version = "0.0.1"
    assert "runs version 0.0.1" in doctor()[1]["controller"]["text"]


def test_without_a_controller_it_looks_whether_one_could_start(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, found = doctor("--url", "http://127.0.0.1:1", "--listen", f"127.0.0.1:{port}", "--api", "127.0.0.1:0")
    assert (code, found["controller"]["verdict"]) == (1, "unknown")
    assert "pytest" in found[f"port {port}"]["text"] or "python" in found[f"port {port}"]["text"], (
        "it names the process"
    )
    assert found["port 0"]["verdict"] == "good"


def test_policy_and_certificate(doctor: Doctor, tmp_path: Path) -> None:
    file, text = tmp_path / "policy.yaml", tmp_path / "c.pem"
    file.write_text("pools: {web: {members: [{name: a, address: 10.0.0.1, port: 70000}]}}")
    text.write_text("no certificate")
    code, found = doctor("--policy", file, "--certificate", text)
    assert code == 1
    assert "pools.web.members[0].port" in found["policy"]["text"]
    assert "cannot be read" in found["certificate c.pem"]["text"]


@pytest.mark.parametrize(("days", "verdict"), [(-400, "wrong"), (0, "wrong"), (10, "wrong"), (100, "good")])
def test_a_certificate_that_ends(days: int, verdict: str, tmp_path: Path) -> None:
    certificate = tmp_path / "c.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            str(tmp_path / "k.pem"), "-out", str(certificate), "-subj", "/CN=x", "-days", "100"]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True)
    found = machine.certificate(certificate, time.time() + (100 - days) * 86_400 - 60)
    assert found.verdict.value == verdict, found


def test_a_state_that_is_damaged_or_closed_to_us(tmp_path: Path) -> None:
    (tmp_path / "resetlb.sqlite3").write_bytes(b"rubbish" * 100)
    assert [finding.verdict for finding in machine.state(tmp_path)] == [Verdict.WRONG]
    assert next(finding.verdict for finding in machine.state(Path("/proc/1/nothing"))) is Verdict.WRONG


def test_a_controller_that_answers_something_else_is_not_understood(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")

        threading.Thread(target=answer).start()
        found = list(fabric.examine(fabric.Client(f"http://127.0.0.1:{server.getsockname()[1]}")))
    assert [finding.verdict for finding in found] == [Verdict.UNKNOWN]
    assert "is not ResetLB" in found[0].text


@pytest.mark.parametrize(
    ("text", "numbers"), [("3.1.0", (3, 1, 0)), ("3.1-rc", (3,)), ("", None), (None, None), ("x", None)]
)
def test_versions(text: str | None, numbers: tuple[int, ...] | None) -> None:
    assert version_of(text) == numbers


def test_as_text_every_line_has_its_mark(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["doctor", "--url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0",
                 "--state-dir", str(tmp_path / "new")])  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert all(line.startswith(("✓ ", "✗ ", "? ", "  → ")) for line in lines[:-1])
    assert lines[-1] == "4 checks, nothing is wrong"
