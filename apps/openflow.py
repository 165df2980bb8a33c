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
import struct
from collections import Counter
from collections.abc import Callable
from struct import Struct
from typing import Any

import eventlet

from apps import wellformed
from apps.codec import OUR_XID, more_follows
from apps.fast_lane import FastLane
from apps.gate import Gate
from apps.parser_limit import TooSlowError, within_cpu_time
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
_parser = _module("ofproto.ofproto_v1_3_parser")

MAIN_DISPATCHER, DEAD_DISPATCHER = handler.MAIN_DISPATCHER, handler.DEAD_DISPATCHER
set_ev_cls = handler.set_ev_cls
Application = app_manager.RyuApp if FRAMEWORK == "ryu" else app_manager.OSKenApp
OFP_VERSIONS = [_ofproto.OFP_VERSION]
LOCAL_PORT = _ofproto.OFPP_LOCAL

TYPE_ERROR, TYPE_FEATURES_REPLY, TYPE_PACKET_IN, TYPE_MULTIPART_REPLY, TYPE_BARRIER_REPLY = 1, 6, 10, 19, 21
TYPE_ROLE_REPLY = 25
_COOKIE = slice(24 - 8, 24)
_MESSAGES_PER_TURN = 256
_QUEUED_AT_MOST = 200_000
_QUEUED_BYTES_AT_MOST = 64 << 20
_SENT_AT_ONCE = 1 << 16
_HEADER = Struct("!BBH")
HANDSHAKE_S = 15.0
"""From the connection to the description of the last port."""
PORTS_AT_MOST = 4096
REPLY_BYTES_AT_MOST = 32 << 20
"""Of all replies that a switch has begun and not ended: 150,000 flow entries of 200 octets and more."""
SECOND_THOUGHTS_S = 2.0
"""How long a connected switch has to say that it is there, when another connection claims its dpid."""
_ARE_YOU_THERE = OUR_XID | 0x00EC0000

log = logging.getLogger("resetlb.openflow")


def _always() -> bool:
    return True


Sink = Callable[[Any, int, int, bytes], None]
"""(datapath, message type, xid, message)."""


