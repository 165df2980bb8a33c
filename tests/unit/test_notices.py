"""How incidents and actions are written down for others: signed JSON that any Standard Webhooks library accepts, and RFC 5424 lines."""

import base64
import hashlib
import hmac
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.notices import MAX_BYTES, Notice, SecretError, Signer, body, read_secret, rfc5424

NOW = 1_767_225_600.25
OPENED = Notice(
    "a1-7", NOW, "incident", "incident i3 opened: member web/web-2, misconfiguration (97%): refused",
    {"id": "i3", "state": "opened", "subject": "web/web-2", "subject_type": "member", "cause": "misconfiguration", "confidence": 0.97},
    {"id": "i3", "cause": "misconfiguration"},
)  # fmt: skip
# RFC 5424 §6: header, one structured data element, text after a byte order mark.
LINE = re.compile(
    r"<(?P<priority>\d{1,3})>1 (?P<time>\S+) (?P<host>[!-~]{1,255}) resetlb (?P<process>\d+) (?P<kind>[!-~]{1,32}) "
    r'\[resetlb@32473(?P<parameters>( [a-z_]+="([^"\\\]]|\\["\\\]])*")+)\] \ufeff(?P<text>[^\x00-\x1f]*)\Z'
)


# --- webhooks ------------------------------------------------------------------------------------------------------------------


def test_signature_is_that_of_the_specification() -> None:
    # The example of the Standard Webhooks reference libraries.
    signer = Signer(read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_body_and_signature_belong_together() -> None:
    key = bytes(range(32))
    content = body(OPENED)
    headers = Signer(key).headers(OPENED.id, 1_767_225_601, content)
    expected = hmac.new(key, b"a1-7.1767225601." + content, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    document = json.loads(content)
    assert (document["type"], document["timestamp"]) == ("resetlb.incident", "2026-01-01T00:00:00.250Z")
    assert document["data"]["incident"] == OPENED.incident
    assert document["data"]["fields"] == OPENED.fields


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin with whsec_"),
        ("hunter2hunter2hunter2hunter2", "does not begin with whsec_"),
        ("whsec_!!", "is not base64"),
        ("whsec_" + base64.b64encode(b"short").decode(), "has 5 bytes, not 24 to 64"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "has 65 bytes, not 24 to 64"),
    ],
)
def test_wrong_secrets_are_refused_without_being_said(text: str, reason: str) -> None:
    with pytest.raises(SecretError, match=re.escape(reason)) as refused:
        read_secret(text)
    assert not text or text not in str(refused.value)


def test_secret_file_may_end_with_a_line_break() -> None:
    assert read_secret("whsec_" + base64.b64encode(b"k" * 24).decode() + "\n") == b"k" * 24


# --- syslog --------------------------------------------------------------------------------------------------------------------


def parsed(message: bytes) -> dict[str, str]:
    found = LINE.match(message.decode())
    assert found, message
    return found.groupdict()


def test_line_says_what_and_which() -> None:
    said = parsed(rfc5424(OPENED, "lb-1.example", 4711))
    assert said["priority"] == str(3 * 8 + 4), "daemon, warning"
    assert (said["time"], said["host"], said["process"], said["kind"]) == (
        "2026-01-01T00:00:00.250Z", "lb-1.example", "4711", "incident",
    )  # fmt: skip
    assert ' id="i3" state="opened" subject="web/web-2"' in said["parameters"]
    assert said["text"] == OPENED.text


@pytest.mark.parametrize(
    ("kind", "fields", "severity"),
    [
        ("incident", {"state": "opened"}, 4),
        ("incident", {"state": "closed"}, 5),
        ("eject", {}, 4),
        ("readmit", {}, 5),
        ("quarantine", {"action": "drop"}, 4),
        ("quarantine", {"action": "released"}, 5),
        ("would-eject", {}, 6),
        ("tracker-full", {"dpid": "0000000000000001"}, 4),
        ("tracker-full-over", {"dpid": "0000000000000001"}, 5),
    ],
)
def test_severity(kind: str, fields: dict[str, object], severity: int) -> None:
    said = parsed(rfc5424(Notice("a-1", NOW, kind, "text", fields), "h", 1))
    assert int(said["priority"]) % 8 == severity


@given(st.text(), st.text(), st.text(max_size=300))
def test_whatever_a_peer_is_called_it_is_one_line_of_bounded_length(text: str, subject: str, host: str) -> None:
    text, subject = (value.encode(errors="replace").decode() for value in (text, subject))
    message = rfc5424(Notice("a-1", NOW, "incident", text, {"subject": subject, "member": subject}), host, 1)
    assert len(message) <= MAX_BYTES
    parsed(message)


def test_long_text_is_cut_between_characters() -> None:
    message = rfc5424(Notice("a-1", NOW, "eject", "ä" * 5_000, {}), "h", 1)
    assert MAX_BYTES - 1 <= len(message) <= MAX_BYTES
    assert parsed(message)["text"].endswith("ää")
