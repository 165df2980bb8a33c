"""Process 1 of a sandbox (`topologies.sandbox` starts it): furnishes it, runs the command, reaps, and ends it all.

Arguments: the reading end of the lifeline, the passed sockets' descriptors joined by commas (may be empty), the
command.
"""

import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from topologies import openvswitch
from topologies.sandbox import FAILED, MARK, TERMINATE

GRACE_S = 5.0
FIRST_PASSED_FD = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

SCRATCH = Path("/run/tmp")


def main() -> int:
    """Returns the command's exit status; the kernel removes the rest when this process ends."""
    lifeline, listen, *argv = sys.argv[1:]
    passed = [int(fd) for fd in listen.split(",") if fd]
    for fd in (int(lifeline), *passed):
        os.set_inheritable(fd, False)
    try:
        _furnish()
        openvswitch.start()
    except subprocess.CalledProcessError as error:
        print(f"sandbox: {' '.join(error.cmd)}: {error.stderr.strip()}", file=sys.stderr)
        return FAILED
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return _watch(_spawn(argv, passed), int(lifeline), waking)


def _furnish() -> None:
    """Covers what a fabric writes to with empty file systems, keeps the machine's settings read-only, raises loopback.

    /proc/sys/net stays writable: its values belong to the network namespace. The others belong to the machine, and
    Mininet would raise some of them.
    """
    _run("mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "sandbox", "/run")
    for folder in (SCRATCH, Path("/run/netns"), Path("/run/lock")):
        folder.mkdir()
    _run("mount", "--bind", "/proc/sys/net", "/run/lock")
    _run("mount", "--bind", "/proc/sys", "/proc/sys")
    _run("mount", "-o", "remount,bind,ro", "/proc/sys")
    _run("mount", "--move", "/run/lock", "/proc/sys/net")
    _run("ip", "link", "set", "lo", "up")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _spawn(argv: list[str], passed: list[int]) -> int:
    child = os.fork()
    if child:
        for fd in passed:
            os.close(fd)
        return child
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.environ |= {"TMPDIR": str(SCRATCH), MARK: str(Path("/proc/self/ns/pid").readlink())}
        _hand_over(passed)
        os.execvp(argv[0], argv)  # noqa: S606  # nosec B606 # the command that the user gave
    except OSError as error:
        print(f"sandbox: {argv[0]}: {error.strerror}", file=sys.stderr)
    os._exit(127)


def _hand_over(passed: list[int]) -> None:
    """Moves the sockets to descriptors 3, 4 …; first out of the way, as one may stand where another must go."""
    if not passed:
        return
    above = FIRST_PASSED_FD + len(passed)
    for target, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in passed], FIRST_PASSED_FD):
        os.dup2(fd, target)
    os.environ |= {"LISTEN_FDS": str(len(passed)), "LISTEN_PID": str(os.getpid())}


def _watch(child: int, lifeline: int, waking: int) -> int:
    """Reaps orphans until the command ends, the lifeline breaks, or the grace after a SIGTERM is over."""
    deadline = float("inf")
    while time.monotonic() < deadline:
        timeout_s = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([lifeline, waking], [], [], timeout_s)
        if waking in ready:
            os.read(waking, 4096)
            status = _reap(child)
            if status is not None:
                return status
        if lifeline in ready:
            if os.read(lifeline, 1) != TERMINATE:
                break
            os.kill(child, signal.SIGTERM)
            deadline = min(deadline, time.monotonic() + GRACE_S)
    return 128 + signal.SIGKILL


def _reap(child: int) -> int | None:
    """Collects every ended process; the command's exit status if it is among them."""
    result = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return result
        if pid == 0:
            return result
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            result = 128 - code if code < 0 else code


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
