"""`resetlb run` as an operator starts it: one process that serves, keeps its state, and ends when told."""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
START_S, END_S = 30.0, 3.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(state_dir: Path, *more: str) -> tuple["subprocess.Popen[str]", str]:
    port = free_port()
    command = [str(Path(sys.executable).parent / "resetlb"), "run", "--api", f"127.0.0.1:{port}"]
    command += ["--listen", f"127.0.0.1:{free_port()}", "--state-dir", str(state_dir), *more]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            ask(f"http://127.0.0.1:{port}", "/v1/health")
        except OSError:
            time.sleep(0.1)
        else:
            break
    return process, f"http://127.0.0.1:{port}"


def ask(url: str, path: str, body: object = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "PATCH"
    request = urllib.request.Request(url + path, content, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def test_runs_quietly_keeps_what_rest_changed_and_ends_within_3_s(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("pools: {web: {members: [{name: a, address: 10.0.0.11, port: 80}]}}")
    process, url = start(tmp_path / "state", "--policy", str(file))
    assert ask(url, "/v1/pools/web/members/a", {"weight": 7})["weight"] == 7
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process, url = start(tmp_path / "state", "--policy", str(file))
    assert ask(url, "/v1/pools/web/members/a")["weight"] == 7
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=END_S)
    assert process.returncode == 0
    assert "Traceback" not in log
    assert "monkey_patch" not in log


def test_invalid_policy_is_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("pools: {web: {members: [{name: a, address: 10.0.0.11, port: 70000}]}}")
    process, _ = start(tmp_path / "state", "--policy", str(file))
    _, log = process.communicate(timeout=START_S)
    assert process.returncode == 2
    assert "pools.web.members[0].port: 70000 is not in 1–65535 (line 1)" in log


def test_listener_beyond_the_loopback_without_tokens_is_exit_code_2(tmp_path: Path) -> None:
    process, _ = start(tmp_path / "state", "--api", "0.0.0.0:0")
    _, log = process.communicate(timeout=START_S)
    assert process.returncode == 2
    assert "resetlb token create" in log


def test_second_controller_on_the_same_state_is_refused(tmp_path: Path) -> None:
    first, _ = start(tmp_path / "state")
    second, _ = start(tmp_path / "state")
    _, log = second.communicate(timeout=START_S)
    first.terminate()
    first.communicate(timeout=END_S)
    assert second.returncode == 1
    assert "a running controller uses the state directory" in log


def test_kill_9_at_any_moment_loses_no_acknowledged_change(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("pools: {web: {members: [{name: a, address: 10.0.0.11, port: 80, weight: 0}]}}")
    acknowledged, chance = 0, random.Random(9)
    for _ in range(4):
        process, url = start(tmp_path / "state", "--policy", str(file))
        found = ask(url, "/v1/pools/web/members/a")["weight"]
        assert acknowledged <= found <= acknowledged + 1, "the last one may have been stored before its answer was sent"
        killer = threading.Timer(chance.uniform(0.05, 0.5), process.kill)
        killer.start()
        weight = found
        with contextlib.suppress(OSError, http.client.HTTPException):
            while weight < 1000:
                weight = ask(url, "/v1/pools/web/members/a", {"weight": weight + 1})["weight"]
        process.communicate()
        assert weight > found
        acknowledged = weight


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="needs systemd")
def test_the_api_takes_a_socket_from_systemd(tmp_path: Path) -> None:
    """systemd-socket-activate(1) listens, starts it at the first connection, and hands the socket over."""
    port = free_port()
    resetlb = [str(Path(sys.executable).parent / "resetlb"), "run", "--state-dir", str(tmp_path / "state")]
    command = [
        "systemd-socket-activate",
        f"--listen=127.0.0.1:{port}",
        *(f"--setenv={name}" for name in ("PYTHONPATH", "PATH")),
    ]
    command += [*resetlb, "--listen", f"127.0.0.1:{free_port()}", "--api", "127.0.0.1:1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                assert ask(f"http://127.0.0.1:{port}", "/v1/health")["switches"] == 0
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        process.terminate()
        _, log = process.communicate(timeout=END_S)
    assert f"the API is at http://127.0.0.1:{port}/" in log


def test_a_port_that_is_taken_is_named_with_whose_it_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for option in ("--listen", "--api"):
            process, _ = start(tmp_path / "state", option, address)
            _, log = process.communicate(timeout=START_S)
            assert process.returncode == 1
            assert f"{option} {address}: Address already in use, by py" in log
            assert f"(pid {os.getpid()})" in log


def test_who_is_alone_is_told_how_to_connect_a_switch(tmp_path: Path) -> None:
    process, _ = start(tmp_path / "state")
    assert process.stderr is not None
    for line in process.stderr:
        if "no switch has connected yet" in line:
            assert "set-controller BRIDGE tcp:127.0.0.1:" in line
            break
    process.terminate()
    process.communicate(timeout=END_S)
    assert process.returncode == 0
