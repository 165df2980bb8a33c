"""Clients of a virtual service: open connections at a rate, use them, and count how each one ended.

    python -m topologies.lab.traffic '{"target": "10.0.0.100", "port": 80, …}'

The argument is a JSON object with the fields of `Traffic`. Twice a second a line of JSON goes to standard output: `time` (seconds
since the epoch), how many connections ended in each `Outcome` since the last line, and `slowest_ms`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from topologies.lab.streams import Stream, TlsStream

REPORT_S = 0.5
MAX_OPEN = 2000
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REQUESTS = {
    "http": b"GET %s HTTP/1.1\r\nHost: lab\r\n%s\r\n",
    "tls": b"GET %s HTTP/1.1\r\nHost: lab\r\n%s\r\n",
    "redis": b"PING\r\n",
    "rediss": b"PING\r\n",
}
_TLS, _REDIS = frozenset({"tls", "rediss"}), frozenset({"redis", "rediss"})


class Outcome(StrEnum):
    """How a connection ended, as its client saw it."""

    SERVED = "served"
    LEFT = "left"
    """The client had enough before the answer was complete."""
    WRONG = "wrong"
    """An answer, or an end, that is not the service's."""
    REFUSED = "refused"
    RESET = "reset"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True)
class Traffic:
    """What these clients do.

    Attributes:
        target: address and `port` of the service.
        sources: addresses to open connections from, used in turn by chance.
        rate: connections per second, in bursts of `burst` (Poisson arrivals).
        protocol: http, tls (HTTP inside), redis, rediss (Redis inside TLS).
        requests: per connection, with `pause_s` before each but the first.
        timeout_s: what a client waits for a handshake and for each answer; then it closes with RST if `reset_on_timeout`, else with FIN.
        reset_share: of the served connections that their client closes with RST.
        leave_share: of the connections that their client leaves after the first bytes of the answer.
        reset_after_connect: close with RST as soon as the handshake is complete, as some health checkers do.
        path: asked for.
        seed: of the dice.
    """

    target: str
    port: int
    sources: tuple[str, ...]
    rate: float
    burst: int = 1
    protocol: str = "http"
    requests: int = 1
    pause_s: float = 0.0
    timeout_s: float = 2.0
    reset_on_timeout: bool = True
    reset_share: float = 0.0
    leave_share: float = 0.0
    reset_after_connect: bool = False
    path: str = "/"
    seed: int = 1


class _WrongAnswerError(Exception):
    """Not what the service answers."""


@dataclass
class Clients:
    """The clients, on one event loop."""

    traffic: Traffic
    _dice: random.Random = field(init=False)
    _ended: Counter[str] = field(default_factory=Counter)
    _slowest_s: float = 0.0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.traffic.seed)

    async def run(self) -> None:
        """Opens connections until it is cancelled."""
        loop = asyncio.get_running_loop()
        reporter = loop.create_task(self._report())
        due = loop.time()
        while True:
            due += self._dice.expovariate(self.traffic.rate / self.traffic.burst)
            await asyncio.sleep(due - loop.time())
            for _ in range(self.traffic.burst):
                if len(self._open) < MAX_OPEN:
                    task = loop.create_task(self._connection())
                    self._open.add(task)
                    task.add_done_callback(self._open.discard)
            if reporter.done():
                return

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            ended, self._ended = self._ended, Counter()
            slowest_s, self._slowest_s = self._slowest_s, 0.0
            line = {"time": time.time(), **ended, "slowest_ms": round(slowest_s * 1000, 1)}
            print(json.dumps(line), flush=True)

    async def _connection(self) -> None:
        began = time.monotonic()
        outcome = await self._outcome()
        self._ended[outcome] += 1
        self._slowest_s = max(self._slowest_s, time.monotonic() - began)

    async def _outcome(self) -> Outcome:
        connection = socket.socket()
        connection.setblocking(False)
        try:
            return await self._use(connection)
        except ConnectionRefusedError:
            return Outcome.REFUSED
        except (TimeoutError, ssl.SSLError, ConnectionError, OSError) as error:
            return await self._failed(connection, error)
        except _WrongAnswerError:
            return Outcome.WRONG
        finally:
            connection.close()

    async def _failed(self, connection: socket.socket, error: Exception) -> Outcome:
        if isinstance(error, TimeoutError):
            if self.traffic.reset_on_timeout:
                _reset_on_close(connection)
            return Outcome.TIMED_OUT
        return Outcome.WRONG if isinstance(error, ssl.SSLError) else Outcome.RESET

    async def _use(self, connection: socket.socket) -> Outcome:
        loop, traffic = asyncio.get_running_loop(), self.traffic
        # Without this each source address would be bound to a port for all destinations (ip(7)).
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((self._dice.choice(traffic.sources), 0))
        async with asyncio.timeout(traffic.timeout_s):
            await loop.sock_connect(connection, (traffic.target, traffic.port))
        if traffic.reset_after_connect:
            _reset_on_close(connection)
            return Outcome.LEFT
        stream = await self._stream(connection)
        for turn in range(traffic.requests):
            if turn:
                await asyncio.sleep(traffic.pause_s)
            last = turn == traffic.requests - 1
            async with asyncio.timeout(traffic.timeout_s):
                if await self._ask(stream, last) is Outcome.LEFT:
                    return Outcome.LEFT
        if self._dice.random() < traffic.reset_share:
            _reset_on_close(connection)
        return Outcome.SERVED

    async def _stream(self, connection: socket.socket) -> Stream:
        if self.traffic.protocol not in _TLS:
            return Stream(connection)
        stream = TlsStream(connection)
        async with asyncio.timeout(self.traffic.timeout_s):
            await stream.shake_hands()
        return stream

    async def _ask(self, stream: Stream, last: bool) -> Outcome:
        request = _REQUESTS[self.traffic.protocol]
        if self.traffic.protocol not in _REDIS:
            request = request % (self.traffic.path.encode(), b"Connection: close\r\n" if last else b"")
        await stream.send(request)
        answer = await stream.receive()
        if self._dice.random() < self.traffic.leave_share:
            return Outcome.LEFT
        if self.traffic.protocol in _REDIS:
            if answer != b"+PONG\r\n":
                raise _WrongAnswerError
            return Outcome.SERVED
        return await _read_http(stream, answer)


async def _read_http(stream: Stream, received: bytes) -> Outcome:
    """Reads the rest of an answer.

    Raises:
        _WrongAnswerError: not a complete answer with status 200.
    """
    while b"\r\n\r\n" not in received:
        more = await stream.receive()
        if not more:
            raise _WrongAnswerError
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise _WrongAnswerError
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    missing = length - len(body)
    while missing > 0:
        more = await stream.receive()
        if not more:
            raise _WrongAnswerError
        missing -= len(more)
    return Outcome.SERVED


def _reset_on_close(connection: socket.socket) -> None:
    """SO_LINGER of zero seconds (socket(7)): close() sends RST."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def main() -> None:
    """Runs the clients that the argument describes until killed."""
    fields = json.loads(sys.argv[1])
    traffic = Traffic(**fields | {"sources": tuple(fields["sources"])})
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(Clients(traffic).run())


if __name__ == "__main__":
    main()
