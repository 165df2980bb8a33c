"""Ways to those who are told: HTTP(S) for webhooks; UDP, TCP and Unix sockets for syslog.

Names are looked up in a thread: the hub's resolver is the system's, which would hold up everything while it waits.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable

from eventlet import patcher, tpool

from apps.courier import RefusedError
from controller.notices import Notice, Signer, body, rfc5424

_select = patcher.original("select")
"""The system's: to look and not to wait."""
_SYSLOG_PORT = 514
_TRY_AGAIN = frozenset({408, 425, 429})


class AddressError(ValueError):
    """Not a place that something can be sent to."""


def _connect(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Connect to the first address of a name that answers; a datagram socket only takes its address."""
    found = tpool.execute(socket.getaddrinfo, host, port, 0, kind)
    last: OSError = OSError("the name has no address")
    for family, _, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise last


class Webhook:
    """POSTs signed JSON. Redirects are not followed: what is signed goes where the operator said."""

    def __init__(self, url: str, signer: Signer, tls: ssl.SSLContext | None = None) -> None:
        """Take where to; raises AddressError."""
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            raise AddressError(f"{url} has no valid port") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
            raise AddressError(f"{_without_secrets(url)} is not a URL such as https://example.net/hook")
        self.name = f"{parts.scheme}://{parts.netloc}"
        self._host, self._port = parts.hostname, port or (443 if parts.scheme == "https" else 80)
        self._netloc, self._target = parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._signer = signer
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None

    def send(self, notice: Notice) -> None:
        """One attempt."""
        content = body(notice)
        headers = self._signer.headers(notice.id, int(time.time()), content)
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.sock = self._open()
        try:
            headers |= {
                "Content-Type": "application/json",
                "User-Agent": "resetlb",
                "Host": self._netloc,
                "Connection": "close",
            }
            connection.request("POST", self._target, content, headers)
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer: {type(error).__name__}") from None
        finally:
            connection.close()
        if status // 100 == 2:
            return
        if status // 100 == 5 or status in _TRY_AGAIN:
            raise OSError(f"HTTP {status}")
        raise RefusedError(f"HTTP {status}")

    def _open(self) -> socket.socket:
        plain = _connect(self._host, self._port, socket.SOCK_STREAM)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=self._host)
        except OSError:
            plain.close()
            raise


class Syslog:
    """Sends RFC 5424 messages: one a datagram (RFC 5426), or counted octets on a connection that is kept (RFC 6587 §3.4.1)."""

    def __init__(self, url: str) -> None:
        """Take `udp://HOST[:PORT]`, `tcp://HOST[:PORT]` or `unix:///PATH`; raises AddressError."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
            self._open: Callable[[], socket.socket] = lambda: _unix(parts.path)
        elif parts.scheme in ("udp", "tcp") and parts.hostname and not parts.path and not parts.username:
            try:
                host, port = parts.hostname, parts.port or _SYSLOG_PORT
            except ValueError:
                raise AddressError(f"{url} has no valid port") from None
            kind = socket.SOCK_STREAM if parts.scheme == "tcp" else socket.SOCK_DGRAM
            self._open = lambda: _connect(host, port, kind)
        else:
            raise AddressError(f"{_without_secrets(url)} is none of udp://HOST:PORT, tcp://HOST:PORT, unix:///dev/log")
        self.name = f"syslog+{parts.scheme}://{parts.netloc or parts.path}"
        self._counted = parts.scheme == "tcp"
        self._connection: socket.socket | None = None

    def send(self, notice: Notice) -> None:
        """One attempt; a connection that failed is opened anew with the next."""
        message = rfc5424(notice, socket.gethostname(), os.getpid())
        try:
            if self._connection is None or (self._counted and _has_ended(self._connection)):
                self._close()
                self._connection = self._open()
            self._connection.sendall(b"%d %s" % (len(message), message) if self._counted else message)
        except BaseException:  # also a timeout, which is the hub's
            self._close()
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _has_ended(connection: socket.socket) -> bool:
    """Whether the receiver closed it: what is sent then would be lost without an error (RFC 6587 §3.1). It never says anything."""
    poll = _select.poll()
    poll.register(connection.fileno(), _select.POLLIN)
    return bool(poll.poll(0))


def _without_secrets(url: str) -> str:
    """A URL for error messages: user, password and query may be secrets."""
    return url.partition("?")[0].rpartition("@")[2]
