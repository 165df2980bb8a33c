"""Slow and many clients of a running controller: what a switch says is answered as if they were not there."""

import json
import resource
import socket
import statistics
import struct
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from test_cli_run import END_S, ask, free_port, start

STREAMS = 1_000
HELLO, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY = 0, 2, 3, 5, 6
MULTIPART_REQUEST, MULTIPART_REPLY, PORT_DESCRIPTION = 18, 19, 13
SAMPLES = 200
LATER_S = 0.030
"""How much later at most, in the median; the machine may be busy with other things."""


class Switch:
    """As much of a switch as it takes to ask for echoes: they wait in the same loop as every packet-in."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(struct.pack("!BBHI", 4, HELLO, 8, 1))
        self._read(FEATURES_REQUEST)
        features = struct.pack("!QIBB2xII", 0x11, 0, 254, 0, 0x4F, 0)
        self._socket.sendall(struct.pack("!BBHI", 4, FEATURES_REPLY, 32, 2) + features)
        self._read(MULTIPART_REQUEST)
        self._socket.sendall(struct.pack("!BBHIHH4x", 4, MULTIPART_REPLY, 16, 3, PORT_DESCRIPTION, 0))

    def _read(self, wanted: int) -> None:
        while True:
            _, kind, length, _ = struct.unpack("!BBHI", self._exactly(8))
            self._exactly(length - 8)
            if kind == wanted:
                return

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            received = self._socket.recv(count - len(content))
            assert received
            content += received
        return content

    def answer_times_s(self, samples: int = SAMPLES) -> list[float]:
        """How long each of so many echoes took, 5 ms apart."""
        taken = []
        for number in range(samples):
            began = time.perf_counter()
            self._socket.sendall(struct.pack("!BBHI", 4, ECHO_REQUEST, 8, number))
            self._read(ECHO_REPLY)
            taken.append(time.perf_counter() - began)
            time.sleep(0.005)
        return taken

    def close(self) -> None:
        self._socket.close()


class Running:
    def __init__(self, url: str, port: int) -> None:
        self.url = url
        self.api_port = int(url.rpartition(":")[2])
        self.switch = Switch(port)

    def connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.api_port), timeout=20)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    port = free_port()
    process, url = start(
        tmp_path / "state", "--listen", f"127.0.0.1:{port}", "--api-rate", "0", "--log-level", "warning"
    )
    controller = Running(url, port)
    yield controller
    controller.switch.close()
    process.terminate()
    process.wait(END_S)


@contextmanager
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def in_words(**measured: list[float]) -> str:
    def ms(seconds: float) -> str:
        return f"{1000 * seconds:.2f} ms"

    return "; ".join(
        f"{name}: median {ms(statistics.median(taken))}, 99 % {ms(sorted(taken)[-len(taken) // 100])}"
        for name, taken in measured.items()
    )


def test_a_thousand_event_streams_and_their_events_delay_no_packet(running: Running) -> None:
    alone = running.switch.answer_times_s()
    with many_files(), ExitStack() as opened:
        streams = [opened.enter_context(running.connection()) for _ in range(STREAMS)]
        for stream in streams:
            stream.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for stream in streams:
            assert stream.recv(100).startswith(b"HTTP/1.1 200")
        idle = running.switch.answer_times_s()
        for number in range(1, 6):
            entry = {"client": f"10.9.0.{number}"}
            post(running, "/v1/quarantine", entry)
        woken = running.switch.answer_times_s()
        for stream in streams:
            assert b"10.9.0.5" in until(stream, b"10.9.0.5")
    said = in_words(alone=alone, idle=idle, woken=woken)
    assert statistics.median(idle) < statistics.median(alone) + LATER_S, said
    assert statistics.median(woken) < statistics.median(alone) + LATER_S, said


def test_clients_that_trickle_delay_nobody_and_are_cut_off(running: Running) -> None:
    """Slow loris: a header line now and then, never the last; and bodies that never come."""
    alone = running.switch.answer_times_s()
    with many_files(), ExitStack() as opened:
        slow = [opened.enter_context(running.connection()) for _ in range(300)]
        for number, client in enumerate(slow):
            head = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n"
            body = b"PUT /v1/policy HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
            client.sendall(body if number % 3 == 0 else head)
        trickled = running.switch.answer_times_s()
        assert ask(running.url, "/v1/health")
        deadline = time.monotonic() + 20
        by_headers = [client for number, client in enumerate(slow) if number % 3]
        while by_headers and time.monotonic() < deadline:
            by_headers = [client for client in by_headers if still_open(client)]
            time.sleep(0.5)
        assert by_headers == [], "each line was in time, all of them were not"
    said = in_words(alone=alone, trickled=trickled)
    assert statistics.median(trickled) < statistics.median(alone) + LATER_S, said


def still_open(client: socket.socket) -> bool:
    try:
        client.sendall(b"X-Slow: 1\r\n")
        client.settimeout(0.001)
        return client.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def post(running: Running, path: str, document: dict[str, str]) -> None:
    content = json.dumps(document).encode()
    request = urllib.request.Request(running.url + path, content, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 201


def until(stream: socket.socket, wanted: bytes) -> bytes:
    content = b""
    while wanted not in content:
        received = stream.recv(65_536)
        assert received
        content += received
    return content


def test_more_connections_than_files_end_nothing(tmp_path: Path) -> None:
    """When the process has no file left, those who come wait; the API goes on when there are some again."""
    port = free_port()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    process, url = start(tmp_path / "state", "--listen", f"127.0.0.1:{port}", "--api-rate", "0")
    running = Running(url, port)
    # What the process allows itself at start, as far as the hard limit lets it, is taken back here.
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (100, hard))
    with many_files(), ExitStack() as opened:
        for _ in range(300):
            opened.enter_context(running.connection())
        time.sleep(1)
    deadline = time.monotonic() + 20
    while True:
        try:
            assert ask(url, "/v1/health")
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    running.switch.close()
    process.terminate()
    _, log = process.communicate(timeout=20)
    assert "Traceback" not in log
