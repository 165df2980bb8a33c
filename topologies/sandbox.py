"""A fabric that leaves nothing behind: runs a command in namespaces of its own, with an Open vSwitch of its own.

    python -m topologies.sandbox -- COMMAND…

Network, mount and process namespaces are new (unshare(1)); without root a user namespace comes first. The first process
inside (`topologies.sandbox_init`) is pid 1 there: when it ends, however it ends, the kernel removes every process,
switch and interface of the sandbox. It holds the reading end of a pipe whose writing end only the process outside has,
so the sandbox also ends when that process is killed. Several sandboxes run side by side.
"""

import argparse
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Self

FAILED = 125
"""Exit status when the sandbox could not be made (the command's own status otherwise; 128 + n after signal n)."""

MARK = "RESETLB_SANDBOX"
TERMINATE = b"T"
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PROGRAMS = ("unshare", "mount", "ip", "ethtool", "mnexec", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd")
_PR_SET_PDEATHSIG = 1


class SandboxUnavailableError(RuntimeError):
    """This machine cannot make a sandbox; the message names everything that is missing, one a line."""


def inside() -> bool:
    """Whether this process runs in a sandbox (the mark holds only in its process namespace)."""
    return os.environ.get(MARK) == str(Path("/proc/self/ns/pid").readlink())


def missing(*, user_namespace: bool | None = None) -> list[str]:
    """What this machine lacks for a sandbox, in words for the person at the terminal; empty when nothing.

    Args:
        user_namespace: make the sandbox in a new user namespace; by default only without root.
    """
    rootless = os.geteuid() != 0 if user_namespace is None else user_namespace
    lacks = [f"program {name}" for name in _PROGRAMS if shutil.which(name, path=_path()) is None]
    if importlib.util.find_spec("mininet") is None:
        lacks.append("Python package mininet (of the distribution)")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        lacks.append("read and write access to /dev/net/tun")
    if rootless:
        lacks += _forbidden_by_sysctl()
    if not lacks:
        lacks += _refused_by_kernel(rootless)
    return lacks


class Sandbox:
    """A command that runs in a sandbox. As a context manager it starts on entry and is gone on exit.

    Args:
        argv: the command; found in PATH and the sbin folders.
        pass_fds: listening sockets opened outside, handed on as file descriptors 3, 4 … with LISTEN_FDS and LISTEN_PID
            (sd_listen_fds(3)): reachable from outside, served from inside.
        env: variables set for the command beside the present ones.
        user_namespace: make a user namespace too; by default only without root.
        popen: further arguments of `subprocess.Popen` (stdin, stdout, stderr, text, cwd).
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        user_namespace: bool | None = None,
        **popen: Any,
    ) -> None:
        self._argv = list(argv)
        self._pass_fds = tuple(pass_fds)
        self._env = dict(os.environ) | dict(env or {}) | {"PATH": _path()}
        self._rootless = os.geteuid() != 0 if user_namespace is None else user_namespace
        self._popen = popen
        self._lifeline: int | None = None

    def start(self) -> Self:
        """Starts the command.

        Raises:
            SandboxUnavailableError: this machine lacks something; names it.
        """
        if lacks := missing(user_namespace=self._rootless):
            raise SandboxUnavailableError("\n  ".join(["no sandbox on this machine, missing:", *lacks]))
        reading, writing = os.pipe()
        listen = ",".join(map(str, self._pass_fds))
        inner = [sys.executable, "-m", "topologies.sandbox_init", str(reading), listen, *self._argv]
        try:
            self.process = subprocess.Popen(
                [*_unshare(self._rootless), *inner], pass_fds=(reading, *self._pass_fds), env=self._env, **self._popen
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._lifeline = writing
        return self

    def wait(self, timeout_s: float | None = None) -> int:
        """Waits for the end; returns the command's exit status, 128 + n after signal n, `FAILED` if the sandbox failed.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout_s`.
        """
        status = self.process.wait(timeout_s)
        return 128 - status if status < 0 else status

    def terminate(self) -> None:
        """Sends SIGTERM to the command; what is left of the sandbox 5 s later is removed."""
        if self._lifeline is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._lifeline, TERMINATE)

    def kill(self) -> None:
        """Removes the sandbox at once, with everything in it."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.wait()


def enter(argv: Sequence[str], *, pass_fds: Sequence[int] = (), env: Mapping[str, str] | None = None) -> int:
    """Runs a command in a sandbox on this terminal and returns its exit status (see `Sandbox.wait`).

    Ctrl-C reaches the command, as it belongs to the terminal's foreground; SIGTERM and SIGHUP are passed on. Call it
    from the main thread.

    Raises:
        SandboxUnavailableError: this machine lacks something; names it.
    """
    with Sandbox(argv, pass_fds=pass_fds, env=env) as sandbox, _signals_passed_on(sandbox):
        return sandbox.wait()


@contextlib.contextmanager
def _signals_passed_on(sandbox: Sandbox) -> Iterator[None]:
    def pass_on(_signum: int, _frame: FrameType | None) -> None:
        sandbox.terminate()

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
        signal.SIGHUP: signal.signal(signal.SIGHUP, pass_on),
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _unshare(rootless: bool) -> list[str]:
    user = ["--user", "--map-root-user"] if rootless else []
    return ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]


def _path() -> str:
    """PATH with the sbin folders, which Debian leaves out for users."""
    present = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*present, *(folder for folder in _SBIN if folder not in present)])


def _forbidden_by_sysctl() -> list[str]:
    """The kernel settings that distributions use against user namespaces."""
    wanted = {
        "user/max_user_namespaces": ("user.max_user_namespaces above 0", lambda value: value > 0),
        "kernel/unprivileged_userns_clone": ("kernel.unprivileged_userns_clone=1", lambda value: value == 1),
        "kernel/apparmor_restrict_unprivileged_userns": (
            "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), or root",
            lambda value: value == 0,
        ),
    }
    return [
        f"sysctl {text}"
        for name, (text, accepts) in wanted.items()
        if (setting := Path("/proc/sys") / name).exists() and not accepts(int(setting.read_text()))
    ]


def _refused_by_kernel(rootless: bool) -> list[str]:
    attempt = subprocess.run(
        [*_unshare(rootless), "true"], capture_output=True, text=True, check=False, env=os.environ | {"PATH": _path()}
    )
    if attempt.returncode == 0:
        return []
    need = "user namespaces" if rootless else "CAP_SYS_ADMIN (a container may withhold it)"
    return [f"permission to make namespaces, that is {need}: {attempt.stderr.strip()}"]


def _die_with_parent() -> None:
    """A sandbox started from a script must not outlive it, even if that is killed (PR_SET_PDEATHSIG, prctl(2))."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(FAILED)


def main() -> int:
    """Command line: runs the arguments in a sandbox."""
    parser = argparse.ArgumentParser(prog="python -m topologies.sandbox", description="Run a command in a sandbox.")
    parser.add_argument("--check", action="store_true", help="only say what this machine lacks, status 1 if anything")
    parser.add_argument("command", nargs="*", help="the command, after --")
    arguments = parser.parse_args()
    if arguments.check:
        lacks = missing()
        print("\n".join(lacks), end="\n" if lacks else "")
        return 1 if lacks else 0
    if not arguments.command:
        parser.error("no command")
    _die_with_parent()
    try:
        return enter(arguments.command)
    except SandboxUnavailableError as error:
        print(error, file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
