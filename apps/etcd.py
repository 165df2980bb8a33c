"""etcd through its JSON gateway (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/): gRPC does not cooperate with the hub.

Keys and values are text here and base64 on the wire; 64-bit numbers are text on the wire. What is 0, false or empty is left out there.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import eventlet

from controller.cluster.address import ClusterAddress

TIMEOUT_S = 0.7
"""For one answer: three endpoints are tried before a lease of 2 s is over."""
PAGE = 1000
Document = dict[str, Any]


class EtcdError(Exception):
    """etcd did not do what was asked; the text has no secret in it."""


class KeyValue(NamedTuple):
    """A key as it stands; revisions are of the whole store and only grow."""

    key: str
    value: str
    created: int
    modified: int


class Change(NamedTuple):
    """A key was set (`now`), or deleted (None)."""

    key: str
    now: KeyValue | None
    revision: int


def _text64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _read64(text: str) -> str:
    return base64.b64decode(text).decode()


def _after(prefix: str) -> str:
    """The first key behind all that begin like this."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def put(key: str, value: str, lease: int = 0) -> Document:
    """An operation of a transaction: set a key; with a lease it goes when that ends."""
    return {"request_put": {"key": _text64(key), "value": _text64(value), "lease": str(lease)}}


def delete(key: str) -> Document:
    """An operation of a transaction: delete a key."""
    return {"request_delete_range": {"key": _text64(key)}}


def is_created(key: str, revision: int) -> Document:
    """A condition: the key was made at this revision; 0: there is none."""
    return {"key": _text64(key), "target": "CREATE", "result": "EQUAL", "create_revision": str(revision)}


