"""A controller that is no member of the cluster: what the switch answers somebody with an old generation (OpenFlow 1.3.5 §6.3.6)."""

import socket
import struct
from typing import Self

from topologies import openvswitch

PORT = 6693
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FLOW_MOD, BARRIER_REQUEST, BARRIER_REPLY = 0, 1, 2, 3, 14, 20, 21
ROLE_REQUEST, ROLE_REPLY = 24, 25
MASTER, SLAVE = 2, 3
STALE, IS_SLAVE = (11, 0), (1, 10)
"""(type, code): OFPET_ROLE_REQUEST_FAILED, OFPRRFC_STALE; OFPET_BAD_REQUEST, OFPBRC_IS_SLAVE."""


def message(kind: int, body: bytes = b"", xid: int = 7) -> bytes:
    """An OpenFlow 1.3 message."""
    return struct.pack("!BBHI", 4, kind, 8 + len(body), xid) + body


class FourthController:
    """Has one switch connect to it beside its other controllers."""

    def __init__(self, switch: str) -> None:
        self._switch = switch
        self._listener = socket.create_server(("127.0.0.1", PORT))
        self._listener.settimeout(15)

    def __enter__(self) -> Self:
        self._targets = openvswitch.vsctl("get-controller", self._switch).split()
        openvswitch.vsctl("set-controller", self._switch, *self._targets, f"tcp:127.0.0.1:{PORT}")
        self._socket, _ = self._listener.accept()
        self._socket.settimeout(5)
        self._stream = self._socket.makefile("rb")
        self._socket.sendall(message(HELLO))
        self._receive(HELLO)
        return self

    def __exit__(self, *_: object) -> None:
        openvswitch.vsctl("set-controller", self._switch, *self._targets)
        for closing in (self._stream, self._socket, self._listener):
            closing.close()

    def ask_role(self, role: int, generation: int) -> tuple[int, int] | None:
        """Asks for a role; the error's (type, code), None when it was given."""
        self._socket.sendall(message(ROLE_REQUEST, struct.pack("!I4xQ", role, generation)))
        kind, body = self._receive(ERROR, ROLE_REPLY)
        return struct.unpack_from("!HH", body) if kind == ERROR else None  # type: ignore[return-value]

    def write(self) -> tuple[int, int] | None:
        """Deletes every flow; the error's (type, code), None when the switch has done it."""
        everything = struct.pack(
            "!QQBBHHHIIIH2xHH4x", 0, 0, 255, 3, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0, 1, 4
        )
        self._socket.sendall(message(FLOW_MOD, everything) + message(BARRIER_REQUEST))
        kind, body = self._receive(ERROR, BARRIER_REPLY)
        return struct.unpack_from("!HH", body) if kind == ERROR else None  # type: ignore[return-value]

    def _receive(self, *kinds: int) -> tuple[int, bytes]:
        while True:
            _, kind, length, xid = struct.unpack("!BBHI", self._stream.read(8))
            body = self._stream.read(length - 8)
            if kind == ECHO_REQUEST:
                self._socket.sendall(message(ECHO_REPLY, body, xid))
            if kind in kinds:
                return kind, body
