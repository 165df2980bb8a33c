"""Real servers on the hosts of a fabric: nginx, and one whose faults can be switched."""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from topologies.fabric import Fabric
from topologies.faulty_server import Fault

START_S = 10.0

_NGINX = """\
user root root; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; default_type text/plain; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen {port} backlog=4096; root {folder}/files; location = / {{ return 200 "{name}"; }} }}
}}
"""


class Nginx:
    """An nginx of its own on a host: answers / with the host's name, and files put into `files`.

    One process without a master, as root: a user namespace may have no other user.

    Args:
        fabric: a started fabric.
        host: the host's name.
        port: to listen on.
    """

    def __init__(self, fabric: Fabric, host: str, port: int = 8080) -> None:
        self.fabric = fabric
        self.host = host
        self.port = port
        self._folder = Path(tempfile.mkdtemp(prefix=f"nginx-{host}-"))
        self.files = self._folder / "files"

    def start(self) -> Self:
        """Starts it; returns when it listens.

        Raises:
            RuntimeError: it does not; with its log.
        """
        self.files.mkdir(exist_ok=True)
        config = self._folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=self._folder, port=self.port, name=self.host))
        log = self._folder / "error.log"
        argv = ["nginx", "-e", str(log), "-p", str(self._folder), "-c", str(config)]
        self._process = self.fabric.popen(self.host, *argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for(self._listens, f"nginx on {self.host}:{self.port}", log)
        return self

    def stop(self) -> None:
        """Ends it; its port is closed then, and the host answers with RST."""
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        return bool(self.fabric.run(self.host, "ss", "-Hltn", f"sport = :{self.port}").stdout)


class SwitchableServer:
    """A `topologies.faulty_server` on a host, and the hand that switches its fault.

    Args:
        fabric: a started fabric.
        host: the host's name; / answers with it.
        port: to listen on.
    """

    def __init__(self, fabric: Fabric, host: str, port: int = 8080) -> None:
        self.fabric = fabric
        self.host = host
        self.port = port
        self._folder = Path(tempfile.mkdtemp(prefix=f"server-{host}-"))
        self._control = self._folder / "control"

    def start(self) -> Self:
        """Starts it without a fault; returns when it listens.

        Raises:
            RuntimeError: it does not; with its log.
        """
        log = self._folder / "error.log"
        self._control.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "topologies.faulty_server", self.host, str(self.port), str(self._control)]
        with log.open("w") as errors:
            self._process = self.fabric.popen(self.host, *argv, stdout=errors, stderr=errors)
        _wait_for(self._answers, f"server on {self.host}:{self.port}", log)
        return self

    def stop(self) -> None:
        """Ends it; its port is closed then, and the host answers with RST."""
        self._process.kill()
        self._process.wait()

    def behave(self, fault: Fault | str = Fault.NONE, **behaviour: Any) -> None:
        """Treats connections like this from now on (`topologies.faulty_server.Behaviour`); without arguments, well."""
        self._order({"fault": str(fault), **behaviour})

    def counts(self) -> dict[str, int]:
        """Connections so far: `accepted`, requests `served`, connections `faulted`."""
        return self._order({})

    def _order(self, order: dict[str, Any]) -> dict[str, int]:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(START_S)
            control.connect(str(self._control))
            control.sendall(json.dumps(order).encode() + b"\n")
            with control.makefile() as answers:
                counts: dict[str, int] = json.loads(answers.readline())
        return counts

    def _answers(self) -> bool:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return "accepted" in self.counts()
        return False


def _wait_for(ready: Any, what: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start: {log.read_text() if log.exists() else 'no log'}")
        time.sleep(0.02)