class Datapath(_controller.Datapath):  # type: ignore[misc]
    """A switch's connection: our messages as bytes to `sink`, a send queue that never blocks whoever decides."""

    sink: Sink | None = None
    handshake: Any = None
    """What asks the switch what it has, while it is ours (`fabric.Handshake`)."""
    lane: FastLane
    gate = Gate()

    by_dpid: dict[int, Datapath] = {}
    """Whose features were admitted, while they are connected."""
    guests = False
    """Whether applications beside ours may want messages parsed that ours do not."""

    def __init__(self, socket: Any, address: Any) -> None:
        super().__init__(socket, address)
        self.send_q = hub.Queue()
        self._queued_bytes = 0
        self._is_sending = False
        self._port_numbers: set[int] = set()
        self._admitted: int | None = None
        self._replied: Any = None
        self._unfinished: Counter[int] = Counter()
        self._unfinished_bytes = 0

    def serve(self) -> None:
        """Serve until the connection ends; one that does not finish its handshake in time is cut off."""
        # A thread that is put off would keep this object until its time, called off or not; this drops it.
        deadline = eventlet.hubs.get_hub().schedule_call_global(HANDSHAKE_S, eventlet.spawn, self._expire)
        try:
            super().serve()
        finally:
            deadline.cancel()

    def _expire(self) -> None:
        if self.state not in (MAIN_DISPATCHER, DEAD_DISPATCHER):
            self.gate.refuse(self.address, f"no OpenFlow handshake within {HANDSHAKE_S:g} s", "late")
            self.close()

    def send(self, buf: bytes, close_socket: bool = False, permitted: Callable[[], bool] = _always) -> bool:
        """Send what the kernel takes at once, queue the rest. A switch that takes nothing for long is cut off rather than let grow.

        `permitted` is asked when it is their turn: what was decided may not be ours to say any more.
        """
        if self.send_q is None:
            return False
        if not self._is_sending and not close_socket and self.send_q.empty():
            if not permitted():
                return True
            sent = self._send_now(buf)
            if sent == len(buf):
                return True
            if sent:
                buf, permitted = buf[sent:], _always  # the rest of what has begun
        if self.send_q.qsize() > _QUEUED_AT_MOST or self._queued_bytes > _QUEUED_BYTES_AT_MOST:
            self.gate.refuse(self.address, "it takes nothing of what it is sent", "deaf")
            self.close()
            return False
        self._queued_bytes += len(buf)
        self.send_q.put((buf, close_socket, permitted))
        return True

    def _send_now(self, buf: bytes) -> int:
        """How many octets went out without waiting: a reaction saves the turn of the hub in which the queue would be looked at."""
        if isinstance(self.socket, ssl.SSLSocket):
            return 0
        try:
            return int(self.socket.fd.send(buf))
        except OSError:  # it would block; or the connection has ended, which those who read and queue are told
            return 0

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
                buf, close, permitted = self.send_q.get()
                chunks, taken = [buf] if permitted() else [], len(buf)
                while not close and self.send_q.qsize() and len(chunks) < _MESSAGES_PER_TURN:
                    buf, close, permitted = self.send_q.get()
                    taken += len(buf)
                    chunks += [buf] if permitted() else []
                self._queued_bytes -= taken
                self._is_sending = True
                self.socket.sendall(b"".join(chunks))
                self._is_sending = False
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
            self._give_up_dpid()
            self._answer(False)
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
            try:
                self._take_messages(pending)
            except _NotOpenFlowError:
                self.gate.complain(self.address, bytes(pending[:2]))
                return
            except _RefusedError as refusal:
                self.gate.refuse(self.address, str(refusal), refusal.reason)
                return

    def _take_messages(self, pending: bytearray) -> None:
        """Handle the whole messages at the start of the buffer. Raises _RefusedError: the connection shall end."""
        count, start, end = 0, 0, len(pending)
        while end - start >= 8:
            version, kind, length = _HEADER.unpack_from(pending, start)
            if length < 8 or version not in wellformed.VERSIONS:
                del pending[:start]
                raise _NotOpenFlowError
            if end - start < length:
                break
            if count % _MESSAGES_PER_TURN == 0:
                if count:
                    hub.sleep(0)  # a flood leaves everybody else a turn
                self.lane.look_at_clock()
            count += 1
            fast = kind == TYPE_PACKET_IN and version == wellformed.OUR_VERSION and self.state == MAIN_DISPATCHER
            try:
                taken = fast and self.lane.takes(self.id, pending, start, length)
            except Exception:
                taken = self._forgive()
            if not taken:
                self._take(bytes(pending[start : start + length]))
            start += length
        del pending[:start]

    def _take(self, message: bytes) -> None:
        kind, xid = message[1], int.from_bytes(message[4:8])
        fault = wellformed.fault_of(message)
        if fault is not None:
            raise _RefusedError(f"it sent {fault}", "malformed")
        if kind == TYPE_MULTIPART_REPLY:
            self._bound_reply(xid, message)
        if self.state == MAIN_DISPATCHER and self.sink is not None and _is_ours(kind, xid, message):
            self._to_sink(kind, xid, message)
        elif kind == wellformed.ECHO_REPLY and xid == _ARE_YOU_THERE:
            self._answer(True)
        else:
            if kind == TYPE_FEATURES_REPLY and not self._admit(int.from_bytes(message[8:16])):
                return
            if kind in wellformed.NEEDED or wellformed.describes_ports(message) or self.guests:
                self._to_framework(kind, xid, message)

    def _bound_reply(self, xid: int, part: bytes) -> None:
        """A reply that never ends must not grow for ever."""
        if not more_follows(part):
            self._unfinished_bytes -= self._unfinished.pop(xid, 0)
            return
        self._unfinished[xid] += len(part)
        self._unfinished_bytes += len(part)
        if self._unfinished_bytes > REPLY_BYTES_AT_MOST:
            raise _RefusedError("it sent a reply without an end", "malformed")

    def _to_sink(self, kind: int, xid: int, message: bytes) -> None:
        try:
            type(self).sink(self, kind, xid, message)  # type: ignore[misc]
        except Exception:
            # What the switch itself said may end its connection: it starts anew then.
            if kind != TYPE_PACKET_IN:
                raise
            self._forgive()

    def _forgive(self) -> bool:
        """An error of ours over a packet: what a host sent must not part its switch from us. The packet counts as dealt with."""
        self.gate.refuse(self.address, "one packet of it, by an error of ours", "failed", traceback=True)
        return True

    def _to_framework(self, kind: int, xid: int, message: bytes) -> None:
        if wellformed.is_port_gone(message):
            self._port_numbers -= wellformed.ports_in(message)
        elif kind == wellformed.PORT_STATUS or wellformed.describes_ports(message):
            self._port_numbers |= wellformed.ports_in(message)
        if len(self._port_numbers) > PORTS_AT_MOST:
            raise _RefusedError(f"it has more than {PORTS_AT_MOST} ports", "malformed")
        try:
            with within_cpu_time():
                parsed = self._parsed(kind, xid, bytearray(message))
        except TooSlowError:
            raise _RefusedError(
                f"a message of type {kind} that the framework does not get through", "malformed"
            ) from None
        if parsed is None:
            return
        event = ofp_event.ofp_msg_to_ev(parsed)
        self.ofp_brick.send_event_to_observers(event, self.state)
        for handle in self.ofp_brick.get_handlers(event):
            if self.state in handle.callers[event.__class__].dispatchers:
                handle(event)

    def _parsed(self, kind: int, xid: int, message: bytearray) -> Any:
        if kind in (wellformed.HELLO, wellformed.ERROR):  # of any version
            return _controller.ofproto_parser.msg(self, message[0], kind, len(message), xid, message)
        try:
            # Not by the framework's own way in, which logs the octets of whatever it cannot parse.
            return self.ofproto_parser.msg_parser(self, message[0], kind, len(message), xid, message)
        except TooSlowError:
            raise
        except Exception as error:
            self.gate.refuse(self.address, f"a message of type {kind} ({type(error).__name__})", "malformed")
            return None

    # --- one connection for each dpid ------------------------------------------------------------------------------------------

    def _admit(self, dpid: int) -> bool:
        """Whether this switch may be heard of. Raises _RefusedError: another one that is there has its dpid."""
        if self._admitted is not None:
            raise _RefusedError("it says twice who it is", "malformed")
        if not self.gate.admits(dpid, self.address):
            self.close()
            return False
        while (other := Datapath.by_dpid.get(dpid)) is not None:
            if other.is_there():
                raise _RefusedError(f"dpid {dpid:016x} is connected already, and answers", "dpid")
            other.close()
            other._give_up_dpid()
        Datapath.by_dpid[dpid], self._admitted = self, dpid
        return True

    def _give_up_dpid(self) -> None:
        if self._admitted is not None and Datapath.by_dpid.get(self._admitted) is self:
            del Datapath.by_dpid[self._admitted]

    def is_there(self) -> bool:
        """Ask the switch whether it is still there; blocks the calling greenlet until it says so, ends, or `SECOND_THOUGHTS_S`."""
        if self.state == DEAD_DISPATCHER:
            return False
        if self._replied is None:
            self._replied = eventlet.event.Event()
            self.send(struct.pack("!BBHI", wellformed.OUR_VERSION, wellformed.ECHO_REQUEST, 8, _ARE_YOU_THERE))
        with eventlet.Timeout(SECOND_THOUGHTS_S, False):
            return bool(self._replied.wait())
        return False

    def _answer(self, there: bool) -> None:
        replied, self._replied = self._replied, None
        if replied is not None:
            replied.send(there)


