"""What clients of an address live through: new HTTP connections at a fixed rate, and a few that are meant to last.

    python -m topologies.load NAME ADDRESS PORT [--rate R] [--kept N] [--timeout S] [--ports FIRST-LAST]

Open loop: a connection is opened when it is due, whatever became of those before, so a slow server meets no less load.
Every connection is told as one JSON line: {"load": NAME} with the fields of `Attempt` or `Kept`. Times are seconds of
CLOCK_MONOTONIC, the same in every process of the machine. SIGTERM ends it: nothing new is opened, what is under way may
finish, what lasted until then is told as `kept`.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

TIMEOUT_S = 3.0
KEPT_INTERVAL_S = 0.2
"""Pause between two requests on a connection that is meant to last."""
_READ_BYTES = 65_536


class Outcome(StrEnum):
    """How a connection ended, as its client saw it."""

    OK = "ok"
    """The whole answer, status 200."""
    REFUSED = "refused"
    """RST instead of SYN-ACK: connect() failed with ECONNREFUSED."""
    RESET = "reset"
    """Established, then broken or closed before the first byte of an answer."""
    CUT = "cut"
    """Broken in the middle of an answer, or answered by anything but a whole 200."""
    TIMED_OUT = "timed-out"
    KEPT = "kept"
    """Lasted until the load ended (connections that are meant to last only)."""
    MOVED = "moved"
    """Answered by another server than before (connections that are meant to last only)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One new connection with one request.

    Attributes:
        started: connect() was called (s).
        connected: it was established (s), None if never.
        ended: the outcome was known (s).
        late_s: how much later than due this client's own loop started it.
        outcome: what became of it.
        member: who answered, by the answer's text.
    """

    started: float
    connected: float | None
    ended: float
    late_s: float
    outcome: Outcome
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A connection that is meant to last, at its end (s): how it ended, and who served it."""

    number: int
    ended: float
    outcome: Outcome
    member: str | None


Tell = Callable[[Attempt | Kept], None]


class Load:
    """One client.

    Args:
        address: whom to connect to.
        port: TCP port.
        tell: is given every connection at its end.
        timeout_s: for a whole connection, and for each answer on one that is meant to last.
        own_ports: the client's, of new connections, one after the other; 0 lets the kernel choose, which takes one again within seconds.
    """

    def __init__(
        self, address: str, port: int, tell: Tell, timeout_s: float = TIMEOUT_S, own_ports: Iterable[int] = (0,)
    ) -> None:
        self._peer = address, port
        self._tell = tell
        self._timeout_s = timeout_s
        self._own_ports = itertools.cycle(own_ports)
        host = f"Host: {address}\r\n".encode()
        self._request = b"GET / HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n"
        self._request_again = b"GET / HTTP/1.1\r\n" + host + b"\r\n"

    async def run(self, rate: float, kept: int, stop: asyncio.Event) -> None:
        """Opens `rate` connections per second and keeps `kept` others busy, until `stop`."""
        async with asyncio.TaskGroup() as group:
            for number in range(kept):
                group.create_task(self._keep(number, stop))
            loop = asyncio.get_running_loop()
            begun = loop.time()
            for due in (begun + turn / rate for turn in itertools.count()):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(0.0, due - loop.time()))
                if stop.is_set():
                    return
                group.create_task(self.attempt(due))

    async def attempt(self, due: float) -> None:
        """Opens a connection, asks once, tells how it went."""
        now = asyncio.get_running_loop().time
        started, connected, answer = now(), None, bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                with _tcp_socket(next(self._own_ports)) as sock:
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(sock, self._peer)
                    connected = now()
                    await loop.sock_sendall(sock, self._request)
                    while part := await loop.sock_recv(sock, _READ_BYTES):
                        answer += part
            outcome = _judge(bytes(answer))
        except TimeoutError:
            outcome = Outcome.TIMED_OUT
        except ConnectionRefusedError:
            outcome = Outcome.REFUSED
        except OSError:
            outcome = Outcome.CUT if answer else Outcome.RESET
        member = _text(bytes(answer)) if outcome is Outcome.OK else None
        self._tell(Attempt(started, connected, now(), started - due, outcome, member))

    async def _keep(self, number: int, stop: asyncio.Event) -> None:
        member: str | None = None
        outcome = Outcome.KEPT
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_connection(*self._peer)
            with contextlib.closing(writer):
                while not stop.is_set():
                    async with asyncio.timeout(self._timeout_s):
                        name = await self._ask_again(reader, writer)
                    if member not in (None, name):
                        outcome = Outcome.MOVED
                        break
                    member = name
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), KEPT_INTERVAL_S)
        except TimeoutError:
            outcome = Outcome.TIMED_OUT
        except ConnectionRefusedError:
            outcome = Outcome.REFUSED
        except (OSError, EOFError):
            outcome = Outcome.RESET
        self._tell(Kept(number, asyncio.get_running_loop().time(), outcome, member))

    async def _ask_again(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(self._request_again)
        head = await reader.readuntil(b"\r\n\r\n")
        return (await reader.readexactly(_content_length(head))).decode()


def _tcp_socket(own_port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    if own_port:
        sock.bind(("", own_port))
    return sock


def _judge(answer: bytes) -> Outcome:
    if not answer:
        return Outcome.RESET
    head, _, body = answer.partition(b"\r\n\r\n")
    whole = head.startswith(b"HTTP/1.1 200") and len(body) == _content_length(head)
    return Outcome.OK if whole else Outcome.CUT


def _text(answer: bytes) -> str:
    return answer.partition(b"\r\n\r\n")[2].decode(errors="replace")


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _run_until_sigterm(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)

    def tell(connection: Attempt | Kept) -> None:
        # One write a line, shorter than PIPE_BUF: several clients may share a pipe (pipe(7)).
        sys.stdout.write(json.dumps({"load": options.name, **asdict(connection)}) + "\n")
        sys.stdout.flush()

    load = Load(options.address, options.port, tell, options.timeout, options.ports)
    await load.run(options.rate, options.kept, stop)


def _ports(text: str) -> Iterable[int]:
    first, last = (int(part) for part in text.split("-"))
    return range(first, last + 1)


def main() -> None:
    """Runs the client that the arguments describe."""
    parser = argparse.ArgumentParser(prog="python -m topologies.load", description="New HTTP connections, fixed rate.")
    parser.add_argument("name", help="what this client calls itself in its lines")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=100.0, help="new connections per second (default: %(default)s)")
    parser.add_argument("--kept", type=int, default=0, help="connections that are meant to last (default: none)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--ports", type=_ports, default=(0,), help="its own, used in turn (default: the kernel's choice)"
    )
    try:
        asyncio.run(_run_until_sigterm(parser.parse_args()))
    except* BrokenPipeError:
        # Nobody listens any more; what Python would still flush at its end has nowhere to go (docs.python.org, signal).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
