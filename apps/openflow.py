"""The only module that imports the OpenFlow framework: Ryu, or its maintained fork os-ken (same code, other names).

`RESETLB_FRAMEWORK` chooses (`resetlb run --framework`). The entry point must have patched the hub before this is imported.

Messages of our own (packet-ins whose cookie carries a purpose, replies to our requests, errors about what we sent) are taken off the
receive buffer as bytes: no framework object is built for them, so a hostile frame never meets the framework's packet library.
Everything else takes the framework's way, so other applications run beside ours.
"""

from __future__ import annotations

import _socket
import contextlib
import importlib
import logging
import os
import socket as sockets
import ssl
from collections.abc import Callable
from struct import Struct
from typing import Any

from apps.codec import OUR_XID
from apps.fast_lane import FastLane
from apps.gate import Gate
from controller.flows import purpose_of

FRAMEWORK = os.environ.get("RESETLB_FRAMEWORK", "ryu")
_PACKAGE = {"ryu": "ryu", "os-ken": "os_ken"}[FRAMEWORK]


def _module(name: str) -> Any:
    return importlib.import_module(f"{_PACKAGE}.{name}")


app_manager = _module("base.app_manager")
_controller = _module("controller.controller")
ofp_event = _module("controller.ofp_event")
handler = _module("controller.handler")
hub = _module("lib.hub")
_cfg = _module("cfg")
_ofproto = _module("ofproto.ofproto_v1_3")

MAIN_DISPATCHER, DEAD_DISPATCHER = handler.MAIN_DISPATCHER, handler.DEAD_DISPATCHER
set_ev_cls = handler.set_ev_cls
Application = app_manager.RyuApp if FRAMEWORK == "ryu" else app_manager.OSKenApp
OFP_VERSIONS = [_ofproto.OFP_VERSION]
LOCAL_PORT = _ofproto.OFPP_LOCAL

TYPE_ERROR, TYPE_FEATURES_REPLY, TYPE_PACKET_IN, TYPE_MULTIPART_REPLY, TYPE_BARRIER_REPLY = 1, 6, 10, 19, 21
_VERSIONS = range(1, 7)
"""Of OpenFlow, 1.0 to 1.5, as a HELLO may say before one is agreed upon."""
_COOKIE = slice(24 - 8, 24)
_MESSAGES_PER_TURN = 256
_QUEUED_AT_MOST = 200_000
_SENT_AT_ONCE = 1 << 16
_HEADER = Struct("!BBH")

log = logging.getLogger("resetlb.openflow")

Sink = Callable[[Any, int, int, bytes], None]
"""(datapath, message type, xid, message)."""


