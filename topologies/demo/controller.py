"""A controller of our own beside the fabric: `resetlb run` with a policy, a fresh state and a log."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from topologies.precedence import give_precedence

LOG_TAIL_LINES, LOG_LINE_LENGTH = 15, 200
_ACTIVATED = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
"""Socket activation names the process that may take the socket: the shell that becomes the controller."""


class Controller:
    """`resetlb run` as a child of this process.

    Args:
        policy: policy file.
        framework: `ryu` or `os-ken`.
        api_fd: a listening socket for the API (descriptor 3, sd_listen_fds(3)); None: 127.0.0.1:8080.
    """

    def __init__(self, policy: Path, framework: str, api_fd: int | None = None) -> None:
        folder = Path(tempfile.mkdtemp(prefix="resetlb-"))
        self._log = folder / "log"
        command = [str(Path(sys.executable).with_name("resetlb")), "run", "--policy", str(policy)]
        command += ["--state-dir", str(folder / "state"), "--framework", framework]
        passed = () if api_fd is None else (api_fd,)
        if passed:
            command = ["sh", "-c", _ACTIVATED, "sh", *command]
        unactivated = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=passed, env=unactivated
            )
        give_precedence(self.process.pid)

    def log_tail(self) -> list[str]:
        """The last lines it logged, each cut to `LOG_LINE_LENGTH`."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return [line[:LOG_LINE_LENGTH] for line in lines]
