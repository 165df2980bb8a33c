"""What is told to others unasked, incidents and actions, and how it is written down for them. Nothing here sends."""

from controller.notices.notice import TOLD, Notice
from controller.notices.syslog import MAX_BYTES, rfc5424
from controller.notices.webhook import SecretError, Signer, body, read_secret

__all__ = ["MAX_BYTES", "TOLD", "Notice", "SecretError", "Signer", "body", "read_secret", "rfc5424"]
