"""A sandbox is a fabric of its own, and nothing of it outlives it.

These tests start sandboxes from wherever they run, inside another one too: "outside" is the network they see.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from topologies.sandbox import FAILED, Sandbox, SandboxUnavailableError

pytestmark = pytest.mark.one_framework

COMMAND_LINE = [sys.executable, "-m", "topologies.sandbox", "--"]
BRIDGE_UP = (
    "ip link add v1 type veth peer name v2"
    " && ovs-vsctl add-br s1 -- set bridge s1 datapath_type=netdev -- add-port s1 v1"
    " && echo up && exec sleep 1000"
)


@pytest.fixture(params=[None, True], ids=["as-root", "user-namespace"])
def user_namespace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bool | None]:
    """Who makes the sandbox. In a user namespace the kernel allows a new /proc only where a whole one is to be seen
    (user_namespaces(7)), and the sandbox around these tests covers a part of its own.
    """
    subprocess.run(["mount", "-t", "proc", "proc", tmp_path], check=True)
    yield request.param
    subprocess.run(["umount", tmp_path], check=True)


def test_a_sandbox_has_an_open_vswitch_and_nothing_else(user_namespace: bool | None) -> None:
    script = "ovs-vsctl --columns=name list bridge; ip -br link | cut -d' ' -f1; pgrep -c .; ls /run/netns | wc -l"
    seen = _output("sh", "-c", script, user_namespace=user_namespace).split()
    interfaces, (_processes, namespaces) = seen[:-2], seen[-2:]
    assert interfaces == ["lo"]
    assert namespaces == "0"


def test_two_sandboxes_side_by_side_do_not_see_each_other(user_namespace: bool | None) -> None:
    with _bridge(user_namespace) as first, _bridge(user_namespace) as second:
        assert _namespace(first) != _namespace(second)
        for sandbox in (first, second):
            assert sorted(_interfaces(sandbox)) == ["lo", "ovs-netdev", "s1", "v1", "v2"]


def test_the_interfaces_outside_are_untouched(user_namespace: bool | None) -> None:
    before = _links()
    with _bridge(user_namespace):
        assert _links() == before
    assert _links() == before


def test_settings_of_the_machine_are_read_only_and_those_of_the_network_are_its_own(
    user_namespace: bool | None,
) -> None:
    own = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
    before = own.read_text()
    script = f"echo 7 > {own} && cat {own} && ! echo 8192 > /proc/sys/kernel/pty/max"
    assert _output("sh", "-c", script, user_namespace=user_namespace) == "7\n"
    assert own.read_text() == before


@pytest.mark.parametrize("victim", ["launcher", "unshare", "first process inside"])
def test_kill_9_leaves_no_process_and_no_namespace(victim: str) -> None:
    launcher = subprocess.Popen([*COMMAND_LINE, "sh", "-c", BRIDGE_UP], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout and launcher.stdout.readline() == "up\n"
    generations = list(_descendants(launcher.pid))
    (unshare,), (first,), inner = generations[0], generations[1], generations[2]
    assert len(inner) >= 3, "database, switch and command"
    namespace = Path(f"/proc/{first}/ns/net").readlink()
    os.kill({"launcher": launcher.pid, "unshare": unshare, "first process inside": first}[victim], signal.SIGKILL)
    _soon(lambda: not any(_alive(pid) for pid in [unshare, first, *inner]))
    assert namespace not in _namespaces_in_use()
    launcher.wait(5)


def test_a_sandbox_dies_with_the_script_that_started_it() -> None:
    script = subprocess.Popen(
        ["sh", "-c", '"$@" & wait', "sh", *COMMAND_LINE, "sh", "-c", BRIDGE_UP], stdout=subprocess.PIPE, text=True
    )
    assert script.stdout and script.stdout.readline() == "up\n"
    everyone = [pid for generation in _descendants(script.pid) for pid in generation]
    script.kill()
    script.wait()
    _soon(lambda: not any(_alive(pid) for pid in everyone))


def test_a_socket_opened_outside_is_served_inside(user_namespace: bool | None) -> None:
    serve_fd_3 = (
        "import os, socket; assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDS'] == '1'\n"
        "listening = socket.socket(fileno=3)\n"
        "while True: listening.accept()[0].sendall(os.readlink('/proc/self/ns/net').encode())"
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        argv = [sys.executable, "-c", serve_fd_3]
        with Sandbox(argv, pass_fds=[listening.fileno()], user_namespace=user_namespace):
            address = listening.getsockname()
            listening.close()
            with socket.create_connection(address, timeout=5) as client:
                answered_from = client.recv(100).decode()
    assert answered_from.startswith("net:[")
    assert answered_from != str(Path("/proc/self/ns/net").readlink())


def test_several_sockets_keep_their_order() -> None:
    report = "import socket; print(*(socket.socket(fileno=fd).getsockname()[1] for fd in (3, 4, 5)))"
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    descriptors = [server.fileno() for server in reversed(servers)]
    ports = [str(server.getsockname()[1]) for server in reversed(servers)]
    assert _output(sys.executable, "-c", report, pass_fds=descriptors).split() == ports
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM), ("nonesuch", 127)]
)
def test_the_status_is_the_commands(script: str, status: int) -> None:
    assert (
        subprocess.run([*COMMAND_LINE, "sh", "-c", script], stderr=subprocess.DEVNULL, check=False).returncode == status
    )


def test_a_command_that_heeds_sigterm_ends_in_its_own_way() -> None:
    script = "trap 'echo goodbye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    launcher = subprocess.Popen([*COMMAND_LINE, "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout and launcher.stdout.readline() == "up\n"
    launcher.terminate()
    assert launcher.stdout.read() == "goodbye\n"
    assert launcher.wait(5) == 3


@pytest.mark.parametrize(("on_interrupt", "status"), [("echo goodbye; exit 3", 3), ("", 128 + signal.SIGKILL)])
def test_ctrl_c_reaches_the_command_and_a_hangup_ends_even_a_deaf_one(on_interrupt: str, status: int) -> None:
    keyboard, terminal = os.openpty()
    script = f"trap '{on_interrupt}' INT TERM HUP; echo up; while :; do sleep 0.05; done"
    launcher = subprocess.Popen(
        ["setsid", "--ctty", *COMMAND_LINE, "sh", "-c", script], stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    assert os.read(keyboard, 100) == b"up\r\n"
    everyone = [pid for generation in _descendants(launcher.pid) for pid in generation]
    os.write(keyboard, b"\x03")
    seen = b""
    while on_interrupt and b"goodbye" not in seen:
        seen += os.read(keyboard, 100)
    os.close(keyboard)
    assert launcher.wait(10) == status
    _soon(lambda: not any(_alive(pid) for pid in everyone))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topologies.sandbox._PROGRAMS", ("ovs-nonesuch",))
    with pytest.raises(SandboxUnavailableError, match="program ovs-nonesuch"):
        Sandbox(["true"]).start()


def test_a_daemon_that_does_not_start_is_reported() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the usual one is covered inside
        broken = Path(folder, "ovsdb-server")
        broken.write_text("#!/bin/sh\necho out of order >&2; exit 1\n")
        broken.chmod(0o755)
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run([*COMMAND_LINE, "true"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == FAILED
    assert "out of order" in done.stderr


def _output(*argv: str, user_namespace: bool | None = None, pass_fds: list[int] | None = None) -> str:
    with Sandbox(
        argv, pass_fds=pass_fds or [], user_namespace=user_namespace, stdout=subprocess.PIPE, text=True
    ) as sandbox:
        output: str = sandbox.process.communicate(timeout=20)[0]
        assert sandbox.wait() == 0
    return output


class _bridge:  # noqa: N801 - reads as the function it replaces
    """A sandbox with a bridge and a veth pair in it, up when entered; gives the pid of its first process."""

    def __init__(self, user_namespace: bool | None) -> None:
        self._sandbox = Sandbox(
            ["sh", "-c", BRIDGE_UP], user_namespace=user_namespace, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> int:
        self._sandbox.start()
        assert self._sandbox.process.stdout.readline() == "up\n"
        (first,) = next(_descendants(self._sandbox.process.pid))
        return first

    def __exit__(self, *_: object) -> None:
        self._sandbox.__exit__()


def _interfaces(pid: int) -> list[str]:
    lines = _nsenter(pid, "ip", "-br", "link").splitlines()
    return [line.split()[0].partition("@")[0] for line in lines]


def _nsenter(pid: int, *argv: str) -> str:
    return subprocess.run(
        ["nsenter", "--net", f"--target={pid}", *argv], check=True, capture_output=True, text=True
    ).stdout


def _namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _links() -> str:
    return subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout


def _descendants(pid: int) -> Iterator[list[int]]:
    """The children of a process, then theirs, and so on."""
    generation = [pid]
    while generation := [child for parent in generation for child in _children(parent)]:
        yield generation


def _children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _namespaces_in_use() -> set[Path]:
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(link.readlink())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _soon(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
