"""The words of HAProxy's agent check: as its manual has them, and as a running HAProxy takes them."""

import contextlib
import csv
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.agent_check import DESCRIPTION_CAP, NEVER_SPOKE, Agent, parse

WEIGHT = 100
SPOKEN = [
    b"75%\n", b"up\n", b"drain\n", b"ready\n", b"maint\n", b"ready 50%\n", b"down #disk full\n", b"100%\n", b"up\n", b"stopped\n",
    b"up,ready\t20%\r\n", b"fail #why not\n", b"drain up\n", b"READY 100%\n", b"down\n", b"up maxconn:30\n", b"0%\n", b"100%\n",
    b"lunch\n", b"lunch 60%\n", b"\n", b"up 100%\n", b"fail\n",
]  # fmt: skip
"""What an agent says, one after the other: what it means depends on what was said before.

HAProxy 2.6 knows a description only after a space, where its manual has `down#why` too: we take both.
"""


@pytest.mark.parametrize(
    ("line", "agent"),
    [
        (b"75%\n", Agent(percent=75)),
        (b"drain\n", Agent(admin="drain")),
        (b"maint", Agent(admin="maint")),
        (b"down#disk full, again\n", Agent(operating="down", description="disk full, again")),
        (b"stopped\n", Agent(operating="down")),
        (b"fail#x\n", Agent(operating="down", description="x")),
        (b"maxconn:30 up 50%\r\nmaint\n", Agent(percent=50, maxconn=30)),
        (b"UP, Ready\t110%", Agent(percent=110)),
    ],
)
def test_words_are_understood(line: bytes, agent: Agent) -> None:
    assert parse(line, NEVER_SPOKE) == (agent, ())


def test_what_is_not_said_stays_and_ready_and_up_undo_what_belongs_to_them() -> None:
    agent = NEVER_SPOKE
    lines = {
        b"drain 40%": "drain",
        b"down#x": "down",
        b"ready": "down",
        b"up": "up",
        b"maint": "maint",
        b"up ": "maint",
    }
    for line, state in lines.items():
        agent = parse(line, agent).agent
        assert (agent.state, agent.percent) == (state, 40)
    assert agent.description == ""


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"-5%", b"5 %", b"1e3%", b"123456%", b"maxconn: 5", b"maxconn:-1", b"uptime", b"\xff\xfe\x00", b"{}"],
)
def test_garbage_changes_nothing_and_is_named(line: bytes) -> None:
    before = Agent(admin="drain", percent=30)
    agent, unknown = parse(line, before)
    assert agent == before
    assert bool(unknown) == bool(line.strip())


@given(st.binary(max_size=2000))
def test_whatever_an_agent_sends_is_bounded_and_printable(line: bytes) -> None:
    agent, unknown = parse(line, NEVER_SPOKE)
    assert len(agent.description) <= DESCRIPTION_CAP
    assert all(text.isprintable() and text.isascii() for text in (agent.description, *unknown))
    assert agent.percent is None or agent.percent < 100_000


class Seen(NamedTuple):
    """What HAProxy makes of a server."""

    state: str
    weight: int


class Speaker:
    """An agent on loopback; says `line` to whoever connects."""

    def __init__(self) -> None:
        self.line = b"up ready 100%\n"
        self.said = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._speak, daemon=True).start()

    def _speak(self) -> None:
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.sendall(self.line)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
            self.said += 1

    def say(self, line: bytes) -> None:
        """Says this from now on; returns when it was heard."""
        self.line, before = line, self.said
        deadline = time.monotonic() + 5
        while self.said < before + 2:
            assert time.monotonic() < deadline, f"nobody asked, or the asker left, {line!r}"
            time.sleep(0.005)
        time.sleep(0.05)


class HAProxy:
    """A running HAProxy with one server whose agent is the speaker."""

    def __init__(self, folder: Path, agent_port: int) -> None:
        self.stats = folder / "stats"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = self.listener.getsockname()[1]
        config = folder / "haproxy.cfg"
        config.write_text(
            f"global\n  stats socket {self.stats} level admin\ndefaults\n  timeout connect 1s\n  timeout client 1s\n"
            f"  timeout server 1s\nbackend web\n  server s1 127.0.0.1:{port} weight {WEIGHT} check inter 200 "
            f"agent-check agent-addr 127.0.0.1 agent-port {agent_port} agent-inter 50\n"
        )
        self.program = subprocess.Popen(
            ["haproxy", "-db", "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def server(self) -> Seen:
        """What it makes of its server now."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.stats))
            connection.sendall(b"show stat\n")
            text = connection.makefile().read()
        (row,) = [row for row in csv.DictReader(text.lstrip("# ").splitlines()) if row["svname"] == "s1"]
        return Seen(row["status"].split()[0].lower(), int(row["weight"]))


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[tuple[Speaker, HAProxy]]:
    speaker = Speaker()
    program = HAProxy(tmp_path, speaker.socket.getsockname()[1])
    speaker.say(speaker.line)
    yield speaker, program
    program.program.terminate()
    program.program.wait()
    program.listener.close()
    speaker.socket.close()


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
def test_a_running_haproxy_takes_the_same_words_for_the_same(haproxy: tuple[Speaker, HAProxy]) -> None:
    speaker, program = haproxy
    agent = parse(speaker.line, NEVER_SPOKE).agent
    for line in SPOKEN:
        speaker.say(line)
        agent = parse(line, agent).agent
        weight = WEIGHT * (100 if agent.percent is None else agent.percent) // 100
        # Its statistics call weight 0 a drain, and show one state where there are two.
        states = {"up"} if agent.admits else {agent.state, agent.admin, "drain"}
        deadline = time.monotonic() + 2
        while (seen := program.server()).state not in states or seen.weight != weight:
            assert time.monotonic() < deadline, (line, agent, seen)
            time.sleep(0.02)
