"""The Open vSwitch daemons of one sandbox: a database and a switch process (ovsdb-server(1), ovs-vswitchd(8)).

All paths are below `RUN_DIR`, which a sandbox covers with an empty file system: the machine's own Open vSwitch, if it
has one, is neither seen nor touched.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from topologies.precedence import FIRST

RUN_DIR = Path("/run/openvswitch")
DATABASE = RUN_DIR / "conf.db"
SOCKET = RUN_DIR / "db.sock"
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_TRIAL = "trial"


def start() -> None:
    """Creates an empty database and starts both daemons; returns when the switch process is configured.

    Raises:
        subprocess.CalledProcessError: a daemon did not start; its log is in `RUN_DIR`.
    """
    RUN_DIR.mkdir(parents=True, exist_ok=True)
    run("ovsdb-tool", "create", str(DATABASE), str(SCHEMA))
    start_database()
    run("ovs-vsctl", "--no-wait", "init")
    start_switchd()


def start_database() -> None:
    """Starts ovsdb-server on the existing database."""
    run("ovsdb-server", str(DATABASE), f"--remote=punix:{SOCKET}", *_daemon("ovsdb-server"))


def start_switchd() -> None:
    """Starts ovs-vswitchd on the existing database: bridges and ports come back, flows and connections do not."""
    run(*FIRST, "ovs-vswitchd", f"unix:{SOCKET}", *_daemon("ovs-vswitchd"))


def kill_switchd() -> None:
    """Ends ovs-vswitchd by SIGKILL, as a crash would, and waits until it is gone.

    Raises:
        FileNotFoundError: it is not running.
    """
    _kill("ovs-vswitchd")


def kill_database() -> None:
    """Ends ovsdb-server likewise; the switch process goes on without it. Raises FileNotFoundError."""
    _kill("ovsdb-server")


def _kill(name: str) -> None:
    pidfile = RUN_DIR / f"{name}.pid"
    pid = int(pidfile.read_text())
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
    pidfile.unlink(missing_ok=True)


def vsctl(*arguments: str) -> str:
    """Runs ovs-vsctl(8), which waits until the switch process has applied the change; returns its output.

    Raises:
        subprocess.CalledProcessError: refused; `stderr` says why.
    """
    return run("ovs-vsctl", "--timeout=10", *arguments)


def ofctl(*arguments: str) -> str:
    """Runs ovs-ofctl(8) in OpenFlow 1.3; returns its output."""
    return run("ovs-ofctl", "-O", "OpenFlow13", *arguments)


def appctl(*arguments: str) -> str:
    """Runs ovs-appctl(8) against the switch process; returns its output."""
    return run("ovs-appctl", *arguments)


def has_kernel_datapath() -> bool:
    """Whether the kernel makes a datapath here: tried, as the database lists `system` without the module too."""
    if subprocess.run(["ovs-dpctl", "add-dp", _TRIAL], capture_output=True, check=False).returncode:
        return False
    run("ovs-dpctl", "del-dp", _TRIAL)
    return True


def _daemon(name: str) -> list[str]:
    return ["--detach", f"--pidfile={RUN_DIR}/{name}.pid", f"--log-file={RUN_DIR}/{name}.log", "-vconsole:off"]


def run(*argv: str) -> str:
    """Runs one of Open vSwitch's programs; returns its output.

    Raises:
        subprocess.CalledProcessError: it failed; `stderr` says why.
    """
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30)
    return done.stdout
