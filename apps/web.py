"""The API on the hub's WSGI server, on a socket of its own or one that systemd (or the demo) passed in.

Whoever is slow waits by itself: each connection has a greenlet, and deadlines for its request line, its headers and its body.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import socket
import ssl
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import eventlet.wsgi

from apps.openflow import hub
from apps.ports import refusal
from controller.api.access import bind_refusal, is_loopback
from controller.api.app import create_app
from controller.api.problem import MEDIA_TYPE, document
from controller.api.rate import RateLimit
from controller.api.service import Service
from controller.store import Store

FIRST_PASSED_FD = 3
"""sd_listen_fds(3)."""
MAX_GREENLETS = 2048
SLOWEST_READ_S = 30
IDLE_S, HEADERS_S, REQUEST_S = 30.0, 10.0, 30.0
"""For the next request line; for all headers; for the body and the answer's beginning."""
RETRY_ACCEPT_S = 0.1
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Start = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], Start], Iterable[bytes]]


def listening_socket(address: tuple[str, int], *, has_tokens: bool) -> socket.socket:
    """The socket to serve on. Raises StartError: taken, or reachable from elsewhere without tokens."""
    from apps.main import StartError

    try:
        sock = _passed_in() or socket.create_server(address, backlog=1024)
    except OSError as error:
        raise StartError(refusal("--api", address, error)) from None
    exposed = bind_refusal(str(sock.getsockname()[0]), tokens_exist=has_tokens)
    if exposed is not None:
        raise StartError(exposed, status=2)
    return sock


def _passed_in() -> socket.socket | None:
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not int(os.environ.get("LISTEN_FDS", "0")):
        return None
    return socket.socket(fileno=FIRST_PASSED_FD)


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later with this certificate (and its chain); `key` None: it is in the same file. Raises StartError."""
    from apps.main import StartError

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for option, path in (("--api-tls-cert", certificate), ("--api-tls-key", key)):
        if path is not None and not os.access(path, os.R_OK):
            raise StartError(f"{option}: {path} cannot be read", status=2)

    def no_passphrase() -> str:
        raise StartError(
            f"--api-tls-key: {key or certificate} is encrypted; a controller starts without anybody there", status=2
        )

    try:
        context.load_cert_chain(certificate, key, password=no_passphrase)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        files = certificate if key is None else f"{certificate} and {key}"
        raise StartError(f"--api-tls-cert: {files} are no certificate with its key: {reason}", status=2) from None
    return context


class _Listener:
    """Accepts for ever: the WSGI server would end at the first error it does not know, and with it the API."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._sock = sock
        self._tls = tls

    def accept(self) -> tuple[socket.socket, Any]:
        while True:
            try:
                connection, address = self._sock.accept()
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                hub.sleep(RETRY_ACCEPT_S)
                continue
            if self._tls is None:
                return connection, address
            # The handshake comes with the first read, in the connection's own greenlet: here it would hold up everybody else.
            with contextlib.suppress(OSError):
                return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address
            connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Protocol(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
    """A connection with deadlines: bytes that trickle in must not keep it for ever (slow loris)."""

    def _read_request_line(self) -> bytes | str:
        with eventlet.Timeout(IDLE_S, False), contextlib.suppress(ssl.SSLError):
            line: bytes | str = super()._read_request_line()
            return line
        return ""

    def parse_request(self) -> bool:
        with eventlet.Timeout(HEADERS_S, False):
            return bool(super().parse_request())
        self.close_connection = True
        return False


def _within_time(app: Wsgi) -> Wsgi:
    """A request whose body does not come is answered 408."""

    def bounded(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        with eventlet.Timeout(REQUEST_S) as deadline:
            try:
                return app(environ, start_response)
            except eventlet.Timeout as late:
                if late is not deadline:
                    raise
        body = document(HTTPStatus.REQUEST_TIMEOUT, f"request: has not come within {REQUEST_S:g} s").encode()
        headers = [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(body))), ("Connection", "close")]
        start_response("408 Request Timeout", headers)
        return [body]

    return bounded


def serve(
    sock: socket.socket, service: Service, store: Store, tls: ssl.SSLContext | None = None, requests_per_s: float = 0.0
) -> None:
    """Serve in the background; `requests_per_s` of one caller, 0 for no limit."""
    _allow_open_files()
    # Beyond the loopback a token is asked for even when the last one was revoked.
    require_tokens = not is_loopback(str(sock.getsockname()[0]))
    app = create_app(service, store, require_tokens=require_tokens, limit=RateLimit(requests_per_s))
    hub.spawn(
        eventlet.wsgi.server, _Listener(sock, tls), _within_time(app), log=io.StringIO(), log_output=False, max_size=MAX_GREENLETS,
        environ={"wsgi.url_scheme": "https"} if tls else None, socket_timeout=SLOWEST_READ_S, protocol=_Protocol, debug=False,
    )  # fmt: skip


def _allow_open_files() -> None:
    """Every connection is a file; the usual soft limit is there for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_GREENLETS + 2048
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
