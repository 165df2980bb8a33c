"""HTTP clients that run in a host and report what their users would have seen.

    python http_clients.py '{"mode": "open", "address": "10.0.0.100", "port": 80, "rate": 100}'

They print one line when they are under way, run until stdin ends, and print their report as JSON. `open` opens new connections
at a fixed rate whatever becomes of them, only `count` of them if that is given, and resets them once they are open if
`abort` is; `keep` keeps `count` connections and asks on each every `interval_s`; `ports` opens a connection from
each of `ports` and asks; then it vanishes without a word to the other side, or if `until_closed` lets the other side
close first.
"""

import asyncio
import json
import socket
import struct
import sys
import time
from typing import Any

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds, socket(7)."""
TCP_REPAIR = 19
"""A socket closed while it is being repaired sends nothing (linux/tcp.h)."""
REQUEST = b"GET / HTTP/1.1\r\nHost: vip\r\n%s\r\n"


def say(text: str) -> None:
    """To whoever started this."""
    sys.stdout.write(text)
    sys.stdout.flush()


async def answer(reader: asyncio.StreamReader) -> str:
    """The body of one response, which names the member."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return (await reader.readexactly(int(lengths[0]))).decode()


def outcome_of(error: BaseException) -> str:
    """What a user would call it."""
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionError | asyncio.IncompleteReadError):
        return "reset"
    return f"{type(error).__name__}: {error}"


class Clients:
    """All clients of one process."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.to = order["address"], order["port"]
        self.timeout_s = order.get("timeout_s", 4.0)
        self.connections: list[dict[str, Any]] = []

    async def open(self, stop: asyncio.Event) -> None:
        """New connections at a rate."""
        say("started\n")
        began, tasks = time.monotonic(), []
        while not stop.is_set() and len(tasks) < self.order.get("count", sys.maxsize):
            tasks.append(asyncio.create_task(self.once()))
            wait_s = began + len(tasks) / self.order["rate"] - time.monotonic()
            await asyncio.sleep(max(0.0, wait_s))
        await asyncio.gather(*tasks)

    async def once(self) -> None:
        """One connection, one request."""
        seen: dict[str, Any] = {"began": time.time(), "outcome": "ok", "connect_ms": None, "member": None}
        began = time.monotonic()
        writer = None
        try:
            async with asyncio.timeout(self.timeout_s):
                reader, writer = await asyncio.open_connection(*self.to)
                seen["connect_ms"] = (time.monotonic() - began) * 1000
                if self.order.get("abort"):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                    return
                writer.write(REQUEST % b"Connection: close\r\n")
                seen["member"] = await answer(reader)
        except (OSError, EOFError, TimeoutError) as error:
            seen["outcome"] = outcome_of(error)
        finally:
            seen["took_ms"] = (time.monotonic() - began) * 1000
            self.connections.append(seen)
            if writer is not None:
                writer.close()

    async def ports(self, _: asyncio.Event) -> None:
        """One connection from each port, one after the other."""
        say("started\n")
        for port in self.order["ports"]:
            seen: dict[str, Any] = {"outcome": "ok", "connect_ms": None, "member": None}
            self.connections.append(seen)
            await asyncio.to_thread(self._from_port, port, seen)

    def _from_port(self, port: int, seen: dict[str, Any]) -> None:
        with socket.socket(socket.AF_INET6 if ":" in self.to[0] else socket.AF_INET) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.settimeout(self.timeout_s)
            client.bind(("", port))
            began = time.monotonic()
            try:
                client.connect(self.to)
                seen["connect_ms"] = (time.monotonic() - began) * 1000
                client.sendall(REQUEST % (b"Connection: close\r\n" if self.order["until_closed"] else b""))
                seen["member"] = client.recv(65536).rpartition(b"\r\n\r\n")[2].decode()
                if self.order["until_closed"]:
                    client.recv(1)
                else:
                    client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            except OSError as error:
                seen["outcome"] = outcome_of(error)

    async def keep(self, stop: asyncio.Event) -> None:
        """Connections that stay; under way when each has had an answer."""
        opened = [await asyncio.open_connection(*self.to) for _ in range(self.order["count"])]
        staying = [asyncio.create_task(self.stay(reader, writer, stop)) for reader, writer in opened]
        while not all(task.done() or seen["requests"] for task, seen in zip(staying, self.connections, strict=False)):
            await asyncio.sleep(0.005)
        say("started\n")
        await asyncio.gather(*staying)

    async def stay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: asyncio.Event) -> None:
        """Ask on one connection until told to stop or it breaks."""
        seen: dict[str, Any] = {"outcome": "ok", "members": [], "requests": 0, "slowest_ms": 0.0}
        self.connections.append(seen)
        try:
            while not stop.is_set():
                began = time.monotonic()
                async with asyncio.timeout(self.timeout_s):
                    writer.write(REQUEST % b"")
                    member = await answer(reader)
                seen["slowest_ms"] = max(seen["slowest_ms"], (time.monotonic() - began) * 1000)
                seen["requests"] += 1
                if member not in seen["members"]:
                    seen["members"].append(member)
                await asyncio.sleep(self.order["interval_s"])
        except (OSError, EOFError, TimeoutError) as error:
            seen["outcome"] = outcome_of(error)
        writer.close()


async def main() -> None:
    """Runs the clients that the argument orders."""
    clients = Clients(json.loads(sys.argv[1]))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    await getattr(clients, clients.order["mode"])(stop)
    say(json.dumps(clients.connections))


if __name__ == "__main__":
    asyncio.run(main())
