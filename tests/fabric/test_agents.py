"""A member's agent is a program on its host, asked through the fabric: what it says moves connections, what it babbles does not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from bed import Bed, one_vip, outcomes, pool, shares
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo

AGENT_PORT = 9999
MEMBERS = ["h2", "h4", "h6"]
CLIENT = "h1"
AGENT = """\
import pathlib, socketserver, sys
class Agent(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(pathlib.Path(sys.argv[1]).read_bytes())
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("", int(sys.argv[2])), Agent).serve_forever()
"""


class Agent:
    """An agent on a host that says what is in its file."""

    def __init__(self, bed: Bed, host: str, folder: Path) -> None:
        self.bed, self.host, self.words = bed, host, folder / f"agent-{host}"
        self.says("up ready 100%\n")

    def says(self, line: str) -> None:
        self.words.write_bytes(line.encode("latin-1"))

    def __enter__(self) -> Self:
        argv = [sys.executable, "-c", AGENT, str(self.words), str(AGENT_PORT)]
        self.program = self.bed.fabric.popen(self.host, *argv, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()
        self.program.wait()


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with Bed(LeafSpineTopo(), tmp_path_factory.mktemp("agents")) as made:
        made.serve(*MEMBERS)
        yield made


@pytest.fixture
def agent(bed: Bed, tmp_path: Path) -> Iterator[Agent]:
    policy = one_vip(pool(bed, *MEMBERS))
    policy["pools"]["web"]["health_check"] |= {"agent_port": AGENT_PORT, "agent_interval_s": 0.2}
    with Agent(bed, MEMBERS[0], tmp_path) as started:
        bed.apply(policy)
        yield started


def weight(bed: Bed) -> int:
    found: int = bed.controller.members()[MEMBERS[0]]["effective_weight"]
    return found


def test_what_it_says_moves_new_connections(bed: Bed, agent: Agent) -> None:
    for line, expected in (
        ("50%\n", 50),
        ("drain\n", 0),
        ("ready 100%\n", 100),
        ("down#disk full\n", 0),
        ("up\n", 100),
    ):
        agent.says(line)
        soon(f"{line!r} is in force", lambda wanted=expected: weight(bed) == wanted, 10)
        connections = bed.ask(CLIENT, 60)
        assert outcomes(connections) == {"ok": 60}
        assert (MEMBERS[0] in shares(connections)) is bool(expected), line
    said = bed.controller.members()[MEMBERS[0]]["agent"]
    assert (said["state"], said["percent"], said["trouble"]) == ("up", 100, None) and said["heard"]


def test_a_drain_by_its_agent_keeps_open_connections(bed: Bed, agent: Agent) -> None:
    with bed.keep(CLIENT, 12, interval_s=0.02) as kept:
        agent.says("drain\n")
        soon("it drains", lambda: weight(bed) == 0, 3)
        bed.ask(CLIENT, 20)
        connections = kept.finish()
    assert outcomes(connections) == {"ok": 12}
    assert MEMBERS[0] in {connection["members"][0] for connection in connections}


@pytest.mark.parametrize("babble", ["x" * 100_000, "\x00\xff\x1b[2J" * 20 + "\n", "weight 50\n"])
def test_what_it_babbles_is_announced_and_changes_nothing(bed: Bed, agent: Agent, babble: str) -> None:
    agent.says("80%\n")
    soon("80 % are in force", lambda: weight(bed) == 80, 3)
    agent.says(babble)
    soon("it is shown", lambda: bed.controller.members()[MEMBERS[0]]["agent"]["trouble"], 3)
    assert weight(bed) == 80
    assert outcomes(bed.ask(CLIENT, 30)) == {"ok": 30}


def test_an_agent_that_died_changes_nothing(bed: Bed, agent: Agent) -> None:
    agent.says("drain\n")
    soon("it drains", lambda: weight(bed) == 0, 3)
    agent.program.kill()
    soon("it is shown", lambda: bed.controller.members()[MEMBERS[0]]["agent"]["trouble"] == "refused", 3)
    assert weight(bed) == 0, "the manual warns of that: only `ready` ends a drain"
