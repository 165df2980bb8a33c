"""Who is told of incidents and actions: couriers from what the command line says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from apps.courier import Courier
from apps.receivers import AddressError, Syslog, Webhook
from controller.notices import SecretError, Signer, read_secret

SECRET_VARIABLE = "RESETLB_WEBHOOK_SECRET"  # noqa: S105  # nosec B105 # where it is, not what it is
LARGEST_SECRET_FILE = 4_096


@dataclass(frozen=True, slots=True)
class Receivers:
    """Where to: URLs of webhooks and of syslog receivers; the file with the secret (None: the environment has it)."""

    webhooks: tuple[str, ...] = ()
    secret_file: Path | None = None
    syslog: tuple[str, ...] = ()


def couriers(receivers: Receivers) -> list[Courier]:
    """One for each receiver. Raises StartError for what cannot be used."""
    from apps.main import StartError

    made: list[Courier] = []
    try:
        option = "--webhook"
        if receivers.webhooks:
            signer = Signer(_secret(receivers.secret_file))
            made += [Courier(Webhook(url, signer)) for url in receivers.webhooks]
        option = "--syslog"
        made += [Courier(Syslog(url)) for url in receivers.syslog]
    except AddressError as error:
        raise StartError(f"{option}: {error}", status=2) from None
    return made


def _secret(file: Path | None) -> bytes:
    from apps.main import StartError

    where = SECRET_VARIABLE if file is None else f"--webhook-secret-file {file}"
    try:
        text = os.environ.pop(SECRET_VARIABLE, "") if file is None else _text(file)
        if not text:
            raise SecretError("notices are signed: name a secret, in --webhook-secret-file or the environment")
        return read_secret(text)
    except OSError as error:
        raise StartError(f"{where}: {error.strerror}", status=2) from None
    except (SecretError, UnicodeDecodeError) as error:
        # Not the decoder's words: they quote what they could not decode.
        reason = error if isinstance(error, SecretError) else "the file is not text"
        raise StartError(f"{where}: {reason}", status=2) from None


def _text(file: Path) -> str:
    with file.open() as opened:
        return opened.read(LARGEST_SECRET_FILE)
