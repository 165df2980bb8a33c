"""The Open vSwitch daemons of one sandbox: a database and a switch process of its own (ovsdb-server(1), ovs-vswitchd(8)).

All paths are below `RUN_DIR`, which a sandbox covers with an empty file system: the machine's own Open vSwitch, if it has one,
is neither seen nor touched.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

RUN_DIR = Path("/run/openvswitch")
DATABASE = RUN_DIR / "conf.db"
SOCKET = RUN_DIR / "db.sock"
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


def start() -> None:
    """Creates an empty database and starts both daemons; returns when the switch process is configured.

    Raises:
        subprocess.CalledProcessError: a daemon did not start; its log is in `RUN_DIR`.
    """
    RUN_DIR.mkdir(parents=True, exist_ok=True)
    _run("ovsdb-tool", "create", str(DATABASE), str(SCHEMA))
    _run("ovsdb-server", str(DATABASE), f"--remote=punix:{SOCKET}", *_daemon("ovsdb-server"))
    _run("ovs-vsctl", "--no-wait", "init")
    start_switchd()


def start_switchd() -> None:
    """Starts ovs-vswitchd on the existing database; bridges and ports come back from it, flows and connections do not."""
    _run("ovs-vswitchd", f"unix:{SOCKET}", *_daemon("ovs-vswitchd"))


def kill_switchd() -> None:
    """Ends ovs-vswitchd by SIGKILL, as a crash would, and waits until it is gone.

    Raises:
        FileNotFoundError: it is not running.
    """
    pidfile = RUN_DIR / "ovs-vswitchd.pid"
    pid = int(pidfile.read_text())
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
    pidfile.unlink(missing_ok=True)


def vsctl(*arguments: str) -> str:
    """Runs ovs-vsctl(8), which waits until the switch process has applied the change; returns its output.

    Raises:
        subprocess.CalledProcessError: refused; `stderr` says why.
    """
    return _run("ovs-vsctl", "--timeout=10", *arguments)


def ofctl(*arguments: str) -> str:
    """Runs ovs-ofctl(8) in OpenFlow 1.3; returns its output."""
    return _run("ovs-ofctl", "-O", "OpenFlow13", *arguments)


def appctl(*arguments: str) -> str:
    """Runs ovs-appctl(8) against the switch process; returns its output."""
    return _run("ovs-appctl", *arguments)


def has_kernel_datapath() -> bool:
    """Whether the running switch process offers the kernel's datapath (`system`) beside the one in user space."""
    return "system" in vsctl("get", "Open_vSwitch", ".", "datapath_types").strip("[]\n").replace('"', "").split(", ")


def _daemon(name: str) -> list[str]:
    return ["--detach", f"--pidfile={RUN_DIR}/{name}.pid", f"--log-file={RUN_DIR}/{name}.log", "-vconsole:off"]


def _run(*argv: str) -> str:
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30)  # noqa: S603
    return done.stdout
