"""The API on the WSGI server it has in production, eventlet's, which treats bodies and streams in its own way."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SERVER = """
import sys, tempfile
from pathlib import Path
import eventlet, eventlet.wsgi
eventlet.monkey_patch()
sys.path.insert(0, sys.argv[1])
from api_examples import policy
from api_memory_service import MemoryService
from controller.api.app import create_app
from controller.store import Store
service = MemoryService(policy())
service.events = lambda last: service.ring.follow(last, eventlet.sleep)
listener = eventlet.listen(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
app = create_app(service, Store(Path(sys.argv[2])))
eventlet.wsgi.server(listener, app, log_output=False)
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER, str(HERE), str(tmp_path_factory.mktemp("state"))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parents[2],
    )
    assert server.stdout is not None
    yield int(server.stdout.readline())
    server.kill()
    server.wait()


def exchange(port: int, request: bytes, until: bytes, timeout_s: float = 5.0) -> bytes:
    """Send bytes and read until something is seen or time is up."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(request)
        while until not in answer:
            received = connection.recv(65536)
            if not received:
                break
            answer += received
    return answer


def put(headers: str, body: bytes) -> bytes:
    head = f"PUT /v1/policy HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n\r\n"
    return head.encode() + body


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def test_stream_opens_at_once(port: int) -> None:
    started = time.monotonic()
    answer = exchange(port, b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n", b": events follow")
    assert b"text/event-stream" in answer
    assert time.monotonic() - started < 2


def test_chunked_body_is_read_to_its_end(port: int) -> None:
    body = json.dumps({"automation": {"mode": "frozen"}}).encode()
    answer = exchange(port, put("Transfer-Encoding: chunked\r\nConnection: close", chunked(body)), b"probe_address")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"mode":"frozen"' in answer


def test_body_that_got_lost_is_not_an_empty_policy(port: int) -> None:
    for framing, body in (("Content-Length: 0", b""), ("Transfer-Encoding: chunked", b"0\r\n\r\n"), ("X-None: 1", b"")):
        answer = exchange(port, put(f"{framing}\r\nConnection: close", body), b"detail")
        assert answer.startswith(b"HTTP/1.1 400"), framing


def test_large_chunked_body_is_refused(port: int) -> None:
    answer = exchange(
        port, put("Transfer-Encoding: chunked\r\nConnection: close", chunked(b" " * 9_000_000)), b"detail"
    )
    assert answer.startswith(b"HTTP/1.1 413")
