"""An HTTP server as they used to be: so many workers, each with one connection at a time, before them the kernel's accept queue.

    python -m topologies.lab.queueing_server '{"port": 8080, "workers": 4, "backlog": 16, "page_bytes": 2000}'

It serves workers / service_s connections per second and no more; beyond that its accept queue overflows, and the kernel does what
`net.ipv4.tcp_abort_on_overflow` says (tcp(7)). Orders come by standard input, one JSON object a line: {"service_s": 0.2, "backlog": 4};
listen(2) on a listening socket changes the length of its queue.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from dataclasses import dataclass

SERVICE_S = 0.001
IDLE_S = 5.0


@dataclass
class QueueingServer:
    """The server; its threads share nothing but `service_s`."""

    port: int
    workers: int
    backlog: int
    page_bytes: int
    service_s: float = SERVICE_S

    def run(self) -> None:
        """Serves until standard input ends."""
        listener = socket.create_server(("", self.port), backlog=self.backlog)
        for _ in range(self.workers):
            threading.Thread(target=self._work, args=(listener,), daemon=True).start()
        for line in sys.stdin:
            order = json.loads(line)
            self.service_s = order["service_s"]
            listener.listen(order["backlog"])

    def _work(self, listener: socket.socket) -> None:
        page = b"." * self.page_bytes
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(IDLE_S)
                self._serve(connection, answer)

    def _serve(self, connection: socket.socket, answer: bytes) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            more = connection.recv(4096)
            if not more:
                return
            request += more
        time.sleep(self.service_s)
        connection.sendall(answer)


if __name__ == "__main__":
    QueueingServer(**json.loads(sys.argv[1])).run()
