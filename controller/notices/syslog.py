"""Notices as syslog messages (RFC 5424)."""

from __future__ import annotations

import re

from controller.diagnosis.report import time_text
from controller.notices.notice import EXHAUSTED, Notice

MAX_BYTES = 2048
"""What receivers should accept at least (RFC 5424 §6.1)."""
DAEMON = 3
WARNING, NOTICE, INFORMATIONAL = 4, 5, 6
WARNED_OF = EXHAUSTED | {"incident", "eject", "cut-weight", "quarantine", "paths"}
SD_ID = "resetlb@32473"
"""32473 is the enterprise number for examples (RFC 5612): ResetLB has none of its own."""
_SHOWN = (
    "id",
    "state",
    "subject",
    "subject_type",
    "cause",
    "confidence",
    "member",
    "client",
    "action",
    "incident",
    "link",
    "dpid",
    "place",
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def rfc5424(notice: Notice, hostname: str, process_id: int) -> bytes:
    """One message, at most `MAX_BYTES` long. What peers put into names cannot begin another line (§8.2)."""
    priority = DAEMON * 8 + _severity(notice)
    head = f"<{priority}>1 {time_text(notice.time)} {_token(hostname)} resetlb {process_id} {_token(notice.kind)} "
    parameters = [f'notice="{_value(notice.id)}"']
    for name in _SHOWN:
        value = notice.fields.get(name)
        if value is not None:
            parameters.append(f'{name}="{_value(str(value))}"')
    # The text is UTF-8 and says so by its byte order mark (§6.4).
    message = f"{head}[{SD_ID} {' '.join(parameters)}] \ufeff{_CONTROL.sub(' ', notice.text)}".encode()
    return message[:MAX_BYTES].decode(errors="ignore").encode()


def _severity(notice: Notice) -> int:
    if notice.kind in ("would-eject", "would-act"):
        return INFORMATIONAL
    bad = notice.fields.get("state") != "closed" and notice.fields.get("action") != "released"
    return WARNING if bad and notice.kind in WARNED_OF else NOTICE


def _token(text: str) -> str:
    """Printable US-ASCII without spaces (§6), or the nil value."""
    return re.sub(r"[^!-~]", "", text)[:255] or "-"


def _value(text: str) -> str:
    """A parameter's value (§6.3.3); long ones are cut so that the element is never cut open."""
    return re.sub(r'(["\\\]])', r"\\\1", _CONTROL.sub(" ", text[:100]))
