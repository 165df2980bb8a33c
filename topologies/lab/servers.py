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
    listen {port} backlog=4096; error_page 400 405 @drop;
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
  bind :{port} backlog {backlog} {tls}
{rules}
"""
_ANSWER = "  http-request return status 200 content-type text/plain string {name}"
_FORWARD = "  default_backend app\nbackend app\n  server app 127.0.0.1:{port}"


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
    """An nginx that answers / with the host's name and closes with RST on what is not HTTP (code 444 and `reset_timedout_connection`)."""

    name = "nginx"

    def argv(self) -> list[str]:
        """One process without a master, as in `topologies.servers`."""
        config = self.folder / "nginx.conf"
        config.write_text(_STRICT_NGINX.format(folder=self.folder, port=self.port, name=self.host))
        return ["nginx", "-e", str(self.folder / "error.log"), "-p", str(self.folder), "-c", str(config)]


class Haproxy(Listener):
    """An HAProxy that answers by itself, or forwards to a server on its own host.

    Args:
        maxconn: concurrent connections; further ones wait in an accept queue of `backlog`.
        forward_to: port on its own host; None answers with the host's name.
        tls: with a certificate made for it.
    """

    name = "haproxy"

    def __init__(
        self,
        fabric: Fabric,
        host: str,
        port: int = MEMBER_PORT,
        *,
        maxconn: int = 2000,
        backlog: int = 1024,
        forward_to: int | None = None,
        tls: bool = False,
    ) -> None:
        super().__init__(fabric, host, port)
        self._limits = {"maxconn": maxconn, "backlog": backlog}
        self._forward_to = forward_to
        self._tls = tls

    def argv(self) -> list[str]:
        """In the foreground, with its configuration and certificate written."""
        rules = _ANSWER.format(name=self.host) if self._forward_to is None else _FORWARD.format(port=self._forward_to)
        tls = f"ssl crt {self._certificate()}" if self._tls else ""
        config = self.folder / "haproxy.cfg"
        config.write_text(_HAPROXY.format(port=self.port, tls=tls, rules=rules, **self._limits))
        return ["haproxy", "-db", "-f", str(config)]

    def _certificate(self) -> Path:
        """A key and a certificate it signs itself, in one file as HAProxy wants them."""
        key, certificate, both = (self.folder / name for name in ("key.pem", "certificate.pem", "both.pem"))
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        files = ("-keyout", str(key), "-out", str(certificate))
        subject = ("-subj", f"/CN={self.host}", "-days", "1")
        subprocess.run(["openssl", "req", "-x509", "-nodes", *curve, *files, *subject], check=True, capture_output=True)
        both.write_text(key.read_text() + certificate.read_text())
        return both


class Redis(Listener):
    """A Redis without persistence.

    Args:
        maxclients: connections at a time; further ones are answered with an error and closed.
    """

    name = "redis"

    def __init__(self, fabric: Fabric, host: str, port: int = MEMBER_PORT, *, maxclients: int = 4000) -> None:
        super().__init__(fabric, host, port)
        self._maxclients = maxclients

    def argv(self) -> list[str]:
        """Open to other hosts, nothing on disk."""
        options = {
            "port": self.port, "bind": "*", "protected-mode": "no", "save": "", "appendonly": "no",
            "maxclients": self._maxclients, "dir": self.folder, "tcp-backlog": 511,
        }  # fmt: skip
        return ["redis-server", *(text for name, value in options.items() for text in (f"--{name}", str(value)))]


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
        """Changes `service_s`, the seconds that a worker spends on a connection."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
