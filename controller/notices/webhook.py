"""Notices as JSON, signed as Standard Webhooks have it: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

Source: the Standard Webhooks specification 1.0.0 (github.com/standard-webhooks/standard-webhooks), symmetric signatures `v1`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from controller.diagnosis.report import time_text
from controller.notices.notice import Notice

SECRET_PREFIX = "whsec_"  # noqa: S105  # nosec B105 # what marks a secret, not one
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64


class SecretError(ValueError):
    """A secret that cannot be used. The text says why, and never what it is."""


def read_secret(text: str) -> bytes:
    """The key in `whsec_<base64>`, 24 to 64 bytes. Raises SecretError."""
    text = text.strip()
    if not text.startswith(SECRET_PREFIX):
        raise SecretError(f"the secret does not begin with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise SecretError(f"what follows {SECRET_PREFIX} is not base64") from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise SecretError(f"the secret has {len(key)} bytes, not {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}")
    return key


def body(notice: Notice) -> bytes:
    """The JSON of a notice."""
    data = {"id": notice.id, "text": notice.text, "fields": dict(notice.fields), "incident": notice.incident}
    document = {"type": f"resetlb.{notice.kind}", "timestamp": time_text(notice.time), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str).encode()


class Signer:
    """Signs what is sent, so that its receiver knows whose it is and that it is not an old one sent again."""

    def __init__(self, key: bytes) -> None:
        """Keep the key; it is in no representation of this object."""
        self._key = key

    def headers(self, notice_id: str, sent_at: int, content: bytes) -> dict[str, str]:
        """The headers for one attempt; `sent_at` in seconds since the epoch. Further attempts have the same id."""
        signed = f"{notice_id}.{sent_at}.".encode() + content
        digest = hmac.new(self._key, signed, hashlib.sha256).digest()
        return {
            "webhook-id": notice_id,
            "webhook-timestamp": str(sent_at),
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }
