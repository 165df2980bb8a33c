"""The API on the hub's WSGI server, on a socket of its own or one that systemd (or the demo) passed in."""

from __future__ import annotations

import io
import os
import socket

import eventlet.wsgi

from apps.openflow import hub
from apps.ports import refusal
from controller.api.access import bind_refusal, is_loopback
from controller.api.app import create_app
from controller.api.service import Service
from controller.store import Store

FIRST_PASSED_FD = 3
"""sd_listen_fds(3)."""
MAX_GREENLETS = 2048
SLOWEST_REQUEST_S = 30


def listening_socket(address: tuple[str, int], *, has_tokens: bool) -> socket.socket:
    """The socket to serve on. Raises StartError: taken, or reachable from elsewhere without tokens."""
    from apps.main import StartError

    try:
        sock = _passed_in() or socket.create_server(address, backlog=128)
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


def serve(sock: socket.socket, service: Service, store: Store) -> None:
    """Serve in the background."""
    # Beyond the loopback a token is asked for even when the last one was revoked.
    app = create_app(service, store, require_tokens=not is_loopback(str(sock.getsockname()[0])))
    hub.spawn(
        eventlet.wsgi.server, sock, app, log=io.StringIO(), log_output=False, max_size=MAX_GREENLETS, socket_timeout=SLOWEST_REQUEST_S,
        debug=False,
    )  # fmt: skip
