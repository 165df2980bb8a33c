"""A switch that exists only as an OpenFlow 1.3 connection: it answers what it is asked, forwards nothing, and sends what it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

HELLO, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY = 0, 2, 3, 5, 6
PACKET_IN, FLOW_MOD, GROUP_MOD, MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = (
    10,
    14,
    15,
    18,
    19,
    20,
    21,
)
PORT_DESCRIPTION = 13
_VERSION = 4
_DONE_XID = 0x7FFF0001


def message(kind: int, body: bytes = b"", xid: int = 0) -> bytes:
    """An OpenFlow message (OpenFlow 1.3.5 §7.1)."""
    return struct.pack("!BBHI", _VERSION, kind, 8 + len(body), xid) + body


class Switch:
    """Connects to a controller and serves it from a thread until it is closed.

    `first_rule` is when the first flow-mod came (s), `groups` when each group was changed last, by its number (CLOCK_MONOTONIC).
    """

    def __init__(self, address: tuple[str, int], dpid: int, ports: int = 2) -> None:
        self.dpid, self.ports = dpid, ports
        self.first_rule: float | None = None
        self.groups: dict[int, float] = {}
        self._done = threading.Event()
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sending = threading.Lock()
        self.send(message(HELLO))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Cut the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def send(self, raw: bytes) -> None:
        """Send whole messages."""
        with self._sending:
            self._socket.sendall(raw)

    def until_taken_in(self, raw: bytes, timeout_s: float) -> float:
        """Send messages; how long until the controller had worked through all of them (s). Raises TimeoutError.

        An echo behind them is answered when it is read: messages of one connection are taken in their order.
        """
        self._done.clear()
        began = time.monotonic()
        self.send(raw + message(ECHO_REQUEST, xid=_DONE_XID))
        if not self._done.wait(timeout_s):
            raise TimeoutError(f"{len(raw)} octets were not taken in within {timeout_s:g} s")
        return time.monotonic() - began

    def _serve(self) -> None:
        pending = b""
        with contextlib.suppress(OSError):
            while received := self._socket.recv(1 << 18):
                pending += received
                while len(pending) >= 8 and len(pending) >= (length := int.from_bytes(pending[2:4])):
                    self._answer(pending[1], int.from_bytes(pending[4:8]), pending[8:length])
                    pending = pending[length:]

    def _answer(self, kind: int, xid: int, body: bytes) -> None:
        if kind == ECHO_REQUEST:
            self.send(message(ECHO_REPLY, body, xid))
        elif kind == ECHO_REPLY and xid == _DONE_XID:
            self._done.set()
        elif kind == FEATURES_REQUEST:
            self.send(message(FEATURES_REPLY, struct.pack("!QIBB2xII", self.dpid, 0, 254, 0, 0x4F, 0), xid))
        elif kind == BARRIER_REQUEST:
            self.send(message(BARRIER_REPLY, b"", xid))
        elif kind == FLOW_MOD and self.first_rule is None:
            self.first_rule = time.monotonic()
        elif kind == GROUP_MOD:
            self.groups[int.from_bytes(body[4:8])] = time.monotonic()
        elif kind == MULTIPART_REQUEST:
            about = int.from_bytes(body[:2])
            ports = b"".join(map(self._port, range(1, self.ports + 1))) if about == PORT_DESCRIPTION else b""
            self.send(message(MULTIPART_REPLY, struct.pack("!HH4x", about, 0) + ports, xid))

    def _port(self, number: int) -> bytes:
        mac = (0x02 << 40 | self.dpid << 8 | number).to_bytes(6, "big")
        name = f"s{self.dpid:x}-eth{number}".encode()
        return struct.pack("!I4x6s2x16s8I", number, mac, name, 0, 0, 0, 0, 0, 0, 10_000_000, 10_000_000)
