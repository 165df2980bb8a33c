"""Servers of the lab beside those of `topologies.servers`: HAProxy, Redis, a strict nginx, and one with a small accept queue."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol, Self

from topologies.fabric import Fabric
from topologies.lab.pool import MEMBER_PORT

START_S = 10.0

_STRICT_NGINX = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; default_type text/plain; reset_timedout_connection on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen {port} backlog=4096 {tls}; error_page 400 405 497 @drop;
    location / {{ return 200 "{name}"; }}
    location @drop {{ return 444; }}
  }}
}}
"""
_HAPROXY = """\
global
  maxconn {maxconn}
defaults
  mode http
  timeout connect 2s
  timeout client 20s
  timeout server 20s
frontend lab
  bind :{port} backlog {backlog}
  default_backend app
backend app
  server app 127.0.0.1:{forward_to}
"""


class Server(Protocol):
    """Something that listens on a host."""

    def start(self) -> Self:
        """Starts it; returns when it listens."""

    def stop(self) -> None:
        """Ends it by SIGKILL."""


class Listener:
    """A program on a host that listens on a TCP port.

    Args:
        fabric: a started fabric.
        host: the host's name.
        port: to listen on.
    """

    name = "server"

    def __init__(self, fabric: Fabric, host: str, port: int = MEMBER_PORT) -> None:
        self.fabric = fabric
        self.host = host
        self.port = port
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-{host}-"))

    def argv(self) -> list[str]:
        """The command line; may write configuration into `folder`."""
        raise NotImplementedError

    def start(self) -> Self:
        """Starts it; returns when it listens.

        Raises:
            RuntimeError: it does not; with its log.
        """
        log = self.folder / "log"
        with log.open("w") as output:
            self.process = self.fabric.popen(
                self.host, *self.argv(), stdin=subprocess.PIPE, stdout=output, stderr=output, text=True
            )
        deadline = time.monotonic() + START_S
        while not self.fabric.run(self.host, "ss", "-Hltn", f"sport = :{self.port}").stdout:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} on {self.host}:{self.port} did not start: {log.read_text()}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Ends it by SIGKILL."""
        self.process.kill()
        self.process.wait()


class StrictNginx(Listener):
    """An nginx that answers / with the host's name, and with RST what it does not understand (444 with `reset_timedout_connection`).

    Args:
        tls: with a certificate made for it; plain HTTP is then what it does not understand (497).
    """

    name = "nginx"

    def __init__(self, fabric: Fabric, host: str, port: int = MEMBER_PORT, *, tls: bool = False) -> None:
        super().__init__(fabric, host, port)
        self._tls = tls

    def argv(self) -> list[str]:
        """One process without a master, as in `topologies.servers`."""
        tls = ""
        if self._tls:
            key, certificate = make_certificate(self.folder, self.host)
            tls = f"ssl; ssl_certificate {certificate}; ssl_certificate_key {key}"
        config = self.folder / "nginx.conf"
        config.write_text(_STRICT_NGINX.format(folder=self.folder, port=self.port, name=self.host, tls=tls))
        return ["nginx", "-e", str(self.folder / "error.log"), "-p", str(self.folder), "-c", str(config)]


class Haproxy(Listener):
    """An HAProxy before a server on its own host.

    Args:
        forward_to: that server's port.
        maxconn: concurrent connections; further ones wait in an accept queue of `backlog`.
    """

    name = "haproxy"

    def __init__(
        self, fabric: Fabric, host: str, port: int = MEMBER_PORT, *, forward_to: int, maxconn: int, backlog: int
    ) -> None:
        super().__init__(fabric, host, port)
        self._settings = {"port": port, "forward_to": forward_to, "maxconn": maxconn, "backlog": backlog}

    def argv(self) -> list[str]:
        """In the foreground, with its configuration written."""
        config = self.folder / "haproxy.cfg"
        config.write_text(_HAPROXY.format(**self._settings))
        return ["haproxy", "-db", "-f", str(config)]


class Redis(Listener):
    """A Redis without persistence.

    Args:
        maxclients: connections at a time; further ones are answered with an error and closed.
        tls: with a certificate made for it.
    """

    name = "redis"

    def __init__(
        self, fabric: Fabric, host: str, port: int = MEMBER_PORT, *, maxclients: int = 4000, tls: bool = False
    ) -> None:
        super().__init__(fabric, host, port)
        self._maxclients = maxclients
        self._tls = tls

    def argv(self) -> list[str]:
        """Open to other hosts, nothing on disk."""
        options: dict[str, object] = {
            "port": self.port, "bind": "*", "protected-mode": "no", "save": "", "appendonly": "no",
            "maxclients": self._maxclients, "dir": self.folder, "tcp-backlog": 511,
        }  # fmt: skip
        if self._tls:
            key, certificate = make_certificate(self.folder, self.host)
            files = {"tls-key-file": key, "tls-cert-file": certificate, "tls-ca-cert-file": certificate}
            options |= {"port": 0, "tls-port": self.port, "tls-auth-clients": "no", **files}
        return ["redis-server", *(text for name, value in options.items() for text in (f"--{name}", str(value)))]


class SshGreeter(Listener):
    """`topologies.lab.ssh_greeter`: what an SSH port does with a client that does not speak SSH."""

    name = "ssh"

    def argv(self) -> list[str]:
        """It needs no configuration."""
        return [sys.executable, "-m", "topologies.lab.ssh_greeter", str(self.port)]


class QueueingServer(Listener):
    """`topologies.lab.queueing_server`: so many workers, each with one connection at a time, and an accept queue.

    Args:
        workers: connections served at a time.
        backlog: of the accept queue (listen(2)).
        page_bytes: size of an answer's body.
    """

    name = "queueing"

    def __init__(
        self, fabric: Fabric, host: str, port: int = MEMBER_PORT, *, workers: int, backlog: int, page_bytes: int
    ) -> None:
        super().__init__(fabric, host, port)
        self._settings = {"port": port, "workers": workers, "backlog": backlog, "page_bytes": page_bytes}

    def argv(self) -> list[str]:
        """Takes orders on its standard input."""
        return [sys.executable, "-m", "topologies.lab.queueing_server", json.dumps(self._settings)]

    def order(self, **order: Any) -> None:
        """Changes `service_s`, the seconds that a worker spends on a connection, and `backlog`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A new key and a certificate that it signs itself; returns their files."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    files = ("-keyout", str(key), "-out", str(certificate))
    argv = ["openssl", "req", "-x509", "-nodes", *curve, *files, "-subj", f"/CN={name}", "-days", "1"]
    subprocess.run(argv, check=True, capture_output=True)
    return key, certificate