class _RefusedError(Exception):
    """The connection shall end, for a reason that the gate counts."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class _NotOpenFlowError(Exception):
    """What came is no OpenFlow at all."""


def framework_parser(message: bytes) -> Any:
    """What the framework makes of a message that `wellformed` lets through, without a switch. For `scripts/fuzz`."""
    parse = _controller.ofproto_parser.msg if message[1] in (wellformed.HELLO, wellformed.ERROR) else _parser.msg_parser
    return parse(None, message[0], message[1], len(message), 0, bytearray(message))


def _is_ours(kind: int, xid: int, message: bytes) -> bool:
    if kind == TYPE_PACKET_IN:
        return len(message) >= _COOKIE.stop and purpose_of(int.from_bytes(message[_COOKIE])) is not None
    if kind in (TYPE_MULTIPART_REPLY, TYPE_BARRIER_REPLY, TYPE_ROLE_REPLY):
        return xid & 0xFF000000 == OUR_XID
    return kind == TYPE_ERROR and (xid == 0 or xid & 0xFF000000 == OUR_XID)


def _serve_switch(socket: Any, address: Any) -> None:
    """What the framework calls for each connection, with our Datapath; one broken switch must not end the others."""
    channel = Datapath.gate.enter(socket, address)
    if channel is None:
        return
    try:
        with contextlib.closing(Datapath(channel, address)) as datapath:
            datapath.serve()
    except Exception:
        Datapath.gate.refuse(address, "by an error of ours", "failed", traceback=True)
    finally:
        Datapath.gate.leave()


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
    Datapath.guests = len(applications) > 1
    manager.load_apps([f"{_PACKAGE}.controller.ofp_handler", *applications])
    shared = manager.create_contexts()
    return list(manager.instantiate_apps(**shared, **contexts))
