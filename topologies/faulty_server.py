"""An HTTP server whose fault can be switched while it runs: the member that misbehaves on request.

    python -m topologies.faulty_server NAME PORT CONTROL

It listens on PORT of every address and takes orders on the Unix socket CONTROL: one JSON object a line, fields of
`Behaviour` (absent ones get their default), answered by the counters so far: {"accepted": n, "served": n, "faulted":
n}.
"""

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

BACKLOG = 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Fault(StrEnum):
    """What goes wrong, named after the moment it does."""

    NONE = "none"
    REFUSE = "refuse"
    """The port is closed: the kernel answers SYN with RST (misconfiguration). Affects every connection, not a share."""
    RESET_ON_ACCEPT = "reset-on-accept"
    RESET_ON_REQUEST = "reset-on-request"
    RESET_IN_RESPONSE = "reset-in-response"
    """Half of the answer, then RST."""
    HANG = "hang"
    """Accepts and never answers."""


@dataclass(frozen=True)
class Behaviour:
    """How connections are treated from now on.

    Attributes:
        fault: what goes wrong.
        share: of the connections that meet the fault, 0–1.
        delay_s: before each answer.
        limit: concurrent connections above which new ones are reset, as a full accept queue would; None unlimited.
        body_bytes: size of the answer, at least the server's name.
    """

    fault: Fault = Fault.NONE
    share: float = 1.0
    delay_s: float = 0.0
    limit: int | None = None
    body_bytes: int = 0


@dataclass
class Counts:
    """What the server did, the ground truth that a diagnosis is held against."""

    accepted: int = 0
    served: int = 0
    faulted: int = 0


class FaultyServer:
    """The server, on one event loop."""

    def __init__(self, name: str, port: int, seed: int = 1) -> None:
        self._name = name
        self._port = port
        self._random = random.Random(seed)  # repeatable
        self._behaviour = Behaviour()
        self._counts = Counts()
        self._open = 0
        self._listener: asyncio.Server | None = None

    async def run(self, control: str) -> None:
        """Serves until cancelled."""
        await self._listen()
        orders = await asyncio.start_unix_server(self._on_order, control)
        async with orders:
            await orders.serve_forever()

    async def _listen(self) -> None:
        wanted = self._behaviour.fault is not Fault.REFUSE
        if wanted and self._listener is None:
            self._listener = await asyncio.start_server(self._on_connection, None, self._port, backlog=BACKLOG)
        elif not wanted and self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _on_order(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            order: dict[str, Any] = json.loads(line)
            if order:
                self._behaviour = Behaviour(**order | {"fault": Fault(order.get("fault", Fault.NONE))})
                await self._listen()
            writer.write(json.dumps(asdict(self._counts)).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._counts.accepted += 1
        self._open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behaviour = self._behaviour
        full = behaviour.limit is not None and self._open > behaviour.limit
        fault = behaviour.fault if self._random.random() < behaviour.share else Fault.NONE
        if full or fault is Fault.RESET_ON_ACCEPT:
            self._reset(writer)
            return
        while request := await reader.readuntil(b"\r\n\r\n"):
            if fault is Fault.RESET_ON_REQUEST:
                self._reset(writer)
                return
            if fault is Fault.HANG:
                self._counts.faulted += 1
                await reader.read()
                return
            await asyncio.sleep(behaviour.delay_s)
            answer = self._answer(behaviour.body_bytes)
            if fault is Fault.RESET_IN_RESPONSE:
                writer.write(answer[: len(answer) // 2])
                await asyncio.sleep(0.01)  # a reset at once would discard what was written
                self._reset(writer)
                return
            writer.write(answer)
            await writer.drain()
            self._counts.served += 1
            if b"connection: close" in request.lower() or b"HTTP/1.0" in request:
                return

    def _answer(self, body_bytes: int) -> bytes:
        body = self._name.encode().ljust(body_bytes, b".")
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        """Closes with RST instead of FIN (SO_LINGER of zero seconds, socket(7))."""
        self._counts.faulted += 1
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()


def main() -> None:
    """Runs the server that the arguments describe."""
    name, port, control = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(FaultyServer(name, int(port)).run(control))


if __name__ == "__main__":
    main()
