"""The lab's programs, each against a real peer on loopback: clients, servers, and what an attacker puts on the wire."""

import asyncio
import contextlib
import ipaddress
import itertools
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.segments import RST, read_ip_segment
from topologies.lab import attacker
from topologies.lab.traffic import Clients, Outcome, Traffic

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RUN_S = 0.6
PATIENCE_S = 10.0


@contextlib.contextmanager
def server(answer: bytes = ANSWER, delay_s: float = 0.0, endings: list[str] | None = None) -> Iterator[int]:
    """A server on loopback that answers each connection once, and notes how its client ended it; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(4096)
                time.sleep(delay_s)
                connection.sendall(answer)
                ending = "more" if connection.recv(4096) else "fin"
            except (ConnectionResetError, BrokenPipeError):
                ending = "rst"
            if endings is not None:
                endings.append(ending)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield listener.getsockname()[1]
        time.sleep(0.1)
        listener.shutdown(socket.SHUT_RDWR)


def outcomes(capsys: pytest.CaptureFixture[str], port: int, **fields: object) -> dict[str, int]:
    """How the connections of a short run ended."""
    usual = {"target": "127.0.0.1", "port": port, "sources": ("127.0.0.1",), "rate": 40.0, "timeout_s": 0.3}
    traffic = Traffic(**usual | fields)  # type: ignore[arg-type]

    async def for_a_while() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(Clients(traffic).run(), 2 * RUN_S)

    asyncio.run(for_a_while())
    total: dict[str, int] = {}
    for line in capsys.readouterr().out.splitlines():
        for outcome, count in json.loads(line).items():
            total[outcome] = total.get(outcome, 0) + count
    del total["time"], total["slowest_ms"]
    return total


def test_clients_are_served_and_close_with_fin(capsys: pytest.CaptureFixture[str]) -> None:
    endings: list[str] = []
    with server(endings=endings) as port:
        assert set(outcomes(capsys, port)) == {Outcome.SERVED}
    assert set(endings[:5]) == {"fin"}


def test_clients_that_wait_too_long_close_with_reset(capsys: pytest.CaptureFixture[str]) -> None:
    endings: list[str] = []
    with server(delay_s=0.4, endings=endings) as port:
        assert set(outcomes(capsys, port)) == {Outcome.TIMED_OUT}
    assert set(endings[:5]) == {"rst"}


def test_served_clients_close_with_reset_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    endings: list[str] = []
    with server(endings=endings) as port:
        assert set(outcomes(capsys, port, reset_share=1.0)) == {Outcome.SERVED}
    assert set(endings[:5]) == {"rst"}


def test_clients_leave_half_way_and_what_they_did_not_read_resets(capsys: pytest.CaptureFixture[str]) -> None:
    endings: list[str] = []
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000)
    with server(large, endings=endings) as port:
        assert set(outcomes(capsys, port, leave_share=1.0, rate=10.0)) == {Outcome.LEFT}
    assert "rst" in endings


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n\r\n"])
def test_another_answer_is_wrong(capsys: pytest.CaptureFixture[str], answer: bytes) -> None:
    with server(answer) as port:
        assert set(outcomes(capsys, port)) == {Outcome.WRONG}


def test_a_closed_port_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert set(outcomes(capsys, port)) == {Outcome.REFUSED}


def test_an_ssh_port_resets_a_client_that_speaks_http() -> None:
    with _program("topologies.lab.ssh_greeter", "{port}") as port, _connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
        received = b""
        with pytest.raises(ConnectionResetError):
            while more := client.recv(4096):
                received += more
        assert received.startswith(b"SSH-2.0-") or not received


def _accept_queue(port: int) -> tuple[str, str]:
    """(waiting, backlog) of a listening port."""
    told = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    waiting, backlog = told.split()[1:3]
    return waiting, backlog


def test_a_slow_server_with_few_workers_leaves_the_rest_in_its_accept_queue() -> None:
    settings = '{{"port": {port}, "workers": 1, "backlog": 100, "page_bytes": 10}}'
    with _program("topologies.lab.queueing_server", settings, orders=b'{"service_s": 30, "backlog": 2}\n') as port:
        held = [_connected(port) for _ in range(2)]
        held[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        deadline = time.monotonic() + PATIENCE_S
        while (queue := _accept_queue(port)) != ("1", "2"):
            assert time.monotonic() < deadline, queue
            time.sleep(0.05)
        for connection in held:
            connection.close()


def test_what_the_attacker_forges_is_a_reset_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[bytes, str]] = []

    class Raw:
        def sendto(self, packet: bytes, target: tuple[str, int]) -> None:
            sent.append((packet, target[0]))

    monkeypatch.setattr(attacker, "_raw_socket", lambda _rate, _dice: itertools.repeat(Raw(), 60))
    attacker.blind_resets(("10.0.0.100", 80), [("10.0.1.2", 8080)], ["10.0.2.1", "10.0.3.1"], rate=1, seed=1)
    assert len(sent) == 60
    claimed = set()
    for packet, target in sent:
        segment = read_ip_segment(packet)
        assert segment is not None
        assert segment.flags & RST
        assert segment.faults == 0
        assert segment.dst_text == target
        claimed.add((segment.src_text, segment.dst_text))
    assert {source for source, _ in claimed} == {"10.0.0.100", "10.0.1.2", "10.0.2.1", "10.0.3.1"}


def test_a_flood_comes_from_unicast_addresses_outside_the_fabric(monkeypatch: pytest.MonkeyPatch) -> None:
    packets: list[bytes] = []

    class Raw:
        def sendto(self, packet: bytes, _target: tuple[str, int]) -> None:
            packets.append(packet)

    monkeypatch.setattr(attacker, "_raw_socket", lambda _rate, _dice: itertools.repeat(Raw(), 200))
    attacker.spoofed_flood(("10.0.0.100", 80), rate=1, seed=1)
    sources = {ipaddress.IPv4Address(packet[12:16]) for packet in packets}
    assert len(sources) > 190
    assert not any(source in ipaddress.ip_network("10.0.0.0/8") or source.is_multicast for source in sources)


def test_the_attackers_pace_is_the_rate() -> None:
    began = time.monotonic()
    for _ in itertools.islice(attacker.paced(2000, random.Random(1)), 600):
        pass
    assert 0.2 < time.monotonic() - began < 0.6


@contextlib.contextmanager
def _program(module: str, argument: str, orders: bytes = b"") -> Iterator[int]:
    """Runs a module on a free port until the end; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    root = Path(__file__).parents[2]
    argv = [sys.executable, "-m", module, argument.format(port=port)]
    with subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdin is not None
        process.stdin.write(orders)
        process.stdin.flush()
        _connected(port).close()
        yield port
        process.kill()


def _connected(port: int) -> socket.socket:
    """A connection to a program that may still be starting; it closes with RST, so that it leaves nothing at the server."""
    deadline = time.monotonic() + 10
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return connection
