"""The way of a new user: what stands in the README and in docs/start.md, run word for word, from a clone.

Packages and the Python environment are there already (a download is nobody's fault); everything else is done as written.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mininet.link import TCIntf

from topologies import openvswitch
from topologies.addressing import EDGE
from topologies.fabric import Fabric
from topologies.servers import Nginx
from topologies.wiring import FabricHost, FabricTopo, SwitchPort

pytestmark = [pytest.mark.fabric, pytest.mark.one_framework]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300
"""From the clone to a dashboard with live traffic, at the very most."""
STAMP = "{ cat uv.lock pyproject.toml && pwd; } | sha256sum"
"""What `scripts/lib/environment.sh` compares to see whether the environment is up to date."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def soon(what: str, condition: Callable[[], Any], within_s: float = 30.0, seen: Callable[[], Any] = str) -> Any:
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}; last seen: {seen()}"
        time.sleep(0.1)
    return result


@pytest.fixture(scope="module", autouse=True)
def _whole_proc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In a user namespace the kernel allows a new /proc only where a whole one is to be seen (user_namespaces(7))."""
    folder = tmp_path_factory.mktemp("proc")
    subprocess.run(["mount", "-t", "proc", "proc", folder], check=True)
    yield
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Path]:
    """A folder that the demo's own sandbox sees too: it covers the temporary files of this one."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="resetlb-new-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def clone(elsewhere: Path) -> Path:
    """A clone, with its environment prepared: commands in `.venv/bin` that run the clone's code."""
    folder = elsewhere / "resetlb"
    done = subprocess.run(
        ["git", "clone", "--quiet", str(ROOT), str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this is no git checkout: {done.stderr.strip()}")
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, arguments in (
        ("python", ""),
        ("resetlb", "-c 'import sys; from controller.cli import main; sys.exit(main())'"),
    ):
        program = programs / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(folder))} exec {sys.executable} {arguments} "$@"\n')
        program.chmod(0o755)
    stamp = subprocess.run(["sh", "-c", STAMP], cwd=folder, capture_output=True, text=True, check=True).stdout
    (folder / ".venv" / ".synchronised").write_text(stamp)
    return folder


def test_from_the_clone_to_a_dashboard_with_live_traffic(clone: Path, tmp_path: Path) -> None:
    command = blocks(clone / "README.md", "sh")[0].strip()
    assert command == "./scripts/demo"
    began = time.monotonic()
    output = tmp_path / "output"
    with output.open("wb") as file:
        demo = subprocess.Popen(command, shell=True, cwd=clone, stdout=file, stderr=file, start_new_session=True)

    def said(pattern: str) -> str | None:
        assert demo.poll() is None, output.read_text()
        found = re.search(pattern, output.read_text())
        return found[0] if found else None

    try:
        url = soon("it names its address", lambda: said(r"http://127\.0\.0\.1:\d+/"), PATIENCE_S, output.read_text)
        soon("members serve", lambda: said("http") and _connections_per_s(url), PATIENCE_S, output.read_text)
        with urllib.request.urlopen(url, timeout=10) as page:
            assert "<html" in page.read().decode().lower()
        took = time.monotonic() - began
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGINT)
        demo.wait(30)
    assert took < PATIENCE_S


def _connections_per_s(url: str) -> float:
    try:
        with urllib.request.urlopen(f"{url}v1/pools", timeout=10) as answer:
            pools = json.load(answer)["items"]
    except urllib.error.HTTPError:
        raise
    except OSError:
        return 0.0  # not yet
    return sum(member["connections_per_s"] or 0.0 for pool in pools for member in pool["members"])


class OneBridge(FabricTopo):
    """The bridge `br0` with the two servers of the README's policy, and a client."""

    def build(self) -> None:
        self.switch("br0", EDGE, 1)
        for name, address in (("web1", "10.0.0.11"), ("web2", "10.0.0.12"), ("client", "10.0.0.21")):
            self.addHost(name, cls=FabricHost, ip=f"{address}/24")
            self.addLink(name, "br0", cls1=TCIntf, cls2=SwitchPort)


class User:
    """Somebody who types commands in a folder, where `resetlb` is on the path."""

    def __init__(self, clone: Path, folder: Path, fabric: Fabric) -> None:
        self._folder = folder
        self._fabric = fabric
        self._environment = {**os.environ, "PATH": f"{clone / '.venv' / 'bin'}:{os.environ['PATH']}"}
        self._running: list[subprocess.Popen[bytes]] = []

    def types(self, line: str) -> str:
        """Runs a line; its output. `resetlb run` stays, and a `curl` is typed on the client."""
        if line.startswith("resetlb run"):
            log = (self._folder / "log").open("wb")
            command = shlex.split(line)
            self._running.append(
                subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log)
            )
            soon("it listens", lambda: "switches connect to" in self.log(), 30, self.log)
            return ""
        words = shlex.split(line)
        argv = self._fabric.in_host("client", ["curl", "-sS", *words[1:]]) if words[0] == "curl" else words
        done = subprocess.run(
            argv, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def goes(self) -> None:
        for process in self._running:
            process.terminate()
            assert process.wait(5) == 0


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric(OneBridge(), controllers=()) as running:
        servers = [Nginx(running, host).start() for host in ("web1", "web2")]
        yield running
        for server in servers:
            server.stop()


@pytest.fixture
def user(clone: Path, fabric: Fabric, tmp_path: Path) -> Iterator[User]:
    typing = User(clone, tmp_path, fabric)
    yield typing
    typing.goes()
    openvswitch.vsctl("del-controller", "br0")


def all_is_well(user: User) -> bool:
    members = json.loads(user.types("resetlb status --json"))["members"]
    return len(members) == 2 and all(member["health"] == "up" and member["effective_weight"] for member in members)


def test_the_readmes_commands_make_a_load_balancer(clone: Path, user: User, tmp_path: Path) -> None:
    readme = clone / "README.md"
    (policy,) = blocks(readme, "yaml")
    (tmp_path / "policy.yaml").write_text(policy)
    commands = next(block for block in blocks(readme, "sh") if block.startswith("resetlb policy check"))
    for line in commands.splitlines():
        user.types(line)
    soon("both members are up", lambda: all_is_well(user), 20, user.log)
    assert {user.types("curl http://10.0.0.100/").strip() for _ in range(40)} == {"web1", "web2"}


def test_the_start_pages_commands_do_what_it_says(clone: Path, user: User, fabric: Fabric, tmp_path: Path) -> None:
    page = clone / "docs" / "start.md"
    (policy,) = blocks(page, "yaml")
    (tmp_path / "policy.yaml").write_text(policy)
    shown = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines = shown[shown.index("resetlb policy check policy.yaml") :]
    assert any(line.startswith("curl") for line in lines)
    for line in lines:
        if line == "resetlb status":
            soon("both members are up", lambda: all_is_well(user), 20, user.log)
            said = user.types(line)
            assert "ok, 1 switch connected" in said
            assert "no open incident" in said
        else:
            user.types(line)