class Datapath(_controller.Datapath):  # type: ignore[misc]
    """A switch's connection: our messages as bytes to `sink`, a send queue that never blocks whoever decides."""

    sink: Sink | None = None
    lane: FastLane
    gate = Gate()

    def __init__(self, socket: Any, address: Any) -> None:
        super().__init__(socket, address)
        self.send_q = hub.Queue()

    def send(self, buf: bytes, close_socket: bool = False) -> bool:
        """Queue bytes. A switch that takes nothing for long is cut off rather than let grow without bound."""
        if self.send_q is None:
            return False
        if self.send_q.qsize() > _QUEUED_AT_MOST:
            log.error("switch %s takes nothing: closing its connection", self.address)
            self.close()
            return False
        self.send_q.put((buf, close_socket))
        return True

    def _close_write(self) -> None:
        """Shut down TCP only: an SSLSocket would forget its TLS, and what is still to be read would be ciphertext."""
        with contextlib.suppress(OSError):
            if isinstance(self.socket, ssl.SSLSocket):
                _socket.socket.shutdown(self.socket, sockets.SHUT_WR)
            else:
                self.socket.shutdown(sockets.SHUT_WR)

    def _send_loop(self) -> None:
        try:
            while self.state != DEAD_DISPATCHER:
                buf, close = self.send_q.get()
                chunks = [buf]
                while not close and self.send_q.qsize() and len(chunks) < _MESSAGES_PER_TURN:
                    buf, close = self.send_q.get()
                    chunks.append(buf)
                self.socket.sendall(b"".join(chunks))
                if close:
                    break
        except OSError as error:
            log.info("sending to switch %s failed: %s", self.address, error)
        finally:
            self.send_q = None
            self._close_write()

    def _recv_loop(self) -> None:
        try:
            self._receive()
        finally:
            self.socket.close()

    def _receive(self) -> None:
        pending = bytearray()
        while self.state != DEAD_DISPATCHER:
            try:
                received = self.socket.recv(_SENT_AT_ONCE)
            except TimeoutError:
                continue
            except OSError:
                return
            if not received:
                return
            pending += received
            if not self._take_messages(pending):
                self.gate.complain(self.address, bytes(pending[:2]))
                return

    def _take_messages(self, pending: bytearray) -> bool:
        """Handle the whole messages at the start of the buffer; False when it cannot be OpenFlow."""
        count, start, end = 0, 0, len(pending)
        while end - start >= 8:
            version, kind, length = _HEADER.unpack_from(pending, start)
            if length < 8 or version not in _VERSIONS:
                return False
            if end - start < length:
                break
            if count % _MESSAGES_PER_TURN == 0:
                if count:
                    hub.sleep(0)  # a flood leaves everybody else a turn
                self.lane.look_at_clock()
            count += 1
            fast = kind == TYPE_PACKET_IN and self.state == MAIN_DISPATCHER
            if not fast or not self.lane.takes(self.id, pending, start, length):
                self._take(bytes(pending[start : start + length]))
            start += length
        del pending[:start]
        return True

    def _take(self, message: bytes) -> None:
        version, kind, xid = message[0], message[1], int.from_bytes(message[4:8])
        if kind == TYPE_FEATURES_REPLY and not self.gate.admits(int.from_bytes(message[8:16]), self.address):
            self.close()  # before anybody heard of it
            return
        if self.state == MAIN_DISPATCHER and self.sink is not None and _is_ours(kind, xid, message):
            type(self).sink(self, kind, xid, message)  # type: ignore[misc]
            return
        parsed = _controller.ofproto_parser.msg(self, version, kind, len(message), xid, bytearray(message))
        if parsed is None:
            return
        event = ofp_event.ofp_msg_to_ev(parsed)
        self.ofp_brick.send_event_to_observers(event, self.state)
        for handle in self.ofp_brick.get_handlers(event):
            if self.state in handle.callers[event.__class__].dispatchers:
                handle(event)


def _is_ours(kind: int, xid: int, message: bytes) -> bool:
    if kind == TYPE_PACKET_IN:
        return len(message) >= _COOKIE.stop and purpose_of(int.from_bytes(message[_COOKIE])) is not None
    if kind in (TYPE_MULTIPART_REPLY, TYPE_BARRIER_REPLY):
        return xid & 0xFF000000 == OUR_XID
    return kind == TYPE_ERROR and (xid == 0 or xid & 0xFF000000 == OUR_XID)


def _serve_switch(socket: Any, address: Any) -> None:
    """What the framework calls for each connection, with our Datapath; one broken switch must not end the others."""
    channel = Datapath.gate.enter(socket, address)
    if channel is None:
        return
    with contextlib.closing(Datapath(channel, address)) as datapath:
        try:
            datapath.serve()
        except Exception:
            log.exception("the connection of switch %s failed", address)


_controller.datapath_connection_factory = _serve_switch


def start(
    listen: tuple[str, int],
    gate: Gate,
    applications: list[str],
    sink: Sink,
    lane: FastLane,
    contexts: dict[str, object],
) -> list[Any]:
    """Load the handshake application, ours and the user's, and listen for switches. Returns the greenlets that serve."""
    Datapath.gate, Datapath.lane = gate, lane
    Datapath.sink = staticmethod(sink)  # type: ignore[assignment]
    _cfg.CONF([], project="resetlb", default_config_files=[])
    for option, value in {
        "ofp_listen_host": listen[0], "ofp_tcp_listen_port": listen[1],
        # A half-open control channel is noticed within 20 s.
        "echo_request_interval": 5.0, "maximum_unreplied_echo_requests": 3,
    }.items():  # fmt: skip
        _cfg.CONF.set_override(option, value)
    manager = app_manager.AppManager.get_instance()
    manager.load_apps([f"{_PACKAGE}.controller.ofp_handler", *applications])
    shared = manager.create_contexts()
    return list(manager.instantiate_apps(**shared, **contexts))
