"""The demo without Open vSwitch: the same phases and promises, on a model, and it says so."""

import json
import subprocess
import sys

BUDGET_S = 400
WITHOUT_MININET = "import sys; sys.modules['mininet'] = None; from topologies.demo.command import show; "


def test_the_simulated_demo_keeps_the_same_promises_and_says_what_it_is() -> None:
    program = WITHOUT_MININET + "sys.exit(show(simulate=True, json=True))"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=BUDGET_S, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr.count("This is a simulation") == 2, "at its beginning and at its end"
    found = json.loads(ended.stdout)
    assert found["simulated"] is True and found["met"] is True
    phases = [phase["phase"] for phase in found["on"]["phases"]]
    assert phases == ["all well", "web-2 killed", "web-3 resets", "both back"]
    refused = {run: sum(phase["refused"] for phase in found[run]["phases"]) for run in ("on", "off")}
    assert refused["on"] == 0 < refused["off"]
    assert set(found["on"]["out_after_ms"]) == {"web-2", "web-3"} and found["off"]["out_after_ms"] == {}
    assert found["on"]["phases"][2]["weights"] == {"web-1": 100, "web-2": 0, "web-3": 0}
    assert found["on"]["established"]["kept"] == 24 and found["on"]["established"]["broken"] == []
