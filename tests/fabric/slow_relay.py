"""A relay for TCP connections that keeps everything back for a while, both ways: a control channel over a long way."""

import heapq
import itertools
import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Self


class SlowRelay:
    """Listens on a port of the loopback and passes on to another, `delay_s` later. As a context manager it serves until exit."""

    def __init__(self, to_port: int, delay_s: float) -> None:
        self._to = "127.0.0.1", to_port
        self._delay_s = delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listener, selectors.EVENT_READ)
        self._late: list[tuple[float, int, socket.socket, bytes]] = []
        self._order = itertools.count()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for key in list(self._ready.get_map().values()):
            self._close(key.fileobj)

    def _serve(self) -> None:
        while not self._ended.is_set():
            wait_s = self._late[0][0] - time.monotonic() if self._late else 0.1
            for key, _ in self._ready.select(min(max(wait_s, 0.0), 0.1)):
                self._accept() if key.fileobj is self._listener else self._take(key.fileobj, key.data)
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, to, octets = heapq.heappop(self._late)
                with suppress(OSError):
                    to.sendall(octets) if octets else to.shutdown(socket.SHUT_WR)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._to)
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ready.register(one, selectors.EVENT_READ, other)

    def _take(self, one: Any, other: socket.socket) -> None:
        try:
            octets = one.recv(65536)
        except OSError:
            octets = b""
        heapq.heappush(self._late, (time.monotonic() + self._delay_s, next(self._order), other, octets))
        if not octets:
            self._ready.unregister(one)

    def _close(self, one: Any) -> None:
        self._ready.unregister(one)
        one.close()
