"""``resetlb top`` and the tables: nothing is wider than the terminal, the worst is first, keys work, colours on a terminal only."""

import contextlib
import errno
import io
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_examples import NOW
from api_memory_service import MemoryService
from rich.console import Console
from werkzeug.serving import make_server

from controller.api.app import create_app
from controller.api.service import MemberStatus
from controller.cli import main, output, state
from controller.cli.top.frame import frame, sparkline
from controller.cli.top.snapshot import Watch
from controller.store import Store

ROOT = Path(__file__).parents[3]


def member(name: str, health: str = "up", weight: int = 100, resets: float | None = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "pool": "web", "name": name, "address": "10.0.0.11", "port": 8080, "health": health, "effective_weight": weight,
        "weight": 100, "resets_per_s": None if resets is None else {"refused": resets}, "connections_per_s": 15.5,
        "ejected_until": None, "admin_state": "active", "connections_active": 12, "handshake_ms": 1.3, "load": None,
        "handshake_ratio": 1.0, "bytes_to": 1000, "bytes_from": 2000, "agent": None, **more,
    }  # fmt: skip


def link(near: str, far: str, used: float | None, congested: bool = False) -> dict[str, Any]:
    return {
        "src": {"dpid": f"{near:0>16}", "port_no": 3}, "dst": {"dpid": f"{far:0>16}", "port_no": 1}, "capacity_bps": 10_000_000,
        "utilisation_pct": used, "loss_pct": None if used is None else 0.3, "delay_ms": 12.0, "queue_drops": 3,
        "queue_drops_per_s": 3.0, "congested": congested,
    }  # fmt: skip


INCIDENT = {
    "id": "i7", "subject": {"type": "link", "id": "0000000000000011:3-0000000000000012:1"}, "cause": "congestion",
    "confidence": 0.97, "resets": 34, "opened": "2026-01-01T17:00:12.1Z", "closed": None,
    "actions": [{"action": "move-paths"}, {"action": "cut"}],
}  # fmt: skip
SHOWN = {
    "health": {"status": "ok", "version": "0.1.0", "switches": 3, "reason": None},
    "automation": {"mode": "enforce", "enforce_percent": 100},
    "resets_per_s": {"misconfiguration": 12.3, "none": 1.0, "hostile": 0.5},
    "history": [0.0, 4.0, 13.8],
    "incidents": [INCIDENT],
    "members": [member("up-1"), member("out", "down", 0, 12.3, ejected_until="2026-01-01T17:01:12Z"), member("new", "unknown", 0, None,
                                                                                                      admin_state="draining")],
    "links": [link("11", "12", 10.0), link("12", "13", 99.0, True), link("13", "11", None)],
}  # fmt: skip