def is_modified(key: str, revision: int) -> Document:
    """A condition: the key was last set at this revision; 0: there is none."""
    return {"key": _text64(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS towards etcd: whom to trust (None: the system's authorities) and who we are. Raises EtcdError naming the option."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise EtcdError(f"--cluster-ca {ca}: {error.strerror or error}") from None
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, password=lambda: "")
        except OSError as error:
            raise EtcdError(f"--cluster-cert {certificate}: {error.strerror or error}") from None
    return context


class Etcd:
    """A client. An endpoint that fails is left for the next one, also by what is being watched."""

    def __init__(self, address: ClusterAddress, tls: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._tls = tls
        self._turn = 0
        self._token: str | None = None
        self._watching: http.client.HTTPConnection | None = None

    @property
    def endpoint(self) -> str:
        """The one in use, as the log has it."""
        host, port = self._address.endpoints[self._turn]
        return f"{host}:{port}"

    # --- questions and answers -------------------------------------------------------------------------------------------------

    def call(self, path: str, body: Document, timeout_s: float = TIMEOUT_S) -> Document:
        """One request, of the endpoint in use, and of each other one when that fails. Raises EtcdError."""
        for tried in range(1, len(self._address.endpoints) + 1):
            try:
                return self._ask(path, body, timeout_s)
            except _UnreachableError as error:
                failed = f"{self.endpoint}: {error}"
                self._next_endpoint()
                if tried == len(self._address.endpoints):
                    raise EtcdError(f"etcd does not answer ({failed})") from None
        raise AssertionError("there is an endpoint")

    def _ask(self, path: str, body: Document, timeout_s: float) -> Document:
        if self._address.user and not self._token:
            self._log_in(timeout_s)
        try:
            return self._answer(path, body, timeout_s)
        except _TokenError:
            self._log_in(timeout_s)
            return self._answer(path, body, timeout_s)

    def _log_in(self, timeout_s: float) -> None:
        self._token = None
        who = {"name": self._address.user, "password": self._address.password}
        self._token = str(self._answer("auth/authenticate", who, timeout_s)["token"])

    def _answer(self, path: str, body: Document, timeout_s: float) -> Document:
        late = _UnreachableError(f"no answer within {timeout_s:g} s")
        connection = self._connection()
        try:
            with eventlet.Timeout(timeout_s, late):
                response = self._send(connection, path, body)
                raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _UnreachableError(_words(error)) from None
        finally:
            connection.close()
        return self._understood(response.status, raw)

    def _understood(self, status: int, raw: bytes) -> Document:
        try:
            # A stream's answer is one line for each message; we ask for one.
            document = json.loads(raw.splitlines()[0])
        except (ValueError, IndexError):
            raise _UnreachableError(f"status {status}, not JSON: no etcd with a JSON gateway at /v3") from None
        if "error" not in document:
            return dict(document.get("result", document))
        said = str(document.get("message") or document["error"])
        if "auth token" in said:
            raise _TokenError(said)
        # Codes of gRPC: deadline exceeded, unavailable (no leader). Another endpoint may know better.
        if document.get("code") in (4, 14) or "timed out" in said or "no leader" in said:
            raise _UnreachableError(said)
        raise EtcdError(f"etcd refused: {said}")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.endpoints[self._turn]
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, context=self._tls)
        return http.client.HTTPConnection(host, port)

    def _send(self, connection: http.client.HTTPConnection, path: str, body: Document) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", **({"Authorization": self._token} if self._token else {})}
        connection.request("POST", f"/v3/{path}", json.dumps(body), headers)
        return connection.getresponse()

    def _next_endpoint(self) -> None:
        self._turn = (self._turn + 1) % len(self._address.endpoints)
        self._token = None
        self.stop_watching()

    # --- keys ------------------------------------------------------------------------------------------------------------------

    def transact(self, conditions: Sequence[Document], operations: Sequence[Document]) -> int | None:
        """All operations or none: the revision they made, None when a condition does not hold."""
        answer = self.call("kv/txn", {"compare": list(conditions), "success": list(operations)})
        return int(answer["header"]["revision"]) if answer.get("succeeded") else None

    def read(self, prefix: str) -> tuple[int, list[KeyValue]]:
        """Every key below a prefix at one revision, and that revision."""
        found: list[KeyValue] = []
        begin, revision = prefix, 0
        while True:
            body = {
                "key": _text64(begin), "range_end": _text64(_after(prefix)), "limit": str(PAGE), "revision": str(revision)
            }  # fmt: skip
            answer = self.call("kv/range", body, 5 * TIMEOUT_S)
            revision = revision or int(answer["header"]["revision"])
            found += [_key_value(raw) for raw in answer.get("kvs", [])]
            if not answer.get("more"):
                return revision, found
            begin = found[-1].key + "\0"

    def watch(self, prefix: str, revision: int) -> Iterator[list[Change]]:
        """What changes below a prefix from a revision on, until the endpoint fails or another is in use. Raises EtcdError."""
        if self._address.user and not self._token:
            self.call("kv/range", {"key": _text64(prefix), "count_only": True})
        connection = self._watching = self._connection()
        create = {
            "key": _text64(prefix), "range_end": _text64(_after(prefix)), "start_revision": str(revision)
        }  # fmt: skip
        try:
            with eventlet.Timeout(5 * TIMEOUT_S, _UnreachableError("no answer to a watch")):
                response = self._send(connection, "watch", {"create_request": create})
            for line in response:
                yield _changes(json.loads(line))
        except (OSError, ValueError, http.client.HTTPException, _UnreachableError) as error:
            raise EtcdError(f"watching {self.endpoint}: {_words(error)}") from None
        finally:
            connection.close()

    def stop_watching(self) -> None:
        """End what `watch` is reading."""
        watching, self._watching = self._watching, None
        sock = getattr(watching, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # --- leases ----------------------------------------------------------------------------------------------------------------

    def grant(self, ttl_s: int) -> tuple[int, int]:
        """A lease: its id, and for how long (s), at least what was asked."""
        answer = self.call("lease/grant", {"TTL": str(ttl_s)})
        return int(answer["ID"]), int(answer["TTL"])

    def keep_alive(self, lease: int) -> int:
        """Renew a lease: for how long from now (s), 0 when it is over."""
        return int(self.call("lease/keepalive", {"ID": str(lease)}).get("TTL", 0))

    def revoke(self, lease: int) -> None:
        """End a lease, and with it every key that hangs on it."""
        self.call("lease/revoke", {"ID": str(lease)})


class _UnreachableError(Exception):
    """This endpoint cannot answer; another one may."""


class _TokenError(EtcdError):
    """The access token is not good any more."""


def _key_value(raw: Document) -> KeyValue:
    return KeyValue(
        _read64(raw["key"]), _read64(raw.get("value", "")), int(raw["create_revision"]), int(raw["mod_revision"])
    )


def _changes(message: Document) -> list[Change]:
    if "error" in message:
        raise EtcdError(f"etcd ended a watch: {message['error'].get('message', 'no reason given')}")
    result = message["result"]
    if result.get("canceled"):
        raise EtcdError(f"etcd ended a watch: {result.get('cancel_reason') or 'its past is compacted'}")
    found = []
    for event in result.get("events", []):
        raw = event["kv"]
        deleted = event.get("type") == "DELETE"
        now = None if deleted else _key_value(raw)
        found.append(Change(_read64(raw["key"]), now, int(raw["mod_revision"])))
    return found


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)  # the hub's own errors have a name for a text
    return str(error) or type(error).__name__
