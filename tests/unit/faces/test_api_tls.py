"""The API over TLS, as an operator starts it and as the command line talks to it."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from test_cli_run import END_S, ROOT, START_S, free_port

RESETLB = str(Path(sys.executable).parent / "resetlb")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def port(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    certificate, key = authority.issue("controller")
    chosen = free_port()
    command = [RESETLB, "run", "--api", f"127.0.0.1:{chosen}", "--listen", f"127.0.0.1:{free_port()}"]
    command += ["--state-dir", str(tmp_path_factory.mktemp("state")), "--api-tls-cert", str(certificate)]
    command += ["--api-tls-key", str(key)]
    log = tmp_path_factory.mktemp("log") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, cwd=ROOT)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and "the API is at https" not in log.read_text():
        time.sleep(0.05)
    yield chosen
    process.terminate()
    assert process.wait(END_S) == 0
    assert "Traceback" not in log.read_text()


def ask(port: int, context: ssl.SSLContext) -> tuple[int, dict[str, str]]:
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/v1/health", timeout=10, context=context) as answer:
        return answer.status, dict(answer.headers)


def resetlb(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RESETLB, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **environment}
    )


def test_answers_over_tls_and_tells_browsers_to_stay_there(port: int, authority: Authority) -> None:
    status, headers = ask(port, ssl.create_default_context(cafile=str(authority.certificate)))
    assert (status, headers["Strict-Transport-Security"]) == (200, "max-age=31536000")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_nothing_before_tls_1_2(port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)protocol|alert|eof"):
        ask(port, context)


def test_who_speaks_no_tls_or_nothing_holds_up_nobody(port: int, authority: Authority) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP/1.1 200")
    began = time.monotonic()
    assert ask(port, ssl.create_default_context(cafile=str(authority.certificate)))[0] == 200
    assert time.monotonic() - began < 5
    for connection in silent:
        connection.close()


def test_command_line_trusts_the_authority_it_is_told(port: int, authority: Authority) -> None:
    url = f"https://127.0.0.1:{port}"
    trusted = resetlb("status", "--json", "--url", url, "--ca", str(authority.certificate))
    assert json.loads(trusted.stdout)["health"]["switches"] == 0
    by_environment = resetlb("members", "--json", RESETLB_URL=url, RESETLB_CA=str(authority.certificate))
    assert (by_environment.returncode, json.loads(by_environment.stdout)) == (0, [])
    stranger = resetlb("status", "--url", url)
    assert stranger.returncode == 1
    assert "shows a certificate that is not trusted" in stranger.stderr
    assert "--ca or RESETLB_CA" in stranger.stderr
    missing = resetlb("status", "--url", url, "--ca", "/nonexistent")
    assert (missing.returncode, missing.stderr) == (2, "resetlb: --ca: /nonexistent: No such file or directory\n")


def test_files_that_cannot_be_used_are_exit_code_2(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("one")
    _, of_another = authority.issue("two")
    encrypted, nonsense = tmp_path / "encrypted.key", tmp_path / "nonsense.pem"
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:hunter2", "-out", encrypted], check=True, capture_output=True
    )  # fmt: skip
    nonsense.write_text("nonsense")
    for files, said in (
        (("--api-tls-cert", certificate, "--api-tls-key", of_another), "are no certificate with its key"),
        (("--api-tls-cert", nonsense), "are no certificate with its key"),
        (("--api-tls-cert", certificate, "--api-tls-key", encrypted), "is encrypted"),
        (("--api-tls-cert", "/nonexistent"), "--api-tls-cert: /nonexistent cannot be read"),
        (("--api-tls-key", key), "--api-tls-key: needs --api-tls-cert"),
    ):
        done = resetlb("run", "--state-dir", str(tmp_path / "state"), *map(str, files))
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