def drawn(shown: dict[str, Any], width: int, **how: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(frame(shown, width, **how))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_frame_fits_and_says_it_all(width: int) -> None:
    lines = drawn(SHOWN, width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    for words in ("misconfiguration 12.3", "no incident 1", "link 11:3-12:1", "congestion 97%", "34 resets", "move-paths, cut",
                  "ejected until 17:01:12 UTC", "draining", "11:3 → 12:1", "99 % of 10 Mbit/s", "congested"):  # fmt: skip
        assert words in text, words
    assert "\x1b" not in text
    assert ("handshake ms" in text) == (width >= 100)


def test_the_worst_is_first_and_what_is_not_known_is_no_zero() -> None:
    lines = drawn(SHOWN, 80)
    rows = [line.split()[0] for line in lines if line.startswith("web/")]
    assert rows == ["web/out", "web/new", "web/up-1"]
    assert next(line for line in lines if "web/new" in line).split()[-1] == "–"
    links = [line for line in lines if "→" in line]
    assert links[0].startswith("12:3 → 13:1")
    assert "? of 10 Mbit/s" in links[2]


def test_what_does_not_fit_the_height_is_counted() -> None:
    many = {**SHOWN, "members": [member(f"m{number}") for number in range(50)], "links": [link("1", "2", 1.0)] * 40}
    lines = drawn(many, 80, height=24)
    assert len(lines) <= 24
    assert any(line.startswith("members (") and " of 50)" in line for line in lines)
    assert any(line.startswith("links (") and " of 40)" in line for line in lines)
    assert len(drawn(many, 80)) > 90


def test_names_from_the_network_are_neither_markup_nor_commands_of_the_terminal() -> None:
    lines = drawn({**SHOWN, "members": [member("[red]\x1b[2J")]}, 80)
    assert any("web/[red]�[2J" in line for line in lines)


def test_sparkline() -> None:
    assert sparkline([0, 1, 2]) == " ▄█"
    assert sparkline([0.0, 0.0]) == "  "


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_by_leaving_out_what_matters_least(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "console", lambda: Console(width=width, highlight=False))
    output.print_table([member("web-1", resets=2.5)], state.MEMBER_COLUMNS)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    left_out = " ".join(lines).partition("no room for: ")[2]
    assert left_out
    assert ("handshake ms" in left_out) == (width == 80)
    row = next(line for line in lines if "web/web-1" in line)
    assert row.split()[:6] == ["web/web-1", "up", "active", "100", "of", "100"]
    assert "2.5" in row.split()


# -- on a running controller ---------------------------------------------------------------------------------------


@pytest.fixture
def url(service: MemoryService, store: Store) -> Iterator[str]:
    service.statuses["web", "web-1"] = MemberStatus("up", 100, connections_per_s=3.0, resets_per_s={"refused": 2.5})
    server = make_server("127.0.0.1", 0, create_app(service, store, clock=lambda: NOW), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_rates_are_what_was_counted_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted:
        """Answers of a controller whose counters move."""

        counts = iter(
            [
                'resetlb_resets_total{cause="overload",member="a",vip="v"} 10.0\n',
                'resetlb_resets_total{cause="overload",member="a",vip="v"} 14.0\n'
                'resetlb_resets_total{cause="none",member="b",vip="v"} 2.0\nresetlb_resets_injected_total{port="x"} 9.0\n',
                'resetlb_resets_total{cause="overload",member="a",vip="v"} 1.0\n',
            ]
        )

        def text(self, _path: str) -> str:
            return next(self.counts)

        def get(self, _path: str) -> dict[str, Any]:
            return {}

        def items(self, _path: str, *_: object, **__: object) -> list[Any]:
            return []

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = Watch(Counted())  # type: ignore[arg-type]
    assert watch.look()["resets_per_s"] is None
    now[0] += 2.0
    assert watch.look()["resets_per_s"] == {"overload": 2.0, "none": 1.0}
    now[0] += 2.0
    assert watch.look()["resets_per_s"] == {}, "restarted: it counts from the beginning"


def test_without_a_terminal_it_is_one_frame_without_colours(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--url", url]) == 0
    out = capsys.readouterr().out
    assert "web/web-1" in out
    assert "\x1b" not in out
    assert "q quit" not in out


class Terminal:
    """``resetlb top`` on a pseudo-terminal of 80 by 24 (pty(7))."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24", PYTHONPATH=str(ROOT))
            script = "import sys; from controller.cli import main; sys.exit(main(sys.argv[1:]))"
            os.execv(sys.executable, [sys.executable, "-c", script, "top", *arguments])
        self.seen = ""

    def until(self, words: str, within_s: float = 10.0) -> None:
        """Waits until the words are on the screen."""
        deadline = time.monotonic() + within_s
        while words not in self.seen:
            assert time.monotonic() < deadline, (words, self.seen[-2000:])
            if select.select([self._descriptor], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self._descriptor, 65536).decode()
                except OSError as error:
                    assert error.errno == errno.EIO
                    assert words in self.seen, self.seen[-2000:]

    def press(self, key: str) -> None:
        self.seen = ""
        os.write(self._descriptor, key.encode())

    def ended(self, within_s: float = 3.0) -> int:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if select.select([self._descriptor], [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self._descriptor, 65536).decode()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"it did not end: {self.seen[-500:]}")


def test_keys_on_a_terminal(url: str) -> None:
    terminal = Terminal("--url", url, "--interval", "0.5")
    terminal.until("every 0.5 s")
    assert "web/web-1" in terminal.seen
    terminal.press("+")
    terminal.until("every 1 s")
    terminal.press("p")
    terminal.until("paused")
    terminal.press("p")
    terminal.until("every 1 s")
    terminal.press("q")
    assert terminal.ended() == 0
    assert "\x1b[?1049l" in terminal.seen, "the screen from before is back"


def test_ctrl_c_ends_it_in_order(url: str) -> None:
    terminal = Terminal("--url", url)
    terminal.until("q quit")
    terminal.press("\x03")
    assert terminal.ended() == 0
    assert "Traceback" not in terminal.seen


def test_a_controller_that_goes_away_leaves_the_last_frame_and_says_so(service: MemoryService, store: Store) -> None:
    server = make_server("127.0.0.1", 0, create_app(service, store, clock=lambda: NOW), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    terminal = Terminal("--url", f"http://127.0.0.1:{server.server_port}", "--interval", "0.5")
    terminal.until("every 0.5 s")
    server.shutdown()
    thread.join()
    server.server_close()
    terminal.until("no controller answers")
    terminal.press("q")
    assert terminal.ended() == 0


def test_help_takes_no_more_than_a_little_python() -> None:
    """Against ``python -c pass``, so a slow machine is slow twice."""

    def fastest(*argv: str) -> float:
        times = []
        for _ in range(5):
            began = time.monotonic()
            subprocess.run([sys.executable, *argv], check=True, capture_output=True, cwd=ROOT)
            times.append(time.monotonic() - began)
        return min(times)

    shown = fastest("-c", "from controller.cli import main; main(['--help'])")
    nothing = fastest("-c", "pass")
    assert shown / nothing < 30, f"{shown:.3f} s against {nothing:.3f} s"
