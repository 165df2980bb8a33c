"""Tokens, the webhook secret, keys: whatever is done with them, and however talkative the log is, none of them is in it."""

import base64
import contextlib
import sqlite3
import time
import urllib.error
import urllib.request
from pathlib import Path

from test_cli_run import END_S, free_port, start

from controller.store import Role, Store
from controller.store.database import FILE_NAME

GUESSED = "rlb_a-token-that-somebody-guessed"


def knock(url: str, secret: str) -> int:
    """Asks with a token in every place where one may stand; the status of the last answer."""
    status = 0
    for path, headers in (
        ("/v1/policy", {"Authorization": f"Bearer {secret}"}),
        (f"/v1/policy?token={secret}", {"Authorization": f"Basic {secret}"}),
        ("/v1/nothing", {"Authorization": f"Bearer {secret} "}),
        ("/v1/policy", {"Authorization": f"Bearer {secret}"}),
    ):
        try:
            with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=10) as answer:
                status = answer.status
        except urllib.error.HTTPError as refusal:
            status = refusal.code
            assert secret not in refusal.read().decode()
    return status


def change(url: str, token: str) -> None:
    """A quarantine: its notice goes to a webhook where nobody listens, so the failure is logged."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = b'{"client": "10.0.0.7", "action": "drop", "ttl_s": 60}'
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/quarantine", body, headers), timeout=10) as answer:
        assert answer.status == 201
    time.sleep(1.0)


def held_key(state: Path) -> str:
    """The key that LLDP and probes are signed with, as it is stored."""
    with contextlib.closing(sqlite3.connect(f"file:{state / FILE_NAME}?mode=ro", uri=True)) as store:
        ((text,),) = store.execute("SELECT value FROM runtime WHERE namespace = 'secrets' AND key = 'lldp'")
    return str(text).strip('"')


def test_no_secret_is_logged(tmp_path: Path) -> None:
    state, secret_file = tmp_path / "state", tmp_path / "webhook-secret"
    webhook_secret = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    secret_file.write_text(webhook_secret)
    with Store(state) as store:
        _, token = store.tokens.create("somebody", Role.ADMIN, 0.0)
    password = "a-token-in-a-url"
    receiver = f"http://127.0.0.1:{free_port()}/hook?token={password}"
    options = ["--log-level", "debug", "--webhook", receiver, "--webhook-secret-file", str(secret_file)]
    process, url = start(state, *options)
    try:
        assert knock(url, token) == 200
        assert knock(url, GUESSED) == 401
        change(url, token)
        key = held_key(state)
    finally:
        process.terminate()
        log = process.communicate(timeout=END_S + 5)[1]
    assert "10.0.0.7" in log and "failed" in log, log
    for secret in (token, GUESSED, webhook_secret, webhook_secret.removeprefix("whsec_"), password, key):
        assert secret not in log
