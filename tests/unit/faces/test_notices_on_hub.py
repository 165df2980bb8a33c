"""Notices of a running controller at real receivers: in order, signed, tried again, and never in the way of anything else."""

import base64
import http.client
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_cli_run import END_S, ROOT, START_S, start
from webhook_receiver import KEY, SECRET, Receiver, verify

QUEUED_AT_MOST = 1_000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@contextmanager
def controller(folder: Path, *options: str, secret: str | None = SECRET) -> Iterator["Running"]:
    file = folder / "secret"
    file.write_text(secret or "")
    given = [*options, "--webhook-secret-file", str(file)] if secret else list(options)
    process, url = start(folder / "state", "--log-level", "debug", "--log-format", "json", *given)
    running = Running(url)
    # Read all the time: a controller whose log nobody takes stands still.
    reader = threading.Thread(target=lambda: running.lines.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        yield running
    finally:
        process.terminate()
        process.wait(timeout=START_S)
        reader.join()


class Running:
    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        self.lines: list[str] = []

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def call(self, method: str, path: str, document: Any = None) -> Any:
        content = None if document is None else json.dumps(document).encode()
        self._connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        raw = answer.read()
        assert answer.status < 300, raw
        return json.loads(raw) if raw[:1] in (b"{", b"[") else raw.decode()

    def quarantine(self, number: int) -> None:
        self.call("POST", "/v1/quarantine", {"client": f"10.9.0.{number}", "ttl_s": 600})

    def counted(self, result: str) -> float:
        found = re.findall(rf'resetlb_notices_total{{.*result="{result}".*}} (\S+)', self.call("GET", "/metrics"))
        return sum(map(float, found))


def soon(condition: Callable[[], Any], within_s: float = 10.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
    return result


# --- webhooks ------------------------------------------------------------------------------------------------------------------


def test_notices_come_in_order_signed_and_again_until_taken(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500, 429]
    with controller(tmp_path, "--webhook", f"{receiver.url}/hook?team=net") as running:
        for number in (1, 2, 3):
            running.quarantine(number)
        soon(lambda: running.counted("sent") == 3)
        assert running.counted("retried") == 2
    ids = [headers["webhook-id"] for _, headers, _ in receiver.got]
    assert ids[0] == ids[1] == ids[2], "the same notice"
    assert len(set(ids)) == 3
    for _, headers, content in receiver.got:
        verify(headers, content)
    documents = [json.loads(content) for _, _, content in receiver.got[2:]]
    assert [document["data"]["fields"]["client"] for document in documents] == ["10.9.0.1", "10.9.0.2", "10.9.0.3"]
    waits = [later[0] - earlier[0] for earlier, later in zip(receiver.got, receiver.got[1:3], strict=False)]
    assert waits[1] > waits[0] >= 0.2, "longer and longer"
    assert SECRET not in running.log and base64.b64encode(KEY).decode() not in running.log


def test_what_is_refused_is_not_tried_again_and_redirects_are_not_followed(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [404, 302]
    with controller(tmp_path, "--webhook", receiver.url) as running:
        for number in (1, 2, 3):
            running.quarantine(number)
        soon(lambda: running.counted("sent") == 1)
        assert running.counted("refused") == 2
    assert len(receiver.got) == 3


def test_receiver_that_hangs_holds_up_nobody_and_loses_only_the_oldest(tmp_path: Path, receiver: Receiver) -> None:
    receiver.hold.clear()
    with controller(tmp_path, "--api-rate", "0", "--webhook", receiver.url) as running:
        pairs = QUEUED_AT_MOST // 2 + 20
        slowest = 0.0
        for number in range(1, pairs + 1):
            began = time.monotonic()
            running.quarantine(1)
            running.call("DELETE", f"/v1/quarantine/q{number}")
            slowest = max(slowest, (time.monotonic() - began) / 2)
        assert slowest < 1.0
        # One is under way, and two were announced for each.
        assert running.counted("dropped") == 2 * pairs - 1 - QUEUED_AT_MOST
        receiver.hold.set()
        soon(lambda: running.counted("sent") >= QUEUED_AT_MOST, 60)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) >= QUEUED_AT_MOST


def test_nobody_listens(tmp_path: Path) -> None:
    with controller(tmp_path, "--webhook", "http://127.0.0.1:9", "--syslog", "tcp://127.0.0.1:9") as running:
        running.quarantine(1)
        soon(lambda: running.counted("retried") >= 4)
        assert running.call("GET", "/v1/health")
        ended = time.monotonic()
    assert time.monotonic() - ended < END_S
    assert "Traceback" not in running.log


# --- syslog --------------------------------------------------------------------------------------------------------------------


def test_udp_syslog(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        with controller(tmp_path, "--syslog", f"udp://127.0.0.1:{receiver.getsockname()[1]}", secret=None) as running:
            running.quarantine(1)
            message = receiver.recv(65_536).decode()
    assert message.startswith("<28>1 ")
    assert ' client="10.9.0.1" action="drop"] \ufeff10.9.0.1 is in quarantine' in message


def test_unix_syslog(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(10)
        with controller(tmp_path, "--syslog", f"unix://{path}", secret=None) as running:
            running.quarantine(1)
            assert b"10.9.0.1" in receiver.recv(65_536)


def test_tcp_syslog_counts_octets_and_comes_back_after_the_receiver_was_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with controller(tmp_path, "--syslog", f"tcp://127.0.0.1:{port}", secret=None) as running:
            running.quarantine(1)
            connection, _ = listener.accept()
            first = frame(connection)
            connection.close()
            time.sleep(0.2)
            for number in (2, 3):
                running.quarantine(number)
            connection, _ = listener.accept()
            messages = [first, frame(connection), frame(connection)]
            connection.close()
    clients = [re.search(r'client="([^"]*)"', message)[1] for message in messages]  # type: ignore[index]
    assert clients == ["10.9.0.1", "10.9.0.2", "10.9.0.3"]


def frame(connection: socket.socket) -> str:
    """One octet-counted message (RFC 6587 §3.4.1)."""
    connection.settimeout(10)
    digits = b""
    while (byte := connection.recv(1)) != b" ":
        assert byte.isdigit()
        digits += byte
    content = b""
    while len(content) < int(digits):
        content += connection.recv(int(digits) - len(content))
    return content.decode()


# --- what cannot be used -------------------------------------------------------------------------------------------------------


UNUSABLE = [
    (["ftp://x/"], SECRET, [], "--webhook: ftp://x/ is not a URL such as https://example.net/hook"),
    (["http://user:hunter2@x/"], SECRET, [], "--webhook: x/ is not a URL"),
    (["http://x:70000/"], SECRET, [], "has no valid port"),
    (["http://x/"], "hunter2", [], "the secret does not begin with whsec_"),
    (["http://x/"], None, [], "RESETLB_WEBHOOK_SECRET: notices are signed: name a secret"),
    ([], None, ["tcp://"], "--syslog: "),
    ([], None, ["/dev/log"], "--syslog: /dev/log is none of udp://HOST:PORT"),
]
TRY = """
import json, sys
from pathlib import Path
from apps.main import StartError, patch_hub
patch_hub("ryu")
from apps.notices import Receivers, couriers
for webhooks, file, syslog, _ in json.loads(sys.argv[1]):
    try:
        couriers(Receivers(tuple(webhooks), file and Path(file), tuple(syslog)))
    except StartError as error:
        print(error.status, error)
    else:
        print("taken")
"""


def test_what_cannot_be_used_is_said_with_its_option_and_without_secrets(tmp_path: Path) -> None:
    cases = []
    for number, (webhooks, secret, syslog, said) in enumerate(UNUSABLE):
        file = tmp_path / f"secret-{number}"
        file.write_text(secret or "")
        cases.append((webhooks, str(file) if secret else None, syslog, said))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRY, json.dumps(cases)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    answers = done.stdout.splitlines()
    for answer, (*_, said) in zip(answers, UNUSABLE, strict=True):
        assert answer.startswith("2 ")
        assert said in answer
    assert "hunter2" not in done.stdout


def test_a_missing_secret_is_exit_code_2(tmp_path: Path) -> None:
    process, _ = start(tmp_path / "state", "--webhook", "http://127.0.0.1:9/", "--webhook-secret-file", "/nonexistent")
    _, log = process.communicate(timeout=START_S)
    assert process.returncode == 2
    assert "--webhook-secret-file /nonexistent: No such file or directory" in log
